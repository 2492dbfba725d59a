#include <dirent.h>
#include <minizip/unzip.h>
#include <signal.h>
#include <sys/resource.h>

#include "result_record_sample.h"

static char dir[FILE_PATH_BYTES];

static void set_up(void)
{
    scratch_new(dir);
}

static void tear_down(void)
{
    scratch_free(dir);
}

TestSuite(store_archive, .init = set_up, .fini = tear_down);

/* A results folder of that name below the test's, with samples and logs. */
static void make_results(const char *name)
{
    char path[FILE_PATH_BYTES];
    struct store_facts facts;
    struct store *store = sample_open(scratch_path(path, dir, name), &facts);
    sample_append(store, 0, "ok");
    static const char *const cells[] = {"bbb", "aaa", "ccc"};
    for (size_t i = 0; i < ARRAY_COUNT(cells); i++) {
        char log[FILE_PATH_BYTES];
        cr_assert_eq(store_append_samples(store, cells[i], 0, "{\"ns\":[1]}", 10, NULL), STATUS_OK);
        cr_assert_eq(store_log_path(store, cells[i], log, sizeof(log), NULL), STATUS_OK);
    }
    store_close(store);
    scratch_write_text(path, "logs/aaa.log", "a log\n");
    scratch_write_text(path, "logs/bbb.log", "");
    static const char *const journals[] = {"ab_results.jsonl", "checks.jsonl", "frontier.jsonl",
                                           "sentinel.jsonl", "stability.jsonl"};
    for (size_t i = 0; i < ARRAY_COUNT(journals); i++)
        scratch_write_text(path, journals[i], "{}\n");
    /* these are left out: what happened is in the results, the rest is none of ours */
    scratch_write_text(path, "events.jsonl", "{}\n");
    scratch_write_text(path, "notes.txt", "mine\n");
}

static const char *const wanted_names[] = {
    "ab_results.jsonl",    "bench_results.csv",   "bench_results.jsonl", "checks.jsonl",
    "frontier.jsonl",      "logs/aaa.log",        "logs/bbb.log",        "samples/aaa.0.jsonl",
    "samples/bbb.0.jsonl", "samples/ccc.0.jsonl", "sentinel.jsonl",      "stability.jsonl"};

/* Reads the archive with the reader of the same library's other half, and compares every file with
 * the one in the folder. */
static void check_archive(const char *path, const char *folder, const char *base)
{
    unzFile zip = unzOpen64(path);
    cr_assert_not_null(zip, "%s", path);
    cr_assert_eq(unzGoToFirstFile(zip), UNZ_OK);
    for (size_t i = 0; i < ARRAY_COUNT(wanted_names); i++) {
        char name[FILE_PATH_BYTES];
        char wanted[FILE_PATH_BYTES];
        unz_file_info64 info;
        cr_assert_eq(unzGetCurrentFileInfo64(zip, &info, name, sizeof(name), NULL, 0, NULL, 0),
                     UNZ_OK);
        cr_assert_str_eq(name, scratch_path(wanted, base, wanted_names[i]));
        cr_assert_eq(info.external_fa >> 16, 0100644);
        size_t bytes = 0;
        char *content = scratch_read(folder, wanted_names[i], &bytes);
        cr_assert_eq(info.uncompressed_size, bytes);
        char *inside = malloc(bytes + 1);
        cr_assert_eq(unzOpenCurrentFile(zip), UNZ_OK);
        cr_assert_eq(unzReadCurrentFile(zip, inside, (unsigned)bytes + 1), (int)bytes);
        cr_assert_eq(unzCloseCurrentFile(zip), UNZ_OK, "the checksum is right");
        cr_assert_eq(memcmp(inside, content, bytes), 0);
        free(inside);
        free(content);
        cr_assert_eq(unzGoToNextFile(zip),
                     i + 1 < ARRAY_COUNT(wanted_names) ? UNZ_OK : UNZ_END_OF_LIST_OF_FILE);
    }
    cr_assert_eq(unzClose(zip), UNZ_OK);
}

static void archive(const char *folder, char path[FILE_PATH_BYTES])
{
    struct err err = {0};
    cr_assert_eq(store_archive(folder, path, FILE_PATH_BYTES, &err), STATUS_OK, "%s", err.text);
}

