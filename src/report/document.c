#include "report/document.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/num.h"

#define X(name, word) word,
static const char *const kind_words[] = {BLOCK_KIND_MAP(X)};
static const char *const tone_words[] = {TONE_MAP(X)};
#undef X

const char *block_kind_word(enum block_kind kind)
{
    ASSERT(kind < BLOCK_KINDS_COUNT);
    return kind_words[kind];
}

const char *tone_word(enum tone tone)
{
    ASSERT(tone < TONES_COUNT);
    return tone_words[tone];
}

enum tone tone_of_verdict(enum verdict verdict)
{
    switch (verdict) {
    case VERDICT_OK: return TONE_GOOD;
    case VERDICT_UNSTEADY:
    case VERDICT_UNSUPPORTED:
    case VERDICT_INTERRUPTED: return TONE_WARN;
    case VERDICT_INVALID:
    case VERDICT_OOM:
    case VERDICT_TIMEOUT:
    case VERDICT_CRASHED:
    case VERDICT_PROTOCOL_ERROR:
    case VERDICT_COUNT: break;
    }
    return TONE_BAD;
}

const char *tone_sign(enum tone tone)
{
    static const char *const signs[] = {
        [TONE_PLAIN] = "", [TONE_GOOD] = "✓", [TONE_WARN] = "!", [TONE_BAD] = "✗"};
    ASSERT(tone < TONES_COUNT);
    return signs[tone];
}

/* --- building --- */

/* A zeroed one more; NULL: memory ended. */
static void *add(struct document *document, void **items, size_t *count, size_t *capacity,
                 size_t item_bytes)
{
    if (*count == *capacity) {
        size_t wanted = *capacity * 2 + 64;
        void *grown = document->failed ? NULL : reallocarray(*items, wanted, item_bytes);
        if (grown == NULL) {
            document->failed = true;
            return NULL;
        }
        *items = grown;
        *capacity = wanted;
    }
    return (char *)*items + (*count)++ * item_bytes;
}

static void add_block(struct document *document, const struct report_block *block)
{
    void *items = document->blocks;
    struct report_block *place =
        add(document, &items, &document->blocks_count, &document->blocks_capacity, sizeof(*place));
    document->blocks = items;
    if (place != NULL)
        *place = *block;
}

static struct report_block *last_block(struct document *document)
{
    return document->blocks_count > 0 ? &document->blocks[document->blocks_count - 1] : NULL;
}

void document_section(struct document *document, const char *id, const char *title)
{
    add_block(document,
              &(struct report_block){.kind = BLOCK_SECTION, .id = id, .title = title, .text = ""});
}

void document_text(struct document *document, const char *format, ...)
{
    char text[TEXTS_BYTES_MAX];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    add_block(document, &(struct report_block){.kind = BLOCK_TEXT,
                                               .id = "",
                                               .title = "",
                                               .text = texts_keep(&document->report->texts, text)});
}

void document_alarm(struct document *document, const char *title, const char *text)
{
    add_block(document,
              &(struct report_block){.kind = BLOCK_ALARM, .id = "", .title = title, .text = text});
}

void document_list(struct document *document, enum block_kind kind, const char *title,
                   bool is_folded)
{
    add_block(document, &(struct report_block){.kind = kind,
                                               .id = "",
                                               .title = title,
                                               .text = "",
                                               .is_folded = is_folded,
                                               .first = document->items_count});
}

void document_item(struct document *document, const char *label, const char *value,
                   const char *more, enum tone tone)
{
    void *items = document->items;
    struct item *place =
        add(document, &items, &document->items_count, &document->items_capacity, sizeof(*place));
    document->items = items;
    if (place == NULL)
        return;
    *place = (struct item){label, value, more, tone};
    last_block(document)->count++;
}

