#include "report/best.h"

#include <math.h>

static bool shares(const struct report_cell *a, const struct report_cell *b)
{
    static const enum report_key keys[] = {REPORT_KEY_MODEL,     REPORT_KEY_DEVICE,
                                           REPORT_KEY_MODE,      REPORT_KEY_ENGINE,
                                           REPORT_KEY_PRECISION, REPORT_KEY_SOURCE};
    for (size_t i = 0; i < ARRAY_COUNT(keys); i++)
        if (report_cell_compare(a, b, keys[i]) != 0)
            return false;
    return true;
}

/* They lie beside each other. */
size_t best_find(const struct report *report, best_measure *measure,
                 const struct report_cell *ret_best[BEST_ROWS_MAX])
{
    size_t count = 0;
    for (size_t i = 0; i < report->cells_count && count < BEST_ROWS_MAX;) {
        const struct report_cell *first = &report->cells[i];
        const struct report_cell *found = NULL;
        for (; i < report->cells_count && shares(first, &report->cells[i]); i++) {
            const struct report_cell *cell = &report->cells[i];
            double value = cell->has_result ? measure(cell) : NAN;
            if (isfinite(value) && (found == NULL || value > measure(found)))
                found = cell;
        }
        if (found != NULL)
            ret_best[count++] = found;
    }
    return count;
}
