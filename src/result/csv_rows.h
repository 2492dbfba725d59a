/* result/csv_rows.h - rows of a CSV file of results: its header says which column is which field
 * (RFC 4180, LF or CRLF; columns in any order, and ones that no field has the name of).
 */
#ifndef RESULT_CSV_ROWS_H
#define RESULT_CSV_ROWS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"
#include "result/parser.h"

struct csv_rows; /* opaque */

MUST_CHECK enum status csv_rows_new(struct csv_rows **ret_rows, struct err *err);
void csv_rows_free(struct csv_rows *rows);

/* Takes the line as the header when it names the published fields; false when it does not. */
bool csv_rows_take_header(struct csv_rows *rows, const char *line, size_t line_bytes);
/* Makes a record of a row. *ret_is_header: it was the header again, as where files were put behind
 * each other; then *ret_outcome means nothing. An error is STATUS_NOMEM. */
MUST_CHECK enum status csv_rows_take(struct csv_rows *rows, const char *line, size_t line_bytes,
                                     struct parser *parser, bool *ret_is_header,
                                     enum parser_outcome *ret_outcome, struct err *err);

#endif
