/* base/file.h - whole-file and folder operations. Paths are NUL-terminated bytes of any kind. */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/status.h"

#define FILE_PATH_BYTES 4096

/* "dir/name" into `path`; STATUS_LIMIT when it does not fit. */
MUST_CHECK enum status file_join(const char *dir, const char *name, char path[FILE_PATH_BYTES],
                                 struct err *err);
/* mkdir -p; fine if it is there already. */
MUST_CHECK enum status file_make_dirs(const char *path, struct err *err);
/* Appends the whole file to `ret_content`, within its maximum. NOT_FOUND when there is none. */
MUST_CHECK enum status file_read_all(const char *path, struct buf *ret_content, struct err *err);
/* Writes all bytes or reports; retries short writes and EINTR. */
MUST_CHECK enum status file_write_fd(int fd, const void *bytes, size_t bytes_count,
                                     struct err *err);
/* Writes a file's whole content to `fd`. */
typedef enum status file_writer(void *context, int fd, struct err *err);

/* Replaces the file's content with what `write` writes, through a temporary file beside it and
 * rename(2): readers see the old or the new content, never a part; on failure the old stays. */
MUST_CHECK enum status file_replace(const char *path, file_writer *write, void *context,
                                    struct err *err);
/* A path as text that JSON can hold: as it is where it is UTF-8, else (or where it begins like one)
 * as a file URL, "file:///tmp/caf%E9" (RFC 8089). STATUS_LIMIT when that does not fit. */
MUST_CHECK enum status file_path_to_text(const char *path, char *ret_text, size_t text_bytes,
                                         struct err *err);
/* Makes such text a path again, in place. */
void file_path_from_text(char *text);
/* Also where that cannot be told, for an error of the disk: opening it says why. */
bool file_exists(const char *path);
/* Absolute path of the running program. */
MUST_CHECK enum status file_self(char path[FILE_PATH_BYTES], struct err *err);

#endif