Test(store_archive, the_archive_lies_beside_the_folder_whatever_it_is_called_by)
{
    char folder[FILE_PATH_BYTES];
    char wanted[FILE_PATH_BYTES];
    char path[FILE_PATH_BYTES];
    char asked[FILE_PATH_BYTES];
    make_results("_bench");
    scratch_path(folder, dir, "_bench");
    scratch_path(wanted, dir, "_bench.zip");
    static const char *const ways[] = {"_bench",   "_bench/",   "_bench///",
                                       "_bench/.", "_bench/./", "_bench/logs/.."};
    for (size_t i = 0; i < ARRAY_COUNT(ways); i++) {
        archive(scratch_path(asked, dir, ways[i]), path);
        struct stat info;
        cr_assert_eq(stat(wanted, &info), 0, "%s: %s", ways[i], path);
        check_archive(path, folder, "_bench");
        cr_assert_eq(unlink(wanted), 0);
    }
    cr_assert_eq(chdir(folder), 0);
    archive(".", path);
    check_archive(path, folder, "_bench");
    cr_assert_eq(unlink(wanted), 0);
    cr_assert_eq(chdir(dir), 0);
    archive("_bench/", path);
    cr_assert_str_eq(path, "_bench.zip", "a relative name stays relative");
    check_archive(wanted, folder, "_bench");
}

Test(store_archive, an_old_archive_is_replaced_and_the_same_folder_gives_the_same_bytes)
{
    char folder[FILE_PATH_BYTES];
    char path[FILE_PATH_BYTES];
    make_results("out");
    scratch_path(folder, dir, "out");
    scratch_write_text(dir, "out.zip", "an old archive");
    archive(folder, path);
    check_archive(path, folder, "out");
    size_t first_bytes = 0;
    size_t second_bytes = 0;
    char *first = scratch_read(dir, "out.zip", &first_bytes);
    archive(folder, path);
    char *second = scratch_read(dir, "out.zip", &second_bytes);
    cr_assert_eq(first_bytes, second_bytes);
    cr_assert_eq(memcmp(first, second, first_bytes), 0);
    free(first);
    free(second);
}

Test(store_archive, files_keep_their_time)
{
    char path[FILE_PATH_BYTES];
    char folder[FILE_PATH_BYTES];
    make_results("out");
    scratch_path(folder, dir, "out");
    /* 2025-11-09 08:07:06 UTC: the format counts months from 1, and every second one */
    const struct timespec times[2] = {{.tv_sec = 1762675626}, {.tv_sec = 1762675626}};
    cr_assert_eq(utimensat(AT_FDCWD, scratch_path(path, folder, wanted_names[0]), times, 0), 0);
    archive(folder, path);
    unzFile zip = unzOpen64(path);
    unz_file_info64 info;
    cr_assert_eq(unzGoToFirstFile(zip), UNZ_OK);
    cr_assert_eq(unzGetCurrentFileInfo64(zip, &info, NULL, 0, NULL, 0, NULL, 0), UNZ_OK);
    cr_expect_eq(info.dosDate, (45U << 9 | 11U << 5 | 9U) << 16 | 8U << 11 | 7U << 5 | 3U);
    cr_assert_eq(unzClose(zip), UNZ_OK);
}

/* A name in UTF-8 is said to be that; beside one of other bytes stands one for readers that need it
 * (APPNOTE 4.4.4 and 4.6.9). */
Test(store_archive, names_say_which_bytes_they_are_of)
{
    static const struct {
        const char *folder, *readable;
    } names[] = {{"d\xc3\xa4t", NULL}, {"d\xe4t", "d%E4t"}};
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        char folder[FILE_PATH_BYTES];
        char path[FILE_PATH_BYTES];
        char name[FILE_PATH_BYTES];
        unsigned char extra[256] = {0};
        unz_file_info64 info;
        make_results(names[i].folder);
        archive(scratch_path(folder, dir, names[i].folder), path);
        unzFile zip = unzOpen64(path);
        cr_assert_eq(unzGoToFirstFile(zip), UNZ_OK);
        cr_assert_eq(
            unzGetCurrentFileInfo64(zip, &info, name, sizeof(name), extra, sizeof(extra), NULL, 0),
            UNZ_OK);
        cr_expect_eq((info.flag >> 11 & 1) != 0, names[i].readable == NULL);
        if (names[i].readable != NULL) {
            char readable[FILE_PATH_BYTES];
            scratch_path(readable, names[i].readable, wanted_names[0]);
            uLong crc = crc32(0, (const Bytef *)name, (uInt)strlen(name));
            unsigned char head[9] = {0x75, 0x70, (unsigned char)(5 + strlen(readable)), 0, 1};
            for (int byte = 0; byte < 4; byte++)
                head[5 + byte] = (unsigned char)(crc >> 8 * byte);
            cr_assert_eq(info.size_file_extra, sizeof(head) + strlen(readable));
            cr_expect_eq(memcmp(extra, head, sizeof(head)), 0);
            cr_expect_str_eq((const char *)extra + sizeof(head), readable);
        } else {
            cr_expect_eq(info.size_file_extra, 0);
        }
        cr_assert_eq(unzClose(zip), UNZ_OK);
    }
}

