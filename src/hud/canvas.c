#include "hud/canvas.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include "base/utf8.h"

#define TEXT_BYTES 1024
#define EIGHTHS    8
#define FULL_BLOCK 0x2588U

enum status canvas_resize(struct canvas *canvas, size_t rows, size_t columns, struct err *err)
{
    rows = rows < CANVAS_ROWS_MAX ? rows : CANVAS_ROWS_MAX;
    columns = columns < CANVAS_COLUMNS_MAX ? columns : CANVAS_COLUMNS_MAX;
    if (rows != canvas->rows || columns != canvas->columns || canvas->chars == NULL) {
        struct canvas_char *chars = reallocarray(canvas->chars, rows * columns + 1, sizeof(*chars));
        if (chars == NULL)
            return ERR(err, STATUS_NOMEM, "no memory for the screen");
        canvas->chars = chars;
        canvas->rows = rows;
        canvas->columns = columns;
    }
    canvas_clear(canvas);
    return STATUS_OK;
}

void canvas_release(struct canvas *canvas)
{
    free(canvas->chars);
    *canvas = (struct canvas){0};
}

void canvas_clear(struct canvas *canvas)
{
    for (size_t i = 0; i < canvas->rows * canvas->columns; i++)
        canvas->chars[i] = (struct canvas_char){' ', CANVAS_PLAIN};
}

/* --- characters --- */

static uint32_t decode(const char *text, size_t bytes)
{
    const unsigned char *at = (const unsigned char *)text;
    static const unsigned char masks[] = {0, 0x7F, 0x1F, 0x0F, 0x07};
    uint32_t code = at[0] & masks[bytes];
    for (size_t i = 1; i < bytes; i++)
        code = code << 6 | (at[i] & 0x3F);
    return code;
}

/* What would move the cursor, join its neighbour or change the direction has another width. */
static bool is_one_column(uint32_t code)
{
    if (code < 0x7F)
        return code >= ' ';
    if (code < 0xA0 || code == 0xAD)
        return false;
    /* Block elements, arrows and the like, whatever the locale. */
    if ((code >= 0x2500 && code < 0x2600) || (code >= 0x2190 && code < 0x2200) || code < 0x300 ||
        code == 0x2713)
        return true;
    return wcwidth((wchar_t)code) == 1;
}

/* The next character of a text as it can be shown. */
static uint32_t next_code(const char **text)
{
    size_t bytes = utf8_sequence_bytes((const unsigned char *)*text);
    uint32_t code = bytes > 0 ? decode(*text, bytes) : '?';
    *text += bytes > 0 ? bytes : 1;
    return is_one_column(code) ? code : '?';
}

static uint32_t in_ascii(uint32_t code)
{
    switch (code) {
    case 0xB0: return ' ';   /* degree */
    case 0xB1: return '~';   /* plus-minus */
    case 0xB7: return '.';   /* middle dot */
    case 0x2500: return '-'; /* horizontal line */
    case 0x2502: return '|'; /* vertical line */
    case 0x25B2: return '^'; /* up */
    case 0x25BC: return 'v'; /* down */
    case 0x25B6: return '>'; /* at work */
    case 0x2713: return '+'; /* tick */
    case 0x2026: return '.'; /* dots */
    case 0x2248: return '~'; /* about */
    default: return code < 0x7F ? code : '?';
    }
}

void canvas_put_code(struct canvas *canvas, size_t row, size_t column, enum canvas_style style,
                     uint32_t code)
{
    if (row >= canvas->rows || column >= canvas->columns)
        return;
    canvas->chars[row * canvas->columns + column] = (struct canvas_char){
        canvas->is_ascii && code >= 0x7F ? in_ascii(code) : code, (uint8_t)style};
}

size_t canvas_width(const char *text)
{
    size_t count = 0;
    for (; *text != '\0'; count++)
        (void)next_code(&text);
    return count;
}

