/* hud/canvas.h - a grid of characters with styles, which a screen is drawn on before it goes to a
 * terminal or into a text.
 *
 * Texts from outside are safe here: what is no character of one column (control characters, escape
 * sequences, marks that change the direction, bytes that are no UTF-8) becomes '?'.
 */
#ifndef HUD_CANVAS_H
#define HUD_CANVAS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/status.h"

#define CANVAS_ROWS_MAX    512
#define CANVAS_COLUMNS_MAX 1024

/* X(name, colour of curses or -1, attributes): what a character says, never by its colour alone.
 * Attributes: 1 = bold, 2 = dim, 4 = reverse. */
#define CANVAS_STYLE_MAP(X) \
    X(PLAIN, -1, 0)         \
    X(DIM, -1, 2)           \
    X(BOLD, -1, 1)          \
    X(BAR, -1, 4)           \
    X(KEY, 6, 1)            \
    X(GOOD, 4, 1)           \
    X(WARN, 3, 0)           \
    X(BAD, 1, 1)            \
    X(WORK, 6, 1)           \
    X(GRAPH, 6, 0)          \
    X(SELECTED, -1, 4)

enum canvas_style {
#define X(name, colour, attributes) CANVAS_##name,
    CANVAS_STYLE_MAP(X)
#undef X
        CANVAS_STYLES_COUNT
};

struct canvas_char {
    uint32_t code; /* Unicode */
    uint8_t style;
};

struct canvas {
    size_t rows, columns;
    bool is_ascii;             /* other characters have stand-ins */
    struct canvas_char *chars; /* owned; rows x columns */
};

/* Blank, of that size at most. Zeroed is fine. STATUS_NOMEM. */
MUST_CHECK enum status canvas_resize(struct canvas *canvas, size_t rows, size_t columns,
                                     struct err *err);
void canvas_release(struct canvas *canvas);
void canvas_clear(struct canvas *canvas);
/* From that column on, cut at `end`, or the edge. Returns the column behind it. Rows that are not
 * there are fine. */
size_t canvas_put(struct canvas *canvas, size_t row, size_t column, size_t end,
                  enum canvas_style style, const char *text);
size_t canvas_putf(struct canvas *canvas, size_t row, size_t column, size_t end,
                   enum canvas_style style, const char *format, ...) PRINTF_LIKE(6, 7);
/* Its last character in the column before `end`; cut at the left. */
void canvas_put_right(struct canvas *canvas, size_t row, size_t begin, size_t end,
                      enum canvas_style style, const char *text);
void canvas_put_code(struct canvas *canvas, size_t row, size_t column, enum canvas_style style,
                     uint32_t code);
void canvas_fill(struct canvas *canvas, size_t row, size_t column, size_t end,
                 enum canvas_style style);
/* Styles what is there anew. */
void canvas_restyle(struct canvas *canvas, size_t row, size_t column, size_t end,
                    enum canvas_style style);
/* Columns of a text on a canvas. */
size_t canvas_width(const char *text);
/* A bar that is filled from 0 to 1, in eighths of a column; without colour too. */
void canvas_put_bar(struct canvas *canvas, size_t row, size_t column, size_t end,
                    enum canvas_style style, double filled);
/* One of eight heights, 0 to 1: of a sparkline. */
void canvas_put_level(struct canvas *canvas, size_t row, size_t column, enum canvas_style style,
                      double level);
/* As lines of text, in UTF-8, without spaces at the end of lines. */
void canvas_append_text(const struct canvas *canvas, struct buf *out);

#endif
