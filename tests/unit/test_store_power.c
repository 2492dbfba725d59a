/* A power cut after every append: what was not synced is gone, what was reported as durable is not.
 */
#include <errno.h>

#include "result_record_sample.h"
#include "store/journal.h"

/* The disk as it would be found: bytes of each file that were synced, and whether its name was. */
struct disk_file {
    dev_t dev;
    ino_t ino;
    off_t synced_bytes;
};

static struct disk_file disk[8];
static size_t disk_count;
static size_t dir_syncs_count;
static int sync_error; /* what the next calls say */
static bool is_simulated;

static struct disk_file *disk_find(const struct stat *info)
{
    for (size_t i = 0; i < disk_count; i++)
        if (disk[i].dev == info->st_dev && disk[i].ino == info->st_ino)
            return &disk[i];
    cr_assert_lt(disk_count, ARRAY_COUNT(disk));
    disk[disk_count] = (struct disk_file){.dev = info->st_dev, .ino = info->st_ino};
    return &disk[disk_count++];
}

static void note_sync(int fd)
{
    struct stat info;
    cr_assert_eq(fstat(fd, &info), 0);
    if (S_ISDIR(info.st_mode))
        dir_syncs_count++;
    else
        disk_find(&info)->synced_bytes = info.st_size;
}

/* tests/CMakeLists.txt puts these in the functions' place; for other suites they are the functions.
 */
int __real_fdatasync(int fd);
int __real_fsync(int fd);

static int sync_by(int (*real)(int fd), int fd)
{
    if (!is_simulated)
        return real(fd);
    errno = sync_error;
    if (sync_error == 0)
        note_sync(fd);
    return sync_error == 0 ? 0 : -1;
}

int __wrap_fdatasync(int fd)
{
    return sync_by(__real_fdatasync, fd);
}

int __wrap_fsync(int fd)
{
    return sync_by(__real_fsync, fd);
}

static char dir[FILE_PATH_BYTES];

static void set_up(void)
{
    scratch_new(dir);
    is_simulated = true;
}

static void tear_down(void)
{
    scratch_free(dir);
}

TestSuite(store_power, .init = set_up, .fini = tear_down);

/* Bytes of DIR/NAME that a power cut would take. */
static off_t lost_bytes(const char *name)
{
    char path[FILE_PATH_BYTES];
    struct stat info;
    cr_assert_eq(stat(scratch_path(path, dir, name), &info), 0);
    return info.st_size - disk_find(&info)->synced_bytes;
}

static enum status append(struct store *store, uint64_t trial, bool is_durable)
{
    struct record *record = sample_record(trial, "ok");
    enum status status = store_append(store, record, is_durable, NULL);
    record_free(record);
    return status;
}

Test(store_power, a_durable_record_is_there_after_a_power_cut)
{
    struct store_facts facts;
    struct store *store = sample_open(dir, &facts);
    for (uint64_t trial = 0; trial < 4; trial++) {
        cr_assert_eq(append(store, trial, true), STATUS_OK);
        cr_expect_eq(lost_bytes("bench_results.jsonl"), 0, "trial %zu", (size_t)trial);
        cr_expect_eq(lost_bytes("bench_results.csv"), 0, "trial %zu", (size_t)trial);
        cr_expect_eq(dir_syncs_count, 1, "the files' names, once");
    }
    store_close(store);
}

Test(store_power, a_made_up_record_waits_for_no_disk)
{
    struct store_facts facts;
    struct store *store = sample_open(dir, &facts);
    cr_assert_eq(append(store, 0, false), STATUS_OK);
    cr_expect_gt(lost_bytes("bench_results.jsonl"), 0);
    cr_expect_gt(lost_bytes("bench_results.csv"), 0);
    /* and is taken along by the next one that does */
    cr_assert_eq(append(store, 1, true), STATUS_OK);
    cr_expect_eq(lost_bytes("bench_results.jsonl"), 0);
    cr_expect_eq(lost_bytes("bench_results.csv"), 0);
    store_close(store);
}

Test(store_power, a_disk_that_does_not_sync_stores_nothing)
{
    struct store_facts facts;
    struct store *store = sample_open(dir, &facts);
    cr_assert_eq(append(store, 0, true), STATUS_OK);
    sync_error = EIO;
    cr_expect_eq(append(store, 1, true), STATUS_IO);
    cr_expect_eq(sample_check(dir, NULL, 0), 1, "neither line nor row");
    sync_error = 0;
    cr_assert_eq(append(store, 2, true), STATUS_OK);
    store_close(store);
    cr_expect_eq(sample_check(dir, NULL, 0), 2);
}

/* The canary cell's file comes later than the others: its name is synced, too. */
Test(store_power, a_canary_s_record_is_no_less_durable)
{
    struct store_facts facts;
    struct store *store = sample_open(dir, &facts);
    cr_assert_eq(append(store, 0, true), STATUS_OK);
    store_set_canary(store, true);
    size_t before = dir_syncs_count;
    cr_assert_eq(append(store, 1, true), STATUS_OK);
    cr_expect_eq(lost_bytes("sentinel.jsonl"), 0);
    cr_expect_eq(dir_syncs_count, before + 1);
    cr_assert_eq(append(store, 2, false), STATUS_OK);
    cr_expect_gt(lost_bytes("sentinel.jsonl"), 0, "made up: it waits for no disk");
    size_t whole_bytes = 0;
    char *text = scratch_read(dir, "sentinel.jsonl", &whole_bytes);
    free(text);
    sync_error = EIO;
    cr_expect_eq(append(store, 3, true), STATUS_IO);
    size_t bytes = 0;
    text = scratch_read(dir, "sentinel.jsonl", &bytes);
    free(text);
    cr_expect_eq(bytes, whole_bytes, "what is said to have failed is not there");
    store_close(store);
}

Test(store_power, a_journal_s_line_is_durable_or_not_there)
{
    struct journal journal;
    struct err err = {0};
    size_t bytes = 0;
    cr_assert_eq(journal_open(dir, JOURNAL_AB, &journal, &err), STATUS_OK, "%s", err.text);
    cr_assert_eq(journal_append(&journal, "{}\n", 3, &err), STATUS_OK);
    cr_expect_eq(lost_bytes(JOURNAL_AB), 0);
    sync_error = EIO;
    cr_expect_eq(journal_append(&journal, "{}\n", 3, &err), STATUS_IO);
    sync_error = 0;
    journal_close(&journal);
    char *text = scratch_read(dir, JOURNAL_AB, &bytes);
    cr_expect_eq(bytes, 3);
    free(text);
}
