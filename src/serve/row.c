#include "serve/row.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_write.h"
#include "result/admit.h"
#include "result/cells.h"

static const enum fact_id word_fields[] = {
    FACT_FRAMEWORK, FACT_MODEL,   FACT_DEVICE,   FACT_DEVICE_NAME, FACT_MODE,
    FACT_PRECISION, FACT_VERDICT, FACT_REASONS,  FACT_WARNINGS,    FACT_STARTED_AT,
    FACT_CELL_ID,   FACT_RUN_ID,  FACT_SYNTHETIC};
static const enum fact_id number_fields[] = {
    FACT_SEQ_LEN,
    FACT_BATCH_SIZE,
    FACT_TRIAL,
    FACT_THREADS,
    FACT_SAMPLES,
    FACT_STEPS,
    FACT_TOKENS_PER_SEC,
    FACT_TOKENS_PER_SEC_LOW,
    FACT_TOKENS_PER_SEC_HIGH,
    FACT_MS_P50,
    FACT_MS_P50_LOW,
    FACT_MS_P50_HIGH,
    FACT_MS_PER_STEP,
    FACT_MS_MEAN_LOW,
    FACT_MS_MEAN_HIGH,
    FACT_MS_P90,
    FACT_MS_P99,
    FACT_PEAK_MEM_MB,
    FACT_MEM_ALLOC_MB,
    FACT_LOSS_LAST,
    FACT_FIRST_STEP_MS,
    FACT_COMPILE_MS,
    FACT_FOREIGN_CPU_PERCENT,
    FACT_PARAMS_MILLIONS,
};

#define WORDS_COUNT     ARRAY_COUNT(word_fields)
#define NUMBERS_COUNT   ARRAY_COUNT(number_fields)
#define WORDS_BYTES_MAX (ROW_BYTES_MAX / 8)

size_t row_collect_fields(enum fact_id ret_fields[FACTS_COUNT])
{
    bool is_wanted[FACTS_COUNT] = {false};
    size_t count = 0;
    for (size_t i = 0; i < WORDS_COUNT; i++)
        is_wanted[word_fields[i]] = true;
    for (size_t i = 0; i < NUMBERS_COUNT; i++)
        is_wanted[number_fields[i]] = true;
    for (size_t i = 0; i < admit_fields_count; i++)
        is_wanted[admit_fields[i]] = true;
    for (size_t i = 0; i < cells_fields_count; i++)
        is_wanted[cells_fields[i]] = true;
    for (enum fact_id id = 0; id < FACTS_COUNT; id++)
        if (is_wanted[id])
            ret_fields[count++] = id;
    return count;
}

/* Of reasons the text that decided, of warnings their codes. */
static void append_word(const struct record *record, enum fact_id field, struct buf *out)
{
    const struct reasons *reasons =
        field == FACT_REASONS || field == FACT_WARNINGS ? record_reasons(record, field) : NULL;
    if (record_is_null(record, field)) {
    } else if (field == FACT_REASONS) {
        buf_append_text(out, reasons->count > 0 ? reasons->items[0].text : "");
    } else if (field == FACT_WARNINGS) {
        for (size_t i = 0; i < reasons->count; i++)
            buf_appendf(out, "%s%s", i > 0 ? " " : "", reasons->items[i].code);
    } else if (field == FACT_SYNTHETIC) {
        buf_append_text(out, record_bool(record, field) ? "yes" : "");
    } else {
        buf_append_text(out, record_string(record, field));
    }
    buf_append_char(out, '\0');
}

static double take_number(const struct record *record, enum fact_id field)
{
    if (record_is_null(record, field))
        return NAN;
    return fact_of(field)->type == FACT_TYPE_INTEGER ? (double)record_u64(record, field)
                                                     : record_double(record, field);
}

