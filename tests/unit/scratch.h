/* A folder of its own for a test, removed with everything in it. */
#ifndef UNIT_SCRATCH_H
#define UNIT_SCRATCH_H

#include <criterion/criterion.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"

static inline void scratch_new(char path[FILE_PATH_BYTES])
{
    const char *parent = getenv("TMPDIR");
    (void)snprintf(path, FILE_PATH_BYTES, "%s/tokmark-test-XXXXXX",
                   parent != NULL ? parent : "/tmp");
    cr_assert_not_null(mkdtemp(path));
}

static inline int scratch_remove_entry(const char *path, const struct stat *info, int kind,
                                       struct FTW *place)
{
    (void)info;
    (void)kind;
    (void)place;
    return remove(path);
}

static inline void scratch_free(const char *path)
{
    (void)nftw(path, scratch_remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/* DIR/NAME in static storage of the caller's. */
static inline char *scratch_path(char path[FILE_PATH_BYTES], const char *dir, const char *name)
{
    cr_assert(snprintf(path, FILE_PATH_BYTES, "%s/%s", dir, name) < FILE_PATH_BYTES);
    return path;
}

/* Content of DIR/NAME; free() it. NULL when there is none. */
static inline char *scratch_read(const char *dir, const char *name, size_t *ret_bytes)
{
    char path[FILE_PATH_BYTES];
    FILE *file = fopen(scratch_path(path, dir, name), "rb");
    if (file == NULL)
        return NULL;
    char *text = NULL;
    size_t filled = 0;
    for (;;) {
        text = realloc(text, filled + 65537);
        size_t got = fread(text + filled, 1, 65536, file);
        filled += got;
        if (got == 0)
            break;
    }
    (void)fclose(file);
    text[filled] = '\0';
    if (ret_bytes != NULL)
        *ret_bytes = filled;
    return text;
}

static inline void scratch_write_file(const char *path, const void *bytes, size_t bytes_count)
{
    /* A new file: some file systems flush one that is truncated and written again to the disk. */
    (void)unlink(path);
    FILE *file = fopen(path, "wb");
    cr_assert_not_null(file);
    cr_assert_eq(fwrite(bytes, 1, bytes_count, file), bytes_count);
    cr_assert_eq(fclose(file), 0);
}

static inline void scratch_write(const char *dir, const char *name, const char *bytes,
                                 size_t bytes_count)
{
    char path[FILE_PATH_BYTES];
    scratch_write_file(scratch_path(path, dir, name), bytes, bytes_count);
}

static inline void scratch_write_text(const char *dir, const char *name, const char *text)
{
    scratch_write(dir, name, text, strlen(text));
}

#endif
