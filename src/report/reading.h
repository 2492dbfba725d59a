/* report/reading.h - sets of results into cells: which records count, and which stands for its
 * cell. */
#ifndef REPORT_READING_H
#define REPORT_READING_H

#include "report/model.h"

struct report_reading; /* opaque */

/* `report` is borrowed for the reading's life. */
MUST_CHECK enum status reading_new(struct report *report, struct report_reading **ret_reading,
                                   struct err *err);
void reading_free(struct report_reading *reading);
/* All of the report's source of that number. */
MUST_CHECK enum status reading_take(struct report_reading *reading, uint32_t source,
                                    struct err *err);
/* Once all are read: the cells and issues of the report. */
MUST_CHECK enum status reading_finish(struct report_reading *reading, struct err *err);

#endif
