#include "scratch.h"
#include "store/noise.h"

static char dir[FILE_PATH_BYTES];
static char path[FILE_PATH_BYTES];

static void set_up(void)
{
    scratch_new(dir);
    scratch_path(path, dir, NOISE_NAME);
}

static void tear_down(void)
{
    scratch_free(dir);
}

TestSuite(store_noise, .init = set_up, .fini = tear_down);

static struct cell make_cell(uint32_t seq_len, enum cell_mode mode)
{
    struct cell cell = {.seq_len = seq_len, .batch_size = 4, .mode = mode};
    (void)snprintf(cell.engine, sizeof(cell.engine), "native");
    (void)snprintf(cell.device, sizeof(cell.device), "cpu");
    (void)snprintf(cell.model.name, sizeof(cell.model.name), "tiny");
    return cell;
}

static void append(uint32_t seq_len, enum cell_mode mode, const char *environment_id,
                   double floor_percent)
{
    struct cell cell = make_cell(seq_len, mode);
    struct noise_entry entry = {.floor_percent = floor_percent,
                                .repeats_count = 2,
                                .log_ratios = {0.01, -0.02},
                                .at = "2026-11-23T00:00:00.000Z",
                                .version = "0.1.0"};
    struct err err = {0};
    noise_entry_take_cell(&entry, &cell);
    (void)snprintf(entry.environment_id, sizeof(entry.environment_id), "%s", environment_id);
    cr_assert_eq(noise_append(dir, &entry, &err), STATUS_OK, "%s", err.text);
}

static struct noise_book read_book(void)
{
    struct noise_book book;
    struct err err = {0};
    cr_assert_eq(noise_book_read(path, &book, &err), STATUS_OK, "%s", err.text);
    return book;
}

static double find(const struct noise_book *book, const char *id, uint32_t seq_len,
                   enum cell_mode mode)
{
    struct cell cell = make_cell(seq_len, mode);
    const struct noise_entry *entry = noise_book_find(book, id, &cell);
    return entry != NULL ? entry->floor_percent : -1;
}

Test(store_noise, what_is_appended_is_read_again)
{
    append(128, CELL_MODE_INFER, "e1", 1.25);
    struct noise_book book = read_book();
    cr_assert_eq(book.count, 1);
    const struct noise_entry *entry = &book.entries[0];
    cr_expect_str_eq(entry->engine, "native");
    cr_expect_str_eq(entry->device, "cpu");
    cr_expect_str_eq(entry->mode, "infer");
    cr_expect_str_eq(entry->precision, "fp32");
    cr_expect_str_eq(entry->model, "tiny");
    cr_expect_str_eq(entry->environment_id, "e1");
    cr_expect_str_eq(entry->version, "0.1.0");
    cr_expect_eq(entry->seq_len, 128);
    cr_expect_eq(entry->batch_size, 4);
    cr_expect_eq(entry->floor_percent, 1.25);
    cr_expect_eq(entry->repeats_count, 2);
    cr_expect_eq(entry->log_ratios[1], -0.02);
    noise_book_release(&book);
}

Test(store_noise, newest_of_the_cell_else_largest_of_the_kind)
{
    append(128, CELL_MODE_INFER, "e1", 9);
    append(128, CELL_MODE_INFER, "e1", 1);
    append(256, CELL_MODE_INFER, "e1", 3);
    append(512, CELL_MODE_INFER, "e1", 2);
    append(128, CELL_MODE_TRAIN, "e1", 7);
    append(128, CELL_MODE_INFER, "e2", 8);
    struct noise_book book = read_book();
    cr_expect_eq(find(&book, "e1", 128, CELL_MODE_INFER), 1, "the newest");
    cr_expect_eq(find(&book, "e1", 64, CELL_MODE_INFER), 3, "the largest that is not outdated");
    cr_expect_eq(find(&book, "e1", 64, CELL_MODE_TRAIN), 7);
    cr_expect_eq(find(&book, "e1", 64, CELL_MODE_DECODE), -1);
    cr_expect_eq(find(&book, "e2", 128, CELL_MODE_INFER), 8);
    cr_expect_eq(find(&book, "e3", 128, CELL_MODE_INFER), -1);
    cr_expect_not(noise_book_is_newest(&book, 0));
    cr_expect(noise_book_is_newest(&book, 1));
    noise_book_release(&book);
}

Test(store_noise, no_file_is_no_entries)
{
    struct noise_book book = read_book();
    cr_assert_eq(book.count, 0);
    cr_assert_eq(find(&book, "e1", 128, CELL_MODE_INFER), -1);
}

/* The last entry's line with one thing changed. */
#define LINE(at, floor, seq, ratios)                                                            \
    "{\"schema\":\"tokmark.noise/1\",\"at\":" at ",\"version\":\"1\",\"environment_id\":\"e\"," \
    "\"engine\":\"native\",\"device\":\"cpu\",\"mode\":\"infer\",\"precision\":\"fp32\","       \
    "\"model\":\"tiny\",\"seq_len\":" seq ",\"batch_size\":4,\"floor_percent\":" floor          \
    ",\"log_ratios\":" ratios "}\n"

Test(store_noise, lines_that_are_no_entries_are_skipped_and_counted)
{
    static const char bad[] =
        "garbage\n\n[]\n{}\n{\"schema\":\"tokmark.noise/1\"}\n\xff\xfe\n" LINE(
            "3", "1.0", "128", "[0.1]") LINE("\"t\"", "-1.0", "128", "[0.1]")
            LINE("\"t\"", "\"1\"", "128", "[0.1]") LINE("\"t\"", "1e300", "128", "[0.1]")
                LINE("\"t\"", "1.0", "0", "[0.1]") LINE("\"t\"", "1.0", "99999999999", "[0.1]")
                    LINE("\"t\"", "1.0", "128", "[]") LINE("\"t\"", "1.0", "128", "[null]")
                        LINE("\"0123456789012345678901234567890123456789\"", "1.0", "128", "[0.1]");
    static const char good[] = LINE("\"t\"", "1.5", "128", "[0.1]");
    static const char torn[] = "{\"schema\":\"tokmark.no";
    char text[sizeof(bad) + sizeof(good) + sizeof(torn)];
    (void)snprintf(text, sizeof(text), "%s%s%s", bad, good, torn);
    scratch_write_text(dir, NOISE_NAME, text);
    struct noise_book book = read_book();
    cr_assert_eq(book.count, 1);
    cr_assert_eq(book.bad_lines_count, 15);
    cr_assert_eq(find(&book, "e", 128, CELL_MODE_INFER), 1.5);
    noise_book_release(&book);
    append(128, CELL_MODE_INFER, "e", 2.5); /* cuts the torn end off first */
    book = read_book();
    cr_assert_eq(book.count, 2);
    cr_assert_eq(book.bad_lines_count, 15);
    cr_assert_eq(find(&book, "e", 128, CELL_MODE_INFER), 2.5);
    noise_book_release(&book);
}

Test(store_noise, a_folder_of_that_name_is_an_error)
{
    struct noise_book book;
    struct err err = {0};
    cr_assert_eq(mkdir(path, 0777), 0);
    cr_assert_eq(noise_book_read(path, &book, &err), STATUS_IO);
    cr_assert_not_null(strstr(err.text, NOISE_NAME));
}
