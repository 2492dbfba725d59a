/* base/grid.h - rows and columns of text: for a screen of any width, or as Markdown. */
#ifndef BASE_GRID_H
#define BASE_GRID_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

#define GRID_COLUMNS_MAX 24

enum grid_color { GRID_PLAIN, GRID_GREEN, GRID_YELLOW, GRID_RED, GRID_BOLD };

struct grid_column { /* texts are borrowed: for the grid's life */
    const char *name;
    const char *unit; /* in a line under the names; "" = none */
    bool is_right;    /* numbers */
    /* Where the lines would be too long, the column with the highest number is left out first; 0 =
     * never. */
    unsigned drop;
};

struct grid_cell {
    size_t offset; /* of its text */
    enum grid_color color;
    bool is_markup; /* Markdown as it stands */
};

struct grid {
    const struct grid_column *columns; /* borrowed */
    size_t columns_count;
    struct grid_cell *cells; /* owned; row by row */
    size_t cells_count, cells_capacity;
    struct buf text; /* of all cells, each with its '\0' */
};

void grid_init(struct grid *grid, const struct grid_column *columns, size_t columns_count);
void grid_release(struct grid *grid);

/* The next cell of the row at work; a row is full after columns_count of them. Control characters
 * become '?'. Where memory ends, `text.failed` is set and the grid has no more rows. */
void grid_put(struct grid *grid, enum grid_color color, const char *text);

/* The same of text that is Markdown already, such as a link. */
void grid_put_markup(struct grid *grid, const char *markup);

struct grid_style {
    size_t columns; /* of the screen; 0 = no limit */
    bool is_colored;
    bool is_markdown; /* then the other two are not looked at */
};

/* A line is never broken, and no text is cut: what does not fit within `width` (0 = no limit) is
 * left out, column by column. Which are shown is decided for all rows alike. */
struct grid_layout {
    size_t widths[GRID_COLUMNS_MAX]; /* 0 = not shown */
};

/* False when something had to be left out. */
bool grid_lay_out(const struct grid *grid, size_t width, struct grid_layout *ret_layout);
/* Names and units. */
void grid_format_head(const struct grid *grid, const struct grid_layout *layout, bool is_colored,
                      struct buf *out);
void grid_format_row(const struct grid *grid, const struct grid_layout *layout, size_t row,
                     bool is_colored, struct buf *out);
/* "peak_mem_mb, loss_last", or nothing. */
void grid_format_dropped(const struct grid *grid, const struct grid_layout *layout,
                         struct buf *out);
/* Head, rows, and what there was no room for. */
void grid_format(const struct grid *grid, const struct grid_style *style, struct buf *out);

/* The same as a Markdown table; every column is shown, and text is never read as markup. */
void grid_format_markdown_head(const struct grid *grid, struct buf *out);
void grid_format_markdown_row(const struct grid *grid, size_t row, struct buf *out);

#endif
