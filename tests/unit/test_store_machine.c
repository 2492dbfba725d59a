#include <math.h>

#include "scratch.h"
#include "store/machine.h"

#define ID      "0123456789abcdef"
#define OTHER   "fedcba9876543210"
#define MACHINE "00112233445566aa"

static char dir[FILE_PATH_BYTES];
static char path[FILE_PATH_BYTES];
static char now[CLOCK_STAMP_BYTES];

static void set_up(void)
{
    scratch_new(dir);
    scratch_path(path, dir, MACHINE_NAME);
    clock_stamp(now);
}

static void tear_down(void)
{
    scratch_free(dir);
}

TestSuite(store_machine, .init = set_up, .fini = tear_down);

static struct machine_book read_book(void)
{
    struct machine_book book = {0};
    struct err err = {0};
    cr_assert_eq(machine_book_read(dir, &book, &err), STATUS_OK, "%s", err.text);
    return book;
}

/* `text` with @ for a stamp so many days ago, into a file of the folder. */
static void write_lines(const char *name, const char *text, int days_ago)
{
    char stamp[CLOCK_STAMP_BYTES];
    struct buf out;
    cr_assert(clock_stamp_shift(now, -days_ago, stamp));
    buf_init(&out, 1 << 20);
    for (; *text != '\0'; text++) {
        if (*text == '@')
            buf_append_text(&out, stamp);
        else
            buf_append_char(&out, *text);
    }
    scratch_write(dir, name, out.data, out.length_bytes);
    buf_release(&out);
}

/* --- runs --- */

struct sample {
    const char *verdict, *id, *run_id, *mode;
    double ms, half_ms;
};

static void take(struct machine_book *book, const char *into, struct sample sample)
{
    struct err err = {0};
    struct record *record = record_new();
    record_set_string(record, FACT_VERDICT, sample.verdict);
    record_set_string(record, FACT_FRAMEWORK, "native");
    record_set_string(record, FACT_DEVICE, "cpu");
    record_set_string(record, FACT_MODE, sample.mode != NULL ? sample.mode : "infer");
    record_set_string(record, FACT_PRECISION, "fp32");
    record_set_string(record, FACT_MODEL, "tiny");
    record_set_u64(record, FACT_SEQ_LEN, 128);
    record_set_u64(record, FACT_BATCH_SIZE, 4);
    record_set_string(record, FACT_RUN_ID, sample.run_id != NULL ? sample.run_id : "r1");
    record_set_string(record, FACT_STARTED_AT, now);
    if (sample.id != NULL)
        record_set_string(record, FACT_HISTORY_ID, sample.id);
    struct reasons reasons = {0};
    if (strcmp(sample.verdict, "unsteady") == 0)
        reasons_add(&reasons, "foreign_load", "others took the processors");
    record_set_reasons(record, FACT_REASONS, &reasons);
    record_set_double(record, FACT_MS_P50, sample.ms);
    record_set_double(record, FACT_MS_P50_LOW, sample.ms - sample.half_ms);
    record_set_double(record, FACT_MS_P50_HIGH, sample.ms + sample.half_ms);
    cr_assert_eq(machine_take_run(book, into, MACHINE, record, &err), STATUS_OK, "%s", err.text);
    record_free(record);
}

