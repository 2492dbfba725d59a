#include "cli/render/ab_report.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/grid.h"
#include "base/num.h"
#include "base/version.h"
#include "base/wrap.h"
#include "client/worker_command.h"

#define SCHEMA       "tokmark.ab/1"
#define NUMBER_BYTES 64

static double to_percent(double log_ratio)
{
    return 100 * expm1(log_ratio);
}

static double to_ms(double ns)
{
    return ns / (double)NS_PER_MS;
}

/* --- the line --- */

static void put_text_or_null(struct json_writer *writer, const char *key, const char *text)
{
    if (text != NULL && text[0] != '\0')
        json_field_string(writer, key, text);
    else
        json_field_null(writer, key);
}

static void put_or_null(struct json_writer *writer, const char *key, bool is_known, double value)
{
    if (is_known)
        json_field_double(writer, key, value);
    else
        json_field_null(writer, key);
}

static void put_argv(struct json_writer *writer, const struct client_options *options,
                     const char *engine)
{
    struct words words;
    json_put_key(writer, "argv");
    if (worker_command_make(options, engine, &words, NULL) != STATUS_OK) {
        json_put_null(writer);
        return;
    }
    json_begin_array(writer);
    for (size_t i = 0; i < words.count; i++)
        json_put_string(writer, words.items[i]);
    json_end_array(writer);
    words_release(&words);
}

/* Whose code: interpreter, program, revision. */
static void put_origin(struct json_writer *writer, const struct ab_facts *facts,
                       enum pair_name name)
{
    const struct ab_side *side = &facts->setup->sides[name];
    json_put_key(writer, "interpreter");
    if (facts->interpreter_json[name] != NULL)
        json_put_raw(writer, facts->interpreter_json[name]);
    else
        json_put_null(writer);
    put_text_or_null(writer, "binary", side->binary);
    put_text_or_null(writer, "rev", side->options.rev);
    put_text_or_null(writer, "rev_commit", side->rev.commit);
}

static void put_results(struct json_writer *writer, const struct pair_side_result *side)
{
    bool has_result = side->blocks_count > 0;
    bool has_interval = has_result && side->median.two_sided.is_known;
    json_field_u64(writer, "warmup_steps", side->warmup_steps_count);
    json_field_u64(writer, "samples", side->steps_count);
    json_field_u64(writer, "blocks", side->blocks_count);
    put_or_null(writer, "ms_p50", has_result, to_ms(side->median.value));
    put_or_null(writer, "ms_p50_low", has_interval, to_ms(side->median.two_sided.low));
    put_or_null(writer, "ms_p50_high", has_interval, to_ms(side->median.two_sided.high));
}

static void put_side(struct json_writer *writer, const struct ab_facts *facts,
                     const struct ab_row *row, enum pair_name name)
{
    const struct pair_side_result *side = &row->result.sides[name];
    const struct cell *cell = row->cells[name];
    char id[HASH_ID_BYTES];
    cell_id(cell, id);
    json_put_key(writer, pair_key(name));
    json_begin_object(writer);
    json_field_string(writer, "label", pair_title(name));
    put_text_or_null(writer, "flags", facts->setup->options.flags[name]);
    json_field_string(writer, "engine", cell->engine);
    put_text_or_null(writer, "worker", side->hello.engine);
    put_text_or_null(writer, "engine_version", side->hello.engine_version);
    json_field_string(writer, "cell_id", id);
    json_put_key(writer, "cell");
    json_begin_object(writer);
    cell_write(cell, writer);
    json_end_object(writer);
    put_argv(writer, facts->clients[name], cell->engine);
    put_origin(writer, facts, name);
    put_text_or_null(writer, "model_source", side->ready.model_source);
    put_text_or_null(writer, "dtype_param", side->ready.dtype_param);
    put_text_or_null(writer, "dtype_compute", side->ready.dtype_compute);
    put_text_or_null(writer, "dtype_accumulate", side->ready.dtype_accumulate);
    put_text_or_null(writer, "backend", side->ready.backend);
    put_results(writer, side);
    put_text_or_null(writer, "verdict", side->was_started ? verdict_name(side->verdict) : "");
    json_put_key(writer, "reasons");
    reasons_write(&side->reasons, writer);
    put_text_or_null(writer, "log_tail", side->log_tail);
    json_end_object(writer);
}

