#include <criterion/criterion.h>
#include <math.h>

#include "base/clock.h"
#include "base/random.h"
#include "base/status.h"
#include "measure/compare.h"
#include "observe/interference.h"

TestSuite(observe_interference);

/* A block of 250 ms on two processors that nothing disturbed. */
static struct cpu_lap quiet(void)
{
    return (struct cpu_lap){.is_known = true,
                            .knows_waits = true,
                            .cpus_count = 2,
                            .wall_ns = 250 * NS_PER_MS,
                            .uncertain_ns = 5 * NS_PER_MS};
}

static void expect(const struct cpu_lap *lap, double limit_percent, bool is_on_device,
                   enum interference_cause cause, double percent)
{
    double found = -1;
    cr_expect_eq(interference_judge(lap, lap, limit_percent, is_on_device, &found), cause);
    cr_expect_float_eq(found, percent, 1e-9, "%g, not %g", found, percent);
}

Test(observe_interference, each_cause_has_its_share)
{
    struct cpu_lap lap = quiet();
    expect(&lap, 10, false, INTERFERENCE_NONE, 0);
    lap.foreign_ns = 50 * NS_PER_MS; /* 10 % of both */
    expect(&lap, 10, false, INTERFERENCE_NONE, 0);
    lap.foreign_ns++;
    expect(&lap, 10, false, INTERFERENCE_FOREIGN, 10.0000002);
    lap.waited_ns = 5 * NS_PER_MS; /* 2 % of the block */
    expect(&lap, 10, false, INTERFERENCE_FOREIGN, 10.0000002);
    lap.waited_ns = 6 * NS_PER_MS;
    expect(&lap, 10, false, INTERFERENCE_WAITED, 2.4);
    lap.stolen_ns = 11 * NS_PER_MS; /* 2.2 % of both */
    expect(&lap, 10, false, INTERFERENCE_STOLEN, 2.2);
    lap.throttled_ns = 100 * NS_PER_MS;
    expect(&lap, 10, false, INTERFERENCE_THROTTLED, 40);
}

Test(observe_interference, nothing_is_set_aside_when_that_is_off_or_nothing_is_known)
{
    struct cpu_lap lap = quiet();
    lap.waited_ns = lap.foreign_ns = lap.stolen_ns = lap.throttled_ns = 200 * NS_PER_MS;
    expect(&lap, 0, false, INTERFERENCE_NONE, 0);
    lap.is_known = false;
    expect(&lap, 10, false, INTERFERENCE_NONE, 0);
}

Test(observe_interference, threads_that_wait_for_each_other_are_not_disturbed)
{
    /* Four threads on two processors, which are never idle: nobody else can have run. */
    struct cpu_lap lap = quiet();
    lap.waited_ns = 125 * NS_PER_MS;
    lap.uncertain_ns = 0;
    lap.foreign_ns = 2 * NS_PER_MS;
    expect(&lap, 10, false, INTERFERENCE_NONE, 0);
    lap.foreign_ns = 20 * NS_PER_MS; /* 8 % of a block that one of them can have lost */
    expect(&lap, 10, false, INTERFERENCE_WAITED, 8);
}

Test(observe_interference, ticks_do_not_judge_blocks_of_a_few_ticks)
{
    struct cpu_lap lap = quiet();
    lap.wall_ns = 40 * NS_PER_MS;
    lap.foreign_ns = 20 * NS_PER_MS;
    expect(&lap, 10, false, INTERFERENCE_NONE, 0);
    lap.waited_ns = 2 * NS_PER_MS; /* which is counted in ns */
    expect(&lap, 10, false, INTERFERENCE_WAITED, 5);
}

Test(observe_interference, short_blocks_are_judged_with_those_before_them)
{
    double percent = 0;
    struct cpu_lap lap = quiet();
    struct cpu_lap recent = quiet();
    lap.wall_ns = 4 * NS_PER_MS;
    recent.foreign_ns = 100 * NS_PER_MS;
    cr_expect_eq(interference_judge(&lap, &recent, 10, false, &percent), INTERFERENCE_FOREIGN);
    cr_expect_float_eq(percent, 20, 1e-9);
}

Test(observe_interference, who_feeds_a_device_may_have_neighbours_but_must_not_wait)
{
    struct cpu_lap lap = quiet();
    lap.foreign_ns = 400 * NS_PER_MS;
    expect(&lap, 10, true, INTERFERENCE_NONE, 0);
    lap.waited_ns = 25 * NS_PER_MS;
    expect(&lap, 10, true, INTERFERENCE_WAITED, 10);
}

Test(observe_interference, a_pause_is_for_a_processor_kept_busy)
{
    struct interference seen = {.last = quiet()};
    seen.last.foreign_ns = 10 * NS_PER_MS;
    cr_expect_not(interference_lasts(&seen));
    seen.last.foreign_ns = 120 * NS_PER_MS;
    cr_expect(interference_lasts(&seen));
    seen.last.wall_ns = 100 * NS_PER_MS;
    seen.last.foreign_ns = 35 * NS_PER_MS;
    cr_expect_not(interference_lasts(&seen), "within the ticks");
}

