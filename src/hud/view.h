/* hud/view.h - what of a board is shown, and what keys change of it. Pure.
 *
 * Places that pass the filters are the entries of a matrix: a row for each engine, model, device,
 * mode, precision and length, a column for each batch size.
 */
#ifndef HUD_VIEW_H
#define HUD_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "hud/board.h"
#include "hud/keys.h"

#define VIEW_FIND_BYTES 64

struct view_row {
    size_t begin, end; /* its entries in `shown` */
};

struct view {
    /* filters; LOOKUP_NONE = all */
    uint32_t batch, seq, precision, engine;
    char find[VIEW_FIND_BYTES]; /* words that all must be in a place's name; "" = all */
    bool is_finding;            /* keys are typed into it */
    enum board_metric metric;
    bool is_plot, is_help, is_paused;
    uint32_t base;     /* the place that others are compared with; LOOKUP_NONE = none */
    uint32_t selected; /* a place; LOOKUP_NONE = none */
    bool is_following; /* the selection goes along with the cell at work */
    size_t top;        /* the first row, or bar, that is on the screen */
    size_t rows_on_screen;
    /* made by view_update() */
    uint64_t version; /* the board's, at that time */
    bool is_stale;    /* a key has changed what is shown */
    uint64_t due_ns;  /* not before, for the board's sake: a large one is not sorted all the time */
    uint32_t *shown;  /* owned; places, in order */
    size_t shown_count;
    struct view_row *rows; /* owned */
    size_t rows_count;
    uint32_t *batches; /* owned; the columns, ascending */
    size_t batches_count;
    bool is_cut_off;     /* the run that was at work has died or fallen silent */
    bool has_several[5]; /* engines, models, devices, modes, precisions among those shown */
};

enum view_answer { VIEW_IGNORED, VIEW_CHANGED, VIEW_QUIT };

void view_init(struct view *view);
void view_release(struct view *view);
/* Brings what is shown up to date, where the board or the filters have changed. STATUS_NOMEM. */
MUST_CHECK enum status view_update(struct view *view, const struct board *board, uint64_t now_ns,
                                   struct err *err);
enum view_answer view_key(struct view *view, const struct board *board, uint32_t key);
void view_select(struct view *view, uint32_t place);
/* The entry of that row and column; LOOKUP_NONE = there is none. */
uint32_t view_entry(const struct view *view, const struct board *board, size_t row, size_t column);
/* The value of a place, or its change against the base in %; NaN = not known. *ret_is_change. */
double view_value(const struct view *view, const struct board *board, uint32_t place,
                  bool *ret_is_change);
/* Appends the filters that are on: "batch 4  seq 512", "" = none. */
void view_describe_filters(const struct view *view, const struct board *board, struct buf *out);
/* Appends the names that all places shown share: "  native superintelligence-tiny cpu". */
void view_describe_common(const struct view *view, const struct board *board, struct buf *out);
/* "native superintelligence-tiny train fp32 seq 512 batch 4", of the names what differs; all of
 * them with `is_whole`. */
void view_describe_place(const struct view *view, const struct board *board, uint32_t place,
                         bool is_whole, struct buf *out);

#endif
