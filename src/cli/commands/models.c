#include "base/num.h"
#include "cli/command.h"
#include "plan/preset.h"

#define OUTPUT_BYTES_MAX (64 * 1024)

struct models_options {
    bool is_json;
};

static const struct option models_rows[] = {
    {.name = "json",
     .type = OPTION_FLAG,
     .offset = offsetof(struct models_options, is_json),
     .group = "Output",
     .help = "one line of JSON per preset, with all settings"},
    COMMAND_HELP_ROW,
};

static void append_line(const struct model_spec *spec, const char *summary, struct buf *out)
{
    char params[NUM_TEXT_BYTES], active[NUM_TEXT_BYTES];
    num_format_count((double)model_params_total(spec), params);
    num_format_count((double)model_params_active(spec), active);
    buf_appendf(out, "%-28s  %8s  %8s  %s\n", spec->name, params, active, summary);
}

static void append_json(const struct model_spec *spec, struct buf *out)
{
    struct json_writer writer;
    json_writer_init(&writer, out);
    json_begin_object(&writer);
    json_field_string(&writer, "name", spec->name);
    json_field_u64(&writer, "params_total", model_params_total(spec));
    json_field_u64(&writer, "params_active", model_params_active(spec));
    json_put_key(&writer, "spec");
    model_spec_write(spec, &writer);
    json_end_object(&writer);
    buf_append_char(out, '\n');
}

static enum exit_code run_models(const struct invocation *call)
{
    struct models_options options = {0};
    enum exit_code code;
    if (!command_parse(call, &options, NULL, &code))
        return code;
    struct buf out;
    buf_init(&out, OUTPUT_BYTES_MAX);
    if (!options.is_json)
        buf_appendf(&out, "%-28s  %8s  %8s  %s\n", "model", "params", "active", "what it is");
    for (unsigned i = 0; i < preset_count(); i++) {
        struct model_spec spec;
        struct err err = {0};
        if (preset_load(preset_name(i), &spec, &err) != STATUS_OK) {
            command_complain(call, "%s", err.text);
            buf_release(&out);
            return EXIT_CODE_IO;
        }
        if (options.is_json)
            append_json(&spec, &out);
        else
            append_line(&spec, preset_summary(i), &out);
    }
    return command_print(call, &out);
}

const struct command command_models = {
    .name = "models",
    .summary = "Lists the model presets with their parameters.",
    .description = "'active' counts the parameters that work on one token: of a mixture of experts "
                   "only the chosen ones. A preset is a file like those in models/; --model takes "
                   "the path of one of your own.",
    .examples = "\n--json",
    .options = models_rows,
    .options_count = ARRAY_COUNT(models_rows),
    .run = run_models,
};
