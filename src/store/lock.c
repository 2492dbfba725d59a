#include "store/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/file.h"

#define LOCK_NAME      ".tokmark.lock"
#define LOCK_PID_BYTES 32

/* The pid that the holder wrote; "?" when there is none yet. */
static void read_holder(int fd, char text[LOCK_PID_BYTES])
{
    ssize_t got = pread(fd, text, LOCK_PID_BYTES - 1, 0);
    text[got > 0 ? got : 0] = '\0';
    text[strspn(text, "0123456789")] = '\0';
    if (text[0] == '\0')
        (void)snprintf(text, LOCK_PID_BYTES, "?");
}

enum status lock_acquire(const char *dir, int *ret_fd, struct err *err)
{
    char path[FILE_PATH_BYTES];
    enum status status = file_join(dir, LOCK_NAME, path, err);
    if (status != STATUS_OK)
        return status;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0666);
    if (fd < 0)
        return ERR(err, STATUS_IO, "cannot write in folder '%s': %s; choose another with --out",
                   dir, strerror(errno));
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        int error = errno;
        char holder[LOCK_PID_BYTES];
        read_holder(fd, holder);
        (void)close(fd);
        if (error != EWOULDBLOCK)
            return ERR(err, STATUS_IO, "cannot lock '%s': %s", path, strerror(error));
        return ERR(err, STATUS_BUSY,
                   "folder '%s' is being written by process %s; wait for it, or choose another "
                   "with --out",
                   dir, holder);
    }
    /* The pid is for people: a full disk that cannot take it does not weaken the lock. */
    char text[LOCK_PID_BYTES];
    int length = snprintf(text, sizeof(text), "%ld\n", (long)getpid());
    ssize_t written = ftruncate(fd, 0) == 0 ? pwrite(fd, text, (size_t)length, 0) : 0;
    (void)written;
    *ret_fd = fd;
    return STATUS_OK;
}

void lock_release(int fd)
{
    if (fd < 0)
        return;
    /* Emptied first, while it is still ours: the next holder's pid must not be wiped. */
    int ignored = ftruncate(fd, 0);
    (void)ignored;
    (void)close(fd);
}
