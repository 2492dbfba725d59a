#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/num.h"
#include "cli/command.h"
#include "client/preflight.h"
#include "engines/engine.h"
#include "telemetry/environment.h"

#define OUTPUT_BYTES_MAX (256 * 1024)
#define NAME_COLUMNS     30
#define PROBE_TIMEOUT_NS (30 * NS_PER_S)

struct env_options {
    bool is_json;
};

static const struct option env_rows[] = {
    {.name = "json",
     .type = OPTION_FLAG,
     .offset = offsetof(struct env_options, is_json),
     .group = "Output",
     .help = "one line of JSON, as records hold it"},
    COMMAND_HELP_ROW,
};

static void append_scalar(const json_t *value, struct buf *out)
{
    char text[NUM_TEXT_BYTES];
    switch (json_typeof(value)) {
    case JSON_STRING: buf_append_text(out, json_string_value(value)); break;
    case JSON_INTEGER: buf_appendf(out, "%lld", (long long)json_integer_value(value)); break;
    case JSON_REAL:
        num_format_double(json_real_value(value), text);
        buf_append_text(out, text);
        break;
    case JSON_TRUE: buf_append_text(out, "yes"); break;
    case JSON_FALSE: buf_append_text(out, "no"); break;
    case JSON_NULL: buf_append_text(out, "unknown"); break;
    case JSON_OBJECT:
    case JSON_ARRAY: break;
    }
}

/* "level 1, type Data" */
static void append_fields(const json_t *object, struct buf *out)
{
    const char *key = NULL;
    json_t *value = NULL;
    const char *separator = "";
    json_object_foreach((json_t *)object, key, value)
    {
        buf_appendf(out, "%s%s ", separator, key);
        append_scalar(value, out);
        separator = ", ";
    }
}

/* Words on one line, objects a line each. */
static void append_array(const json_t *array, const char *name, struct buf *out)
{
    bool is_line_begun = false;
    for (size_t i = 0; i < json_array_size(array); i++) {
        const json_t *item = json_array_get(array, i);
        if (json_is_object(item)) {
            buf_appendf(out, "%-*s  ", NAME_COLUMNS, name);
            append_fields(item, out);
            buf_append_char(out, '\n');
            continue;
        }
        if (is_line_begun)
            buf_append_text(out, ", ");
        else
            buf_appendf(out, "%-*s  ", NAME_COLUMNS, name);
        is_line_begun = true;
        append_scalar(item, out);
    }
    if (is_line_begun)
        buf_append_char(out, '\n');
    if (json_array_size(array) == 0)
        buf_appendf(out, "%-*s  none\n", NAME_COLUMNS, name);
}

/* "name   value", with the names of objects within objects joined by dots. */
static void append_object(const json_t *object, const char *prefix, int depth, struct buf *out)
{
    const char *key = NULL;
    json_t *value = NULL;
    json_object_foreach((json_t *)object, key, value)
    {
        char name[256];
        const char *dot = prefix[0] != '\0' ? "." : "";
        if (snprintf(name, sizeof(name), "%s%s%s", prefix, dot, key) >= (int)sizeof(name))
            memcpy(name + sizeof(name) - sizeof("..."), "...", sizeof("..."));
        if (json_is_object(value) && depth < 8) {
            append_object(value, name, depth + 1, out);
        } else if (json_is_array(value)) {
            append_array(value, name, out);
        } else {
            buf_appendf(out, "%-*s  ", NAME_COLUMNS, name);
            append_scalar(value, out);
            buf_append_char(out, '\n');
        }
    }
}

/* Which interpreter each engine in Python would run in, and why; or why none. */
static enum status add_engines(struct buf *json, struct err *err)
{
    char self_path[FILE_PATH_BYTES];
    enum status status = file_self(self_path, err);
    const struct client_options options = {.self_path = self_path,
                                           .phase_timeout_ns = PROBE_TIMEOUT_NS};
    for (unsigned i = 0; i < engine_list_count && status == STATUS_OK; i++) {
        if (engine_list[i]->become == NULL)
            continue;
        struct err cause = {0};
        struct buf found;
        buf_init(&found, ENVIRONMENT_BYTES_MAX);
        if (preflight_worker(&options, engine_list[i]->name, &found, &cause) != STATUS_OK) {
            struct json_writer writer;
            buf_reset(&found);
            json_writer_init(&writer, &found);
            json_put_string(&writer, cause.text);
        }
        status = environment_add(json, engine_list[i]->name, found.data, err);
        buf_release(&found);
    }
    return status;
}

static enum exit_code run_env(const struct invocation *call)
{
    struct env_options options = {0};
    enum exit_code code;
    if (!command_parse(call, &options, NULL, &code))
        return code;
    struct err err = {0};
    struct buf json, out;
    buf_init(&json, ENVIRONMENT_BYTES_MAX);
    buf_init(&out, OUTPUT_BYTES_MAX);
    char id[HASH_ID_BYTES] = "";
    enum status status = environment_write(&json, &err);
    if (status == STATUS_OK) {
        environment_fingerprint(json.data, id);
        status = add_engines(&json, &err);
    }
    if (status != STATUS_OK) {
        command_complain(call, "%s", err.text);
        buf_release(&json);
        return EXIT_CODE_IO;
    }
    json_t *object = options.is_json ? NULL : json_loads(json.data, 0, NULL);
    if (options.is_json) {
        buf_appendf(&out, "%s\n", json.data);
    } else {
        append_object(object, "", 0, &out);
        buf_appendf(&out, "%-*s  %s\n", NAME_COLUMNS, "fingerprint", id);
    }
    json_decref(object);
    buf_release(&json);
    return command_print(call, &out);
}

const struct command command_env = {
    .name = "env",
    .summary = "Prints the machine and build as records hold them.",
    .description = "Also which Python each engine that needs one would run in, and why.\n\n"
                   "Records with equal fingerprints come from equal machines and builds; --resume "
                   "measures again where the fingerprint is another.",
    .examples = "\n--json",
    .options = env_rows,
    .options_count = ARRAY_COUNT(env_rows),
    .run = run_env,
};
