#include "cli/run_ref.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/file.h"
#include "cli/run_folder.h"

#define PY_ENDING      ".py"
#define REVISION_SHOWN 7
#define REF_BYTES_MAX  256 /* a file refs/main: 40 characters and a newline */
#define NAME_EXAMPLES  "try 'mymodel.model:MyModel', './file.py:MyModel' or 'hf:DIR'"

static bool has_ending(const char *text, size_t length, const char *ending)
{
    size_t ending_length = strlen(ending);
    return length > ending_length &&
           memcmp(text + length - ending_length, ending, ending_length) == 0;
}

bool run_ref_is_hf(const char *ref)
{
    return strncmp(ref, RUN_REF_HF, strlen(RUN_REF_HF)) == 0;
}

bool run_ref_is_own(const char *text)
{
    if (run_ref_is_hf(text))
        return true;
    return !has_ending(text, strlen(text), ".json") &&
           (strchr(text, ':') != NULL || strchr(text, '/') != NULL ||
            has_ending(text, strlen(text), PY_ENDING));
}

static bool is_dotted_name(const char *text, size_t length)
{
    bool is_start = true;
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        bool is_letter = (c | 0x20U) - 'a' < 26U || c == '_' || c >= 0x80;
        if (c == '.' ? is_start : !is_letter && (is_start || c < '0' || c > '9'))
            return false;
        is_start = c == '.';
    }
    return !is_start;
}

