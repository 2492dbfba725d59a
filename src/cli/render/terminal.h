/* cli/render/terminal.h - what is known of the screen that is written to. */
#ifndef CLI_RENDER_TERMINAL_H
#define CLI_RENDER_TERMINAL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/grid.h"
#include "cli/run_options.h"

/* Columns of a terminal: $COLUMNS, if that is a number over 0, else what it says itself. 0 where
 * `fd` is none: in a file or a pipe nothing is left out, and lines are as long as they need to be.
 */
size_t terminal_columns(int fd);
/* A terminal that can rewrite a line and show colours? */
bool terminal_is_smart(int fd);
/* `--color`; `when`: enum run_when. May there be colours, wherever they go to? And in what is
 * written to `fd`? */
bool terminal_may_color(uint64_t when);
bool terminal_has_color(uint64_t when, int fd);
/* How a table on `fd` looks. */
struct grid_style terminal_style(uint64_t when, int fd, bool is_markdown);
/* Do the locale's variables name UTF-8? */
bool terminal_shows_utf8(void);

#endif
