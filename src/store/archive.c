#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <minizip/zip.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/utf8.h"
#include "result/names.h"
#include "store/journal.h"
#include "store/store.h"

#define ARCHIVE_CHUNK_BYTES  65536
#define ARCHIVE_FILES_MAX    1000000
#define ARCHIVE_MADE_BY_UNIX (3 << 8 | 63) /* permissions as on Unix; version 6.3 */
#define ARCHIVE_FLAG_UTF8    (1 << 11)
/* A header holds 64 KiB of extra fields, minizip's own of large files among them. */
#define ARCHIVE_EXTRA_BYTES_MAX 32768
#define ARCHIVE_UNICODE_PATH    0x7075
#define ARCHIVE_ZIP64_BYTES     0x7fffffffLL
#define ARCHIVE_CLOCK_YEAR_0    1980 /* the first year of MS-DOS, which zip's time starts at */
#define ARCHIVE_WINDOW_BITS     (-MAX_WBITS)
#define ARCHIVE_MEMORY_LEVEL    8
#define ARCHIVE_TEMPORARY       ".tmp"

/* Names below the results folder, sorted. */
struct names {
    char **items; /* owned */
    size_t count;
};

static void names_release(struct names *names)
{
    for (size_t i = 0; i < names->count; i++)
        free(names->items[i]);
    free(names->items);
    *names = (struct names){0};
}

static enum status names_add(struct names *names, const char *folder, const char *name,
                             struct err *err)
{
    if (names->count >= ARCHIVE_FILES_MAX)
        return ERR(err, STATUS_LIMIT, "more than %d files to archive", ARCHIVE_FILES_MAX);
    char full[FILE_PATH_BYTES];
    int length = snprintf(full, sizeof(full), "%s%s%s", folder, folder[0] == '\0' ? "" : "/", name);
    if (length < 0 || (size_t)length >= sizeof(full))
        return ERR(err, STATUS_LIMIT, "path too long: %.80s...", name);
    char *copy = strdup(full);
    char **items = realloc(names->items, (names->count + 1) * sizeof(*items));
    if (items != NULL)
        names->items = items;
    if (copy == NULL || items == NULL) {
        free(copy);
        return ERR(err, STATUS_NOMEM, "no memory for the archive's names");
    }
    names->items[names->count++] = copy;
    return STATUS_OK;
}

static int compare_names(const void *a, const void *b)
{
    const char *const *left = a;
    const char *const *right = b;
    return strcmp(*left, *right);
}

/* Adds DIR/NAME if it is there. Links are followed to a plain file; a link to nowhere or in a
 * circle is an error, not a file that is silently left out. */
static enum status add_file(const char *dir, const char *folder, const char *name,
                            struct names *names, struct err *err)
{
    char path[FILE_PATH_BYTES];
    int length =
        snprintf(path, sizeof(path), "%s/%s%s%s", dir, folder, folder[0] == '\0' ? "" : "/", name);
    if (length < 0 || (size_t)length >= sizeof(path))
        return ERR(err, STATUS_LIMIT, "path too long: %.80s/%s", dir, name);
    struct stat info;
    if (lstat(path, &info) != 0 && errno == ENOENT)
        return STATUS_OK;
    if (stat(path, &info) != 0)
        return ERR(err, STATUS_IO, "cannot archive '%s': %s", path, strerror(errno));
    return S_ISREG(info.st_mode) ? names_add(names, folder, name, err) : STATUS_OK;
}

/* The plain files right in DIR/FOLDER; no folder is no files. */
static enum status add_folder(const char *dir, const char *folder, struct names *names,
                              struct err *err)
{
    char path[FILE_PATH_BYTES];
    enum status status = file_join(dir, folder, path, err);
    if (status != STATUS_OK)
        return status;
    DIR *stream = opendir(path);
    if (stream == NULL)
        return errno == ENOENT
                   ? STATUS_OK
                   : ERR(err, STATUS_IO, "cannot read folder '%s': %s", path, strerror(errno));
    while (status == STATUS_OK) {
        errno = 0;
        const struct dirent *entry = readdir(stream);
        if (entry == NULL) {
            if (errno != 0)
                status = ERR(err, STATUS_IO, "cannot read folder '%s': %s", path, strerror(errno));
            break;
        }
        if (entry->d_name[0] != '.')
            status = add_file(dir, folder, entry->d_name, names, err);
    }
    (void)closedir(stream);
    return status;
}

