#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "measure/next_run.h"
#include "observe/list.h"

TestSuite(observe_history);

#define RUNS_MAX (2 * NEXT_RUN_RUNS_MAX)

/* A trial of native that took 5 ms a step, and what the machine has shown before. */
struct fixture {
    struct cell cell;
    struct client_options client_options;
    struct client client;
    struct observe_options options;
    struct measure_summary summary;
    struct observed seen;
    struct machine_run runs[RUNS_MAX];
    struct machine_book machine;
    void *state;
    struct record *record;
    char id[HASH_ID_BYTES];
};

static void set_up(struct fixture *fixture)
{
    memset(fixture, 0, sizeof(*fixture));
    (void)snprintf(fixture->cell.device, sizeof(fixture->cell.device), "cpu");
    (void)snprintf(fixture->cell.engine, sizeof(fixture->cell.engine), "native");
    (void)snprintf(fixture->cell.model_source, sizeof(fixture->cell.model_source), "preset");
    client_init(&fixture->client, &fixture->cell, &fixture->client_options);
    fixture->client.has_hello = fixture->client.has_ready = true;
    fixture->machine.runs = fixture->runs;
    fixture->options = (struct observe_options){.machine = &fixture->machine,
                                                .machine_id = "hm",
                                                .run_id = "this call",
                                                .program_id = "hp",
                                                .environment_id = "he"};
    fixture->summary =
        (struct measure_summary){.median_ns = 5e6, .median_95 = {true, 4.9e6, 5.1e6}};
    fixture->seen = (struct observed){.options = &fixture->options,
                                      .client = &fixture->client,
                                      .cell_id = "hc",
                                      .summary = &fixture->summary};
}

/* What the probe says of the trial. */
static void look(struct fixture *fixture)
{
    struct err err = {0};
    free(fixture->state);
    record_free(fixture->record);
    fixture->state = calloc(1, history_probe.state_bytes);
    fixture->record = record_new();
    cr_assert_eq(history_probe.after_trial(fixture->state, &fixture->seen, &err), STATUS_OK);
    history_probe.put(fixture->state, &fixture->seen, fixture->record);
    (void)snprintf(fixture->id, sizeof(fixture->id), "%s",
                   record_string(fixture->record, FACT_HISTORY_ID));
}

static void tear_down(struct fixture *fixture)
{
    free(fixture->state);
    record_free(fixture->record);
    client_release(&fixture->client);
}

/* An earlier run of the same thing. */
static struct machine_run *add_run(struct fixture *fixture, double ms, const char *call)
{
    struct machine_run *run = &fixture->runs[fixture->machine.runs_count++];
    *run =
        (struct machine_run){.median = {ms, 0.98 * ms, 1.02 * ms}, .call = machine_call_hash(call)};
    memcpy(run->id, fixture->id, sizeof(run->id));
    return run;
}

