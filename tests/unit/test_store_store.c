#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/wait.h>

#include "result_record_sample.h"

#define JSONL "bench_results.jsonl"
#define CSV   "bench_results.csv"

static char dir[FILE_PATH_BYTES];

static void set_up(void)
{
    scratch_new(dir);
}

static void tear_down(void)
{
    scratch_free(dir);
}

TestSuite(store_store, .init = set_up, .fini = tear_down);

Test(store_store, a_new_folder_is_made_with_both_files)
{
    char path[FILE_PATH_BYTES];
    struct store_facts facts;
    struct store *store = sample_open(scratch_path(path, dir, "a/b//c/"), &facts);
    cr_assert_eq(facts.records_count, 0);
    cr_assert_eq(facts.torn_bytes, 0);
    cr_assert_eq(facts.bad_lines_count, 0);
    cr_assert_not(facts.is_csv_remade);
    cr_assert_not(facts.is_csv_moved_aside);
    for (uint64_t i = 0; i < 3; i++)
        sample_append(store, i, "ok");
    store_close(store);
    cr_assert_eq(sample_check(path, NULL, 0), 3);
    store = sample_open(path, &facts);
    cr_assert_eq(facts.records_count, 3);
    cr_assert_not(facts.is_csv_remade, "a CSV that matches is left alone");
    store_close(store);
    store_close(NULL);
}

Test(store_store, durable_records_are_the_same_records)
{
    struct store_facts facts;
    struct store *store = sample_open(dir, &facts);
    struct record *record = sample_record(7, "ok");
    struct err err = {0};
    cr_assert_eq(store_append(store, record, true, &err), STATUS_OK, "%s", err.text);
    record_free(record);
    store_close(store);
    cr_assert_eq(sample_check(dir, NULL, 0), 1);
}

/* Cuts at every byte of the two ends of `length` bytes, and at every seventh between them: 10 KB
 * are much alike. */
static bool is_tried(size_t cut, size_t length)
{
    const size_t end_bytes = 64;
    return cut < end_bytes || cut + end_bytes >= length || cut % 7 == 0;
}

Test(store_store, a_last_line_torn_at_any_byte_is_cut_off)
{
    sample_folder(dir, 2);
    size_t length = 0;
    char *whole = scratch_read(dir, JSONL, &length);
    size_t last = length - 1;
    while (whole[last - 1] != '\n')
        last--;
    for (size_t keep = last; keep < length; keep++) {
        if (!is_tried(keep - last, length - last))
            continue;
        scratch_write(dir, JSONL, whole, keep);
        char path[FILE_PATH_BYTES];
        cr_assert_eq(unlink(scratch_path(path, dir, CSV)), 0);
        struct store_facts facts;
        struct store *store = sample_open(dir, &facts);
        cr_assert_eq(facts.records_count, 1, "%zu of %zu bytes", keep - last, length - last);
        cr_assert_eq(facts.torn_bytes, keep - last);
        sample_append(store, 9, "ok");
        store_close(store);
        uint64_t trials[2] = {77, 77};
        cr_assert_eq(sample_check(dir, trials, 2), 2);
        cr_assert(trials[0] == 0 && trials[1] == 9);
    }
    free(whole);
}

Test(store_store, whole_lines_that_are_no_record_are_kept_and_counted)
{
    sample_folder(dir, 1);
    size_t length = 0;
    char *record_line = scratch_read(dir, JSONL, &length);
    struct buf text;
    buf_init(&text, 16 << 20);
    buf_append_text(&text, "not json\n\n");
    buf_append(&text, record_line, length);
    buf_append_text(&text, "{\"schema\":99}\n");
    for (size_t i = 0; i < RECORD_LINE_BYTES_MAX + 10; i++)
        buf_append_char(&text, 'x');
    buf_append_text(&text, "\n{\"schema\":1,\n");
    scratch_write(dir, JSONL, text.data, text.length_bytes);
    struct store_facts facts;
    struct store *store = sample_open(dir, &facts);
    cr_assert_eq(facts.records_count, 1);
    cr_assert_eq(facts.bad_lines_count, 5);
    cr_assert_eq(facts.torn_bytes, 0);
    cr_assert_not(facts.is_csv_remade);
    store_close(store);
    size_t after = 0;
    char *kept = scratch_read(dir, JSONL, &after);
    cr_assert_eq(after, text.length_bytes);
    cr_assert_eq(memcmp(kept, text.data, after), 0);
    free(kept);
    free(record_line);
    buf_release(&text);
}

