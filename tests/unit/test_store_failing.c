#include <inttypes.h>

#include "failing_calls.h"
#include "result_record_sample.h"
#include "store/checks.h"
#include "store/journal.h"
#include "store/machine.h"

static char dir[FILE_PATH_BYTES];

static void set_up(void)
{
    scratch_new(dir);
}

static void tear_down(void)
{
    scratch_free(dir);
}

TestSuite(store_failing, .init = set_up, .fini = tear_down);

static void start_anew(void *context)
{
    (void)context;
    scratch_free(dir);
}

/* --- the results folder --- */

struct life {
    struct record *records[2];
    size_t stored_count;
};

static enum status live(void *context, struct err *err)
{
    struct life *life = context;
    struct store *store = NULL;
    struct store_facts facts;
    char log[FILE_PATH_BYTES];
    life->stored_count = 0;
    TRY(store_open(dir, &store, &facts, err));
    enum status status = STATUS_OK;
    for (size_t i = 0; i < ARRAY_COUNT(life->records) && status == STATUS_OK; i++) {
        status = store_append(store, life->records[i], i == 1, err);
        life->stored_count += status == STATUS_OK ? 1 : 0;
    }
    if (status == STATUS_OK)
        status = store_append_samples(store, "h1", 0, "{\"ns\":[1]}", 10, err);
    if (status == STATUS_OK)
        status = store_log_path(store, "h1", log, sizeof(log), err);
    store_close(store);
    return status;
}

/* What was said to be stored is there, and no more. */
static void check_life(void *context, enum status status)
{
    const struct life *life = context;
    struct store_facts facts;
    (void)status;
    store_close(sample_open(dir, &facts));
    cr_expect_eq(facts.records_count, life->stored_count);
    cr_expect_eq(facts.bad_lines_count, 0);
    cr_expect_eq(sample_check(dir, NULL, 0), life->stored_count);
}

static void live_with_failing(enum failing_kind kind, unsigned least)
{
    struct life life = {.records = {sample_record(0, "ok"), sample_record(1, "unsteady")}};
    const struct failing_work work = {start_anew, live, check_life, &life};
    cr_expect_geq(failing_calls(kind, &work), least);
    record_free(life.records[0]);
    record_free(life.records[1]);
}

Test(store_failing, a_folder_without_memory)
{
    live_with_failing(FAILING_MEMORY, 8);
}

Test(store_failing, a_folder_whose_calls_fail)
{
    live_with_failing(FAILING_SYSTEM, 10);
}

/* --- repair --- */

/* Two records, a third that is torn, and the CSV of somebody else. */
static void tear(void *context)
{
    size_t bytes = 0;
    (void)context;
    scratch_free(dir);
    sample_folder(dir, 3);
    char *text = scratch_read(dir, "bench_results.jsonl", &bytes);
    scratch_write(dir, "bench_results.jsonl", text, bytes - 5);
    scratch_write_text(dir, "bench_results.csv", "name,value\nx,1\n");
    free(text);
}

static enum status repair(void *context, struct err *err)
{
    struct store *store = NULL;
    struct store_facts facts;
    (void)context;
    TRY(store_open(dir, &store, &facts, err));
    store_close(store);
    return STATUS_OK;
}

static void check_repair(void *context, enum status status)
{
    struct store_facts facts;
    (void)context;
    (void)status;
    store_close(sample_open(dir, &facts));
    cr_expect_eq(facts.records_count, 2);
    cr_expect_eq(sample_check(dir, NULL, 0), 2);
    size_t bytes = 0;
    char *moved = scratch_read(dir, "bench_results.csv.orig", &bytes);
    cr_assert_not_null(moved, "the other's CSV is kept");
    cr_expect_str_eq(moved, "name,value\nx,1\n");
    free(moved);
}

Test(store_failing, a_repair_that_fails_is_made_next_time)
{
    const struct failing_work work = {tear, repair, check_repair, NULL};
    cr_expect_geq(failing_calls(FAILING_MEMORY, &work), 5);
    cr_expect_geq(failing_calls(FAILING_SYSTEM, &work), 10);
}

/* --- the archive --- */

