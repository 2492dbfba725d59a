# Writes OUTPUT: the bytes of INPUT as the C array NAME, and NAME_bytes; declared in HEADER. The
# assembler copies the file in: as numbers in C it would take a second.
file(SIZE ${INPUT} size)
file(WRITE ${OUTPUT} "#include \"${HEADER}\"\n
__asm__(\".section .rodata\\n\"
        \".global ${NAME}\\n\"
        \"${NAME}:\\n\"
        \".incbin \\\"${INPUT}\\\"\\n\"
        \".previous\\n\");
const size_t ${NAME}_bytes = ${size};\n")