Test(store_store, the_csv_is_remade_when_it_differs_anywhere)
{
    sample_folder(dir, 1);
    size_t length = 0;
    char *good = scratch_read(dir, CSV, &length);
    for (size_t i = 0; i <= length; i++) {
        if (!is_tried(i, length))
            continue;
        if (i < length)
            scratch_write(dir, CSV, good, i);
        struct store_facts facts;
        struct store *store = sample_open(dir, &facts);
        cr_assert_eq(facts.is_csv_remade, i < length, "cut at %zu of %zu", i, length);
        cr_assert_not(facts.is_csv_moved_aside, "cut at %zu of %zu", i, length);
        store_close(store);
        cr_assert_eq(sample_check(dir, NULL, 0), 1);
    }
    char path[FILE_PATH_BYTES];
    cr_assert_eq(unlink(scratch_path(path, dir, CSV)), 0);
    struct store_facts facts;
    store_close(sample_open(dir, &facts));
    cr_assert(facts.is_csv_remade);
    good[length - 5] ^= 1;
    scratch_write(dir, CSV, good, length);
    store_close(sample_open(dir, &facts));
    cr_assert(facts.is_csv_remade);
    cr_assert_eq(sample_check(dir, NULL, 0), 1);
    free(good);
}

Test(store_store, a_csv_with_more_than_its_jsonl_is_moved_aside_not_overwritten)
{
    sample_folder(dir, 2);
    char *csv = scratch_read(dir, CSV, NULL);
    char path[FILE_PATH_BYTES];
    cr_assert_eq(unlink(scratch_path(path, dir, JSONL)), 0);
    struct store_facts facts;
    store_close(sample_open(dir, &facts));
    cr_assert(facts.is_csv_remade);
    cr_assert(facts.is_csv_moved_aside);
    char *aside = scratch_read(dir, CSV ".orig", NULL);
    cr_assert_str_eq(aside, csv);
    cr_assert_eq(sample_check(dir, NULL, 0), 0);
    free(aside);
    free(csv);
}

/* As the published scripts wrote them: 15 fields, no `schema`, and a naive CSV. */
#define PUBLISHED_HEADER                                                                    \
    "framework,device,precision,mode,seq_len,batch_size,steps,tokens_per_step,ms_per_step," \
    "tokens_per_sec,mem_alloc_mb,mem_reserved_mb,peak_mem_mb,params_millions,notes"
#define PUBLISHED_LINE \
    "{\"framework\": \"pytorch\", \"device\": \"cuda:0\", \"seq_len\": 128, \"notes\": \"\"}"

Test(store_store, published_results_are_kept_beside_ours)
{
    static const char csv[] = PUBLISHED_HEADER "\r\npytorch,cuda:0,bf16,train,128,8\r\n";
    scratch_write_text(dir, JSONL, PUBLISHED_LINE "\n" PUBLISHED_LINE "\n");
    scratch_write_text(dir, CSV, csv);
    struct store_facts facts;
    struct store *store = sample_open(dir, &facts);
    cr_assert_eq(facts.records_count, 0);
    cr_assert_eq(facts.bad_lines_count, 2);
    cr_assert(facts.is_csv_remade);
    cr_assert(facts.is_csv_moved_aside);
    sample_append(store, 0, "ok");
    store_close(store);
    char *aside = scratch_read(dir, CSV ".orig", NULL);
    cr_assert_str_eq(aside, csv);
    free(aside);
    char *jsonl = scratch_read(dir, JSONL, NULL);
    static const char kept[] = PUBLISHED_LINE "\n" PUBLISHED_LINE "\n{";
    cr_assert_eq(strncmp(jsonl, kept, sizeof(kept) - 1), 0);
    free(jsonl);
    store_close(sample_open(dir, &facts));
    cr_assert_eq(facts.records_count, 1);
    cr_assert_not(facts.is_csv_moved_aside, "only once");

    /* The same again: the first one that was moved aside stays. */
    scratch_write_text(dir, CSV, PUBLISHED_HEADER "\n");
    store_close(sample_open(dir, &facts));
    cr_assert(facts.is_csv_moved_aside);
    aside = scratch_read(dir, CSV ".orig", NULL);
    cr_assert_str_eq(aside, csv);
    free(aside);
    aside = scratch_read(dir, CSV ".orig.1", NULL);
    cr_assert_str_eq(aside, PUBLISHED_HEADER "\n");
    free(aside);
}

