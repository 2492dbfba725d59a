#include "base/version.h"

#include "version_generated.h"

const char *version_text(void)
{
    return TOKMARK_VERSION;
}

const char *version_commit(void)
{
    return TOKMARK_COMMIT;
}

const char *version_compiler(void)
{
    return TOKMARK_COMPILER;
}

const char *version_flags(void)
{
    return TOKMARK_FLAGS;
}

const char *version_harness(void)
{
    return "tokmark " TOKMARK_VERSION " (" TOKMARK_COMMIT ")";
}
