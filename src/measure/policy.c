#include "measure/policy.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/num.h"
#include "measure/interval.h"
#include "measure/precision.h"
#include "measure/quantile.h"
#include "measure/steady.h"
#include "measure/warmup.h"

#define CONFIDENCE       0.95
#define EXACT_BLOCKS_MIN 10 /* synced per block: enough blocks for an interval of the median */
#define RECENT_SAMPLES   501
#define LONG_BLOCKS_MIN  8 /* of an exact number of steps, over block_target_ns */

struct measure_policy measure_policy_default(void)
{
    return (struct measure_policy){
        .steps_exact = 0,
        .target_ci_percent = 1.0,
        .time_max_ns = 30 * NS_PER_S,
        .time_min_ns = 1 * NS_PER_S,
        .samples_min = 10,
        .is_warmup_auto = true,
        .warmup_steps = 20,
        .warmup_steps_max = 1000,
        .warmup_time_max_ns = 30 * NS_PER_S,
        .is_sync_per_block = false,
        .block_target_ns = 250 * NS_PER_MS,
        .block_steps_max = 10000,
    };
}

/* --- the schedule of looks --- */

static size_t first_look(const struct measure_policy *policy)
{
    return policy->samples_min > 0 ? policy->samples_min : 1;
}

static size_t look_after(size_t look)
{
    return look + (look + 3) / 4;
}

void measure_init(struct measure_state *state, const struct measure_policy *policy)
{
    *state = (struct measure_state){.policy = *policy};
    bool has_warmup = policy->is_warmup_auto || policy->warmup_steps > 0;
    state->phase = has_warmup ? MEASURE_WARMUP : MEASURE_STEADY;
    state->next_look = first_look(policy);
    state->ci_percent = INFINITY;
}

void measure_release(struct measure_state *state)
{
    if (state == NULL)
        return;
    free(state->warmup.values);
    free(state->steady.values);
    free(state->aside.values);
    state->warmup = (struct measure_samples){0};
    state->steady = (struct measure_samples){0};
    state->aside = (struct measure_samples){0};
}

/* --- samples --- */

static enum status samples_reserve(struct measure_samples *samples, size_t more, struct err *err)
{
    if (samples->capacity - samples->count >= more)
        return STATUS_OK;
    size_t needed = samples->count + more;
    size_t capacity = samples->capacity < 32 ? 64 : 2 * samples->capacity;
    if (capacity < needed)
        capacity = needed;
    double *values = reallocarray(samples->values, capacity, sizeof(*values));
    if (values == NULL)
        return ERR(err, STATUS_NOMEM, "no memory for %zu samples", capacity);
    samples->values = values;
    samples->capacity = capacity;
    return STATUS_OK;
}

/* What one step takes now: the median of the last three samples, so that one stall changes no block
 * size. The very first step (compiling, page faults) says nothing once there is another. At least
 * 1. */
static double step_estimate_ns(const struct measure_state *state)
{
    size_t count = state->recent_count;
    if (count == 0)
        return 1;
    double estimate = state->recent_ns[count - 1];
    if (count == MEASURE_RECENT) {
        double sorted[MEASURE_RECENT];
        memcpy(sorted, state->recent_ns, sizeof(sorted));
        quantile_sort(sorted, MEASURE_RECENT);
        estimate = quantile_median(sorted, MEASURE_RECENT);
    }
    return estimate < 1 ? 1 : estimate;
}

static void add_recent(struct measure_state *state, double step_ns)
{
    if (state->recent_count == MEASURE_RECENT)
        memmove(state->recent_ns, state->recent_ns + 1,
                (MEASURE_RECENT - 1) * sizeof(state->recent_ns[0]));
    else
        state->recent_count++;
    state->recent_ns[state->recent_count - 1] = step_ns;
}

/* --- block sizes --- */

