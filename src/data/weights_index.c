#include "data/weights_index.h"

#include <jansson.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/num.h"
#include "data/tokens.h"

#define INDEX_BYTES_MAX (64 << 20)

bool weights_index_is_one(const char *path)
{
    static const char suffix[] = ".json";
    size_t length = strlen(path);
    return length >= sizeof(suffix) && strcmp(path + length - (sizeof(suffix) - 1), suffix) == 0;
}

enum status weights_index_find(const char *path, char ret_path[FILE_PATH_BYTES], struct err *err)
{
    static const char *const names[] = {"model.safetensors.index.json", "model.safetensors"};
    struct stat info;
    if (stat(path, &info) != 0 || !S_ISDIR(info.st_mode)) {
        if (strlen(path) >= FILE_PATH_BYTES)
            return ERR(err, STATUS_LIMIT, "'%.80s...' is longer than a path may be", path);
        memcpy(ret_path, path, strlen(path) + 1);
        return STATUS_OK;
    }
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        char inside[FILE_PATH_BYTES];
        enum status status = file_join(path, names[i], inside, err);
        if (status != STATUS_OK)
            return status;
        if (file_exists(inside)) {
            memcpy(ret_path, inside, sizeof(inside));
            return STATUS_OK;
        }
    }
    return ERR(err, STATUS_INVALID, "folder '%.200s' has no %s and no %s; give a file", path,
               names[0], names[1]);
}

/* {file: null} of every file that the index names, in its order; INVALID where it is none. */
static enum status read_files(const char *path, const struct buf *content, json_t **ret_files,
                              struct err *err)
{
    json_error_t problem;
    json_auto_t *index = json_loadb(content->data, content->length_bytes, 0, &problem);
    json_auto_t *files = json_object();
    json_t *map = json_object_get(index, "weight_map");
    if (index == NULL)
        return ERR(err, STATUS_INVALID, "'%.200s' is not JSON: %s (line %d)", path, problem.text,
                   problem.line);
    if (json_object_size(map) == 0)
        return ERR(err, STATUS_INVALID,
                   "'%.200s' is no index of safetensors files: it has no weight_map", path);
    const char *name = NULL;
    const json_t *file = NULL;
    json_object_foreach(map, name, file)
    {
        const char *word = json_string_value(file);
        if (word == NULL || word[0] == '\0' || strchr(word, '/') != NULL)
            return ERR(err, STATUS_INVALID,
                       "'%.200s': the file of tensor '%.80s' is not a file name in the same folder",
                       path, name);
        if (json_object_set_new(files, word, json_null()) != 0)
            return ERR(err, STATUS_NOMEM, "out of memory");
    }
    *ret_files = files;
    files = NULL;
    return STATUS_OK;
}

static enum status beside(const char *path, const char *name, char ret_path[FILE_PATH_BYTES],
                          struct err *err)
{
    const char *slash = strrchr(path, '/');
    char folder[FILE_PATH_BYTES] = ".";
    if (slash != NULL) {
        size_t length = (size_t)(slash - path);
        memcpy(folder, path, length);
        folder[length] = '\0';
    }
    return file_join(folder[0] == '\0' ? "/" : folder, name, ret_path, err);
}

static enum status require_files(const char *path, json_t *files, struct err *err)
{
    size_t missing_count = 0;
    const char *first = NULL;
    const char *name = NULL;
    json_t *unused = NULL;
    json_object_foreach(files, name, unused)
    {
        char file[FILE_PATH_BYTES];
        enum status status = beside(path, name, file, err);
        if (status != STATUS_OK)
            return status;
        if (file_exists(file))
            continue;
        first = first == NULL ? name : first;
        missing_count++;
    }
    if (missing_count > 0)
        return ERR(
            err, STATUS_INVALID,
            "'%.200s' names %zu file%s of weights, of which %zu are not in its folder: '%.120s'%s"
            "; complete the download",
            path, json_object_size(files), num_plural(json_object_size(files)), missing_count,
            first, missing_count > 1 ? " and others" : "");
    return STATUS_OK;
}

enum status weights_index_hash(const char *path, char id[HASH_ID_BYTES], struct err *err)
{
    struct buf content CLEANUP(buf_release);
    struct buf hashes CLEANUP(buf_release);
    json_auto_t *files = NULL;
    char one[HASH_ID_BYTES];
    buf_init(&content, INDEX_BYTES_MAX);
    buf_init(&hashes, INDEX_BYTES_MAX);
    TRY(file_read_all(path, &content, err));
    TRY(read_files(path, &content, &files, err));
    TRY(require_files(path, files, err));
    TRY(tokens_hash_file(path, one, err));
    buf_append_text(&hashes, one);
    const char *name = NULL;
    json_t *unused = NULL;
    json_object_foreach(files, name, unused)
    {
        char file[FILE_PATH_BYTES];
        TRY(beside(path, name, file, err));
        TRY(tokens_hash_file(file, one, err));
        buf_append_text(&hashes, one);
    }
    hash_id(hashes.data, hashes.length_bytes, id);
    return STATUS_OK;
}
