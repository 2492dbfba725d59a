#include "compare/tally.h"

#include <math.h>
#include <string.h>

#include "measure/special.h"
#include "result/admit.h"
#include "spec/verdict.h"

/* Of a normal 95 % interval, as the fields of records are, in standard errors. */
#define INTERVAL_WIDTH (2 * 1.959963984540054)

/* Of a metric that several runs know. */
struct tally_sums {
    double mean, squares; /* of the logarithms */
    uint32_t count;
    uint32_t within_count; /* runs whose own interval is known */
};

/* Behind a struct tally: of a sampled metric a double, its value, and a float, its variance by its
 * own samples (mean over the runs); of others the double. Not aligned. */
static double get_value(const struct tally *tally, size_t offset)
{
    double value;
    memcpy(&value, (const char *)tally + offset, sizeof(value));
    return value;
}

static void set_value(struct tally *tally, size_t offset, double value)
{
    memcpy((char *)tally + offset, &value, sizeof(value));
}

static float get_within(const struct tally *tally, size_t offset)
{
    float within;
    memcpy(&within, (const char *)tally + offset + sizeof(double), sizeof(within));
    return within;
}

static void set_within(struct tally *tally, size_t offset, float within)
{
    memcpy((char *)tally + offset + sizeof(double), &within, sizeof(within));
}

void tallies_init(struct tallies *tallies, const struct metrics *metrics)
{
    *tallies = (struct tallies){.metrics = metrics};
    size_t bytes = sizeof(struct tally);
    for (size_t i = 0; i < metrics->count; i++) {
        tallies->offsets[i] = bytes;
        bytes += sizeof(double);
        if (metrics->items[i].how == FACT_COMPARE_SAMPLED)
            bytes += sizeof(float);
    }
    bytes = (bytes + sizeof(uint32_t) - 1) / sizeof(uint32_t) * sizeof(uint32_t);
    chunks_init(&tallies->rows, bytes);
    chunks_init(&tallies->many, metrics->count * sizeof(struct tally_sums));
}

void tallies_release(struct tallies *tallies)
{
    chunks_release(&tallies->rows);
    chunks_release(&tallies->many);
}

void tallies_add_fields(const struct metrics *metrics, struct visit_fields *fields)
{
    static const enum fact_id always[] = {FACT_VERDICT,         FACT_SAMPLES,
                                          FACT_PACE_MS,         FACT_WARNINGS,
                                          FACT_MS_P50_LOW,      FACT_MS_P50_HIGH,
                                          FACT_NEXT_RUN_MS_LOW, FACT_NEXT_RUN_MS_HIGH,
                                          FACT_NEXT_RUN_BASIS,  FACT_BETWEEN_RUN_PERCENT,
                                          FACT_HISTORY_RUNS};
    visit_fields_add(fields, always, ARRAY_COUNT(always));
    for (size_t i = 0; i < metrics->count; i++) {
        const struct metric *metric = &metrics->items[i];
        const enum fact_id range[] = {metric->middle, metric->low, metric->high};
        visit_fields_add_one(fields, metric->fact);
        if (metric->low != FACTS_COUNT)
            visit_fields_add(fields, range, ARRAY_COUNT(range));
    }
}

const struct tally *tallies_find(const struct tallies *tallies, size_t cell)
{
    const struct tally *tally = chunks_find(&tallies->rows, cell);
    return tally != NULL && tally->verdict != 0 ? tally : NULL;
}

/* --- a record's own --- */

static double number_of(const struct record *record, enum fact_id field)
{
    if (record_is_null(record, field))
        return NAN;
    return fact_of(field)->type == FACT_TYPE_INTEGER ? (double)record_u64(record, field)
                                                     : record_double(record, field);
}

/* A time, rate or size of 0 or less is none, as where a published script could not look: but where
 * things are counted. */
static double usable(const struct metric *metric, double value)
{
    bool is_usable = isfinite(value) && (value > 0 || metric->how == FACT_COMPARE_COUNTED);
    return is_usable ? value : NAN;
}

/* Variance of the logarithm, by the interval's width. */
static float variance_of(double low, double high)
{
    double error = log(high / low) / INTERVAL_WIDTH;
    return low > 0 && high >= low && isfinite(error) ? (float)(error * error) : NAN;
}

static double sample_of(const struct metric *metric, const struct record *record,
                        const struct tally_sample *sample, float *ret_within)
{
    bool has_interval = metric->how == FACT_COMPARE_SAMPLED && metric->low != FACTS_COUNT;
    *ret_within = NAN;
    if (sample != NULL && isfinite(sample->value)) {
        *ret_within = variance_of(sample->low, sample->high);
        return usable(metric, sample->value);
    }
    if (has_interval && !record_is_null(record, metric->low))
        *ret_within = variance_of(number_of(record, metric->low), number_of(record, metric->high));
    return usable(metric, number_of(record, metric->fact));
}

/* --- adding --- */

