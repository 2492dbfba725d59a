/* A table a metric, in the manner of benchstat, for a terminal and for logs. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/num.h"
#include "compare/phrase.h"

#define NAME_WIDTH_MAX  72
#define VALUE_WIDTH     16
#define CHANGE_WIDTH    9
#define INTERVAL_WIDTH  20
#define VERDICT_WIDTH   14
#define LINE_BYTES_MAX  65536
#define NOTICE_BYTE_MAX 1024

/* Fills up to a column that is `width` behind `start`. */
static void pad(struct buf *out, size_t start, size_t width)
{
    while (out->length_bytes < start + width && !out->failed)
        buf_append_char(out, ' ');
}

static void append_column(const struct buf *cell, size_t width, bool is_right, struct buf *out)
{
    size_t start = out->length_bytes;
    if (is_right && cell->length_bytes < width)
        pad(out, start, width - cell->length_bytes);
    buf_append(out, cell->data, cell->length_bytes);
    pad(out, start, width);
    buf_append_text(out, "  ");
}

/* "426.3 +-1.2 %" */
static void append_side(const struct row_metric *result, enum compare_side side, struct buf *out)
{
    if (!result->is_known[side]) {
        buf_append_char(out, '-');
        return;
    }
    double half = phrase_half_width(&result->sides[side]);
    phrase_append_value(result->metric, result->value[side], out);
    if (result->metric->how != FACT_COMPARE_COUNTED && isfinite(half))
        buf_appendf(out, " +-%.1f %%", half);
}

static void append_row(const struct row *row, const struct row_metric *result,
                       const struct phrase_names *names, size_t name_width, struct buf *out)
{
    struct buf cell;
    buf_init(&cell, LINE_BYTES_MAX);
    phrase_append_name(row, names, &cell);
    append_column(&cell, name_width, false, out);
    for (enum compare_side side = 0; side < COMPARE_SIDES_COUNT; side++) {
        buf_reset(&cell);
        append_side(result, side, &cell);
        append_column(&cell, VALUE_WIDTH, true, out);
    }
    buf_reset(&cell);
    phrase_append_percent(result, &cell);
    append_column(&cell, CHANGE_WIDTH, true, out);
    buf_reset(&cell);
    phrase_append_interval(result, &cell);
    append_column(&cell, INTERVAL_WIDTH, true, out);
    buf_reset(&cell);
    buf_append_text(&cell, result->verdict == COMPARE_SAME ? "same"
                                                           : compare_verdict_word(result->verdict));
    append_column(&cell, VERDICT_WIDTH, false, out);
    buf_reset(&cell);
    phrase_append_evidence(row, result, &cell);
    if (cell.length_bytes > 0 && result->why[0] != '\0')
        buf_append_text(&cell, "; ");
    phrase_append_text(result->why, COMPARE_WHY_BYTES, &cell);
    buf_append(out, cell.data, cell.length_bytes);
    buf_append_char(out, '\n');
    buf_release(&cell);
}

static void append_head(const struct metric *metric, size_t name_width, struct buf *out)
{
    const struct fact *fact = fact_of(metric->fact);
    bool is_counted = metric->how == FACT_COMPARE_COUNTED;
    buf_appendf(out, "\n%s%s%s: ", fact->name, fact->unit[0] != '\0' ? ", " : "", fact->unit);
    if (fact->better == FACT_BETTER_HIGHER || fact->better == FACT_BETTER_LOWER)
        buf_appendf(out, "%s is better, ", fact_better_name(fact->better));
    if (is_counted)
        buf_append_text(out, "any change counts\n");
    else
        buf_appendf(out, "%g %% counts\n", metric->least_percent);
    size_t start = out->length_bytes;
    buf_append_text(out, "cell");
    pad(out, start, name_width + 2);
    buf_appendf(out, "%*s  %*s  %*s  %*s  verdict\n", VALUE_WIDTH, "base", VALUE_WIDTH, "new",
                CHANGE_WIDTH, "change", INTERVAL_WIDTH, "95 % interval");
}

static const struct row_metric *find_metric(const struct row *row, const struct metric *metric)
{
    for (size_t i = 0; i < row->metrics_count; i++)
        if (row->metrics[i].metric == metric)
            return &row->metrics[i];
    return NULL;
}