static enum status list_names(const char *dir, struct names *names, struct err *err)
{
    enum status status = add_file(dir, "", RESULT_JSONL_NAME, names, err);
    if (status == STATUS_OK && names->count == 0)
        return ERR(err, STATUS_NOT_FOUND, "no bench_results.jsonl in '%s': nothing to archive",
                   dir);
    if (status == STATUS_OK)
        status = add_file(dir, "", RESULT_CSV_NAME, names, err);
    if (status == STATUS_OK)
        status = add_file(dir, "", JOURNAL_CHECKS, names, err);
    if (status == STATUS_OK)
        status = add_file(dir, "", JOURNAL_AB, names, err);
    if (status == STATUS_OK)
        status = add_file(dir, "", JOURNAL_STABILITY, names, err);
    if (status == STATUS_OK)
        status = add_file(dir, "", JOURNAL_FRONTIER, names, err);
    if (status == STATUS_OK)
        status = add_file(dir, "", CANARY_NAME, names, err);
    if (status == STATUS_OK)
        status = add_folder(dir, "samples", names, err);
    if (status == STATUS_OK)
        status = add_folder(dir, "logs", names, err);
    if (names->count > 1)
        qsort(names->items, names->count, sizeof(*names->items), compare_names);
    return status;
}

static void set_time(zip_fileinfo *entry, time_t modified)
{
    struct tm utc = {0};
    if (gmtime_r(&modified, &utc) == NULL || utc.tm_year + 1900 < ARCHIVE_CLOCK_YEAR_0) {
        entry->tmz_date.tm_mday = 1;
        entry->tmz_date.tm_year = ARCHIVE_CLOCK_YEAR_0;
        return;
    }
    entry->tmz_date.tm_sec = (uInt)utc.tm_sec;
    entry->tmz_date.tm_min = (uInt)utc.tm_min;
    entry->tmz_date.tm_hour = (uInt)utc.tm_hour;
    entry->tmz_date.tm_mday = (uInt)utc.tm_mday;
    entry->tmz_date.tm_mon = (uInt)utc.tm_mon;
    entry->tmz_date.tm_year = (uInt)(utc.tm_year + 1900);
}

/* Copies what the file held when it was opened, so that a growing file does not go on forever.
 */
static enum status copy_content(zipFile zip, int fd, uint64_t left, const char *path,
                                struct err *err)
{
    char chunk[ARCHIVE_CHUNK_BYTES];
    while (left > 0) {
        size_t wanted = left < sizeof(chunk) ? (size_t)left : sizeof(chunk);
        ssize_t got = read(fd, chunk, wanted);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return ERR(err, STATUS_IO, "cannot read '%s': %s", path, strerror(errno));
        if (got == 0)
            break;
        if (zipWriteInFileInZip(zip, chunk, (unsigned)got) != ZIP_OK)
            return ERR(err, STATUS_IO, "cannot write the archive: %s", strerror(errno));
        left -= (uint64_t)got;
    }
    return STATUS_OK;
}

static void put_little(struct buf *out, unsigned long number, int bytes_count)
{
    for (int i = 0; i < bytes_count; i++)
        buf_append_char(out, (char)(number >> (8 * i) & 0xFF));
}

/* Info-ZIP's Unicode Path extra field (APPNOTE 4.6.9): a name for readers that need UTF-8, beside
 * one that is other bytes: version 1, CRC-32 of those bytes, the name. */
static void put_unicode_path(struct buf *out, const char *name)
{
    struct buf text;
    buf_init(&text, ARCHIVE_EXTRA_BYTES_MAX);
    utf8_append_escaped(&text, name);
    put_little(out, ARCHIVE_UNICODE_PATH, 2);
    put_little(out, 1 + 4 + text.length_bytes, 2);
    put_little(out, 1, 1);
    put_little(out, crc32(0, (const Bytef *)name, (uInt)strlen(name)), 4);
    buf_append(out, text.data, text.length_bytes);
    buf_release(&text);
}

