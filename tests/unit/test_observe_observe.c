#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "null_reasons.h"
#include "observe/clock_check.h"
#include "observe/interference.h"
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

/* So many measured blocks of 250 ms on two processors, so many of them disturbed. */
static struct interference blocks_of(uint64_t clean, uint64_t disturbed)
{
    struct interference seen = {.is_open = true, .foreign_limit_percent = 10};
    seen.last = (struct cpu_lap){.is_known = true,
                                 .knows_waits = true,
                                 .cpus_count = 2,
                                 .wall_ns = 250 * NS_PER_MS,
                                 .waited_ns = 50 * NS_PER_MS,
                                 .foreign_ns = 100 * NS_PER_MS};
    for (uint64_t i = 0; i < clean + disturbed; i++)
        interference_count(&seen, i < clean ? INTERFERENCE_NONE : INTERFERENCE_WAITED, 3);
    interference_count(&seen, INTERFERENCE_AFTER_PAUSE, 1);
    return seen;
}

static void expect_load(uint64_t clean, uint64_t disturbed, const char *verdict, const char *code)
{
    struct fixture fixture;
    struct interference seen = blocks_of(clean, disturbed);
    set_up(&fixture, "cpu");
    fixture.seen.interference = &seen;
    expect(&fixture, &interference_probe, NULL, verdict, code);
}

Test(observe_observe, under_half_of_the_blocks_clean_is_foreign_load)
{
    expect_load(2, 0, "ok", "");
    expect_load(5, 5, "ok", "");
    expect_load(4, 5, "unsteady", "foreign_load");
    expect_load(0, 5, "unsteady", "foreign_load");
    expect_load(0, 0, "ok", "");
}

Test(observe_observe, a_short_run_says_that_load_was_not_judged)
{
    static const struct {
        uint64_t blocks;
        double limit_percent;
        bool is_on_device, is_warned;
    } cases[] = {
        {1, 10, false, true}, {2, 10, false, false}, {1, 0, false, false}, {1, 10, true, false}};
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct fixture fixture;
        struct judgement judgement = {0};
        struct interference seen = blocks_of(cases[i].blocks, 0);
        seen.foreign_limit_percent = cases[i].limit_percent;
        seen.is_on_device = cases[i].is_on_device;
        set_up(&fixture, "cpu");
        fixture.seen.interference = &seen;
        interference_probe.judge(NULL, &fixture.seen, &judgement);
        cr_expect_eq(judgement.verdict, VERDICT_OK);
        cr_expect_eq(reasons_have(&judgement.warnings, "load_not_judged"), cases[i].is_warned);
        client_release(&fixture.client);
    }
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

/* In the record is the slower of the two looks. */
Test(observe_observe, the_clock_s_slower_look_is_in_the_record)
{
    static const struct {
        struct clock_check seen;
        double ms, percent; /* 0: null */
    } cases[] = {{{1000000, 2000000}, 2, 50},
                 {{2000000, 1000000}, 2, 50},
                 {{4000000, 0}, 4, 25},
                 {{0, 0}, 0, 0}};
    const uint64_t best_ns = 1000000;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct fixture fixture;
        struct record *record = record_new();
        set_up(&fixture, "cpu");
        fixture.options.clock_best_ns = &best_ns;
        clock_check_probe.put(&cases[i].seen, &fixture.seen, record);
        cr_expect_eq(record_is_null(record, FACT_PACE_MS), cases[i].ms == 0);
        if (cases[i].ms > 0) {
            cr_expect_float_eq(record_double(record, FACT_PACE_MS), cases[i].ms, 1e-12);
            cr_expect_float_eq(record_double(record, FACT_PACE_PERCENT), cases[i].percent, 1e-12);
        }
        record_free(record);
        client_release(&fixture.client);
    }
}

/* A machine that changed is said to the cells, not to the cell that shows it. */
Test(observe_observe, the_canary_cell_has_no_verdict_on_itself)
{
    struct fixture fixture;
    const struct measure_reading first = {.median = 1, .median_95 = {true, 0.99, 1.01}};
    const struct measure_reading newest = {.median = 2, .median_95 = {true, 1.99, 2.01}};
    struct canary_facts facts = {.change = canary_compare(&first, &newest, 1)};
    for (int is_own = 0; is_own < 2; is_own++) {
        set_up(&fixture, "cpu");
        facts.first_reading = is_own == 1 ? &first : NULL;
        fixture.options.canary = &facts;
        expect(&fixture, &canary_probe, NULL, is_own == 1 ? "ok" : "warned",
               is_own == 1 ? "" : "machine_drift");
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

static void find_history_id(const char *device, const char *device_name, char id[HASH_ID_BYTES])
{
    struct fixture fixture;
    const struct machine_book machine = {0};
    struct err err = {0};
    set_up(&fixture, device);
    (void)snprintf(fixture.cell.model_source, sizeof(fixture.cell.model_source), "preset");
    (void)snprintf(fixture.cell.engine, sizeof(fixture.cell.engine), "pytorch");
    (void)snprintf(fixture.client.ready.device_name, sizeof(fixture.client.ready.device_name), "%s",
                   device_name);
    fixture.options.machine = &machine;
    fixture.options.machine_id = fixture.options.program_id = fixture.options.environment_id = "h1";
    fixture.summary.median_ns = 5e6;
    void *state = calloc(1, history_probe.state_bytes);
    struct record *record = record_new();
    cr_assert_eq(history_probe.after_trial(state, &fixture.seen, &err), STATUS_OK);
    history_probe.put(state, &fixture.seen, record);
    (void)snprintf(id, HASH_ID_BYTES, "%s", record_string(record, FACT_HISTORY_ID));
    record_free(record);
    free(state);
    client_release(&fixture.client);
}

/* Two cards go by the name cuda:0, one after the other: their runs are no repeats of each other. */
Test(observe_observe, runs_of_another_card_are_another_history)
{
    char first[HASH_ID_BYTES];
    char again[HASH_ID_BYTES];
    char other[HASH_ID_BYTES];
    find_history_id("cuda:0", "NVIDIA H100", first);
    find_history_id("cuda:0", "NVIDIA H100", again);
    find_history_id("cuda:0", "NVIDIA H200", other);
    cr_assert_str_not_empty(first);
    cr_expect_str_eq(first, again);
    cr_expect_str_neq(first, other);
    find_history_id("cuda:0", "", other);
    cr_expect_str_empty(other, "which card it was is not known");
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
            cr_expect(null_reason_is_listed(fact_of(id), record_null_reason(record, id)), "%s: %s",
                      fact_of(id)->name, record_null_reason(record, id));
            if (!is_on)
                cr_expect_str_eq(record_null_reason(record, id), probe->off_reason);
        }
    }
    record_free(record);
    observer_release(&observer);
    client_release(&fixture.client);
}
