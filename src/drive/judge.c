#include "drive/judge.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/num.h"
#include "measure/precision.h"

/* How far a trial got: its session is closing by the time this is asked. */
static const char *last_phase_name(const struct trial *trial)
{
    if (!trial->client.has_hello)
        return event_phase_name(EVENT_STARTING);
    if (!trial->client.has_ready)
        return event_phase_name(EVENT_OPENING);
    return event_phase_name(trial->measure.phase == MEASURE_WARMUP ? EVENT_WARMUP
                                                                   : EVENT_MEASURING);
}

static void judge_interruption(struct trial *trial)
{
    bool is_cut =
        trial->measure.phase != MEASURE_DONE && session_is_interrupted(&trial->client.session);
    if (trial->client.session.has_ended || !is_cut)
        return;
    judgement_add(&trial->judgement, VERDICT_INTERRUPTED, "interrupted",
                  "stopped by a signal during %s, after %" PRIu64 " measured step%s",
                  last_phase_name(trial), trial->measure.steady_steps_done,
                  num_plural(trial->measure.steady_steps_done));
}

/* Levels that are no further apart than two readings of the clock are one. */
static bool is_below_clock(const struct trial *trial)
{
    double moved = fabs(trial->drift.half_change_percent.value) / 100;
    return moved * trial->summary.median_ns <= CLOCK_TICKS_NS;
}

static void judge_drift(struct trial *trial)
{
    if (!trial->has_summary || !(trial->options->drift_limit_percent > 0))
        return;
    struct reasons found = {0};
    struct drift drift = trial->drift;
    drift.has_drifted = drift.has_drifted && !is_below_clock(trial);
    drift_add_reason(&drift, &found);
    judgement_warn_all(&trial->judgement, &found);
}

/* What so many samples say, with an exact number of steps: nobody saw to it that they are enough.
 */
static void warn_of_precision(struct trial *trial)
{
    const struct measure_summary *summary = &trial->summary;
    struct reasons found = {0};
    struct precision precision = {.samples_count = summary->samples_count,
                                  .median_ns = summary->median_ns,
                                  .median_95 = summary->median_95,
                                  .effective_count = summary->effective_count,
                                  .needed_count = summary->needed_count};
    if (!trial->has_summary)
        return;
    precision_add_correlated(&precision, &found);
    if (trial->measure.policy.steps_exact > 0)
        precision_add_imprecise(&precision, &found);
    judgement_warn_all(&trial->judgement, &found);
}

/* What the policy asks for and did not get decides only where the user asked for it. */
static void judge_precision(struct trial *trial)
{
    const struct measure_policy *policy = &trial->measure.policy;
    const struct reasons *unmet = &trial->measure.reasons;
    for (size_t i = 0; i < unmet->count; i++) {
        const struct reason *reason = &unmet->items[i];
        if (policy->is_target_asked && strcmp(reason->code, PRECISION_TARGET_NOT_MET) == 0)
            judgement_add(&trial->judgement, VERDICT_UNSTEADY, reason->code, "%s", reason->text);
        else
            judgement_warn(&trial->judgement, reason->code, "%s", reason->text);
    }
    warn_of_precision(trial);
}

/* What would fit is part of the reason why the cell did not, before its details. */
static void name_nearest_fit(struct trial *trial)
{
    char fit[NEAREST_FIT_TEXT_BYTES], text[REASON_TEXT_BYTES];
    struct reasons *reasons = &trial->judgement.reasons;
    if (trial->judgement.verdict != VERDICT_OOM || trial->fit.why_not != NULL ||
        reasons->count == 0)
        return;
    struct reason *reason = &reasons->items[0];
    int head = (int)strcspn(reason->text, ";");
    nearest_fit_text(&trial->fit, trial->cell, fit);
    (void)snprintf(text, sizeof(text), "%.*s, predicted to fit: %s%s", head, reason->text, fit,
                   reason->text + head);
    (void)snprintf(reason->text, sizeof(reason->text), "%s", text);
}

void judge_trial(struct trial *trial)
{
    const struct session *session = &trial->client.session;
    struct judgement *judgement = &trial->judgement;
    struct observed seen = trial_observed(trial);
    struct reasons faults = {0};
    judgement->verdict = session->has_ended ? session->verdict : VERDICT_OK;
    judgement->reasons = session->reasons;
    name_nearest_fit(trial);
    judge_interruption(trial);
    client_faults(&trial->client, &faults);
    judgement_add_all(judgement, VERDICT_INVALID, &faults);
    judgement_add_all(judgement, VERDICT_INVALID, &trial->step_check.reasons);
    observer_judge(&trial->observer, &seen, judgement);
    judge_precision(trial);
    judge_drift(trial);
}
