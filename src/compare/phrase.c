#include "compare/phrase.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/num.h"
#include "base/utf8.h"
#include "compare/tally.h"
#include "measure/special.h"

#define CONFIDENCE     0.95
#define NORMAL_975     1.959963984540054
#define NAME_BYTES_MAX 120
#define SENTENCE_BYTES 2048

/* --- names --- */

void phrase_append_text(const char *text, size_t bytes_max, struct buf *out)
{
    const unsigned char *at = (const unsigned char *)text;
    size_t used = 0;
    while (*at != '\0') {
        size_t bytes = utf8_sequence_bytes(at);
        if (used + (bytes > 0 ? bytes : 1) > bytes_max) {
            buf_append_text(out, "...");
            return;
        }
        if (bytes == 0 || *at < 0x20 || *at == 0x7f)
            buf_append_char(out, ' ');
        else
            buf_append(out, at, bytes);
        used += bytes > 0 ? bytes : 1;
        at += bytes > 0 ? bytes : 1;
    }
}

void phrase_append_name(const struct row *row, const struct phrase_names *names, struct buf *out)
{
    for (size_t i = 0; i < ROW_NAMES_COUNT; i++) {
        const char *part = row->names[i];
        if (part[0] == '\0' || (names != NULL && !names->is_shown[i]))
            continue;
        phrase_append_text(part, NAME_BYTES_MAX, out);
        buf_append_char(out, ' ');
    }
    buf_appendf(out, "seq %" PRIu32 " batch %" PRIu32, row->seq_len, row->batch_size);
}

void phrase_names(const struct comparison *comparison, struct phrase_names *ret_names)
{
    char first[ROW_NAMES_COUNT][COMPARE_WHY_BYTES];
    struct row row;
    struct buf name;
    bool is_first = true;
    *ret_names = (struct phrase_names){0};
    for (size_t r = 0; r < comparison_rows_count(comparison); r++) {
        if (!comparison_name(comparison, r, &row))
            continue;
        for (size_t i = 0; i < ROW_NAMES_COUNT; i++)
            if (is_first)
                (void)snprintf(first[i], sizeof(first[i]), "%s", row.names[i]);
            else
                ret_names->is_shown[i] |=
                    strncmp(first[i], row.names[i], sizeof(first[i]) - 1) != 0;
        is_first = false;
    }
    buf_init(&name, sizeof(ret_names->shared) - 1);
    for (size_t i = 0; !is_first && i < ROW_NAMES_COUNT; i++)
        if (!ret_names->is_shown[i] && first[i][0] != '\0') {
            if (name.length_bytes > 0)
                buf_append_char(&name, ' ');
            phrase_append_text(first[i], NAME_BYTES_MAX / 3, &name);
        }
    (void)snprintf(ret_names->shared, sizeof(ret_names->shared), "%s", name.data);
    buf_release(&name);
    buf_init(&name, COMPARE_WHY_BYTES * ROW_NAMES_COUNT);
    for (size_t r = 0; r < comparison_rows_count(comparison); r++) {
        if (!comparison_name(comparison, r, &row))
            continue;
        buf_reset(&name);
        phrase_append_name(&row, ret_names, &name);
        if (name.length_bytes > ret_names->width)
            ret_names->width = name.length_bytes;
    }
    buf_release(&name);
}

/* --- numbers --- */

void phrase_append_value(const struct metric *metric, double value, struct buf *out)
{
    char text[NUM_TEXT_BYTES];
    bool is_whole = value == floor(value);
    bool is_counted = metric->how == FACT_COMPARE_COUNTED && fabs(value) < 1e15;
    if (is_counted && is_whole) {
        num_append_whole(value, out);
    } else if (is_counted && fabs(value) >= 1e-3) {
        num_format_double(value, text);
        buf_append_text(out, text);
    } else {
        num_append_short(value, out);
    }
}

double phrase_half_width(const struct change_side *side)
{
    double error = sqrt(side->within);
    double times = NORMAL_975;
    if (side->runs_count > 1) {
        double count = (double)side->runs_count;
        error = sqrt(side->squares / (count - 1) / count);
        times = special_student_quantile(1 - (1 - CONFIDENCE) / 2, count - 1);
    }
    return 100 * expm1(times * error);
}

static double to_percent(double log_ratio)
{
    return 100 * expm1(log_ratio);
}

static bool has_both(const struct row_metric *result)
{
    return result->is_known[COMPARE_BASE] && result->is_known[COMPARE_NOW];
}

static void append_signed(double percent, struct buf *out)
{
    const char *form = fabs(percent) >= 99.95 ? "%+.0f" : fabs(percent) >= 9.995 ? "%+.1f" : NULL;
    if (form == NULL)
        buf_appendf(out, "%+.2f", percent == 0 ? 0.0 : percent);
    else if (form[3] == '0')
        buf_appendf(out, "%+.0f", percent);
    else
        buf_appendf(out, "%+.1f", percent);
}

void phrase_append_percent(const struct row_metric *result, struct buf *out)
{
    double base = result->value[COMPARE_BASE];
    double now = result->value[COMPARE_NOW];
    if (!has_both(result) || base == 0 || !isfinite(now / base))
        return;
    append_signed(result->metric->how == FACT_COMPARE_COUNTED
                      ? 100 * (now / base - 1)
                      : to_percent(result->change.log_ratio),
                  out);
    buf_append_text(out, " %");
}

void phrase_append_interval(const struct row_metric *result, struct buf *out)
{
    if (!has_both(result) || !result->change.is_known ||
        result->metric->how == FACT_COMPARE_COUNTED)
        return;
    struct measure_interval interval = change_interval(&result->change, CONFIDENCE);
    append_signed(to_percent(interval.low), out);
    buf_append_text(out, " to ");
    append_signed(to_percent(interval.high), out);
    buf_append_text(out, " %");
}

