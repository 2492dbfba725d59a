/* result/parser.h - one line of JSON, or one row of CSV, made a record: ours of this schema or an
 * earlier one, or one that the published scripts wrote, which has their fifteen fields.
 */
#ifndef RESULT_PARSER_H
#define RESULT_PARSER_H

#include <stddef.h>

#include "base/status.h"
#include "result/record.h"
#include "result/scan.h"

#define PARSER_PUBLISHED_COUNT 15 /* fields of the published scripts: the first of the table */

enum parser_outcome {
    PARSER_RECORD,
    PARSER_PUBLISHED, /* a record, without a schema: only the published fields can be there */
    PARSER_LATER,     /* of a later schema */
    PARSER_FOREIGN
};

struct parser; /* opaque */

/* `fields`: those that the caller will look at, copied; NULL = all. */
MUST_CHECK enum status parser_new(const enum fact_id *fields, size_t fields_count,
                                  struct parser **ret_parser, struct err *err);
void parser_free(struct parser *parser);
/* From now on all fields are looked at. */
void parser_want_all(struct parser *parser);

/* The record of the last line that was one. Fields that were not asked for are null, "not_read";
 * those that the line lacks "not_recorded". Borrowed: until the next line. */
const struct record *parser_record(const struct parser *parser);
/* Why the last line was none; also of one that was cut off. Borrowed: until the next line. */
const char *parser_why(const struct parser *parser);

/* The line is as for scanner_scan(). An error is STATUS_NOMEM. */
MUST_CHECK enum status parser_take_line(struct parser *parser, const char *line, size_t line_bytes,
                                        enum parser_outcome *ret_outcome, struct err *err);
/* Is what stands behind the last '\n' whole all the same: a JSON object that is none of ours? Some
 * writers end a line only before the next one. */
bool parser_is_whole_foreign(struct parser *parser, const char *line, size_t line_bytes);
/* The values of one row, one a field of the table: SCAN_ABSENT where there is no such column,
 * SCAN_NULL where it is empty. */
MUST_CHECK enum status parser_take_values(struct parser *parser, const struct scan_value *values,
                                          enum parser_outcome *ret_outcome, struct err *err);
/* For a row that has no such values. */
void parser_set_why(struct parser *parser, const char *format, ...) PRINTF_LIKE(2, 3);

#endif