static void expect_runs(const struct machine_book *book)
{
    const struct machine_run *runs[4];
    cr_assert_eq(book->runs_count, 3);
    cr_assert_eq(machine_book_runs(book, ID, 4, runs), 2);
    const struct store_median *first = &runs[0]->median;
    cr_expect(first->ms == 10 && first->ms_low == 9.5 && first->ms_high == 10.5);
    cr_expect(runs[1]->median.ms == 11 && runs[1]->median.ms_low == 10.75);
    cr_expect_str_eq(runs[0]->cell, "native cpu infer fp32 seq 128 batch 4 tiny");
    cr_expect_eq(runs[0]->call, machine_call_hash("r1"));
    cr_expect_eq(runs[1]->call, machine_call_hash("r2"));
    cr_expect_eq(runs[0]->device, machine_device_hash("h" MACHINE, "cpu", ""));
    cr_expect_eq(runs[0]->kind, machine_kind_hash(runs[0]->device, "native", "infer"));
    cr_expect_not(runs[0]->is_disturbed);
    cr_assert_eq(machine_book_runs(book, OTHER, 4, runs), 1);
    cr_expect(runs[0]->is_disturbed, "unsteady by others on the machine");
    cr_expect(isnan(runs[0]->median.ms_low) && isnan(runs[0]->median.ms_high));
    cr_expect_neq(runs[0]->kind, machine_kind_hash(runs[0]->device, "native", "infer"));
    cr_expect_eq(machine_book_runs(book, "none", 4, runs), 0);
}

Test(store_machine, runs_come_back_from_the_book_and_from_the_file)
{
    struct machine_book book = {0};
    take(&book, dir, (struct sample){"ok", "h" ID, "r1", NULL, 10, 0.5});
    take(&book, dir, (struct sample){"unsteady", OTHER, NULL, "train", 20, NAN});
    take(&book, dir, (struct sample){"ok", ID, "r2", NULL, 11, 0.25});
    expect_runs(&book);
    machine_book_release(&book);
    book = read_book();
    cr_expect_eq(book.bad_lines_count, 0);
    expect_runs(&book);
    machine_book_release(&book);
}

Test(store_machine, the_newest_runs_count_oldest_first)
{
    struct machine_book book = {0};
    const struct machine_run *runs[3];
    for (int i = 1; i <= 200; i++) {
        take(&book, NULL, (struct sample){"ok", ID, NULL, NULL, i, NAN});
        take(&book, NULL, (struct sample){"ok", OTHER, NULL, NULL, 1000 + i, NAN});
    }
    cr_assert_eq(machine_book_runs(&book, ID, 3, runs), 3);
    cr_expect(runs[0]->median.ms == 198 && runs[1]->median.ms == 199 && runs[2]->median.ms == 200);
    machine_book_release(&book);
    cr_expect_not(file_exists(path), "nothing was to be written");
}

Test(store_machine, only_sound_medians_with_an_id_are_kept)
{
    struct machine_book book = {0};
    take(&book, dir, (struct sample){"invalid", ID, NULL, NULL, 10, 1});
    take(&book, dir, (struct sample){"ok", NULL, NULL, NULL, 10, 1});
    take(&book, dir, (struct sample){"ok", ID, NULL, NULL, 0, 0});
    take(&book, dir, (struct sample){"ok", ID, NULL, NULL, NAN, NAN});
    cr_expect_eq(book.runs_count, 0);
    cr_expect_not(file_exists(path));
}

#define RUN(id, rest) \
    "{\"schema\":\"tokmark.history/1\",\"at\":\"@\",\"history_id\":\"" id "\"," rest "}\n"