/* Whose word the spread between starts is. */
static const char *spread_source(const struct sequence *sequence)
{
    if (sequence->rule.starts_max == 1)
        return "rounds";
    return sequence->starts_count < COMPARE_OWN_STARTS ? "built_in" : "starts";
}

static void put_look(struct json_writer *writer, const struct sequence_look *look)
{
    bool is_known = look->log_ratio_ci.is_known;
    json_begin_object(writer);
    json_field_u64(writer, "starts", look->starts_count);
    json_field_u64(writer, "rounds", look->rounds_count);
    json_field_double(writer, "error", look->error);
    json_field_double(writer, "ratio_percent", to_percent(look->log_ratio));
    put_or_null(writer, "ratio_percent_low", is_known, to_percent(look->log_ratio_ci.low));
    put_or_null(writer, "ratio_percent_high", is_known, to_percent(look->log_ratio_ci.high));
    json_field_string(writer, "outcome", compare_outcome_name(look->outcome));
    json_end_object(writer);
}

static void put_starts(struct json_writer *writer, const struct pair_result *result)
{
    const struct sequence *sequence = &result->sequence;
    size_t count = sequence->starts_count;
    double spread = compare_spread(sequence->starts, count);
    json_field_u64(writer, "starts", count);
    json_field_u64(writer, "starts_planned", sequence->planned_count);
    json_put_key(writer, "start_log_ratios");
    json_begin_array(writer);
    for (size_t i = 0; i < count; i++)
        json_put_double(writer, sequence->starts[i].log_ratio);
    json_end_array(writer);
    put_or_null(writer, "start_spread_percent", count > 1, to_percent(spread));
    put_text_or_null(writer, "spread_from", count > 0 ? spread_source(sequence) : "");
    json_put_key(writer, "looks");
    json_begin_array(writer);
    for (size_t i = 0; i < sequence->looks_count; i++)
        put_look(writer, &sequence->looks[i]);
    json_end_array(writer);
}

static void put_comparison(struct json_writer *writer, const struct pair_result *result)
{
    const struct compare_result *seen = &result->comparison;
    bool has_ratio = seen->rounds_count > 0;
    bool has_interval = has_ratio && seen->log_ratio_ci.is_known;
    double low = seen->log_ratio_ci.low;
    double high = seen->log_ratio_ci.high;
    put_starts(writer, result);
    json_field_u64(writer, "rounds", seen->rounds_count);
    put_or_null(writer, "effective_rounds", has_ratio, seen->effective_count);
    json_field_u64(writer, "steps_per_block", result->steps_per_block);
    json_field_u64(writer, "lead_in_steps_dropped", result->lead_in_steps_count);
    put_or_null(writer, "log_ratio", has_ratio, seen->log_ratio);
    put_or_null(writer, "log_ratio_low", has_interval, low);
    put_or_null(writer, "log_ratio_high", has_interval, high);
    put_or_null(writer, "ratio_percent", has_ratio, to_percent(seen->log_ratio));
    put_or_null(writer, "ratio_percent_low", has_interval, to_percent(low));
    put_or_null(writer, "ratio_percent_high", has_interval, to_percent(high));
    put_or_null(writer, "sign_p", has_ratio, seen->sign_p);
}

static void put_threshold(struct json_writer *writer, const struct ab_facts *facts,
                          const struct ab_row *row)
{
    const struct ab_floor *floor = &row->floor;
    json_field_double(writer, "threshold_percent", row->threshold_percent);
    json_field_double(writer, "threshold_asked_percent", facts->setup->options.threshold_percent);
    put_or_null(writer, "noise_floor_percent", floor->is_known, floor->percent);
    put_text_or_null(writer, "noise_floor_from", floor->is_known ? "cell" : "");
    put_text_or_null(writer, "noise_floor_reason", floor->is_known ? "" : floor->reason);
}

