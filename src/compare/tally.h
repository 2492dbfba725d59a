/* compare/tally.h - what is kept of the runs of each cell on one side: sums, so that a cell takes
 * the same room whatever the number of its runs; small, because there may be millions of cells. */
#ifndef COMPARE_TALLY_H
#define COMPARE_TALLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/chunks.h"
#include "base/status.h"
#include "compare/metric.h"
#include "measure/change.h"
#include "result/visit.h"

/* Of a cell on one side. All zero: it has no record. */
struct tally {
    uint16_t context; /* of its newest record (context.h) */
    uint8_t verdict;  /* enum verdict + 1; of the first record without a result, if there is one */
    uint8_t flags;    /* enum tally_flag */
    uint32_t many;    /* where its sums are; 0 = one run, whose values are the sums */
    uint32_t samples_count;
    int16_t log_clock; /* ln(pace_ms), in units of TALLY_CLOCK_UNIT; 0 = not known */
    uint16_t noise;    /* between runs, for tally_noise(); 0 = not known */
};

#define TALLY_CLOCK_UNIT 1e-4

enum tally_flag {
    TALLY_HAS_RESULT = 1, /* a record has one, and none of the newest run lacks one */
    TALLY_IS_SANDBOX = 2,
    TALLY_IS_PUBLISHED = 4,
    TALLY_IS_UNSTEADY = 8,   /* a record that counts is */
    TALLY_IS_WARNED = 16,    /* a record that counts has warnings */
    TALLY_HAS_VARIED = 32,   /* a counted metric was not the same in all runs */
    TALLY_HAS_SAMPLES = 64,  /* samples_count is known */
    TALLY_IS_BY_SHAPE = 128, /* of the new side: matched by its shape, not as the same cell */
};

struct tallies {
    const struct metrics *metrics; /* borrowed */
    size_t offsets[METRICS_MAX];   /* of a metric's value in a row; of a sampled one its variance */
    struct chunks rows;            /* behind each struct tally its values */
    struct chunks many;
    uint32_t many_count;
};

void tallies_init(struct tallies *tallies, const struct metrics *metrics);
void tallies_release(struct tallies *tallies);
/* Adds the fields that are looked at. */
void tallies_add_fields(const struct metrics *metrics, struct visit_fields *fields);

/* Counts the record in. `forgets`: what the cell had before is superseded. `summary`: values from
 * the raw samples, in the order of metrics, or NULL. STATUS_NOMEM. */
struct tally_sample {
    double value, low, high; /* NaN: not known */
};
MUST_CHECK enum status tallies_add(struct tallies *tallies, size_t cell,
                                   const struct reader_item *item, bool has_result, bool forgets,
                                   uint16_t context, const struct tally_sample *samples,
                                   struct err *err);
/* NULL: no record. Borrowed. */
const struct tally *tallies_find(const struct tallies *tallies, size_t cell);
/* Takes over what `from` has of a cell. */
MUST_CHECK enum status tallies_move(struct tallies *tallies, size_t from, size_t to,
                                    struct err *err);

/* What the cell's first record knew of the noise between runs; false: nothing. */
bool tally_noise(const struct tally *tally, struct change_noise *ret_noise);

/* A metric of a cell; false: no run knows it. *ret_value: of the one run, or the geometric mean of
 * several; of a counted metric the newest. */
bool tallies_get(const struct tallies *tallies, const struct tally *tally, size_t metric,
                 double *ret_value, struct change_side *ret_side);

#endif