static void add_to_sums(struct tally_sums *sums, double value)
{
    double log_value = log(value);
    double distance = log_value - sums->mean;
    sums->count++;
    sums->mean += distance / sums->count;
    sums->squares += distance * (log_value - sums->mean);
}

/* The first run's values become the first of the sums. */
static struct tally_sums *make_many(struct tallies *tallies, struct tally *tally)
{
    struct tally_sums *sums = chunks_at(&tallies->many, tallies->many_count);
    if (sums == NULL)
        return NULL;
    tally->many = ++tallies->many_count;
    for (size_t i = 0; i < tallies->metrics->count; i++) {
        double value = get_value(tally, tallies->offsets[i]);
        if (tallies->metrics->items[i].how != FACT_COMPARE_COUNTED && isfinite(value)) {
            add_to_sums(&sums[i], value);
            sums[i].within_count = tallies->metrics->items[i].how == FACT_COMPARE_SAMPLED &&
                                   isfinite(get_within(tally, tallies->offsets[i]));
        }
    }
    return sums;
}

static void add_value(struct tally *tally, const struct metric *metric, size_t offset,
                      struct tally_sums *sums, double value, float within)
{
    double before = get_value(tally, offset);
    if (!isfinite(value))
        return;
    if (metric->how == FACT_COMPARE_COUNTED) {
        if (isfinite(before) && before != value)
            tally->flags |= TALLY_HAS_VARIED;
        set_value(tally, offset, value);
        return;
    }
    add_to_sums(sums, value);
    set_value(tally, offset, sums->count == 1 ? value : exp(sums->mean));
    if (metric->how == FACT_COMPARE_SAMPLED && isfinite(within)) {
        float mean = sums->within_count > 0 ? get_within(tally, offset) : 0;
        sums->within_count++;
        set_within(tally, offset, mean + (within - mean) / (float)sums->within_count);
    }
}

/* Of several runs every newer one counts half. */
static void add_clock(struct tally *tally, const struct record *record)
{
    double clock_ms = number_of(record, FACT_PACE_MS);
    double units = clock_ms > 0 ? log(clock_ms) / TALLY_CLOCK_UNIT : 0;
    if (units != 0 && fabs(units) < INT16_MAX)
        tally->log_clock =
            (int16_t)lrint(tally->log_clock == 0 ? units : (tally->log_clock + units) / 2);
}

/* --- the machine's noise, as the record knows it --- */

/* Sixteen bits: the standard deviation between runs in units of NOISE_UNIT %, and four bits of how
 * well it is known. */
#define NOISE_UNIT        0.01
#define NOISE_UNITS_MAX   4095
#define NOISE_FREEDOM_MAX 15

/* How well it is known stands in no field, but in the width of the next run's interval: Student's t
 * that it was made with. Ends that were moved out to a run that was seen make it wider, and what
 * follows here more careful. */
static unsigned noise_freedom(const struct record *record, double between)
{
    double within = (double)variance_of(number_of(record, FACT_MS_P50_LOW),
                                        number_of(record, FACT_MS_P50_HIGH));
    double width =
        log(number_of(record, FACT_NEXT_RUN_MS_HIGH) / number_of(record, FACT_NEXT_RUN_MS_LOW));
    bool is_of_cell = strcmp(record_string(record, FACT_NEXT_RUN_BASIS), "cell") == 0;
    double runs = is_of_cell ? fmax(number_of(record, FACT_HISTORY_RUNS), 2) : 1;
    double error = sqrt((between * between + (isfinite(within) ? within : 0)) * (1 + 1 / runs));
    unsigned freedom = 1;
    while (freedom < NOISE_FREEDOM_MAX &&
           special_student_quantile(0.975, freedom) * error * 2 > width * (1 + 1e-3))
        freedom++;
    return freedom;
}

/* Of the first record of a cell only: those of later runs know of this one, and would count it
 * twice; so would what the trials of the call itself have shown. */
static uint16_t pack_noise(const struct record *record)
{
    double percent = number_of(record, FACT_BETWEEN_RUN_PERCENT);
    const char *basis = record_string(record, FACT_NEXT_RUN_BASIS);
    if (!isfinite(percent) || percent < 0 ||
        (strcmp(basis, "cell") != 0 && strcmp(basis, "kind") != 0))
        return 0;
    double units = fmin(ceil(percent / NOISE_UNIT), NOISE_UNITS_MAX);
    double between = sqrt(log1p(pow(percent / 100, 2)));
    return (uint16_t)((unsigned)units << 4 | noise_freedom(record, between));
}

bool tally_noise(const struct tally *tally, struct change_noise *ret_noise)
{
    double percent = (tally->noise >> 4) * NOISE_UNIT;
    if (tally->noise == 0)
        return false;
    *ret_noise = (struct change_noise){sqrt(log1p(pow(percent / 100, 2))),
                                       tally->noise & NOISE_FREEDOM_MAX, false};
    return true;
}

