#include "result/cells.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/chunks.h"
#include "base/hash.h"
#include "result/admit.h"
#include "result/seen.h"
#include "spec/verdict.h"

#define FAILED_BIT        0x80000000U
#define SLOTS_START       ((size_t)1 << 12)
#define SCRATCH_BYTES_MAX (8 * (size_t)RECORD_LINE_BYTES_MAX)

const enum fact_id cells_fields[] = {FACT_FRAMEWORK,      FACT_DEVICE,        FACT_PRECISION,
                                     FACT_MODE,           FACT_SEQ_LEN,       FACT_BATCH_SIZE,
                                     FACT_ENVIRONMENT_ID, FACT_ENGINE_VERSION};
const size_t cells_fields_count = ARRAY_COUNT(cells_fields);

static const enum fact_id published_identity[] = {FACT_FRAMEWORK, FACT_DEVICE,  FACT_PRECISION,
                                                  FACT_MODE,      FACT_SEQ_LEN, FACT_BATCH_SIZE};

/* What is kept of a side's records of a cell; all zero: there is none. Hashes, never 0. */
struct head {
    uint32_t first;       /* the first record, for as long as there is no other; then 0 */
    uint32_t run;         /* the newest record's */
    uint32_t environment; /* FAILED_BIT: a record of the newest run has no result */
};

struct cells {
    const enum fact_id *by; /* borrowed */
    size_t by_count;
    size_t sides_count;
    bool takes_newest_run;
    uint32_t *slots; /* owned; cell + 1 by its key's low bits, 0 = free */
    size_t slots_count;
    size_t count;
    struct chunks keys;   /* uint64_t a cell */
    struct chunks *heads; /* owned; struct head a cell, one list a side */
    struct seen *seen;    /* owned: records of cells that have several */
    struct buf scratch;
};

enum status cells_new(const struct cells_options *options, struct cells **ret_cells,
                      struct err *err)
{
    struct cells *cells = calloc(1, sizeof(*cells));
    if (cells == NULL)
        return ERR(err, STATUS_NOMEM, "no memory for cells");
    cells->by = options->by;
    cells->by_count = options->by_count;
    cells->sides_count = options->sides_count;
    cells->takes_newest_run = options->takes_newest_run;
    cells->slots_count = SLOTS_START;
    cells->slots = calloc(SLOTS_START, sizeof(*cells->slots));
    cells->heads = calloc(options->sides_count, sizeof(*cells->heads));
    chunks_init(&cells->keys, sizeof(uint64_t));
    buf_init(&cells->scratch, SCRATCH_BYTES_MAX);
    for (size_t i = 0; cells->heads != NULL && i < options->sides_count; i++)
        chunks_init(&cells->heads[i], sizeof(struct head));
    enum status status = cells->slots != NULL && cells->heads != NULL
                             ? seen_new(&cells->seen, err)
                             : ERR(err, STATUS_NOMEM, "no memory for cells");
    if (status == STATUS_OK)
        *ret_cells = cells;
    else
        cells_free(cells);
    return status;
}

void cells_free(struct cells *cells)
{
    if (cells == NULL)
        return;
    for (size_t i = 0; cells->heads != NULL && i < cells->sides_count; i++)
        chunks_release(&cells->heads[i]);
    free(cells->heads);
    free(cells->slots);
    chunks_release(&cells->keys);
    seen_free(cells->seen);
    buf_release(&cells->scratch);
    free(cells);
}

size_t cells_count(const struct cells *cells)
{
    return cells->count;
}

/* --- which cell --- */

static void append_text(const char *text, struct buf *out)
{
    buf_append(out, text, strlen(text) + 1);
}

static void append_value(const struct record *record, enum fact_id field, struct buf *out)
{
    uint64_t number = record_u64(record, field);
    double real = record_double(record, field) + 0.0; /* -0.0 is 0 */
    buf_append_char(out, record_is_null(record, field) ? '0' : '1');
    switch (fact_of(field)->type) {
    case FACT_TYPE_STRING:
    case FACT_TYPE_JSON: append_text(hash_id_digits(record_string(record, field)), out); break;
    case FACT_TYPE_INTEGER: buf_append(out, &number, sizeof(number)); break;
    case FACT_TYPE_DOUBLE:
        if (!record_is_null(record, field))
            buf_append(out, &real, sizeof(real));
        break;
    case FACT_TYPE_BOOLEAN: buf_append_char(out, record_bool(record, field) ? 'y' : 'n'); break;
    }
}

static uint64_t cell_key(struct cells *cells, const struct reader_item *item)
{
    const enum fact_id *fields = cells->by;
    size_t count = cells->by_count;
    buf_reset(&cells->scratch);
    if (fields == NULL && !record_is_null(item->record, FACT_CELL_ID) && !item->is_published) {
        append_text(hash_id_digits(record_string(item->record, FACT_CELL_ID)), &cells->scratch);
        return hash_u64(cells->scratch.data, cells->scratch.length_bytes);
    }
    if (fields == NULL) {
        fields = published_identity;
        count = ARRAY_COUNT(published_identity);
    }
    buf_append_char(&cells->scratch, 'f');
    for (size_t i = 0; i < count; i++)
        append_value(item->record, fields[i], &cells->scratch);
    return hash_u64(cells->scratch.data, cells->scratch.length_bytes);
}

static uint64_t key_of(const struct cells *cells, uint32_t slot)
{
    const uint64_t *key = chunks_find(&cells->keys, slot - 1);
    return *key;
}

