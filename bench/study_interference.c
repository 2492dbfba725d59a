/* What setting blocks aside does to a result: made-up steps, whose distribution on a quiet machine
 * is known, beside a load that comes and goes. Two threads share two processors with a load that
 * wants all of one: while it runs, it gets half of that processor, and steps take twice as long.
 * Blocks, pauses and the end are those of measure/, the causes those of observe/. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/random.h"
#include "base/status.h"
#include "measure/interval.h"
#include "measure/policy.h"
#include "observe/interference.h"
#include "statistics_study.h"
#include "study_series.h"

#define MS           1e6 /* ns */
#define LOOK_MS      100.0
#define SERIES_SHARE 20 /* a run is thousands of steps: so much fewer of them */

/* A load of bursts and rests, both uniform between two lengths, ms; burst_max 0: none. */
struct load {
    const char *name;
    double burst_min, burst_max, rest_min, rest_max;
};

struct machine {
    const struct load *load;
    struct study_random random;
    double now_ms, change_ms; /* when the load begins or ends next */
    bool is_loaded;
    double loaded_ms; /* so far */
};

/* clang-format off */
static const struct load loads[] = {
    {"none",                                  0,   0,    1e9,  1e9},
    {"bursts of 0.1 to 5 s, half of the time", 100, 5000, 100,  5000},
    {"bursts of 0.1 to 5 s, a fifth",          100, 5000, 5000, 15400},
    {"bursts of 5 to 50 ms, a twentieth",      5,   50,   100,  950},
    {"all the time",                           1e9, 1e9,  1,    1},
};
/* The steps' noise is about their level, 1. */
static const struct {
    const char *name;
    double step_ms;
    struct study_kind kind;
} steps[] = {
    {"4 ms, normal 5 %, AR(1) 0.6",  4,   {"", STUDY_NORMAL,   0.6, 0, STUDY_FLAT, 0}},
    {"4 ms, 3 % outliers of 1.5",    4,   {"", STUDY_OUTLIERS, 0,   0, STUDY_FLAT, 0}},
    {"300 ms, normal 5 %",           300, {"", STUDY_NORMAL,   0,   0, STUDY_FLAT, 0}},
};
/* clang-format on */

enum rule { KEEP_ALL, SET_ASIDE, DROP_SLOW, RULES_COUNT };

static const char *const rule_names[] = {"every block", "set aside by cause",
                                         "blocks 5 % over the median dropped"};

/* --- the machine --- */

static void change(struct machine *machine)
{
    const struct load *load = machine->load;
    bool is_burst = load->burst_max > 0 && !machine->is_loaded;
    double low = is_burst ? load->burst_min : load->rest_min;
    double high = is_burst ? load->burst_max : load->rest_max;
    machine->is_loaded = is_burst;
    machine->change_ms += low + (high - low) * study_uniform(&machine->random);
}

/* Time passes until `work_ms` of quiet work are done, or as long (`is_idle`). */
static void pass(struct machine *machine, double work_ms, bool is_idle)
{
    while (work_ms > 0) {
        double speed = machine->is_loaded && !is_idle ? 0.5 : 1;
        double left_ms = machine->change_ms - machine->now_ms;
        double taken_ms = fmin(work_ms / speed, left_ms);
        machine->now_ms += taken_ms;
        machine->loaded_ms += machine->is_loaded ? taken_ms : 0;
        work_ms -= taken_ms * speed;
        if (taken_ms >= left_ms)
            change(machine);
    }
}

/* What the kernel would have counted: the load gets half of a processor beside a worker, all of it
 * beside none. What others used is known to a tick. */
static struct cpu_lap lap_of(struct machine *machine, double wall_ms, double loaded_ms,
                             bool is_idle)
{
    double tick_ms = 10 * sqrt(2.0 / 6);
    double foreign_ms = loaded_ms * (is_idle ? 1 : 0.5) + tick_ms * study_gauss(&machine->random);
    return (struct cpu_lap){.is_known = true,
                            .knows_waits = true,
                            .cpus_count = 2,
                            .wall_ns = (uint64_t)(wall_ms * MS),
                            .waited_ns = is_idle ? 0 : (uint64_t)(loaded_ms / 2 * MS),
                            .foreign_ns = (uint64_t)(fmax(foreign_ms, 0) * MS),
                            .uncertain_ns = (uint64_t)(tick_ms * MS)};
}

