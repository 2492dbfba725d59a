/* cli/render/completion.h - the option tables as a completion script for a shell. */
#ifndef CLI_RENDER_COMPLETION_H
#define CLI_RENDER_COMPLETION_H

#include "base/buf.h"

#define COMPLETION_BYTES_MAX (256 * 1024)

enum completion_shell {
    COMPLETION_BASH, /* 4 and later */
    COMPLETION_ZSH,
    COMPLETION_FISH, /* 3 and later */
    COMPLETION_SHELLS_COUNT
};

/* Completes tokmark, bench_pytorch and bench_jax. */
void completion_script(enum completion_shell shell, struct buf *out);

#endif
