#include "result/archive_entry.h"

#include <limits.h>
#include <minizip/unzip.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "result/names.h"

struct archive_entry {
    unzFile zip; /* owned */
    bool is_ended;
    char name[FILE_PATH_BYTES];
};

/* Is the last part of `path` that name? */
static bool is_named(const char *path, const char *name)
{
    const char *slash = strrchr(path, '/');
    return strcmp(slash != NULL ? slash + 1 : path, name) == 0;
}

/* Goes to the last entry of that name; how many there are, or -1: the archive is damaged. */
static int find_entry(unzFile zip, const char *name, unz_file_pos *ret_place)
{
    int count = 0;
    int result = unzGoToFirstFile(zip);
    for (; result == UNZ_OK; result = unzGoToNextFile(zip)) {
        char path[FILE_PATH_BYTES] = "";
        if (unzGetCurrentFileInfo64(zip, NULL, path, sizeof(path) - 1, NULL, 0, NULL, 0) != UNZ_OK)
            return -1;
        if (is_named(path, name) && unzGetFilePos(zip, ret_place) == UNZ_OK)
            count++;
    }
    return result == UNZ_END_OF_LIST_OF_FILE ? count : -1;
}

/* Goes on to the file beside the one that the archive is at. */
static enum status go_beside(struct archive_entry *entry, const char *beside, struct err *err)
{
    char path[FILE_PATH_BYTES] = "";
    char wanted[2 * FILE_PATH_BYTES];
    unz_global_info64 info;
    if (unzGetCurrentFileInfo64(entry->zip, NULL, path, sizeof(path) - 1, NULL, 0, NULL, 0) !=
            UNZ_OK ||
        unzGetGlobalInfo64(entry->zip, &info) != UNZ_OK)
        return ERR(err, STATUS_IO, "the archive '%s' is damaged", entry->name);
    const char *slash = strrchr(path, '/');
    int folder_bytes = slash != NULL ? (int)(slash - path) + 1 : 0;
    (void)snprintf(wanted, sizeof(wanted), "%.*s%s", folder_bytes, path, beside);
    if (info.number_entry > ARCHIVE_ENTRY_FILES_MAX ||
        unzLocateFile(entry->zip, wanted, 1) != UNZ_OK)
        return ERR(err, STATUS_NOT_FOUND, "the archive '%s' has no %s", entry->name, wanted);
    return STATUS_OK;
}

static enum status open_entry(struct archive_entry *entry, const char *beside, struct err *err)
{
    unz_file_pos place;
    const char *wanted = RESULT_JSONL_NAME;
    int count = find_entry(entry->zip, wanted, &place);
    if (count == 0) {
        wanted = RESULT_CSV_NAME;
        count = find_entry(entry->zip, wanted, &place);
    }
    if (count < 0)
        return ERR(err, STATUS_IO, "the archive '%s' is damaged", entry->name);
    if (count == 0)
        return ERR(err, STATUS_NOT_FOUND, "the archive '%s' has neither %s nor %s", entry->name,
                   RESULT_JSONL_NAME, RESULT_CSV_NAME);
    if (count > 1)
        return ERR(err, STATUS_INVALID,
                   "the archive '%s' has %d files named %s; unpack it and name one folder",
                   entry->name, count, wanted);
    bool is_there = unzGoToFilePos(entry->zip, &place) == UNZ_OK;
    if (is_there && beside != NULL) {
        enum status status = go_beside(entry, beside, err);
        if (status != STATUS_OK)
            return status;
    }
    if (!is_there || unzOpenCurrentFile(entry->zip) != UNZ_OK)
        return ERR(err, STATUS_IO, "cannot read %s in the archive '%s'", wanted, entry->name);
    return STATUS_OK;
}

enum status archive_entry_open(int fd, const char *name, const char *beside,
                               struct archive_entry **ret_entry, struct err *err)
{
    char path[64];
    struct archive_entry *entry = calloc(1, sizeof(*entry));
    if (entry == NULL)
        return ERR(err, STATUS_NOMEM, "no memory to read '%.300s'", name);
    (void)snprintf(entry->name, sizeof(entry->name), "%s", name);
    /* The file that was looked at, whatever its name stands for by now. */
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    entry->zip = unzOpen64(path);
    enum status status =
        entry->zip != NULL
            ? open_entry(entry, beside, err)
            : ERR(err, STATUS_IO, "the archive '%s' is damaged, or was not written to its end",
                  entry->name);
    if (status == STATUS_OK)
        *ret_entry = entry;
    else
        archive_entry_close(entry);
    return status;
}

void archive_entry_close(struct archive_entry *entry)
{
    if (entry == NULL)
        return;
    if (entry->zip != NULL)
        (void)unzClose(entry->zip);
    free(entry);
}

enum status archive_entry_read(struct archive_entry *entry, void *bytes, size_t bytes_max,
                               size_t *ret_bytes, struct err *err)
{
    unsigned wanted = bytes_max < INT_MAX ? (unsigned)bytes_max : INT_MAX;
    int got = entry->is_ended ? 0 : unzReadCurrentFile(entry->zip, bytes, wanted);
    /* The checksum is compared on closing. */
    bool is_end = got == 0 && !entry->is_ended;
    entry->is_ended |= is_end;
    if (got < 0 || (is_end && unzCloseCurrentFile(entry->zip) == UNZ_CRCERROR))
        return ERR(err, STATUS_IO, "the archive '%s' is damaged: its results cannot be unpacked",
                   entry->name);
    *ret_bytes = (size_t)got;
    return STATUS_OK;
}