static enum status put_file(zipFile zip, const char *dir, const char *base, const char *name,
                            struct err *err)
{
    char path[FILE_PATH_BYTES];
    char inside[FILE_PATH_BYTES];
    enum status status = file_join(dir, name, path, err);
    if (status == STATUS_OK)
        status = file_join(base, name, inside, err);
    if (status != STATUS_OK)
        return status;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat info;
    if (fd < 0 || fstat(fd, &info) != 0) {
        status = ERR(err, STATUS_IO, "cannot read '%s': %s", path, strerror(errno));
        if (fd >= 0)
            (void)close(fd);
        return status;
    }
    struct buf unicode;
    buf_init(&unicode, ARCHIVE_EXTRA_BYTES_MAX);
    bool is_utf8 = utf8_is_valid(inside);
    if (!is_utf8)
        put_unicode_path(&unicode, inside);
    zip_fileinfo entry = {.external_fa = (uLong)(S_IFREG | 0644) << 16};
    set_time(&entry, info.st_mtime);
    int is_large = info.st_size >= ARCHIVE_ZIP64_BYTES;
    uInt extra_bytes = (uInt)unicode.length_bytes;
    if (unicode.failed) {
        status = ERR(err, STATUS_LIMIT, "name too long for an archive: %.80s...", inside);
    } else if (zipOpenNewFileInZip4_64(zip, inside, &entry, unicode.data, extra_bytes, unicode.data,
                                       extra_bytes, NULL, Z_DEFLATED, Z_DEFAULT_COMPRESSION, 0,
                                       ARCHIVE_WINDOW_BITS, ARCHIVE_MEMORY_LEVEL,
                                       Z_DEFAULT_STRATEGY, NULL, 0, ARCHIVE_MADE_BY_UNIX,
                                       is_utf8 ? ARCHIVE_FLAG_UTF8 : 0, is_large) != ZIP_OK) {
        status = ERR(err, STATUS_IO, "cannot write the archive: %s", strerror(errno));
    } else {
        status = copy_content(zip, fd, (uint64_t)info.st_size, path, err);
        if (zipCloseFileInZip(zip) != ZIP_OK && status == STATUS_OK)
            status = ERR(err, STATUS_IO, "cannot write the archive: %s", strerror(errno));
    }
    (void)close(fd);
    buf_release(&unicode);
    return status;
}

static enum status write_archive(const char *path, const char *dir, const char *base,
                                 const struct names *names, struct err *err)
{
    char temporary[FILE_PATH_BYTES];
    int length =
        snprintf(temporary, sizeof(temporary), "%s%s.%ld", path, ARCHIVE_TEMPORARY, (long)getpid());
    if (length < 0 || (size_t)length >= sizeof(temporary))
        return ERR(err, STATUS_LIMIT, "path too long: %.80s...", path);
    zipFile zip = zipOpen64(temporary, APPEND_STATUS_CREATE);
    if (zip == NULL)
        return ERR(err, STATUS_IO, "cannot write '%s': %s", temporary, strerror(errno));
    enum status status = STATUS_OK;
    for (size_t i = 0; i < names->count && status == STATUS_OK; i++)
        status = put_file(zip, dir, base, names->items[i], err);
    if (zipClose(zip, NULL) != ZIP_OK && status == STATUS_OK)
        status = ERR(err, STATUS_IO, "cannot write '%s': %s", temporary, strerror(errno));
    if (status == STATUS_OK && rename(temporary, path) != 0)
        status = ERR(err, STATUS_IO, "cannot replace '%s': %s", path, strerror(errno));
    if (status != STATUS_OK)
        (void)unlink(temporary);
    return status;
}

/* `dir` without slashes at its end; where that ends in "." or "..", its real name. */
static enum status plain_name(const char *dir, char name[FILE_PATH_BYTES], struct err *err)
{
    size_t length = strlen(dir);
    while (length > 1 && dir[length - 1] == '/')
        length--;
    if (length == 0 || length >= FILE_PATH_BYTES)
        return ERR(err, STATUS_INVALID, "cannot archive a folder named '%.80s'", dir);
    memcpy(name, dir, length);
    name[length] = '\0';
    const char *slash = strrchr(name, '/');
    const char *last = slash != NULL ? slash + 1 : name;
    if (strcmp(last, ".") == 0 || strcmp(last, "..") == 0) {
        char *real = realpath(dir, NULL);
        if (real == NULL)
            return ERR(err, STATUS_IO, "cannot archive '%s': %s", dir, strerror(errno));
        bool is_short = strlen(real) < FILE_PATH_BYTES;
        if (is_short)
            memcpy(name, real, strlen(real) + 1);
        free(real);
        if (!is_short)
            return ERR(err, STATUS_LIMIT, "path too long: %.80s...", dir);
    }
    if (strcmp(name, "/") == 0)
        return ERR(err, STATUS_INVALID,
                   "cannot archive '/': there is no folder to put the archive into");
    return STATUS_OK;
}

enum status store_archive(const char *dir, char *ret_path, size_t path_bytes, struct err *err)
{
    char name[FILE_PATH_BYTES];
    enum status status = plain_name(dir, name, err);
    if (status != STATUS_OK)
        return status;
    char path[FILE_PATH_BYTES];
    int length = snprintf(path, sizeof(path), "%s.zip", name);
    if (length < 0 || (size_t)length >= sizeof(path) || (size_t)length >= path_bytes)
        return ERR(err, STATUS_LIMIT, "path too long: %.80s...", name);
    const char *slash = strrchr(name, '/');
    struct names names = {0};
    status = list_names(name, &names, err);
    if (status == STATUS_OK)
        status = write_archive(path, name, slash != NULL ? slash + 1 : name, &names, err);
    names_release(&names);
    if (status == STATUS_OK)
        memcpy(ret_path, path, (size_t)length + 1);
    return status;
}
