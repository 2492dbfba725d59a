#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json_dump.h"
#include "base/num.h"
#include "cli/command.h"
#include "cli/context.h"
#include "cli/run_setup.h"
#include "cli/signals.h"
#include "drive/open_once.h"
#include "proto/fields.h"
#include "telemetry/environment.h"

#define OUTPUT_BYTES_MAX (4U << 20)
#define LABEL_WIDTH      14

enum format { FORMAT_TEXT, FORMAT_JSON };

struct explain_options {
    struct run_options run; /* first: the rows of `run` point into it */
    uint64_t format;
};

/* Borrowed: for the call. */
struct explain {
    const struct invocation *call;
    const struct explain_options *options;
    struct run_setup setup;
    struct context context;
    struct client_options client;
    struct buf out;
    size_t opened_count;
    size_t failed_count;
};

/* --- what is said --- */

/* Its fields of the worker's answer, in the order in which they are read, each with its label. */
static const struct {
    enum fact_id id;
    const char *label;
} lines[] = {
    {FACT_MODEL_SOURCE, "source"},
    {FACT_DTYPE_PARAM, "parameters in"},
    {FACT_DTYPE_BUFFERS, "buffers in"},
    {FACT_DTYPE_KEPT, "kept as is"},
    {FACT_DTYPE_COMPUTE, "matmuls in"},
    {FACT_DTYPE_ACCUMULATE, "sums in"},
    {FACT_BACKEND, "kernels"},
    {FACT_FORWARD_CALL, "forward"},
    {FACT_LOSS_SOURCE, "loss"},
    {FACT_COMPILED, "compiled"},
    {FACT_FRAMEWORK_SETTINGS, "settings"},
    {FACT_TOKENS_DATA, "tokens"},
    {FACT_MODEL_CHOSEN, "chosen"},
    {FACT_NOTES, "notes"},
};

static void append_line(const char *label, const char *text, struct buf *out)
{
    buf_appendf(out, "  %-*s ", LABEL_WIDTH, label);
    for (const char *c = text; *c != '\0'; c++) /* whatever a user's code put in it: one line */
        buf_append_char(out, (unsigned char)*c < 0x20 || *c == 0x7f ? ' ' : *c);
    buf_append_char(out, '\n');
}

static const char *text_of(const struct proto_ready *ready, enum fact_id id)
{
    size_t count = 0;
    const struct proto_field *fields = proto_fields_of(FACT_GIVER_READY, &count);
    for (size_t i = 0; i < count; i++)
        if (fields[i].id == id)
            return proto_field_text(&fields[i], ready);
    return "";
}

static void append_counts(const struct proto_ready *ready, const struct cell *cell, struct buf *out)
{
    if (ready->params_total == 0)
        return;
    char total[NUM_TEXT_BYTES];
    num_format_count((double)ready->params_total, total);
    buf_appendf(out, "  %-*s %" PRIu64 " (%s), tied ones counted once", LABEL_WIDTH, "parameters",
                ready->params_total, total);
    if (ready->params_active > 0 && ready->params_active != ready->params_total)
        buf_appendf(out, "; %" PRIu64 " work on a token", ready->params_active);
    if (ready->params_trainable > 0)
        buf_appendf(out, "; trainable %" PRIu64 ", frozen %" PRIu64, ready->params_trainable,
                    ready->params_total - ready->params_trainable);
    buf_append_char(out, '\n');
    char bytes[NUM_TEXT_BYTES];
    if (ready->memory_predicted.is_known) {
        num_format_bytes(ready->memory_predicted.total_bytes, bytes);
        buf_appendf(out, "  %-*s %s predicted\n", LABEL_WIDTH, "memory", bytes);
        return;
    }
    /* Only what every training or inference keeps; activations come on top. */
    uint64_t size = strncmp(ready->dtype_param, "fp32", 4) == 0 ? 4 : 2;
    uint64_t trained = ready->params_trainable > 0 ? ready->params_trainable : ready->params_total;
    bool is_train = cell->mode == CELL_MODE_TRAIN;
    num_format_bytes(size * (ready->params_total + (is_train ? 3 * trained : 0)), bytes);
    buf_appendf(out, "  %-*s at least %s: weights%s\n", LABEL_WIDTH, "memory", bytes,
                is_train ? ", gradients and AdamW's state" : "");
}