Test(store_machine, runs_of_earlier_versions_count_and_bad_lines_do_not)
{
    write_lines(
        "history.jsonl",
        "\n"
        "not JSON\n"
        "[]\n"
        "{\"schema\":\"tokmark.history/2\",\"at\":\"@\",\"history_id\":\"" ID
        "\",\"ms\":1}\n" RUN("short", "\"ms\":1") RUN(ID, "\"ms\":\"1\"") RUN(ID, "\"ms\":0")
            RUN(ID, "\"ms\":-1") RUN(ID, "\"ms\":1e300") RUN(ID, "\"ms\":1")
                RUN(ID, "\"ms\":1,\"ms_low\":0.5,\"ms_high\":null")
                    RUN(ID, "\"ms\":1,\"ms_low\":2,\"ms_high\":3") RUN(
                        ID, "\"ms\":1,\"ms\":2,\"ms_low\":null,\"ms_high\":null")
                        RUN(ID, "\"ms\":7,\"ms_low\":null,\"ms_high\":null") RUN(
                            "h" ID,
                            "\"ms\":8,\"ms_low\":7,\"ms_high\":9") "{\"schema\":\"tokmark.history/"
                                                                   "1\",\"history_id\":\"" ID
                                                                   "\",\"ms\":9,\"ms_low\":null,"
                                                                   "\"ms_high\":null}\n"
                                                                   "{\"schema\":\"tokmark.history/"
                                                                   "1\",\"history_",
        1);
    struct machine_book book = read_book();
    const struct machine_run *runs[4];
    cr_assert_eq(machine_book_runs(&book, ID, 4, runs), 2);
    cr_expect(runs[0]->median.ms == 7 && runs[1]->median.ms_high == 9);
    cr_expect(runs[0]->device == 0 && runs[0]->kind == 0, "it does not say which machine");
    cr_expect_eq(book.runs_count, 2);
    cr_expect_eq(book.bad_lines_count, 14);
    take(&book, dir, (struct sample){"ok", ID, NULL, NULL, 10, 1});
    machine_book_release(&book);
    book = read_book();
    cr_assert_eq(machine_book_runs(&book, ID, 4, runs), 3);
    cr_expect_eq(runs[2]->median.ms, 10, "what is new comes last");
    machine_book_release(&book);
}

Test(store_machine, a_torn_end_is_cut_off_before_the_next_line)
{
    struct machine_book book = {0};
    take(&book, dir, (struct sample){"ok", ID, NULL, NULL, 10, 1});
    int fd = open(path, O_WRONLY | O_APPEND);
    cr_assert_eq(write(fd, "{\"schema\":\"tok", 14), 14);
    (void)close(fd);
    take(&book, dir, (struct sample){"ok", ID, NULL, NULL, 11, 1});
    machine_book_release(&book);
    book = read_book();
    cr_expect_eq(book.runs_count, 2);
    cr_expect_eq(book.bad_lines_count, 0);
    machine_book_release(&book);
}

Test(store_machine, no_file_and_no_folder_say_nothing)
{
    struct machine_book book = read_book();
    struct err err = {0};
    cr_expect_eq(book.runs_count + book.floors_count + book.clocks_count, 0);
    cr_expect_eq(machine_book_read("/dev/null", &book, &err), STATUS_OK);
    cr_expect_eq(machine_book_clock(&book, MACHINE), 0);
    cr_assert_eq(mkdir(path, 0777), 0);
    cr_expect_eq(machine_book_read(dir, &book, &err), STATUS_IO, "a folder of that name");
    cr_assert_not_null(strstr(err.text, MACHINE_NAME));
}

/* --- floors --- */

static struct cell make_cell(uint32_t seq_len, enum cell_mode mode)
{
    struct cell cell = {.seq_len = seq_len, .batch_size = 4, .mode = mode};
    (void)snprintf(cell.engine, sizeof(cell.engine), "native");
    (void)snprintf(cell.device, sizeof(cell.device), "cpu");
    (void)snprintf(cell.model.name, sizeof(cell.model.name), "tiny");
    return cell;
}

static void append_floor(uint32_t seq_len, enum cell_mode mode, const char *environment_id,
                         double percent)
{
    struct cell cell = make_cell(seq_len, mode);
    struct machine_floor floor = {.percent = percent,
                                  .ms = 12.5,
                                  .repeats_count = 2,
                                  .log_ratios = {0.01, -0.02},
                                  .version = "0.1.0"};
    struct err err = {0};
    memcpy(floor.at, now, sizeof(floor.at));
    machine_floor_take_cell(&floor, &cell);
    (void)snprintf(floor.environment_id, sizeof(floor.environment_id), "%s", environment_id);
    cr_assert_eq(machine_append_floor(dir, &floor, &err), STATUS_OK, "%s", err.text);
}