Test(store_store, a_foreign_last_line_without_its_end_is_not_torn)
{
    scratch_write_text(dir, JSONL, PUBLISHED_LINE);
    struct store_facts facts;
    struct store *store = sample_open(dir, &facts);
    cr_assert_eq(facts.bad_lines_count, 1);
    cr_assert_eq(facts.torn_bytes, 0);
    sample_append(store, 0, "ok");
    store_close(store);
    char *jsonl = scratch_read(dir, JSONL, NULL);
    cr_assert_eq(strncmp(jsonl, PUBLISHED_LINE "\n{", strlen(PUBLISHED_LINE) + 2), 0);
    free(jsonl);
}

Test(store_store, a_csv_of_an_earlier_version_is_remade_in_place)
{
    sample_folder(dir, 1);
    scratch_write_text(dir, CSV, PUBLISHED_HEADER ",schema,run_id\nx\n");
    struct store_facts facts;
    store_close(sample_open(dir, &facts));
    cr_assert(facts.is_csv_remade);
    cr_assert_not(facts.is_csv_moved_aside);
    cr_assert_eq(sample_check(dir, NULL, 0), 1);
}

Test(store_store, a_second_writer_is_told_who_has_the_folder)
{
    int ready[2];
    int done[2];
    cr_assert_eq(pipe(ready), 0);
    cr_assert_eq(pipe(done), 0);
    pid_t pid = fork();
    cr_assert(pid >= 0);
    if (pid == 0) {
        struct store *held = NULL;
        struct store_facts held_facts;
        bool is_open = store_open(dir, &held, &held_facts, NULL) == STATUS_OK;
        char byte = is_open ? 'y' : 'n';
        (void)close(done[1]);
        bool is_told = write(ready[1], &byte, 1) == 1 && read(done[0], &byte, 1) == 0;
        _exit(is_told ? 0 : 1); /* without store_close(): the kernel gives the lock back */
    }
    (void)close(done[0]);
    char byte = 0;
    cr_assert_eq(read(ready[0], &byte, 1), 1);
    cr_assert_eq(byte, 'y');
    struct store *store = NULL;
    struct store_facts facts = {.records_count = 77};
    struct err err = {0};
    cr_assert_eq(store_open(dir, &store, &facts, &err), STATUS_BUSY);
    char holder[32];
    (void)snprintf(holder, sizeof(holder), "process %ld;", (long)pid);
    cr_assert_not_null(strstr(err.text, holder), "%s", err.text);
    cr_assert_not_null(strstr(err.text, dir), "%s", err.text);
    cr_assert_null(store);
    cr_assert_eq(facts.records_count, 77, "untouched on failure");
    (void)close(done[1]);
    int status = 0;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert_eq(status, 0);
    store = sample_open(dir, &facts);
    struct store *second = NULL;
    cr_assert_eq(store_open(dir, &second, &facts, NULL), STATUS_BUSY, "nor twice in one process");
    store_close(store);
    store_close(sample_open(dir, &facts));
}

