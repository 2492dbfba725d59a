/* What is fast, what fits, and what has changed. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/num.h"
#include "report/best.h"
#include "report/document.h"

static void begin(struct document *document, enum report_section section)
{
    document_section(document, report_section_id(section), report_section_title(section));
}

static double throughput(const struct report_cell *cell)
{
    return cell->tokens_per_sec.value;
}

/* --- fast --- */

void document_add_fast(struct document *document)
{
    static const struct column columns[] = {{"fastest cell", "", false, 0},
                                            {"throughput", "tokens/s", true, 0},
                                            {"median", "ms", true, 1},
                                            {"p99", "ms", true, 3},
                                            {"verdict", "", false, 2}};
    const struct report_cell *best[BEST_ROWS_MAX];
    if (document->report->cells_count == 0)
        return;
    begin(document, REPORT_SECTION_FAST);
    size_t count = best_find(document->report, throughput, best);
    if (count == 0) {
        document_text(document, "No cell has a valid result.");
        return;
    }
    document_text(document, "Throughput counts all tokens of the measured window. In brackets is "
                            "the 95 %% interval; of several trials the middle one is shown, with "
                            "the interval over all of them.");
    document_table(document, "fastest", "The fastest cell of each mode, engine and precision",
                   false, columns, ARRAY_COUNT(columns));
    for (size_t i = 0; i < count; i++) {
        document_cell(document, document_cell_name(document, best[i]));
        document_value(document, &best[i]->tokens_per_sec);
        document_value(document, &best[i]->ms);
        document_number(document, best[i]->ms_p99);
        document_verdict(document, best[i]->verdict);
    }
    document_charts(document, REPORT_SECTION_FAST);
}

/* --- fits --- */

static const char *batch_text(struct document *document, uint32_t fits, uint32_t fails)
{
    struct report_texts *texts = &document->report->texts;
    if (fits > 0 && fails > 0)
        return texts_keepf(texts, "%" PRIu32 " (%" PRIu32 " does not)", fits, fails);
    if (fits > 0)
        return texts_keepf(texts, "%" PRIu32 " or more", fits);
    return fails > 0 ? texts_keepf(texts, "none (%" PRIu32 " does not)", fails) : "";
}

static void add_fits_table(struct document *document, const struct fits_table *table)
{
    struct report_texts *texts = &document->report->texts;
    struct column columns[FITS_COLUMNS_MAX + 1] = {{"batch", "", false, 0}};
    for (size_t c = 0; c < table->seqs_count; c++)
        columns[c + 1] =
            (struct column){texts_keepf(texts, "seq %" PRIu32, table->seqs[c]), "", true, 0};
    document_table(document, "", table->title, false, columns, table->seqs_count + 1);
    for (size_t r = 0; r < table->batches_count; r++) {
        document_cell(document, texts_keepf(texts, "%" PRIu32, table->batches[r]));
        for (size_t c = 0; c < table->seqs_count; c++) {
            const struct report_cell *cell = table->cells[r][c];
            struct buf text CLEANUP(buf_release) = {0};
            buf_init(&text, TEXTS_BYTES_MAX);
            fits_append_cell(cell, &text);
            struct table_cell *place =
                document_cell(document, cell == NULL ? "not run" : texts_keep(texts, text.data));
            place->tone =
                cell == NULL || cell->has_result ? TONE_PLAIN : tone_of_verdict(cell->verdict);
        }
    }
    document_cell(document, "largest that fits");
    for (size_t c = 0; c < table->seqs_count; c++) {
        uint32_t fits = 0;
        uint32_t fails = 0;
        fits_column(table, c, &fits, &fails);
        document_cell(document, batch_text(document, fits, fails));
    }
    if (table->dropped_count > 0)
        document_text(document, "%zu more cells have no room in this table.", table->dropped_count);
}

static bool has_meter(const struct report *report, size_t meter)
{
    for (size_t i = 0; i < report->cells_count; i++)
        if (report->cells[i].has_result && isfinite(report->cells[i].memory_mb[meter]))
            return true;
    return false;
}

/* Beside the engine's own peak, what others saw of the same cell. */
static void add_meters(struct document *document)
{
    const struct report *report = document->report;
    struct column columns[REPORT_METERS_COUNT + 1] = {{"cell", "", false, 0}};
    size_t meters[REPORT_METERS_COUNT];
    size_t count = 0;
    for (size_t i = 0; i < REPORT_METERS_COUNT; i++) {
        if (!has_meter(report, i))
            continue;
        meters[count++] = i;
        columns[count] = (struct column){report_meter_words[i], "MiB", true, (unsigned)i};
    }
    if (count < 2)
        return;
    document_text(document, "The engine tells its peak, what it had allocated and what its "
                            "allocator reserved; the kernel how much the process grew; the driver "
                            "what the process and everybody held on the card.");
    document_table(document, "meters", "Memory of each cell, by who tells it", false, columns,
                   count + 1);
    size_t rows = 0;
    for (size_t i = 0; i < report->cells_count; i++) {
        const struct report_cell *cell = &report->cells[i];
        if (!cell->has_result || rows++ >= BEST_ROWS_MAX)
            continue;
        document_cell(document, document_cell_name(document, cell));
        for (size_t c = 0; c < count; c++)
            document_number(document, (double)cell->memory_mb[meters[c]]);
    }
    if (rows > BEST_ROWS_MAX)
        document_text(document, "%zu more cells are left out here.", rows - BEST_ROWS_MAX);
}

