#include "hud/board.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

static const struct {
    enum fact_id field;
    const char *label;
} metrics[] = {
#define X(name, fact, label, unit) {fact, label},
    BOARD_METRIC_MAP(X)
#undef X
};

const enum fact_id board_fields[] = {
    FACT_FRAMEWORK,     FACT_DEVICE,     FACT_PRECISION,  FACT_MODE,
    FACT_SEQ_LEN,       FACT_BATCH_SIZE, FACT_MODEL,      FACT_CELL_ID,
    FACT_RUN_ID,        FACT_TRIAL,      FACT_VERDICT,    FACT_REASONS,
    FACT_WARNINGS,      FACT_SYNTHETIC,  FACT_MS_P50_LOW, FACT_MS_P50_HIGH,
#define X(name, fact, label, unit) fact,
    BOARD_METRIC_MAP(X)
#undef X
};
const size_t board_fields_count = ARRAY_COUNT(board_fields);

const char *board_metric_label(enum board_metric metric)
{
    return metrics[metric].label;
}

const char *board_metric_name(enum board_metric metric)
{
    return fact_of(metrics[metric].field)->name;
}

int board_metric_better(enum board_metric metric)
{
    enum fact_better better = fact_of(metrics[metric].field)->better;
    return better == FACT_BETTER_HIGHER ? 1 : better == FACT_BETTER_LOWER ? -1 : 0;
}

void board_init(struct board *board)
{
    *board = (struct board){.run = {.place = LOOKUP_NONE}, .newest = LOOKUP_NONE};
}

void board_release(struct board *board)
{
    lexicon_release(&board->words);
    lookup_clear(&board->by_axes);
    lookup_clear(&board->by_cell);
    free(board->places);
    *board = (struct board){0};
}

static void forget_result(struct board_place *place)
{
    const struct board_place empty = {
        .axes = place->axes,
        .state = place->state == BOARD_RUNNING ? BOARD_RUNNING : BOARD_PLANNED,
        .is_planned = place->is_planned,
        .tokens_per_step = place->tokens_per_step,
        .verdict = VERDICT_COUNT,
        .reason = LOOKUP_NONE,
        .median_low = NAN,
        .median_high = NAN,
    };
    *place = empty;
    for (size_t i = 0; i < BOARD_METRICS_COUNT; i++)
        place->values[i] = NAN;
}

void board_forget_records(struct board *board)
{
    for (size_t i = 0; i < board->places_count; i++)
        forget_result(&board->places[i]);
    board->records_count = 0;
    board->bad_count = 0;
    board->newest = LOOKUP_NONE;
    board->version++;
}

enum status board_find_place(struct board *board, const struct board_axes *axes,
                             uint32_t *ret_place, struct err *err)
{
    uint64_t key = hash_u64(axes, sizeof(*axes));
    *ret_place = lookup_get(&board->by_axes, key);
    if (*ret_place != LOOKUP_NONE)
        return STATUS_OK;
    if (board->places_count == board->places_capacity) {
        size_t capacity = board->places_capacity > 0 ? 2 * board->places_capacity : 64;
        struct board_place *places = reallocarray(board->places, capacity, sizeof(*places));
        if (places == NULL || capacity >= LOOKUP_NONE) {
            board->places = places != NULL ? places : board->places;
            return ERR(err, STATUS_NOMEM, "no memory for %zu cells", capacity);
        }
        board->places = places;
        board->places_capacity = capacity;
    }
    uint32_t place = (uint32_t)board->places_count;
    TRY(lookup_set(&board->by_axes, key, place, err));
    board->places[place] = (struct board_place){.axes = *axes};
    forget_result(&board->places[place]);
    board->places_count++;
    board->version++;
    *ret_place = place;
    return STATUS_OK;
}

/* --- records --- */

