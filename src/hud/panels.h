/* hud/panels.h - the parts of a screen (hud/screen.h). */
#ifndef HUD_PANELS_H
#define HUD_PANELS_H

#include "hud/screen.h"

/* The trial at work, from row `top` on in so many rows; the row behind it. */
size_t panel_now(struct screen *screen, const struct board *board, const struct screen_facts *facts,
                 size_t top, size_t rows_count);
/* The selected place, in one row. */
void panel_detail(struct screen *screen, const struct board *board, const struct view *view,
                  const struct screen_facts *facts, size_t row);
/* The places in rows [top, bottom): as a matrix, or as bars. */
void panel_cells(struct screen *screen, const struct board *board, struct view *view,
                 const struct screen_facts *facts, size_t top, size_t bottom);

/* A click there is that key, or selects that place. */
void screen_add_key(struct screen *screen, size_t row, size_t begin, size_t end, uint32_t key);
void screen_add_place(struct screen *screen, size_t row, size_t begin, size_t end, uint32_t place);

#endif
