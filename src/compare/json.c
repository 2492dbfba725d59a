/* One JSON object, a line a cell, for programs. */
#include <math.h>
#include <string.h>

#include "base/json_write.h"
#include "base/version.h"
#include "compare/phrase.h"
#include "compare/tally.h"
#include "spec/verdict.h"

#define SCHEMA     "tokmark.compare/1"
#define CONFIDENCE 0.95

static void put_number(struct json_writer *writer, const char *key, bool is_known, double value)
{
    if (is_known)
        json_field_double(writer, key, value);
    else
        json_field_null(writer, key);
}

/* To twelve digits, as more is no measurement. Counted values stay what they are. */
static double round_value(const struct row_metric *result, double value)
{
    static const double powers[] = {1e11, 1e10, 1e9, 1e8, 1e7, 1e6, 1e5, 1e4, 1e3, 1e2, 1e1, 1};
    double size = fabs(value);
    if (result->metric->how == FACT_COMPARE_COUNTED || value == 0)
        return value;
    /* Most are of few digits before the point; pow() takes as long as writing the number. */
    for (size_t i = 0; size >= 1 && i < ARRAY_COUNT(powers); i++)
        if (size * powers[i] < 1e12)
            return rint(value * powers[i]) / powers[i];
    const double digits = 11;
    double scale = pow(10, digits - floor(log10(size)));
    return isfinite(scale) ? rint(value * scale) / scale : value;
}

/* To a millionth of a percent: what is behind it is rounding, and takes most of the time to write.
 */
static double round_percent(double percent)
{
    const double units = 1e6;
    return fabs(percent) < 1e9 ? rint(percent * units) / units : percent;
}

static double to_percent(double log_ratio)
{
    return round_percent(100 * expm1(log_ratio));
}

static void put_side(struct json_writer *writer, const char *key, const struct row_metric *result,
                     enum compare_side side)
{
    json_put_key(writer, key);
    if (!result->is_known[side]) {
        json_put_null(writer);
        return;
    }
    double half = phrase_half_width(&result->sides[side]);
    bool has_half = result->metric->how != FACT_COMPARE_COUNTED && isfinite(half);
    json_begin_object(writer);
    json_field_double(writer, "value", round_value(result, result->value[side]));
    put_number(writer, "half_width_percent", has_half, round_percent(half));
    json_field_u64(writer, "runs", result->sides[side].runs_count);
    json_end_object(writer);
}

static void put_metric(struct json_writer *writer, const struct row_metric *result)
{
    bool has_both = result->is_known[COMPARE_BASE] && result->is_known[COMPARE_NOW];
    bool is_counted = result->metric->how == FACT_COMPARE_COUNTED;
    bool is_known = has_both && result->change.is_known && !is_counted;
    double base = result->value[COMPARE_BASE];
    double now = result->value[COMPARE_NOW];
    struct measure_interval interval = {0};
    if (is_known)
        interval = change_interval(&result->change, CONFIDENCE);
    json_begin_object(writer);
    json_field_string(writer, "metric", fact_of(result->metric->fact)->name);
    json_field_string(writer, "verdict", compare_verdict_plain(result->verdict));
    json_field_string(writer, "why", result->why);
    put_side(writer, "base", result, COMPARE_BASE);
    put_side(writer, "new", result, COMPARE_NOW);
    put_number(writer, "change_percent", has_both, round_percent(100 * (now / base - 1)));
    put_number(writer, "change_percent_low", is_known, to_percent(interval.low));
    put_number(writer, "change_percent_high", is_known, to_percent(interval.high));
    put_number(writer, "p", is_known, is_known ? change_p(&result->change) : 1);
    json_end_object(writer);
}

static void put_state(struct json_writer *writer, const char *key, const struct tally *tally)
{
    json_put_key(writer, key);
    if (tally == NULL) {
        json_put_null(writer);
        return;
    }
    json_begin_object(writer);
    json_field_string(writer, "verdict", verdict_name((enum verdict)(tally->verdict - 1)));
    json_field_bool(writer, "synthetic", (tally->flags & TALLY_IS_SANDBOX) != 0);
    json_field_u64(writer, "samples", tally->samples_count);
    json_end_object(writer);
}

