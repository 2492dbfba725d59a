#include "cli/render/forms.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/csv.h"

const struct option_choice form_choices[] = {
    {"table", FORM_TABLE}, {"md", FORM_MARKDOWN}, {"csv", FORM_CSV},
    {"json", FORM_JSON},   {"jsonl", FORM_JSONL}, {NULL, 0},
};

bool form_is_for_people(enum form form)
{
    return form == FORM_TABLE || form == FORM_MARKDOWN;
}

/* An array with a line an element: what is stored as a line stays one. */
static void begin_element(struct form_writer *writer)
{
    if (writer->form == FORM_JSON)
        buf_append_text(writer->out, writer->count == 0 ? "[\n" : ",");
    writer->count++;
}

void form_add_record(struct form_writer *writer, const struct record *record)
{
    if (writer->form == FORM_CSV) {
        if (writer->count++ == 0)
            record_format_csv_header(writer->out);
        record_format_csv(record, writer->out);
        return;
    }
    begin_element(writer);
    record_format_json(record, writer->out);
}

void form_end(struct form_writer *writer)
{
    if (writer->form == FORM_JSON)
        buf_append_text(writer->out, writer->count == 0 ? "[]\n" : "]\n");
}

/* --- lines of a journal as CSV --- */

static void append_value(const json_t *value, struct buf *out)
{
    char *text = NULL;
    if (json_is_string(value)) {
        csv_append_text(out, json_string_value(value));
        return;
    }
    if (!json_is_null(value))
        text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(17));
    if (text != NULL)
        csv_append_text(out, text);
    out->failed |= text == NULL && !json_is_null(value);
    free(text);
}

static bool is_side(const char *key, const json_t *value)
{
    return json_is_object(value) && (strcmp(key, "a") == 0 || strcmp(key, "b") == 0);
}

/* The row of `object`, or of its names. */
static void append_columns(json_t *object, bool is_head, struct buf *out)
{
    const char *key = NULL;
    const char *inner = NULL;
    json_t *value = NULL;
    json_t *part = NULL;
    const char *separator = "";
    json_object_foreach(object, key, value)
    {
        if (!is_side(key, value)) {
            buf_append_text(out, separator);
            separator = ",";
            if (is_head)
                csv_append_text(out, key);
            else
                append_value(value, out);
            continue;
        }
        json_object_foreach(value, inner, part)
        {
            buf_append_text(out, separator);
            separator = ",";
            if (is_head)
                buf_appendf(out, "%s.%s", key, inner);
            else
                append_value(part, out);
        }
    }
    buf_append_char(out, '\n');
}

void form_add_line(struct form_writer *writer, const char *line)
{
    if (writer->form != FORM_CSV) {
        begin_element(writer);
        buf_append_text(writer->out, line);
        return;
    }
    json_t *object = json_loads(line, 0, NULL);
    writer->out->failed |= object == NULL;
    if (object != NULL && writer->count++ == 0)
        append_columns(object, true, writer->out);
    if (object != NULL)
        append_columns(object, false, writer->out);
    json_decref(object);
}
