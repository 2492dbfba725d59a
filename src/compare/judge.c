#include "compare/judge.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "spec/verdict.h"

/* The clock check's own readings are some 2 % apart (docs/metrics.md). */
#define CLOCK_LIMIT 0.04

/* Without snprintf(): every row is judged for every form that is written. */
static void append_why(char why[COMPARE_WHY_BYTES], const char *text)
{
    size_t used = strlen(why);
    size_t bytes = strlen(text);
    if (bytes > COMPARE_WHY_BYTES - 1 - used)
        bytes = COMPARE_WHY_BYTES - 1 - used;
    memcpy(why + used, text, bytes);
    why[used + bytes] = '\0';
}

static void set_why(char why[COMPARE_WHY_BYTES], const char *text)
{
    why[0] = '\0';
    append_why(why, text);
}

static bool has(const struct tally *tally, enum tally_flag flag)
{
    return (tally->flags & (unsigned)flag) != 0;
}

static enum verdict verdict_of(const struct tally *tally)
{
    return (enum verdict)(tally->verdict - 1);
}

/* --- cells that have nothing to measure by --- */

static void conclude(struct row *row, enum compare_verdict verdict, const char *format, ...)
    PRINTF_LIKE(3, 4);

static void conclude(struct row *row, enum compare_verdict verdict, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(row->why, sizeof(row->why), format, args);
    va_end(args);
    row->verdict = verdict;
}

/* A cell that failed on a side. What the user ended, and wrong work, say nothing about speed. */
static void judge_failure(struct row *row)
{
    bool has_base = has(row->sides[COMPARE_BASE], TALLY_HAS_RESULT);
    bool has_now = has(row->sides[COMPARE_NOW], TALLY_HAS_RESULT);
    enum verdict base = verdict_of(row->sides[COMPARE_BASE]);
    enum verdict now = verdict_of(row->sides[COMPARE_NOW]);
    bool is_void = (!has_base && (base == VERDICT_INVALID || base == VERDICT_INTERRUPTED)) ||
                   (!has_now && (now == VERDICT_INVALID || now == VERDICT_INTERRUPTED));
    bool is_certain = now == VERDICT_OOM || now == VERDICT_UNSUPPORTED;
    if (!has_base && !has_now && base == now && is_certain)
        conclude(row, COMPARE_SAME, "%s on both sides", verdict_name(now));
    else if (is_void || (!has_base && !has_now))
        conclude(row, COMPARE_NOT_COMPARABLE, "the base is %s, the new one %s", verdict_name(base),
                 verdict_name(now));
    else if (has_base)
        conclude(row, COMPARE_WORSE, "it has no result now: %s", verdict_name(now));
    else
        conclude(row, COMPARE_BETTER, "it has a result now; before: %s", verdict_name(base));
}

/* Names of what differs, for the reason. */
struct work_difference {
    char text[COMPARE_WHY_BYTES];
    size_t count;
};

static void take_work(void *context, const char *name, const char *base, const char *now)
{
    struct work_difference *difference = context;
    size_t used = strlen(difference->text);
    if (difference->count++ < 4)
        (void)snprintf(difference->text + used, sizeof(difference->text) - used,
                       "%s%s: %.40s, now %.40s", used > 0 ? "; " : "", name, base, now);
}

static bool judge_work(const struct judge *judge, struct row *row)
{
    struct work_difference difference = {0};
    if (judge->options->by != NULL)
        return true;
    contexts_compare_work(judge->contexts, row->sides[COMPARE_BASE]->context,
                          row->sides[COMPARE_NOW]->context, take_work, &difference);
    if (difference.count == 0)
        return true;
    row->verdict = COMPARE_NOT_COMPARABLE;
    set_why(row->why, difference.text);
    return false;
}

/* --- metrics --- */

struct change_noise judge_noise(const struct row *row)
{
    struct change_noise most = change_noise_assumed();
    for (size_t i = 0; i < COMPARE_SIDES_COUNT; i++) {
        struct change_noise noise;
        if (tally_noise(row->sides[i], &noise) && (most.is_assumed || noise.log_sd > most.log_sd))
            most = noise;
    }
    return most;
}

