#include "drive/pair_side.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "measure/quantile.h"

#define RECENT_SAMPLES_MAX 20

void pair_side_init(struct pair_side *side, const struct cell *cell,
                    const struct client_options *options, const struct measure_policy *policy,
                    const char *run_id, const char *log_path)
{
    *side = (struct pair_side){.policy = policy, .run_id = run_id, .log_path = log_path};
    client_init(&side->client, cell, options);
    struct measure_policy warmup = *policy;
    warmup.steps_exact = 0;
    warmup.block_steps_max = PROTO_BLOCK_STEPS_MAX;
    /* One step at least: the blocks' length comes from it. */
    if (!warmup.is_warmup_auto && warmup.warmup_steps == 0)
        warmup.warmup_steps = 1;
    measure_init(&side->warmup, &warmup);
}

void pair_side_release(struct pair_side *side)
{
    client_release(&side->client);
    measure_release(&side->warmup);
}

bool pair_side_can_go_on(const struct pair_side *side)
{
    return side->client.has_ready && client_can_go_on(&side->client);
}

enum status pair_side_start(struct pair_side *side, struct err *err)
{
    char title[256];
    (void)snprintf(title, sizeof(title), "[tokmark: ab %s]\n",
                   side->run_id != NULL ? side->run_id : "-");
    enum status status = client_start(&side->client, side->log_path, title, err);
    if (status != STATUS_OK || !client_can_go_on(&side->client))
        return status;
    client_open(&side->client);
    proto_ready_drop_json(&side->client.ready);
    client_end_if_faulty(&side->client);
    return STATUS_OK;
}

/* --- blocks --- */

/* False: the session has ended. Wrong results compare with nothing. */
static bool ask_block(struct pair_side *side, uint32_t steps_count, bool is_measured,
                      struct proto_block *ret_block)
{
    enum proto_sync sync = side->policy->is_sync_per_block ? PROTO_SYNC_BLOCK : PROTO_SYNC_STEP;
    uint64_t host_ns = 0;
    if (!client_run(&side->client, steps_count, sync, is_measured, ret_block, &host_ns))
        return false;
    client_end_if_faulty(&side->client);
    if (!side->client.session.has_ended)
        return true;
    free(ret_block->step_ns);
    return false;
}

bool pair_side_is_warming(const struct pair_side *side)
{
    return side->warmup.phase == MEASURE_WARMUP;
}

enum status pair_side_warm(struct pair_side *side, uint32_t steps_count, struct err *err)
{
    struct proto_block block;
    side->client.session.phase = EVENT_WARMUP;
    if (!ask_block(side, steps_count, false, &block))
        return STATUS_OK;
    enum status status = STATUS_OK;
    if (pair_side_is_warming(side))
        status = measure_add_block(&side->warmup, steps_count, block.window_ns, block.step_ns, err);
    free(block.step_ns);
    return status;
}

double pair_side_step_ns(const struct pair_side *side)
{
    const struct measure_samples *samples = &side->warmup.warmup;
    double recent[RECENT_SAMPLES_MAX];
    size_t count = samples->count < RECENT_SAMPLES_MAX ? samples->count : RECENT_SAMPLES_MAX;
    if (count == 0)
        return 1;
    memcpy(recent, samples->values + (samples->count - count), count * sizeof(recent[0]));
    quantile_sort(recent, count);
    double median = quantile_median(recent, count);
    return median < 1 ? 1 : median;
}

static double median_ns(const uint64_t *step_ns, uint32_t count)
{
    double values[PROTO_BLOCK_STEPS_MAX];
    ASSERT(count >= 1 && count <= PROTO_BLOCK_STEPS_MAX);
    for (uint32_t i = 0; i < count; i++)
        values[i] = (double)step_ns[i];
    quantile_sort(values, count);
    return quantile_median(values, count);
}

/* Synced per step, the lead-in step is the first of the same block. */
static void take_steps(const struct proto_block *block, struct pair_block *ret_block)
{
    uint32_t count = block->steps_count - 1;
    uint64_t first_ns = block->step_ns[0];
    memmove(block->step_ns, block->step_ns + 1, count * sizeof(block->step_ns[0]));
    *ret_block = (struct pair_block){
        .time_ns = median_ns(block->step_ns, count),
        .window_ns = block->window_ns > first_ns ? block->window_ns - first_ns : 0,
        .step_ns = block->step_ns,
        .steps_count = count,
    };
}

bool pair_side_run(struct pair_side *side, uint32_t steps_count, struct pair_block *ret_block)
{
    struct proto_block block;
    bool is_per_block = side->policy->is_sync_per_block;
    side->client.session.phase = EVENT_MEASURING;
    if (is_per_block && !ask_block(side, 1, false, &block))
        return false;
    if (!ask_block(side, is_per_block ? steps_count : steps_count + 1, true, &block))
        return false;
    if (is_per_block)
        *ret_block = (struct pair_block){.time_ns = (double)block.window_ns / steps_count,
                                         .window_ns = block.window_ns,
                                         .steps_count = steps_count};
    else
        take_steps(&block, ret_block);
    return true;
}

void pair_block_release(struct pair_block *block)
{
    free(block->step_ns);
    block->step_ns = NULL;
}
