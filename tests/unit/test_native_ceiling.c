#include <criterion/criterion.h>

#include "base/clock.h"
#include "engines/native/ceiling.h"

#define TICK_NS (2 * NS_PER_MS)

static uint64_t now;
static int readings_until_slow;

/* Each reading is a tick after the last, but one is four. */
static uint64_t ticking(void)
{
    now += --readings_until_slow == 0 ? 4 * TICK_NS : TICK_NS;
    return now;
}

static struct ceiling measure(unsigned threads_count, size_t array_bytes)
{
    struct ceiling_effort effort = {6 * TICK_NS, array_bytes, 64, ticking};
    struct ceiling ceiling;
    struct err err = {0};
    cr_assert_eq(ceiling_measure(threads_count, &effort, &ceiling, &err), STATUS_OK, "%s",
                 err.text);
    return ceiling;
}

Test(native_ceiling, rates_are_work_over_the_shortest_time)
{
    const double ticks_per_s = (double)NS_PER_S / TICK_NS;
    struct ceiling one = measure(1, 4096);
    cr_expect_float_eq(one.read_bytes, 4096 * ticks_per_s, 1e-3);
    cr_expect_float_eq(one.write_bytes, 4096 * ticks_per_s, 1e-3);
    cr_expect_float_eq(one.triad_bytes, 3.0 * 4096 * ticks_per_s, 1e-3);
    cr_expect_float_eq(one.matmul_flops, 2.0 * 64 * 64 * 64 * ticks_per_s, 1e-3);
    cr_expect_float_eq(one.launch_ns, TICK_NS, 1e-6);
    /* Chains of 8 lone numbers to 24 vectors of 16, 400,000 times. */
    double chains = one.fma_flops / (2.0 * 400000 * ticks_per_s);
    cr_expect(chains >= 8 && chains <= 24 * 16, "%g", chains);
    struct ceiling three = measure(3, (3 << 20) + 64);
    cr_expect_float_eq(three.fma_flops, 3 * one.fma_flops, 1);
    cr_expect_float_eq(three.matmul_flops, one.matmul_flops, 1e-3);
    cr_expect_float_eq(three.triad_bytes, 3.0 * ((3 << 20) + 64) * ticks_per_s, 1);
}

Test(native_ceiling, one_slow_look_is_not_the_rate)
{
    struct ceiling quiet = measure(2, 4096);
    readings_until_slow = 2; /* the end of the first loop */
    struct ceiling disturbed = measure(2, 4096);
    cr_expect_float_eq(disturbed.fma_flops, quiet.fma_flops, 1);
}

Test(native_ceiling, the_default_is_as_stream_asks)
{
    struct ceiling_effort effort = ceiling_effort();
    cr_expect_eq(effort.array_bytes % 64, 0);
    cr_expect_leq(effort.array_bytes, (size_t)1 << 30);
    cr_expect_gt(effort.array_bytes, 0);
    cr_expect_eq(effort.now_ns, clock_now_ns);
}