/* Rounds that were disturbed, by cause. */
static void put_set_aside(struct json_writer *writer, const struct pair_result *result)
{
    json_put_key(writer, "set_aside");
    json_begin_object(writer);
    for (size_t i = INTERFERENCE_NONE + 1; i < INTERFERENCE_CAUSES_COUNT; i++)
        if (result->rounds_by_cause[i] > 0)
            json_field_u64(writer, interference_code((enum interference_cause)i),
                           result->rounds_by_cause[i]);
    json_end_object(writer);
}

void ab_report_line(const struct ab_facts *facts, const struct ab_row *row, struct buf *out)
{
    const struct pair_result *result = &row->result;
    const struct pair_side_result *sides = result->sides;
    struct json_writer writer;
    json_writer_init(&writer, out);
    json_begin_object(&writer);
    json_field_string(&writer, "schema", SCHEMA);
    json_field_string(&writer, "purpose", facts->purpose);
    json_field_string(&writer, "run_id", facts->run_id);
    json_field_u64(&writer, "pair", row->pair);
    json_field_string(&writer, "at", result->started_at);
    json_field_string(&writer, "harness", version_text());
    json_field_bool(&writer, "synthetic",
                    sides[PAIR_A].hello.is_synthetic || sides[PAIR_B].hello.is_synthetic);
    json_field_bool(&writer, "same_work", ab_is_same_work(row->cells[PAIR_A], row->cells[PAIR_B]));
    put_side(&writer, facts, row, PAIR_A);
    put_side(&writer, facts, row, PAIR_B);
    put_comparison(&writer, result);
    put_threshold(&writer, facts, row);
    put_or_null(&writer, "foreign_cpu_percent", result->has_foreign, result->foreign_percent);
    put_set_aside(&writer, result);
    json_field_string(&writer, "outcome", compare_outcome_name(result->outcome));
    json_put_key(&writer, "reasons");
    reasons_write(&result->reasons, &writer);
    json_field_double(&writer, "measured_ms", to_ms((double)result->measured_ns));
    json_field_double(&writer, "prepare_ms",
                      to_ms((double)result->sequence.first_prepare_ns +
                            (double)result->sequence.later_prepare_ns));
    json_field_double(&writer, "total_ms", to_ms((double)result->total_ns));
    json_field_string(&writer, "samples_file", row->samples_name);
    json_field_string(&writer, "environment_id", facts->environment_id);
    json_field_raw(&writer, "environment", facts->environment_json);
    json_field_raw(&writer, "command", facts->command_json);
    json_end_object(&writer);
    buf_append_char(out, '\n');
}

/* --- for people --- */

static void describe_cell(const struct cell *cell, struct buf *out)
{
    buf_appendf(out, "%s %s seq %" PRIu32 " batch %" PRIu32, cell_mode_name(cell->mode),
                cell_precision_name(cell->precision), cell->seq_len, cell->batch_size);
}

void ab_report_describe(const struct ab_row *row, struct buf *out)
{
    char texts[PAIR_SIDES][128];
    for (int i = 0; i < PAIR_SIDES; i++) {
        struct buf text;
        buf_init(&text, sizeof(texts[i]) - 1);
        describe_cell(row->cells[i], &text);
        (void)snprintf(texts[i], sizeof(texts[i]), "%s", text.data);
        buf_release(&text);
    }
    bool is_same = strcmp(texts[PAIR_A], texts[PAIR_B]) == 0;
    buf_appendf(out, "%s%s%s", texts[PAIR_A], is_same ? "" : " / ", is_same ? "" : texts[PAIR_B]);
}

static const char *outcome_word(enum compare_outcome outcome)
{
    switch (outcome) {
    case COMPARE_OUTCOME_UNDECIDED: return "UNDECIDED";
    case COMPARE_OUTCOME_SAME: return "SAME";
    case COMPARE_OUTCOME_FASTER: return "FASTER";
    case COMPARE_OUTCOME_SLOWER: return "SLOWER";
    }
    return "UNDECIDED";
}

