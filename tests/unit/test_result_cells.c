/* What a record makes of its cell's earlier ones, against the rule of cells.h done again record by
 * record; and sets that grow. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "base/random.h"
#include "result/cells.h"
#include "result/seen.h"

struct told { /* what the rule looks at */
    unsigned cell, run, environment, version, trial;
    bool has_result;
};

static struct cells *new_cells(struct cells_options options)
{
    struct cells *cells = NULL;
    struct err err = {0};
    cr_assert_eq(cells_new(&options, &cells, &err), STATUS_OK, "%s", err.text);
    return cells;
}

static struct cells_place take(struct cells *cells, size_t side, const struct record *record,
                               bool is_published)
{
    struct reader_item item = {
        .kind = READER_RECORD, .record = record, .is_published = is_published};
    struct cells_place place = {0};
    struct err err = {0};
    cr_assert_eq(cells_take(cells, side, &item, &place, &err), STATUS_OK, "%s", err.text);
    return place;
}

static void set_id(struct record *record, enum fact_id field, unsigned number)
{
    char id[HASH_ID_BYTES];
    hash_id_format(number, id);
    record_set_string(record, field, id);
}

static struct cells_place take_told(struct cells *cells, size_t side, const struct told *told)
{
    struct record *record = record_new();
    set_id(record, FACT_CELL_ID, told->cell);
    set_id(record, FACT_ENVIRONMENT_ID, told->environment);
    set_id(record, FACT_POLICY_ID, 7);
    record_set_string(record, FACT_RUN_ID, told->run == 0 ? "a" : told->run == 1 ? "b" : "c");
    record_set_string(record, FACT_ENGINE_VERSION, told->version == 0 ? "1" : "2");
    record_set_string(record, FACT_STARTED_AT, "2026-01-02T03:04:05.678Z");
    record_set_string(record, FACT_VERDICT,
                      !told->has_result      ? "oom"
                      : told->trial % 2 == 0 ? "ok"
                                             : "unsteady");
    record_set_u64(record, FACT_TRIAL, told->trial);
    struct cells_place place = take(cells, side, record, false);
    record_free(record);
    return place;
}

/* Of `count` records of one cell and side, the oldest first, what one more is. */
static enum cells_effect effect_of(const struct told *past, size_t count, const struct told *more,
                                   bool takes_newest_run)
{
    bool has_failed = false;
    for (size_t i = 0; i < count; i++)
        if (past[i].run == more->run && past[i].trial == more->trial)
            return CELLS_KNOWN;
    if (count == 0 || past[count - 1].run == more->run)
        return CELLS_ADDS;
    const struct told *newest = &past[count - 1];
    for (size_t i = count; i > 0 && past[i - 1].run == newest->run; i--)
        has_failed |= !past[i - 1].has_result;
    bool is_elsewhere =
        newest->environment != more->environment || newest->version != more->version;
    return is_elsewhere || takes_newest_run || has_failed || !more->has_result ? CELLS_REPLACES
                                                                               : CELLS_ADDS;
}

/* Three cells, two sides, three runs in two environments and versions, with records that come
 * again. */
static void follow(bool takes_newest_run)
{
    enum { CELLS = 3, SIDES = 2, RECORDS = 3000, PAST = 16 };
    struct cells *cells = new_cells(
        (struct cells_options){.sides_count = SIDES, .takes_newest_run = takes_newest_run});
    unsigned of_effects[CELLS_KNOWN + 1] = {0};
    for (uint64_t i = 0; i < RECORDS;) {
        /* Cells begin anew under other names before they hold more than PAST. */
        uint64_t round = i;
        struct told past[SIDES][CELLS][PAST];
        size_t counts[SIDES][CELLS] = {{0}};
        for (unsigned n = 0; n < PAST; n++, i++) {
            uint64_t dice = random_at(42, i);
            unsigned cell = (unsigned)(dice % CELLS);
            size_t side = (size_t)(dice >> 8) % SIDES;
            struct told told = {.cell = (unsigned)round * CELLS + cell,
                                .run = (unsigned)(dice >> 16) % 3,
                                .environment = (unsigned)(dice >> 24) % 8 == 0,
                                .version = (unsigned)(dice >> 32) % 8 == 0,
                                .trial = (unsigned)(dice >> 40) % 4,
                                .has_result = (dice >> 48) % 4 != 0};
            size_t *count = &counts[side][cell];
            enum cells_effect expected =
                effect_of(past[side][cell], *count, &told, takes_newest_run);
            struct cells_place place = take_told(cells, side, &told);
            cr_assert_eq(place.effect, expected, "record %u of round %u: %d, not %d", n,
                         (unsigned)round, (int)place.effect, (int)expected);
            cr_assert_eq(place.has_result, told.has_result);
            of_effects[expected]++;
            if (expected != CELLS_KNOWN)
                past[side][cell][(*count)++] = told;
        }
    }
    for (size_t i = 0; i < ARRAY_COUNT(of_effects); i++)
        cr_expect_geq(of_effects[i], RECORDS / 20, "effect %zu is hardly there", i);
    cells_free(cells);
}

Test(result_cells, earlier_runs_count_until_they_are_superseded)
{
    follow(false);
}

Test(result_cells, the_newest_run_supersedes_all_others_where_that_is_wanted)
{
    follow(true);
}