/* --- do rounds that are set aside bias a comparison? --- */

/* A load that wants one of two processors, in bursts and rests of 0.1 to 5 s: while it runs, what
 * is measured takes twice as long. */
struct loaded {
    uint64_t counter;
    double now_ms, change_ms, loaded_ms;
    bool is_loaded;
};

static double draw(struct loaded *machine)
{
    return random_unit(random_at(41, machine->counter++));
}

static double draw_gauss(struct loaded *machine)
{
    double radius = sqrt(-2 * log(1 - draw(machine)));
    return radius * cos(2 * 3.14159265358979323846 * draw(machine));
}

/* The time of some quiet work. */
static double work(struct loaded *machine, double work_ms)
{
    double begin_ms = machine->now_ms;
    while (work_ms > 0) {
        double speed = machine->is_loaded ? 0.5 : 1;
        double taken_ms = fmin(work_ms / speed, machine->change_ms - machine->now_ms);
        machine->now_ms += taken_ms;
        machine->loaded_ms += machine->is_loaded ? taken_ms : 0;
        work_ms -= taken_ms * speed;
        if (machine->now_ms >= machine->change_ms) {
            machine->is_loaded = !machine->is_loaded;
            machine->change_ms += 100 + 4900 * draw(machine);
        }
    }
    return machine->now_ms - begin_ms;
}

/* ln(B / A) of a round, and whether it is kept. */
static double run_round(struct loaded *machine, size_t round, double effect, bool *ret_is_kept)
{
    double blocks[4];
    double begin_ms = machine->now_ms, loaded_ms = machine->loaded_ms, percent = 0;
    bool is_b_first = round % 2 == 1;
    for (size_t i = 0; i < 4; i++) {
        bool is_b = (i == 1 || i == 2) != is_b_first;
        blocks[i] = work(machine, 50 * (is_b ? 1 + effect : 1) * exp(0.01 * draw_gauss(machine)));
    }
    double took_ms = machine->now_ms - begin_ms;
    double foreign_ms = (machine->loaded_ms - loaded_ms) / 2;
    struct cpu_lap lap = quiet();
    lap.wall_ns = (uint64_t)(took_ms * NS_PER_MS);
    lap.waited_ns = lap.foreign_ns = (uint64_t)(foreign_ms * NS_PER_MS);
    *ret_is_kept = interference_judge(&lap, &lap, 10, false, &percent) == INTERFERENCE_NONE;
    if (is_b_first)
        return compare_round(blocks[1], blocks[2], blocks[0], blocks[3]);
    return compare_round(blocks[0], blocks[3], blocks[1], blocks[2]);
}

#define ROUNDS_KEPT       40
#define COMPARISONS_COUNT 400U

/* Of many comparisons on it, each of so many rounds that were kept, with a threshold of 1 %. */
static void compare_often(double effect, size_t outcomes[4], double *ret_mean, double *ret_error)
{
    struct loaded machine = {.change_ms = 1000};
    const struct compare_limits limits = {.threshold = log1p(0.01)};
    double sum = 0, squares = 0;
    for (size_t i = 0; i < COMPARISONS_COUNT; i++) {
        double ratios[ROUNDS_KEPT];
        size_t kept = 0;
        for (size_t round = 0; kept < ROUNDS_KEPT; round++) {
            bool is_kept = false;
            ratios[kept] = run_round(&machine, round, effect, &is_kept);
            kept += is_kept;
        }
        struct compare_result result;
        cr_assert_eq(compare_rounds(ratios, ROUNDS_KEPT, &limits, 0.95, &result, NULL), STATUS_OK);
        outcomes[result.outcome]++;
        sum += result.log_ratio;
        squares += result.log_ratio * result.log_ratio;
    }
    *ret_mean = sum / COMPARISONS_COUNT;
    *ret_error = sqrt((squares / COMPARISONS_COUNT - *ret_mean * *ret_mean) / COMPARISONS_COUNT);
    cr_expect_gt(machine.loaded_ms, 0.3 * machine.now_ms, "the machine is busy half of the time");
}

Test(observe_interference, rounds_set_aside_by_cause_do_not_bias_a_comparison)
{
    static const double effects[] = {0, 0.03};
    for (size_t i = 0; i < ARRAY_COUNT(effects); i++) {
        size_t outcomes[4] = {0};
        double mean = 0, error = 0;
        compare_often(effects[i], outcomes, &mean, &error);
        cr_expect_float_eq(mean, log1p(effects[i]), 4 * error, "%g: %g +- %g", effects[i], mean,
                           error);
        cr_expect_lt(error, 0.0005);
        cr_expect_eq(outcomes[COMPARE_OUTCOME_FASTER], 0);
        cr_expect_geq(outcomes[COMPARE_OUTCOME_SLOWER],
                      effects[i] > 0 ? COMPARISONS_COUNT / 20 * 19 : 0U);
        cr_expect(effects[i] > 0 || outcomes[COMPARE_OUTCOME_SLOWER] == 0);
    }
}
