/* compare/course.h - the course of metrics over many runs: for each cell its values in the order of
 * time, the steps in them (measure/steps.h), and what the records say has changed there.
 *
 * A run counts once in a cell: several records of it are their geometric mean. Records without a
 * result, made-up, invalid and unsteady ones stay out unless they are asked for.
 */
#ifndef COMPARE_COURSE_H
#define COMPARE_COURSE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"
#include "compare/context.h"
#include "compare/metric.h"
#include "result/admit.h"
#include "result/visit.h"

#define COURSE_TIME_BYTES 32

struct courses; /* opaque */

struct courses_options {
    struct metrics metrics;
    const enum fact_id *by; /* borrowed; fields that tell cells apart; NULL = their ids */
    size_t by_count;
    bool includes[ADMIT_KINDS_COUNT];
};

struct courses_summary {
    size_t records_count, cells_count, known_count; /* known: seen before, counts once */
    size_t left_out[ADMIT_KINDS_COUNT];
    size_t kept_count;   /* records that count */
    size_t failed_count; /* records without a result */
    struct visit_notes notes;
};

struct course_point {
    double value;                       /* of the run */
    char started_at[COURSE_TIME_BYTES]; /* "" = not known */
    uint16_t context;                   /* context.h */
};

struct course_step {
    size_t at;            /* the first point of the new level */
    double before, after; /* levels: geometric means */
};

/* Of one cell and metric. */
struct course {
    const struct metric *metric; /* borrowed: from the courses */
    struct course_point *points; /* owned */
    size_t points_count;
    struct course_step *steps; /* owned */
    size_t steps_count;
    bool is_too_short; /* too few points to look for steps in */
};

/* How a cell is called: borrowed texts, "" where it is not known. */
struct course_name {
    const char *engine, *model, *device, *mode, *precision;
    size_t seq_len, batch_size;
    bool is_synthetic; /* a point was made up */
};

MUST_CHECK enum status courses_new(const struct courses_options *options,
                                   struct courses **ret_courses, struct err *err);
void courses_free(struct courses *courses);
/* `source`: what reader.h reads, or "-". May be called for several. */
MUST_CHECK enum status courses_read(struct courses *courses, const char *source, struct err *err);
/* After the last read, before what follows. */
MUST_CHECK enum status courses_sort(struct courses *courses, struct err *err);
const struct courses_summary *courses_summary(const struct courses *courses);
const struct metrics *courses_metrics(const struct courses *courses);

struct course_name courses_name(const struct courses *courses, size_t cell);
/* `metric`: number in the metrics. No points: no run knows it. */
MUST_CHECK enum status courses_get(const struct courses *courses, size_t cell, size_t metric,
                                   struct course *ret_course, struct err *err);
void course_release(struct course *course);
/* What differs between the records on both sides of the step, by contexts_compare_*(). */
void courses_explain(const struct courses *courses, const struct course *course,
                     const struct course_step *step, context_visit *visit, void *context);

#endif