Test(store_store, resume_knows_finished_cells_old_and_new)
{
    static const char cell[] = "0123456789abcdef";
    static const char policy[] = "fedcba9876543210";
    static const char environment[] = "00000000000000aa";
    struct store_facts facts;
    struct store *store = sample_open(dir, &facts);
    cr_assert_not(store_has_finished(store, cell, policy, 0, environment));
    static const char *const verdicts[] = {"ok",      "unsteady", "invalid",        "unsupported",
                                           "oom",     "timeout",  "crashed",        "interrupted",
                                           "no_word", "",         "protocol_error", "ok"};
    for (uint64_t i = 0; i < ARRAY_COUNT(verdicts); i++)
        sample_append(store, i, verdicts[i]);
    for (int round = 0; round < 2; round++) {
        for (uint64_t i = 0; i < ARRAY_COUNT(verdicts); i++)
            cr_assert_eq(store_has_finished(store, cell, policy, i, environment), i < 5 || i == 11,
                         "%s", verdicts[i]);
        cr_assert_not(store_has_finished(store, cell, policy, 99, environment));
        cr_assert_not(store_has_finished(store, "0123456789abcdee", policy, 0, environment));
        cr_assert_not(store_has_finished(store, cell, "", 0, environment));
        cr_assert_not(store_has_finished(store, cell, "fedcba9876543211", 0, environment));
        cr_assert_not(store_has_finished(store, cell, policy, 0, "00000000000000ab"));
        cr_assert_not(
            store_has_finished(store, "0123456789abcde", "ffedcba9876543210", 0, environment));
        store_close(store);
        store = sample_open(dir, &facts);
        cr_assert_eq(facts.records_count, ARRAY_COUNT(verdicts));
    }
    store_close(store);
}

Test(store_store, the_index_holds_many)
{
    struct store_facts facts;
    struct store *store = sample_open(dir, &facts);
    for (uint64_t i = 0; i < 300; i++)
        sample_append(store, i * 3, "ok");
    for (uint64_t i = 0; i < 900; i++)
        cr_assert_eq(store_has_finished(store, "0123456789abcdef", "fedcba9876543210", i,
                                        "00000000000000aa"),
                     i % 3 == 0);
    store_close(store);
}

Test(store_store, a_record_over_the_limit_is_refused_and_nothing_is_written)
{
    struct store_facts facts;
    struct store *store = sample_open(dir, &facts);
    sample_append(store, 0, "ok");
    char *text = malloc(RECORD_LINE_BYTES_MAX + 1);
    memset(text, '"', RECORD_LINE_BYTES_MAX);
    text[RECORD_LINE_BYTES_MAX] = '\0';
    struct record *record = sample_record(1, "ok");
    record_set_string(record, FACT_LOG_TAIL, text);
    struct err err = {0};
    cr_assert_eq(store_append(store, record, false, &err), STATUS_LIMIT);
    cr_assert_not_null(strstr(err.text, "log_tail"), "%s", err.text);
    /* Half of that fits: each quote takes two bytes in both files. */
    text[RECORD_LINE_BYTES_MAX / 2 - 16384] = '\0';
    record_set_string(record, FACT_LOG_TAIL, text);
    err = (struct err){0};
    cr_assert_eq(store_append(store, record, false, &err), STATUS_OK, "%s", err.text);
    store_close(store);
    cr_assert_eq(sample_check(dir, NULL, 0), 2);
    store_close(sample_open(dir, &facts));
    cr_assert_eq(facts.records_count, 2);
    cr_assert_not(facts.is_csv_remade);
    free(text);
    record_free(record);
}

