#include <criterion/criterion.h>
#include <string.h>

#include "base/clock.h"
#include "paths.h"
#include "telemetry/cpu_busy.h"

/* The harness, 40, may use processors 0 and 1 of three. In 400 ms of each ("after") they were idle
 * for 4 and 20 ticks of 10 ms; 50 ran for 38 ticks, 60 for 4, and 70 began and ran for 12. */
#define FIXTURE(name) TOKMARK_SOURCE_DIR "/tests/golden/cpu_busy/" name

static bool is_busy(const char *before, const char *after, uint64_t harness_ns,
                    char text[CPU_BUSY_TEXT_BYTES])
{
    struct cpu_busy busy;
    text[0] = '\0';
    cpu_busy_begin(&busy, before, 40, 5 * NS_PER_S, 0);
    busy.root = after;
    busy.watch.root = after;
    bool is_so = cpu_busy_end(&busy, 5 * NS_PER_S + 400 * NS_PER_MS, harness_ns, text);
    cpu_busy_close(&busy);
    return is_so;
}

Test(telemetry_cpu_busy, a_busy_machine_is_said_with_who_makes_it_so)
{
    char text[CPU_BUSY_TEXT_BYTES];
    cr_assert(is_busy(FIXTURE("before"), FIXTURE("after"), 0, text));
    cr_expect_str_eq(text, "2 CPUs 70 % busy: cc1plus 95 %, ld 30 %, a (b) c 10 % of one CPU");
}

Test(telemetry_cpu_busy, a_quiet_machine_is_not_nor_is_what_tokmark_itself_does)
{
    char text[CPU_BUSY_TEXT_BYTES];
    cr_expect_not(is_busy(FIXTURE("before"), FIXTURE("quiet"), 0, text), "10 %%: %s", text);
    cr_expect_not(is_busy(FIXTURE("before"), FIXTURE("after"), 450 * NS_PER_MS, text), "%s", text);
    cr_expect_not(is_busy(FIXTURE("no_such_tree"), FIXTURE("no_such_tree"), 0, text));
}

Test(telemetry_cpu_busy, what_a_hypervisor_takes_is_named)
{
    char text[CPU_BUSY_TEXT_BYTES];
    cr_assert(is_busy(FIXTURE("before"), FIXTURE("stolen"), 0, text));
    cr_expect_str_eq(text, "2 CPUs 100 % busy: the hypervisor 95 % of one CPU");
}
