/* base/csv.h - texts of a CSV file (RFC 4180). */
#ifndef BASE_CSV_H
#define BASE_CSV_H

#include "base/buf.h"

/* In quotes, with quotes doubled. */
void csv_append_quoted(struct buf *out, const char *text);
/* In quotes only where it has a comma, a quote or a line end. */
void csv_append_text(struct buf *out, const char *text);

#endif
