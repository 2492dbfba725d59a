#include "plan/preset.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json_write.h"
#include "base/nearest.h"
#include "plan/embedded.h"

#define PRESET_FILE_BYTES_MAX (64 * 1024)
#define PRESET_LIST_MAX       256
#define FILE_ENDING           ".json"

unsigned preset_count(void)
{
    return embedded_models_count;
}

const char *preset_name(unsigned index)
{
    ASSERT(index < embedded_models_count);
    return embedded_models[index].name;
}

const char *preset_summary(unsigned index)
{
    ASSERT(index < embedded_models_count);
    return embedded_models[index].summary;
}

/* A preset says everything: a key that was forgotten must not become 0 or false. The keys are those
 * that model_spec_write() writes. */
static enum status check_complete(const json_t *object, const struct model_spec *spec,
                                  const char *what, struct err *err)
{
    struct buf text;
    buf_init(&text, PRESET_FILE_BYTES_MAX);
    struct json_writer writer;
    json_writer_init(&writer, &text);
    model_spec_write(spec, &writer);
    json_t *all = text.failed ? NULL : json_loadb(text.data, text.length_bytes, 0, NULL);
    buf_release(&text);
    if (all == NULL)
        return ERR(err, STATUS_NOMEM, "no memory to check model '%s'", what);
    enum status status = STATUS_OK;
    const char *key = NULL;
    json_t *value = NULL;
    json_object_foreach(all, key, value)
    {
        if (strcmp(key, "name") != 0 && json_object_get(object, key) == NULL)
            status = ERR(err, STATUS_INVALID, "model '%s' lacks the key '%s'", what, key);
    }
    json_decref(all);
    return status;
}

/* `name` becomes the model's; `what` is for error texts. */
static enum status read_preset(const char *text, size_t text_bytes, const char *name,
                               const char *what, struct model_spec *ret_spec, struct err *err)
{
    if (name[0] == '\0')
        return ERR(err, STATUS_INVALID, "'%s': a model file needs a name before .json", what);
    if (strlen(name) >= sizeof(ret_spec->name))
        return ERR(err, STATUS_LIMIT, "model name '%.40s...' is longer than %zu bytes", name,
                   sizeof(ret_spec->name) - 1);
    json_error_t error;
    json_t *object = json_loadb(text, text_bytes, JSON_REJECT_DUPLICATES, &error);
    if (object == NULL)
        return ERR(err, STATUS_INVALID, "model '%s', line %d: %s", what, error.line, error.text);
    (void)json_object_del(object, "summary"); /* for people; not a setting of the model */

    struct model_spec spec = {0};
    struct err why = {0};
    enum status status = model_spec_read(object, &spec, &why);
    if (status == STATUS_OK)
        status = check_complete(object, &spec, what, err);
    if (status == STATUS_OK)
        status = model_spec_validate(&spec, &why);
    json_decref(object);
    if (why.status != STATUS_OK)
        return ERR(err, why.status, "model '%s': %s", what, why.text);
    if (status != STATUS_OK)
        return status;
    (void)snprintf(spec.name, sizeof(spec.name), "%s", name);
    *ret_spec = spec;
    return STATUS_OK;
}

static enum status load_file(const char *path, struct model_spec *ret_spec, struct err *err)
{
    struct buf text;
    buf_init(&text, PRESET_FILE_BYTES_MAX);
    enum status status = file_read_all(path, &text, err);
    if (status == STATUS_OK) {
        const char *slash = strrchr(path, '/');
        const char *base = slash != NULL ? slash + 1 : path;
        char name[FILE_PATH_BYTES];
        size_t length = strlen(base) - strlen(FILE_ENDING);
        (void)snprintf(name, sizeof(name), "%.*s", (int)length, base);
        status = read_preset(text.data, text.length_bytes, name, path, ret_spec, err);
    }
    buf_release(&text);
    return status;
}

static bool is_file_name(const char *name)
{
    size_t length = strlen(name);
    size_t ending = strlen(FILE_ENDING);
    return length > ending && strcmp(name + length - ending, FILE_ENDING) == 0;
}

enum status preset_load(const char *name, struct model_spec *ret_spec, struct err *err)
{
    if (is_file_name(name))
        return load_file(name, ret_spec, err);
    const char *names[PRESET_LIST_MAX];
    ASSERT(embedded_models_count > 0 && embedded_models_count <= PRESET_LIST_MAX);
    for (unsigned i = 0; i < embedded_models_count; i++) {
        const struct embedded_model *model = &embedded_models[i];
        if (strcmp(model->name, name) == 0)
            return read_preset(model->text, strlen(model->text), name, name, ret_spec, err);
        names[i] = model->name;
    }
    struct nearest_hint hint;
    return ERR(err, STATUS_NOT_FOUND,
               "there is no model '%.60s'; %s (a file's name must end in .json)", name,
               nearest_hint(&hint, "", name, names, embedded_models_count));
}
