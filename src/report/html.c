/* One page that needs nothing else: the files of web/, and the report's blocks as JSON. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/json_write.h"
#include "base/version.h"
#include "base/web.h"
#include "report/format.h"

struct page {
    const struct report_output *output; /* borrowed */
    const struct document *document;    /* borrowed */
    struct json_writer json;
};

/* Six digits: no chart shows more. */
static void put_number(struct page *page, const char *key, double value)
{
    char text[32];
    if (!isfinite(value))
        return;
    (void)snprintf(text, sizeof(text), "%.6g", value);
    json_field_raw(&page->json, key, text);
}

static void put_text(struct page *page, const char *key, const char *text)
{
    if (text[0] != '\0')
        json_field_string(&page->json, key, text);
}

static void put_link(struct page *page, const char *key, const struct report_cell *cell)
{
    struct buf link CLEANUP(buf_release) = {0};
    if (cell == NULL)
        return;
    buf_init(&link, REPORT_BYTES_MAX);
    report_append_link(page->output, cell, &link);
    put_text(page, key, link.data);
}

/* --- charts --- */

static void put_axis(struct page *page, const char *key, const struct chart_axis *axis)
{
    json_put_key(&page->json, key);
    json_begin_object(&page->json);
    json_field_string(&page->json, "title", axis->title);
    put_text(page, "unit", axis->unit);
    if (axis->is_log)
        json_field_string(&page->json, "scale", "log");
    if (axis->floats)
        json_field_bool(&page->json, "floats", true);
    json_end_object(&page->json);
}

static void put_point(struct page *page, const struct chart_point *point)
{
    json_begin_object(&page->json);
    if (isfinite(point->x)) {
        put_number(page, "x", point->x);
        put_text(page, "label", point->label);
    } else {
        json_field_string(&page->json, "x", point->label);
    }
    put_number(page, "y", point->y.value);
    put_number(page, "low", point->y.low);
    put_number(page, "high", point->y.high);
    put_text(page, "note", point->note);
    put_text(page, "failed", point->failed);
    if (point->is_front)
        json_field_bool(&page->json, "front", true);
    put_link(page, "href", point->cell);
    json_end_object(&page->json);
}

static void put_chart(struct page *page, const struct chart *chart)
{
    static const char *const kinds[] = {
        [CHART_LINES] = "lines", [CHART_POINTS] = "points", [CHART_BARS] = "bars"};
    const struct charts *charts = &page->document->charts;
    json_begin_object(&page->json);
    json_field_string(&page->json, "title", chart->title);
    put_text(page, "caption", chart->caption);
    json_field_string(&page->json, "kind", kinds[chart->kind]);
    put_axis(page, "x", &chart->x);
    put_axis(page, "y", &chart->y);
    json_put_key(&page->json, "series");
    json_begin_array(&page->json);
    for (size_t s = 0; s < chart->series_count; s++) {
        const struct chart_series *series = &charts->series[chart->series + s];
        json_begin_object(&page->json);
        json_field_string(&page->json, "name", series->name);
        json_put_key(&page->json, "points");
        json_begin_array(&page->json);
        for (size_t p = 0; p < series->points_count; p++)
            put_point(page, &charts->points[series->points + p]);
        json_end_array(&page->json);
        json_end_object(&page->json);
    }
    json_end_array(&page->json);
    json_end_object(&page->json);
}

/* --- blocks --- */

static void put_cell(struct page *page, const struct table_cell *cell)
{
    bool is_plain = cell->tone == TONE_PLAIN && cell->samples == NULL && isnan(cell->value);
    if (is_plain) {
        json_put_string(&page->json, cell->text);
        return;
    }
    json_begin_object(&page->json);
    json_field_string(&page->json, "t", cell->samples == NULL ? cell->text : "");
    put_number(page, "v", cell->value);
    if (cell->tone != TONE_PLAIN)
        json_field_string(&page->json, "k", tone_word(cell->tone));
    put_link(page, "h", cell->samples);
    json_end_object(&page->json);
}

static void put_table(struct page *page, const struct report_block *block)
{
    const struct document *document = page->document;
    json_put_key(&page->json, "columns");
    json_begin_array(&page->json);
    for (size_t i = 0; i < block->columns_count; i++) {
        const struct column *column = &document->columns[block->columns + i];
        json_begin_object(&page->json);
        json_field_string(&page->json, "title", column->title);
        put_text(page, "unit", column->unit);
        if (column->is_number)
            json_field_bool(&page->json, "number", true);
        json_end_object(&page->json);
    }
    json_end_array(&page->json);
    json_put_key(&page->json, "rows");
    json_begin_array(&page->json);
    for (size_t i = 0; i + block->columns_count <= block->count; i += block->columns_count) {
        json_begin_array(&page->json);
        for (size_t c = 0; c < block->columns_count; c++)
            put_cell(page, &document->cells[block->first + i + c]);
        json_end_array(&page->json);
    }
    json_end_array(&page->json);
}

