/* cli/render/forms.h - the forms in which `run` and `ab` write their results to standard output. */
#ifndef CLI_RENDER_FORMS_H
#define CLI_RENDER_FORMS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "cli/options.h"
#include "result/record.h"

enum form { FORM_TABLE, FORM_MARKDOWN, FORM_CSV, FORM_JSON, FORM_JSONL };

extern const struct option_choice form_choices[];

/* `offset`: of an uint64_t. */
#define FORM_ROW(target_offset, heading)                                                         \
    {                                                                                            \
        .name = "format", .short_name = 'o', .type = OPTION_CHOICE, .offset = (target_offset),   \
        .arg = "FORM", .def = "table", .choices = form_choices, .group = (heading),              \
        .help = "what standard output is: table, md (Markdown), csv, json (an array), or jsonl " \
                "(lines as stored in DIR); all else then goes to standard error"                 \
    }

/* Is it for people, or does a program read it: results alone, whatever else there is to say? */
bool form_is_for_people(enum form form);

/* Results in a form for programs, one after the other; form_end() in any case. */
struct form_writer {
    enum form form;
    size_t count;
    struct buf *out; /* borrowed: until form_end() */
};

void form_add_record(struct form_writer *writer, const struct record *record);
/* `line`: a JSON object as it is stored, with its line feed. In CSV what the objects of the two
 * sides hold are columns of their own, "a.verdict"; other objects and arrays are JSON in a cell. */
void form_add_line(struct form_writer *writer, const char *line);
void form_end(struct form_writer *writer);

#endif
