/* Nothing that was reported as stored is ever lost: the disk full at every byte, the writer killed
 * at every system call and at random times. */
#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#include "base/clock.h"
#include "base/random.h"
#include "kill_at_call.h"
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

TestSuite(store_crash, .init = set_up, .fini = tear_down);

static uint64_t size_of(const char *name)
{
    char path[FILE_PATH_BYTES];
    struct stat info;
    cr_assert_eq(stat(scratch_path(path, dir, name), &info), 0);
    return (uint64_t)info.st_size;
}

/* The largest file that may be written from now on. */
static void limit_files(uint64_t bytes)
{
    struct rlimit limit;
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes == 0 ? limit.rlim_max : bytes;
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* Appends `record` with room for 0, 1, ... all but one byte of what it adds to `name`. */
static void check_every_shortage(struct store *store, const struct record *record, const char *name,
                                 uint64_t added_bytes)
{
    cr_assert_neq(signal(SIGXFSZ, SIG_IGN), SIG_ERR);
    uint64_t jsonl_bytes = size_of(JSONL);
    uint64_t csv_bytes = size_of(CSV);
    uint64_t before = size_of(name);
    for (uint64_t room = 0; room < added_bytes; room++) {
        struct err err = {0};
        limit_files(before + room);
        enum status status = store_append(store, record, room % 64 == 0, &err);
        limit_files(0);
        cr_assert_eq(status, STATUS_IO, "room for %zu of %zu bytes", (size_t)room,
                     (size_t)added_bytes);
        cr_assert_not_null(strstr(err.text, name), "%s", err.text);
        cr_assert_not_null(strstr(err.text, "--resume"), "says what to do: %s", err.text);
        cr_assert_eq(size_of(JSONL), jsonl_bytes);
        cr_assert_eq(size_of(CSV), csv_bytes);
    }
    cr_assert_not(
        store_has_finished(store, "0123456789abcdef", "fedcba9876543210", 5, "00000000000000aa"));
    struct err err = {0};
    cr_assert_eq(store_append(store, record, false, &err), STATUS_OK, "%s", err.text);
    cr_assert(
        store_has_finished(store, "0123456789abcdef", "fedcba9876543210", 5, "00000000000000aa"));
    cr_assert_eq(size_of(name), before + added_bytes);
}

Test(store_crash, a_full_disk_leaves_no_part_of_a_line)
{
    struct store_facts facts;
    struct store *store = sample_open(dir, &facts);
    sample_append(store, 0, "ok");
    struct record *record = sample_record(5, "ok");
    struct buf line;
    buf_init(&line, RECORD_LINE_BYTES_MAX);
    record_format_json(record, &line);
    check_every_shortage(store, record, JSONL, line.length_bytes);
    buf_release(&line);
    record_free(record);
    store_close(store);
    cr_assert_eq(sample_check(dir, NULL, 0), 2);
}

Test(store_crash, a_full_disk_leaves_no_part_of_a_row_and_takes_the_line_back)
{
    struct store_facts facts;
    struct store *store = sample_open(dir, &facts);
    /* So many quotes that a row is longer than its line: the CSV meets the limit first. */
    struct buf command;
    buf_init(&command, 1 << 20);
    buf_append_text(&command, "[\"\"");
    for (int i = 0; i < 12000; i++)
        buf_append_text(&command, ",\"\"");
    buf_append_text(&command, "]");
    struct record *first = sample_record(0, "ok");
    record_set_json(first, FACT_COMMAND, command.data);
    cr_assert_eq(store_append(store, first, false, NULL), STATUS_OK);
    cr_assert(size_of(CSV) > size_of(JSONL) + 16384);
    struct record *record = sample_record(5, "ok");
    struct buf row;
    buf_init(&row, RECORD_ROW_BYTES_MAX);
    record_format_csv(record, &row);
    check_every_shortage(store, record, CSV, row.length_bytes);
    buf_release(&row);
    buf_release(&command);
    record_free(first);
    record_free(record);
    store_close(store);
    cr_assert_eq(sample_check(dir, NULL, 0), 2);
}

Test(store_crash, samples_are_whole_lines_on_a_full_disk_too)
{
    struct store_facts facts;
    struct store *store = sample_open(dir, &facts);
    static const char line[] = "{\"block\":0,\"ns\":[1,2,3]}";
    cr_assert_eq(store_append_samples(store, "abc", 0, line, sizeof(line) - 1, NULL), STATUS_OK);
    cr_assert_neq(signal(SIGXFSZ, SIG_IGN), SIG_ERR);
    for (uint64_t room = 0; room < sizeof(line); room++) {
        limit_files(sizeof(line) + room);
        enum status status = store_append_samples(store, "abc", 0, line, sizeof(line) - 1, NULL);
        limit_files(0);
        cr_assert_eq(status, STATUS_IO);
        cr_assert_eq(size_of("samples/abc.0.jsonl"), sizeof(line));
    }
    store_close(store);
}

/* What the child tells, in memory that outlives it. */
struct shared {
    volatile uint64_t stored_count;
    volatile uint64_t is_open;
};

static struct shared *share(void)
{
    void *memory = mmap(NULL, sizeof(struct shared), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(memory, MAP_FAILED);
    return memory;
}

/* Runs in the child: opens the folder and stores records until it is killed or has stored enough.
 */
static void store_many(uint64_t first_trial, uint64_t records_max, struct shared *shared)
{
    struct store *store = NULL;
    struct store_facts facts;
    if (store_open(dir, &store, &facts, NULL) != STATUS_OK)
        _exit(2);
    shared->is_open = 1;
    for (uint64_t i = 0; i < records_max; i++) {
        struct record *record = sample_record(first_trial + i, "ok");
        if (store_append(store, record, i % 2 == 1, NULL) != STATUS_OK ||
            store_append_samples(store, "abc", 0, "{\"ns\":[1]}", 10, NULL) != STATUS_OK)
            _exit(3);
        record_free(record);
        shared->stored_count++;
    }
    store_close(store);
    _exit(0);
}

/* Opens the folder again, as the next run does, and checks that trials count up without a gap. */
static uint64_t check_after_kill(void)
{
    struct store_facts facts;
    store_close(sample_open(dir, &facts));
    static uint64_t trials[1 << 16];
    size_t count = sample_check(dir, trials, ARRAY_COUNT(trials));
    cr_assert_eq(facts.records_count, count);
    cr_assert_eq(facts.bad_lines_count, 0);
    cr_assert_not(facts.is_csv_moved_aside);
    for (size_t i = 0; i < count; i++)
        cr_assert_eq(trials[i], i);
    return count;
}

Test(store_crash, killed_at_random_times_no_stored_record_is_lost, .timeout = 120)
{
    uint64_t stored = 0;
    uint64_t all_stored = 0;
    uint64_t key = 0x746F6B6D61726BULL;
    for (uint64_t round = 0; round < 50; round++) {
        if (round % 10 == 0) { /* every round reads all that is there */
            scratch_free(dir);
            scratch_new(dir);
            all_stored += stored;
            stored = 0;
        }
        struct shared *shared = share();
        pid_t pid = fork();
        cr_assert(pid >= 0);
        if (pid == 0)
            store_many(stored, UINT64_MAX, shared);
        while (shared->is_open == 0)
            (void)nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
        long wait_ns = (long)(random_at(key, round) % (8 * NS_PER_MS));
        (void)nanosleep(&(struct timespec){.tv_nsec = wait_ns}, NULL);
        cr_assert_eq(kill(pid, SIGKILL), 0);
        int status = 0;
        cr_assert_eq(waitpid(pid, &status, 0), pid);
        cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "round %zu", (size_t)round);
        uint64_t count = check_after_kill();
        cr_assert(count >= stored + shared->stored_count, "a stored record is gone");
        cr_assert(count <= stored + shared->stored_count + 1);
        stored = count;
        cr_assert_eq(munmap(shared, sizeof(*shared)), 0);
    }
    cr_assert(all_stored + stored > 50, "the test stored next to nothing");
}

/* A folder that a killed writer left: one record without its row, then a part of a line. */
static void make_broken_folder(void)
{
    scratch_free(dir);
    sample_folder(dir, 1);
    char *csv = scratch_read(dir, CSV, NULL);
    struct store_facts facts;
    struct store *store = sample_open(dir, &facts);
    sample_append(store, 1, "ok");
    cr_assert_eq(store_append_samples(store, "abc", 0, "{}", 2, NULL), STATUS_OK);
    store_close(store);
    scratch_write_text(dir, CSV, csv);
    free(csv);
    char path[FILE_PATH_BYTES];
    FILE *file = fopen(scratch_path(path, dir, JSONL), "ab");
    cr_assert_not_null(file);
    cr_assert(fputs("{\"framework\":\"nat", file) >= 0);
    cr_assert_eq(fclose(file), 0);
}

static void store_two(void *context)
{
    store_many(2, 2, context);
}

Test(store_crash, killed_at_every_system_call_no_stored_record_is_lost, .timeout = 240)
{
    bool is_whole_run = false;
    unsigned stops = 0;
    for (; !is_whole_run; stops++) {
        make_broken_folder();
        struct shared *shared = share();
        is_whole_run = kill_at_call(stops, store_two, shared);
        uint64_t count = check_after_kill();
        cr_assert(count >= 2 + shared->stored_count, "stop %u: a stored record is gone", stops);
        cr_assert(count <= 2 + shared->stored_count + 1, "stop %u", stops);
        char *samples = scratch_read(dir, "samples/abc.0.jsonl", NULL);
        cr_assert_eq(strncmp(samples, "{}\n", 3), 0);
        free(samples);
        cr_assert_eq(munmap(shared, sizeof(*shared)), 0);
    }
    cr_assert(stops > 50, "%u stops are too few for two records", stops);
}