static bool has_few_samples(const struct row *row)
{
    for (size_t i = 0; i < COMPARE_SIDES_COUNT; i++)
        if (has(row->sides[i], TALLY_HAS_SAMPLES) &&
            row->sides[i]->samples_count < CHANGE_SAMPLES_MIN)
            return true;
    return false;
}

/* Does a processor that ran at another clock explain the change? */
static bool is_by_clock(const struct row *row, const struct row_metric *result, double least)
{
    int16_t base = row->sides[COMPARE_BASE]->log_clock;
    int16_t now = row->sides[COMPARE_NOW]->log_clock;
    double slower = (now - base) * TALLY_CLOCK_UNIT;
    if (strncmp(row->names[ROW_DEVICE], "cpu", 3) != 0 || base == 0 || now == 0 ||
        fabs(slower) <= CLOCK_LIMIT)
        return false;
    bool is_rate = fact_of(result->metric->fact)->better == FACT_BETTER_HIGHER;
    double change = is_rate ? -result->change.log_ratio : result->change.log_ratio;
    double rest = change - slower;
    return (rest > 0) != (change > 0) || fabs(rest) < least / 2;
}

static void judge_sampled(const struct row *row, struct row_metric *result,
                          const struct change_rule *rule)
{
    static const enum compare_verdict verdicts[] = {[CHANGE_UNDECIDED] = COMPARE_UNDECIDED,
                                                    [CHANGE_SAME] = COMPARE_SAME,
                                                    [CHANGE_BETTER] = COMPARE_BETTER,
                                                    [CHANGE_WORSE] = COMPARE_WORSE};
    bool is_reading = result->metric->how == FACT_COMPARE_READING;
    result->verdict = verdicts[is_reading ? change_decide_reading(&result->change, rule)
                                          : change_decide(&result->change, rule)];
    if (is_reading)
        return;
    if (has_few_samples(row)) {
        result->verdict = COMPARE_UNDECIDED;
        set_why(result->why, "five samples or fewer");
    } else if (!result->change.is_known) {
        set_why(result->why, "one run a side, and no interval of it");
    } else if (result->verdict == COMPARE_UNDECIDED) {
        set_why(result->why,
                rule->is_significant ? "about the least change that counts" : "not precise enough");
    } else if (result->verdict != COMPARE_SAME && is_by_clock(row, result, rule->least)) {
        result->verdict = COMPARE_UNDECIDED;
        set_why(result->why, "the processor's clock was another");
    }
}

/* Any change is one; where neither more nor less is better it is other work. */
static void judge_counted(const struct row *row, struct row_metric *result)
{
    enum fact_better better = fact_of(result->metric->fact)->better;
    double base = result->value[COMPARE_BASE];
    double now = result->value[COMPARE_NOW];
    bool has_varied = has(row->sides[COMPARE_BASE], TALLY_HAS_VARIED) ||
                      has(row->sides[COMPARE_NOW], TALLY_HAS_VARIED);
    if (base == now)
        result->verdict = COMPARE_SAME;
    else if (better == FACT_BETTER_EXACT || better == FACT_BETTER_NONE)
        result->verdict = COMPARE_NOT_COMPARABLE;
    else
        result->verdict =
            (now > base) == (better == FACT_BETTER_HIGHER) ? COMPARE_BETTER : COMPARE_WORSE;
    if (result->verdict == COMPARE_NOT_COMPARABLE)
        set_why(result->why, "not the same work");
    else if (has_varied && base != now)
        set_why(result->why, "it is not the same in all runs");
}

