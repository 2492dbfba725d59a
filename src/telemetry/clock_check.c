#include "telemetry/clock_check.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/num.h"
#include "measure/quantile.h"

#define REPEATS     9
#define CHAIN_STEPS 500000
#define MULTIPLIER  6364136223846793005ULL

/* Each multiplication needs the last one's result: its latency is a fixed number of cycles. */
static uint64_t time_chain(void)
{
    uint64_t begin_ns = clock_now_ns();
    uint64_t value = begin_ns | 1;
    for (uint32_t i = 0; i < CHAIN_STEPS; i++) {
        value *= MULTIPLIER;
        __asm__ volatile("" : "+r"(value)); /* no two in one, and none left out */
    }
    return clock_now_ns() - begin_ns;
}

uint64_t clock_check_measure(void)
{
    double times_ns[REPEATS];
    for (int i = 0; i < REPEATS; i++)
        times_ns[i] = (double)time_chain();
    quantile_sort(times_ns, REPEATS);
    return (uint64_t)quantile_median(times_ns, REPEATS);
}

bool clock_check_is_slow(uint64_t best_ns, uint64_t seen_ns, const char *when, char *ret_text,
                         size_t text_bytes)
{
    if (best_ns == 0 || (double)seen_ns <= (double)best_ns * (1 + CLOCK_CHECK_LIMIT_PERCENT / 100))
        return false;
    double longer_percent = 100 * ((double)seen_ns / (double)best_ns - 1);
    int digits = num_digits_apart(longer_percent, CLOCK_CHECK_LIMIT_PERCENT);
    (void)snprintf(
        ret_text, text_bytes,
        "%s measuring, a fixed chain of multiplications took %.*g %% longer than it has on this "
        "machine (the limit is %.*g %%); %.6g ms, where it has taken %.6g ms",
        when, digits, longer_percent, digits, (double)CLOCK_CHECK_LIMIT_PERCENT,
        (double)seen_ns / 1e6, (double)best_ns / 1e6);
    return true;
}
