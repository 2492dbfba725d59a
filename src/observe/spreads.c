#include "observe/spreads.h"

#include <math.h>

#include "observe/readings.h"

/* Steps are about as long within this factor. */
#define STEP_FACTOR 4.0
/* What holds up a step of a few microseconds, an interrupt or the clock itself, does not show in
 * one that is longer by more than this. */
#define STEP_FACTOR_MAX 1000.0

struct group {
    const struct machine_run *newest; /* borrowed: from the machine's book */
    struct measure_reading readings[NEXT_RUN_RUNS_MAX];
    size_t count;
};

/* The group of a run, made where there is room for one; NULL: none. */
static struct group *group_of(struct group groups[SPREADS_MAX], size_t *groups_count,
                              const struct machine_run *run)
{
    for (size_t i = 0; i < *groups_count; i++)
        if (hash_id_is_same(groups[i].newest->id, run->id))
            return &groups[i];
    if (*groups_count == SPREADS_MAX)
        return NULL;
    struct group *group = &groups[(*groups_count)++];
    group->newest = run;
    group->count = 0;
    return group;
}

static double weight_of(const struct machine_run *run, const struct machine_run *other)
{
    bool is_as_long = fabs(log(other->median.ms / run->median.ms)) <= log(STEP_FACTOR);
    return other->kind == run->kind && is_as_long ? 1 : NEXT_RUN_DEVICE_WEIGHT;
}

size_t spreads_of_others(const struct machine_book *book, const struct machine_run *run,
                         bool are_undisturbed, struct next_run_spread ret_spreads[SPREADS_MAX])
{
    struct group groups[SPREADS_MAX];
    size_t groups_count = 0;
    for (size_t i = book->runs_count; i-- > 0;) {
        const struct machine_run *other = &book->runs[i];
        if (other->device != run->device || hash_id_is_same(other->id, run->id) ||
            other->median.ms * STEP_FACTOR_MAX < run->median.ms ||
            (are_undisturbed && other->is_disturbed))
            continue;
        struct group *group = group_of(groups, &groups_count, other);
        if (group != NULL && group->count < NEXT_RUN_RUNS_MAX)
            group->readings[group->count++] = reading_of_median(&other->median);
    }
    size_t count = 0;
    for (size_t i = 0; i < groups_count; i++)
        if (groups[i].count >= 2)
            ret_spreads[count++] = next_run_spread_of(groups[i].readings, groups[i].count,
                                                      weight_of(run, groups[i].newest));
    return count;
}
