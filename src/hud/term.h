/* hud/term.h - the terminal behind a few calls; curses is in term.c alone.
 *
 * While it is open the screen and its modes belong to it. They are given back by term_close(), by
 * the signals that stop or end the program, and where it aborts.
 */
#ifndef HUD_TERM_H
#define HUD_TERM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "hud/canvas.h"
#include "hud/keys.h"

struct term_options {
    bool has_color;
    bool has_mouse;
};

struct term; /* opaque */

struct term_key {
    uint32_t key;       /* hud/keys.h; HUD_KEY_NONE = there is none */
    size_t row, column; /* of HUD_KEY_CLICK */
};

/* Is there a terminal on standard input and output that can be drawn on? */
bool term_is_there(void);
/* Characters as the user's locale has them, for this thread; call it once. True: UTF-8. */
bool term_use_locale(void);
/* One at a time. */
MUST_CHECK enum status term_open(const struct term_options *options, struct term **ret_term,
                                 struct err *err);
void term_close(struct term *term);
void term_size(const struct term *term, size_t *ret_rows, size_t *ret_columns);
/* Writes what differs from the screen. */
void term_draw(struct term *term, const struct canvas *canvas);
/* As if nothing of the screen were known: another program may have written to it. */
void term_forget(struct term *term);
/* Does not wait. */
struct term_key term_read_key(struct term *term);

#endif