static bool is_folder(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

static bool is_file(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISREG(info.st_mode);
}

/* "~/x" behind "hf:", where no shell has put the home folder in. */
static enum status expand_home(const char *text, char ret_path[FILE_PATH_BYTES], struct err *err)
{
    const char *home = getenv("HOME");
    bool is_home = text[0] == '~' && (text[1] == '/' || text[1] == '\0') && home != NULL;
    int length =
        snprintf(ret_path, FILE_PATH_BYTES, "%s%s", is_home ? home : "", is_home ? text + 1 : text);
    return length >= 0 && length < FILE_PATH_BYTES
               ? STATUS_OK
               : ERR(err, STATUS_INVALID, "--model: '%.80s...' is too long a path", text);
}

/* PREFIX, the absolute form of the path as text, SUFFIX. */
static enum status put_absolute(const char *prefix, const char *path, const char *suffix,
                                char ret_ref[CELL_PATH_BYTES], struct err *err)
{
    char *absolute = realpath(path, NULL);
    if (absolute == NULL)
        return ERR(err, STATUS_INVALID, "--model: cannot read '%.200s': %s", path, strerror(errno));
    char text[CELL_PATH_BYTES];
    bool fits = file_path_to_text(absolute, text, sizeof(text), NULL) == STATUS_OK;
    free(absolute);
    int length = fits ? snprintf(ret_ref, CELL_PATH_BYTES, "%s%s%s", prefix, text, suffix) : -1;
    return length >= 0 && length < CELL_PATH_BYTES
               ? STATUS_OK
               : ERR(err, STATUS_INVALID, "--model: '%.100s...' is too long a path", path);
}

/* --- a folder of transformers, or an id of the Hub --- */

static bool has_config(const char *folder)
{
    char config[FILE_PATH_BYTES];
    return file_join(folder, "config.json", config, NULL) == STATUS_OK && file_exists(config);
}

/* "name" or "organisation/name", as the Hub has them. */
static bool is_hub_id(const char *text)
{
    size_t slashes = 0;
    for (const char *c = text; *c != '\0'; c++) {
        bool is_plain = ((unsigned char)*c | 0x20U) - 'a' < 26U || (*c >= '0' && *c <= '9') ||
                        *c == '_' || *c == '-' || *c == '.';
        slashes += *c == '/';
        if (!is_plain && *c != '/')
            return false;
        if ((c == text || c[-1] == '/') && (*c == '/' || *c == '.' || *c == '-'))
            return false;
    }
    return text[0] != '\0' && slashes <= 1 && text[strlen(text) - 1] != '/';
}

/* Where the Hub's library keeps what it has downloaded: its own variables, in its own order. */
static void hub_cache(char ret_path[FILE_PATH_BYTES])
{
    static const struct {
        const char *variable;
        const char *below;
    } places[] = {{"HF_HUB_CACHE", ""},
                  {"HUGGINGFACE_HUB_CACHE", ""},
                  {"HF_HOME", "/hub"},
                  {"XDG_CACHE_HOME", "/huggingface/hub"},
                  {"HOME", "/.cache/huggingface/hub"}};
    (void)snprintf(ret_path, FILE_PATH_BYTES, ".cache/huggingface/hub");
    for (size_t i = 0; i < ARRAY_COUNT(places); i++) {
        const char *value = getenv(places[i].variable);
        if (value == NULL || value[0] == '\0')
            continue;
        char text[FILE_PATH_BYTES];
        int length = snprintf(text, sizeof(text), "%s%s", value, places[i].below);
        if (length >= 0 && length < FILE_PATH_BYTES &&
            expand_home(text, ret_path, NULL) == STATUS_OK)
            return;
    }
}

/* The snapshot that the id's refs/main names; false where the cache has none. */
static bool find_snapshot(const char *cache, const char *id, char ret_path[FILE_PATH_BYTES],
                          char ret_revision[REF_BYTES_MAX])
{
    const char *slash = strchr(id, '/');
    size_t owner = slash != NULL ? (size_t)(slash - id) : 0;
    char path[FILE_PATH_BYTES];
    char model[FILE_PATH_BYTES];
    int length = snprintf(model, sizeof(model), "%.3000s/models--%.*s%s%.500s", cache, (int)owner,
                          id, slash != NULL ? "--" : "", slash != NULL ? slash + 1 : id);
    if (length < 0 || length >= FILE_PATH_BYTES ||
        file_join(model, "refs/main", path, NULL) != STATUS_OK)
        return false;
    struct buf text;
    buf_init(&text, REF_BYTES_MAX - 1);
    bool is_found = file_read_all(path, &text, NULL) == STATUS_OK;
    (void)snprintf(ret_revision, REF_BYTES_MAX, "%.*s",
                   is_found ? (int)strcspn(text.data, " \t\r\n/") : 0, is_found ? text.data : "");
    buf_release(&text);
    char below[REF_BYTES_MAX + 16];
    (void)snprintf(below, sizeof(below), "snapshots/%s", ret_revision);
    return ret_revision[0] != '\0' && file_join(model, below, ret_path, NULL) == STATUS_OK &&
           has_config(ret_path);
}

static enum status find_in_cache(const char *id, char ret_ref[CELL_PATH_BYTES],
                                 char ret_name[MODEL_NAME_BYTES], struct err *err)
{
    char cache[FILE_PATH_BYTES];
    char path[FILE_PATH_BYTES];
    char revision[REF_BYTES_MAX];
    hub_cache(cache);
    if (!find_snapshot(cache, id, path, revision))
        return ERR(err, STATUS_INVALID,
                   "--model: there is no folder '%.100s', and no such model in the Hub's cache "
                   "'%.200s'; nothing is downloaded: give a folder that holds its config.json as "
                   "hf:DIR, or fill the cache with `hf download %.100s`",
                   id, cache, id);
    (void)snprintf(ret_name, MODEL_NAME_BYTES, RUN_REF_HF "%.90s (Hub cache, %.*s)", id,
                   REVISION_SHOWN, revision);
    return put_absolute(RUN_REF_HF, path, "", ret_ref, err);
}

static enum status find_folder(const char *text, char ret_ref[CELL_PATH_BYTES],
                               char ret_name[MODEL_NAME_BYTES], struct err *err)
{
    char path[FILE_PATH_BYTES];
    enum status status = expand_home(text, path, err);
    if (status != STATUS_OK)
        return status;
    if (!is_folder(path) && is_hub_id(text))
        return find_in_cache(text, ret_ref, ret_name, err);
    status = put_absolute(RUN_REF_HF, path, "", ret_ref, err);
    if (status == STATUS_OK && !has_config(path)) {
        char what[RUN_FOLDER_BYTES];
        run_folder_describe(path, what);
        return ERR(err, STATUS_INVALID, "--model: '%.200s' %s", ret_ref + strlen(RUN_REF_HF), what);
    }
    return status;
}

/* --- code --- */

/* "FILE.py:NAME" */
static enum status find_file(const char *path, const char *suffix, char ret_ref[CELL_PATH_BYTES],
                             struct err *err)
{
    if (!is_file(path))
        return ERR(err, STATUS_INVALID, "--model: there is no file '%.200s'", path);
    return put_absolute("", path, suffix, ret_ref, err);
}

/* "FOLDER/pkg.module:NAME", and "FOLDER/odd-name:NAME" of a file odd-name.py. */
static enum status find_below(const char *path, const char *suffix, char ret_ref[CELL_PATH_BYTES],
                              struct err *err)
{
    const char *module = strrchr(path, '/') + 1;
    char text[FILE_PATH_BYTES];
    (void)snprintf(text, sizeof(text), "%.4000s%s", path, PY_ENDING);
    if (is_file(text))
        return put_absolute("", text, suffix, ret_ref, err);
    if (!is_dotted_name(module, strlen(module)))
        return ERR(err, STATUS_INVALID, "--model: there is no file '%.200s'", text);
    (void)snprintf(text, sizeof(text), "%.*s", (int)(module - path), path);
    if (!is_folder(text))
        return ERR(err, STATUS_INVALID, "--model: there is no folder '%.200s'", text);
    char below[CELL_PATH_BYTES];
    int length = snprintf(below, sizeof(below), "/%s%s", module, suffix);
    if (length < 0 || length >= CELL_PATH_BYTES)
        return ERR(err, STATUS_INVALID, "--model: '%.80s...' is too long a name", module);
    return put_absolute("", text, below, ret_ref, err);
}

static enum status find_code(const char *text, char ret_ref[CELL_PATH_BYTES], struct err *err)
{
    const char *colon = strrchr(text, ':');
    char path[FILE_PATH_BYTES];
    (void)snprintf(path, sizeof(path), "%.*s", (int)(colon - text), text);
    bool is_py = has_ending(path, strlen(path), PY_ENDING);
    bool is_path = strchr(path, '/') != NULL || (is_py && is_file(path));
    if (!is_dotted_name(colon + 1, strlen(colon + 1)) ||
        (!is_path && !is_dotted_name(path, strlen(path))))
        return ERR(err, STATUS_INVALID, "--model: '%.80s' names no class or function; %s", text,
                   NAME_EXAMPLES);
    if (has_ending(path, strlen(path), ".ipynb"))
        return ERR(
            err, STATUS_INVALID,
            "--model: '%.200s' is a notebook: `jupyter nbconvert --to script` makes a file of "
            "it that can be imported",
            path);
    if (is_py)
        return find_file(path, colon, ret_ref, err);
    if (is_path)
        return find_below(path, colon, ret_ref, err);
    (void)snprintf(ret_ref, CELL_PATH_BYTES, "%s", text);
    return STATUS_OK;
}

/* A file that holds tensors or a saved program, and no code that makes a model. */
enum status run_ref_require_code(const char *text, struct err *err)
{
    static const char *const endings[] = {".safetensors", ".pt",   ".pt2",  ".pth", ".bin",
                                          ".ckpt",        ".gguf", ".onnx", ".npz"};
    for (size_t i = 0; i < ARRAY_COUNT(endings); i++)
        if (has_ending(text, strlen(text), endings[i]))
            return ERR(
                err, STATUS_INVALID,
                "--model: '%.200s' is a file of weights or of a saved program: give what makes "
                "the model (a preset, file.py:MyModel or hf:DIR), and safetensors as --weights",
                text);
    return STATUS_OK;
}

enum status run_ref_find(const char *text, char ret_ref[CELL_PATH_BYTES],
                         char ret_name[MODEL_NAME_BYTES], struct err *err)
{
    ret_name[0] = '\0';
    enum status status = STATUS_OK;
    bool is_py = has_ending(text, strlen(text), PY_ENDING);
    if (run_ref_is_hf(text))
        status = find_folder(text + strlen(RUN_REF_HF), ret_ref, ret_name, err);
    else if (strchr(text, ':') != NULL)
        status = find_code(text, ret_ref, err);
    else if (is_py)
        return ERR(err, STATUS_INVALID,
                   "--model: '%.200s' needs the name of a class or function in it; try "
                   "'%.200s:MyModel'",
                   text, text);
    else
        status = find_folder(text, ret_ref, ret_name, err);
    /* The end of a path says more than its beginning. */
    size_t length = strlen(ret_ref);
    size_t room = MODEL_NAME_BYTES - 1;
    if (status == STATUS_OK && ret_name[0] == '\0')
        (void)snprintf(ret_name, MODEL_NAME_BYTES, "%s",
                       ret_ref + (length > room ? length - room : 0));
    return status;
}