static void judge_metric(const struct judge *judge, const struct row *row,
                         struct row_metric *result)
{
    const struct metric *metric = result->metric;
    const struct change_noise noise = judge_noise(row);
    result->change = change_of(&result->sides[COMPARE_BASE], &result->sides[COMPARE_NOW], &noise);
    if (metric->how == FACT_COMPARE_COUNTED) {
        judge_counted(row, result);
        return;
    }
    const struct change_rule rule = {
        .least = log1p(metric->least_percent / 100),
        .is_higher_better = fact_of(metric->fact)->better == FACT_BETTER_HIGHER,
        .is_significant = change_is_significant(&result->change, judge->p_limit),
    };
    judge_sampled(row, result, &rule);
}

/* False: the metric says nothing about this cell. A metric that is gone is not passed over, but
 * where the record's form has no place for it, or another stands in for it. */
static bool take_metric(const struct judge *judge, const struct row *row, size_t index,
                        struct row_metric *ret_result)
{
    const struct metrics *metrics = &judge->options->metrics;
    bool has_stand_in = index + 1 < metrics->count && metrics->items[index + 1].is_stand_in;
    bool can_know = !has(row->sides[COMPARE_NOW], TALLY_IS_PUBLISHED);
    /* Not all of it is zeroed: every row is judged for every form, and most of it is text. */
    ret_result->metric = &metrics->items[index];
    ret_result->why[0] = '\0';
    ret_result->change = (struct change){0};
    for (size_t s = 0; s < COMPARE_SIDES_COUNT; s++) {
        ret_result->value[s] = 0;
        ret_result->sides[s] = (struct change_side){0};
        ret_result->is_known[s] = tallies_get(&judge->tallies[s], row->sides[s], index,
                                              &ret_result->value[s], &ret_result->sides[s]);
    }
    if (ret_result->is_known[COMPARE_BASE] && ret_result->is_known[COMPARE_NOW]) {
        judge_metric(judge, row, ret_result);
        return true;
    }
    if (!ret_result->is_known[COMPARE_BASE] || has_stand_in || !can_know)
        return false;
    ret_result->verdict = COMPARE_MISSING;
    set_why(ret_result->why, "the new results do not have it");
    return true;
}

static void take_verdict(const struct row_metric *result, struct row *row)
{
    if (result->verdict >= row->verdict)
        return;
    row->verdict = result->verdict;
    row->why[0] = '\0';
    if (result->why[0] == '\0')
        return;
    append_why(row->why, fact_of(result->metric->fact)->name);
    append_why(row->why, ": ");
    append_why(row->why, result->why);
}

static void judge_metrics(const struct judge *judge, struct row *row)
{
    const struct metrics *metrics = &judge->options->metrics;
    bool is_compared = false; /* the metric that the next may stand in for */
    row->verdict = COMPARE_VERDICTS_COUNT;
    for (size_t i = 0; i < metrics->count; i++) {
        struct row_metric *result = &row->metrics[row->metrics_count];
        is_compared =
            !(metrics->items[i].is_stand_in && is_compared) && take_metric(judge, row, i, result);
        if (!is_compared)
            continue;
        row->metrics_count++;
        take_verdict(result, row);
    }
    if (row->metrics_count == 0) {
        row->verdict = COMPARE_NOT_COMPARABLE;
        set_why(row->why, "no metric that both sides know");
    }
}

void judge_row(const struct judge *judge, struct row *row)
{
    const struct tally *base = row->sides[COMPARE_BASE];
    const struct tally *now = row->sides[COMPARE_NOW];
    row->why[0] = '\0';
    row->metrics_count = 0;
    if (now == NULL) {
        row->verdict = COMPARE_MISSING;
    } else if (base == NULL) {
        row->verdict = COMPARE_NEW;
    } else if ((has(base, TALLY_IS_SANDBOX) || has(now, TALLY_IS_SANDBOX)) &&
               !judge->options->includes_sandbox) {
        row->verdict = COMPARE_NOT_COMPARABLE;
        set_why(row->why, "made up by the sandbox");
    } else if (!has(base, TALLY_HAS_RESULT) || !has(now, TALLY_HAS_RESULT)) {
        judge_failure(row);
    } else if (judge_work(judge, row)) {
        judge_metrics(judge, row);
    }
}
