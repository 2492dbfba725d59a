/* hud/screen.h - how a board looks: drawn on a canvas of any size, from 40 x 10 on. Pure. */
#ifndef HUD_SCREEN_H
#define HUD_SCREEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/num.h"
#include "hud/board.h"
#include "hud/canvas.h"
#include "hud/view.h"

#define SCREEN_SPOTS_MAX 512

/* What a click means: a key, or a place that is selected. */
struct screen_spot {
    size_t row, begin, end;
    uint32_t key;   /* 0 = none */
    uint32_t place; /* LOOKUP_NONE = none */
};

/* How things stand. */
enum screen_state {
    SCREEN_NO_RUN,  /* records only */
    SCREEN_RUNNING, /* events come */
    SCREEN_STALE,   /* they, or records, do not come any more */
    SCREEN_ENDED
};

struct screen_facts {
    const char *name; /* borrowed: what is looked at */
    enum screen_state state;
    uint64_t now_ns;    /* since 1970 */
    uint64_t newest_ns; /* of the newest record; 0 = there is none */
    double read_share;  /* of the file, 0 to 1: less than 1 while it is read for the first time */
    const char *note;   /* borrowed: what is wrong, "" = nothing */
    bool is_own_run;    /* of this very program: q leaves the screen, not the run */
};

struct screen {
    struct canvas canvas;
    struct screen_spot spots[SCREEN_SPOTS_MAX];
    size_t spots_count;
};

/* Draws everything anew; the canvas has its size. */
void screen_draw(struct screen *screen, const struct board *board, struct view *view,
                 const struct screen_facts *facts);
const struct screen_spot *screen_find(const struct screen *screen, size_t row, size_t column);
/* "RUNNING", "STALE", ... */
const char *screen_state_word(enum screen_state state);
/* A number as people read it, at most seven columns: "3,867", "12.34", "1.24 M"; "-" for NaN. */
void screen_format_value(double value, char text[NUM_TEXT_BYTES]);
/* "4s", "2m05s", "3h12m", "5d". */
void screen_format_age(uint64_t age_ns, char text[NUM_TEXT_BYTES]);

#endif