void phrase_append_evidence(const struct row *row, const struct row_metric *result, struct buf *out)
{
    const struct tally *base = row->sides[COMPARE_BASE];
    const struct tally *now = row->sides[COMPARE_NOW];
    size_t base_runs = result->sides[COMPARE_BASE].runs_count;
    size_t now_runs = result->sides[COMPARE_NOW].runs_count;
    if (result->metric->how == FACT_COMPARE_COUNTED || !has_both(result))
        return;
    if (result->change.is_known)
        buf_appendf(out, "p %.3f, ", change_p(&result->change));
    if (base_runs > 1 || now_runs > 1)
        buf_appendf(out, "%zu+%zu runs", base_runs, now_runs);
    else if (result->metric->how == FACT_COMPARE_SAMPLED && base->samples_count > 0 &&
             now->samples_count > 0)
        buf_appendf(out, "n %" PRIu32 "+%" PRIu32, base->samples_count, now->samples_count);
    else
        buf_append_text(out, "1+1 runs");
}

/* --- the whole --- */

void phrase_append_counts(const struct compare_summary *summary, struct buf *out)
{
    static const char *const words[COMPARE_VERDICTS_COUNT] = {
        [COMPARE_WORSE] = "worse",     [COMPARE_NOT_COMPARABLE] = "not comparable",
        [COMPARE_MISSING] = "missing", [COMPARE_UNDECIDED] = "undecided",
        [COMPARE_BETTER] = "better",   [COMPARE_SAME] = "the same",
        [COMPARE_NEW] = "new"};
    bool is_first = true;
    for (enum compare_verdict v = 0; v < COMPARE_VERDICTS_COUNT; v++)
        if (summary->cells[v] > 0) {
            buf_appendf(out, "%s%" PRIu64 " %s", is_first ? "" : ", ", summary->cells[v], words[v]);
            is_first = false;
        }
    if (is_first)
        buf_append_text(out, "no cells");
}

void phrase_append_gate(const struct compare_output *output, struct buf *out)
{
    const struct compare_summary *summary = comparison_summary(output->comparison);
    buf_appendf(out, "gate %g %%: ", output->gate_percent);
    switch (comparison_gate(output->comparison, output->is_lenient)) {
    case COMPARE_GATE_PASSED: buf_append_text(out, "passed"); break;
    case COMPARE_GATE_FAILED: buf_append_text(out, "failed"); break;
    case COMPARE_GATE_UNDECIDED:
        buf_append_text(out, "not passed, because ");
        if (summary->metrics_count == 0)
            buf_append_text(out, "nothing was compared");
        else if (summary->cells[COMPARE_MISSING] > 0)
            buf_append_text(out, "something is missing");
        else if (summary->cells[COMPARE_NOT_COMPARABLE] > 0)
            buf_append_text(out, "something is not comparable");
        else
            buf_append_text(out, "something is undecided");
        break;
    }
}

static void say(phrase_visit *visit, void *context, const char *format, ...) PRINTF_LIKE(3, 4);

static void say(phrase_visit *visit, void *context, const char *format, ...)
{
    char text[SENTENCE_BYTES];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    visit(context, text);
}

static const char *verb(uint64_t count, const char *one, const char *more)
{
    return count == 1 ? one : more;
}

static void say_of_records(const struct compare_summary *summary, phrase_visit *visit,
                           void *context)
{
    for (size_t i = 0; i < COMPARE_SIDES_COUNT; i++) {
        const struct visit_notes *notes = &summary->notes[i];
        if (notes->count > 0)
            say(visit, context, "%" PRIu64 " line%s of the %s %s no record%s: %s", notes->count,
                verb(notes->count, "", "s"), i == COMPARE_BASE ? "base" : "new results",
                verb(notes->count, "was", "were"), verb(notes->count, "", "s; the first"),
                notes->first);
        if (summary->records[i] == 0)
            say(visit, context, "the %s no record",
                i == COMPARE_BASE ? "base has" : "new results have");
    }
}

void phrase_notices(const struct comparison *comparison, phrase_visit *visit, void *context)
{
    const struct compare_summary *summary = comparison_summary(comparison);
    say_of_records(summary, visit, context);
    if (summary->sandbox_count > 0)
        say(visit, context,
            "%" PRIu64 " cell%s made up by the sandbox (--include sandbox compares them all "
            "the same)",
            summary->sandbox_count, verb(summary->sandbox_count, " is", "s are"));
    for (size_t i = 0; i < summary->differences_count; i++) {
        const struct compare_difference *one = &summary->differences[i];
        say(visit, context, "differs: %s: %s, now %s", one->name, one->base, one->now);
    }
    if (summary->has_more_differences)
        say(visit, context, "more differs than is listed");
    if (summary->unsteady_count > 0)
        say(visit, context, "%" PRIu64 " cell%s from records that are unsteady",
            summary->unsteady_count, verb(summary->unsteady_count, " is", "s are"));
    if (summary->warned_count > 0)
        say(visit, context, "%" PRIu64 " cell%s from records with warnings", summary->warned_count,
            verb(summary->warned_count, " is", "s are"));
    if (summary->assumed_count > 0)
        say(visit, context,
            "%" PRIu64 " cell%s one run a side, and how far runs are apart here is not known: only "
            "changes over some 10 %% can be told; measure with --trials 5",
            summary->assumed_count, verb(summary->assumed_count, " has", "s have"));
}
