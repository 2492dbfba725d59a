/* result/samples.h - the raw samples of a record, beside the results that it is from. */
#ifndef RESULT_SAMPLES_H
#define RESULT_SAMPLES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "result/record.h"

#define SAMPLES_COUNT_MAX ((size_t)4 << 20)

/* Those of the measured blocks of one run that the record is of, in time order: that are not set
 * aside, or all where every one was. */
struct samples {
    double *values; /* owned; ns a step */
    size_t count, capacity;
    uint64_t steps_count, window_ns;
};

/* No-op on a zeroed one. */
void samples_release(struct samples *samples);

/* Fills `samples`, emptied first, from the folder or archive that `source` is or lies in. False in
 * *ret_is_found: there are none of the record's run, a line of them is damaged, or they do not come
 * to the record's `ms_p50` and `samples`. The record's fields samples_fields must have been read. A
 * missing or unreadable file is no error; STATUS_NOMEM is. */
MUST_CHECK enum status samples_read(const char *source, const struct record *record,
                                    struct samples *samples, bool *ret_is_found, struct err *err);
extern const enum fact_id samples_fields[];
extern const size_t samples_fields_count;

#endif
