#include <criterion/criterion.h>

#include "base/clock.h"
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
