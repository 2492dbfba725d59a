/* report/environment.h - a record's environment as names and values for people. */
#ifndef REPORT_ENVIRONMENT_H
#define REPORT_ENVIRONMENT_H

#include "report/model.h"

/* Facts of `json`, the text of a record's `environment`, into `source`: "cpu.model" and so on, in
 * its order; what is null or a list of objects is left out. Text that is no object gives none. */
MUST_CHECK enum status report_environment_take(struct report_texts *texts, const char *json,
                                               struct report_source *source, struct err *err);

#endif
