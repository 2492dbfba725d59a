/* report/best.h - the best cell, by some measure, of those that share model, device, mode, engine,
 * precision and set of results. */
#ifndef REPORT_BEST_H
#define REPORT_BEST_H

#include "report/model.h"

#define BEST_ROWS_MAX 200

/* The more the better; NaN: not known. */
typedef double best_measure(const struct report_cell *cell);

/* In the report's order; how many. Cells without a result are passed over. Borrowed. */
size_t best_find(const struct report *report, best_measure *measure,
                 const struct report_cell *ret_best[BEST_ROWS_MAX]);

#endif