/* A row for each thing that makes it another one: its runs are no repeats. */
Test(observe_history, what_is_measured_otherwise_is_another_history)
{
    struct fixture fixture;
    char first[HASH_ID_BYTES];
    set_up(&fixture);
    look(&fixture);
    memcpy(first, fixture.id, sizeof(first));
    cr_assert_str_not_empty(first);
    look(&fixture);
    cr_expect_str_eq(fixture.id, first, "the same again");
    fixture.options.run_id = "another call";
    fixture.summary.median_ns = 7e6;
    look(&fixture);
    cr_expect_str_eq(fixture.id, first, "another run of it");
#define EXPECT_OTHER(change)                                                 \
    do {                                                                     \
        tear_down(&fixture);                                                 \
        set_up(&fixture);                                                    \
        change;                                                              \
        look(&fixture);                                                      \
        cr_expect_str_not_empty(fixture.id, #change);                        \
        cr_expect_str_neq(fixture.id, first, "%s changes nothing", #change); \
    } while (0)
    EXPECT_OTHER(fixture.seen.cell_id = "hd");
    EXPECT_OTHER(fixture.options.program_id = "hq");
    EXPECT_OTHER(fixture.options.environment_id = "hf");
    EXPECT_OTHER(fixture.client_options.launch_prefix = "taskset -c 1");
    EXPECT_OTHER(fixture.seen.is_sync_per_block = true);
    EXPECT_OTHER(cr_assert_eq(setenv("OMP_NUM_THREADS", "17", 1), 0));
    cr_assert_eq(unsetenv("OMP_NUM_THREADS"), 0);
    EXPECT_OTHER((void)snprintf(fixture.client.ready.device_name, 8, "Card 5"));
#undef EXPECT_OTHER
    tear_down(&fixture);
}

Test(observe_history, runs_that_are_all_of_this_call_are_its_trials)
{
    static const struct {
        const char *first, *second, *basis;
    } cases[] = {{"this call", "this call", "trials"},
                 {"another", "this call", "cell"},
                 {"this call", "another", "cell"}};
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct fixture fixture;
        set_up(&fixture);
        look(&fixture);
        cr_expect_str_eq(record_null_reason(fixture.record, FACT_HISTORY_MS), "no_earlier_run");
        add_run(&fixture, 5, cases[i].first);
        add_run(&fixture, 5.2, cases[i].second);
        look(&fixture);
        cr_expect_str_eq(record_string(fixture.record, FACT_NEXT_RUN_BASIS), cases[i].basis);
        cr_expect_eq(record_u64(fixture.record, FACT_HISTORY_RUNS), 3);
        tear_down(&fixture);
    }
}

/* Others' runs lie close together but where somebody disturbed them, which widens the high end
 * only. */
Test(observe_history, a_first_run_goes_by_what_other_cells_have_shown)
{
    static const char *const others[] = {"h0123456789abcde0", "h0123456789abcde1"};
    static const double ms[] = {5, 5.02, 5.04, 9};
    struct fixture fixture;
    set_up(&fixture);
    look(&fixture);
    cr_expect_str_eq(record_string(fixture.record, FACT_NEXT_RUN_BASIS), "this_run");
    for (size_t i = 0; i < ARRAY_COUNT(others) * ARRAY_COUNT(ms); i++) {
        struct machine_run *run = add_run(&fixture, ms[i % ARRAY_COUNT(ms)], "another");
        (void)snprintf(run->id, sizeof(run->id), "%s", others[i / ARRAY_COUNT(ms)]);
        run->device = machine_device_hash("hm", "cpu", "");
        run->kind = machine_kind_hash(run->device, fixture.cell.framework,
                                      cell_mode_name(fixture.cell.mode));
        run->is_disturbed = run->median.ms > 6;
    }
    look(&fixture);
    cr_expect_str_eq(record_string(fixture.record, FACT_NEXT_RUN_BASIS), "kind");
    double low = record_double(fixture.record, FACT_NEXT_RUN_MS_LOW);
    double high = record_double(fixture.record, FACT_NEXT_RUN_MS_HIGH);
    cr_expect(low > 4.5 && low < 5, "%g", low);
    cr_expect_gt(high, 7, "%g", high);
    tear_down(&fixture);
}

/* What others made slow says nothing of how fast another run may be. */
Test(observe_history, disturbed_runs_leave_the_low_end)
{
    struct fixture fixture;
    double low[2];
    for (int is_disturbed = 0; is_disturbed < 2; is_disturbed++) {
        set_up(&fixture);
        look(&fixture);
        add_run(&fixture, 5, "one");
        add_run(&fixture, 9, "two")->is_disturbed = is_disturbed == 1;
        look(&fixture);
        low[is_disturbed] = record_double(fixture.record, FACT_NEXT_RUN_MS_LOW);
        cr_expect_geq(record_double(fixture.record, FACT_NEXT_RUN_MS_HIGH), 9);
        tear_down(&fixture);
    }
    cr_expect_lt(low[0], 4, "%g", low[0]);
    cr_expect_gt(low[1], 4.3, "%g", low[1]);
}

/* As many runs as there is room for, the newest: of the book, and of a call that may not ask it. */
Test(observe_history, the_newest_runs_count)
{
    struct fixture fixture;
    struct measure_reading trials[RUNS_MAX];
    for (int is_book = 0; is_book < 2; is_book++) {
        set_up(&fixture);
        look(&fixture);
        for (size_t i = 0; i < RUNS_MAX; i++) {
            double ms = i < RUNS_MAX - (NEXT_RUN_RUNS_MAX - 1) ? 1 : 5;
            trials[i] = (struct measure_reading){.median = ms, .median_95 = {true, ms, ms}};
            if (is_book == 1)
                add_run(&fixture, ms, "another");
        }
        fixture.options.trials = trials;
        fixture.options.trials_count = is_book == 1 ? 0 : RUNS_MAX;
        if (is_book == 0)
            fixture.options.machine = NULL;
        look(&fixture);
        double low = record_double(fixture.record, FACT_NEXT_RUN_MS_LOW);
        cr_expect(low > 4.5 && low <= 5, "%g", low);
        cr_expect_str_eq(record_string(fixture.record, FACT_NEXT_RUN_BASIS),
                         is_book == 1 ? "cell" : "trials");
        tear_down(&fixture);
    }
}

/* Asked for is what another run comes to. */
Test(observe_history, a_target_is_one_for_the_next_run)
{
    struct fixture fixture;
    static const struct {
        double target_percent;
        const char *code;
    } cases[] = {{0, ""}, {1, "target_ci_not_met"}, {100, ""}};
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct judgement judgement = {0};
        set_up(&fixture);
        look(&fixture);
        for (int k = 0; k < 6; k++)
            add_run(&fixture, k % 2 == 0 ? 5 : 5.4, "another");
        fixture.options.target_percent = cases[i].target_percent;
        look(&fixture);
        history_probe.judge(fixture.state, &fixture.seen, &judgement);
        cr_expect_str_eq(reasons_deciding(&judgement.reasons), cases[i].code);
        cr_expect_eq(judgement.verdict, cases[i].code[0] != '\0' ? VERDICT_UNSTEADY : VERDICT_OK);
        tear_down(&fixture);
    }
}
