/* registry/target.h - a registry file while it is changed: locked, and replaced whole or not at
 * all.
 *
 * The lock is flock(2) on the file itself, so that no other file is left behind; who waited looks
 * again whether the name still stands for what it locked. New content goes to a temporary file in
 * the same folder, is on disk before it gets the name, and has the owner, permissions and extended
 * attributes of the old. So a reader, and whoever comes after a kill, finds the old content or the
 * new. A symbolic link stays one: the file that it leads to is replaced.
 */
#ifndef REGISTRY_TARGET_H
#define REGISTRY_TARGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/file.h"

struct target {
    int fd; /* of the content there is, at any position; -1: `only_looks`, and there is no file */
    uint64_t bytes;             /* it has */
    char path[FILE_PATH_BYTES]; /* without symbolic links */
    /* the rest is target.c's own */
    struct stat info;
    bool is_new, is_replaced;
    char temporary[FILE_PATH_BYTES];
    int temporary_fd;
};

/* Waits for other holders. A file that is not there is made, empty, unless `only_looks`; then
 * nothing is ever written. STATUS_INVALID: it is no plain file, or has several names (hard links),
 * which replacing it would part. */
MUST_CHECK enum status target_open(struct target *target, const char *path, bool only_looks,
                                   struct err *err);
/* After target_open(), also one that failed. What was begun and not committed is forgotten; so is a
 * file that target_open() made. */
void target_close(struct target *target);

/* Begins the new content, empty. */
MUST_CHECK enum status target_begin(struct target *target, struct err *err);
bool target_has_begun(const struct target *target);
/* Appends to it what there is. */
MUST_CHECK enum status target_copy_old(struct target *target, struct err *err);
MUST_CHECK enum status target_write(struct target *target, const void *bytes, size_t bytes_count,
                                    struct err *err);
/* The new content takes the old one's place. STATUS_BUSY: a program that asks for no lock has
 * changed the file meanwhile; it stays as that left it. */
MUST_CHECK enum status target_commit(struct target *target, struct err *err);

#endif
