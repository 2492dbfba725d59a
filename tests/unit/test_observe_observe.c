#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "observe/clock_check.h"
#include "observe/contention.h"
#include "observe/list.h"
#include "observe/observe.h"
#include "observe/throttle.h"

TestSuite(observe_observe);

/* A trial that ended well, on `device`; the caller spoils it. */
struct fixture {
    struct cell cell;
    struct client_options client_options;
    struct client client;
    struct observe_options options;
    struct measure_summary summary;
    struct observed seen;
};

static void set_up(struct fixture *fixture, const char *device)
{
    memset(fixture, 0, sizeof(*fixture));
    (void)snprintf(fixture->cell.device, sizeof(fixture->cell.device), "%s", device);
    (void)snprintf(fixture->cell.model_source, sizeof(fixture->cell.model_source), "factory");
    client_init(&fixture->client, &fixture->cell, &fixture->client_options);
    fixture->client.has_hello = fixture->client.has_ready = true;
    fixture->seen = (struct observed){.options = &fixture->options,
                                      .client = &fixture->client,
                                      .cell_id = "h0123456789abcde",
                                      .summary = &fixture->summary};
}

/* `verdict`: "warned" is ok with a warning of that code. */
static void expect(struct fixture *fixture, const struct probe *probe, const void *state,
                   const char *verdict, const char *code)
{
    struct judgement judgement = {0};
    probe->judge(state, &fixture->seen, &judgement);
    bool is_warned = strcmp(verdict, "warned") == 0;
    cr_expect_str_eq(verdict_name(judgement.verdict), is_warned ? "ok" : verdict);
    cr_expect_str_eq(reasons_deciding(&judgement.reasons), is_warned ? "" : code);
    cr_expect_str_eq(reasons_deciding(&judgement.warnings), is_warned ? code : "");
    client_release(&fixture->client);
}

static struct contention half_of_it(uint64_t own_ticks)
{
    return (struct contention){.from = {.is_known = true, .cpus_count = 2},
                               .until = {.is_known = true,
                                         .cpus_count = 2,
                                         .total_ticks = 1000,
                                         .busy_ticks = 600,
                                         .own_ticks = own_ticks}};
}

Test(observe_observe, a_little_of_others_is_fine_and_much_is_not)
{
    struct fixture fixture;
    struct contention little = half_of_it(550);
    struct contention much = half_of_it(499);
    set_up(&fixture, "cpu");
    fixture.options.contention_limit_percent = 10;
    expect(&fixture, &contention_probe, &little, "ok", "");
    set_up(&fixture, "cpu");
    fixture.options.contention_limit_percent = 10;
    expect(&fixture, &contention_probe, &much, "unsteady", "foreign_load");
    set_up(&fixture, "cpu"); /* off */
    expect(&fixture, &contention_probe, &much, "ok", "");
    set_up(&fixture, "cuda:0");
    fixture.options.contention_limit_percent = 10;
    expect(&fixture, &contention_probe, &much, "ok", "");
}

Test(observe_observe, a_machine_that_has_been_faster_is_warned_of)
{
    const uint64_t best_ns = 1000;
    struct fixture fixture;
    static const struct {
        struct clock_check seen;
        const char *device, *verdict, *code;
    } cases[] = {
        {{1080, 1080}, "cpu", "ok", ""},
        {{1081, 0}, "cpu", "warned", "machine_slow"},
        {{0, 1081}, "cpu", "warned", "machine_slow"},
        {{1081, 0}, "cuda:0", "ok", ""},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        set_up(&fixture, cases[i].device);
        fixture.options.clock_best_ns = &best_ns;
        expect(&fixture, &clock_check_probe, &cases[i].seen, cases[i].verdict, cases[i].code);
    }
}

Test(observe_observe, throttled_processors_are_warned_of)
{
    struct fixture fixture;
    struct throttle none = {{true, 3}, {true, 3}};
    struct throttle some = {{true, 3}, {true, 6}};
    struct throttle unknown = {{false, 0}, {true, 6}};
    set_up(&fixture, "cpu");
    expect(&fixture, &throttle_probe, &none, "ok", "");
    set_up(&fixture, "cpu");
    expect(&fixture, &throttle_probe, &some, "warned", "throttled");
    set_up(&fixture, "cuda:0");
    expect(&fixture, &throttle_probe, &some, "ok", "");
    set_up(&fixture, "cpu");
    expect(&fixture, &throttle_probe, &unknown, "ok", "");
}

/* Every field of a probe is its alone, and null for its own reason where the probe is off. */
Test(observe_observe, a_probe_that_is_off_has_no_state_and_says_off)
{
    struct fixture fixture;
    struct observer observer;
    struct err err = {0};
    bool is_taken[FACTS_COUNT] = {false};
    set_up(&fixture, "cpu");
    cr_assert_eq(observer_init(&observer, &fixture.options, &err), STATUS_OK);
    struct record *record = record_new();
    observer_put(&observer, &fixture.seen, record);
    for (size_t i = 0; i < probe_list_count; i++) {
        const struct probe *probe = probe_list[i];
        bool is_on = probe->is_on == NULL || probe->is_on(&fixture.options);
        cr_expect_eq(observer.states[i] != NULL, is_on, "%s", probe->name);
        cr_expect(is_on || probe->off_reason != NULL, "%s", probe->name);
        for (size_t k = 0; k < probe->fields_count; k++) {
            enum fact_id id = probe->fields[k];
            cr_expect_not(is_taken[id], "%s", fact_of(id)->name);
            is_taken[id] = true;
            cr_expect(record_is_null(record, id), "%s", fact_of(id)->name);
            cr_expect(fact_may_be_null_for(fact_of(id), record_null_reason(record, id)), "%s: %s",
                      fact_of(id)->name, record_null_reason(record, id));
            if (!is_on)
                cr_expect_str_eq(record_null_reason(record, id), probe->off_reason);
        }
    }
    record_free(record);
    observer_release(&observer);
    client_release(&fixture.client);
}
