#include "registry/target.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/xattr.h>
#include <unistd.h>

#define CHUNK_BYTES       ((size_t)256 * 1024)
#define COPY_BYTES        ((size_t)1 << 30)
#define NAMES_BYTES       65536U
#define ATTRIBUTE_BYTES   65536U
#define TEMPORARY_SUFFIX  ".tokmark-new"
#define PERMISSIONS       07777U
#define LOCK_ATTEMPTS_MAX 1000

/* --- the lock --- */

static int open_file(const char *path, bool only_looks, bool *ret_is_new)
{
    int flags = (only_looks ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
    int fd = open(path, flags);
    *ret_is_new = fd < 0 && errno == ENOENT;
    /* Without O_EXCL, so that a symbolic link that leads nowhere yet gets its file. */
    return *ret_is_new && !only_looks ? open(path, flags | O_CREAT, 0666) : fd;
}

static bool take_lock(int fd, bool only_looks)
{
    int result;
    do {
        result = flock(fd, only_looks ? LOCK_SH : LOCK_EX);
    } while (result != 0 && errno == EINTR);
    return result == 0;
}

/* Does the name stand for the file that is locked? Who had the lock before may have replaced it. */
static bool is_current(struct target *target, const char *path)
{
    struct stat named;
    return fstat(target->fd, &target->info) == 0 && stat(path, &named) == 0 &&
           named.st_dev == target->info.st_dev && named.st_ino == target->info.st_ino;
}

static enum status lock_file(struct target *target, const char *path, bool only_looks,
                             struct err *err)
{
    for (int i = 0; i < LOCK_ATTEMPTS_MAX; i++) {
        target->fd = open_file(path, only_looks, &target->is_new);
        if (target->fd < 0 && target->is_new && only_looks)
            return STATUS_OK;
        if (target->fd < 0)
            return ERR(err, STATUS_IO, "cannot open '%s' to change it: %s", path, strerror(errno));
        if (!take_lock(target->fd, only_looks))
            return ERR(err, STATUS_IO, "cannot lock '%s': %s", path, strerror(errno));
        if (is_current(target, path))
            return STATUS_OK;
        (void)close(target->fd);
        target->fd = -1;
    }
    return ERR(err, STATUS_BUSY, "'%s' is replaced by another program again and again", path);
}

static enum status check_file(const struct target *target, const char *path, struct err *err)
{
    if (!S_ISREG(target->info.st_mode))
        return ERR(err, STATUS_INVALID, "'%s' is not a plain file", path);
    if (target->info.st_nlink > 1)
        return ERR(err, STATUS_INVALID,
                   "'%s' has %lu names (hard links), and replacing it would part them; make the "
                   "others symbolic links, or name a file of its own",
                   path, (unsigned long)target->info.st_nlink);
    return STATUS_OK;
}

/* "dir/.name.tokmark-new": under the lock it is ours alone, so what a killed one left is found. */
static enum status name_temporary(struct target *target, struct err *err)
{
    const char *slash = strrchr(target->path, '/');
    int dir_bytes = slash != NULL ? (int)(slash - target->path) : 0;
    int length = snprintf(target->temporary, sizeof(target->temporary), "%.*s/.%s%s", dir_bytes,
                          target->path, slash != NULL ? slash + 1 : target->path, TEMPORARY_SUFFIX);
    if (length < 0 || (size_t)length >= sizeof(target->temporary))
        return ERR(err, STATUS_LIMIT, "path too long: %.80s...", target->path);
    return STATUS_OK;
}

static enum status take_path(struct target *target, const char *path, struct err *err)
{
    char *resolved = realpath(path, NULL);
    bool is_fit = resolved != NULL && strlen(resolved) < sizeof(target->path);
    if (is_fit)
        memcpy(target->path, resolved, strlen(resolved) + 1);
    free(resolved);
    return is_fit ? STATUS_OK : ERR(err, STATUS_IO, "cannot find the folder of '%.200s'", path);
}

static enum status lock_and_look(struct target *target, const char *path, bool only_looks,
                                 struct err *err)
{
    TRY(lock_file(target, path, only_looks, err));
    if (target->fd < 0)
        return STATUS_OK;
    TRY(check_file(target, path, err));
    TRY(take_path(target, path, err));
    target->bytes = (uint64_t)target->info.st_size;
    target->is_new = target->is_new && target->bytes == 0;
    return name_temporary(target, err);
}

enum status target_open(struct target *target, const char *path, bool only_looks, struct err *err)
{
    *target = (struct target){.fd = -1, .temporary_fd = -1};
    enum status status = lock_and_look(target, path, only_looks, err);
    if (status != STATUS_OK)
        target_close(target);
    return status;
}

void target_close(struct target *target)
{
    struct stat info;
    if (target->temporary_fd >= 0) {
        (void)close(target->temporary_fd);
        (void)unlink(target->temporary);
    }
    if (target->fd < 0)
        return;
    bool is_ours = target->is_new && !target->is_replaced && target->path[0] != '\0';
    if (is_ours && fstat(target->fd, &info) == 0 && info.st_size == 0)
        (void)unlink(target->path);
    (void)close(target->fd);
    target->fd = target->temporary_fd = -1;
}

/* --- the new content --- */

/* Access lists and labels. What may not be set here is set by the system, or was by its manager. */
static enum status copy_attributes(const struct target *target, struct err *err)
{
    char names[NAMES_BYTES];
    char value[ATTRIBUTE_BYTES];
    ssize_t names_bytes = flistxattr(target->fd, names, sizeof(names));
    for (ssize_t at = 0; at < names_bytes; at += (ssize_t)strlen(names + at) + 1) {
        const char *name = names + at;
        ssize_t bytes = fgetxattr(target->fd, name, value, sizeof(value));
        if (bytes < 0 || fsetxattr(target->temporary_fd, name, value, (size_t)bytes, 0) == 0)
            continue;
        bool is_users =
            strncmp(name, "user.", 5) == 0 || strncmp(name, "system.posix_acl", 16) == 0;
        if (is_users)
            return ERR(err, STATUS_IO, "cannot keep the attribute '%s' of '%s': %s", name,
                       target->path, strerror(errno));
    }
    return STATUS_OK;
}

enum status target_begin(struct target *target, struct err *err)
{
    ASSERT(target->temporary_fd < 0 && target->fd >= 0);
    (void)unlink(target->temporary);
    int fd = open(target->temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return ERR(err, STATUS_IO, "cannot write '%s': %s", target->temporary, strerror(errno));
    target->temporary_fd = fd;
    const struct stat *old = &target->info;
    struct stat now;
    if (fstat(fd, &now) != 0)
        return ERR(err, STATUS_IO, "cannot write '%s': %s", target->temporary, strerror(errno));
    bool is_same_owner = now.st_uid == old->st_uid && now.st_gid == old->st_gid;
    if ((!is_same_owner && fchown(fd, old->st_uid, old->st_gid) != 0) ||
        fchmod(fd, old->st_mode & PERMISSIONS) != 0)
        return ERR(err, STATUS_IO,
                   "cannot keep the owner and permissions of '%s': %s; run this as its owner",
                   target->path, strerror(errno));
    return copy_attributes(target, err);
}

bool target_has_begun(const struct target *target)
{
    return target->temporary_fd >= 0;
}

/* Where the kernel cannot copy from file to file. */
static enum status copy_by_chunks(const struct target *target, uint64_t offset, struct err *err)
{
    char *chunk = malloc(CHUNK_BYTES);
    enum status status =
        chunk != NULL ? STATUS_OK : ERR(err, STATUS_NOMEM, "no memory to copy the registry");
    while (status == STATUS_OK && offset < target->bytes) {
        uint64_t left = target->bytes - offset;
        ssize_t got = pread(target->fd, chunk, left < CHUNK_BYTES ? (size_t)left : CHUNK_BYTES,
                            (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            status = ERR(err, STATUS_IO, "cannot read '%s': %s", target->path,
                         got < 0 ? strerror(errno) : "it became shorter meanwhile");
        else
            status = file_write_fd(target->temporary_fd, chunk, (size_t)got, err);
        offset += got > 0 ? (uint64_t)got : 0;
    }
    free(chunk);
    return status;
}

enum status target_copy_old(struct target *target, struct err *err)
{
    off_t offset = 0;
    while ((uint64_t)offset < target->bytes) {
        uint64_t left = target->bytes - (uint64_t)offset;
        ssize_t done = copy_file_range(target->fd, &offset, target->temporary_fd, NULL,
                                       left < COPY_BYTES ? (size_t)left : COPY_BYTES, 0);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return copy_by_chunks(target, (uint64_t)offset, err);
    }
    return STATUS_OK;
}

enum status target_write(struct target *target, const void *bytes, size_t bytes_count,
                         struct err *err)
{
    struct err cause = {0};
    if (file_write_fd(target->temporary_fd, bytes, bytes_count, &cause) == STATUS_OK)
        return STATUS_OK;
    return ERR(err, cause.status, "cannot write beside '%.300s', which stays as it is: %.300s",
               target->path, cause.text);
}

static bool is_untouched(const struct target *target)
{
    struct stat now;
    return fstat(target->fd, &now) == 0 && now.st_size == target->info.st_size &&
           now.st_mtim.tv_sec == target->info.st_mtim.tv_sec &&
           now.st_mtim.tv_nsec == target->info.st_mtim.tv_nsec;
}

/* The new name is on disk. A file system that cannot sync folders does so by itself. */
static void sync_folder(const char *path)
{
    char folder[FILE_PATH_BYTES];
    (void)snprintf(folder, sizeof(folder), "%s", path);
    char *slash = strrchr(folder, '/');
    if (slash != NULL)
        slash[slash == folder ? 1 : 0] = '\0';
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return;
    (void)fsync(fd);
    (void)close(fd);
}

enum status target_commit(struct target *target, struct err *err)
{
    int fd = target->temporary_fd;
    enum status status = STATUS_OK;
    if (fsync(fd) != 0)
        status = ERR(err, STATUS_IO, "cannot sync '%s': %s", target->temporary, strerror(errno));
    if (status == STATUS_OK && !is_untouched(target))
        status = ERR(err, STATUS_BUSY,
                     "another program has changed '%s' meanwhile; nothing was written, do it again",
                     target->path);
    if (status == STATUS_OK && rename(target->temporary, target->path) != 0)
        status = ERR(err, STATUS_IO, "cannot replace '%s': %s", target->path, strerror(errno));
    if (status != STATUS_OK)
        return status;
    target->is_replaced = true;
    target->temporary_fd = -1;
    sync_folder(target->path);
    if (close(fd) != 0)
        return ERR(err, STATUS_IO, "cannot close '%s': %s", target->path, strerror(errno));
    return STATUS_OK;
}