/* NAME VALUE FROM of each value that the model was made with. */
static void append_config(const char *json, struct buf *out)
{
    json_t *config = json_loads(json, 0, NULL);
    const char *name = NULL;
    json_t *entry = NULL;
    int width = 0;
    json_object_foreach(config, name, entry)
    {
        int length = (int)strlen(name);
        width = length > width && length <= 40 ? length : width;
    }
    if (json_object_size(config) > 0)
        buf_append_text(out, "  configuration, and where each value comes from:\n");
    json_object_foreach(config, name, entry)
    {
        const json_t *value = json_object_get(entry, "value");
        const char *origin = json_string_value(json_object_get(entry, "from"));
        char *text = json_dumps(value, JSON_ENCODE_ANY);
        buf_appendf(out, "    %-*s  %s  (%s)\n", width, name, text != NULL ? text : "null",
                    origin != NULL ? origin : "not said");
        free(text);
    }
    json_decref(config);
}

static void append_text(const struct cell *cell, const struct open_once *outcome, struct buf *out)
{
    buf_appendf(out, "%s %s, %" PRIu32 " x %" PRIu32 " tokens on %s by %s",
                cell_mode_name(cell->mode), cell_precision_name(cell->precision), cell->batch_size,
                cell->seq_len, cell->device, cell->framework);
    if (outcome->hello.engine_version[0] != '\0')
        buf_appendf(out, " (%s)", outcome->hello.engine_version);
    buf_append_char(out, '\n');
    append_line("model", cell->model.name, out);
    for (size_t i = 0; i < outcome->reasons.count; i++)
        buf_appendf(out, "  %s: %s: %s\n", verdict_name(outcome->verdict),
                    outcome->reasons.items[i].code, outcome->reasons.items[i].text);
    if (!outcome->has_ready)
        return;
    append_counts(&outcome->ready, cell, out);
    for (size_t i = 0; i < ARRAY_COUNT(lines); i++) {
        const char *text = text_of(&outcome->ready, lines[i].id);
        if (text[0] != '\0')
            append_line(lines[i].label, text, out);
    }
    append_config(text_of(&outcome->ready, FACT_MODEL_CONFIG), out);
}

/* The worker's answer as the protocol has it. */
static void put_ready(const struct proto_ready *ready, struct json_writer *writer)
{
    struct proto_worker_message message = {.type = PROTO_READY, .as.ready = *ready};
    struct buf line;
    buf_init(&line, PROTO_LINE_BYTES_MAX);
    proto_encode_worker(&message, &line);
    json_t *value = line.failed ? NULL : json_loadb(line.data, line.length_bytes, 0, NULL);
    if (value == NULL || !json_dump_value(value, writer))
        json_put_null(writer);
    json_decref(value);
    buf_release(&line);
}

/* A line of JSON: the cell, the verdict and the worker's answer under its own keys. */
static void append_json(const struct cell *cell, const struct open_once *outcome, struct buf *out)
{
    struct json_writer writer;
    json_writer_init(&writer, out);
    json_begin_object(&writer);
    json_put_key(&writer, "cell");
    json_begin_object(&writer);
    cell_write(cell, &writer);
    json_end_object(&writer);
    json_field_string(&writer, "verdict", verdict_name(outcome->verdict));
    json_put_key(&writer, "reasons");
    reasons_write(&outcome->reasons, &writer);
    json_put_key(&writer, "ready");
    if (outcome->has_ready)
        put_ready(&outcome->ready, &writer);
    else
        json_put_null(&writer);
    json_end_object(&writer);
    buf_append_char(out, '\n');
}

/* --- the cells --- */

/* The first of its mode and precision: other shapes say the same. */
static bool is_first(const struct plan *plan, size_t index)
{
    for (size_t i = 0; i < index; i++)
        if (plan->cells[i].mode == plan->cells[index].mode &&
            plan->cells[i].precision == plan->cells[index].precision)
            return false;
    return true;
}

