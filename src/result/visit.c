#include "result/visit.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void visit_fields_add_one(struct visit_fields *fields, enum fact_id field)
{
    size_t at = 0;
    while (at < fields->count && fields->items[at] < field)
        at++;
    if (at < fields->count && fields->items[at] == field)
        return;
    memmove(&fields->items[at + 1], &fields->items[at],
            (fields->count - at) * sizeof(fields->items[0]));
    fields->items[at] = field;
    fields->count++;
}

void visit_fields_add(struct visit_fields *fields, const enum fact_id *more, size_t more_count)
{
    for (size_t i = 0; i < more_count; i++)
        visit_fields_add_one(fields, more[i]);
}

void visit_notes_add(struct visit_notes *notes, const char *name, const struct reader_item *item)
{
    if (notes->count++ == 0)
        (void)snprintf(notes->first, sizeof(notes->first), "%.300s, line %" PRIu64 ": %.600s", name,
                       item->line, item->why);
}

enum status visit_reader(struct reader *reader, visit_record *take, void *context,
                         struct visit_notes *notes, struct err *err)
{
    struct reader_item item = {0};
    enum status status = STATUS_OK;
    while (status == STATUS_OK) {
        status = reader_next(reader, &item, err);
        if (status != STATUS_OK || item.kind == READER_END)
            break;
        if (item.kind == READER_RECORD)
            status = take(context, &item, err);
        else if (notes != NULL)
            visit_notes_add(notes, reader_name(reader), &item);
    }
    reader_close(reader);
    return status;
}

enum status visit_source(const char *source, const struct reader_options *options,
                         visit_record *take, void *context, struct visit_notes *notes,
                         struct err *err)
{
    struct reader *reader = NULL;
    TRY(reader_open_source(source, options, &reader, err));
    return visit_reader(reader, take, context, notes, err);
}
