#include "compare/comparison.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/chunks.h"
#include "base/hash.h"
#include "compare/context.h"
#include "compare/judge.h"
#include "compare/raw.h"
#include "compare/tally.h"
#include "measure/quantile.h"
#include "result/admit.h"
#include "result/cells.h"

#define PAIRS_MAX 256 /* of contexts that are looked at for what differs */
#define SEVERAL   UINT32_MAX

_Static_assert((int)ROW_NAMES_COUNT == CONTEXT_NAME_FIELDS_COUNT, "names of a row");

/* What a cell is called. */
struct label {
    uint32_t name; /* contexts_name() */
    uint32_t seq_len, batch_size;
};

struct comparison {
    struct comparison_options options;
    struct cells *cells;       /* owned */
    struct contexts *contexts; /* owned */
    struct tallies tallies[COMPARE_SIDES_COUNT];
    struct chunks labels; /* struct label a cell */
    struct visit_fields fields;
    bool needs_raw;
    struct samples samples;    /* for one record after the other */
    uint32_t pairs[PAIRS_MAX]; /* of contexts whose differences are in the summary */
    size_t pairs_count;
    struct compare_summary summary;
};

#define X(name, word, sign, plain) {word, sign, plain},
static const struct {
    const char *word, *sign, *plain;
} verdicts[] = {COMPARE_VERDICT_MAP(X)};
#undef X

const char *compare_verdict_word(enum compare_verdict verdict)
{
    ASSERT(verdict < COMPARE_VERDICTS_COUNT);
    return verdicts[verdict].word;
}

const char *compare_verdict_sign(enum compare_verdict verdict)
{
    ASSERT(verdict < COMPARE_VERDICTS_COUNT);
    return verdicts[verdict].sign;
}

const char *compare_verdict_plain(enum compare_verdict verdict)
{
    ASSERT(verdict < COMPARE_VERDICTS_COUNT);
    return verdicts[verdict].plain;
}

static void choose_fields(struct comparison *comparison)
{
    struct visit_fields *fields = &comparison->fields;
    contexts_add_fields(fields);
    tallies_add_fields(&comparison->options.metrics, fields);
    visit_fields_add(fields, admit_fields, admit_fields_count);
    visit_fields_add(fields, cells_fields, cells_fields_count);
    if (comparison->needs_raw)
        visit_fields_add(fields, samples_fields, samples_fields_count);
    visit_fields_add(fields, comparison->options.by, comparison->options.by_count);
}

enum status comparison_new(const struct comparison_options *options,
                           struct comparison **ret_comparison, struct err *err)
{
    struct comparison *comparison = calloc(1, sizeof(*comparison));
    if (comparison == NULL)
        return ERR(err, STATUS_NOMEM, "no memory to compare");
    comparison->options = *options;
    chunks_init(&comparison->labels, sizeof(struct label));
    for (size_t i = 0; i < COMPARE_SIDES_COUNT; i++)
        tallies_init(&comparison->tallies[i], &comparison->options.metrics);
    comparison->needs_raw = raw_is_needed(&options->metrics);
    choose_fields(comparison);
    const struct cells_options cells_options = {
        .by = options->by,
        .by_count = options->by_count,
        .sides_count = COMPARE_SIDES_COUNT,
        .takes_newest_run = options->takes_newest_run,
    };
    enum status status = cells_new(&cells_options, &comparison->cells, err);
    if (status == STATUS_OK)
        status = contexts_new(&comparison->contexts, err);
    if (status == STATUS_OK)
        *ret_comparison = comparison;
    else
        comparison_free(comparison);
    return status;
}

void comparison_free(struct comparison *comparison)
{
    if (comparison == NULL)
        return;
    cells_free(comparison->cells);
    contexts_free(comparison->contexts);
    for (size_t i = 0; i < COMPARE_SIDES_COUNT; i++)
        tallies_release(&comparison->tallies[i]);
    chunks_release(&comparison->labels);
    samples_release(&comparison->samples);
    free(comparison);
}