struct serve_row *row_new(const struct reader_item *item, size_t cell, uint64_t count)
{
    struct buf words CLEANUP(buf_release);
    struct serve_row *row = calloc(1, sizeof(*row));
    double *numbers = calloc(NUMBERS_COUNT, sizeof(*numbers));
    buf_init(&words, WORDS_BYTES_MAX + WORDS_COUNT); /* there is always room for the NULs */
    for (size_t i = 0; i < WORDS_COUNT; i++) {
        size_t before = words.length_bytes;
        append_word(item->record, word_fields[i], &words);
        if (words.failed ||
            words.length_bytes > WORDS_BYTES_MAX) { /* a name of thousands of letters: it is left
                                                       out, the row is not */
            words.failed = false;
            words.length_bytes = before;
            buf_append_char(&words, '\0');
        }
    }
    char *text = malloc(words.length_bytes);
    if (row == NULL || numbers == NULL || text == NULL || words.failed) {
        free(row);
        free(numbers);
        free(text);
        return NULL;
    }
    for (size_t i = 0; i < NUMBERS_COUNT; i++)
        numbers[i] = take_number(item->record, number_fields[i]);
    memcpy(text, words.data, words.length_bytes);
    *row = (struct serve_row){.holders = 1,
                              .end = item->offset + item->bytes + 1,
                              .count = count,
                              .cell = cell,
                              .numbers = numbers,
                              .words = text};
    return row;
}

void row_free(struct serve_row *row)
{
    if (row == NULL)
        return;
    free(row->numbers);
    free(row->words);
    free(row->json);
    free(row);
}

double row_number(const struct serve_row *row, enum fact_id field)
{
    for (size_t i = 0; i < NUMBERS_COUNT; i++)
        if (number_fields[i] == field)
            return row->numbers[i];
    UNREACHABLE("the field is no number of a row");
}

const char *row_word(const struct serve_row *row, enum fact_id field)
{
    const char *word = row->words;
    for (size_t i = 0; i < WORDS_COUNT; i++, word += strlen(word) + 1)
        if (word_fields[i] == field)
            return word;
    UNREACHABLE("the field is no word of a row");
}

static void render(const struct serve_row *row, struct buf *out)
{
    struct json_writer writer;
    json_writer_init(&writer, out);
    json_begin_array(&writer);
    json_put_u64(&writer, row->cell);
    json_put_u64(&writer, row->count);
    json_put_u64(&writer, row->end);
    const char *word = row->words;
    for (size_t i = 0; i < WORDS_COUNT; i++, word += strlen(word) + 1)
        json_put_string(&writer, word);
    for (size_t i = 0; i < NUMBERS_COUNT; i++) {
        bool is_whole = fact_of(number_fields[i])->type == FACT_TYPE_INTEGER;
        if (is_whole && row->numbers[i] >= 0)
            json_put_u64(&writer, (uint64_t)row->numbers[i]);
        else
            json_put_double(&writer, row->numbers[i]);
    }
    json_end_array(&writer);
}

void row_append(struct serve_row *row, struct buf *out)
{
    if (row->json == NULL) {
        struct buf text CLEANUP(buf_release);
        buf_init(&text, ROW_BYTES_MAX);
        render(row, &text);
        row->json = text.failed ? NULL : malloc(text.length_bytes);
        if (row->json == NULL) {
            out->failed = true;
            return;
        }
        memcpy(row->json, text.data, text.length_bytes);
        row->json_bytes = text.length_bytes;
    }
    buf_append(out, row->json, row->json_bytes);
}

static void put_column(struct json_writer *writer, enum fact_id field)
{
    const struct fact *fact = fact_of(field);
    json_begin_object(writer);
    json_field_string(writer, "name", fact->name);
    json_field_string(writer, "unit", fact->unit);
    json_field_string(writer, "better", fact_better_name(fact->better));
    json_field_string(writer, "meaning", fact->meaning);
    json_end_object(writer);
}

void row_append_columns(struct buf *out)
{
    static const char *const own[] = {"cell", "count", "end"};
    struct json_writer writer;
    json_writer_init(&writer, out);
    json_begin_array(&writer);
    for (size_t i = 0; i < ARRAY_COUNT(own); i++) {
        json_begin_object(&writer);
        json_field_string(&writer, "name", own[i]);
        json_end_object(&writer);
    }
    for (size_t i = 0; i < WORDS_COUNT; i++)
        put_column(&writer, word_fields[i]);
    for (size_t i = 0; i < NUMBERS_COUNT; i++)
        put_column(&writer, number_fields[i]);
    json_end_array(&writer);
}
