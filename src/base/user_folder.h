/* base/user_folder.h - where the user's own data of this program lies. */
#ifndef BASE_USER_FOLDER_H
#define BASE_USER_FOLDER_H

#include "base/file.h"
#include "base/status.h"

/* $XDG_DATA_HOME/tokmark[/NAME], under ~/.local/share without that variable; `name` may be NULL.
 * Not made here. STATUS_NOT_FOUND where neither it nor HOME is set; STATUS_LIMIT. */
MUST_CHECK enum status user_folder_data(const char *name, char path[FILE_PATH_BYTES],
                                        struct err *err);

#endif
