#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "cli/command.h"
#include "result/condition.h"
#include "result/visit.h"

#define OUTPUT_FLUSH_BYTES 65536U
#define OUTPUT_BYTES_MAX   (OUTPUT_FLUSH_BYTES + 8 * (size_t)RECORD_LINE_BYTES_MAX)
#define LOOK_EVERY_NS      (200 * NS_PER_MS)

enum format { FORMAT_TSV, FORMAT_CSV, FORMAT_JSON, FORMAT_JSONL };

struct cat_options {
    const char *fields; /* borrowed: from the command line; NULL = all */
    struct option_texts where;
    uint64_t format;
    bool follows;
};

struct cat {
    const struct invocation *call; /* borrowed: for the call */
    struct cat_options options;
    size_t fields_count; /* to be printed */
    enum fact_id fields[FACTS_COUNT];
    size_t conditions_count;
    struct condition conditions[OPTION_TEXTS_MAX];
    struct buf out;
    bool has_start; /* the fields' names are printed */
    bool is_out_of_memory;
    size_t printed_count, records_count;
    struct visit_notes notes;
};

static const struct option_choice format_choices[] = {{"tsv", FORMAT_TSV},
                                                      {"csv", FORMAT_CSV},
                                                      {"json", FORMAT_JSON},
                                                      {"jsonl", FORMAT_JSONL},
                                                      {NULL, 0}};

static const struct option cat_rows[] = {
    {.name = "fields",
     .type = OPTION_TEXT,
     .offset = offsetof(struct cat_options, fields),
     .arg = "A,B",
     .max = OPTION_VALUE_BYTES,
     .group = "Which",
     .help = "only these fields, in this order; all without it (`tokmark fields` lists them)"},
    {.name = "where",
     .type = OPTION_TEXTS,
     .offset = offsetof(struct cat_options, where),
     .arg = "FIELD=VALUE",
     .max = OPTION_VALUE_BYTES,
     .group = "Which",
     .help = "only records whose field has that value, or is null; several: all of them hold"},
    {.name = "follow",
     .short_name = 'f',
     .type = OPTION_FLAG,
     .offset = offsetof(struct cat_options, follows),
     .group = "Which",
     .help = "go on with records as they are written, until interrupted"},
    {.name = "format",
     .type = OPTION_CHOICE,
     .offset = offsetof(struct cat_options, format),
     .arg = "FORM",
     .def = "tsv",
     .choices = format_choices,
     .group = "Output",
     .help = "tsv and csv begin with the fields' names; json is one array, jsonl an object a line"},
    COMMAND_HELP_ROW,
};

/* --- what is asked for --- */

static enum status read_fields(struct cat *cat, struct err *err)
{
    const char *at = cat->options.fields;
    if (at == NULL) {
        for (enum fact_id id = 0; id < FACTS_COUNT; id++)
            cat->fields[cat->fields_count++] = id;
        return STATUS_OK;
    }
    for (;;) {
        size_t bytes = strcspn(at, ",");
        enum fact_id field;
        enum status status = condition_find_field(at, bytes, &field, err);
        if (status != STATUS_OK)
            return status;
        for (size_t i = 0; i < cat->fields_count; i++)
            if (cat->fields[i] == field)
                return ERR(err, STATUS_INVALID, "--fields names '%s' twice", fact_of(field)->name);
        cat->fields[cat->fields_count++] = field;
        if (at[bytes] == '\0')
            return STATUS_OK;
        at += bytes + 1;
    }
}

static enum status read_condition(struct cat *cat, const char *text, struct err *err)
{
    enum fact_id field;
    const char *equals = strchr(text, '=');
    if (equals == NULL)
        return ERR(err, STATUS_INVALID, "--where takes FIELD=VALUE, not '%.200s'", text);
    TRY(condition_find_field(text, (size_t)(equals - text), &field, err));
    return condition_make(field, equals + 1, &cat->conditions[cat->conditions_count++], err);
}

static enum status read_options(struct cat *cat, const struct options_seen *seen, struct err *err)
{
    enum status status = read_fields(cat, err);
    for (size_t i = 0; status == STATUS_OK && i < cat->options.where.count; i++)
        status = read_condition(cat, cat->options.where.items[i], err);
    if (status != STATUS_OK || !cat->options.follows)
        return status;
    if (seen->operands_count > 1)
        return ERR(err, STATUS_INVALID, "--follow takes one folder or file");
    if (cat->options.format == FORMAT_JSON)
        return ERR(err, STATUS_INVALID,
                   "--format json is one array, which never ends with --follow; use jsonl");
    return STATUS_OK;
}