/* More than the table has room for at first; each is found again under its number. */
Test(result_cells, thousands_of_cells_keep_their_numbers)
{
    enum { CELLS = 7000 };
    struct cells *cells = new_cells((struct cells_options){.sides_count = 1});
    for (unsigned run = 0; run < 2; run++)
        for (unsigned i = 0; i < CELLS; i++) {
            struct told told = {.cell = i, .run = run, .has_result = true};
            cr_assert_eq(take_told(cells, 0, &told).cell, i);
        }
    cr_expect_eq(cells_count(cells), CELLS);
    cells_free(cells);
}

struct value {
    enum fact_id field;
    double number; /* below 0: null, but for a DOUBLE */
    const char *text;
    size_t cell; /* that it is of */
};

static void set_value(struct record *record, const struct value *value)
{
    switch (fact_of(value->field)->type) {
    case FACT_TYPE_STRING: record_set_string(record, value->field, value->text); break;
    case FACT_TYPE_INTEGER:
        if (value->number >= 0)
            record_set_u64(record, value->field, (uint64_t)value->number);
        break;
    case FACT_TYPE_BOOLEAN: record_set_bool(record, value->field, value->number > 0); break;
    case FACT_TYPE_DOUBLE: record_set_double(record, value->field, value->number); break;
    case FACT_TYPE_JSON: record_set_json(record, value->field, value->text); break;
    }
}

static const enum fact_id by[] = {FACT_MODEL, FACT_THREADS, FACT_TF32, FACT_LOSS_LAST,
                                  FACT_ENVIRONMENT};

/* A value of each type, one that looks like it, and none. */
Test(result_cells, cells_are_told_apart_by_any_fields)
{
    static const struct value values[] = {
        {FACT_NOTES, 0, "no such field", 0},
        {FACT_MODEL, 0, "a", 1},
        {FACT_MODEL, 0, "b", 2},
        {FACT_MODEL, 0, "", 3},
        {FACT_MODEL, 0, "h00000000000000aa", 4},
        {FACT_MODEL, 0, "00000000000000aa", 4},
        {FACT_MODEL, 0, "a", 1},
        {FACT_THREADS, 0, NULL, 5},
        {FACT_THREADS, 1, NULL, 6},
        {FACT_THREADS, -1, NULL, 0},
        {FACT_TF32, 0, NULL, 7},
        {FACT_TF32, 1, NULL, 8},
        {FACT_LOSS_LAST, 0.0, NULL, 9},
        {FACT_LOSS_LAST, -0.0, NULL, 9},
        {FACT_LOSS_LAST, 0.5, NULL, 10},
        {FACT_LOSS_LAST, -0.5, NULL, 11},
        {FACT_ENVIRONMENT, 0, "{\"a\":1}", 12},
        {FACT_ENVIRONMENT, 0, "{\"a\":2}", 13},
        {FACT_ENVIRONMENT, 0, "{\"a\": 1}", 12},
    };
    struct cells *cells =
        new_cells((struct cells_options){.by = by, .by_count = ARRAY_COUNT(by), .sides_count = 1});
    for (size_t i = 0; i < ARRAY_COUNT(values); i++) {
        struct record *record = record_new();
        set_value(record, &values[i]);
        set_id(record, FACT_CELL_ID, (unsigned)i); /* is not looked at */
        cr_expect_eq(take(cells, 0, record, false).cell, values[i].cell, "value %zu", i);
        record_free(record);
    }
    cells_free(cells);
}

/* Records of the published scripts are told by what they have; a cell_id in them is not believed.
 */
Test(result_cells, published_records_are_told_by_their_fields)
{
    static const struct value values[] = {
        {FACT_NOTES, 0, "same", 0},     {FACT_FRAMEWORK, 0, "jax", 1}, {FACT_DEVICE, 0, "tpu", 2},
        {FACT_PRECISION, 0, "int8", 3}, {FACT_MODE, 0, "infer", 4},    {FACT_SEQ_LEN, 64, NULL, 5},
        {FACT_BATCH_SIZE, 64, NULL, 6}, {FACT_STEPS, 9, NULL, 0},
    };
    struct cells *cells = new_cells((struct cells_options){.sides_count = 1});
    for (size_t i = 0; i < ARRAY_COUNT(values); i++) {
        struct record *record = record_new();
        record_set_string(record, FACT_FRAMEWORK, "pytorch");
        record_set_string(record, FACT_DEVICE, "cuda");
        record_set_string(record, FACT_PRECISION, "fp32");
        record_set_string(record, FACT_MODE, "train");
        record_set_u64(record, FACT_SEQ_LEN, 128);
        record_set_u64(record, FACT_BATCH_SIZE, 4);
        set_id(record, FACT_CELL_ID, (unsigned)i);
        set_value(record, &values[i]);
        struct cells_place place = take(cells, 0, record, true);
        cr_expect_eq(place.cell, values[i].cell, "value %zu", i);
        cr_expect(place.has_result);
        record_free(record);
    }
    cells_free(cells);
}

/* Keys that fill the set many times over, with halves that are the same, or zero, or both. */
Test(result_cells, a_set_of_keys_grows_and_forgets_none)
{
    enum { KEYS = 9000 };
    struct seen *seen = NULL;
    cr_assert_eq(seen_new(&seen, NULL), STATUS_OK);
    for (int is_again = 0; is_again < 2; is_again++)
        for (uint64_t i = 0; i < KEYS; i++) {
            struct hash_wide key = {i % 4 == 1 ? 0 : random_at(1, i),
                                    i % 4 == 0 ? 0 : random_at(2, i / 4)};
            if (i == 0)
                key.high = 0;
            bool is_new = is_again;
            cr_assert_eq(seen_add(seen, key, &is_new, NULL), STATUS_OK);
            cr_assert_eq(is_new, !is_again, "key %u", (unsigned)i);
        }
    seen_free(seen);
}
