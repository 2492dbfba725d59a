/* cli/run_hud.h - `run --hud`: the HUD on the run's own terminal, as one more listener. It reads
 * the run's folder like any other HUD. */
#ifndef CLI_RUN_HUD_H
#define CLI_RUN_HUD_H

#include <stdbool.h>

#include "cli/render/progress.h"
#include "client/events.h"
#include "hud/hud.h"

struct run_hud {
    struct hud *hud;           /* owned; NULL = the screen is not, or no longer, the HUD's */
    struct progress *progress; /* borrowed: goes on with its line when the HUD is left */
    bool is_timed;             /* steps may be running */
};

/* STATUS_UNSUPPORTED, with why, where there is no terminal for it. */
MUST_CHECK enum status run_hud_open(struct run_hud *run_hud, const char *dir, bool has_color,
                                    struct progress *progress, struct err *err);
/* Zeroed is fine. */
void run_hud_close(struct run_hud *run_hud);
struct event_listener run_hud_listener(struct run_hud *run_hud);

#endif