void document_add_fits(struct document *document)
{
    const struct report *report = document->report;
    const struct fits *fits = &document->fits;
    if (report->cells_count == 0)
        return;
    begin(document, REPORT_SECTION_FITS);
    size_t fails = report->verdicts[VERDICT_OOM];
    if (fails == 0)
        document_text(document, "Everything that was tried fits.");
    else
        document_text(document, "%zu of %zu cells did not fit (oom).", fails, report->cells_count);
    if (fits->tables_count > 0)
        document_text(document,
                      "The tables have the peak memory, measured or else predicted; their "
                      "last line is the largest batch that gave a result.");
    for (size_t i = 0; i < fits->tables_count; i++)
        add_fits_table(document, &fits->tables[i]);
    if (fits->left_out > 0)
        document_text(document, "%zu more tables are left out.", fits->left_out);
    add_meters(document);
    document_charts(document, REPORT_SECTION_FITS);
}

/* --- changed --- */

static enum tone tone_of_change(enum compare_verdict verdict)
{
    switch (verdict) {
    case COMPARE_WORSE:
    case COMPARE_NOT_COMPARABLE:
    case COMPARE_MISSING: return TONE_BAD;
    case COMPARE_UNDECIDED: return TONE_WARN;
    case COMPARE_BETTER: return TONE_GOOD;
    case COMPARE_SAME:
    case COMPARE_NEW:
    case COMPARE_VERDICTS_COUNT: break;
    }
    return TONE_PLAIN;
}

static void add_set(struct document *document, const struct changes_set *set)
{
    static const struct column columns[] = {{"verdict", "", false, 0},      {"cell", "", false, 0},
                                            {"metric", "", false, 1},       {"base", "", true, 3},
                                            {"new", "", true, 4},           {"change", "", true, 0},
                                            {"95 % interval", "", true, 2}, {"why", "", false, 5}};
    struct report_texts *texts = &document->report->texts;
    const struct report *report = document->report;
    document_text(document, "%.300s against %.300s: %s.", report->sources[set->source].name,
                  report->sources[0].name, set->summary);
    for (size_t i = 0; i < set->notices_count; i++)
        document_text(document, "%s", set->notices[i]);
    if (set->rows_count == 0)
        return;
    document_table(document, "",
                   texts_keepf(texts, "What differs in %.300s", report->sources[set->source].name),
                   false, columns, ARRAY_COUNT(columns));
    for (size_t i = 0; i < set->rows_count; i++) {
        const struct changes_row *row = &set->rows[i];
        document_cell(document, texts_keepf(texts, "%s %s", compare_verdict_sign(row->verdict),
                                            compare_verdict_word(row->verdict)))
            ->tone = tone_of_change(row->verdict);
        document_cell(document, row->cell);
        document_cell(document, row->metric);
        document_cell(document, row->base);
        document_cell(document, row->now);
        document_cell(document, row->change);
        document_cell(document, row->interval);
        document_cell(document, row->why);
    }
    if (set->left_out > 0)
        document_text(document, "%zu more rows are left out; `tokmark compare` has all.",
                      set->left_out);
}

static void add_earlier(struct document *document)
{
    static const struct column columns[] = {
        {"cell", "", false, 0},       {"now", "ms", true, 0}, {"earlier runs", "ms", true, 0},
        {"difference", "%", true, 0}, {"runs", "", true, 2},  {"next run", "ms", true, 1}};
    const struct report_changes *changes = &document->changes;
    if (changes->earlier_count == 0)
        return;
    document_text(document,
                  "This machine has run some of these cells before. The mean is over its newest "
                  "runs, this one among them; the last column holds another run with 95 %%.");
    document_table(document, "earlier", "Against earlier runs on the same machine", false, columns,
                   ARRAY_COUNT(columns));
    for (size_t i = 0; i < changes->earlier_count; i++) {
        const struct report_cell *cell = changes->earlier[i];
        document_cell(document, document_cell_name(document, cell));
        document_number(document, cell->ms.value);
        document_number(document, cell->history_ms);
        document_number(document, changes_percent(cell));
        document_number(document, cell->history_runs);
        struct buf text CLEANUP(buf_release) = {0};
        buf_init(&text, TEXTS_BYTES_MAX);
        num_append_short(cell->history_low, &text);
        buf_append_text(&text, " to ");
        num_append_short(cell->history_high, &text);
        document_cell(document, texts_keep(&document->report->texts, text.data));
    }
    if (changes->earlier_left_out > 0)
        document_text(document, "%zu more cells are left out: those that differ least.",
                      changes->earlier_left_out);
}

void document_add_changed(struct document *document)
{
    const struct report_changes *changes = &document->changes;
    if (document->report->cells_count == 0)
        return;
    begin(document, REPORT_SECTION_CHANGED);
    if (changes->sets_count == 0 && changes->earlier_count == 0)
        document_text(document, "There is nothing to compare with: give several sets of results, "
                                "the base first, or run the same cells again on this machine.");
    for (size_t i = 0; i < changes->sets_count; i++)
        add_set(document, &changes->sets[i]);
    add_earlier(document);
}