/* --- records --- */

/* What would end the field or the line is written as \t, \n, \r and \\. */
static void append_tsv_text(const char *text, struct buf *out)
{
    for (;;) {
        size_t bytes = strcspn(text, "\t\n\r\\");
        buf_append(out, text, bytes);
        if (text[bytes] == '\0')
            return;
        const char *escape = text[bytes] == '\t'   ? "\\t"
                             : text[bytes] == '\n' ? "\\n"
                             : text[bytes] == '\r' ? "\\r"
                                                   : "\\\\";
        buf_append_text(out, escape);
        text += bytes + 1;
    }
}

static void append_row(const struct cat *cat, const struct record *record, struct buf *out)
{
    bool is_tsv = cat->options.format == FORMAT_TSV;
    for (size_t i = 0; i < cat->fields_count; i++) {
        enum fact_id field = cat->fields[i];
        if (i > 0)
            buf_append_char(out, is_tsv ? '\t' : ',');
        if (record_is_null(record, field))
            buf_append_text(out, "null");
        else if (is_tsv && fact_of(field)->type == FACT_TYPE_STRING)
            append_tsv_text(record_string(record, field), out);
        else if (is_tsv && fact_of(field)->type == FACT_TYPE_JSON)
            buf_append_text(out, record_string(record, field));
        else
            record_format_csv_value(record, field, out);
    }
    buf_append_char(out, '\n');
}

static void append_object(const struct cat *cat, const struct record *record, struct buf *out)
{
    struct json_writer writer;
    json_writer_init(&writer, out);
    json_begin_object(&writer);
    for (size_t i = 0; i < cat->fields_count; i++) {
        json_put_key(&writer, fact_of(cat->fields[i])->name);
        record_put_value(record, cat->fields[i], &writer);
    }
    json_end_object(&writer);
    buf_append_char(out, '\n');
}

static void append_record(struct cat *cat, const struct record *record)
{
    switch ((enum format)cat->options.format) {
    case FORMAT_TSV:
    case FORMAT_CSV: append_row(cat, record, &cat->out); break;
    case FORMAT_JSON:
        buf_append_text(&cat->out, cat->printed_count == 0 ? "[\n" : ",");
        append_object(cat, record, &cat->out);
        break;
    case FORMAT_JSONL:
        if (cat->options.fields == NULL) /* with the reasons of its nulls, as in a folder */
            record_format_json(record, &cat->out);
        else
            append_object(cat, record, &cat->out);
        break;
    }
    cat->printed_count++;
}

static void append_start(struct cat *cat)
{
    bool is_tsv = cat->options.format == FORMAT_TSV;
    if (cat->has_start || (!is_tsv && cat->options.format != FORMAT_CSV))
        return;
    cat->has_start = true;
    for (size_t i = 0; i < cat->fields_count; i++)
        buf_appendf(&cat->out, "%s%s",
                    i == 0   ? ""
                    : is_tsv ? "\t"
                             : ",",
                    fact_of(cat->fields[i])->name);
    buf_append_char(&cat->out, '\n');
}

static void append_end(struct cat *cat)
{
    if (cat->options.format == FORMAT_JSON)
        buf_append_text(&cat->out, cat->printed_count == 0 ? "[]\n" : "]\n");
}

/* False: memory ends, or nobody reads on (main() says so where it must). */
static bool flush(struct cat *cat)
{
    bool is_written = !cat->out.failed && fwrite(cat->out.data, 1, cat->out.length_bytes, stdout) ==
                                              cat->out.length_bytes;
    if (cat->out.failed && !cat->is_out_of_memory)
        command_complain(cat->call, "out of memory");
    cat->is_out_of_memory |= cat->out.failed;
    buf_reset(&cat->out);
    return is_written && (!cat->options.follows || fflush(stdout) == 0);
}

/* --- reading --- */

static void take_note(struct cat *cat, const char *name, const struct reader_item *item)
{
    struct visit_notes one = {0};
    visit_notes_add(&cat->notes, name, item);
    visit_notes_add(&one, name, item);
    if (cat->options.follows)
        command_complain(cat->call, "%s", one.first);
}

static void take_record(struct cat *cat, const struct record *record)
{
    cat->records_count++;
    for (size_t i = 0; i < cat->conditions_count; i++)
        if (!condition_holds(&cat->conditions[i], record))
            return;
    append_record(cat, record);
}

