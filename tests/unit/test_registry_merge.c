/* A registry of JSON lines: what is added and what is not, and that nothing is lost when a merge is
 * killed at any system call, finds no room, or is not alone. */
#include <sys/resource.h>

#include "kill_at_call.h"
#include "registry/merge.h"
#include "registry/yaml_file.h"
#include "result_record_sample.h"

#define FOREIGN "# kept by hand\r\n{\"other\": [1,2 , 3]}\n\xff\xfe no text\n"

static char dir[FILE_PATH_BYTES];
static char registry[FILE_PATH_BYTES];
static char first[FILE_PATH_BYTES];
static char second[FILE_PATH_BYTES];

/* Two folders of two records each, which have the second of the first in common. */
static void set_up(void)
{
    scratch_new(dir);
    (void)scratch_path(registry, dir, "registry.jsonl");
    for (uint64_t from = 0; from < 2; from++) {
        char *folder = from == 0 ? first : second;
        (void)scratch_path(folder, dir, from == 0 ? "first" : "second");
        struct store_facts facts;
        struct store *store = sample_open(folder, &facts);
        for (uint64_t trial = from; trial < from + 2; trial++) {
            struct record *record = sample_record(trial, "ok");
            record_set_string(record, FACT_RUN_ID, "r0000000000000001");
            record_set_string(record, FACT_STARTED_AT, "2026-01-02T03:04:05.678Z");
            cr_assert_eq(store_append(store, record, false, NULL), STATUS_OK);
            record_free(record);
        }
        store_close(store);
    }
}

static void tear_down(void)
{
    scratch_free(dir);
}

TestSuite(registry_merge, .init = set_up, .fini = tear_down);

static enum status merge(const char *source, struct merge_counts *ret_counts)
{
    const bool includes[ADMIT_KINDS_COUNT] = {false};
    struct merge *opened = NULL;
    enum status status = merge_open(registry, includes, false, &opened, NULL);
    if (status == STATUS_OK)
        status = merge_add(opened, source, NULL);
    if (status == STATUS_OK)
        status = merge_commit(opened, NULL);
    if (status == STATUS_OK && ret_counts != NULL)
        *ret_counts = *merge_counts(opened);
    merge_close(opened);
    return status;
}

/* FOREIGN and the lines of the two folders, the common one once. */
static char *expected_text(unsigned folders)
{
    char *one = scratch_read(first, "bench_results.jsonl", NULL);
    char *two = scratch_read(second, "bench_results.jsonl", NULL);
    char *text = NULL;
    cr_assert(asprintf(&text, "%s%s%s", FOREIGN, folders > 0 ? one : "",
                       folders > 1 ? strchr(two, '\n') + 1 : "") > 0);
    free(one);
    free(two);
    return text;
}

static void check_text(unsigned folders, const char *when, unsigned number)
{
    char *text = expected_text(folders);
    char *found = scratch_read(dir, "registry.jsonl", NULL);
    cr_assert_str_eq(found, text, "%s %u", when, number);
    free(found);
    free(text);
}

Test(registry_merge, every_record_comes_in_once_behind_what_is_there)
{
    scratch_write_text(dir, "registry.jsonl", FOREIGN);
    struct merge_counts counts;
    cr_assert_eq(merge(first, &counts), STATUS_OK);
    cr_assert(counts.added == 2 && counts.known == 0);
    cr_assert_eq(merge(second, &counts), STATUS_OK);
    cr_assert(counts.added == 1 && counts.known == 1);
    check_text(2, "merged", 0);
    struct stat before;
    struct stat after;
    cr_assert_eq(stat(registry, &before), 0);
    cr_assert_eq(merge(first, &counts), STATUS_OK);
    cr_assert(counts.added == 0 && counts.known == 2);
    cr_assert_eq(stat(registry, &after), 0);
    cr_assert_eq(before.st_ino, after.st_ino);
    cr_assert_eq(before.st_mtim.tv_nsec, after.st_mtim.tv_nsec);
}

/* Runs in the child. */
static void merge_second(void *context)
{
    (void)context;
    _exit(merge(second, NULL) == STATUS_OK ? 0 : 3);
}