/* --- reading --- */

static enum status take_label(struct comparison *comparison, size_t cell,
                              const struct record *record, struct err *err)
{
    struct label *label = chunks_at(&comparison->labels, cell);
    if (label == NULL)
        return ERR(err, STATUS_NOMEM, "no memory for the cells' names");
    label->seq_len = record_u32(record, FACT_SEQ_LEN);
    label->batch_size = record_u32(record, FACT_BATCH_SIZE);
    return contexts_take_name(comparison->contexts, record, &label->name, err);
}

/* One side at reading. Borrowed: for the call. */
struct side_reading {
    struct comparison *comparison;
    enum compare_side side;
    const char *source;
};

static enum status take_record(void *context, const struct reader_item *item, struct err *err)
{
    const struct side_reading *reading = context;
    struct comparison *comparison = reading->comparison;
    enum compare_side side = reading->side;
    const char *source = reading->source;
    struct tally_sample values[METRICS_MAX];
    bool has_raw = comparison->needs_raw && strcmp(source, "-") != 0 && !item->is_published;
    struct cells_place place;
    uint16_t setting = 0;
    comparison->summary.records[side]++;
    enum status status = cells_take(comparison->cells, side, item, &place, err);
    if (status != STATUS_OK || place.effect == CELLS_KNOWN)
        return status;
    status = take_label(comparison, place.cell, item->record, err);
    if (status == STATUS_OK)
        status = contexts_take(comparison->contexts, item->record, &setting, err);
    if (status == STATUS_OK && has_raw && place.has_result)
        status = raw_summarize(&comparison->options.metrics, source, item->record,
                               &comparison->samples, values, err);
    if (status == STATUS_OK)
        status = tallies_add(&comparison->tallies[side], place.cell, item, place.has_result,
                             place.effect == CELLS_REPLACES, setting,
                             has_raw && place.has_result ? values : NULL, err);
    return status;
}

enum status comparison_read(struct comparison *comparison, enum compare_side side,
                            const char *source, const char *name, struct err *err)
{
    const struct reader_options options = {.fields = comparison->fields.items,
                                           .fields_count = comparison->fields.count};
    struct side_reading reading = {comparison, side, source};
    comparison->summary.names[side] = name;
    return visit_source(source, &options, take_record, &reading, &comparison->summary.notes[side],
                        err);
}

/* --- cells that have no partner --- */

/* Cells of one shape that are only on one side: cell + 1, 0 = none, or SEVERAL. */
struct cell_shape {
    uint64_t key; /* 0 = free */
    uint32_t cells[COMPARE_SIDES_COUNT];
};

static uint64_t shape_key(const struct comparison *comparison, size_t cell)
{
    static const enum fact_id fields[] = {FACT_FRAMEWORK, FACT_DEVICE, FACT_MODE, FACT_PRECISION};
    const struct label *label = chunks_find(&comparison->labels, cell);
    struct buf key;
    buf_init(&key, RECORD_LINE_BYTES_MAX);
    for (size_t i = 0; i < ARRAY_COUNT(fields); i++) {
        const char *text = contexts_name(comparison->contexts, label->name, fields[i]);
        buf_append(&key, text, strlen(text) + 1);
    }
    buf_append(&key, &label->seq_len, sizeof(label->seq_len));
    buf_append(&key, &label->batch_size, sizeof(label->batch_size));
    uint64_t hash = hash_u64(key.data, key.length_bytes);
    buf_release(&key);
    return hash | 1;
}

static bool is_alone(const struct comparison *comparison, size_t cell, enum compare_side *ret_side)
{
    const struct tally *base = tallies_find(&comparison->tallies[COMPARE_BASE], cell);
    const struct tally *now = tallies_find(&comparison->tallies[COMPARE_NOW], cell);
    *ret_side = base != NULL ? COMPARE_BASE : COMPARE_NOW;
    return (base == NULL) != (now == NULL);
}

