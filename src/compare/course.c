#include "compare/course.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/chunks.h"
#include "base/hash.h"
#include "measure/steps.h"
#include "result/cells.h"

/* Of one record; behind it the values of the metrics, NaN where it does not know one. */
struct sighting {
    char started_at[COURSE_TIME_BYTES];
    uint64_t run;
    uint32_t cell;
    uint32_t number; /* in the order of reading */
    uint16_t context;
    double values[];
};

struct title {
    uint32_t name; /* contexts_name() */
    uint32_t seq_len, batch_size;
    size_t from, to; /* its sightings, sorted */
    bool is_synthetic;
};

struct courses {
    struct courses_options options;
    struct cells *cells;       /* owned */
    struct contexts *contexts; /* owned */
    struct chunks titles;      /* struct title a cell */
    struct chunks sightings;
    size_t sightings_count;
    const struct sighting **sorted; /* owned; by cell and time */
    struct visit_fields fields;
    struct courses_summary summary;
};

static void choose_fields(struct courses *courses)
{
    static const enum fact_id own[] = {FACT_STARTED_AT, FACT_RUN_ID, FACT_SEQ_LEN, FACT_BATCH_SIZE};
    struct visit_fields *fields = &courses->fields;
    contexts_add_fields(fields);
    for (size_t i = 0; i < courses->options.metrics.count; i++)
        visit_fields_add_one(fields, courses->options.metrics.items[i].fact);
    visit_fields_add(fields, admit_fields, admit_fields_count);
    visit_fields_add(fields, cells_fields, cells_fields_count);
    visit_fields_add(fields, courses->options.by, courses->options.by_count);
    visit_fields_add(fields, own, ARRAY_COUNT(own));
}

enum status courses_new(const struct courses_options *options, struct courses **ret_courses,
                        struct err *err)
{
    struct courses *courses = calloc(1, sizeof(*courses));
    if (courses == NULL)
        return ERR(err, STATUS_NOMEM, "no memory for the history");
    courses->options = *options;
    chunks_init(&courses->titles, sizeof(struct title));
    chunks_init(&courses->sightings,
                sizeof(struct sighting) + options->metrics.count * sizeof(double));
    choose_fields(courses);
    const struct cells_options cells_options = {
        .by = options->by, .by_count = options->by_count, .sides_count = 1};
    enum status status = cells_new(&cells_options, &courses->cells, err);
    if (status == STATUS_OK)
        status = contexts_new(&courses->contexts, err);
    if (status == STATUS_OK)
        *ret_courses = courses;
    else
        courses_free(courses);
    return status;
}

void courses_free(struct courses *courses)
{
    if (courses == NULL)
        return;
    cells_free(courses->cells);
    contexts_free(courses->contexts);
    chunks_release(&courses->titles);
    chunks_release(&courses->sightings);
    free(courses->sorted);
    free(courses);
}

/* --- reading --- */

/* Of what is measured only a value that has a logarithm. */
static double value_of(const struct record *record, const struct metric *metric)
{
    enum fact_id field = metric->fact;
    if (record_is_null(record, field))
        return NAN;
    double value = fact_of(field)->type == FACT_TYPE_INTEGER ? (double)record_u64(record, field)
                                                             : record_double(record, field);
    bool is_usable = isfinite(value) && (value > 0 || metric->how == FACT_COMPARE_COUNTED);
    return is_usable ? value : NAN;
}

static enum status keep(struct courses *courses, const struct reader_item *item, size_t cell,
                        bool is_synthetic, struct err *err)
{
    const struct record *record = item->record;
    struct title *title = chunks_at(&courses->titles, cell);
    struct sighting *sighting = chunks_at(&courses->sightings, courses->sightings_count);
    if (title == NULL || sighting == NULL || courses->sightings_count == UINT32_MAX)
        return ERR(err, STATUS_NOMEM, "no memory for the history");
    const char *run = record_string(record, FACT_RUN_ID);
    *sighting = (struct sighting){
        .cell = (uint32_t)cell,
        .number = (uint32_t)courses->sightings_count,
        .run = run[0] != '\0' ? hash_u64(run, strlen(run)) : 0,
    };
    (void)snprintf(sighting->started_at, sizeof(sighting->started_at), "%.*s",
                   COURSE_TIME_BYTES - 1, record_string(record, FACT_STARTED_AT));
    for (size_t i = 0; i < courses->options.metrics.count; i++)
        sighting->values[i] = value_of(record, &courses->options.metrics.items[i]);
    title->seq_len = record_u32(record, FACT_SEQ_LEN);
    title->batch_size = record_u32(record, FACT_BATCH_SIZE);
    title->is_synthetic |= is_synthetic;
    TRY(contexts_take_name(courses->contexts, record, &title->name, err));
    TRY(contexts_take(courses->contexts, record, &sighting->context, err));
    courses->summary.kept_count = ++courses->sightings_count;
    return STATUS_OK;
}