static enum grid_color outcome_color(enum compare_outcome outcome)
{
    switch (outcome) {
    case COMPARE_OUTCOME_UNDECIDED: return GRID_YELLOW;
    case COMPARE_OUTCOME_SAME: return GRID_PLAIN;
    case COMPARE_OUTCOME_FASTER: return GRID_GREEN;
    case COMPARE_OUTCOME_SLOWER: return GRID_RED;
    }
    return GRID_PLAIN;
}

static void format_ratio(const struct pair_result *result, char ratio[NUMBER_BYTES],
                         char interval[NUMBER_BYTES])
{
    const struct compare_result *seen = &result->comparison;
    (void)snprintf(ratio, NUMBER_BYTES, "-");
    (void)snprintf(interval, NUMBER_BYTES, "-");
    if (seen->rounds_count == 0)
        return;
    (void)snprintf(ratio, NUMBER_BYTES, "%+.2f %%", to_percent(seen->log_ratio));
    if (seen->log_ratio_ci.is_known)
        (void)snprintf(interval, NUMBER_BYTES, "%+.2f to %+.2f %%",
                       to_percent(seen->log_ratio_ci.low), to_percent(seen->log_ratio_ci.high));
}

void ab_report_outcome(const struct ab_row *row, struct buf *out)
{
    char ratio[NUMBER_BYTES];
    char interval[NUMBER_BYTES];
    format_ratio(&row->result, ratio, interval);
    buf_append_text(out, outcome_word(row->result.outcome));
    if (row->result.comparison.rounds_count > 0)
        buf_appendf(
            out, ", B/A %s (%s), %zu round%s, %zu start%s", ratio, interval,
            row->result.comparison.rounds_count, num_plural(row->result.comparison.rounds_count),
            row->result.sequence.starts_count, num_plural(row->result.sequence.starts_count));
}

static const struct grid_column columns[] = {
    {"#", "", true, 0},         {"A ms", "", true, 2},          {"B ms", "", true, 2},
    {"B/A", "", true, 0},       {"95 % interval", "", true, 1}, {"rounds (starts)", "", true, 4},
    {"threshold", "", true, 3}, {"B is", "", false, 0},
};

static void put_row(const struct ab_row *row, size_t number, struct grid *grid)
{
    const struct pair_result *result = &row->result;
    char ratio[NUMBER_BYTES];
    char interval[NUMBER_BYTES];
    char text[NUMBER_BYTES];
    (void)snprintf(text, sizeof(text), "%zu", number);
    grid_put(grid, GRID_PLAIN, text);
    for (int i = 0; i < PAIR_SIDES; i++) {
        (void)snprintf(text, sizeof(text), "%s", verdict_name(result->sides[i].verdict));
        if (result->sides[i].blocks_count > 0)
            (void)snprintf(text, sizeof(text), "%.4g", to_ms(result->sides[i].median.value));
        else if (!result->sides[i].was_started)
            (void)snprintf(text, sizeof(text), "-");
        grid_put(grid, GRID_PLAIN, text);
    }
    format_ratio(result, ratio, interval);
    grid_put(grid, GRID_PLAIN, ratio);
    grid_put(grid, GRID_PLAIN, interval);
    (void)snprintf(text, sizeof(text), "%zu (%zu)", result->comparison.rounds_count,
                   result->sequence.starts_count);
    grid_put(grid, GRID_PLAIN, text);
    (void)snprintf(text, sizeof(text), "%.3g %%", row->threshold_percent);
    grid_put(grid, GRID_PLAIN, text);
    grid_put(grid, outcome_color(result->outcome), outcome_word(result->outcome));
}

