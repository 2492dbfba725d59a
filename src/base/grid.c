#include "base/grid.h"

#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "base/wrap.h"

#define TEXT_BYTES_MAX ((size_t)256 * 1024 * 1024)
#define GAP            2 /* spaces between columns */

void grid_init(struct grid *grid, const struct grid_column *columns, size_t columns_count)
{
    ASSERT(columns_count > 0 && columns_count <= GRID_COLUMNS_MAX);
    *grid = (struct grid){.columns = columns, .columns_count = columns_count};
    buf_init(&grid->text, TEXT_BYTES_MAX);
}

void grid_release(struct grid *grid)
{
    free(grid->cells);
    buf_release(&grid->text);
    *grid = (struct grid){0};
}

static bool grow(struct grid *grid)
{
    if (grid->cells_count < grid->cells_capacity)
        return true;
    size_t capacity = grid->cells_capacity > 0 ? 2 * grid->cells_capacity : 256;
    struct grid_cell *cells = reallocarray(grid->cells, capacity, sizeof(cells[0]));
    if (cells == NULL)
        return false;
    grid->cells = cells;
    grid->cells_capacity = capacity;
    return true;
}

void grid_put(struct grid *grid, enum grid_color color, const char *text)
{
    size_t offset = grid->text.length_bytes;
    if (!grow(grid))
        grid->text.failed = true;
    buf_append(&grid->text, text, strlen(text) + 1);
    if (grid->text.failed)
        return;
    for (char *c = grid->text.data + offset; *c != '\0'; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
    grid->cells[grid->cells_count++] = (struct grid_cell){offset, color, false};
}

void grid_put_markup(struct grid *grid, const char *markup)
{
    grid_put(grid, GRID_PLAIN, markup);
    if (!grid->text.failed)
        grid->cells[grid->cells_count - 1].is_markup = true;
}

static const char *text_at(const struct grid *grid, size_t row, size_t column)
{
    return grid->text.data + grid->cells[row * grid->columns_count + column].offset;
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static size_t line_width(const struct grid *grid, const struct grid_layout *layout)
{
    size_t total = 0;
    for (size_t i = 0; i < grid->columns_count; i++)
        total += layout->widths[i] > 0 ? layout->widths[i] + GAP : 0;
    return total > 0 ? total - GAP : 0;
}

bool grid_lay_out(const struct grid *grid, size_t width, struct grid_layout *ret_layout)
{
    ASSERT(grid->columns_count > 0);
    *ret_layout = (struct grid_layout){{0}};
    for (size_t i = 0; i < grid->columns_count; i++)
        ret_layout->widths[i] =
            larger(utf8_columns(grid->columns[i].name), utf8_columns(grid->columns[i].unit));
    for (size_t i = 0; i < grid->cells_count; i++) {
        size_t *column = &ret_layout->widths[i % grid->columns_count];
        *column = larger(*column, utf8_columns(grid->text.data + grid->cells[i].offset));
    }
    bool is_whole = true;
    for (; width > 0 && line_width(grid, ret_layout) > width; is_whole = false) {
        size_t first = 0;
        for (size_t i = 1; i < grid->columns_count; i++)
            if (ret_layout->widths[i] > 0 && (ret_layout->widths[first] == 0 ||
                                              grid->columns[i].drop > grid->columns[first].drop))
                first = i;
        if (grid->columns[first].drop == 0 || ret_layout->widths[first] == 0)
            return false;
        ret_layout->widths[first] = 0;
    }
    return is_whole;
}

static const char *color_code(enum grid_color color)
{
    switch (color) {
    case GRID_PLAIN: break;
    case GRID_GREEN: return "\x1b[32m";
    case GRID_YELLOW: return "\x1b[33m";
    case GRID_RED: return "\x1b[31m";
    case GRID_BOLD: return "\x1b[1m";
    }
    return "";
}

/* One padded entry. Spaces at the end of a line are left out: `pending` are those that come before
 * the next text. */
static void append_entry(const struct grid_column *column, const char *text, size_t width,
                         enum grid_color color, size_t *pending, struct buf *out)
{
    size_t pad = width - utf8_columns(text);
    size_t before = *pending + (column->is_right ? pad : 0);
    if (text[0] != '\0')
        buf_appendf(out, "%*s%s%s%s", (int)before, "", color_code(color), text,
                    color != GRID_PLAIN ? "\x1b[0m" : "");
    *pending = (text[0] != '\0' ? 0 : before) + (column->is_right ? 0 : pad) + GAP;
}

void grid_format_head(const struct grid *grid, const struct grid_layout *layout, bool is_colored,
                      struct buf *out)
{
    bool has_units = false;
    for (size_t i = 0; i < grid->columns_count; i++)
        has_units |= layout->widths[i] > 0 && grid->columns[i].unit[0] != '\0';
    for (int is_unit = 0; is_unit < (has_units ? 2 : 1); is_unit++) {
        size_t pending = 0;
        for (size_t i = 0; i < grid->columns_count; i++)
            if (layout->widths[i] > 0)
                append_entry(&grid->columns[i],
                             is_unit ? grid->columns[i].unit : grid->columns[i].name,
                             layout->widths[i], is_colored && !is_unit ? GRID_BOLD : GRID_PLAIN,
                             &pending, out);
        buf_append_char(out, '\n');
    }
}

void grid_format_row(const struct grid *grid, const struct grid_layout *layout, size_t row,
                     bool is_colored, struct buf *out)
{
    size_t pending = 0;
    for (size_t i = 0; i < grid->columns_count; i++)
        if (layout->widths[i] > 0)
            append_entry(&grid->columns[i], text_at(grid, row, i), layout->widths[i],
                         is_colored ? grid->cells[row * grid->columns_count + i].color : GRID_PLAIN,
                         &pending, out);
    buf_append_char(out, '\n');
}

void grid_format_dropped(const struct grid *grid, const struct grid_layout *layout, struct buf *out)
{
    const char *separator = "";
    for (size_t i = 0; i < grid->columns_count; i++) {
        if (layout->widths[i] > 0)
            continue;
        buf_appendf(out, "%s%s", separator, grid->columns[i].name);
        separator = ", ";
    }
}

/* --- Markdown --- */

static void append_escaped(const char *text, struct buf *out)
{
    for (; *text != '\0'; text++) {
        if (strchr("\\|<`*[", *text) != NULL)
            buf_append_char(out, '\\');
        buf_append_char(out, *text);
    }
}

void grid_format_markdown_head(const struct grid *grid, struct buf *out)
{
    for (size_t i = 0; i < grid->columns_count; i++) {
        const struct grid_column *column = &grid->columns[i];
        bool has_unit = column->unit[0] != '\0';
        buf_appendf(out, "%s %s%s%s%s |", i == 0 ? "|" : "", column->name, has_unit ? " (" : "",
                    column->unit, has_unit ? ")" : "");
    }
    buf_append_char(out, '\n');
    for (size_t i = 0; i < grid->columns_count; i++)
        buf_appendf(out, "%s ---%s |", i == 0 ? "|" : "", grid->columns[i].is_right ? ":" : "");
    buf_append_char(out, '\n');
}

void grid_format_markdown_row(const struct grid *grid, size_t row, struct buf *out)
{
    for (size_t i = 0; i < grid->columns_count; i++) {
        buf_append_text(out, i == 0 ? "| " : " ");
        if (grid->cells[row * grid->columns_count + i].is_markup)
            buf_append_text(out, text_at(grid, row, i));
        else
            append_escaped(text_at(grid, row, i), out);
        buf_append_text(out, " |");
    }
    buf_append_char(out, '\n');
}

/* --- whole --- */

void grid_format(const struct grid *grid, const struct grid_style *style, struct buf *out)
{
    static const char left_out[] = "No room for: ";
    struct grid_layout layout;
    struct buf names;
    size_t rows_count = grid->cells_count / grid->columns_count;
    bool is_whole = grid_lay_out(grid, style->columns, &layout);
    out->failed |= grid->text.failed;
    if (style->is_markdown)
        grid_format_markdown_head(grid, out);
    else
        grid_format_head(grid, &layout, style->is_colored, out);
    for (size_t i = 0; i < rows_count; i++) {
        if (style->is_markdown)
            grid_format_markdown_row(grid, i, out);
        else
            grid_format_row(grid, &layout, i, style->is_colored, out);
    }
    if (style->is_markdown || is_whole)
        return;
    buf_init(&names, TEXT_BYTES_MAX);
    grid_format_dropped(grid, &layout, &names);
    if (names.length_bytes > 0) {
        buf_appendf(out, "\n%s", left_out);
        wrap_text(names.data, style->columns, strlen(left_out), 2, out);
    }
    buf_release(&names);
}
