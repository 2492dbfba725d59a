#include "result/samples.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "measure/quantile.h"
#include "result/line_source.h"
#include "result/scan.h"

#define LINE_BYTES_MAX     ((size_t)64 << 20)
#define ID_BYTES_MAX       64
#define AGREEMENT_RELATIVE 1e-9

const enum fact_id samples_fields[] = {FACT_CELL_ID, FACT_TRIAL, FACT_RUN_ID, FACT_SAMPLES,
                                       FACT_MS_P50};
const size_t samples_fields_count = ARRAY_COUNT(samples_fields);

enum key { KEY_RUN_ID, KEY_PHASE, KEY_SET_ASIDE, KEY_SYNC, KEY_STEPS, KEY_WINDOW_NS, KEY_NS };

static const char *const keys[] = {
    [KEY_RUN_ID] = "run_id", [KEY_PHASE] = "phase", [KEY_SET_ASIDE] = "set_aside",
    [KEY_SYNC] = "sync",     [KEY_STEPS] = "steps", [KEY_WINDOW_NS] = "window_ns",
    [KEY_NS] = "ns"};

void samples_release(struct samples *samples)
{
    free(samples->values);
    *samples = (struct samples){0};
}

static enum status add(struct samples *samples, double value, struct err *err)
{
    if (samples->count == samples->capacity) {
        size_t capacity = samples->capacity * 2 + 1024;
        double *values = realloc(samples->values, capacity * sizeof(*values));
        if (values == NULL)
            return ERR(err, STATUS_NOMEM, "no memory for raw samples");
        samples->values = values;
        samples->capacity = capacity;
    }
    samples->values[samples->count++] = value;
    return STATUS_OK;
}

static bool has_text(const struct scan_value *value, const char *text)
{
    return value->kind == SCAN_STRING && value->is_plain && value->bytes == strlen(text) &&
           memcmp(value->text, text, value->bytes) == 0;
}

/* The whole numbers of an array; false: it has anything else, or too much. */
static bool add_array(struct samples *samples, const struct scan_value *array, double per,
                      enum status *ret_status, struct err *err)
{
    const char *at = array->text + 1;
    const char *end = array->text + array->bytes - 1;
    while (at < end && *ret_status == STATUS_OK) {
        uint64_t number = 0;
        const char *start = at;
        for (; at < end && *at >= '0' && *at <= '9' && number < UINT64_MAX / 10 - 1; at++)
            number = number * 10 + (uint64_t)(*at - '0');
        if (at == start || (at < end && *at != ',') || samples->count >= SAMPLES_COUNT_MAX)
            return false;
        at += at < end;
        *ret_status = add(samples, (double)number / per, err);
    }
    return true;
}

/* Which lines of a file. Where all blocks were disturbed, those that are marked as set aside are
 * the record's samples (docs/metrics.md). */
struct samples_filter {
    const char *run_id; /* borrowed: for the call */
    bool has_set_aside;
};

/* False: the line is of this run, and damaged. */
static bool take_line(struct samples *samples, struct scanner *scanner, const struct line *line,
                      const struct samples_filter *wanted, enum status *ret_status, struct err *err)
{
    struct scan_value values[ARRAY_COUNT(keys)];
    const char *fault = NULL;
    uint64_t steps = 0;
    uint64_t window_ns = 0;
    bool is_over = false;
    if (!scanner_scan(scanner, line->text, line->bytes, values, &fault))
        return false;
    bool is_set_aside =
        values[KEY_SET_ASIDE].kind != SCAN_ABSENT && values[KEY_SET_ASIDE].kind != SCAN_NULL;
    if (!has_text(&values[KEY_RUN_ID], wanted->run_id) || !has_text(&values[KEY_PHASE], "steady") ||
        (is_set_aside && !wanted->has_set_aside))
        return true;
    if (!scan_take_u64(&values[KEY_STEPS], &steps, &is_over) || steps == 0 ||
        !scan_take_u64(&values[KEY_WINDOW_NS], &window_ns, &is_over) ||
        values[KEY_NS].kind != SCAN_ARRAY || !values[KEY_NS].is_plain)
        return false;
    samples->steps_count += steps;
    samples->window_ns += window_ns;
    if (has_text(&values[KEY_SYNC], "step"))
        return add_array(samples, &values[KEY_NS], 1, ret_status, err);
    *ret_status = add(samples, (double)window_ns / (double)steps, err);
    return true;
}

