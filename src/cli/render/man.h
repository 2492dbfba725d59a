/* cli/render/man.h - the manual page, from the same tables as --help. */
#ifndef CLI_RENDER_MAN_H
#define CLI_RENDER_MAN_H

#include "base/buf.h"

#define MAN_BYTES_MAX (256 * 1024)

/* The page tokmark(1) as roff, man(7) macros. */
void man_page(struct buf *out);

#endif