static void put_shapes(const struct comparison *comparison, struct cell_shape *shapes, size_t count)
{
    for (size_t cell = 0; cell < cells_count(comparison->cells); cell++) {
        enum compare_side side;
        if (!is_alone(comparison, cell, &side))
            continue;
        uint64_t key = shape_key(comparison, cell);
        size_t at = (size_t)(key >> 1) & (count - 1);
        while (shapes[at].key != 0 && shapes[at].key != key)
            at = (at + 1) & (count - 1);
        shapes[at].key = key;
        uint32_t *place = &shapes[at].cells[side];
        *place = *place == 0 ? (uint32_t)cell + 1 : SEVERAL;
    }
}

/* The one base and the one new cell of a shape become one, which is then judged by what their
 * records say of the work. */
static enum status match_by_shape(struct comparison *comparison, struct err *err)
{
    size_t alone[COMPARE_SIDES_COUNT] = {0};
    for (size_t cell = 0; cell < cells_count(comparison->cells); cell++) {
        enum compare_side side;
        alone[is_alone(comparison, cell, &side) ? side : COMPARE_BASE] +=
            is_alone(comparison, cell, &side);
    }
    if (comparison->options.by != NULL || alone[COMPARE_BASE] == 0 || alone[COMPARE_NOW] == 0)
        return STATUS_OK;
    size_t count = 1024;
    while (count < 2 * (alone[COMPARE_BASE] + alone[COMPARE_NOW]))
        count *= 2;
    struct cell_shape *shapes = calloc(count, sizeof(*shapes));
    if (shapes == NULL)
        return ERR(err, STATUS_NOMEM, "no memory to match cells");
    put_shapes(comparison, shapes, count);
    enum status status = STATUS_OK;
    for (size_t i = 0; status == STATUS_OK && i < count; i++) {
        uint32_t base = shapes[i].cells[COMPARE_BASE];
        uint32_t now = shapes[i].cells[COMPARE_NOW];
        if (base != 0 && base != SEVERAL && now != 0 && now != SEVERAL)
            status = tallies_move(&comparison->tallies[COMPARE_NOW], now - 1, base - 1, err);
    }
    free(shapes);
    return status;
}

/* --- rows --- */

size_t comparison_rows_count(const struct comparison *comparison)
{
    return cells_count(comparison->cells);
}

bool comparison_name(const struct comparison *comparison, size_t index, struct row *ret_row)
{
    const struct label *label = chunks_find(&comparison->labels, index);
    for (size_t i = 0; i < COMPARE_SIDES_COUNT; i++)
        ret_row->sides[i] = tallies_find(&comparison->tallies[i], index);
    if (label == NULL ||
        (ret_row->sides[COMPARE_BASE] == NULL && ret_row->sides[COMPARE_NOW] == NULL))
        return false;
    for (size_t i = 0; i < ROW_NAMES_COUNT; i++)
        ret_row->names[i] =
            contexts_name(comparison->contexts, label->name, context_name_fields[i]);
    ret_row->seq_len = label->seq_len;
    ret_row->batch_size = label->batch_size;
    return true;
}

bool comparison_row(const struct comparison *comparison, size_t index, struct row *ret_row)
{
    if (!comparison_name(comparison, index, ret_row))
        return false;
    const struct judge judge = {.options = &comparison->options,
                                .contexts = comparison->contexts,
                                .tallies = comparison->tallies,
                                .p_limit = comparison->summary.p_limit};
    judge_row(&judge, ret_row);
    return true;
}

/* --- the whole --- */

/* Small p values, for Holm: the others are no more than counted. */
struct small_values {
    double *items; /* owned */
    size_t count, capacity;
    /* Of the rows that have some: they are judged again once it is known how small is small
     * enough. Rows are numbered from 0, CELLS_MAX at most. */
    struct chunks rows; /* uint32_t */
    size_t rows_count;
};