static bool wait_for_more(struct cat *cat)
{
    const struct timespec pause = {.tv_nsec = LOOK_EVERY_NS};
    if (!flush(cat))
        return false;
    (void)nanosleep(&pause, NULL);
    return true;
}

static enum status read_all(struct cat *cat, struct reader *reader, bool *ret_is_read_on,
                            struct err *err)
{
    struct reader_item item = {0};
    *ret_is_read_on = true;
    while (*ret_is_read_on) {
        enum status status = reader_next(reader, &item, err);
        if (status != STATUS_OK || item.kind == READER_END)
            return status;
        if (item.kind == READER_RECORD)
            take_record(cat, item.record);
        else if (item.kind != READER_WAITING)
            take_note(cat, reader_name(reader), &item);
        if (item.kind == READER_WAITING)
            *ret_is_read_on = wait_for_more(cat);
        else if (cat->out.failed || cat->out.length_bytes >= OUTPUT_FLUSH_BYTES)
            *ret_is_read_on = flush(cat);
    }
    return STATUS_OK;
}

static enum status read_one(struct cat *cat, const char *name, bool *ret_is_read_on,
                            struct err *err)
{
    struct visit_fields fields = {0};
    visit_fields_add(&fields, cat->fields, cat->fields_count);
    for (size_t i = 0; i < cat->conditions_count; i++)
        visit_fields_add_one(&fields, cat->conditions[i].field);
    const struct reader_options options = {
        .fields = fields.items, .fields_count = fields.count, .follows = cat->options.follows};
    struct reader *reader = NULL;
    enum status status = reader_open_source(name, &options, &reader, err);
    if (status == STATUS_OK) {
        append_start(cat);
        status = read_all(cat, reader, ret_is_read_on, err);
    }
    reader_close(reader);
    return status;
}

/* What was no record, and whether anything was. */
static enum exit_code judge(const struct cat *cat)
{
    if (!cat->options.follows)
        command_complain_of_notes(cat->call, &cat->notes);
    return cat->records_count == 0 && cat->notes.count > 0 ? EXIT_CODE_NOTHING : EXIT_CODE_OK;
}

static enum exit_code print(struct cat *cat, const struct options_seen *seen)
{
    struct err err = {0};
    enum status status = STATUS_OK;
    bool is_read_on = true;
    for (size_t i = 0; status == STATUS_OK && is_read_on && i < seen->operands_count; i++)
        status = read_one(cat, seen->operands[i], &is_read_on, &err);
    if (!is_read_on)
        return cat->is_out_of_memory ? EXIT_CODE_IO : EXIT_CODE_OK;
    if (status == STATUS_OK)
        append_end(cat);
    (void)flush(cat);
    if (status != STATUS_OK) {
        command_complain(cat->call, "%s", err.text);
        return EXIT_CODE_IO;
    }
    enum exit_code code = judge(cat);
    return cat->is_out_of_memory ? EXIT_CODE_IO : code;
}

static enum exit_code run_cat(const struct invocation *call)
{
    struct cat *cat = calloc(1, sizeof(*cat));
    struct options_seen seen = {0};
    struct err err = {0};
    enum exit_code code = EXIT_CODE_IO;
    if (cat == NULL) {
        command_complain(call, "out of memory");
        return code;
    }
    cat->call = call;
    buf_init(&cat->out, OUTPUT_BYTES_MAX);
    if (command_parse(call, &cat->options, &seen, &code)) {
        if (read_options(cat, &seen, &err) == STATUS_OK) {
            code = print(cat, &seen);
        } else {
            command_complain(call, "%s", err.text);
            code = EXIT_CODE_USAGE;
        }
    }
    buf_release(&cat->out);
    free(cat);
    return code;
}

const struct command command_cat = {
    .name = "cat",
    .operands = "DIR|FILE|-",
    .operands_min = 1,
    .operands_max = OPTION_TEXTS_MAX,
    .summary = "Prints records of results folders, files, archives or standard input.",
    .description =
        "Reads JSONL and CSV, of tokmark and of the published scripts, without the folder's lock "
        "and while a sweep writes it (docs/reader.md). A field that is not known is null. How many "
        "lines were no records, and the first of them, is said on standard error.",
    .examples = "_bench --fields mode,seq_len,batch_size,ms_p50,verdict\n"
                "_bench.zip --where mode=train --where verdict=ok --format csv\n"
                "_bench --fields started_at,verdict,ms_p50 --follow",
    .options = cat_rows,
    .options_count = ARRAY_COUNT(cat_rows),
    .run = run_cat,
};
