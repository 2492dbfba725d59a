/* Plots and tables for a terminal. */
#include <string.h>

#include "base/grid.h"
#include "base/wrap.h"
#include "report/format.h"

#define ROWS_MAX        100
#define COLUMNS_DEFAULT 100

struct text_screen {
    const struct report_output *output; /* borrowed */
    const struct document *document;    /* borrowed */
    struct buf *out;                    /* borrowed */
};

static void append_bold(const struct text_screen *screen, const char *text)
{
    buf_appendf(screen->out, "%s%s%s", screen->output->has_color ? "\x1b[1m" : "", text,
                screen->output->has_color ? "\x1b[0m" : "");
}

static void append_toned(const struct text_screen *screen, enum tone tone, const char *text)
{
    static const char *const codes[] = {[TONE_PLAIN] = "",
                                        [TONE_GOOD] = "\x1b[32m",
                                        [TONE_WARN] = "\x1b[33m",
                                        [TONE_BAD] = "\x1b[31m"};
    bool has_color = screen->output->has_color && tone != TONE_PLAIN;
    buf_appendf(screen->out, "%s%s%s", has_color ? codes[tone] : "", text,
                has_color ? "\x1b[0m" : "");
}

/* Characters, not bytes. */
static size_t columns_of(const char *text, size_t bytes)
{
    size_t columns = 0;
    for (size_t i = 0; i < bytes; i++)
        columns += ((unsigned char)text[i] & 0xc0) != 0x80;
    return columns;
}

/* Text in lines that fit, of which `used` columns are taken. */
static void append_wrapped(const struct text_screen *screen, size_t used, size_t indent,
                           const char *text)
{
    size_t columns = screen->output->columns;
    wrap_text(text, columns > 0 ? columns : COLUMNS_DEFAULT, used, indent, screen->out);
}

/* --- blocks --- */

static void write_section(const struct text_screen *screen, const struct report_block *block)
{
    size_t columns = screen->output->columns;
    size_t line = columns > 0 && columns < 100 ? columns : 100;
    buf_append_char(screen->out, '\n');
    append_bold(screen, block->title);
    buf_append_char(screen->out, '\n');
    for (size_t i = 0; i < line; i++)
        buf_append_text(screen->out, screen->output->is_ascii ? "-" : "─");
    buf_append_char(screen->out, '\n');
}

static void write_alarm(const struct text_screen *screen, const struct report_block *block)
{
    buf_append_text(screen->out, "\n####################################\n####  ");
    for (const char *c = block->title; *c != '\0'; c++) {
        char letter[] = {*c, ' ', c[1] != '\0' ? ' ' : '\0', '\0'};
        append_bold(screen, letter);
    }
    buf_append_text(screen->out, "\n####################################\n");
    append_wrapped(screen, 0, 0, block->text);
}

static void write_items(const struct text_screen *screen, const struct report_block *block)
{
    if (block->title[0] != '\0')
        buf_appendf(screen->out, "\n%s\n", block->title);
    for (size_t i = 0; i < block->count; i++) {
        const struct item *item = &screen->document->items[block->first + i];
        buf_appendf(screen->out, "  %s: ", item->label);
        append_toned(screen, item->tone, item->value);
        if (item->more[0] != '\0')
            buf_append_text(screen->out, "; ");
        append_wrapped(screen,
                       2 + columns_of(item->label, strlen(item->label)) + 2 +
                           columns_of(item->value, strlen(item->value)) +
                           (item->more[0] != '\0' ? 2 : 0),
                       4, item->more);
    }
}

/* A row of sentences: "oom memory_does_not_fit; cells: 2; for example: ..." */
static void write_words(const struct text_screen *screen, const struct report_block *block)
{
    const struct document *document = screen->document;
    buf_appendf(screen->out, "\n%s\n", block->title);
    for (size_t i = 0; i + block->columns_count <= block->count; i += block->columns_count) {
        const struct table_cell *cells = &document->cells[block->first + i];
        struct buf line CLEANUP(buf_release) = {0};
        buf_init(&line, REPORT_BYTES_MAX);
        buf_append_text(&line, cells[1].text);
        for (size_t c = 2; c < block->columns_count; c++)
            if (cells[c].text[0] != '\0')
                buf_appendf(&line, "; %s: %s", document->columns[block->columns + c].title,
                            cells[c].text);
        buf_append_text(screen->out, "  ");
        append_toned(screen, cells[0].tone, cells[0].text);
        buf_append_char(screen->out, ' ');
        append_wrapped(screen, 3 + columns_of(cells[0].text, strlen(cells[0].text)), 4, line.data);
    }
}