static enum status collect(const struct row *row, size_t index, struct small_values *small,
                           uint64_t *tests_count, bool *ret_is_final, struct err *err)
{
    *ret_is_final = true;
    for (size_t i = 0; i < row->metrics_count; i++) {
        const struct row_metric *metric = &row->metrics[i];
        if (!metric->change.is_known || metric->metric->how == FACT_COMPARE_COUNTED)
            continue;
        ++*tests_count;
        if (!change_is_significant(&metric->change, CHANGE_ALPHA))
            continue;
        *ret_is_final = false;
        if (small->count == small->capacity) {
            size_t capacity = small->capacity * 2 + 64;
            double *items = realloc(small->items, capacity * sizeof(*items));
            if (items == NULL)
                return ERR(err, STATUS_NOMEM, "no memory for the tests of a comparison");
            small->items = items;
            small->capacity = capacity;
        }
        small->items[small->count++] = change_p(&metric->change);
    }
    if (*ret_is_final)
        return STATUS_OK;
    uint32_t *place = chunks_at(&small->rows, small->rows_count);
    if (place == NULL)
        return ERR(err, STATUS_NOMEM, "no memory for the tests of a comparison");
    *place = (uint32_t)index;
    small->rows_count++;
    return STATUS_OK;
}

static void take_difference(void *context, const char *name, const char *base, const char *now)
{
    struct compare_summary *summary = context;
    struct compare_difference found;
    size_t of_name = 0;
    (void)snprintf(found.name, sizeof(found.name), "%.150s", name);
    (void)snprintf(found.base, sizeof(found.base), "%.150s", base);
    (void)snprintf(found.now, sizeof(found.now), "%.150s", now);
    for (size_t i = 0; i < summary->differences_count; i++) {
        const struct compare_difference *one = &summary->differences[i];
        bool is_name = strcmp(one->name, found.name) == 0;
        of_name += is_name;
        if (is_name && strcmp(one->base, found.base) == 0 && strcmp(one->now, found.now) == 0)
            return;
    }
    if (of_name >= COMPARE_DIFFERENCE_SPREAD ||
        summary->differences_count == COMPARE_DIFFERENCES_MAX) {
        summary->has_more_differences = true;
        return;
    }
    summary->differences[summary->differences_count++] = found;
}

static void take_settings(struct comparison *comparison, uint16_t base, uint16_t now)
{
    uint32_t pair = (uint32_t)base << 16 | now;
    if (base == now)
        return;
    for (size_t i = 0; i < comparison->pairs_count; i++)
        if (comparison->pairs[i] == pair)
            return;
    if (comparison->pairs_count == PAIRS_MAX) {
        comparison->summary.has_more_differences = true;
        return;
    }
    comparison->pairs[comparison->pairs_count++] = pair;
    contexts_compare_settings(comparison->contexts, base, now, take_difference,
                              &comparison->summary);
    /* Cells that were named by hand may be of other work, which is then named, too. */
    if (comparison->options.by != NULL)
        contexts_compare_work(comparison->contexts, base, now, take_difference,
                              &comparison->summary);
}

static bool has_flag(const struct row *row, enum tally_flag flag)
{
    bool is_set = false;
    for (size_t i = 0; i < COMPARE_SIDES_COUNT; i++)
        is_set |= row->sides[i] != NULL && (row->sides[i]->flags & (unsigned)flag) != 0;
    return is_set;
}