static double find(const struct machine_book *book, const char *id, uint32_t seq_len,
                   enum cell_mode mode)
{
    struct cell cell = make_cell(seq_len, mode);
    const struct machine_floor *floor = machine_book_floor(book, id, &cell);
    return floor != NULL ? floor->percent : -1;
}

Test(store_machine, a_floor_comes_back)
{
    append_floor(128, CELL_MODE_INFER, "e1", 1.25);
    struct machine_book book = read_book();
    cr_assert_eq(book.floors_count, 1);
    const struct machine_floor *floor = &book.floors[0];
    cr_expect_str_eq(floor->engine, "native");
    cr_expect_str_eq(floor->device, "cpu");
    cr_expect_str_eq(floor->mode, "infer");
    cr_expect_str_eq(floor->precision, "fp32");
    cr_expect_str_eq(floor->model, "tiny");
    cr_expect_str_eq(floor->environment_id, "e1");
    cr_expect_str_eq(floor->version, "0.1.0");
    cr_expect_str_eq(floor->at, now);
    cr_expect(floor->seq_len == 128 && floor->batch_size == 4);
    cr_expect(floor->percent == 1.25 && floor->ms == 12.5);
    cr_expect(floor->repeats_count == 2 && floor->log_ratios[1] == -0.02);
    machine_book_release(&book);
}

Test(store_machine, the_newest_of_the_very_cell_counts_and_no_other_cell_s)
{
    append_floor(128, CELL_MODE_INFER, "e1", 9);
    append_floor(128, CELL_MODE_INFER, "e1", 1);
    append_floor(256, CELL_MODE_INFER, "e1", 3);
    append_floor(128, CELL_MODE_TRAIN, "e1", 7);
    append_floor(128, CELL_MODE_INFER, "e2", 8);
    struct machine_book book = read_book();
    cr_expect_eq(find(&book, "e1", 128, CELL_MODE_INFER), 1, "the newest");
    cr_expect_eq(find(&book, "e1", 64, CELL_MODE_INFER), -1, "another cell");
    cr_expect_eq(find(&book, "e1", 128, CELL_MODE_TRAIN), 7);
    cr_expect_eq(find(&book, "e1", 128, CELL_MODE_DECODE), -1);
    cr_expect_eq(find(&book, "e2", 128, CELL_MODE_INFER), 8);
    cr_expect_eq(find(&book, "e3", 128, CELL_MODE_INFER), -1);
    cr_expect_not(machine_floor_is_newest(&book, 0));
    cr_expect(machine_floor_is_newest(&book, 1));
    machine_book_release(&book);
}

/* An entry's line with one thing changed. */
#define FLOOR(at, floor, seq, ratios)                                                           \
    "{\"schema\":\"tokmark.noise/1\",\"at\":" at ",\"version\":\"1\",\"environment_id\":\"e\"," \
    "\"engine\":\"native\",\"device\":\"cpu\",\"mode\":\"infer\",\"precision\":\"fp32\","       \
    "\"model\":\"tiny\",\"seq_len\":" seq ",\"batch_size\":4,\"floor_percent\":" floor          \
    ",\"log_ratios\":" ratios "}\n"

