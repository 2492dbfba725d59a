/* The same for a page or a comment: charts are bars of text. */
#include <string.h>

#include "base/grid.h"
#include "report/format.h"

#define ROWS_MAX     500
#define PLOT_COLUMNS 100

/* Text from records must not become markup. */
static void append_plain(const char *text, struct buf *out)
{
    for (; *text != '\0'; text++) {
        if (strchr("\\`*_<>[]#|", *text) != NULL)
            buf_append_char(out, '\\');
        buf_append_char(out, *text);
    }
}

static void write_items(const struct document *document, const struct report_block *block,
                        struct buf *out)
{
    bool is_folded = block->is_folded;
    if (is_folded) {
        buf_append_text(out, "\n<details><summary>");
        append_plain(block->title, out);
        buf_append_text(out, "</summary>\n");
    }
    buf_append_char(out, '\n');
    for (size_t i = 0; i < block->count; i++) {
        const struct item *item = &document->items[block->first + i];
        buf_append_text(out, "- ");
        append_plain(item->label, out);
        buf_append_text(out, ": **");
        append_plain(item->value, out);
        buf_append_text(out, "**");
        if (item->more[0] != '\0')
            buf_append_text(out, "; ");
        append_plain(item->more, out);
        buf_append_char(out, '\n');
    }
    if (is_folded)
        buf_append_text(out, "\n</details>\n");
}

/* A link to raw samples in place of their name. */
static void put_link(const struct report_output *output, const struct table_cell *cell,
                     struct grid *grid)
{
    struct buf text CLEANUP(buf_release) = {0};
    buf_init(&text, REPORT_BYTES_MAX);
    report_append_link(output, cell->samples, &text);
    if (text.length_bytes > 0) {
        struct buf link CLEANUP(buf_release) = {0};
        buf_init(&link, REPORT_BYTES_MAX);
        buf_appendf(&link, "[samples](%s)", text.data);
        grid_put_markup(grid, link.data);
    } else {
        grid_put(grid, GRID_PLAIN, "");
    }
}

static void write_table(const struct report_output *output, const struct report_block *block,
                        struct buf *out)
{
    const struct document *document = output->document;
    struct grid_column columns[GRID_COLUMNS_MAX] = {{0}};
    struct grid grid;
    size_t rows = block->count / block->columns_count;
    size_t shown = rows < ROWS_MAX ? rows : ROWS_MAX;
    ASSERT(block->columns_count <= GRID_COLUMNS_MAX);
    for (size_t i = 0; i < block->columns_count; i++) {
        const struct column *column = &document->columns[block->columns + i];
        columns[i] = (struct grid_column){column->title, column->unit, column->is_number, 0};
    }
    grid_init(&grid, columns, block->columns_count);
    for (size_t i = 0; i < shown * block->columns_count; i++) {
        const struct table_cell *cell = &document->cells[block->first + i];
        if (cell->samples != NULL)
            put_link(output, cell, &grid);
        else
            report_put_cell(cell, true, &grid);
    }
    buf_append_text(out, "\n### ");
    append_plain(block->title, out);
    buf_append_text(out, "\n\n");
    grid_format_markdown_head(&grid, out);
    for (size_t r = 0; r < shown && !grid.text.failed; r++)
        grid_format_markdown_row(&grid, r, out);
    if (rows > shown)
        buf_appendf(out, "\n%zu more rows are left out.\n", rows - shown);
    out->failed |= grid.text.failed;
    grid_release(&grid);
}

/* A fence that no line of a plot can end: names are of one line, and bars have no back-ticks. */
static void write_charts(const struct document *document, const struct report_block *block,
                         struct buf *out)
{
    for (size_t i = 0; i < block->count; i++) {
        const struct chart *chart = &document->charts.charts[block->first + i];
        if (!chart->is_main)
            continue;
        buf_append_text(out, "\n``````text\n");
        report_append_plot(document, chart, PLOT_COLUMNS, false, out);
        buf_append_text(out, "``````\n");
    }
}

void report_write_markdown(const struct report_output *output, struct buf *out)
{
    const struct document *document = output->document;
    buf_append_text(out, "# tokmark report: ");
    append_plain(document->title, out);
    buf_append_char(out, '\n');
    for (size_t i = 0; i < document->blocks_count; i++) {
        const struct report_block *block = &document->blocks[i];
        switch (block->kind) {
        case BLOCK_SECTION:
            buf_append_text(out, "\n## ");
            append_plain(block->title, out);
            buf_append_char(out, '\n');
            break;
        case BLOCK_ALARM:
            buf_appendf(out, "\n# ⚠ %s\n\n**%s**\n", block->title, block->text);
            break;
        case BLOCK_TEXT:
            buf_append_char(out, '\n');
            append_plain(block->text, out);
            buf_append_char(out, '\n');
            break;
        case BLOCK_CARDS:
        case BLOCK_FACTS: write_items(document, block, out); break;
        case BLOCK_TABLE: write_table(output, block, out); break;
        case BLOCK_CHARTS: write_charts(document, block, out); break;
        case BLOCK_KINDS_COUNT: break;
        }
    }
}
