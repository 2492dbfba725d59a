/* store/lock.h - one writer a folder: flock(2) on DIR/.tokmark.lock, which holds the writer's pid.
 *
 * The kernel gives the lock back when its holder ends, however it ends, so a lock is never stale.
 * The file stays: removing it would let two writers lock two files of the same name.
 */
#ifndef STORE_LOCK_H
#define STORE_LOCK_H

#include "base/status.h"

/* STATUS_BUSY names the holder and the folder. The folder must exist. */
MUST_CHECK enum status lock_acquire(const char *dir, int *ret_fd, struct err *err);
/* No-op on -1. */
void lock_release(int fd);

#endif
