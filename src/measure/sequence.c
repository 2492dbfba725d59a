#include "measure/sequence.h"

#include <math.h>

#include "measure/special.h"

static const size_t early_looks[] = {12, 24, 48, 96, 192};

void sequence_init(struct sequence *sequence, const struct sequence_rule *rule)
{
    ASSERT(rule->starts_max >= 1 && rule->starts_max <= SEQUENCE_STARTS_MAX);
    *sequence = (struct sequence){.rule = *rule};
}

/* --- the plan --- */

static size_t at_most(size_t count, double limit)
{
    return limit < (double)count ? (size_t)fmax(limit, 1) : count;
}

void sequence_prepared(struct sequence *sequence, uint64_t prepare_ns, double round_ns)
{
    const struct sequence_rule *rule = &sequence->rule;
    double time_ns = (double)rule->time_max_ns;
    if (sequence->planned_count > 0) {
        sequence->later_prepare_ns += prepare_ns;
        if (prepare_ns > sequence->longest_prepare_ns || sequence->starts_count == 1)
            sequence->longest_prepare_ns = prepare_ns;
        return;
    }
    sequence->first_prepare_ns = sequence->longest_prepare_ns = prepare_ns;
    sequence->round_ns = round_ns;
    sequence->planned_count = rule->starts_max;
    if (rule->rounds_exact > 0 || rule->time_max_ns == 0)
        return;
    size_t count = at_most(rule->starts_max, 1 + time_ns / fmax((double)prepare_ns, 1));
    sequence->planned_count = at_most(count, time_ns / (COMPARE_ROUNDS_MIN * fmax(round_ns, 1)));
}

uint64_t sequence_start_time_ns(const struct sequence *sequence)
{
    return sequence->rule.time_max_ns / sequence->planned_count;
}

uint64_t sequence_left_ns(const struct sequence *sequence)
{
    const struct sequence_rule *rule = &sequence->rule;
    uint64_t others = sequence->planned_count - 1;
    double rounds = (double)sequence->planned_count * (double)rule->rounds_exact;
    uint64_t rounds_ns =
        rule->rounds_exact > 0 ? (uint64_t)(rounds * sequence->round_ns) : rule->time_max_ns;
    return rounds_ns + others * sequence->first_prepare_ns;
}

/* --- looks --- */

static double error_of_starts(const struct sequence_rule *rule)
{
    bool has_early = rule->rounds_exact == 0 && !rule->is_estimate;
    return SEQUENCE_ERROR - (has_early ? SEQUENCE_EARLY_LOOKS * SEQUENCE_EARLY_ERROR : 0);
}

/* The two-sided error of the look after start `count` alone, when there was one after each before
 * it or, for an exact comparison, none. */
static double error_of_look(const struct sequence *sequence, size_t count, bool is_last)
{
    const struct sequence_rule *rule = &sequence->rule;
    double information[SPENDING_LOOKS_MAX];
    double spent[SPENDING_LOOKS_MAX];
    double boundaries[SPENDING_LOOKS_MAX];
    for (size_t i = 0; i < count; i++) {
        information[i] = (double)(i + 1) / (double)sequence->planned_count;
        if (i + 1 == count && is_last)
            information[i] = 1;
        spent[i] = spending_power(information[i], error_of_starts(rule));
    }
    if (rule->rounds_exact > 0)
        return spent[count - 1];
    spending_boundaries(information, spent, count, boundaries);
    return 2 * special_normal_cdf(-boundaries[count - 1]);
}

static enum status take_look(struct sequence *sequence, const struct compare_start *starts,
                             size_t starts_count, const double *log_ratios, size_t rounds_count,
                             struct sequence_look *look, struct err *err)
{
    const struct sequence_rule *rule = &sequence->rule;
    struct compare_result seen = {0};
    enum status status = STATUS_OK;
    if (rule->starts_max == 1)
        status =
            compare_rounds(log_ratios, rounds_count, &rule->limits, 1 - look->error, &seen, err);
    else
        compare_starts(starts, starts_count, &rule->prior, &rule->limits, 1 - look->error, &seen);
    if (status != STATUS_OK)
        return status;
    look->log_ratio = seen.log_ratio;
    look->log_ratio_ci = seen.log_ratio_ci;
    look->outcome = seen.outcome;
    ASSERT(sequence->looks_count < SEQUENCE_LOOKS_MAX);
    sequence->looks[sequence->looks_count++] = *look;
    if (look->outcome != COMPARE_OUTCOME_UNDECIDED && !rule->is_estimate)
        sequence->end = SEQUENCE_DECIDED;
    return STATUS_OK;
}

