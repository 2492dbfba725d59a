#include "base/user_folder.h"

#include <stdio.h>
#include <stdlib.h>

static const char *variable(const char *name)
{
    const char *text = getenv(name);
    return text != NULL && text[0] != '\0' ? text : NULL;
}

enum status user_folder_data(const char *name, char path[FILE_PATH_BYTES], struct err *err)
{
    const char *data = variable("XDG_DATA_HOME");
    const char *home = variable("HOME");
    const char *slash = name != NULL ? "/" : "";
    const char *last = name != NULL ? name : "";
    int length = -1;
    if (data != NULL)
        length = snprintf(path, FILE_PATH_BYTES, "%s/tokmark%s%s", data, slash, last);
    else if (home != NULL)
        length = snprintf(path, FILE_PATH_BYTES, "%s/.local/share/tokmark%s%s", home, slash, last);
    if (length < 0)
        return ERR(err, STATUS_NOT_FOUND, "neither XDG_DATA_HOME nor HOME is set");
    return length < FILE_PATH_BYTES ? STATUS_OK
                                    : ERR(err, STATUS_LIMIT, "XDG_DATA_HOME or HOME is too long");
}
