#include "engines/python/interpreter.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/user_folder.h"

static bool is_program(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISREG(info.st_mode) && access(path, X_OK) == 0;
}

static const char *environment_text(const char *name)
{
    const char *text = getenv(name);
    return text != NULL && text[0] != '\0' ? text : NULL;
}

/* "folder/bin/python" if that can be run. */
static bool take_venv(const char *folder, struct interpreter *ret)
{
    char bin[FILE_PATH_BYTES];
    return file_join(folder, "bin", bin, NULL) == STATUS_OK &&
           file_join(bin, "python", ret->path, NULL) == STATUS_OK && is_program(ret->path);
}

/* A name without a slash, as a shell looks it up. */
static bool take_from_path(const char *name, struct interpreter *ret)
{
    const char *at = environment_text("PATH");
    while (at != NULL) {
        const char *end = strchrnul(at, ':');
        char folder[FILE_PATH_BYTES];
        int length = snprintf(folder, sizeof(folder), "%.*s", (int)(end - at), at);
        if (length > 0 && (size_t)length < sizeof(folder) &&
            file_join(folder, name, ret->path, NULL) == STATUS_OK && is_program(ret->path))
            return true;
        at = *end == ':' ? end + 1 : NULL;
    }
    return false;
}

/* What a user named: a program, a name in PATH, or a virtual environment's folder. */
static enum status take_named(const char *named, const char *origin, struct interpreter *ret,
                              struct err *err)
{
    struct stat info;
    bool is_path = strchr(named, '/') != NULL;
    bool is_folder = stat(named, &info) == 0 && S_ISDIR(info.st_mode);
    ret->origin = origin;
    if (is_folder && take_venv(named, ret))
        return STATUS_OK;
    if (!is_path && take_from_path(named, ret))
        return STATUS_OK;
    if (strlen(named) < sizeof(ret->path) && is_path && is_program(named)) {
        memcpy(ret->path, named, strlen(named) + 1);
        return STATUS_OK;
    }
    return ERR(err, STATUS_NOT_FOUND, "%s: '%.200s' is no Python that can be run%s", origin, named,
               is_folder ? ": the folder has no bin/python" : "");
}

enum status interpreter_setup_folder(const char *engine, char path[FILE_PATH_BYTES],
                                     struct err *err)
{
    return user_folder_data(engine, path, err);
}

/* Whole, and not one whose installation was cut short (tokmark_worker/setup.py). */
static bool is_set_up(const char *folder)
{
    char path[FILE_PATH_BYTES];
    return file_join(folder, ".complete", path, NULL) == STATUS_OK && file_exists(path);
}

enum status interpreter_choose(const char *engine, const char *asked,
                               struct interpreter *ret_interpreter, struct err *err)
{
    static const char *const named[][2] = {{"TOKMARK_PYTHON", "$TOKMARK_PYTHON"},
                                           {"VIRTUAL_ENV", "$VIRTUAL_ENV"},
                                           {"CONDA_PREFIX", "$CONDA_PREFIX"}};
    struct interpreter *ret = ret_interpreter;
    if (asked != NULL)
        return take_named(asked, "--python", ret, err);
    for (size_t i = 0; i < ARRAY_COUNT(named); i++)
        if (environment_text(named[i][0]) != NULL)
            return take_named(environment_text(named[i][0]), named[i][1], ret, err);
    ret->origin = "./.venv";
    if (take_venv(".venv", ret))
        return STATUS_OK;
    char folder[FILE_PATH_BYTES];
    ret->origin = "tokmark setup";
    if (interpreter_setup_folder(engine, folder, NULL) == STATUS_OK && is_set_up(folder) &&
        take_venv(folder, ret))
        return STATUS_OK;
    ret->origin = "python3 in PATH";
    if (take_from_path("python3", ret))
        return STATUS_OK;
    return ERR(err, STATUS_NOT_FOUND,
               "engine %s needs Python: no python3 in PATH; --python names another", engine);
}
