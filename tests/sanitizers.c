/* In every program of the build with sanitizers. */

/* Read by ASan as a program starts, before $ASAN_OPTIONS. */
const char *__asan_default_options(void);

/* What UBSan finds is a trap: ASan is to say where, and to end the program as for its own finds. */
__attribute__((visibility("default"))) const char *__asan_default_options(void)
{
    return "handle_sigill=1";
}