static enum status read_lines(struct line_source *source, struct samples *samples,
                              const struct samples_filter *wanted, bool *ret_is_whole,
                              struct err *err)
{
    struct scanner *scanner = NULL;
    struct line line = {0};
    enum status status = scanner_new(keys, ARRAY_COUNT(keys), &scanner, err);
    *ret_is_whole = true;
    while (status == STATUS_OK && *ret_is_whole) {
        if (line_source_next(source, &line, NULL) != STATUS_OK)
            *ret_is_whole = false;
        else if (line.kind == LINE_END || line.kind == LINE_TORN)
            break;
        else
            *ret_is_whole =
                line.kind == LINE_WHOLE && take_line(samples, scanner, &line, wanted, &status, err);
    }
    scanner_free(scanner);
    return status;
}

/* What a folder holds under that name need not be of this record: a cell may have been measured
 * again, or the file edited. */
static enum status agrees(const struct samples *samples, const struct record *record,
                          bool *ret_agrees, struct err *err)
{
    *ret_agrees = samples->count > 0 && samples->count == record_u64(record, FACT_SAMPLES);
    if (!*ret_agrees)
        return STATUS_OK;
    double *sorted = malloc(samples->count * sizeof(*sorted));
    if (sorted == NULL)
        return ERR(err, STATUS_NOMEM, "no memory for raw samples");
    memcpy(sorted, samples->values, samples->count * sizeof(*sorted));
    quantile_sort(sorted, samples->count);
    double median = quantile_median(sorted, samples->count) / 1e6;
    free(sorted);
    *ret_agrees = fabs(median - record_double(record, FACT_MS_P50)) <= AGREEMENT_RELATIVE * median;
    return STATUS_OK;
}

static enum status read_file(const char *source, const char *name,
                             const struct samples_filter *wanted, const struct record *record,
                             struct samples *samples, bool *ret_is_found, struct err *err)
{
    const struct input_kind kind = {.beside = name};
    struct input *input = NULL;
    struct line_source *lines = NULL;
    samples->count = 0;
    samples->steps_count = samples->window_ns = 0;
    *ret_is_found = false;
    if (input_open(source, kind, &input, NULL) != STATUS_OK ||
        line_source_new(input, false, LINE_BYTES_MAX, &lines, NULL) != STATUS_OK)
        return STATUS_OK;
    enum status status = read_lines(lines, samples, wanted, ret_is_found, err);
    line_source_free(lines);
    if (status == STATUS_OK && *ret_is_found)
        status = agrees(samples, record, ret_is_found, err);
    return status;
}

enum status samples_read(const char *source, const struct record *record, struct samples *samples,
                         bool *ret_is_found, struct err *err)
{
    const char *cell_id = record_string(record, FACT_CELL_ID);
    struct samples_filter wanted = {.run_id = record_string(record, FACT_RUN_ID)};
    size_t id_bytes = strlen(cell_id);
    char name[ID_BYTES_MAX + 64];
    samples->count = 0;
    *ret_is_found = false;
    /* The id is a part of a file's name: letters and digits, as all ids are. */
    if (id_bytes == 0 || id_bytes > ID_BYTES_MAX ||
        strspn(cell_id, "0123456789abcdefghijklmnopqrstuvwxyz") != id_bytes)
        return STATUS_OK;
    (void)snprintf(name, sizeof(name), "samples/%s.%" PRIu64 ".jsonl", cell_id,
                   record_u64(record, FACT_TRIAL));
    TRY(read_file(source, name, &wanted, record, samples, ret_is_found, err));
    if (*ret_is_found || samples->count > 0)
        return STATUS_OK;
    wanted.has_set_aside = true;
    return read_file(source, name, &wanted, record, samples, ret_is_found, err);
}
