#include <string.h>

#include "base/json_write.h"
#include "cli/command.h"
#include "spec/cell.h"
#include "spec/facts.h"

#define OUTPUT_BYTES_MAX (256 * 1024)
#define ALL              UINT64_MAX

enum format { FORMAT_TEXT, FORMAT_JSON, FORMAT_MD };
enum fields_table { FIELDS_TABLE_RECORD, FIELDS_TABLE_OPEN };

struct fields_options {
    uint64_t table, group, giver, format;
};

static const struct option_choice table_choices[] = {
    {"record", FIELDS_TABLE_RECORD}, {"open", FIELDS_TABLE_OPEN}, {NULL, 0}};

static const struct option_choice group_choices[] = {{"all", ALL},
#define X(name, text) {text, FACT_GROUP_##name},
                                                     FACT_GROUP_MAP(X)
#undef X
                                                         {NULL, 0}};

static const struct option_choice giver_choices[] = {{"all", ALL},
#define X(name, text) {text, FACT_GIVER_##name},
                                                     FACT_GIVER_MAP(X)
#undef X
                                                         {NULL, 0}};

static const struct option_choice format_choices[] = {
    {"text", FORMAT_TEXT}, {"json", FORMAT_JSON}, {"md", FORMAT_MD}, {NULL, 0}};

static const struct option fields_rows[] = {
    {.name = "of",
     .type = OPTION_CHOICE,
     .offset = offsetof(struct fields_options, table),
     .arg = "WHAT",
     .def = "record",
     .choices = table_choices,
     .group = "Which",
     .help = "a record, or open: what a worker is asked to run (docs/protocol.md)"},
    {.name = "group",
     .type = OPTION_CHOICE,
     .offset = offsetof(struct fields_options, group),
     .arg = "NAME",
     .def = "all",
     .choices = group_choices,
     .group = "Which",
     .help = "only the fields of one section of docs/records.md"},
    {.name = "from",
     .type = OPTION_CHOICE,
     .offset = offsetof(struct fields_options, giver),
     .arg = "WHO",
     .def = "all",
     .choices = giver_choices,
     .group = "Which",
     .help = "only the fields whose value comes from there; ready, block and memory are replies of "
             "workers (docs/protocol.md)"},
    {.name = "format",
     .type = OPTION_CHOICE,
     .offset = offsetof(struct fields_options, format),
     .arg = "FORM",
     .def = "text",
     .choices = format_choices,
     .group = "Output",
     .help = "text, json (a line a field), or md: the tables of the documentation"},
    COMMAND_HELP_ROW,
};

static const char *dash_if_empty(const char *text)
{
    return text[0] != '\0' ? text : "-";
}

static void append_text(const struct fact *fact, struct buf *out)
{
    buf_appendf(out, "%-24s %-8s %-9s %-7s %s\n", fact->name, fact_type_name(fact->type),
                dash_if_empty(fact->unit), fact_better_name(fact->better), fact->meaning);
}

/* The words of `null_reasons`, as a list. */
static void put_reasons(const struct fact *fact, struct json_writer *writer)
{
    json_put_key(writer, "null_reasons");
    json_begin_array(writer);
    for (const char *c = fact->null_reasons; *c != '\0';) {
        size_t length = strcspn(c, " ");
        struct buf word;
        buf_init(&word, OUTPUT_BYTES_MAX);
        buf_append(&word, c, length);
        json_put_string(writer, word.data);
        buf_release(&word);
        c += length + (c[length] == ' ');
    }
    json_end_array(writer);
}

static void append_json(enum fact_id id, struct buf *out)
{
    const struct fact *fact = fact_of(id);
    struct json_writer writer;
    json_writer_init(&writer, out);
    json_begin_object(&writer);
    json_field_string(&writer, "name", fact->name);
    json_field_string(&writer, "type", fact_type_name(fact->type));
    json_field_string(&writer, "unit", fact->unit);
    json_field_string(&writer, "group", fact_group_name(fact->group));
    json_field_string(&writer, "better", fact_better_name(fact->better));
    json_field_string(&writer, "compare", fact_compare_name(fact_compare(id)));
    json_field_double(&writer, "least_percent", fact_least_percent(id));
    json_field_string(&writer, "from", fact_giver_name(fact->giver));
    json_field_string(&writer, "meaning", fact->meaning);
    json_field_string(&writer, "null_when", fact->null_when);
    put_reasons(fact, &writer);
    if (fact->key[0] != '\0') {
        json_field_string(&writer, "key", fact->key);
        json_field_string(&writer, "wire", fact_wire_name(fact->wire));
    }
    json_end_object(&writer);
    buf_append_char(out, '\n');
}

/* As docs/records.md has them; where a reply was asked for, as docs/protocol.md. */
static void append_md(const struct fact *fact, bool is_reply, struct buf *out)
{
    if (is_reply && fact->key[0] != '\0')
        buf_appendf(out, "| `%s` | %s | `%s`: %s |\n", fact->key, fact_wire_name(fact->wire),
                    fact->name, fact->meaning);
    else if (!is_reply)
        buf_appendf(out, "| `%s` | %s | %s | %s | %s |\n", fact->name, fact_type_name(fact->type),
                    dash_if_empty(fact->unit), fact->meaning, fact->null_when);
}

static void append_head(const struct fields_options *options, struct buf *out)
{
    if (options->format == FORMAT_TEXT)
        buf_appendf(out, "%-24s %-8s %-9s %-7s %s\n", "field", "type", "unit", "better", "meaning");
    else if (options->format == FORMAT_MD && options->giver == ALL)
        buf_append_text(out, "| field | type | unit | meaning | null when |\n"
                             "| --- | --- | --- | --- | --- |\n");
    else if (options->format == FORMAT_MD)
        buf_append_text(out, "| key | type | field of the record |\n| --- | --- | --- |\n");
}

