#include "supervise/judge.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "supervise/earlier_runs.h"
#include "supervise/provenance.h"
#include "supervise/sweep_facts.h"
#include "telemetry/pace.h"

static void add_verdict(struct trial *trial, enum verdict verdict, const char *code,
                        const char *text)
{
    if (trial->verdict == VERDICT_OK)
        trial->verdict = verdict;
    reasons_add(&trial->reasons, code, "%s", text);
}

static void add_unsteady(struct trial *trial, const struct reasons *found)
{
    for (size_t i = 0; i < found->count; i++)
        add_verdict(trial, VERDICT_UNSTEADY, found->items[i].code, found->items[i].text);
}

/* Figures that cannot be right, whatever else happened. */
static void judge_validity(struct trial *trial)
{
    char text[REASON_TEXT_BYTES];
    uint64_t nonfinite_count = given_blocks_u64(&trial->given, FACT_NONFINITE);
    if (nonfinite_count > 0) {
        (void)snprintf(text, sizeof(text),
                       "%" PRIu64 " losses or gradient norms were not finite numbers",
                       nonfinite_count);
        add_verdict(trial, VERDICT_INVALID, "nonfinite_loss", text);
    }
    if (trial->recompiles_count > 0) {
        (void)snprintf(text, sizeof(text), "%" PRIu64 " recompilations inside measured blocks",
                       trial->recompiles_count);
        add_verdict(trial, VERDICT_INVALID, "recompile", text);
    }
    if (trial->has_clock_mismatch)
        add_verdict(trial, VERDICT_INVALID, "clock_mismatch",
                    "the worker reported a longer block than the host saw pass");
    if (trial->has_ready && provenance_is_other_model(trial->cell, &trial->ready, text))
        add_verdict(trial, VERDICT_INVALID, "params_mismatch", text);
}

/* --- the machine --- */

const char *judge_foreign_percent(const struct trial *trial, double *ret_percent)
{
    if (trial->has_hello && trial->hello.is_synthetic)
        return "synthetic";
    if (!trial->has_summary)
        return "not_measured";
    if (!trial->has_load)
        return "worker_not_seen";
    return cpuload_foreign_percent(&trial->load_before, &trial->load_after, ret_percent);
}

static void judge_load(struct trial *trial)
{
    double limit = trial->options->foreign_load_limit_percent;
    double foreign = 0;
    char text[REASON_TEXT_BYTES];
    if (judge_foreign_percent(trial, &foreign) != NULL || !(limit > 0) || foreign <= limit)
        return;
    (void)snprintf(text, sizeof(text),
                   "others used %.3g %% of the time of the %u processors that the cell may use, "
                   "while it was measured; %g %% is allowed",
                   foreign, trial->load_before.cpus_count, limit);
    add_verdict(trial, VERDICT_INVALID, "foreign_load", text);
}

static void judge_heat(struct trial *trial)
{
    const struct cpuload *before = &trial->load_before;
    const struct cpuload *after = &trial->load_after;
    if (!trial->has_load || !before->has_throttles || after->throttles <= before->throttles)
        return;
    char text[REASON_TEXT_BYTES];
    (void)snprintf(text, sizeof(text),
                   "processors were slowed down for their heat %" PRIu64
                   " times while the cell was measured",
                   after->throttles - before->throttles);
    add_verdict(trial, VERDICT_INVALID, "throttled", text);
}

/* Within a run a slow machine is as steady as a fast one. */
static void judge_pace(struct trial *trial)
{
    const uint64_t *best_ns = trial->options->pace_best_ns;
    char text[REASON_TEXT_BYTES];
    if (best_ns != NULL &&
        (pace_is_slow(*best_ns, trial->pace_before_ns, "before", text, sizeof(text)) ||
         pace_is_slow(*best_ns, trial->pace_after_ns, "after", text, sizeof(text))))
        add_verdict(trial, VERDICT_UNSTEADY, "machine_slow", text);
}

/* On a device the processors only feed it; what disturbs the device itself is not watched yet. */
static void judge_machine(struct trial *trial)
{
    if (!trial->has_summary || strcmp(trial->cell->device, "cpu") != 0)
        return;
    judge_heat(trial);
    judge_load(trial);
    judge_pace(trial);
}

/* --- what was computed --- */

static void judge_numbers(struct trial *trial)
{
    char text[REASON_TEXT_BYTES];
    if (trial->has_ready && provenance_contradicts(trial->cell->precision, &trial->ready, text))
        add_verdict(trial, VERDICT_INVALID, "precision_not_as_asked", text);
    if (!trial->has_check || trial->check != CHECKS_FAILED)
        return;
    (void)snprintf(text, sizeof(text),
                   "the newest `tokmark check` of this engine, precision and model failed (run %s "
                   "in " JOURNAL_CHECKS ")",
                   trial->check_run_id);
    add_verdict(trial, VERDICT_INVALID, "check_failed", text);
}

/* How far a trial got: its session is closing by the time this is asked. */
static const char *last_phase_name(const struct trial *trial)
{
    if (!trial->has_hello)
        return session_phase_name(EVENT_STARTING);
    if (!trial->has_ready)
        return session_phase_name(EVENT_OPENING);
    return session_phase_name(trial->measure.phase == MEASURE_WARMUP ? EVENT_WARMUP
                                                                     : EVENT_MEASURING);
}

static void judge_interruption(struct trial *trial)
{
    bool is_cut = trial->measure.phase != MEASURE_DONE && session_is_interrupted(&trial->session);
    if (trial->session.has_ended || !is_cut)
        return;
    char text[REASON_TEXT_BYTES];
    (void)snprintf(text, sizeof(text),
                   "stopped by a signal during %s, after %" PRIu64 " measured steps",
                   last_phase_name(trial), trial->measure.steady_steps_done);
    add_verdict(trial, VERDICT_INTERRUPTED, "interrupted", text);
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
    drift_add_reasons(&drift, trial->summary.samples_count, &found);
    add_unsteady(trial, &found);
}

/* What the sweep knows against the figures, where there are any. */
static void judge_sweep(struct trial *trial)
{
    struct reasons found = {0};
    if (trial->options->sweep != NULL && trial->measure.steady.count > 0)
        sweep_facts_judge(trial->options->sweep, &found);
    add_unsteady(trial, &found);
}

/* What the machine has shown before, against the figures. */
static void judge_history(struct trial *trial)
{
    struct reasons found = {0};
    earlier_runs_judge(trial, &found);
    add_unsteady(trial, &found);
}

void judge_trial(struct trial *trial)
{
    const struct session *session = &trial->session;
    trial->verdict = session->has_ended ? session->verdict : VERDICT_OK;
    trial->reasons = session->reasons;
    judge_interruption(trial);
    judge_validity(trial);
    judge_numbers(trial);
    judge_machine(trial);
    add_unsteady(trial, &trial->measure.reasons);
    judge_drift(trial);
    judge_sweep(trial);
    judge_history(trial);
}
