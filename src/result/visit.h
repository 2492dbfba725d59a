/* result/visit.h - all records of a source, each handed to who asked for them, and the fields that
 * are asked for. What is not read to its end at one go (a followed file, a slice of one) uses
 * reader.h itself.
 */
#ifndef RESULT_VISIT_H
#define RESULT_VISIT_H

#include "result/reader.h"

/* The fields that a reader is asked for: each once, in the table's order. */
struct visit_fields {
    enum fact_id items[FACTS_COUNT];
    size_t count;
};
void visit_fields_add(struct visit_fields *fields, const enum fact_id *more, size_t more_count);
void visit_fields_add_one(struct visit_fields *fields, enum fact_id field);

/* The lines that were no records. */
struct visit_notes {
    uint64_t count;
    char first[ERR_TEXT_BYTES]; /* "NAME, line 3: why" */
};
void visit_notes_add(struct visit_notes *notes, const char *name, const struct reader_item *item);

/* `item` is a record, borrowed for the call. */
typedef enum status visit_record(void *context, const struct reader_item *item, struct err *err);

/* Each record of `source` ("-": standard input), in its order, until one fails. `notes` NULL:
 * nobody asks what was no record. */
MUST_CHECK enum status visit_source(const char *source, const struct reader_options *options,
                                    visit_record *take, void *context, struct visit_notes *notes,
                                    struct err *err);
/* The same of what a reader has left; closes it. */
MUST_CHECK enum status visit_reader(struct reader *reader, visit_record *take, void *context,
                                    struct visit_notes *notes, struct err *err);

#endif