static void put_items(struct page *page, const struct report_block *block)
{
    json_put_key(&page->json, "items");
    json_begin_array(&page->json);
    for (size_t i = 0; i < block->count; i++) {
        const struct item *item = &page->document->items[block->first + i];
        json_begin_object(&page->json);
        json_field_string(&page->json, "label", item->label);
        json_field_string(&page->json, "value", item->value);
        put_text(page, "more", item->more);
        json_field_string(&page->json, "tone", tone_word(item->tone));
        json_end_object(&page->json);
    }
    json_end_array(&page->json);
}

static void put_block(struct page *page, const struct report_block *block)
{
    json_begin_object(&page->json);
    json_field_string(&page->json, "kind", block_kind_word(block->kind));
    put_text(page, "id", block->id);
    put_text(page, "title", block->title);
    put_text(page, "text", block->text);
    if (block->is_folded)
        json_field_bool(&page->json, "folded", true);
    switch (block->kind) {
    case BLOCK_CARDS:
    case BLOCK_FACTS: put_items(page, block); break;
    case BLOCK_TABLE: put_table(page, block); break;
    case BLOCK_CHARTS:
        json_put_key(&page->json, "charts");
        json_begin_array(&page->json);
        for (size_t i = 0; i < block->count; i++)
            put_chart(page, &page->document->charts.charts[block->first + i]);
        json_end_array(&page->json);
        break;
    case BLOCK_SECTION:
    case BLOCK_TEXT:
    case BLOCK_ALARM:
    case BLOCK_KINDS_COUNT: break;
    }
    json_end_object(&page->json);
}

static void put_data(const struct report_output *output, struct buf *out)
{
    struct page page = {output, output->document, {0}};
    json_writer_init(&page.json, out);
    json_begin_object(&page.json);
    json_put_key(&page.json, "blocks");
    json_begin_array(&page.json);
    for (size_t i = 0; i < output->document->blocks_count; i++)
        put_block(&page, &output->document->blocks[i]);
    json_end_array(&page.json);
    json_end_object(&page.json);
}

/* --- the page --- */

/* JSON inside of a script: a '<' stands only in its texts, and must not begin a tag there. */
static void append_inert(const struct buf *json, struct buf *out)
{
    const char *at = json->data;
    const char *end = json->data + json->length_bytes;
    while (at < end) {
        const char *next = memchr(at, '<', (size_t)(end - at));
        size_t bytes = next != NULL ? (size_t)(next - at) : (size_t)(end - at);
        buf_append(out, at, bytes);
        at += bytes;
        if (next != NULL) {
            buf_append_text(out, "\\u003c");
            at++;
        }
    }
}

static void append_escaped(const char *text, struct buf *out)
{
    for (; *text != '\0'; text++)
        switch (*text) {
        case '&': buf_append_text(out, "&amp;"); break;
        case '<': buf_append_text(out, "&lt;"); break;
        case '>': buf_append_text(out, "&gt;"); break;
        case '"': buf_append_text(out, "&quot;"); break;
        default: buf_append_char(out, *text);
        }
}

/* What a place of the template stands for: {{name}}. */
static void append_place(const char *name, size_t bytes, const struct document *document,
                         const struct buf *data, const char *nonce, struct buf *out)
{
    const struct {
        const char *name;
        const unsigned char *file; /* borrowed */
        size_t file_bytes;
    } files[] = {{"style", web_style_css, web_style_css_bytes},
                 {"charts", web_charts_js, web_charts_js_bytes},
                 {"report", web_report_js, web_report_js_bytes}};
    for (size_t i = 0; i < ARRAY_COUNT(files); i++)
        if (strlen(files[i].name) == bytes && strncmp(files[i].name, name, bytes) == 0) {
            buf_append(out, files[i].file, files[i].file_bytes);
            return;
        }
    if (strncmp(name, "data", bytes) == 0)
        append_inert(data, out);
    else if (strncmp(name, "nonce", bytes) == 0)
        buf_append_text(out, nonce);
    else if (strncmp(name, "program", bytes) == 0)
        append_escaped(version_harness(), out);
    else
        append_escaped(document->title, out);
}

void report_write_html(const struct report_output *output, struct buf *out)
{
    struct buf data CLEANUP(buf_release) = {0};
    char nonce[HASH_ID_BYTES];
    const char *at = (const char *)web_report_html;
    const char *end = at + web_report_html_bytes;
    buf_init(&data, REPORT_BYTES_MAX);
    put_data(output, &data);
    /* Only the page's own style and scripts may run; no text in the data can know this word. */
    hash_id_format(hash_u64(data.data, data.length_bytes) ^ clock_now_ns(), nonce);
    while (at < end) {
        const char *open = memmem(at, (size_t)(end - at), "{{", 2);
        const char *close = open != NULL ? memmem(open, (size_t)(end - open), "}}", 2) : NULL;
        if (close == NULL) {
            buf_append(out, at, (size_t)(end - at));
            break;
        }
        buf_append(out, at, (size_t)(open - at));
        append_place(open + 2, (size_t)(close - open) - 2, output->document, &data, nonce, out);
        at = close + 2;
    }
    out->failed |= data.failed;
}
