#include "measure/warmup.h"

#include "measure/steady.h"

uint64_t warmup_time_max_ns(const struct measure_policy *policy)
{
    uint64_t half_ns = policy->time_max_ns / 2;
    bool is_by_precision = policy->steps_exact == 0;
    return is_by_precision && half_ns < policy->warmup_time_max_ns ? half_ns
                                                                   : policy->warmup_time_max_ns;
}

void warmup_update(struct measure_state *state)
{
    const struct measure_policy *policy = &state->policy;
    if (!policy->is_warmup_auto) {
        if (state->warmup_steps_done < policy->warmup_steps)
            return;
        state->phase = MEASURE_STEADY;
        state->spent_ns = 0; /* so many steps were asked for, however long they take */
        return;
    }
    bool is_capped = state->warmup_steps_done >= policy->warmup_steps_max ||
                     state->spent_ns >= warmup_time_max_ns(policy);
    struct steady_look look = steady_look_at(state->warmup.values, state->warmup.count);
    state->is_warmup_steady =
        look.is_settled ||
        (is_capped && steady_is_short(state->warmup.values, state->warmup.count));
    if (!state->is_warmup_steady && !is_capped)
        return;
    if (!state->is_warmup_steady)
        steady_add_reason(state->warmup.values, state->warmup.count, state->warmup_steps_done,
                          state->warmup_ns, &state->reasons);
    state->phase = MEASURE_STEADY;
}
