#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/num.h"
#include "drive/pair_state.h"
#include "spec/device.h"

#define STARTS_TOLD_MAX 1000.0

static enum status take_side(const struct pair *pair, enum pair_name name, bool is_interrupted,
                             struct pair_side_result *ret, struct err *err)
{
    const struct client *client = &pair->sides[name].client;
    *ret = (struct pair_side_result){
        .was_started = client->session.log_fd >= 0 || pair->sequence.starts_count > 0,
        .verdict = client->session.has_ended ? client->session.verdict : VERDICT_OK,
        .reasons = client->session.reasons,
        .has_hello = client->has_hello,
        .has_ready = client->has_ready,
        .hello = client->hello,
        .ready = client->ready,
        .warmup_steps_count = pair->warmup_steps_count[name],
        .blocks_count = BLOCKS_PER_SIDE * pair->rounds_count,
        .steps_count = (uint64_t)BLOCKS_PER_SIDE * pair->rounds_count * pair->steps_per_block,
    };
    if (ret->verdict == VERDICT_OK && is_interrupted)
        ret->verdict = VERDICT_INTERRUPTED;
    const struct reasons *unsteady = &pair->unsteady[name];
    if (ret->verdict == VERDICT_OK && unsteady->count > 0)
        ret->verdict = VERDICT_UNSTEADY;
    for (size_t i = 0; i < unsteady->count; i++)
        reasons_add(&ret->reasons, unsteady->items[i].code, "%s", unsteady->items[i].text);
    if (client->session.has_ended)
        session_log_tail(&client->session, ret->log_tail);
    if (ret->blocks_count == 0)
        return STATUS_OK;
    return interval_of_median(pair->times[name], ret->blocks_count, PAIR_CONFIDENCE, &ret->median,
                              err);
}

/* So many starts would make the interval narrow enough, if they all went as these: 0 = not to be
 * said. */
static size_t starts_needed(const struct pair *pair, const struct compare_result *seen)
{
    const struct compare_limits *limits = &pair->plan->rule.limits;
    double half = (seen->log_ratio_ci.high - seen->log_ratio_ci.low) / 2;
    double beyond = fmax(limits->threshold, limits->floor);
    double size = fabs(seen->log_ratio);
    double gap = size > beyond ? size - beyond : limits->threshold - size;
    double needed = (double)pair->sequence.starts_count * pow(half / gap, 2);
    return gap > 0 && needed < STARTS_TOLD_MAX ? (size_t)ceil(needed) : 0;
}

/* Why were there no more starts? */
static void explain_end(const struct pair *pair, struct pair_result *result)
{
    const struct sequence *sequence = &pair->sequence;
    char measured[NUM_TEXT_BYTES];
    char prepare[NUM_TEXT_BYTES];
    char why[160] = "there may be no more (--starts)";
    char needed[80] = "";
    num_format_duration(pair->measured_ns, measured);
    num_format_duration(sequence->longest_prepare_ns, prepare);
    bool is_dear =
        sequence->planned_count < sequence->rule.starts_max || sequence->end == SEQUENCE_PREPARING;
    if (sequence->end == SEQUENCE_TIME)
        (void)snprintf(why, sizeof(why), "--max-time is used up");
    else if (is_dear)
        (void)snprintf(why, sizeof(why), "--max-time has no room for more: preparing one takes %s",
                       prepare);
    size_t count = starts_needed(pair, &result->comparison);
    if (sequence->starts_count > 1 && count > sequence->starts_count)
        (void)snprintf(needed, sizeof(needed), "; about %zu would decide it", count);
    reasons_add(&result->reasons, "precision_not_met",
                "not decided after %zu start%s (%zu round%s, %s), and %s%s", sequence->starts_count,
                num_plural(sequence->starts_count), pair->rounds_count,
                num_plural(pair->rounds_count), measured, why, needed);
}