static enum status axes_of(struct board *board, const struct record *record,
                           struct board_axes *ret_axes, struct err *err)
{
    const struct {
        enum fact_id field;
        uint32_t *number;
    } texts[] = {{FACT_FRAMEWORK, &ret_axes->engine},
                 {FACT_MODEL, &ret_axes->model},
                 {FACT_DEVICE, &ret_axes->device},
                 {FACT_MODE, &ret_axes->mode},
                 {FACT_PRECISION, &ret_axes->precision}};
    for (size_t i = 0; i < ARRAY_COUNT(texts); i++)
        TRY(lexicon_add(&board->words, record_string(record, texts[i].field), texts[i].number,
                        err));
    ret_axes->seq_len = (uint32_t)record_u64(record, FACT_SEQ_LEN);
    ret_axes->batch_size = (uint32_t)record_u64(record, FACT_BATCH_SIZE);
    return STATUS_OK;
}

static enum status take_reason(struct board *board, const struct record *record, uint32_t *ret_word,
                               struct err *err)
{
    const struct reasons *reasons = record_reasons(record, FACT_REASONS);
    const struct reasons *warnings = record_reasons(record, FACT_WARNINGS);
    const char *code = reasons->count > 0    ? reasons->items[0].code
                       : warnings->count > 0 ? warnings->items[0].code
                                             : "";
    return lexicon_add(&board->words, code, ret_word, err);
}

static void take_values(struct board_place *place, const struct record *record)
{
    for (size_t i = 0; i < BOARD_METRICS_COUNT; i++)
        place->values[i] = record_double(record, metrics[i].field);
    place->median_low = record_double(record, FACT_MS_P50_LOW);
    place->median_high = record_double(record, FACT_MS_P50_HIGH);
}

enum status board_take_record(struct board *board, const struct reader_item *item, struct err *err)
{
    struct board_axes axes = {0};
    uint32_t number = 0;
    uint32_t reason = 0;
    const struct record *record = item->record;
    TRY(axes_of(board, record, &axes, err));
    TRY(take_reason(board, record, &reason, err));
    TRY(board_find_place(board, &axes, &number, err));
    struct board_place *place = &board->places[number];
    const char *cell = record_string(record, FACT_CELL_ID);
    const char *run = record_string(record, FACT_RUN_ID);
    uint64_t cell_hash = hash_u64(cell, strlen(cell));
    uint64_t run_hash = hash_u64(run, strlen(run));
    bool is_same = place->has_result && place->cell_hash == cell_hash && !item->is_published &&
                   place->run_hash == run_hash;
    place->is_mixed |= place->has_result && place->cell_hash != cell_hash;
    place->trials_count = is_same ? place->trials_count + 1 : 1;
    place->cell_hash = cell_hash;
    place->run_hash = run_hash;
    place->has_result = true;
    place->state = BOARD_DONE;
    place->is_synthetic = record_bool(record, FACT_SYNTHETIC);
    place->reason = reason;
    place->warnings_count = (uint32_t)record_reasons(record, FACT_WARNINGS)->count;
    if (!verdict_parse(record_string(record, FACT_VERDICT), &place->verdict))
        place->verdict = VERDICT_COUNT;
    place->is_valid =
        item->is_published || place->verdict == VERDICT_OK || place->verdict == VERDICT_UNSTEADY;
    take_values(place, record);
    board->records_count++;
    board->newest = number;
    board->version++;
    return STATUS_OK;
}

/* --- series --- */

void board_series_add(struct board_series *series, double value, bool is_marked)
{
    series->values[series->next] = value;
    series->is_marked[series->next] = is_marked;
    series->next = (series->next + 1) % BOARD_STEPS;
    series->count += series->count < BOARD_STEPS;
}

static size_t series_slot(const struct board_series *series, size_t i)
{
    return (series->next + BOARD_STEPS - series->count + i) % BOARD_STEPS;
}

double board_series_at(const struct board_series *series, size_t i)
{
    return series->values[series_slot(series, i)];
}

bool board_series_is_marked(const struct board_series *series, size_t i)
{
    return series->is_marked[series_slot(series, i)];
}
