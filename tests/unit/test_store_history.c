#include <math.h>

#include "scratch.h"
#include "store/history.h"

#define ID    "0123456789abcdef"
#define OTHER "fedcba9876543210"

static char dir[FILE_PATH_BYTES];
static char path[FILE_PATH_BYTES];

static void set_up(void)
{
    scratch_new(dir);
    scratch_path(path, dir, HISTORY_NAME);
}

static void tear_down(void)
{
    scratch_free(dir);
}

TestSuite(store_history, .init = set_up, .fini = tear_down);

static struct history_book read_book(void)
{
    struct history_book book = {0};
    struct err err = {0};
    cr_assert_eq(history_book_read(path, &book, &err), STATUS_OK, "%s", err.text);
    return book;
}

static struct record *make_record(const char *verdict, const char *id, double ms, double half_ms)
{
    struct record *record = record_new();
    record_set_string(record, FACT_VERDICT, verdict);
    record_set_string(record, FACT_FRAMEWORK, "native");
    record_set_string(record, FACT_STARTED_AT, "2026-11-24T10:00:00.000Z");
    if (id != NULL)
        record_set_string(record, FACT_HISTORY_ID, id);
    record_set_double(record, FACT_MS_P50, ms);
    record_set_double(record, FACT_MS_P50_LOW, ms - half_ms);
    record_set_double(record, FACT_MS_P50_HIGH, ms + half_ms);
    return record;
}

static void append(const char *verdict, const char *id, double ms, double half_ms)
{
    struct err err = {0};
    struct record *record = make_record(verdict, id, ms, half_ms);
    cr_assert_eq(history_append(dir, record, &err), STATUS_OK, "%s", err.text);
    record_free(record);
}

Test(store_history, what_is_kept_comes_back)
{
    append("ok", ID, 10, 0.5);
    append("unsteady", OTHER, 20, NAN);
    append("ok", ID, 11, 0.25);
    struct history_book book = read_book();
    cr_assert_eq(book.count, 3);
    struct store_median medians[4];
    cr_assert_eq(history_book_find(&book, ID, 4, medians), 2);
    cr_expect(medians[0].ms == 10 && medians[0].ms_low == 9.5 && medians[0].ms_high == 10.5);
    cr_expect(medians[1].ms == 11 && medians[1].ms_low == 10.75);
    cr_assert_eq(history_book_find(&book, OTHER, 4, medians), 1);
    cr_expect(medians[0].ms == 20 && isnan(medians[0].ms_low) && isnan(medians[0].ms_high));
    cr_expect_eq(history_book_find(&book, "none", 4, medians), 0);
    history_book_release(&book);
}

Test(store_history, runs_of_an_earlier_version_are_runs_of_the_same_thing)
{
    append("ok", ID, 10, 0.5);
    append("ok", "h" ID, 11, 0.5);
    append("ok", "h" OTHER, 20, 0.5);
    append("ok", "x" ID, 30, 0.5); /* no id */
    struct history_book book = read_book();
    struct store_median medians[4];
    cr_expect_eq(book.count, 3);
    cr_assert_eq(history_book_find(&book, "h" ID, 4, medians), 2);
    cr_expect(medians[0].ms == 10 && medians[1].ms == 11);
    cr_expect_eq(history_book_find(&book, ID, 4, medians), 2);
    cr_expect_eq(history_book_find(&book, OTHER, 4, medians), 1);
    history_book_release(&book);
}

Test(store_history, the_newest_count)
{
    struct history_book book = {0};
    struct err err = {0};
    for (int i = 1; i <= 200; i++) {
        struct history_run run = {ID, {i, NAN, NAN}};
        struct history_run other = {OTHER, {-i, NAN, NAN}};
        cr_assert_eq(history_book_add(&book, &run, &err), STATUS_OK);
        cr_assert_eq(history_book_add(&book, &other, &err), STATUS_OK);
    }
    struct store_median medians[3];
    cr_assert_eq(history_book_find(&book, ID, 3, medians), 3);
    cr_expect(medians[0].ms == 198 && medians[1].ms == 199 && medians[2].ms == 200);
    history_book_release(&book);
}

Test(store_history, only_sound_medians_with_an_id_are_kept)
{
    append("invalid", ID, 10, 1);
    append("ok", NULL, 10, 1);
    append("ok", ID, 0, 0);
    append("ok", ID, NAN, NAN);
    cr_expect_not(file_exists(path));
}

Test(store_history, no_file_and_no_folder_are_no_runs)
{
    struct history_book book = read_book();
    cr_expect_eq(book.count, 0);
    struct err err = {0};
    cr_expect_eq(history_book_read("/dev/null/history.jsonl", &book, &err), STATUS_OK);
    cr_expect_eq(history_book_read(dir, &book, &err), STATUS_IO, "a folder");
}

#define LINE(id, rest) "{\"schema\":\"tokmark.history/1\",\"history_id\":\"" id "\"," rest "}\n"

Test(store_history, lines_that_are_no_runs_are_skipped)
{
    scratch_write_text(
        dir, HISTORY_NAME,
        "\n"
        "not JSON\n"
        "[]\n"
        "{\"schema\":\"tokmark.history/2\",\"history_id\":\"" ID
        "\",\"ms\":1}\n" LINE("short", "\"ms\":1") LINE(ID, "\"ms\":\"1\"") LINE(ID, "\"ms\":0")
            LINE(ID, "\"ms\":-1") LINE(ID, "\"ms\":1e300") LINE(ID, "\"ms\":1")
                LINE(ID, "\"ms\":1,\"ms_low\":0.5,\"ms_high\":null")
                    LINE(ID, "\"ms\":1,\"ms_low\":2,\"ms_high\":3") LINE(
                        ID, "\"ms\":1,\"ms\":2,\"ms_low\":null,\"ms_high\":null")
                        LINE(ID, "\"ms\":7,\"ms_low\":null,\"ms_high\":null") LINE(
                            ID, "\"ms\":8,\"ms_low\":7,\"ms_high\":9") "{\"schema\":\"tokmark."
                                                                       "history/1\",\"history_");
    struct history_book book = read_book();
    struct store_median medians[4];
    cr_assert_eq(history_book_find(&book, ID, 4, medians), 2);
    cr_expect_eq(book.count, 2);
    cr_expect(medians[0].ms == 7 && medians[1].ms_high == 9);
    history_book_release(&book);
    append("ok", ID, 10, 1);
    book = read_book();
    cr_expect_eq(book.count, 3, "a torn end is cut off before the next line");
    history_book_release(&book);
}