static void put_row(struct json_writer *writer, const struct row *row)
{
    json_begin_object(writer);
    json_field_string(writer, "engine", row->names[ROW_ENGINE]);
    json_field_string(writer, "model", row->names[ROW_MODEL]);
    json_field_string(writer, "device", row->names[ROW_DEVICE]);
    json_field_string(writer, "mode", row->names[ROW_MODE]);
    json_field_string(writer, "precision", row->names[ROW_PRECISION]);
    json_field_u64(writer, "seq_len", row->seq_len);
    json_field_u64(writer, "batch_size", row->batch_size);
    json_field_string(writer, "verdict", compare_verdict_plain(row->verdict));
    json_field_string(writer, "why", row->why);
    put_state(writer, "base", row->sides[COMPARE_BASE]);
    put_state(writer, "new", row->sides[COMPARE_NOW]);
    json_put_key(writer, "metrics");
    json_begin_array(writer);
    for (size_t i = 0; i < row->metrics_count; i++)
        put_metric(writer, &row->metrics[i]);
    json_end_array(writer);
    json_end_object(writer);
}

static void put_metrics(struct json_writer *writer, const struct metrics *metrics)
{
    json_put_key(writer, "metrics");
    json_begin_array(writer);
    for (size_t i = 0; i < metrics->count; i++) {
        const struct fact *fact = fact_of(metrics->items[i].fact);
        json_begin_object(writer);
        json_field_string(writer, "name", fact->name);
        json_field_string(writer, "unit", fact->unit);
        json_field_string(writer, "better", fact_better_name(fact->better));
        json_field_string(writer, "compare", fact_compare_name(metrics->items[i].how));
        json_field_double(writer, "least_percent", metrics->items[i].least_percent);
        json_end_object(writer);
    }
    json_end_array(writer);
}

static void put_summary(struct json_writer *writer, const struct compare_output *output)
{
    const struct compare_summary *summary = comparison_summary(output->comparison);
    static const char *const gates[] = {[COMPARE_GATE_PASSED] = "passed",
                                        [COMPARE_GATE_FAILED] = "failed",
                                        [COMPARE_GATE_UNDECIDED] = "undecided"};
    for (enum compare_side side = 0; side < COMPARE_SIDES_COUNT; side++) {
        json_put_key(writer, side == COMPARE_BASE ? "base" : "new");
        json_begin_object(writer);
        json_field_string(writer, "source", summary->names[side]);
        json_field_u64(writer, "records", summary->records[side]);
        json_field_u64(writer, "no_records", summary->notes[side].count);
        json_end_object(writer);
    }
    put_number(writer, "gate_percent", output->has_gate, output->gate_percent);
    if (output->has_gate)
        json_field_string(writer, "gate",
                          gates[comparison_gate(output->comparison, output->is_lenient)]);
    else
        json_field_null(writer, "gate");
    json_put_key(writer, "cells_by_verdict");
    json_begin_object(writer);
    for (enum compare_verdict verdict = 0; verdict < COMPARE_VERDICTS_COUNT; verdict++)
        json_field_u64(writer, compare_verdict_plain(verdict), summary->cells[verdict]);
    json_end_object(writer);
    json_field_u64(writer, "tests", summary->tests_count);
    put_number(writer, "p_limit", summary->p_limit >= 0, summary->p_limit);
}

static void put_differences(struct json_writer *writer, const struct compare_summary *summary)
{
    json_put_key(writer, "differences");
    json_begin_array(writer);
    for (size_t i = 0; i < summary->differences_count; i++) {
        json_begin_object(writer);
        json_field_string(writer, "name", summary->differences[i].name);
        json_field_string(writer, "base", summary->differences[i].base);
        json_field_string(writer, "new", summary->differences[i].now);
        json_end_object(writer);
    }
    json_end_array(writer);
}

static void put_notice(void *context, const char *sentence)
{
    json_put_string(context, sentence);
}

enum status compare_write_json(struct compare_output *output, struct err *err)
{
    struct json_writer writer;
    struct row row;
    enum status status = STATUS_OK;
    json_writer_init(&writer, &output->text);
    json_begin_object(&writer);
    json_field_string(&writer, "schema", SCHEMA);
    json_field_string(&writer, "harness", version_harness());
    put_summary(&writer, output);
    put_metrics(&writer, comparison_metrics(output->comparison));
    put_differences(&writer, comparison_summary(output->comparison));
    json_put_key(&writer, "notices");
    json_begin_array(&writer);
    phrase_notices(output->comparison, put_notice, &writer);
    json_end_array(&writer);
    json_put_key(&writer, "cells");
    json_begin_array(&writer);
    for (size_t r = 0; status == STATUS_OK && r < comparison_rows_count(output->comparison); r++)
        if (comparison_row(output->comparison, r, &row)) {
            put_row(&writer, &row);
            buf_append_char(&output->text, '\n');
            status = compare_output_flush(output, false, err);
        }
    json_end_array(&writer);
    json_end_object(&writer);
    buf_append_char(&output->text, '\n');
    return status == STATUS_OK ? compare_output_flush(output, true, err) : status;
}