bool sequence_is_early_look(const struct sequence *sequence, size_t rounds_count)
{
    const struct sequence_rule *rule = &sequence->rule;
    if (rule->rounds_exact > 0 || rule->is_estimate || sequence->starts_count > 0)
        return false;
    for (size_t i = 0; i < ARRAY_COUNT(early_looks); i++)
        if (early_looks[i] == rounds_count)
            return true;
    return false;
}

enum status sequence_look_early(struct sequence *sequence, const double *log_ratios,
                                size_t rounds_count, struct err *err)
{
    struct compare_start start;
    struct sequence_look early = {.rounds_count = rounds_count, .error = SEQUENCE_EARLY_ERROR};
    enum status status = compare_start_of(log_ratios, rounds_count, &start, err);
    if (status == STATUS_OK)
        status = take_look(sequence, &start, 1, log_ratios, rounds_count, &early, err);
    if (status == STATUS_OK && sequence->end == SEQUENCE_DECIDED) {
        sequence->starts[sequence->starts_count++] = start;
        sequence->rounds_count = rounds_count;
    }
    return status;
}

/* Will there be no more starts? */
static enum sequence_end end_without_decision(const struct sequence *sequence)
{
    const struct sequence_rule *rule = &sequence->rule;
    if (sequence->starts_count >= sequence->planned_count)
        return SEQUENCE_ALL_STARTS;
    if (rule->rounds_exact > 0 || rule->time_max_ns == 0)
        return SEQUENCE_GOES_ON;
    if (sequence->measured_ns >= rule->time_max_ns)
        return SEQUENCE_TIME;
    if (sequence->later_prepare_ns + sequence->longest_prepare_ns > rule->time_max_ns)
        return SEQUENCE_PREPARING;
    return SEQUENCE_GOES_ON;
}

enum status sequence_add_start(struct sequence *sequence, const double *log_ratios,
                               size_t rounds_count, uint64_t measured_ns, struct err *err)
{
    ASSERT(sequence->planned_count > 0 && sequence->starts_count < sequence->planned_count);
    struct compare_start *start = &sequence->starts[sequence->starts_count];
    enum status status = compare_start_of(log_ratios, rounds_count, start, err);
    if (status != STATUS_OK)
        return status;
    sequence->starts_count++;
    sequence->rounds_count += rounds_count;
    sequence->measured_ns += measured_ns;
    sequence->end = end_without_decision(sequence);
    bool is_last = sequence->end != SEQUENCE_GOES_ON;
    if (sequence->rule.rounds_exact > 0 && !is_last)
        return STATUS_OK;
    struct sequence_look whole = {
        .starts_count = sequence->starts_count,
        .rounds_count = sequence->rounds_count,
        .error = error_of_look(sequence, sequence->starts_count, is_last),
    };
    return take_look(sequence, sequence->starts, sequence->starts_count, log_ratios, rounds_count,
                     &whole, err);
}

void sequence_cut(struct sequence *sequence)
{
    if (sequence->rule.rounds_exact == 0 || sequence->starts_count == 0 ||
        sequence->end != SEQUENCE_GOES_ON)
        return;
    struct sequence_look whole = {
        .starts_count = sequence->starts_count,
        .rounds_count = sequence->rounds_count,
        .error = error_of_look(sequence, sequence->starts_count, false),
    };
    /* Of several starts: the rounds are not looked at, so nothing can fail. */
    if (take_look(sequence, sequence->starts, sequence->starts_count, NULL, 0, &whole, NULL) !=
        STATUS_OK)
        return;
}

const struct sequence_look *sequence_result(const struct sequence *sequence)
{
    for (size_t i = sequence->looks_count; i > 0; i--)
        if (sequence->looks[i - 1].log_ratio_ci.is_known || i == 1)
            return &sequence->looks[i - 1];
    return NULL;
}