static enum status archive(void *context, struct err *err)
{
    char path[FILE_PATH_BYTES];
    return store_archive(context, path, sizeof(path), err);
}

static void check_archive(void *context, enum status status)
{
    struct stat info;
    char path[FILE_PATH_BYTES];
    cr_assert(snprintf(path, sizeof(path), "%s.zip", (const char *)context) < (int)sizeof(path));
    cr_expect_eq(stat(path, &info) == 0, status == STATUS_OK, "%s", status_text(status));
    (void)unlink(path);
}

Test(store_failing, an_archive_is_whole_or_not_there)
{
    char folder[FILE_PATH_BYTES];
    sample_folder(scratch_path(folder, dir, "results"), 2);
    const struct failing_work work = {NULL, archive, check_archive, folder};
    /* Not without memory: minizip 1.2 writes through the pointer that it has not got. */
    cr_expect_geq(failing_calls(FAILING_SYSTEM, &work), 4);
}

/* --- what this machine has shown --- */

static enum status remember(void *context, struct err *err)
{
    const struct machine_floor floor = {.at = "2026-11-28T10:00:00.000Z",
                                        .version = "1",
                                        .environment_id = "h2",
                                        .engine = "native",
                                        .device = "cpu",
                                        .mode = "infer",
                                        .precision = "fp32",
                                        .model = "m",
                                        .seq_len = 8,
                                        .batch_size = 1,
                                        .percent = 1,
                                        .repeats_count = 1};
    const struct machine_peak peak = {.at = "2026-11-28T10:00:00.000Z",
                                      .hardware_id = "h3",
                                      .device = "cpu",
                                      .engine = "native",
                                      .precision = "fp32",
                                      .matmul_flops = 1e12};
    struct machine_book book = {0};
    TRY(machine_append_floor(dir, &floor, err));
    TRY(machine_append_clock(dir, "h1", 1000, err));
    TRY(machine_append_peak(dir, &peak, err));
    enum status status = machine_book_read(dir, &book, err);
    if (status == STATUS_OK)
        status = machine_take_run(&book, dir, "h1", context, err);
    machine_book_release(&book);
    return status;
}

/* Lines are whole or not there. */
static void check_remembered(void *context, enum status status)
{
    struct machine_book book = {0};
    struct err err = {0};
    (void)context;
    cr_assert_eq(machine_book_read(dir, &book, &err), STATUS_OK, "%s", err.text);
    cr_expect_eq(book.bad_lines_count, 0);
    cr_expect(status != STATUS_OK || (book.runs_count == 1 && book.clocks_count == 1));
    machine_book_release(&book);
}

Test(store_failing, a_machines_journal)
{
    struct record *record = sample_record(3, "ok");
    record_set_string(record, FACT_HISTORY_ID, "h0123456789abcdef");
    record_set_string(record, FACT_STARTED_AT, "2026-11-28T10:00:00.000Z");
    const struct failing_work work = {start_anew, remember, check_remembered, record};
    cr_expect_geq(failing_calls(FAILING_MEMORY, &work), 5);
    record_free(record);
}

/* --- checks of engines --- */

static enum status look_up(void *context, struct err *err)
{
    const struct checks_wanted wanted = {.engine = "native",
                                         .engine_version = "1",
                                         .harness = "1",
                                         .device = "cpu",
                                         .precision = "fp32",
                                         .mode = "infer",
                                         .model = "m",
                                         .weights_hash = ""};
    enum checks_finding finding;
    char run_id[CHECKS_RUN_BYTES];
    (void)context;
    return checks_find(dir, &wanted, &finding, run_id, err);
}

Test(store_failing, checks_of_engines)
{
    scratch_write_text(dir, JOURNAL_CHECKS,
                       "{\"engine\":\"native\",\"device\":\"cpu\",\"precision\":\"fp32\",\"mode\":"
                       "\"infer\",\"model\":\"m\",\"result\":\"passed\",\"run_id\":\"r1\"}\nno\n");
    const struct failing_work work = {NULL, look_up, NULL, NULL};
    cr_expect_geq(failing_calls(FAILING_MEMORY, &work), 1);
    cr_expect_geq(failing_calls(FAILING_SYSTEM, &work), 1);
}