Test(store_store, samples_are_appended_and_a_torn_end_is_cut)
{
    struct store_facts facts;
    struct store *store = sample_open(dir, &facts);
    struct err err = {0};
    char path[FILE_PATH_BYTES];
    cr_assert_not(file_exists(scratch_path(path, dir, "samples")), "made when needed");
    cr_assert_eq(store_append_samples(store, "abc", 0, "{\"block\":0}", 11, &err), STATUS_OK);
    cr_assert_eq(store_append_samples(store, "abc", 1, "{\"block\":7}\n", 12, &err), STATUS_OK);
    cr_assert_eq(store_append_samples(store, "abc", 0, "{\"block\":1}", 11, &err), STATUS_OK);
    store_close(store);
    char *text = scratch_read(dir, "samples/abc.0.jsonl", NULL);
    cr_assert_str_eq(text, "{\"block\":0}\n{\"block\":1}\n");
    free(text);
    scratch_write_text(dir, "samples/abc.0.jsonl", "{\"block\":0}\n{\"blo");
    store = sample_open(dir, &facts);
    cr_assert_eq(store_append_samples(store, "abc", 0, "{\"block\":2}", 11, &err), STATUS_OK);
    text = scratch_read(dir, "samples/abc.0.jsonl", NULL);
    cr_assert_str_eq(text, "{\"block\":0}\n{\"block\":2}\n");
    free(text);
    text = scratch_read(dir, "samples/abc.1.jsonl", NULL);
    cr_assert_str_eq(text, "{\"block\":7}\n");
    free(text);
    static const char *const bad_ids[] = {"", "..", "../x", "a/b", ".x", "a b"};
    for (size_t i = 0; i < ARRAY_COUNT(bad_ids); i++) {
        cr_assert_eq(store_append_samples(store, bad_ids[i], 0, "{}", 2, NULL), STATUS_INVALID);
        cr_assert_eq(store_log_path(store, bad_ids[i], path, sizeof(path), NULL), STATUS_INVALID);
    }
    cr_assert_eq(store_append_samples(store, "abc", 0, "a\nb", 3, NULL), STATUS_INVALID);
    cr_assert_eq(store_append_samples(store, "abc", 0, "\n", 1, NULL), STATUS_INVALID);
    store_close(store);
}

Test(store_store, a_log_path_is_in_a_folder_that_exists)
{
    struct store_facts facts;
    struct store *store = sample_open(dir, &facts);
    char wanted[FILE_PATH_BYTES];
    char path[FILE_PATH_BYTES];
    struct err err = {0};
    cr_assert_eq(store_log_path(store, "abc", path, sizeof(path), &err), STATUS_OK, "%s", err.text);
    cr_assert_str_eq(path, scratch_path(wanted, dir, "logs/abc.log"));
    scratch_write_text(dir, "logs/abc.log", "x");
    cr_assert_eq(store_log_path(store, "abc", path, 5, NULL), STATUS_LIMIT);
    store_close(store);
}

/* Refused with STATUS_IO and one line that names `word`. */
static void check_refused(const char *path, const char *word)
{
    struct store *store = NULL;
    struct store_facts facts;
    struct err err = {0};
    cr_assert_eq(store_open(path, &store, &facts, &err), STATUS_IO, "%s", path);
    cr_assert_null(store);
    cr_assert_not_null(strstr(err.text, word), "%s", err.text);
    cr_assert_null(strchr(err.text, '\n'));
}

Test(store_store, places_that_cannot_be_a_folder_are_refused)
{
    char path[FILE_PATH_BYTES];
    scratch_write_text(dir, "file", "x");
    check_refused(scratch_path(path, dir, "file"), "not a folder");
    check_refused(scratch_path(path, dir, "file/below"), "Not a directory");
    check_refused("/proc/tokmark-test", "/proc/tokmark-test");
    check_refused("/proc/self", "/proc/self");
    struct store *store = NULL;
    struct store_facts facts;
    cr_assert_eq(store_open("", &store, &facts, NULL), STATUS_INVALID);
}

Test(store_store, files_that_are_no_plain_files_are_refused)
{
    char path[FILE_PATH_BYTES];
    cr_assert_eq(mkfifo(scratch_path(path, dir, JSONL), 0600), 0);
    check_refused(dir, "not a plain file");
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(mkfifo(scratch_path(path, dir, CSV), 0600), 0);
    check_refused(dir, "not a plain file");
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(unlink(scratch_path(path, dir, JSONL)), 0);
    cr_assert_eq(mkdir(path, 0700), 0);
    check_refused(dir, JSONL);
}

Test(store_store, a_folder_without_permission_is_refused)
{
    if (geteuid() == 0) {
        /* Root may write anywhere; a process without root's rights may not. */
        cr_assert_eq(chmod(dir, 0755), 0);
        cr_assert_eq(setegid(65534), 0);
        cr_assert_eq(seteuid(65534), 0);
    } else {
        cr_assert_eq(chmod(dir, 0555), 0);
    }
    check_refused(dir, "Permission denied");
    char path[FILE_PATH_BYTES];
    check_refused(scratch_path(path, dir, "new"), "Permission denied");
    if (getuid() == 0) {
        cr_assert_eq(seteuid(0), 0);
        cr_assert_eq(setegid(0), 0);
    } else {
        cr_assert_eq(chmod(dir, 0755), 0);
    }
}

