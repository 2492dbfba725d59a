/* hud/scene.h - what every form of the HUD is made of: what is read, what is shown of it, and how
 * things stand. */
#ifndef HUD_SCENE_H
#define HUD_SCENE_H

#include "hud/board.h"
#include "hud/hud.h"
#include "hud/screen.h"
#include "hud/tail.h"
#include "hud/term.h"
#include "hud/view.h"

struct scene {
    const struct hud_options *options; /* borrowed */
    struct tail *tail;                 /* owned */
    struct board board;
    struct view view;
    struct screen screen;
    bool is_read; /* to its end, once */
};

/* scene_close() in any case. */
MUST_CHECK enum status scene_open(struct scene *scene, const struct hud_options *options,
                                  bool follows, struct err *err);
void scene_close(struct scene *scene);
/* How things stand now. `name` and `note` are static or the options'. */
struct screen_facts scene_facts(const struct scene *scene);
/* Reads to the end of what is there. */
MUST_CHECK enum status scene_read_all(struct scene *scene, struct err *err);
/* The keys that options->keys says. */
MUST_CHECK enum status scene_press_keys(struct scene *scene, struct err *err);

#endif