/* --- one run --- */

struct run {
    struct machine machine;
    struct measure_state measure;
    struct interference seen;
    struct study_random random;
    const struct study_kind *kind;
    double step_ms, level;
};

/* Quiet steps in blocks: AR(1) starts anew with each, which is no matter for their distribution. */
static struct cpu_lap run_block(struct run *run, uint32_t count, uint64_t *step_ns,
                                uint64_t *ret_window_ns)
{
    struct machine *machine = &run->machine;
    double *quiet = calloc(count, sizeof(*quiet));
    double begin_ms = machine->now_ms;
    double loaded_ms = machine->loaded_ms;
    if (quiet == NULL)
        exit(1);
    study_series_make(run->kind, &run->random, count, quiet);
    for (uint32_t i = 0; i < count; i++) {
        double step_begin_ms = machine->now_ms;
        pass(machine, quiet[i] * run->step_ms, false);
        step_ns[i] = (uint64_t)((machine->now_ms - step_begin_ms) * MS);
    }
    free(quiet);
    double wall_ms = machine->now_ms - begin_ms;
    *ret_window_ns = (uint64_t)(wall_ms * MS);
    return lap_of(machine, wall_ms, machine->loaded_ms - loaded_ms, false);
}

static void pause_run(struct run *run)
{
    struct machine *machine = &run->machine;
    double begin_ms = machine->now_ms;
    double room_ms = (double)measure_pause_max_ns(&run->measure) / MS;
    bool is_over = false;
    if (room_ms == 0 || !interference_lasts(&run->seen))
        return;
    while (!is_over && machine->now_ms - begin_ms < room_ms) {
        double loaded_ms = machine->loaded_ms;
        pass(machine, LOOK_MS, true);
        run->seen.last = lap_of(machine, LOOK_MS, machine->loaded_ms - loaded_ms, true);
        is_over = !interference_lasts(&run->seen);
    }
    measure_add_pause(&run->measure, (uint64_t)((machine->now_ms - begin_ms) * MS), is_over);
}

static void measure_run(struct run *run, bool sets_aside)
{
    static uint64_t step_ns[10000];
    for (;;) {
        struct measure_order order = measure_next(&run->measure);
        uint64_t window_ns = 0;
        double percent = 0;
        if (order.phase == MEASURE_DONE)
            return;
        run->seen.last = run_block(run, order.steps_count, step_ns, &window_ns);
        enum interference_cause cause =
            interference_judge(&run->seen.last, &run->seen.last, 10, false, &percent);
        bool is_disturbed = sets_aside && cause != INTERFERENCE_NONE;
        bool is_aside = is_disturbed || order.is_lead_in;
        if (order.phase == MEASURE_STEADY)
            interference_count(&run->seen,
                               order.is_lead_in ? INTERFERENCE_AFTER_PAUSE
                               : is_disturbed   ? cause
                                                : INTERFERENCE_NONE,
                               order.steps_count);
        enum status status =
            is_aside
                ? measure_set_aside(&run->measure, order.steps_count, window_ns, step_ns, NULL)
                : measure_add_block(&run->measure, order.steps_count, window_ns, step_ns, NULL);
        if (status != STATUS_OK)
            exit(1);
        if (is_disturbed && !order.is_lead_in)
            pause_run(run);
    }
}

/* --- tallies --- */

struct tally {
    size_t runs, known, covered, heavy;
    double median_off, median_off_worst, mean_off, clean;
};