Test(store_machine, floors_of_earlier_versions_count_and_bad_lines_do_not)
{
    write_lines("noise.jsonl",
                "garbage\n\n[]\n{}\n{\"schema\":\"tokmark.noise/1\"}\n\xff\xfe\n" FLOOR(
                    "3", "1.0", "128", "[0.1]") FLOOR("\"t\"", "1.0", "128", "[0.1]")
                    FLOOR("\"@\"", "-1.0", "128", "[0.1]") FLOOR("\"@\"", "\"1\"", "128", "[0.1]")
                        FLOOR("\"@\"", "1e300", "128", "[0.1]") FLOOR("\"@\"", "1.0", "0", "[0.1]")
                            FLOOR("\"@\"", "1.0", "99999999999", "[0.1]") FLOOR(
                                "\"@\"", "1.0", "128", "[]") FLOOR("\"@\"", "1.0", "128", "[null]")
                                FLOOR("\"@\"", "1.5", "128", "[0.1]") "{\"schema\":\"tokmark.no",
                1);
    struct machine_book book = read_book();
    cr_assert_eq(book.floors_count, 1);
    cr_assert_eq(book.bad_lines_count, 15);
    cr_assert_eq(find(&book, "e", 128, CELL_MODE_INFER), 1.5);
    machine_book_release(&book);
    append_floor(128, CELL_MODE_INFER, "e", 2.5);
    book = read_book();
    cr_assert_eq(find(&book, "e", 128, CELL_MODE_INFER), 2.5);
    machine_book_release(&book);
}

Test(store_machine, what_is_old_counts_no_more)
{
    write_lines("noise.jsonl", FLOOR("\"@\"", "1.5", "128", "[0.1]"), MACHINE_FLOOR_DAYS - 1);
    write_lines("history.jsonl", RUN(ID, "\"ms\":7,\"ms_low\":null,\"ms_high\":null"),
                MACHINE_RUN_DAYS - 1);
    struct machine_book book = read_book();
    cr_expect(book.floors_count == 1 && book.runs_count == 1);
    machine_book_release(&book);
    write_lines("noise.jsonl", FLOOR("\"@\"", "1.5", "128", "[0.1]"), MACHINE_FLOOR_DAYS + 1);
    write_lines("history.jsonl", RUN(ID, "\"ms\":7,\"ms_low\":null,\"ms_high\":null"),
                MACHINE_RUN_DAYS + 1);
    book = read_book();
    cr_expect(book.floors_count == 0 && book.runs_count == 0 && book.bad_lines_count == 0);
    machine_book_release(&book);
}

/* --- the clock check --- */

static void append_clock(const char *machine_id, uint64_t clock_ns)
{
    struct err err = {0};
    cr_assert_eq(machine_append_clock(dir, machine_id, clock_ns, &err), STATUS_OK, "%s", err.text);
}

#define CLOCK(schema, clock) \
    "{\"schema\":\"" schema "\",\"machine_id\":\"" MACHINE "\",\"clock_ns\":" clock "}\n"

Test(store_machine, the_best_clock_of_that_machine_whatever_version_wrote_it)
{
    write_lines("pace.jsonl",
                "garbage\n" CLOCK("tokmark.noise/1", "1") CLOCK("tokmark.pace/1", "-1")
                    CLOCK("tokmark.pace/1", "0") CLOCK("tokmark.pace/1", "1.5")
                        CLOCK("tokmark.pace/1", "\"1\"")
                            CLOCK("tokmark.pace/1", "99999999999999999")
                                CLOCK("tokmark.pace/1", "400") "{\"schema\":\"tokmark.pa",
                1);
    append_clock("h" MACHINE, 500);
    append_clock("h" OTHER, 1);
    struct machine_book book = read_book();
    cr_expect_eq(machine_book_clock(&book, MACHINE), 400);
    cr_expect_eq(machine_book_clock(&book, "h" OTHER), 1);
    cr_expect_eq(machine_book_clock(&book, "nobody"), 0);
    cr_expect_eq(book.bad_lines_count, 7);
    machine_book_release(&book);
    append_clock(MACHINE, 300);
    book = read_book();
    cr_expect_eq(machine_book_clock(&book, MACHINE), 300);
    machine_book_release(&book);
}