static enum status take_record(void *context, const struct reader_item *item, struct err *err)
{
    struct courses *courses = context;
    struct cells_place place;
    enum admit_kind kind = ADMIT_KINDS_COUNT;
    courses->summary.records_count++;
    if (admit_find_kind(item, &kind) && !courses->options.includes[kind]) {
        courses->summary.left_out[kind]++;
        return STATUS_OK;
    }
    TRY(cells_take(courses->cells, 0, item, &place, err));
    if (place.effect == CELLS_KNOWN) {
        courses->summary.known_count++;
        return STATUS_OK;
    }
    if (!place.has_result && kind != ADMIT_INVALID) {
        courses->summary.failed_count++;
        return STATUS_OK;
    }
    return keep(courses, item, place.cell, kind == ADMIT_SANDBOX, err);
}

enum status courses_read(struct courses *courses, const char *source, struct err *err)
{
    const struct reader_options options = {.fields = courses->fields.items,
                                           .fields_count = courses->fields.count};
    return visit_source(source, &options, take_record, courses, &courses->summary.notes, err);
}

/* --- in order --- */

/* By cell and time. What has no time keeps its place among what was read before and after it only
 * where nothing of the cell has one: it comes first otherwise. */
static int compare_sightings(const void *a, const void *b)
{
    const struct sighting *first = *(const struct sighting *const *)a;
    const struct sighting *second = *(const struct sighting *const *)b;
    if (first->cell != second->cell)
        return first->cell < second->cell ? -1 : 1;
    int order = strcmp(first->started_at, second->started_at);
    if (order != 0)
        return order;
    return first->number < second->number ? -1 : first->number > second->number;
}

enum status courses_sort(struct courses *courses, struct err *err)
{
    ASSERT(courses->sorted == NULL);
    size_t count = courses->sightings_count;
    courses->sorted = malloc((count + 1) * sizeof(struct sighting *));
    if (courses->sorted == NULL)
        return ERR(err, STATUS_NOMEM, "no memory for the history");
    for (size_t i = 0; i < count; i++)
        courses->sorted[i] = chunks_find(&courses->sightings, i);
    qsort(courses->sorted, count, sizeof(struct sighting *), compare_sightings);
    for (size_t i = 0; i < count; i++) {
        struct title *title = chunks_find(&courses->titles, courses->sorted[i]->cell);
        if (i == 0 || courses->sorted[i]->cell != courses->sorted[i - 1]->cell)
            title->from = i;
        title->to = i + 1;
    }
    courses->summary.cells_count = cells_count(courses->cells);
    return STATUS_OK;
}

const struct courses_summary *courses_summary(const struct courses *courses)
{
    return &courses->summary;
}

const struct metrics *courses_metrics(const struct courses *courses)
{
    return &courses->options.metrics;
}

struct course_name courses_name(const struct courses *courses, size_t cell)
{
    const struct title *title = chunks_find(&courses->titles, cell);
    struct course_name name = {"", "", "", "", "", 0, 0, false};
    if (title == NULL)
        return name;
    name.engine = contexts_name(courses->contexts, title->name, FACT_FRAMEWORK);
    name.model = contexts_name(courses->contexts, title->name, FACT_MODEL);
    name.device = contexts_name(courses->contexts, title->name, FACT_DEVICE);
    name.mode = contexts_name(courses->contexts, title->name, FACT_MODE);
    name.precision = contexts_name(courses->contexts, title->name, FACT_PRECISION);
    name.seq_len = title->seq_len;
    name.batch_size = title->batch_size;
    name.is_synthetic = title->is_synthetic;
    return name;
}

/* --- one cell and metric --- */