/* What not to do, for comparison: the same steps without those of slow stretches of 60. */
static size_t drop_slow(double *samples, size_t count)
{
    enum { STRETCH = 60 };
    struct interval_quantile all;
    size_t kept = 0;
    if (interval_of_median(samples, count, 0.95, &all, NULL) != STATUS_OK)
        exit(1);
    for (size_t from = 0; from + STRETCH <= count; from += STRETCH) {
        double sum = 0;
        for (size_t i = from; i < from + STRETCH; i++)
            sum += samples[i];
        for (size_t i = from; sum <= 1.05 * all.value * STRETCH && i < from + STRETCH; i++)
            samples[kept++] = samples[i];
    }
    return kept;
}

static void take(struct tally *tally, struct run *run, enum rule rule, double median, double mean)
{
    struct measure_samples *samples =
        run->measure.steady.count > 0 ? &run->measure.steady : &run->measure.aside;
    size_t count = samples->count;
    struct interval_quantile found;
    double sum = 0;
    char text[REASON_TEXT_BYTES];
    if (rule == DROP_SLOW && count >= 120)
        count = drop_slow(samples->values, count);
    if (count == 0 || interval_of_median(samples->values, count, 0.95, &found, NULL) != STATUS_OK)
        exit(1);
    for (size_t i = 0; i < count; i++)
        sum += samples->values[i];
    double off = 100 * (found.value / median - 1);
    tally->runs++;
    tally->known += found.two_sided.is_known;
    tally->covered +=
        found.two_sided.is_known && found.two_sided.low <= median && median <= found.two_sided.high;
    tally->heavy += interference_is_heavy(&run->seen, "block", text);
    tally->median_off += off;
    tally->median_off_worst = fmax(tally->median_off_worst, fabs(off));
    tally->mean_off += 100 * (sum / (double)count / mean - 1);
    tally->clean += 100 * (double)run->seen.blocks[INTERFERENCE_NONE] /
                    fmax(1, (double)interference_blocks(&run->seen));
}

static struct tally study_case(const struct study_options *options, size_t load, size_t step,
                               enum rule rule)
{
    struct tally tally = {0};
    double scale = steps[step].step_ms * MS;
    double median = scale * study_true_quantile(&steps[step].kind, 1000, 0.5);
    double mean = scale * study_true_mean(&steps[step].kind, 1000);
    size_t runs_count = options->series_count / SERIES_SHARE + 1;
    for (size_t i = 0; i < runs_count; i++) {
        uint64_t key = random_key(random_key(options->seed, 100 * load + step), i);
        struct run run = {.kind = &steps[step].kind,
                          .step_ms = steps[step].step_ms,
                          .random = {random_key(key, 1), 0},
                          .machine = {.load = &loads[load],
                                      .is_loaded = true,
                                      .random = {random_key(key, 2), 0}}};
        struct measure_policy policy = measure_policy_default();
        change(&run.machine);
        run.machine.change_ms *= study_uniform(&run.machine.random);
        measure_init(&run.measure, &policy);
        measure_run(&run, rule == SET_ASIDE);
        take(&tally, &run, rule, median, mean);
        measure_release(&run.measure);
    }
    return tally;
}

void study_interference(const struct study_options *options)
{
    printf("\nResults beside a load, against the truth of a quiet machine\n\n"
           "| load | steps | rule | median off, %% | at most | mean off, %% | interval holds, %% | "
           "clean, %% | `foreign_load`, %% |\n"
           "| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n");
    for (size_t load = 0; load < ARRAY_COUNT(loads); load++)
        for (size_t step = 0; step < ARRAY_COUNT(steps); step++)
            for (enum rule rule = 0; rule < RULES_COUNT; rule++) {
                struct tally tally = study_case(options, load, step, rule);
                double n = (double)tally.runs;
                printf("| %s | %s | %s | %+.2f | %.1f | %+.2f | %.0f | %.0f | %.0f |\n",
                       loads[load].name, steps[step].name, rule_names[rule], tally.median_off / n,
                       tally.median_off_worst, tally.mean_off / n,
                       100 * (double)tally.covered / fmax(1, (double)tally.known), tally.clean / n,
                       100 * (double)tally.heavy / n);
            }
}
