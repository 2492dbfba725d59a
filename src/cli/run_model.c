#include "cli/run_model.h"

#include <stdio.h>
#include <string.h>

#include "base/json_dump.h"
#include "cli/run_ref.h"
#include "plan/preset.h"

/* What a model of a user's own is told where it asks for a vocabulary or a length and --set does
 * not say: the values of a published model, not ours. */
#define FALLBACK_PRESET "gpt2-124m"
#define PACKAGE         "superintelligence" /* the published package, and presets that it can be */

/* A changed preset must not go by the preset's name. */
static void add_to_name(struct model_spec *spec, const char *setting)
{
    size_t length = strlen(spec->name);
    int added = snprintf(spec->name + length, sizeof(spec->name) - length, ",%s", setting);
    if (added < 0 || (size_t)added >= sizeof(spec->name) - length)
        (void)snprintf(spec->name + sizeof(spec->name) - 5, 5, "....");
}

/* "key=value" to its two parts. */
static const char *split_setting(const char *setting, char key[MODEL_NAME_BYTES])
{
    size_t length = strcspn(setting, "=");
    (void)snprintf(key, MODEL_NAME_BYTES, "%.*s", (int)length, setting);
    return setting + length + 1;
}

/* Settings go to a worker that may run a model of the user's own: fields of its configuration. */
static enum status put_settings(const char *const *settings, size_t count, struct cell *cell,
                                struct err *err)
{
    if (count == 0)
        return STATUS_OK;
    struct buf text;
    buf_init(&text, sizeof(cell->options.settings_json) - 1);
    json_t *object = json_object();
    for (size_t i = 0; object != NULL && i < count; i++) {
        char key[MODEL_NAME_BYTES];
        const char *value = split_setting(settings[i], key);
        (void)json_object_set_new(object, key, json_string(value)); /* the last one counts */
    }
    struct json_writer writer;
    json_writer_init(&writer, &text);
    bool is_whole = object != NULL && json_dump_value(object, &writer) && !text.failed;
    if (is_whole)
        memcpy(cell->options.settings_json, text.data, text.length_bytes + 1);
    json_decref(object);
    buf_release(&text);
    return is_whole ? STATUS_OK
                    : ERR(err, STATUS_INVALID, "--set: all settings together are over %zu bytes",
                          sizeof(cell->options.settings_json) - 1);
}

/* Can the engine run code of a user's own? */
static bool takes_own_models(const struct engine_ops *ops)
{
    return ops == NULL || ops->become != NULL;
}

/* May a package of the user's own stand behind the preset, with settings that no preset has? */
static bool has_own_settings(const struct run_options *options, const struct engine_ops *ops)
{
    return takes_own_models(ops) && options->cell.options.source == CELL_SOURCE_AUTO &&
           strncmp(options->model, PACKAGE, strlen(PACKAGE)) == 0;
}

static enum status take_preset(const struct run_options *options, const struct engine_ops *ops,
                               struct cell *cell, struct err *err)
{
    struct err cause = {0};
    enum status status = preset_load(options->model, &cell->model, &cause);
    if (status != STATUS_OK)
        return ERR(err, status == STATUS_NOMEM ? status : STATUS_INVALID, "--model: %s",
                   cause.text);
    (void)snprintf(cell->model_source, sizeof(cell->model_source), "preset");
    for (size_t i = 0; i < options->settings.count; i++) {
        const char *setting = options->settings.items[i];
        char key[MODEL_NAME_BYTES];
        const char *value = split_setting(setting, key);
        /* A package's own settings are not the preset's: only the worker can tell what fits. */
        bool is_workers = has_own_settings(options, ops) &&
                          (cell->options.keeps_defaults || !model_spec_has(key));
        if (!is_workers) {
            status = model_spec_set(&cell->model, key, value, &cause);
            if (status != STATUS_OK)
                return ERR(err, STATUS_INVALID, "--set %s: %s", setting, cause.text);
        }
        add_to_name(&cell->model, setting);
    }
    status = model_spec_validate(&cell->model, &cause);
    if (status != STATUS_OK)
        return ERR(err, STATUS_INVALID, "--%s: %s", options->settings.count > 0 ? "set" : "model",
                   cause.text);
    if (!takes_own_models(ops))
        return STATUS_OK;
    /* All of them, also those that the settings hold already: a package may be found instead. */
    return put_settings(options->settings.items, options->settings.count, cell, err);
}

static enum status take_own(const struct run_options *options, const struct engine_ops *ops,
                            struct cell *cell, struct err *err)
{
    const char *text = options->model;
    if (!takes_own_models(ops))
        return ERR(err, STATUS_INVALID,
                   "--model: '%.80s' is a model of your own, which engine %s cannot run; try "
                   "--engine pytorch",
                   text, ops->name);
    char name[MODEL_NAME_BYTES];
    enum status status = run_ref_find(text, cell->model_ref, name, err);
    if (status == STATUS_OK)
        status = preset_load(FALLBACK_PRESET, &cell->model, err);
    if (status != STATUS_OK)
        return status;
    (void)snprintf(cell->model_source, sizeof(cell->model_source), "%s",
                   run_ref_is_hf(cell->model_ref) ? "hf" : "factory");
    (void)snprintf(cell->model.name, sizeof(cell->model.name), "%s", name);
    for (size_t i = 0; i < options->settings.count; i++)
        add_to_name(&cell->model, options->settings.items[i]);
    return put_settings(options->settings.items, options->settings.count, cell, err);
}

enum status run_model_take(const struct run_options *options, const struct engine_ops *ops,
                           struct cell *cell, struct err *err)
{
    TRY(run_ref_require_code(options->model, err));
    return run_ref_is_own(options->model) ? take_own(options, ops, cell, err)
                                          : take_preset(options, ops, cell, err);
}
