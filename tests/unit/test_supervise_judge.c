#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "supervise/judge.h"

/* A trial that ended well, on `device`; the caller spoils it. */
struct fixture {
    struct cell cell;
    struct supervise_options options;
    struct trial *trial;
};

static void set_up(struct fixture *fixture, const char *device)
{
    memset(fixture, 0, sizeof(*fixture));
    snprintf(fixture->cell.device, sizeof(fixture->cell.device), "%s", device);
    snprintf(fixture->cell.model_source, sizeof(fixture->cell.model_source), "factory");
    fixture->options.foreign_load_limit_percent = 10;
    struct trial *trial = calloc(1, sizeof(*trial));
    cr_assert_not_null(trial);
    fixture->trial = trial;
    trial->cell = &fixture->cell;
    trial->options = &fixture->options;
    session_init(&trial->session, &fixture->options);
    trial->measure.phase = MEASURE_DONE;
    trial->has_hello = trial->has_ready = trial->has_summary = trial->has_load = true;
    trial->load_before = (struct cpuload){.is_known = true, .cpus_count = 2, .has_throttles = true};
    trial->load_after = trial->load_before;
    trial->load_after.total_ticks = 1000;
    trial->load_after.busy_ticks = 600;
    trial->load_after.own_ticks = 550;
}

static void expect(struct fixture *fixture, const char *verdict, const char *code)
{
    judge_trial(fixture->trial);
    const struct reasons *reasons = &fixture->trial->reasons;
    cr_expect_str_eq(verdict_name(fixture->trial->verdict), verdict);
    cr_expect_eq(reasons->count, code != NULL ? 1 : 0);
    if (code != NULL)
        cr_expect_str_eq(reasons->items[0].code, code);
    session_release(&fixture->trial->session);
    free(fixture->trial);
}

Test(supervise_judge, a_little_of_others_is_fine_and_much_is_not)
{
    struct fixture fixture;
    set_up(&fixture, "cpu");
    expect(&fixture, "ok", NULL);
    set_up(&fixture, "cpu");
    fixture.trial->load_after.own_ticks = 499;
    expect(&fixture, "invalid", "foreign_load");
    set_up(&fixture, "cpu");
    fixture.trial->load_after.own_ticks = 499;
    fixture.options.foreign_load_limit_percent = 0;
    expect(&fixture, "ok", NULL);
    set_up(&fixture, "cuda:0");
    fixture.trial->load_after.own_ticks = 499;
    expect(&fixture, "ok", NULL);
}

Test(supervise_judge, a_machine_that_has_been_faster_is_unsteady)
{
    const uint64_t best_ns = 1000;
    struct fixture fixture;
    set_up(&fixture, "cpu");
    fixture.options.pace_best_ns = &best_ns;
    fixture.trial->pace_before_ns = fixture.trial->pace_after_ns = 1080;
    expect(&fixture, "ok", NULL);
    set_up(&fixture, "cpu");
    fixture.options.pace_best_ns = &best_ns;
    fixture.trial->pace_before_ns = 1081;
    expect(&fixture, "unsteady", "machine_slow");
    set_up(&fixture, "cpu");
    fixture.options.pace_best_ns = &best_ns;
    fixture.trial->pace_after_ns = 1081;
    expect(&fixture, "unsteady", "machine_slow");
    set_up(&fixture, "cpu"); /* --pace off */
    fixture.trial->pace_before_ns = 1081;
    expect(&fixture, "ok", NULL);
    set_up(&fixture, "cuda:0");
    fixture.options.pace_best_ns = &best_ns;
    fixture.trial->pace_before_ns = 1081;
    expect(&fixture, "ok", NULL);
}

Test(supervise_judge, heat_is_invalid)
{
    struct fixture fixture;
    set_up(&fixture, "cpu");
    fixture.trial->load_after.throttles = 3;
    expect(&fixture, "invalid", "throttled");
    set_up(&fixture, "cuda:0");
    fixture.trial->load_after.throttles = 3;
    expect(&fixture, "ok", NULL);
    set_up(&fixture, "cpu");
    fixture.trial->load_before.has_throttles = false;
    fixture.trial->load_after.throttles = 3;
    expect(&fixture, "ok", NULL);
}

Test(supervise_judge, other_numbers_than_asked_are_invalid)
{
    struct fixture fixture;
    set_up(&fixture, "cpu");
    fixture.cell.precision = CELL_PRECISION_BF16;
    snprintf(fixture.trial->ready.dtype_compute, sizeof(fixture.trial->ready.dtype_compute),
             "fp32");
    expect(&fixture, "invalid", "precision_not_as_asked");
    set_up(&fixture, "cpu");
    fixture.trial->has_check = true;
    fixture.trial->check = CHECKS_FAILED;
    expect(&fixture, "invalid", "check_failed");
    set_up(&fixture, "cpu");
    fixture.trial->has_check = true;
    fixture.trial->check = CHECKS_PASSED;
    expect(&fixture, "ok", NULL);
}
