# Writes OUTPUT with version, commit and compiler; leaves it alone when nothing changed.
execute_process(COMMAND git -C ${SOURCE_DIR} rev-parse --short=12 HEAD
    OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE result)
if(NOT result EQUAL 0)
    set(commit "unknown")
else()
    execute_process(COMMAND git -C ${SOURCE_DIR} status --porcelain --untracked-files=no
        OUTPUT_VARIABLE changes ERROR_QUIET)
    if(NOT changes STREQUAL "")
        string(APPEND commit "-dirty")
    endif()
endif()
string(STRIP "${FLAGS}" flags)
set(text "#ifndef VERSION_GENERATED_H
#define VERSION_GENERATED_H
#define TOKMARK_VERSION \"${VERSION}\"
#define TOKMARK_COMMIT \"${commit}\"
#define TOKMARK_COMPILER \"${COMPILER}\"
#define TOKMARK_FLAGS \"${flags}\"
#endif
")
set(old "")
if(EXISTS ${OUTPUT})
    file(READ ${OUTPUT} old)
endif()
if(NOT old STREQUAL text)
    file(WRITE ${OUTPUT} "${text}")
endif()
