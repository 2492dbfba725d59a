/* hud/hud.h - a results folder on a terminal: reads, takes keys, draws. */
#ifndef HUD_HUD_H
#define HUD_HUD_H

#include <signal.h>
#include <stdbool.h>

#include "base/buf.h"
#include "base/status.h"

struct hud; /* opaque */

/* Borrowed: for the HUD's life. */
struct hud_options {
    const char *path; /* as reader_open() takes it */
    const char *keys; /* pressed at first; NULL = none */
    bool has_color, has_mouse;
    bool is_own_run; /* of this program: it is alive whatever its events say */
    const volatile sig_atomic_t *interrupt; /* not 0: leave */
    int wake_fd;                            /* readable with it; -1 = none */
};

/* Draws on the terminal from now on. STATUS_UNSUPPORTED where that is not known. */
MUST_CHECK enum status hud_open(const struct hud_options *options, struct hud **ret_hud,
                                struct err *err);
/* Gives the terminal back. */
void hud_close(struct hud *hud);
/* Until it is left. */
MUST_CHECK enum status hud_run(struct hud *hud, struct err *err);
/* Beside a run: reads and draws what is due, without waiting; inside a block (`is_timed`) it only
 * answers keys. False: it was left. */
bool hud_look(struct hud *hud, bool is_timed);
/* Another has written to the terminal: draw everything anew. */
void hud_forget_screen(struct hud *hud);

/* What is in the folder now, as JSON, or drawn as text of so many columns (80 where it is 0). */
MUST_CHECK enum status hud_append_json(const struct hud_options *options, struct buf *out,
                                       struct err *err);
MUST_CHECK enum status hud_append_text(const struct hud_options *options, size_t columns,
                                       struct buf *out, struct err *err);

/* Where there is no terminal to draw on: a line each time that something has changed, handed to
 * `take`. Ends with the run that is followed, when it is interrupted, or with `take` false. */
typedef bool hud_line(void *context, const char *line);
MUST_CHECK enum status hud_follow_lines(const struct hud_options *options, hud_line *take,
                                        void *context, struct err *err);

#endif