static enum status explain_cells(struct explain *explain, struct err *err)
{
    const struct plan *plan = &explain->setup.plan;
    size_t shown_count = 0;
    enum status status = STATUS_OK;
    bool is_text = explain->options->format == FORMAT_TEXT;
    for (size_t i = 0; i < plan->cells_count && *signals_interrupt() == 0; i++) {
        if (!is_first(plan, i))
            continue;
        struct open_once outcome = {0};
        status = open_once_run(&plan->cells[i], &explain->client, &outcome, err);
        if (status != STATUS_OK)
            return status;
        if (is_text && shown_count++ > 0)
            buf_append_char(&explain->out, '\n');
        (is_text ? append_text : append_json)(&plan->cells[i], &outcome, &explain->out);
        *(outcome.verdict == VERDICT_OK ? &explain->opened_count : &explain->failed_count) += 1;
        proto_ready_release(&outcome.ready);
    }
    if (is_text && shown_count < plan->cells_count)
        buf_appendf(&explain->out,
                    "\n%zu of %zu cell%s: the first shape of each mode and precision\n",
                    shown_count, plan->cells_count, num_plural(plan->cells_count));
    if (is_text)
        buf_append_text(&explain->out, "\nNothing was timed or written.\n");
    return status;
}

static enum status require_engine(const struct explain *explain, struct err *err)
{
    struct buf json;
    buf_init(&json, ENVIRONMENT_BYTES_MAX);
    enum status status = context_preflight(&explain->client, explain->setup.ops, &json, err);
    buf_release(&json);
    return status;
}

static enum exit_code explain_all(struct explain *explain)
{
    struct err err = {0};
    struct context *context = &explain->context;
    enum status status = context_open(context, explain->call, &err);
    if (status == STATUS_OK)
        status = context_listen(context, &err);
    explain->client = context_client(context, &explain->options->run);
    if (status == STATUS_OK)
        status = require_engine(explain, &err);
    bool has_begun = status == STATUS_OK;
    if (status == STATUS_OK)
        status = explain_cells(explain, &err);
    if (status != STATUS_OK)
        return context_fail(context, has_begun, status, &err);
    const struct context_outcome outcome = {
        .has_result = explain->opened_count > 0 || explain->failed_count == 0,
        .is_all_well = explain->failed_count == 0,
        .is_interrupted = *signals_interrupt() != 0,
    };
    enum exit_code code = command_print(explain->call, &explain->out);
    return code != EXIT_CODE_OK && !outcome.is_interrupted ? code : context_exit_code(&outcome);
}

static enum exit_code run_explain(const struct invocation *call)
{
    struct explain_options options = {0};
    struct options_seen seen;
    enum exit_code code;
    if (!command_parse(call, &options, &seen, &code))
        return code;
    options.run.out = "_bench"; /* a rule of `run`; nothing is written */
    struct options_table table = command_options(call->command, call->program);
    struct explain explain = {.call = call, .options = &options};
    struct err err = {0};
    buf_init(&explain.out, OUTPUT_BYTES_MAX);
    enum status status = run_setup_make(&options.run, &table, &seen, &explain.setup, &err);
    if (status == STATUS_OK) {
        code = explain_all(&explain);
    } else {
        command_complain(call, "%s", err.text);
        code = status == STATUS_NOMEM ? EXIT_CODE_IO : EXIT_CODE_USAGE;
    }
    context_close(&explain.context);
    buf_release(&explain.out);
    run_setup_release(&explain.setup);
    return code;
}

static const char *const run_names[] = {RUN_GROUP_WHAT, RUN_GROUP_SWEEP, "threads", "timeout",
                                        "memory-limit", "launch",        "help",    NULL};

static const struct option_choice format_choices[] = {
    {"text", FORMAT_TEXT}, {"json", FORMAT_JSON}, {NULL, 0}};

static const struct option explain_rows[] = {
    {.name = "format",
     .type = OPTION_CHOICE,
     .offset = offsetof(struct explain_options, format),
     .arg = "FORM",
     .def = "text",
     .choices = format_choices,
     .group = "Output",
     .help =
         "text for people, or a line of JSON a cell with the worker's answer under its own keys"},
};

const struct command command_explain = {
    .name = "explain",
    .summary = "Opens a model and says what would be measured; times nothing.",
    .description =
        "The model is opened in a worker, by the same road as `tokmark run`: where it comes from, "
        "every value that it was made with and where each comes from, its parameters, in which "
        "precision they and the matmuls are, how it is called and whose loss it is. Of a sweep the "
        "first shape of each mode and precision is opened. Nothing is timed or written.\n\n"
        "0 says that all was opened, 3 that some was not, 4 that nothing was.",
    .examples = "--engine pytorch --model mymodel.model:MyModel --set n_layer=4\n"
                "--engine pytorch --model ./model.py:MyModel --format json\n"
                "--model gpt2-124m --mode infer",
    .options = explain_rows,
    .options_count = ARRAY_COUNT(explain_rows),
    .base = &command_run,
    .base_names = run_names,
    .run = run_explain,
};