/* Rows of the metric's table, and the geometric mean of their changes. */
static enum status write_table(struct compare_output *output, const struct metric *metric,
                               const struct phrase_names *names, struct err *err)
{
    size_t name_width = names->width < NAME_WIDTH_MAX ? names->width : NAME_WIDTH_MAX;
    size_t ratios = 0;
    double sum = 0;
    struct row row;
    enum status status = STATUS_OK;
    append_head(metric, name_width, &output->text);
    for (size_t r = 0; status == STATUS_OK && r < comparison_rows_count(output->comparison); r++) {
        const struct row_metric *result =
            comparison_row(output->comparison, r, &row) ? find_metric(&row, metric) : NULL;
        if (result == NULL ||
            (result->verdict == COMPARE_SAME && metric->how != FACT_COMPARE_SAMPLED))
            continue;
        append_row(&row, result, names, name_width, &output->text);
        bool has_both = result->is_known[COMPARE_BASE] && result->is_known[COMPARE_NOW];
        sum += has_both ? result->change.log_ratio : 0;
        ratios += has_both;
        status = compare_output_flush(output, false, err);
    }
    if (metric->how == FACT_COMPARE_SAMPLED && ratios > 1) {
        size_t start = output->text.length_bytes;
        buf_append_text(&output->text, "geometric mean");
        pad(&output->text, start, name_width + 2 + 2 * (VALUE_WIDTH + 2));
        buf_appendf(&output->text, "%+*.2f %%\n", CHANGE_WIDTH - 2,
                    100 * expm1(sum / (double)ratios));
    }
    return status;
}

/* What was measured is shown of every cell, what was read or counted where it has changed. */
static enum status write_metric(struct compare_output *output, size_t index,
                                const struct phrase_names *names, struct err *err)
{
    const struct metric *metric = &comparison_metrics(output->comparison)->items[index];
    const uint64_t *counts = comparison_summary(output->comparison)->by_metric[index];
    uint64_t same = metric->how == FACT_COMPARE_SAMPLED ? 0 : counts[COMPARE_SAME];
    uint64_t shown = 0;
    for (size_t i = 0; i < COMPARE_VERDICTS_COUNT; i++)
        shown += counts[i];
    shown -= same;
    enum status status = shown > 0 ? write_table(output, metric, names, err) : STATUS_OK;
    if (same > 0) {
        buf_appendf(&output->text, "%s%s: %" PRIu64 "%s the same", shown > 0 ? "" : "\n",
                    fact_of(metric->fact)->name, same, same == 1 ? " cell is" : " cells are");
        if (metric->least_percent > 0)
            buf_appendf(&output->text, " within %g %%", metric->least_percent);
        buf_append_char(&output->text, '\n');
    }
    return status;
}

/* Cells that no table has. */
static enum status write_others(struct compare_output *output, const struct phrase_names *names,
                                struct err *err)
{
    struct row row;
    size_t shown = 0;
    enum status status = STATUS_OK;
    for (size_t r = 0; status == STATUS_OK && r < comparison_rows_count(output->comparison); r++) {
        if (!comparison_row(output->comparison, r, &row) || row.metrics_count > 0)
            continue;
        if (shown++ == 0)
            buf_append_char(&output->text, '\n');
        buf_appendf(&output->text, "%s: ", compare_verdict_word(row.verdict));
        phrase_append_name(&row, names, &output->text);
        if (row.why[0] != '\0') {
            buf_append_text(&output->text, ": ");
            phrase_append_text(row.why, COMPARE_WHY_BYTES, &output->text);
        }
        buf_append_char(&output->text, '\n');
        status = compare_output_flush(output, false, err);
    }
    return status;
}

static void append_notice(void *context, const char *sentence)
{
    struct buf *out = context;
    buf_append_text(out, "note: ");
    phrase_append_text(sentence, NOTICE_BYTE_MAX, out);
    buf_append_char(out, '\n');
}

enum status compare_write_text(struct compare_output *output, struct err *err)
{
    const struct compare_summary *summary = comparison_summary(output->comparison);
    const struct metrics *metrics = comparison_metrics(output->comparison);
    struct phrase_names names;
    phrase_names(output->comparison, &names);
    for (enum compare_side side = 0; side < COMPARE_SIDES_COUNT; side++) {
        buf_append_text(&output->text, side == COMPARE_BASE ? "base: " : "new:  ");
        phrase_append_text(summary->names[side], NOTICE_BYTE_MAX, &output->text);
        buf_appendf(&output->text, " (%" PRIu64 " record%s)\n", summary->records[side],
                    num_plural(summary->records[side]));
    }
    if (names.shared[0] != '\0')
        buf_appendf(&output->text, "all:  %s\n", names.shared);
    enum status status = STATUS_OK;
    for (size_t i = 0; status == STATUS_OK && i < metrics->count; i++)
        status = write_metric(output, i, &names, err);
    if (status == STATUS_OK)
        status = write_others(output, &names, err);
    if (status != STATUS_OK)
        return status;
    buf_append_char(&output->text, '\n');
    phrase_notices(output->comparison, append_notice, &output->text);
    phrase_append_counts(summary, &output->text);
    buf_append_char(&output->text, '\n');
    if (output->has_gate) {
        phrase_append_gate(output, &output->text);
        buf_append_char(&output->text, '\n');
    }
    return compare_output_flush(output, true, err);
}
