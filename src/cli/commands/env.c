#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/num.h"
#include "cli/command.h"
#include "cli/matrix.h"
#include "client/preflight.h"
#include "engines/engine.h"
#include "telemetry/environment.h"
#include "telemetry/variables.h"

#define OUTPUT_BYTES_MAX (256 * 1024)
#define NAME_COLUMNS     30
#define ANSWER_COLUMNS   11 /* "cannot tell" */
#define PROBE_TIMEOUT_NS (30 * NS_PER_S)

enum env_format { ENV_TEXT, ENV_JSON };

struct env_options {
    const char *matrix; /* borrowed: from the command line; NULL = none */
    uint64_t format;    /* enum env_format */
    bool is_json;
};

static const struct option_choice format_choices[] = {
    {"text", ENV_TEXT}, {"json", ENV_JSON}, {NULL, 0}};

static const struct option env_rows[] = {
    {.name = "matrix",
     .type = OPTION_TEXT,
     .offset = offsetof(struct env_options, matrix),
     .arg = "FILE",
     .max = OPTION_VALUE_BYTES - 1,
     .group = "What to ask",
     .check = matrix_check_file,
     .help =
         "an environment matrix (YAML): says for each of its lines whether it is met here; exit "
         "1 if one is not"},
    {.name = "format",
     .type = OPTION_CHOICE,
     .offset = offsetof(struct env_options, format),
     .arg = "FORM",
     .def = "text",
     .choices = format_choices,
     .group = "Output",
     .help = "text, or one line of JSON, as records hold it"},
    {.name = "json",
     .type = OPTION_FLAG,
     .offset = offsetof(struct env_options, is_json),
     .group = "Output",
     .help = "the same as --format json"},
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

/* Which interpreter an engine in Python would run in, and why; or why none. */
static enum status add_interpreter(struct buf *json, const struct client_options *options,
                                   const char *engine, struct buf *ret_why_not, struct err *err)
{
    struct err cause = {0};
    struct buf found CLEANUP(buf_release) = {0};
    buf_init(&found, ENVIRONMENT_BYTES_MAX);
    if (preflight_require(options, engine, &found, &cause) != STATUS_OK)
        buf_append_text(ret_why_not, cause.text);
    if (found.length_bytes == 0) {
        struct json_writer writer;
        json_writer_init(&writer, &found);
        json_put_string(&writer, cause.text);
    }
    return environment_add(json, engine, found.data, err);
}

/* {"native":"available","pytorch":"no torch in ..."} */
static enum status add_engines(struct buf *json, struct err *err)
{
    char self_path[FILE_PATH_BYTES];
    TRY(file_self(self_path, err));
    const struct client_options options = {.self_path = self_path,
                                           .phase_timeout_ns = PROBE_TIMEOUT_NS};
    struct buf engines CLEANUP(buf_release) = {0};
    buf_init(&engines, ENVIRONMENT_BYTES_MAX);
    struct json_writer writer;
    json_writer_init(&writer, &engines);
    json_begin_object(&writer);
    for (unsigned i = 0; i < engine_list_count; i++) {
        struct buf why_not CLEANUP(buf_release) = {0};
        buf_init(&why_not, ERR_TEXT_BYTES);
        if (engine_list[i]->become != NULL)
            TRY(add_interpreter(json, &options, engine_list[i]->name, &why_not, err));
        json_put_key(&writer, engine_list[i]->name);
        if (why_not.length_bytes > 0)
            json_put_string(&writer, why_not.data);
        else
            json_put_string(&writer, "available");
    }
    json_end_object(&writer);
    return environment_add(json, "engines", engines.data, err);
}

static enum status add_warnings(struct buf *json, struct err *err)
{
    struct cpuinfo *info = malloc(sizeof(*info));
    if (info == NULL)
        return ERR(err, STATUS_NOMEM, "out of memory");
    cpuinfo_read("", info);
    struct variable_harm harm[VARIABLES_HARM_MAX];
    size_t count = variables_find_harm(environ, info, harm);
    free(info);
    struct buf warnings CLEANUP(buf_release) = {0};
    buf_init(&warnings, ENVIRONMENT_BYTES_MAX);
    struct json_writer writer;
    json_writer_init(&writer, &warnings);
    json_begin_array(&writer);
    for (size_t i = 0; i < count; i++)
        json_put_string(&writer, harm[i].why);
    json_end_array(&writer);
    return environment_add(json, "warnings", warnings.data, err);
}

static enum status add_matrix(struct buf *json, const char *path, enum matrix_answer *ret_answer,
                              struct err *err)
{
    struct buf matrix CLEANUP(buf_release) = {0};
    buf_init(&matrix, MATRIX_BYTES_MAX);
    TRY(matrix_answer_file(path, json->data, &matrix, ret_answer, err));
    return environment_add(json, "matrix", matrix.data, err);
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL ? text : "";
}

/* The answer of each line before the line, and why below it. */
static void append_matrix(const json_t *matrix, struct buf *out)
{
    buf_appendf(out, "\n%s: %s\n", text_of(matrix, "file"), text_of(matrix, "answer"));
    const json_t *lines = json_object_get(matrix, "lines");
    for (size_t i = 0; i < json_array_size(lines); i++) {
        const json_t *line = json_array_get(lines, i);
        buf_appendf(out, "  %-*s  %s\n  %-*s  %s\n", ANSWER_COLUMNS, text_of(line, "answer"),
                    text_of(line, "line"), ANSWER_COLUMNS, "", text_of(line, "why"));
    }
}

static void append_text(json_t *object, const char *id, struct buf *out)
{
    json_t *matrix = json_incref(json_object_get(object, "matrix"));
    (void)json_object_del(object, "matrix");
    append_object(object, "", 0, out);
    buf_appendf(out, "%-*s  %s\n", NAME_COLUMNS, "fingerprint", id);
    if (matrix != NULL)
        append_matrix(matrix, out);
    json_decref(matrix);
}

static enum status gather(const struct env_options *options, struct buf *json,
                          char id[HASH_ID_BYTES], enum matrix_answer *ret_answer, struct err *err)
{
    TRY(environment_write(json, err));
    environment_fingerprint(json->data, id);
    TRY(add_engines(json, err));
    TRY(add_warnings(json, err));
    return options->matrix != NULL ? add_matrix(json, options->matrix, ret_answer, err) : STATUS_OK;
}

static enum exit_code run_env(const struct invocation *call)
{
    struct env_options options = {0};
    enum exit_code code;
    if (!command_parse(call, &options, NULL, &code))
        return code;
    struct err err = {0};
    struct buf json CLEANUP(buf_release) = {0};
    struct buf out;
    buf_init(&json, ENVIRONMENT_BYTES_MAX);
    buf_init(&out, OUTPUT_BYTES_MAX);
    char id[HASH_ID_BYTES] = "";
    enum matrix_answer answer = MATRIX_MET;
    enum status status = gather(&options, &json, id, &answer, &err);
    if (status != STATUS_OK) {
        command_complain(call, "%s", err.text);
        return EXIT_CODE_IO;
    }
    json_t *object = json_loads(json.data, 0, NULL);
    const json_t *warnings = json_object_get(object, "warnings");
    for (size_t i = 0; i < json_array_size(warnings); i++)
        command_complain(call, "warning: %s", json_string_value(json_array_get(warnings, i)));
    if (options.is_json || options.format == ENV_JSON)
        buf_appendf(&out, "%s\n", json.data);
    else
        append_text(object, id, &out);
    json_decref(object);
    code = command_print(call, &out);
    return code == EXIT_CODE_OK && answer == MATRIX_NOT_MET ? EXIT_CODE_GATE_FAILED : code;
}

const struct command command_env = {
    .name = "env",
    .summary = "Prints the machine and build as records hold them.",
    .description =
        "Also which engines are there, which Python each that needs one would run in and why, and "
        "which variables of the surroundings change speed; one that does harm is a warning.\n\n"
        "Records with equal fingerprints come from equal machines and builds; --resume measures "
        "again where the fingerprint is another.",
    .examples = "\n--json\n--matrix environment_matrix.yaml",
    .options = env_rows,
    .options_count = ARRAY_COUNT(env_rows),
    .run = run_env,
};