static size_t find_slot(const struct cells *cells, const uint32_t *slots, size_t slots_count,
                        uint64_t key)
{
    size_t at = (size_t)key & (slots_count - 1);
    while (slots[at] != 0 && key_of(cells, slots[at]) != key)
        at = (at + 1) & (slots_count - 1);
    return at;
}

static enum status grow(struct cells *cells, struct err *err)
{
    size_t count = cells->slots_count * 2;
    uint32_t *slots = calloc(count, sizeof(*slots));
    if (slots == NULL)
        return ERR(err, STATUS_NOMEM, "no memory for %zu cells", cells->count);
    for (size_t i = 0; i < cells->count; i++) {
        uint32_t slot = (uint32_t)(i + 1);
        slots[find_slot(cells, slots, count, key_of(cells, slot))] = slot;
    }
    free(cells->slots);
    cells->slots = slots;
    cells->slots_count = count;
    return STATUS_OK;
}

static enum status find_cell(struct cells *cells, uint64_t key, size_t *ret_cell, struct err *err)
{
    size_t at = find_slot(cells, cells->slots, cells->slots_count, key);
    if (cells->slots[at] != 0) {
        *ret_cell = cells->slots[at] - 1;
        return STATUS_OK;
    }
    if (cells->count >= CELLS_MAX)
        return ERR(err, STATUS_LIMIT, "more than %zu cells", CELLS_MAX);
    /* Three quarters full at most. */
    if (4 * (cells->count + 1) > 3 * cells->slots_count) {
        enum status status = grow(cells, err);
        if (status != STATUS_OK)
            return status;
        at = find_slot(cells, cells->slots, cells->slots_count, key);
    }
    uint64_t *place = chunks_at(&cells->keys, cells->count);
    if (place == NULL)
        return ERR(err, STATUS_NOMEM, "no memory for %zu cells", cells->count);
    *place = key;
    *ret_cell = cells->count++;
    cells->slots[at] = (uint32_t)cells->count;
    return STATUS_OK;
}

/* --- what becomes of its earlier records --- */

static uint32_t hash_31(const void *bytes, size_t bytes_count)
{
    uint32_t hash = (uint32_t)(hash_u64(bytes, bytes_count) >> 33);
    return hash != 0 ? hash : 1;
}

static uint32_t environment_of(struct cells *cells, const struct record *record)
{
    buf_reset(&cells->scratch);
    append_text(hash_id_digits(record_string(record, FACT_ENVIRONMENT_ID)), &cells->scratch);
    append_text(record_string(record, FACT_ENGINE_VERSION), &cells->scratch);
    return hash_31(cells->scratch.data, cells->scratch.length_bytes);
}

static uint32_t run_of(const struct record *record, uint32_t key)
{
    const char *run = record_string(record, FACT_RUN_ID);
    return run[0] != '\0' ? hash_31(run, strlen(run)) : key;
}

static bool has_result(const struct reader_item *item)
{
    const char *verdict = record_string(item->record, FACT_VERDICT);
    return item->is_published || strcmp(verdict, verdict_name(VERDICT_OK)) == 0 ||
           strcmp(verdict, verdict_name(VERDICT_UNSTEADY)) == 0;
}

/* Was the record there before? Of a cell with one record its key is in the head; those of others
 * are in the one set. */
static enum status look_up(struct cells *cells, size_t side, size_t cell, struct head *head,
                           uint32_t key, bool *ret_is_new, struct err *err)
{
    uint64_t place = ((uint64_t)cell * cells->sides_count + side) << 1 | 1;
    bool is_new = true;
    *ret_is_new = true;
    if (head->run == 0) {
        head->first = key;
        return STATUS_OK;
    }
    enum status status = STATUS_OK;
    if (head->first != 0)
        status = seen_add(cells->seen, (struct hash_wide){place, head->first}, &is_new, err);
    head->first = 0;
    return status == STATUS_OK
               ? seen_add(cells->seen, (struct hash_wide){place, key}, ret_is_new, err)
               : status;
}

enum status cells_take(struct cells *cells, size_t side, const struct reader_item *item,
                       struct cells_place *ret_place, struct err *err)
{
    ASSERT(side < cells->sides_count && item->kind == READER_RECORD);
    struct cells_place place = {.effect = CELLS_ADDS, .has_result = has_result(item)};
    enum status status = find_cell(cells, cell_key(cells, item), &place.cell, err);
    struct head *head = status == STATUS_OK ? chunks_at(&cells->heads[side], place.cell) : NULL;
    if (status == STATUS_OK && head == NULL)
        status = ERR(err, STATUS_NOMEM, "no memory for cells");
    if (status != STATUS_OK)
        return status;
    uint32_t key = (uint32_t)admit_key(item, &cells->scratch).low | 1;
    uint32_t run = run_of(item->record, key);
    uint32_t environment = environment_of(cells, item->record);
    bool is_new = true;
    status = look_up(cells, side, place.cell, head, key, &is_new, err);
    if (status != STATUS_OK)
        return status;
    if (cells->scratch.failed)
        return ERR(err, STATUS_NOMEM, "no memory for a record's key");
    bool is_other_run = head->run != 0 && head->run != run;
    bool has_failed = (head->environment & FAILED_BIT) != 0;
    if (!is_new)
        place.effect = CELLS_KNOWN;
    else if (is_other_run && ((head->environment & ~FAILED_BIT) != environment ||
                              cells->takes_newest_run || has_failed || !place.has_result))
        place.effect = CELLS_REPLACES;
    if (is_new) {
        has_failed = !place.has_result || (has_failed && place.effect != CELLS_REPLACES);
        head->run = run;
        head->environment = environment | (has_failed ? FAILED_BIT : 0);
    }
    *ret_place = place;
    return STATUS_OK;
}