size_t canvas_put(struct canvas *canvas, size_t row, size_t column, size_t end,
                  enum canvas_style style, const char *text)
{
    for (; *text != '\0' && column < end; column++)
        canvas_put_code(canvas, row, column, style, next_code(&text));
    return column;
}

size_t canvas_putf(struct canvas *canvas, size_t row, size_t column, size_t end,
                   enum canvas_style style, const char *format, ...)
{
    char text[TEXT_BYTES];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    return canvas_put(canvas, row, column, end, style, text);
}

void canvas_put_right(struct canvas *canvas, size_t row, size_t begin, size_t end,
                      enum canvas_style style, const char *text)
{
    size_t width = canvas_width(text);
    for (; width > end - begin; width--)
        (void)next_code(&text);
    (void)canvas_put(canvas, row, end - width, end, style, text);
}

void canvas_fill(struct canvas *canvas, size_t row, size_t column, size_t end,
                 enum canvas_style style)
{
    for (; column < end; column++)
        canvas_put_code(canvas, row, column, style, ' ');
}

void canvas_restyle(struct canvas *canvas, size_t row, size_t column, size_t end,
                    enum canvas_style style)
{
    for (; row < canvas->rows && column < end && column < canvas->columns; column++)
        canvas->chars[row * canvas->columns + column].style = (uint8_t)style;
}

/* --- graphs --- */

static double within_one(double value)
{
    return value > 1 ? 1 : value > 0 ? value : 0;
}

void canvas_put_bar(struct canvas *canvas, size_t row, size_t column, size_t end,
                    enum canvas_style style, double filled)
{
    double columns = within_one(filled) * (double)(end - column);
    for (; column < end; column++, columns -= 1) {
        unsigned eighths = (unsigned)(within_one(columns) * EIGHTHS + 0.5);
        if (canvas->is_ascii)
            canvas_put_code(canvas, row, column, eighths >= 4 ? style : CANVAS_DIM,
                            eighths >= 4 ? '#' : '-');
        else if (eighths > 0)
            canvas_put_code(canvas, row, column, style, FULL_BLOCK + EIGHTHS - eighths);
        else
            canvas_put_code(canvas, row, column, CANVAS_DIM, 0x2500);
    }
}

void canvas_put_level(struct canvas *canvas, size_t row, size_t column, enum canvas_style style,
                      double level)
{
    static const char ascii[] = "_.:-=+*#";
    unsigned step = (unsigned)(within_one(level) * (EIGHTHS - 1) + 0.5);
    canvas_put_code(canvas, row, column, style,
                    canvas->is_ascii ? (uint32_t)ascii[step] : 0x2581U + step);
}

/* --- as text --- */

static void append_utf8(uint32_t code, struct buf *out)
{
    if (code < 0x80) {
        buf_append_char(out, (char)code);
    } else if (code < 0x800) {
        buf_append_char(out, (char)(0xC0 | code >> 6));
        buf_append_char(out, (char)(0x80 | (code & 0x3F)));
    } else if (code < 0x10000) {
        buf_append_char(out, (char)(0xE0 | code >> 12));
        buf_append_char(out, (char)(0x80 | (code >> 6 & 0x3F)));
        buf_append_char(out, (char)(0x80 | (code & 0x3F)));
    } else {
        buf_append_char(out, (char)(0xF0 | code >> 18));
        buf_append_char(out, (char)(0x80 | (code >> 12 & 0x3F)));
        buf_append_char(out, (char)(0x80 | (code >> 6 & 0x3F)));
        buf_append_char(out, (char)(0x80 | (code & 0x3F)));
    }
}

void canvas_append_text(const struct canvas *canvas, struct buf *out)
{
    for (size_t row = 0; row < canvas->rows; row++) {
        const struct canvas_char *chars = canvas->chars + row * canvas->columns;
        size_t end = canvas->columns;
        while (end > 0 && chars[end - 1].code == ' ')
            end--;
        for (size_t i = 0; i < end; i++)
            append_utf8(chars[i].code, out);
        buf_append_char(out, '\n');
    }
}
