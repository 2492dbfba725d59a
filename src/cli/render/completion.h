/* cli/render/completion.h - the option tables as a completion script. */
#ifndef CLI_RENDER_COMPLETION_H
#define CLI_RENDER_COMPLETION_H

#include "base/buf.h"

#define COMPLETION_BYTES_MAX (256 * 1024)

/* For bash 4 and later; completes tokmark, bench_pytorch and bench_jax. */
void completion_bash(struct buf *out);

#endif
