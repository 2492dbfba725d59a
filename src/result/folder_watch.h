/* result/folder_watch.h - is told by the kernel (inotify) when something is written in a folder, so
 * that whoever looks on need not look all the time. The folder may come later, and be replaced.
 */
#ifndef RESULT_FOLDER_WATCH_H
#define RESULT_FOLDER_WATCH_H

#include "base/file.h"

struct folder_watch {
    int fd; /* to be polled for POLLIN; -1 = the kernel does not tell: look from time to time */
    char dir[FILE_PATH_BYTES];
};

/* `path`: the folder, or a file in it. */
void folder_watch_open(struct folder_watch *watch, const char *path);
/* Opened it must have been. */
void folder_watch_close(struct folder_watch *watch);
/* Forgets what was told, and begins anew where the folder has come, gone or been replaced. To be
 * called before the files are looked at. */
void folder_watch_refresh(struct folder_watch *watch);

#endif