/* What does not depend on which changes are significant. */
static void count_row(struct comparison *comparison, const struct row *row)
{
    struct compare_summary *summary = &comparison->summary;
    bool is_pair = row->sides[COMPARE_BASE] != NULL && row->sides[COMPARE_NOW] != NULL;
    bool has_sampled = false;
    summary->cells_count++;
    summary->unsteady_count += has_flag(row, TALLY_IS_UNSTEADY);
    summary->warned_count += has_flag(row, TALLY_IS_WARNED);
    summary->sandbox_count +=
        has_flag(row, TALLY_IS_SANDBOX) && !comparison->options.includes_sandbox;
    for (size_t i = 0; i < row->metrics_count; i++) {
        summary->metrics_count += row->metrics[i].is_known[COMPARE_NOW];
        has_sampled |=
            row->metrics[i].metric->how == FACT_COMPARE_SAMPLED && row->metrics[i].change.is_known;
    }
    if (!is_pair)
        return;
    summary->assumed_count += has_sampled && judge_noise(row).is_assumed &&
                              row->sides[COMPARE_BASE]->many == 0 &&
                              row->sides[COMPARE_NOW]->many == 0;
    take_settings(comparison, row->sides[COMPARE_BASE]->context, row->sides[COMPARE_NOW]->context);
}

static void count_verdicts(struct comparison *comparison, const struct row *row)
{
    struct compare_summary *summary = &comparison->summary;
    summary->cells[row->verdict]++;
    for (size_t i = 0; i < row->metrics_count; i++) {
        size_t index = (size_t)(row->metrics[i].metric - comparison->options.metrics.items);
        summary->by_metric[index][row->metrics[i].verdict]++;
    }
}

/* All rows; the verdicts of those with small p values are left for later. */
static enum status decide_rows(struct comparison *comparison, struct small_values *small,
                               struct err *err)
{
    struct row row;
    comparison->summary.p_limit = -1;
    for (size_t i = 0; i < comparison_rows_count(comparison); i++) {
        bool is_final = true;
        if (!comparison_row(comparison, i, &row))
            continue;
        TRY(collect(&row, i, small, &comparison->summary.tests_count, &is_final, err));
        count_row(comparison, &row);
        if (is_final)
            count_verdicts(comparison, &row);
    }
    return STATUS_OK;
}

static void decide_rest(struct comparison *comparison, struct small_values *small)
{
    struct row row;
    struct compare_summary *summary = &comparison->summary;
    if (small->count > 0) {
        quantile_sort(small->items, small->count);
        size_t rejected =
            change_holm(small->items, small->count, summary->tests_count, CHANGE_ALPHA);
        summary->p_limit = rejected > 0 ? small->items[rejected - 1] : -1;
    }
    for (size_t i = 0; i < small->rows_count; i++) {
        const uint32_t *index = chunks_find(&small->rows, i);
        if (comparison_row(comparison, *index, &row))
            count_verdicts(comparison, &row);
    }
}

enum status comparison_decide(struct comparison *comparison, struct err *err)
{
    struct small_values small = {0};
    chunks_init(&small.rows, sizeof(uint32_t));
    enum status status = match_by_shape(comparison, err);
    if (status == STATUS_OK)
        status = decide_rows(comparison, &small, err);
    if (status == STATUS_OK)
        decide_rest(comparison, &small);
    free(small.items);
    chunks_release(&small.rows);
    return status;
}

const struct compare_summary *comparison_summary(const struct comparison *comparison)
{
    return &comparison->summary;
}

const struct metrics *comparison_metrics(const struct comparison *comparison)
{
    return &comparison->options.metrics;
}

enum compare_gate comparison_gate(const struct comparison *comparison, bool is_lenient)
{
    const struct compare_summary *summary = &comparison->summary;
    bool is_undecided = summary->metrics_count == 0 || summary->cells[COMPARE_MISSING] > 0 ||
                        summary->cells[COMPARE_NOT_COMPARABLE] > 0 ||
                        (summary->cells[COMPARE_UNDECIDED] > 0 && !is_lenient);
    if (summary->cells[COMPARE_WORSE] > 0)
        return COMPARE_GATE_FAILED;
    return is_undecided ? COMPARE_GATE_UNDECIDED : COMPARE_GATE_PASSED;
}