static uint64_t minimum(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Steps that fit into `ns`, at least 1. */
static uint64_t steps_within(double ns, double step_ns)
{
    double steps = ns / step_ns;
    if (steps < 1)
        return 1;
    return steps > 1e15 ? (uint64_t)1e15 : (uint64_t)steps;
}

static double time_left_ns(uint64_t limit_ns, uint64_t used_ns)
{
    return used_ns < limit_ns ? (double)(limit_ns - used_ns) : 0;
}

static uint64_t time_min_ns(const struct measure_policy *policy)
{
    return minimum(policy->time_min_ns, policy->time_max_ns);
}

/* Samples to take until a look can end the run: a look that falls before time_min_ns cannot. */
static uint64_t samples_to_look(const struct measure_state *state, double step_ns)
{
    double left_ns = time_left_ns(time_min_ns(&state->policy), state->steady_ns);
    size_t look = state->next_look;
    while ((double)(look - state->steady.count) * step_ns < left_ns && look < MEASURE_SAMPLES_MAX)
        look = look_after(look);
    return look - state->steady.count;
}

static uint64_t warmup_block(const struct measure_state *state, uint64_t wished, double step_ns)
{
    const struct measure_policy *policy = &state->policy;
    /* Doubling gives samples early even when they come one per block. */
    uint64_t steps = minimum(wished, state->warmup_steps_done);
    if (!policy->is_warmup_auto)
        return minimum(steps, policy->warmup_steps - state->warmup_steps_done);
    double left_ns = time_left_ns(warmup_time_max_ns(policy), state->spent_ns);
    steps = minimum(steps, steps_within(left_ns, step_ns));
    return minimum(steps, policy->warmup_steps_max - state->warmup_steps_done);
}

static uint64_t steady_block(const struct measure_state *state, uint64_t wished, double step_ns)
{
    const struct measure_policy *policy = &state->policy;
    if (policy->steps_exact > 0) {
        if (policy->is_sync_per_block) {
            uint64_t share = policy->steps_exact / EXACT_BLOCKS_MIN;
            wished = minimum(wished, share > 0 ? share : 1);
        }
        wished = minimum(wished, policy->steps_exact - state->aside_steps_done);
        return minimum(wished, policy->steps_exact - state->steady_steps_done);
    }
    double left_ns = time_left_ns(policy->time_max_ns, state->spent_ns);
    uint64_t steps = minimum(wished, steps_within(left_ns, step_ns));
    if (policy->is_sync_per_block)
        return steps; /* one sample a block: every look is a block's end */
    steps = minimum(steps, MEASURE_SAMPLES_MAX - state->steady.count - state->aside.count);
    uint64_t to_look = samples_to_look(state, step_ns);
    if (steps >= to_look)
        return to_look;
    /* Close to a look: two even blocks rather than a long one and a rest. */
    return to_look < 2 * steps ? (to_look + 1) / 2 : steps;
}

/* How long a block should be. A block synced blindly is one sample: those should be alike. */
static double block_wish_ns(const struct measure_state *state, double step_ns)
{
    double target_ns = (double)state->policy.block_target_ns;
    if (state->overhead_blocks_count == 0 || state->policy.is_sync_per_block)
        return target_ns;
    /* Where disturbances come and go, short blocks lose less to them. */
    if (state->aside_steps_done > 0)
        return target_ns;
    double overhead_ns = (double)state->overhead_ns / (double)state->overhead_blocks_count;
    double wish_ns = fmin(overhead_ns / (MEASURE_OVERHEAD_PERCENT / 100), MEASURE_BLOCK_NS_MAX);
    /* Progress moves by blocks, and they are what a killed run leaves on the disk. */
    if (state->policy.steps_exact > 0)
        wish_ns = fmin(wish_ns, (double)state->policy.steps_exact * step_ns / LONG_BLOCKS_MIN);
    return fmax(wish_ns, target_ns);
}

struct measure_order measure_next(const struct measure_state *state)
{
    if (state->phase == MEASURE_DONE)
        return (struct measure_order){MEASURE_DONE, 0, false};
    struct measure_order order = {state->phase, 1, state->is_lead_in};
    if (state->recent_count == 0)
        return order; /* the first step is seen apart */
    const struct measure_policy *policy = &state->policy;
    double step_ns = step_estimate_ns(state);
    double wish_ns = block_wish_ns(state, step_ns);
    uint64_t wished = steps_within(state->is_lead_in ? MEASURE_LEAD_IN_NS : wish_ns, step_ns);
    wished = minimum(wished, policy->block_steps_max);
    uint64_t steps = state->phase == MEASURE_WARMUP ? warmup_block(state, wished, step_ns)
                                                    : steady_block(state, wished, step_ns);
    order.steps_count = steps > 0 ? (uint32_t)steps : 1;
    return order;
}

/* --- the end --- */

/* At the first `count` samples. */
static enum status take_look(const struct measure_state *state, size_t count,
                             struct precision *ret_look, struct err *err)
{
    struct interval_quantile median;
    enum status status = interval_of_median(state->steady.values, count, CONFIDENCE, &median, err);
    if (status != STATUS_OK)
        return status;
    *ret_look = (struct precision){.samples_count = count,
                                   .median_ns = median.value,
                                   .median_95 = median.two_sided,
                                   .effective_count = median.effective_count,
                                   .needed_count = median.needed_count};
    return STATUS_OK;
}

static bool is_within_target(const struct measure_state *state, const struct precision *look)
{
    return precision_percent(look) <= state->policy.target_ci_percent;
}

/* Few samples do not show how much they resemble their neighbours: then only an interval well
 * within the target ends the run. */
static double effective_needed(const struct measure_policy *policy, const struct precision *look)
{
    double least = policy->samples_min;
    bool is_well_within = precision_percent(look) <= policy->target_ci_percent / 2;
    return is_well_within ? least : fmax(least, MEASURE_EFFECTIVE_MIN);
}

/* The scheduled n before `count`, which is one itself; 0 before the first. */
static size_t look_before(const struct measure_policy *policy, size_t count)
{
    size_t before = 0;
    for (size_t look = first_look(policy); look < count; look = look_after(look))
        before = look;
    return before;
}

/* Does the run end at this look? The one before must have met the target, too: one alone is met as
 * soon as chance makes an interval narrow. It need not have been taken then; its samples are here.
 */
static enum status look_and_before(const struct measure_state *state, const struct precision *look,
                                   bool *ret_can_end, struct err *err)
{
    size_t before = look_before(&state->policy, state->steady.count);
    *ret_can_end = false;
    if (before == 0 || !is_within_target(state, look) ||
        look->effective_count < effective_needed(&state->policy, look))
        return STATUS_OK;
    struct precision earlier = {0};
    enum status status = take_look(state, before, &earlier, err);
    if (status == STATUS_OK)
        *ret_can_end = is_within_target(state, &earlier);
    return status;
}

/* By precision: ends at a look that meets every condition, or at a cap. */
static enum status update_by_precision(struct measure_state *state, struct err *err)
{
    const struct measure_policy *policy = &state->policy;
    size_t count = state->steady.count;
    while (state->next_look < count)
        state->next_look = look_after(state->next_look);
    bool is_look = state->next_look == count;
    if (is_look)
        state->next_look = look_after(count);
    bool is_capped =
        state->spent_ns >= policy->time_max_ns || count + state->aside.count >= MEASURE_SAMPLES_MAX;
    bool can_end = is_look && state->steady_ns >= time_min_ns(policy);
    if (!is_capped && !can_end)
        return STATUS_OK;
    if (count == 0) {
        /* Not one clean block: disturbed ones are a result, too, the first after a pause is none.
         */
        if (state->aside_steps_done > 0)
            state->phase = MEASURE_DONE;
        return STATUS_OK;
    }

    struct precision look = {0};
    bool is_met = false;
    enum status status = take_look(state, count, &look, err);
    if (status == STATUS_OK && can_end)
        status = look_and_before(state, &look, &is_met, err);
    if (status != STATUS_OK)
        return status;
    const struct precision_time time = {state->steady_ns, state->paused_ns, state->aside_ns};
    state->ci_percent = precision_percent(&look);
    state->effective_count = look.effective_count;
    if (is_capped && !is_within_target(state, &look))
        precision_add_target(&look, &time, policy->target_ci_percent, &state->reasons);
    if (is_capped && count < policy->samples_min) {
        char text[PRECISION_TIME_BYTES];
        precision_format_time(&time, text);
        reasons_add(&state->reasons, "samples_min_not_reached",
                    "%zu sample%s, and at least %" PRIu32 " are required; after %s", count,
                    num_plural(count), policy->samples_min, text);
    }
    if (is_capped || is_met)
        state->phase = MEASURE_DONE;
    return STATUS_OK;
}

/* --- blocks --- */

/* Its time, and what its steps took. */
static void take_time(struct measure_state *state, uint32_t steps_count, uint64_t window_ns,
                      const uint64_t *step_ns)
{
    double mean_ns = (double)window_ns / steps_count;
    bool is_first = state->recent_count == 0;
    uint64_t first_ns = step_ns != NULL ? step_ns[0] : (uint64_t)mean_ns;
    if (is_first)
        state->first_step_ns = first_ns;
    /* The first step may compile for minutes: it is reported apart. */
    state->spent_ns += window_ns - (is_first ? minimum(first_ns, window_ns) : 0);
    uint32_t count = step_ns != NULL ? steps_count : 1;
    for (uint32_t i = count > MEASURE_RECENT ? count - MEASURE_RECENT : 0; i < count; i++)
        add_recent(state, step_ns != NULL ? (double)step_ns[i] : mean_ns);
    if (state->phase == MEASURE_WARMUP) {
        state->warmup_steps_done += steps_count;
        state->warmup_ns += window_ns;
    }
}

static enum status add_samples(struct measure_samples *samples, uint32_t steps_count,
                               uint64_t window_ns, const uint64_t *step_ns, struct err *err)
{
    size_t more = step_ns != NULL ? steps_count : 1;
    enum status status = samples_reserve(samples, more, err);
    for (size_t i = 0; status == STATUS_OK && i < more; i++)
        samples->values[samples->count++] =
            step_ns != NULL ? (double)step_ns[i] : (double)window_ns / steps_count;
    return status;
}

enum status measure_add_block(struct measure_state *state, uint32_t steps_count, uint64_t window_ns,
                              const uint64_t *step_ns, struct err *err)
{
    ASSERT(state->phase != MEASURE_DONE && steps_count > 0);
    bool is_warmup = state->phase == MEASURE_WARMUP;
    enum status status = add_samples(is_warmup ? &state->warmup : &state->steady, steps_count,
                                     window_ns, step_ns, err);
    if (status != STATUS_OK)
        return status;
    take_time(state, steps_count, window_ns, step_ns);
    state->is_load_lasting = false;
    state->is_lead_in = false;
    if (is_warmup) {
        warmup_update(state);
        return STATUS_OK;
    }
    state->steady_steps_done += steps_count;
    state->steady_ns += window_ns;
    if (state->policy.steps_exact == 0)
        return update_by_precision(state, err);
    if (state->steady_steps_done >= state->policy.steps_exact)
        state->phase = MEASURE_DONE;
    return STATUS_OK;
}

/* A load that stays is what the warm-up has to settle under. */
static enum status set_aside_in_warmup(struct measure_state *state, uint32_t steps_count,
                                       uint64_t window_ns, const uint64_t *step_ns, bool is_lead_in,
                                       struct err *err)
{
    enum status status = STATUS_OK;
    if (state->is_load_lasting && !is_lead_in)
        status = add_samples(&state->warmup, steps_count, window_ns, step_ns, err);
    if (status == STATUS_OK)
        warmup_update(state);
    return status;
}

enum status measure_set_aside(struct measure_state *state, uint32_t steps_count, uint64_t window_ns,
                              const uint64_t *step_ns, struct err *err)
{
    ASSERT(state->phase != MEASURE_DONE && steps_count > 0);
    bool is_lead_in = state->is_lead_in;
    state->is_lead_in = false;
    take_time(state, steps_count, window_ns, step_ns);
    if (state->phase == MEASURE_WARMUP)
        return set_aside_in_warmup(state, steps_count, window_ns, step_ns, is_lead_in, err);
    if (is_lead_in) {
        state->lead_in_ns += window_ns;
    } else {
        enum status status = add_samples(&state->aside, steps_count, window_ns, step_ns, err);
        if (status != STATUS_OK)
            return status;
        state->aside_steps_done += steps_count;
        state->aside_ns += window_ns;
    }
    if (state->policy.steps_exact == 0)
        return update_by_precision(state, err);
    if (state->aside_steps_done >= state->policy.steps_exact)
        state->phase = MEASURE_DONE;
    return STATUS_OK;
}

void measure_add_spent(struct measure_state *state, uint64_t spent_ns)
{
    state->spent_ns += spent_ns;
}

void measure_add_overhead(struct measure_state *state, uint64_t overhead_ns)
{
    state->overhead_ns += overhead_ns;
    state->overhead_blocks_count++;
    state->spent_ns += overhead_ns;
}

/* --- pauses --- */

uint64_t measure_pause_max_ns(const struct measure_state *state)
{
    const struct measure_policy *policy = &state->policy;
    if (state->phase == MEASURE_DONE || state->is_load_lasting)
        return 0;
    double left_ns = 0;
    if (policy->steps_exact > 0) {
        double room_ns =
            MEASURE_PAUSE_NS_MAX + (double)policy->steps_exact * step_estimate_ns(state);
        left_ns = room_ns - (double)state->paused_ns - (double)state->aside_ns;
    } else {
        uint64_t limit_ns =
            state->phase == MEASURE_WARMUP ? warmup_time_max_ns(policy) : policy->time_max_ns;
        left_ns = time_left_ns(limit_ns, state->spent_ns);
    }
    return left_ns > 0 ? (uint64_t)fmin(left_ns, MEASURE_PAUSE_NS_MAX) : 0;
}

void measure_add_pause(struct measure_state *state, uint64_t pause_ns, bool is_quiet)
{
    state->paused_ns += pause_ns;
    state->spent_ns += pause_ns;
    state->is_lead_in = true;
    state->is_load_lasting = !is_quiet;
}

/* --- progress --- */

static double warmup_remaining_ns(const struct measure_state *state, double step_ns)
{
    if (state->phase != MEASURE_WARMUP)
        return 0;
    const struct measure_policy *policy = &state->policy;
    if (!policy->is_warmup_auto)
        return (double)(policy->warmup_steps - state->warmup_steps_done) * step_ns;
    /* Auto can end at any block from then on. */
    size_t least = STEADY_SAMPLES_MIN;
    double needed = state->warmup.count < least ? (double)(least - state->warmup.count) : 1;
    return fmin(needed * step_ns, time_left_ns(warmup_time_max_ns(policy), state->spent_ns));
}

/* By precision: the interval narrows with the square root of n. */
static double precision_remaining_ns(const struct measure_state *state, double step_ns)
{
    const struct measure_policy *policy = &state->policy;
    double left_ns = time_left_ns(policy->time_max_ns, state->spent_ns);
    double needed = (double)state->next_look;
    if (isfinite(state->ci_percent) && policy->target_ci_percent > 0) {
        double ratio = state->ci_percent / policy->target_ci_percent;
        needed = fmax(needed, (double)state->steady.count * ratio * ratio);
    }
    double sample_ns = step_ns;
    if (policy->is_sync_per_block)
        sample_ns = fmax(step_ns, (double)policy->block_target_ns);
    double more_ns = (needed - (double)state->steady.count) * sample_ns;
    more_ns = fmax(more_ns, time_left_ns(time_min_ns(policy), state->steady_ns));
    return fmin(more_ns, left_ns);
}

double measure_recent_median_ns(const struct measure_state *state)
{
    double recent[RECENT_SAMPLES];
    const struct measure_samples *samples = &state->steady;
    size_t count = minimum(samples->count, RECENT_SAMPLES);
    memcpy(recent, samples->values + (samples->count - count), count * sizeof(recent[0]));
    quantile_sort(recent, count);
    return quantile_median(recent, count);
}

uint64_t measure_remaining_ns(const struct measure_state *state)
{
    if (state->phase == MEASURE_DONE || state->recent_count == 0)
        return 0;
    double step_ns = step_estimate_ns(state);
    const struct measure_policy *policy = &state->policy;
    double remaining = warmup_remaining_ns(state, step_ns);
    if (policy->steps_exact > 0)
        remaining += (double)(policy->steps_exact - state->steady_steps_done) * step_ns;
    else
        remaining += precision_remaining_ns(state, step_ns);
    return remaining < 1e18 ? (uint64_t)remaining : (uint64_t)1e18;
}