static void add_flags(struct tally *tally, const struct reader_item *item)
{
    enum admit_kind kind = ADMIT_KINDS_COUNT;
    if (admit_find_kind(item, &kind) && kind == ADMIT_SANDBOX)
        tally->flags |= TALLY_IS_SANDBOX;
    if (item->is_published)
        tally->flags |= TALLY_IS_PUBLISHED;
    if (strcmp(record_string(item->record, FACT_VERDICT), verdict_name(VERDICT_UNSTEADY)) == 0)
        tally->flags |= TALLY_IS_UNSTEADY;
    if (record_reasons(item->record, FACT_WARNINGS)->count > 0)
        tally->flags |= TALLY_IS_WARNED;
}

static void add_samples_count(struct tally *tally, const struct record *record)
{
    uint64_t count = record_u64(record, FACT_SAMPLES);
    if (record_is_null(record, FACT_SAMPLES))
        return;
    tally->flags |= TALLY_HAS_SAMPLES;
    count += tally->samples_count;
    tally->samples_count = count < UINT32_MAX ? (uint32_t)count : UINT32_MAX;
}

static enum status add_result(struct tallies *tallies, struct tally *tally,
                              const struct record *record, const struct tally_sample *samples,
                              struct err *err)
{
    const struct metrics *metrics = tallies->metrics;
    bool is_first = (tally->flags & TALLY_HAS_RESULT) == 0;
    if (is_first)
        tally->noise = pack_noise(record);
    struct tally_sums *sums = NULL;
    if (!is_first && tally->many == 0)
        sums = make_many(tallies, tally);
    else if (tally->many != 0)
        sums = chunks_find(&tallies->many, tally->many - 1);
    if (!is_first && sums == NULL)
        return ERR(err, STATUS_NOMEM, "no memory for several runs of a cell");
    for (size_t i = 0; i < metrics->count; i++) {
        const struct metric *metric = &metrics->items[i];
        float within = NAN;
        double value = sample_of(metric, record, samples != NULL ? &samples[i] : NULL, &within);
        if (!is_first) {
            add_value(tally, metric, tallies->offsets[i], &sums[i], value, within);
            continue;
        }
        set_value(tally, tallies->offsets[i], value);
        if (metric->how == FACT_COMPARE_SAMPLED)
            set_within(tally, tallies->offsets[i], within);
    }
    add_samples_count(tally, record);
    add_clock(tally, record);
    return STATUS_OK;
}

enum status tallies_add(struct tallies *tallies, size_t cell, const struct reader_item *item,
                        bool has_result, bool forgets, uint16_t context,
                        const struct tally_sample *samples, struct err *err)
{
    struct tally *tally = chunks_at(&tallies->rows, cell);
    if (tally == NULL)
        return ERR(err, STATUS_NOMEM, "no memory for the cells' values");
    enum verdict verdict = VERDICT_OK;
    (void)verdict_parse(record_string(item->record, FACT_VERDICT), &verdict);
    if (forgets)
        *tally = (struct tally){0};
    tally->context = context;
    add_flags(tally, item);
    bool has_failed = tally->verdict != 0 && (tally->flags & TALLY_HAS_RESULT) == 0;
    if (!has_result) {
        if (!has_failed)
            tally->verdict = (uint8_t)(verdict + 1);
        tally->flags &= (uint8_t)~TALLY_HAS_RESULT;
        return STATUS_OK;
    }
    if (has_failed) /* another trial of the same run has failed, and stays so */
        return STATUS_OK;
    enum status status = add_result(tallies, tally, item->record, samples, err);
    tally->verdict = (uint8_t)(verdict + 1);
    tally->flags |= TALLY_HAS_RESULT;
    return status;
}

enum status tallies_move(struct tallies *tallies, size_t from, size_t to, struct err *err)
{
    struct tally *there = chunks_at(&tallies->rows, to);
    if (there == NULL)
        return ERR(err, STATUS_NOMEM, "no memory for the cells' values");
    struct tally *here = chunks_at(&tallies->rows, from);
    memcpy(there, here, tallies->rows.item_bytes);
    here->verdict = 0;
    return STATUS_OK;
}

bool tallies_get(const struct tallies *tallies, const struct tally *tally, size_t metric,
                 double *ret_value, struct change_side *ret_side)
{
    size_t offset = tallies->offsets[metric];
    double value = get_value(tally, offset);
    if ((tally->flags & TALLY_HAS_RESULT) == 0 || !isfinite(value))
        return false;
    *ret_value = value;
    *ret_side = (struct change_side){.runs_count = 1, .mean = log(value), .within = NAN};
    if (tallies->metrics->items[metric].how == FACT_COMPARE_SAMPLED)
        ret_side->within = (double)get_within(tally, offset);
    if (tally->many == 0 || tallies->metrics->items[metric].how == FACT_COMPARE_COUNTED)
        return true;
    const struct tally_sums *sums = chunks_find(&tallies->many, tally->many - 1);
    ret_side->runs_count = sums[metric].count;
    ret_side->mean = sums[metric].mean;
    ret_side->squares = sums[metric].squares;
    return true;
}