static void append_sentence(const struct ab_row *row, struct buf *out)
{
    const struct compare_result *seen = &row->result.comparison;
    double percent = fabs(to_percent(seen->log_ratio));
    double threshold = row->threshold_percent;
    switch (row->result.outcome) {
    case COMPARE_OUTCOME_FASTER:
        buf_appendf(out, "B takes %.2f %% less time than A; the threshold is %.3g %%.", percent,
                    threshold);
        return;
    case COMPARE_OUTCOME_SLOWER:
        buf_appendf(out, "B takes %.2f %% more time than A; the threshold is %.3g %%.", percent,
                    threshold);
        return;
    case COMPARE_OUTCOME_SAME:
        buf_appendf(out, "A and B take the same time, within %.3g %%.", threshold);
        return;
    case COMPARE_OUTCOME_UNDECIDED: break;
    }
    buf_append_text(out, "it cannot be said which is faster.");
}

/* One more line on a comparison: wrapped; in Markdown an item of a list in that of the comparison.
 */
static void append_note(const struct grid_style *style, struct buf *out, const char *format, ...)
    PRINTF_LIKE(3, 4);
static void append_note(const struct grid_style *style, struct buf *out, const char *format, ...)
{
    char text[2 * REASON_TEXT_BYTES];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    buf_append_text(out, style->is_markdown ? "  - " : "    ");
    wrap_text(text, style->columns, 4, 6, out);
}

/* What the interval assumes of two processes of one program. */
static void append_spread(const struct sequence *sequence, const struct grid_style *style,
                          struct buf *out)
{
    if (sequence->starts_count == 0)
        return;
    if (sequence->rule.starts_max == 1)
        append_note(style, out,
                    "one start: two processes of the same program may differ by more than this "
                    "interval says; without --starts 1 that counts");
    else if (sequence->starts_count < COMPARE_OWN_STARTS)
        append_note(style, out,
                    "%zu start%s: that two processes of a program differ is counted with %.3g %%",
                    sequence->starts_count, num_plural(sequence->starts_count),
                    to_percent(sequence->rule.prior.sd));
}

static void append_notes(const struct ab_row *row, size_t number, const struct grid_style *style,
                         struct buf *out)
{
    const struct reasons *reasons = &row->result.reasons;
    struct buf line;
    buf_init(&line, 2 * REASON_TEXT_BYTES);
    ab_report_describe(row, &line);
    buf_append_text(&line, ": ");
    append_sentence(row, &line);
    buf_appendf(out, style->is_markdown ? "%zu. " : "%2zu  ", number);
    wrap_text(line.data, style->columns, 4, 4, out);
    buf_release(&line);
    for (size_t i = 0; i < reasons->count; i++)
        append_note(style, out, "%s: %s", reasons->items[i].code, reasons->items[i].text);
    for (int i = 0; i < PAIR_SIDES; i++) {
        const struct pair_side_result *side = &row->result.sides[i];
        if (side->verdict == VERDICT_UNSTEADY)
            append_note(style, out, "%s: %s: %s", pair_title((enum pair_name)i),
                        side->reasons.items[0].code, side->reasons.items[0].text);
    }
    if (!ab_is_same_work(row->cells[PAIR_A], row->cells[PAIR_B]))
        append_note(style, out,
                    "different work: the sides differ in model, mode or shape; what is compared is "
                    "the time of a step");
    append_spread(&row->result.sequence, style, out);
    if (!row->floor.is_known)
        append_note(style, out, "noise floor unknown: %s", row->floor.reason);
}

void ab_report_table(const struct ab_row *rows, size_t rows_count, const struct grid_style *style,
                     struct buf *out)
{
    struct grid grid;
    struct grid_style plain = *style;
    if (style->is_markdown)
        plain = (struct grid_style){.is_markdown = true};
    grid_init(&grid, columns, ARRAY_COUNT(columns));
    for (size_t i = 0; i < rows_count; i++)
        put_row(&rows[i], i + 1, &grid);
    grid_format(&grid, &plain, out);
    grid_release(&grid);
    buf_append_char(out, '\n');
    for (size_t i = 0; i < rows_count; i++)
        append_notes(&rows[i], i + 1, &plain, out);
}