Test(registry_merge, killed_at_every_system_call_the_registry_is_the_old_or_the_new, .timeout = 240)
{
    bool is_whole_run = false;
    unsigned stops = 0;
    unsigned news_count = 0;
    for (; !is_whole_run; stops++) {
        scratch_write_text(dir, "registry.jsonl", FOREIGN);
        cr_assert_eq(merge(first, NULL), STATUS_OK);
        is_whole_run = kill_at_call(stops, merge_second, NULL);
        char *found = scratch_read(dir, "registry.jsonl", NULL);
        char *whole = expected_text(2);
        bool is_new = strcmp(found, whole) == 0;
        if (!is_new)
            check_text(1, "stop", stops);
        news_count += is_new;
        free(found);
        free(whole);
        cr_assert_eq(merge(second, NULL), STATUS_OK);
        check_text(2, "merged again after stop", stops);
        char path[FILE_PATH_BYTES];
        cr_assert_not(file_exists(scratch_path(path, dir, ".registry.jsonl.tokmark-new")));
    }
    cr_assert(stops > 40, "%u stops are too few", stops);
    cr_assert(news_count > 1 && news_count < stops, "%u of %u", news_count, stops);
}

Test(registry_merge, a_full_disk_leaves_the_registry_as_it_is)
{
    cr_assert_neq(signal(SIGXFSZ, SIG_IGN), SIG_ERR);
    scratch_write_text(dir, "registry.jsonl", FOREIGN);
    struct rlimit limit;
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    for (rlim_t room = 0; room < 8000; room += 500) {
        cr_assert_eq(setrlimit(RLIMIT_FSIZE, &(struct rlimit){room, limit.rlim_max}), 0);
        cr_assert_eq(merge(first, NULL), STATUS_IO, "room for %u bytes", (unsigned)room);
        check_text(0, "room", (unsigned)room);
    }
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    cr_assert_eq(merge(first, NULL), STATUS_OK);
    check_text(1, "room", 9999);
}

Test(registry_merge, merges_at_once_lose_nothing, .timeout = 120)
{
    for (unsigned round = 0; round < 30; round++) {
        scratch_write_text(dir, "registry.jsonl", FOREIGN);
        for (int i = 0; i < 4; i++) {
            pid_t pid = fork();
            cr_assert(pid >= 0);
            if (pid == 0)
                _exit(merge(i % 2 == 0 ? first : second, NULL) == STATUS_OK ? 0 : 3);
        }
        for (int i = 0; i < 4; i++) {
            int status = 0;
            cr_assert(wait(&status) > 0);
            cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        }
        char *found = scratch_read(dir, "registry.jsonl", NULL);
        cr_assert_eq(strncmp(found, FOREIGN, strlen(FOREIGN)), 0);
        unsigned seen = 0;
        size_t lines = 0;
        for (const char *at = found + strlen(FOREIGN); *at != '\0'; at = strchr(at, '\n') + 1) {
            const char *trial = strstr(at, "\"trial\":");
            seen |= 1U << (trial[strlen("\"trial\":")] - '0');
            lines++;
        }
        cr_assert(lines == 3 && seen == 7, "round %u: %zu lines, %x", round, lines, seen);
        free(found);
    }
}

/* Runs in the child. */
static void add_entry(void *context)
{
    char id[] = "new";
    const struct entry entry = {.texts = {id}};
    struct yaml_edit_counts counts;
    struct buf diff;
    buf_init(&diff, 10000);
    _exit(yaml_file_edit(context, NULL, &entry, 1, false, &diff, &counts, NULL) == STATUS_OK ? 0
                                                                                             : 3);
}

Test(registry_merge, a_bridge_killed_at_every_system_call_leaves_the_old_or_the_new, .timeout = 240)
{
    char path[FILE_PATH_BYTES];
    bool is_whole_run = false;
    unsigned stops = 0;
    (void)scratch_path(path, dir, "registry.yaml");
    for (; !is_whole_run; stops++) {
        scratch_write_text(dir, "registry.yaml", "- id: old # kept\n");
        is_whole_run = kill_at_call(stops, add_entry, path);
        char *found = scratch_read(dir, "registry.yaml", NULL);
        bool is_new = strcmp(found, "- id: old # kept\n- id: new\n") == 0;
        cr_assert(is_new || (!is_whole_run && strcmp(found, "- id: old # kept\n") == 0),
                  "stop %u: %s", stops, found);
        free(found);
    }
    cr_assert(stops > 20, "%u stops are too few", stops);
}
