#include "engines/python/interpreter.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/user_folder.h"

#define VENV_CONFIG_BYTES_MAX 65536

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

/* --- which have what an engine needs --- */

/* Is there FOLDER/site-packages/PACKAGE? */
static bool has_installed(const char *folder, const char *package)
{
    char site[FILE_PATH_BYTES];
    char path[FILE_PATH_BYTES];
    return file_join(folder, "site-packages", site, NULL) == STATUS_OK &&
           file_join(site, package, path, NULL) == STATUS_OK && file_exists(path);
}

/* A virtual environment that sees what the interpreter under it has may have anything. */
static bool sees_system(const char *venv)
{
    char path[FILE_PATH_BYTES];
    struct buf text;
    buf_init(&text, VENV_CONFIG_BYTES_MAX);
    bool is_read = file_join(venv, "pyvenv.cfg", path, NULL) == STATUS_OK &&
                   file_read_all(path, &text, NULL) == STATUS_OK;
    bool sees = is_read && strcasestr(text.data, "include-system-site-packages = true") != NULL;
    buf_release(&text);
    return sees;
}

/* Looks without starting it; a path file (.pth) is not seen. */
static bool venv_may_have(const char *venv, const char *package)
{
    char lib[FILE_PATH_BYTES];
    DIR *stream = file_join(venv, "lib", lib, NULL) == STATUS_OK ? opendir(lib) : NULL;
    bool is_found = false;
    const struct dirent *entry = NULL;
    while (stream != NULL && !is_found && (entry = readdir(stream)) != NULL) {
        char folder[FILE_PATH_BYTES];
        is_found = strncmp(entry->d_name, "python", strlen("python")) == 0 &&
                   file_join(lib, entry->d_name, folder, NULL) == STATUS_OK &&
                   has_installed(folder, package);
    }
    if (stream != NULL)
        (void)closedir(stream);
    return is_found || sees_system(venv);
}

static const char *package_of(const char *engine)
{
    return strcmp(engine, "pytorch") == 0 ? "torch" : engine;
}

/* --- places --- */

/* The Python whose script called us (a wheel's command, benchmarks/), as that says it:
 * "ENGINES:PYTHON", the engines that it has what they need for. */
static bool take_caller(const char *engine, bool must_have, struct interpreter *ret)
{
    const char *text = environment_text("TOKMARK_CALLER");
    const char *colon = text != NULL ? strchr(text, ':') : NULL;
    if (colon == NULL || strlen(colon + 1) >= sizeof(ret->path) || !is_program(colon + 1))
        return false;
    const char *found = strstr(text, engine);
    if (must_have && (found == NULL || found > colon))
        return false;
    memcpy(ret->path, colon + 1, strlen(colon + 1) + 1);
    ret->origin = "the Python that called";
    return true;
}

static bool is_repository(const char *folder)
{
    char path[FILE_PATH_BYTES];
    return file_join(folder, ".git", path, NULL) == STATUS_OK && file_exists(path);
}

/* Cuts the last part off; false at the top. */
static bool go_up(char *folder)
{
    char *slash = strrchr(folder, '/');
    if (slash == NULL || folder[1] == '\0')
        return false;
    slash[slash == folder ? 1 : 0] = '\0';
    return true;
}

/* .venv here, or in a folder above up to the repository's own. `must_have`: the package that it has
 * to have; NULL = none. */
static bool take_project(const char *must_have, struct interpreter *ret)
{
    char root[FILE_PATH_BYTES];
    char folder[FILE_PATH_BYTES];
    if (getcwd(folder, sizeof(folder)) == NULL)
        return false;
    memcpy(root, folder, sizeof(root));
    while (!is_repository(root))
        if (!go_up(root)) {
            memcpy(root, folder, sizeof(root));
            break;
        }
    ret->origin = "./.venv";
    do {
        char venv[FILE_PATH_BYTES];
        if (file_join(folder, ".venv", venv, NULL) == STATUS_OK && take_venv(venv, ret) &&
            (must_have == NULL || venv_may_have(venv, must_have)))
            return true;
        ret->origin = ".venv of the repository";
    } while (strcmp(folder, root) != 0 && go_up(folder));
    return false;
}

/* Many shells start with conda's own environment: nobody chose that. */
static bool is_conda_base(const char *prefix)
{
    const char *name = environment_text("CONDA_DEFAULT_ENV");
    if (name != NULL)
        return strcmp(name, "base") == 0;
    char path[FILE_PATH_BYTES]; /* only the installation itself has that folder */
    return file_join(prefix, "condabin", path, NULL) == STATUS_OK && file_exists(path);
}

static bool take_set_up(const char *engine, struct interpreter *ret)
{
    char folder[FILE_PATH_BYTES];
    ret->origin = "tokmark setup";
    return interpreter_setup_folder(engine, folder, NULL) == STATUS_OK && is_set_up(folder) &&
           take_venv(folder, ret);
}

enum status interpreter_choose(const char *engine, const char *asked,
                               struct interpreter *ret_interpreter, struct err *err)
{
    struct interpreter *ret = ret_interpreter;
    const char *named = environment_text("TOKMARK_PYTHON");
    if (asked != NULL)
        return take_named(asked, "--python", ret, err);
    if (named != NULL)
        return take_named(named, "$TOKMARK_PYTHON", ret, err);
    if (take_caller(engine, true, ret))
        return STATUS_OK;
    const char *active = environment_text("VIRTUAL_ENV");
    const char *conda = environment_text("CONDA_PREFIX");
    if (active != NULL)
        return take_named(active, "$VIRTUAL_ENV", ret, err);
    bool is_base = conda != NULL && is_conda_base(conda);
    if (conda != NULL && !is_base)
        return take_named(conda, "$CONDA_PREFIX", ret, err);
    if (take_project(is_base ? package_of(engine) : NULL, ret) || take_set_up(engine, ret))
        return STATUS_OK;
    if (is_base)
        return take_named(conda, "$CONDA_PREFIX (base)", ret, err);
    if (take_caller(engine, false, ret))
        return STATUS_OK;
    ret->origin = "python3 in PATH";
    if (take_from_path("python3", ret))
        return STATUS_OK;
    return ERR(err, STATUS_NOT_FOUND,
               "engine %s needs Python: no python3 in PATH; --python names another", engine);
}