/* --- of `open` -------------------------------------------------------------------------------- */

static void append_words(const struct cell_field *field, const char *between, struct buf *out)
{
    for (size_t i = 0; i < field->words_count; i++)
        buf_appendf(out, "%s%s", i > 0 ? between : "", field->words[i]);
}

/* "text 1024", "count >= 1": as docs/protocol.md calls kinds of values. */
static void append_kind(const struct cell_field *field, struct buf *out)
{
    switch (field->kind) {
    case CELL_KIND_TEXT:
    case CELL_KIND_HASH: buf_appendf(out, "text %zu", field->bytes); break;
    case CELL_KIND_SEED: buf_appendf(out, "text %d", CELL_SEED_BYTES); break;
    case CELL_KIND_SETTINGS: buf_appendf(out, "object, text %zu", field->bytes); break;
    case CELL_KIND_COUNT: buf_appendf(out, "count >= %u", (unsigned)field->least); break;
    case CELL_KIND_WORD:
    case CELL_KIND_FLAG: buf_append_text(out, "word"); break;
    case CELL_KIND_MODEL:
    case CELL_KIND_OPTIONS: buf_append_text(out, "object"); break;
    }
}

static void append_open_row(const struct cell_field *field, enum format format, struct buf *out)
{
    const char *prefix = field->is_option ? "options." : "";
    bool is_required = field->need == CELL_NEED_ALWAYS || field->need == CELL_NEED_PATH;
    struct buf kind;
    struct buf words;
    buf_init(&kind, OUTPUT_BYTES_MAX);
    buf_init(&words, OUTPUT_BYTES_MAX);
    append_kind(field, &kind);
    append_words(field, " ", &words);
    if (format == FORMAT_JSON) {
        struct json_writer writer;
        json_writer_init(&writer, out);
        json_begin_object(&writer);
        json_field_string(&writer, "name", field->key);
        json_field_string(&writer, "in", field->is_option ? "options" : "open");
        json_field_string(&writer, "kind", kind.data);
        json_put_key(&writer, "words");
        json_begin_array(&writer);
        for (size_t i = 0; i < field->words_count; i++)
            json_put_string(&writer, field->words[i]);
        json_end_array(&writer);
        json_field_bool(&writer, "required", is_required);
        json_field_string(&writer, "meaning", field->meaning);
        json_end_object(&writer);
        buf_append_char(out, '\n');
    } else if (format == FORMAT_MD) {
        buf_appendf(out, "| `%s%s` | %s | %s%s%s%s |\n", prefix, field->key, kind.data,
                    words.length_bytes > 0 ? "`" : "", words.data,
                    words.length_bytes > 0 ? "`: " : "", field->meaning);
    } else {
        buf_appendf(out, "%s%-*s %-17s %s%s%s\n", prefix, 26 - (int)strlen(prefix), field->key,
                    kind.data, words.data, words.length_bytes > 0 ? ": " : "", field->meaning);
    }
    buf_release(&kind);
    buf_release(&words);
}

static void append_open(enum format format, struct buf *out)
{
    if (format == FORMAT_TEXT)
        buf_appendf(out, "%-26s %-17s %s\n", "key", "type", "meaning");
    else if (format == FORMAT_MD)
        buf_append_text(out, "| key | type | |\n| --- | --- | --- |\n| `type` | `\"open\"` | |\n");
    const struct cell_field *field = NULL;
    for (size_t i = 0; (field = cell_field_at(i)) != NULL; i++)
        append_open_row(field, format, out);
}

/* --- the command ------------------------------------------------------------------------------ */

static enum exit_code run_fields(const struct invocation *call)
{
    struct fields_options options = {0};
    enum exit_code code;
    if (!command_parse(call, &options, NULL, &code))
        return code;
    if (options.table == FIELDS_TABLE_OPEN && (options.group != ALL || options.giver != ALL)) {
        command_complain(call, "--group and --from are of records; leave them out");
        return EXIT_CODE_USAGE;
    }
    struct buf out;
    buf_init(&out, OUTPUT_BYTES_MAX);
    if (options.table == FIELDS_TABLE_OPEN) {
        append_open((enum format)options.format, &out);
        return command_print(call, &out);
    }
    append_head(&options, &out);
    for (enum fact_id id = 0; id < FACTS_COUNT; id++) {
        const struct fact *fact = fact_of(id);
        if ((options.group != ALL && options.group != fact->group) ||
            (options.giver != ALL && options.giver != fact->giver))
            continue;
        switch ((enum format)options.format) {
        case FORMAT_TEXT: append_text(fact, &out); break;
        case FORMAT_JSON: append_json(id, &out); break;
        case FORMAT_MD: append_md(fact, options.giver != ALL, &out); break;
        }
    }
    return command_print(call, &out);
}

const struct command command_fields = {
    .name = "fields",
    .summary = "Lists the fields of a record: type, unit, which way is better, meaning.",
    .description = "All of them come from one table (src/spec/facts.def; of `open`: cell.def). "
                   "'better' says how two "
                   "records compare: higher or lower is better, or the field must be exactly equal "
                   "for the two to be comparable.",
    .examples = "\n--group latency\n--from ready --format json\n--of open",
    .options = fields_rows,
    .options_count = ARRAY_COUNT(fields_rows),
    .run = run_fields,
};