static struct record *timed_record(uint64_t trial, const char *verdict, double ms)
{
    struct record *record = sample_record(trial, verdict);
    record_set_double(record, FACT_MS_P50, ms);
    record_set_double(record, FACT_MS_P50_LOW, ms * 0.9);
    return record;
}

static void append_timed(struct store *store, uint64_t trial, const char *verdict, double ms)
{
    struct record *record = timed_record(trial, verdict, ms);
    cr_assert_eq(store_append(store, record, true, NULL), STATUS_OK);
    record_free(record);
}

static double find_median(const struct store *store, uint64_t trial)
{
    struct store_median median = {-1, -1, -1};
    bool is_there = store_find_median(store, "0123456789abcdef", "fedcba9876543210", trial,
                                      "00000000000000aa", &median);
    cr_expect_eq(is_there, median.ms > 0);
    if (is_there)
        cr_expect(median.ms_low == median.ms * 0.9 && isnan(median.ms_high));
    return median.ms;
}

Test(store_store, the_medians_of_sound_trials_are_found_again)
{
    struct store_facts facts;
    struct store *store = sample_open(dir, &facts);
    append_timed(store, 0, "ok", 2);
    append_timed(store, 1, "unsteady", 3);
    append_timed(store, 2, "invalid", 4);
    append_timed(store, 3, "crashed", 5);
    append_timed(store, 4, "ok", 0);
    append_timed(store, 5, "ok", 6);
    append_timed(store, 5, "ok", 7);
    append_timed(store, 6, "ok", 8);
    append_timed(store, 6, "oom", 8);
    static const double wanted[] = {2, 3, -1, -1, -1, 7, -1, -1};
    for (int round = 0; round < 2; round++) {
        for (uint64_t i = 0; i < ARRAY_COUNT(wanted); i++)
            cr_expect_eq(find_median(store, i), wanted[i], "trial %" PRIu64, i);
        store_close(store);
        store = sample_open(dir, &facts);
    }
    store_close(store);
}

static bool is_unsteady(const struct store *store)
{
    return store_is_unsteady(store, "0123456789abcdef", "fedcba9876543210", 0, "00000000000000aa");
}

Test(store_store, the_newest_record_says_whether_a_cell_is_unsteady)
{
    struct store_facts facts;
    struct store *store = sample_open(dir, &facts);
    static const char *const verdicts[] = {"ok", "unsteady", "ok", "unsteady"};
    cr_expect_not(is_unsteady(store));
    for (size_t i = 0; i < ARRAY_COUNT(verdicts); i++) {
        append_timed(store, 0, verdicts[i], 2);
        cr_expect_eq(is_unsteady(store), i % 2 == 1, "after %zu", i);
        store_close(store);
        store = sample_open(dir, &facts);
        cr_expect_eq(is_unsteady(store), i % 2 == 1, "opened again after %zu", i);
    }
    store_close(store);
}

Test(store_store, a_canary_cell_is_kept_apart)
{
    struct store_facts facts;
    struct store *store = sample_open(dir, &facts);
    sample_append(store, 0, "ok");
    store_set_canary(store, true);
    sample_append(store, 1, "ok");
    cr_assert_eq(store_append_samples(store, "0123456789abcdef", 1, "{}", 2, NULL), STATUS_OK);
    store_set_canary(store, false);
    sample_append(store, 2, "ok");
    cr_expect_eq(find_median(store, 1), -1);
    store_close(store);
    uint64_t trials[3] = {0};
    cr_expect_eq(sample_check(dir, trials, 3), 2);
    cr_expect(trials[0] == 0 && trials[1] == 2);
    char *text = scratch_read(dir, "sentinel.jsonl", NULL);
    cr_assert_not_null(text);
    cr_expect_not_null(strstr(text, "\"trial\":1,"));
    cr_expect_eq(strchr(text, '\n')[1], '\0', "one line");
    free(text);
    text = scratch_read(dir, "samples/0123456789abcdef.sentinel.1.jsonl", NULL);
    cr_assert_not_null(text);
    free(text);
}