static void explain_undecided(const struct pair *pair, struct pair_result *result)
{
    const struct sequence *sequence = &pair->sequence;
    if (sequence->rule.starts_max > 1 && sequence->rule.rounds_exact == 0 &&
        !result->is_interrupted)
        explain_end(pair, result);
    const struct compare_result *seen = &result->comparison;
    const struct compare_limits *limits = &pair->plan->rule.limits;
    double threshold_percent = 100 * expm1(limits->threshold);
    if (pair->rounds_count > 0 && !seen->log_ratio_ci.is_known)
        reasons_add(&result->reasons, "too_few_rounds",
                    "too few rounds for a 95 %% interval: %zu, worth %.3g independent ones",
                    pair->rounds_count, seen->effective_count);
    else if (pair->rounds_count > 0 && limits->floor > limits->threshold)
        reasons_add(&result->reasons, "floor_above_threshold",
                    "the noise floor of this machine, %.3g %%, is above the threshold, %.3g %%: "
                    "only a difference beyond the floor is decided, and the 95 %% interval of the "
                    "ratio is %+.3g %% to %+.3g %%",
                    100 * expm1(limits->floor), threshold_percent,
                    100 * expm1(seen->log_ratio_ci.low), 100 * expm1(seen->log_ratio_ci.high));
    else if (pair->rounds_count > 0)
        reasons_add(
            &result->reasons, "straddles_threshold",
            "the difference of B to A is between %+.3g %% and %+.3g %% (95 %% interval), so it may "
            "be "
            "smaller than the threshold, %.3g %%, or larger; measure longer, or give a larger "
            "--threshold",
            100 * expm1(seen->log_ratio_ci.low), 100 * expm1(seen->log_ratio_ci.high),
            threshold_percent);
}

/* Were fewer than half of the rounds undisturbed? Then no outcome can be trusted. */
static bool is_contended(const struct pair *pair, struct pair_result *result)
{
    char text[REASON_TEXT_BYTES];
    const struct interference *interference = &pair->interference;
    result->rounds_run_count = interference_blocks(interference);
    memcpy(result->rounds_by_cause, interference->blocks, sizeof(result->rounds_by_cause));
    result->has_foreign =
        interference_foreign_percent(interference, &result->foreign_percent) == NULL;
    if (interference_blocks(interference) == 0 ||
        !interference_is_heavy(interference, "round", text))
        return false;
    reasons_add(&result->reasons, "foreign_load", "%s", text);
    return true;
}

static void judge(const struct pair *pair, struct pair_result *result)
{
    result->outcome = COMPARE_OUTCOME_UNDECIDED;
    bool is_spoiled = is_contended(pair, result) || !(pair->is_complete || result->is_interrupted);
    for (int i = 0; i < PAIR_SIDES; i++) {
        const struct pair_side_result *side = &result->sides[i];
        if (!pair->sides[i].client.session.has_ended)
            continue;
        is_spoiled = true;
        reasons_add(&result->reasons, i == PAIR_A ? "a_failed" : "b_failed", "%s is %s: %.380s",
                    pair_title((enum pair_name)i), verdict_name(side->verdict),
                    side->reasons.count > 0 ? side->reasons.items[0].text : "no reason given");
    }
    if (result->is_interrupted)
        reasons_add(&result->reasons, "interrupted",
                    "stopped by a signal after %zu round%s; judged by what there is",
                    pair->rounds_count, num_plural(pair->rounds_count));
    for (size_t i = 0; i < pair->reasons.count; i++)
        reasons_add(&result->reasons, pair->reasons.items[i].code, "%s",
                    pair->reasons.items[i].text);
    if (is_spoiled)
        return;
    result->outcome = result->comparison.outcome;
    if (result->outcome == COMPARE_OUTCOME_UNDECIDED)
        explain_undecided(pair, result);
}

/* Of several starts it is the last look's; a single one cut before a look has its rounds'. */
static enum status take_comparison(const struct pair *pair, struct compare_result *comparison,
                                   struct err *err)
{
    const struct sequence_look *last = sequence_result(&pair->sequence);
    enum status status = compare_rounds(pair->log_ratios, pair->rounds_count,
                                        &pair->plan->rule.limits, PAIR_CONFIDENCE, comparison, err);
    if (status != STATUS_OK)
        return status;
    comparison->outcome = COMPARE_OUTCOME_UNDECIDED;
    if (last == NULL)
        return STATUS_OK;
    comparison->log_ratio = last->log_ratio;
    comparison->log_ratio_ci = last->log_ratio_ci;
    comparison->outcome = last->outcome;
    return STATUS_OK;
}

enum status pair_outcome(const struct pair *pair, struct pair_result *result, struct err *err)
{
    enum status status = STATUS_OK;
    result->steps_per_block = pair->steps_per_block;
    result->lead_in_steps_count = pair->lead_in_steps_count;
    result->measured_ns = pair->measured_ns;
    for (int i = 0; status == STATUS_OK && i < PAIR_SIDES; i++)
        status = take_side(pair, (enum pair_name)i, result->is_interrupted, &result->sides[i], err);
    result->sequence = pair->sequence;
    if (status == STATUS_OK && pair->rounds_count > 0)
        status = take_comparison(pair, &result->comparison, err);
    if (status == STATUS_OK)
        judge(pair, result);
    return status;
}