/* The runs' values: records of one run, which follow each other in time, are one point. */
static size_t gather_points(const struct courses *courses, const struct title *title, size_t metric,
                            struct course_point *points)
{
    bool is_counted = courses->options.metrics.items[metric].how == FACT_COMPARE_COUNTED;
    size_t count = 0, in_point = 0;
    uint64_t run = 0;
    for (size_t i = title->from; i < title->to; i++) {
        const struct sighting *sighting = courses->sorted[i];
        double value = sighting->values[metric];
        if (isnan(value))
            continue;
        if (count > 0 && run != 0 && sighting->run == run) {
            double *mean = &points[count - 1].value;
            in_point++;
            if (is_counted)
                *mean = value;
            else
                *mean = exp(log(*mean) + (log(value) - log(*mean)) / (double)in_point);
            continue;
        }
        struct course_point *point = &points[count++];
        point->value = value;
        point->context = sighting->context;
        memcpy(point->started_at, sighting->started_at, sizeof(point->started_at));
        run = sighting->run;
        in_point = 1;
    }
    return count;
}

static double level_of(const struct course *course, size_t from, size_t to)
{
    if (course->metric->how == FACT_COMPARE_COUNTED)
        return course->points[from].value; /* the same in all of them */
    double sum = 0;
    for (size_t i = from; i < to; i++)
        sum += log(course->points[i].value);
    return exp(sum / (double)(to - from));
}

/* Any change of what is counted is one. */
static size_t find_changes(const struct course *course, size_t *steps)
{
    size_t count = 0;
    for (size_t i = 1; i < course->points_count; i++)
        if (course->points[i].value != course->points[i - 1].value)
            steps[count++] = i;
    return count;
}

static void free_sizes(size_t **sizes)
{
    free(*sizes);
}

static void free_doubles(double **doubles)
{
    free(*doubles);
}

static enum status find_steps(struct course *course, struct err *err)
{
    bool is_counted = course->metric->how == FACT_COMPARE_COUNTED;
    size_t count = course->points_count;
    size_t *steps CLEANUP(free_sizes) = malloc((count + 1) * sizeof(size_t));
    double *logs CLEANUP(free_doubles) = malloc((count + 1) * sizeof(double));
    if (steps == NULL || logs == NULL)
        return ERR(err, STATUS_NOMEM, "no memory for the history");
    size_t steps_count = 0;
    for (size_t i = 0; i < count; i++)
        logs[i] = log(course->points[i].value);
    course->is_too_short = !is_counted && count < STEPS_VALUES_MIN;
    if (is_counted)
        steps_count = find_changes(course, steps);
    else
        TRY(steps_find(logs, count, log1p(course->metric->least_percent / 100), steps, &steps_count,
                       err));
    course->steps = calloc(steps_count + 1, sizeof(*course->steps));
    if (course->steps == NULL)
        return ERR(err, STATUS_NOMEM, "no memory for the history");
    course->steps_count = steps_count;
    for (size_t i = 0; i < steps_count; i++) {
        size_t before = i > 0 ? steps[i - 1] : 0;
        size_t after = i + 1 < steps_count ? steps[i + 1] : count;
        course->steps[i] = (struct course_step){.at = steps[i],
                                                .before = level_of(course, before, steps[i]),
                                                .after = level_of(course, steps[i], after)};
    }
    return STATUS_OK;
}

enum status courses_get(const struct courses *courses, size_t cell, size_t metric,
                        struct course *ret_course, struct err *err)
{
    ASSERT(courses->sorted != NULL && metric < courses->options.metrics.count);
    const struct title *title = chunks_find(&courses->titles, cell);
    struct course course CLEANUP(course_release) = {.metric =
                                                        &courses->options.metrics.items[metric]};
    size_t count = title != NULL ? title->to - title->from : 0;
    course.points = calloc(count + 1, sizeof(*course.points));
    if (course.points == NULL)
        return ERR(err, STATUS_NOMEM, "no memory for the history");
    if (count > 0)
        course.points_count = gather_points(courses, title, metric, course.points);
    if (course.points_count > STEPS_VALUES_MAX) {
        size_t dropped = course.points_count - STEPS_VALUES_MAX;
        course.points_count = STEPS_VALUES_MAX;
        memmove(course.points, course.points + dropped, STEPS_VALUES_MAX * sizeof(*course.points));
    }
    TRY(find_steps(&course, err));
    *ret_course = course;
    course = (struct course){0};
    return STATUS_OK;
}

void course_release(struct course *course)
{
    free(course->points);
    free(course->steps);
    *course = (struct course){0};
}

void courses_explain(const struct courses *courses, const struct course *course,
                     const struct course_step *step, context_visit *visit, void *context)
{
    ASSERT(step->at > 0 && step->at < course->points_count);
    uint16_t before = course->points[step->at - 1].context;
    uint16_t after = course->points[step->at].context;
    contexts_compare_work(courses->contexts, before, after, visit, context);
    contexts_compare_settings(courses->contexts, before, after, visit, context);
}
