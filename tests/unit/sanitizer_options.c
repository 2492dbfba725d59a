/* What the sanitizers should not report: Criterion's own 48 bytes at its end. */
const char *__lsan_default_suppressions(void);

__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void)
{
    return "leak:libcriterion\n";
}
