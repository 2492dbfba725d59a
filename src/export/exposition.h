/* export/exposition.h - the text that Prometheus reads, and its successor OpenMetrics 1.0: one
 * family a field, all of its lines together, a line for each trial of a cell.
 */
#ifndef EXPORT_EXPOSITION_H
#define EXPORT_EXPOSITION_H

#include "export/exporter.h"

#define EXPOSITION_NEEDS_COUNT 3

/* Fields of records, for `needs`. */
extern const enum fact_id exposition_needs[EXPOSITION_NEEDS_COUNT];

MUST_CHECK enum status exposition_begin(struct export *export, struct err *err);
MUST_CHECK enum status exposition_add(struct export *export, const struct export_item *item,
                                      struct err *err);
/* OpenMetrics has units, time stamps and an end of its own. With a URL the text stays in
 * export->text. */
MUST_CHECK enum status exposition_write(struct export *export, bool is_openmetrics,
                                        struct err *err);
void exposition_release(struct export *export);

#endif