void document_table(struct document *document, const char *id, const char *title, bool is_wordy,
                    const struct column *columns, size_t columns_count)
{
    add_block(document, &(struct report_block){.kind = BLOCK_TABLE,
                                               .id = id,
                                               .title = title,
                                               .text = "",
                                               .is_wordy = is_wordy,
                                               .first = document->cells_count,
                                               .columns = document->columns_count,
                                               .columns_count = columns_count});
    for (size_t i = 0; i < columns_count; i++) {
        void *items = document->columns;
        struct column *place = add(document, &items, &document->columns_count,
                                   &document->columns_capacity, sizeof(*place));
        document->columns = items;
        if (place != NULL)
            *place = columns[i];
    }
}

struct table_cell *document_cell(struct document *document, const char *text)
{
    void *items = document->cells;
    struct table_cell *place =
        add(document, &items, &document->cells_count, &document->cells_capacity, sizeof(*place));
    document->cells = items;
    if (place == NULL)
        return &document->nowhere;
    *place = (struct table_cell){.text = text, .value = NAN};
    last_block(document)->count++;
    return place;
}

struct table_cell *document_number(struct document *document, double value)
{
    struct buf text CLEANUP(buf_release) = {0};
    buf_init(&text, NUM_TEXT_BYTES * 2);
    if (isfinite(value) && value == floor(value) && fabs(value) < 1e15)
        num_append_whole(value, &text);
    else
        num_append_short(value, &text);
    struct table_cell *cell =
        document_cell(document, texts_keep(&document->report->texts, text.data));
    cell->value = value;
    return cell;
}

struct table_cell *document_value(struct document *document, const struct report_value *value)
{
    struct buf text CLEANUP(buf_release) = {0};
    buf_init(&text, TEXTS_BYTES_MAX);
    num_append_short(value->value, &text);
    if (isfinite(value->low) && isfinite(value->high)) {
        buf_append_text(&text, " (");
        num_append_short(value->low, &text);
        buf_append_text(&text, " to ");
        num_append_short(value->high, &text);
        buf_append_char(&text, ')');
    }
    struct table_cell *cell =
        document_cell(document, texts_keep(&document->report->texts, text.data));
    cell->value = value->value;
    return cell;
}

void document_verdict(struct document *document, enum verdict verdict)
{
    document_cell(document, verdict_name(verdict))->tone = tone_of_verdict(verdict);
}

void document_charts(struct document *document, enum report_section section)
{
    const struct charts *charts = &document->charts;
    for (size_t i = 0; i < charts->charts_count;) {
        size_t first = i;
        while (i < charts->charts_count && charts->charts[i].section == section)
            i++;
        if (i > first)
            add_block(document, &(struct report_block){.kind = BLOCK_CHARTS,
                                                       .id = "",
                                                       .title = "",
                                                       .text = "",
                                                       .first = first,
                                                       .count = i - first});
        i += i == first;
    }
}

/* --- all of it --- */

static void add_sections(struct document *document)
{
    document_add_glance(document);
    document_add_fast(document);
    document_add_fits(document);
    document_add_trust(document);
    document_add_limit(document);
    document_add_changed(document);
    document_add_results(document);
}

enum status document_new(struct report *report, struct document **ret_document, struct err *err)
{
    struct document *document = calloc(1, sizeof(*document));
    if (document == NULL)
        return ERR(err, STATUS_NOMEM, "no memory for a report");
    document->report = report;
    enum status status = charts_make(report, &document->charts, err);
    if (status == STATUS_OK)
        status = fits_make(report, &document->fits, err);
    if (status == STATUS_OK)
        status = changes_make(report, &document->changes, err);
    if (status == STATUS_OK)
        add_sections(document);
    if (status == STATUS_OK && (document->failed || report->texts.failed))
        status = ERR(err, STATUS_NOMEM, "no memory for a report");
    if (status == STATUS_OK)
        *ret_document = document;
    else
        document_free(document);
    return status;
}

void document_free(struct document *document)
{
    if (document == NULL)
        return;
    charts_release(&document->charts);
    fits_release(&document->fits);
    changes_release(&document->changes);
    free(document->blocks);
    free(document->items);
    free(document->columns);
    free(document->cells);
    free(document);
}
