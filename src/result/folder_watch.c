#include "result/folder_watch.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

/* That holds for files that come, and that are replaced. */
#define OF_FILES   (IN_MODIFY | IN_CREATE | IN_MOVED_TO | IN_DELETE | IN_MOVED_FROM)
#define OF_FOLDER  (IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR)
#define READ_BYTES 4096

static void start(struct folder_watch *watch)
{
    watch->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (watch->fd < 0 || inotify_add_watch(watch->fd, watch->dir, OF_FILES | OF_FOLDER) >= 0)
        return;
    (void)close(watch->fd);
    watch->fd = -1;
}

void folder_watch_open(struct folder_watch *watch, const char *path)
{
    struct stat info;
    int length = snprintf(watch->dir, sizeof(watch->dir), "%s", path);
    watch->fd = -1;
    if (length < 0 || (size_t)length >= sizeof(watch->dir)) {
        watch->dir[0] = '\0';
        return;
    }
    if (stat(path, &info) == 0 && !S_ISDIR(info.st_mode)) {
        char *slash = strrchr(watch->dir, '/');
        if (slash == NULL)
            (void)snprintf(watch->dir, sizeof(watch->dir), ".");
        else
            slash[slash == watch->dir ? 1 : 0] = '\0';
    }
    start(watch);
}

void folder_watch_close(struct folder_watch *watch)
{
    if (watch->fd >= 0)
        (void)close(watch->fd);
    watch->fd = -1;
}

/* Is one of the events the end of the folder? */
static bool is_end(const char *bytes, size_t count)
{
    struct inotify_event event;
    for (size_t at = 0; at + sizeof(event) <= count; at += sizeof(event) + event.len) {
        memcpy(&event, bytes + at, sizeof(event));
        if ((event.mask & (IN_IGNORED | IN_DELETE_SELF | IN_MOVE_SELF)) != 0)
            return true;
    }
    return false;
}

void folder_watch_refresh(struct folder_watch *watch)
{
    char bytes[READ_BYTES];
    bool has_ended = false;
    ssize_t count = 0;
    while (watch->fd >= 0 && (count = read(watch->fd, bytes, sizeof(bytes))) > 0)
        has_ended |= is_end(bytes, (size_t)count);
    if (has_ended)
        folder_watch_close(watch);
    if (watch->fd < 0 && watch->dir[0] != '\0')
        start(watch);
}