Test(store_archive, links_are_followed_to_files_and_refused_in_circles)
{
    char folder[FILE_PATH_BYTES];
    char path[FILE_PATH_BYTES];
    char link_path[FILE_PATH_BYTES];
    make_results("out");
    scratch_path(folder, dir, "out");
    /* the third log's place is taken by a folder: left out, like all that is no plain file */
    cr_assert_eq(mkdir(scratch_path(link_path, folder, "logs/sub"), 0700), 0);
    cr_assert_eq(unlink(scratch_path(link_path, folder, "logs/bbb.log")), 0);
    cr_assert_eq(symlink("aaa.log", link_path), 0);
    archive(folder, path);
    check_archive(path, folder, "out");
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(symlink("loop.log", scratch_path(link_path, folder, "logs/loop.log")), 0);
    struct err err = {0};
    cr_assert_eq(store_archive(folder, path, sizeof(path), &err), STATUS_IO);
    cr_assert_not_null(strstr(err.text, "loop.log"), "%s", err.text);
    cr_assert_not(file_exists(scratch_path(path, dir, "out.zip")));
}

Test(store_archive, what_cannot_be_archived_is_said)
{
    char asked[FILE_PATH_BYTES];
    char path[FILE_PATH_BYTES];
    struct err err = {0};
    cr_assert_eq(mkdir(scratch_path(asked, dir, "empty"), 0700), 0);
    cr_assert_eq(store_archive(asked, path, sizeof(path), &err), STATUS_NOT_FOUND);
    cr_assert_eq(store_archive("/", path, sizeof(path), NULL), STATUS_INVALID);
    cr_assert_eq(store_archive("", path, sizeof(path), NULL), STATUS_INVALID);
    cr_assert_neq(store_archive(scratch_path(asked, dir, "nowhere"), path, sizeof(path), NULL),
                  STATUS_OK);
    make_results("out");
    scratch_path(asked, dir, "out");
    cr_assert_eq(store_archive(asked, path, 4, NULL), STATUS_LIMIT);
}

/* Everything right in the test's folder, "." and ".." included. */
static int count_entries(void)
{
    struct dirent **entries = NULL;
    int count = scandir(dir, &entries, NULL, NULL);
    for (int i = 0; i < count; i++)
        free(entries[i]);
    free(entries);
    return count;
}

Test(store_archive, a_full_disk_leaves_the_old_archive_and_no_other_file)
{
    char asked[FILE_PATH_BYTES];
    char path[FILE_PATH_BYTES];
    make_results("out");
    scratch_path(asked, dir, "out");
    archive(asked, path);
    size_t whole_bytes = 0;
    char *whole = scratch_read(dir, "out.zip", &whole_bytes);
    cr_assert_neq(signal(SIGXFSZ, SIG_IGN), SIG_ERR);
    for (size_t room = 1; room < whole_bytes; room += 7) {
        struct rlimit limit;
        cr_assert_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
        limit.rlim_cur = room;
        cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
        struct err err = {0};
        enum status status = store_archive(asked, path, sizeof(path), &err);
        limit.rlim_cur = limit.rlim_max;
        cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
        cr_assert_eq(status, STATUS_IO, "room for %zu of %zu bytes", room, whole_bytes);
        size_t bytes = 0;
        char *now = scratch_read(dir, "out.zip", &bytes);
        cr_assert_eq(bytes, whole_bytes);
        cr_assert_eq(memcmp(now, whole, bytes), 0);
        free(now);
    }
    free(whole);
    cr_assert_eq(count_entries(), 4, "out, out.zip and the two dots");
}