static void write_table(const struct text_screen *screen, const struct report_block *block)
{
    struct grid_column columns[GRID_COLUMNS_MAX] = {{0}};
    struct grid_layout layout;
    struct grid grid;
    size_t count =
        block->columns_count < GRID_COLUMNS_MAX ? block->columns_count : GRID_COLUMNS_MAX;
    ASSERT(count > 0 && count == block->columns_count);
    for (size_t i = 0; i < count; i++) {
        const struct column *column = &screen->document->columns[block->columns + i];
        columns[i] =
            (struct grid_column){column->title, column->unit, column->is_number, column->drop};
    }
    grid_init(&grid, columns, count);
    size_t all = block->count / count;
    size_t rows = all < ROWS_MAX ? all : ROWS_MAX;
    for (size_t i = 0; i < rows * count; i++)
        report_put_cell(&screen->document->cells[block->first + i], false, &grid);
    rows = grid.text.failed ? 0 : rows;
    buf_append_char(screen->out, '\n');
    buf_appendf(screen->out, "%s\n", block->title);
    bool is_whole = grid_lay_out(&grid, screen->output->columns, &layout);
    grid_format_head(&grid, &layout, screen->output->has_color, screen->out);
    for (size_t r = 0; r < rows; r++)
        grid_format_row(&grid, &layout, r, screen->output->has_color, screen->out);
    if (all > rows)
        buf_appendf(screen->out, "%zu more rows: --format html:FILE shows them\n", all - rows);
    if (!is_whole) {
        struct buf line CLEANUP(buf_release) = {0};
        buf_init(&line, REPORT_BYTES_MAX);
        buf_append_text(&line, "Not shown for lack of room: ");
        grid_format_dropped(&grid, &layout, &line);
        append_wrapped(screen, 0, 2, line.data);
    }
    screen->out->failed |= grid.text.failed;
    grid_release(&grid);
}

static void write_charts(const struct text_screen *screen, const struct report_block *block)
{
    for (size_t i = 0; i < block->count; i++) {
        const struct chart *chart = &screen->document->charts.charts[block->first + i];
        if (!chart->is_main)
            continue;
        buf_append_char(screen->out, '\n');
        report_append_plot(screen->document, chart, screen->output->columns,
                           screen->output->is_ascii, screen->out);
    }
}

/* Letters that are not ASCII have stand-ins where the terminal has no other. */
static void make_ascii(struct buf *out)
{
    static const struct {
        const char *from, *to;
    } stand_ins[] = {{"±", "+-"}, {"▲", "^"}, {"▼", "v"}, {"✓", "ok"}, {"✗", "x"}};
    struct buf plain CLEANUP(buf_release) = {0};
    buf_init(&plain, REPORT_BYTES_MAX);
    for (const char *at = out->data; *at != '\0';) {
        size_t i = 0;
        while (i < ARRAY_COUNT(stand_ins) &&
               strncmp(at, stand_ins[i].from, strlen(stand_ins[i].from)) != 0)
            i++;
        if (i < ARRAY_COUNT(stand_ins)) {
            buf_append_text(&plain, stand_ins[i].to);
            at += strlen(stand_ins[i].from);
            continue;
        }
        buf_append_char(&plain, (unsigned char)*at < 0x80 ? *at : '?');
        for (at++; ((unsigned char)*at & 0xc0) == 0x80;)
            at++;
    }
    bool has_failed = out->failed || plain.failed;
    buf_reset(out);
    buf_append(out, plain.data, plain.length_bytes);
    out->failed |= has_failed;
}

void report_write_text(const struct report_output *output, struct buf *out)
{
    const struct text_screen screen = {output, output->document, out};
    buf_appendf(out, "tokmark report: %s\n", output->document->title);
    for (size_t i = 0; i < output->document->blocks_count; i++) {
        const struct report_block *block = &output->document->blocks[i];
        switch (block->kind) {
        case BLOCK_SECTION: write_section(&screen, block); break;
        case BLOCK_TEXT:
            if (i > 0 && block[-1].kind == BLOCK_TABLE)
                buf_append_char(out, '\n');
            append_wrapped(&screen, 0, 0, block->text);
            break;
        case BLOCK_ALARM: write_alarm(&screen, block); break;
        case BLOCK_CARDS:
        case BLOCK_FACTS: write_items(&screen, block); break;
        case BLOCK_TABLE:
            if (block->is_wordy)
                write_words(&screen, block);
            else
                write_table(&screen, block);
            break;
        case BLOCK_CHARTS: write_charts(&screen, block); break;
        case BLOCK_KINDS_COUNT: break;
        }
    }
    if (output->is_ascii)
        make_ascii(out);
}