Test(store_machine, worth_storing_is_the_first_and_what_is_better_by_a_percent)
{
    uint64_t best_ns = 0;
    cr_expect_not(machine_clock_improve(&best_ns, 0), "nothing was measured");
    cr_expect(machine_clock_improve(&best_ns, 1000));
    cr_expect_not(machine_clock_improve(&best_ns, 1000));
    cr_expect_not(machine_clock_improve(&best_ns, 995), "half a percent");
    cr_expect_eq(best_ns, 995);
    cr_expect_not(machine_clock_improve(&best_ns, 1200));
    cr_expect_eq(best_ns, 995);
    cr_expect(machine_clock_improve(&best_ns, 980));
    cr_expect_eq(best_ns, 980);
    cr_expect_not(machine_clock_improve(&best_ns, 0), "nothing was measured");
}

Test(store_machine, kinds_of_a_later_version_are_no_fault)
{
    write_lines(MACHINE_NAME, "{\"schema\":\"tokmark.machine/1\",\"what\":\"later\"}\n", 0);
    struct machine_book book = read_book();
    cr_expect_eq(book.bad_lines_count, 0);
    machine_book_release(&book);
}

/* --- peaks --- */

static void append_peak(const char *engine, const char *precision, double matmul, double read)
{
    struct machine_peak peak = {
        .hardware_id = MACHINE, .matmul_flops = matmul, .read_bytes = read, .fma_flops = 0};
    struct err err = {0};
    (void)snprintf(peak.at, sizeof(peak.at), "%s", now);
    (void)snprintf(peak.device, sizeof(peak.device), "cuda:0");
    (void)snprintf(peak.engine, sizeof(peak.engine), "%s", engine);
    (void)snprintf(peak.precision, sizeof(peak.precision), "%s", precision);
    cr_assert_eq(machine_append_peak(dir, &peak, &err), STATUS_OK, "%s", err.text);
}

Test(store_machine, of_peaks_the_newest_of_an_engine_and_the_best_of_engines_count)
{
    struct machine_peak peak;
    append_peak("pytorch", "bf16", 9e14, 4e12);
    append_peak("pytorch", "bf16", 8e14, 3e12); /* measured again: the first was too good */
    append_peak("jax", "bf16", 7e14, 3.5e12);
    append_peak("jax", "fp32", 5e13, 0);
    struct machine_book book = read_book();
    cr_expect_eq(book.bad_lines_count, 0);
    cr_expect_eq(book.peaks_count, 3);
    machine_book_peak(&book, MACHINE, "cuda:0", "bf16", &peak);
    cr_expect_eq(peak.matmul_flops, 8e14);
    cr_expect_eq(peak.read_bytes, 3.5e12);
    machine_book_peak(&book, MACHINE, "cuda:0", "fp32", &peak);
    cr_expect_eq(peak.matmul_flops, 5e13);
    cr_expect_eq(peak.read_bytes, 3.5e12, "memory has no precision");
    machine_book_peak(&book, MACHINE, "cuda:1", "bf16", &peak);
    cr_expect_eq(peak.matmul_flops, 0);
    machine_book_peak(&book, OTHER, "cuda:0", "bf16", &peak);
    cr_expect_eq(peak.matmul_flops, 0);
    machine_book_release(&book);
}

Test(store_machine, a_peak_that_cannot_be_is_a_bad_line)
{
    write_lines(
        MACHINE_NAME,
        "{\"schema\":\"tokmark.machine/"
        "1\",\"what\":\"peak\",\"at\":\"@\",\"hardware_id\":\"" MACHINE
        "\",\"device\":\"cpu\",\"engine\":\"native\",\"precision\":\"fp32\",\"matmul_flops\":-1}\n"
        "{\"schema\":\"tokmark.machine/"
        "1\",\"what\":\"peak\",\"at\":\"@\",\"hardware_id\":\"" MACHINE
        "\",\"device\":\"cpu\",\"engine\":\"native\",\"matmul_flops\":1}\n",
        1);
    struct machine_book book = read_book();
    cr_expect_eq(book.bad_lines_count, 2);
    cr_expect_eq(book.peaks_count, 0);
    machine_book_release(&book);
}
