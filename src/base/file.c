#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/utf8.h"

/* Bytes of a URL that stand for themselves. */
#define URL_PLAIN "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/"

enum status file_join(const char *dir, const char *name, char path[FILE_PATH_BYTES],
                      struct err *err)
{
    int length = snprintf(path, FILE_PATH_BYTES, "%s/%s", dir, name);
    if (length < 0 || length >= FILE_PATH_BYTES)
        return ERR(err, STATUS_LIMIT, "path too long: %.80s.../%s", dir, name);
    return STATUS_OK;
}

enum status file_make_dirs(const char *path, struct err *err)
{
    char part[FILE_PATH_BYTES];
    size_t length = strlen(path);
    if (length == 0 || length >= sizeof(part))
        return ERR(err, STATUS_INVALID, "cannot make a folder named '%.80s'", path);
    memcpy(part, path, length + 1);
    for (size_t i = 1; i <= length; i++) {
        if (part[i] != '/' && part[i] != '\0')
            continue;
        char saved = part[i];
        part[i] = '\0';
        if (mkdir(part, 0777) != 0 && errno != EEXIST)
            return ERR(err, STATUS_IO, "cannot make folder '%s': %s", part, strerror(errno));
        part[i] = saved;
    }
    struct stat info;
    if (stat(path, &info) != 0 || !S_ISDIR(info.st_mode))
        return ERR(err, STATUS_IO, "'%s' is there but is not a folder", path);
    return STATUS_OK;
}

enum status file_read_all(const char *path, struct buf *ret_content, struct err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return ERR(err, errno == ENOENT ? STATUS_NOT_FOUND : STATUS_IO, "cannot read '%s': %s",
                   path, strerror(errno));
    char chunk[65536];
    enum status status = STATUS_OK;
    for (;;) {
        ssize_t got = read(fd, chunk, sizeof(chunk));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            status = ERR(err, STATUS_IO, "cannot read '%s': %s", path, strerror(errno));
        if (got <= 0)
            break;
        buf_append(ret_content, chunk, (size_t)got);
        if (ret_content->failed) {
            status = ERR(err, STATUS_LIMIT, "'%s' is larger than %zu bytes", path,
                         ret_content->max_bytes);
            break;
        }
    }
    (void)close(fd);
    return status;
}

enum status file_write_fd(int fd, const void *bytes, size_t bytes_count, struct err *err)
{
    const char *next = bytes;
    while (bytes_count > 0) {
        ssize_t done = write(fd, next, bytes_count);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return ERR(err, STATUS_IO, "write failed: %s", strerror(errno));
        next += done;
        bytes_count -= (size_t)done;
    }
    return STATUS_OK;
}

enum status file_replace(const char *path, file_writer *write, void *context, struct err *err)
{
    char temporary[FILE_PATH_BYTES];
    int length = snprintf(temporary, sizeof(temporary), "%s.tmp.%d", path, (int)getpid());
    if (length < 0 || (size_t)length >= sizeof(temporary))
        return ERR(err, STATUS_LIMIT, "path too long: %.80s...", path);
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0)
        return ERR(err, STATUS_IO, "cannot write '%s': %s", temporary, strerror(errno));
    enum status status = write(context, fd, err);
    if (close(fd) != 0 && status == STATUS_OK)
        status = ERR(err, STATUS_IO, "cannot write '%s': %s", temporary, strerror(errno));
    if (status == STATUS_OK && rename(temporary, path) != 0)
        status = ERR(err, STATUS_IO, "cannot replace '%s': %s", path, strerror(errno));
    if (status != STATUS_OK)
        (void)unlink(temporary);
    return status;
}

static const char url_prefix[] = "file://";

enum status file_path_to_text(const char *path, char *ret_text, size_t text_bytes, struct err *err)
{
    struct buf text;
    buf_init(&text, text_bytes - 1);
    if (utf8_is_valid(path) && strncmp(path, url_prefix, strlen(url_prefix)) != 0) {
        buf_append_text(&text, path);
    } else {
        buf_append_text(&text, url_prefix);
        for (const char *c = path; *c != '\0'; c++)
            if (strchr(URL_PLAIN, *c) != NULL)
                buf_append_char(&text, *c);
            else
                buf_appendf(&text, "%%%02X", (unsigned)(unsigned char)*c);
    }
    bool fits = !text.failed;
    if (fits)
        memcpy(ret_text, text.data != NULL ? text.data : "", text.length_bytes + 1);
    buf_release(&text);
    return fits ? STATUS_OK
                : ERR(err, STATUS_LIMIT, "the path of '%.100s' is over %zu bytes", path,
                      text_bytes - 1);
}

static int hex_digit(char c)
{
    static const char digits[] = "0123456789ABCDEF0123456789abcdef";
    const char *at = c != '\0' ? strchr(digits, c) : NULL;
    return at != NULL ? (int)((at - digits) % 16) : -1;
}

void file_path_from_text(char *text)
{
    if (strncmp(text, url_prefix, strlen(url_prefix)) != 0)
        return;
    char *to = text;
    for (const char *from = text + strlen(url_prefix); *from != '\0'; from++) {
        int high = from[0] == '%' ? hex_digit(from[1]) : -1;
        int low = high >= 0 ? hex_digit(from[2]) : -1;
        bool is_byte = low >= 0 && high + low > 0; /* a path has no NUL */
        *to++ = is_byte ? (char)(high * 16 + low) : *from;
        from += is_byte ? 2 : 0;
    }
    *to = '\0';
}

bool file_exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 || (errno != ENOENT && errno != ENOTDIR && errno != EACCES &&
                                      errno != ENAMETOOLONG && errno != ELOOP);
}

enum status file_self(char path[FILE_PATH_BYTES], struct err *err)
{
    ssize_t length = readlink("/proc/self/exe", path, FILE_PATH_BYTES - 1);
    if (length >= 0) {
        path[length] = '\0';
        return STATUS_OK;
    }
    /* A root without /proc: the name that execve(2) was given, kept by the kernel. */
    const char *given = (const char *)(uintptr_t)getauxval(AT_EXECFN);
    char *absolute = given != NULL ? realpath(given, NULL) : NULL;
    if (absolute == NULL || strlen(absolute) >= FILE_PATH_BYTES) {
        free(absolute);
        return ERR(err, STATUS_IO, "cannot find the running program: %s", strerror(errno));
    }
    memcpy(path, absolute, strlen(absolute) + 1);
    free(absolute);
    return STATUS_OK;
}
