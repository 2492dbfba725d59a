#include "store/history.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_write.h"
#include "store/journal.h"

#define SCHEMA         "tokmark.history/1"
#define LINE_BYTES_MAX (16 * 1024)
#define MS_MAX         1e12

/* --- reading --- */

static bool take_ms(const json_t *object, const char *key, double *ret_ms)
{
    const json_t *value = json_object_get(object, key);
    double ms = json_number_value(value);
    if (!json_is_number(value) || !(ms > 0) || ms > MS_MAX)
        return false;
    *ret_ms = ms;
    return true;
}

/* Both ends or neither: a median of few samples has no interval. */
static bool take_interval(const json_t *object, struct store_median *median)
{
    median->ms_low = NAN;
    median->ms_high = NAN;
    if (json_is_null(json_object_get(object, "ms_low")) &&
        json_is_null(json_object_get(object, "ms_high")))
        return true;
    return take_ms(object, "ms_low", &median->ms_low) &&
           take_ms(object, "ms_high", &median->ms_high) && median->ms_low <= median->ms &&
           median->ms <= median->ms_high;
}

/* Of this version or an earlier one. */
static bool is_id(const char *id)
{
    return strlen(hash_id_digits(id)) == HASH_ID_BYTES - 2;
}

static bool take_run(const json_t *object, struct history_run *ret_run)
{
    struct history_run run = {0};
    const char *schema = json_string_value(json_object_get(object, "schema"));
    const char *id = json_string_value(json_object_get(object, "history_id"));
    if (schema == NULL || strcmp(schema, SCHEMA) != 0 || id == NULL || !is_id(id) ||
        !take_ms(object, "ms", &run.median.ms) || !take_interval(object, &run.median))
        return false;
    (void)snprintf(run.id, sizeof(run.id), "%s", id);
    *ret_run = run;
    return true;
}

static enum status visit_line(void *context, const char *line, size_t line_bytes, struct err *err)
{
    struct history_run run;
    json_t *object =
        line != NULL ? json_loadb(line, line_bytes, JSON_REJECT_DUPLICATES, NULL) : NULL;
    enum status status = take_run(object, &run) ? history_book_add(context, &run, err) : STATUS_OK;
    json_decref(object);
    return status;
}

enum status history_book_read(const char *path, struct history_book *ret_book, struct err *err)
{
    struct history_book book = {0};
    enum status status = journal_scan(path, LINE_BYTES_MAX, visit_line, &book, err);
    if (status == STATUS_OK)
        *ret_book = book;
    else
        history_book_release(&book);
    return status;
}

void history_book_release(struct history_book *book)
{
    free(book->runs);
    *book = (struct history_book){0};
}

size_t history_book_find(const struct history_book *book, const char *id, size_t medians_max,
                         struct store_median *ret_medians)
{
    size_t count = 0;
    size_t first = book->count;
    while (first > 0 && count < medians_max)
        count += hash_id_is_same(book->runs[--first].id, id);
    size_t taken = 0;
    for (size_t i = first; i < book->count; i++)
        if (hash_id_is_same(book->runs[i].id, id))
            ret_medians[taken++] = book->runs[i].median;
    return taken;
}

/* --- writing --- */

bool history_run_of(const struct record *record, struct history_run *ret_run)
{
    struct history_run run = {0};
    const char *id = record_string(record, FACT_HISTORY_ID);
    bool is_contended = reasons_have(record_reasons(record, FACT_REASONS), "foreign_load");
    if (!is_id(id) || is_contended || !store_median_of(record, &run.median))
        return false;
    (void)snprintf(run.id, sizeof(run.id), "%s", id);
    *ret_run = run;
    return true;
}

enum status history_book_add(struct history_book *book, const struct history_run *run,
                             struct err *err)
{
    if (book->count == book->capacity) {
        size_t capacity = book->capacity == 0 ? 64 : 2 * book->capacity;
        struct history_run *runs = reallocarray(book->runs, capacity, sizeof(runs[0]));
        if (runs == NULL)
            return ERR(err, STATUS_NOMEM, "no memory for %zu earlier runs", capacity);
        book->runs = runs;
        book->capacity = capacity;
    }
    book->runs[book->count++] = *run;
    return STATUS_OK;
}

/* What people find the line by. */
static void write_cell(struct json_writer *writer, const struct record *record)
{
    static const enum fact_id words[] = {FACT_FRAMEWORK, FACT_DEVICE, FACT_PRECISION, FACT_MODE,
                                         FACT_MODEL};
    for (size_t i = 0; i < ARRAY_COUNT(words); i++)
        json_field_string(writer, fact_of(words[i])->name, record_string(record, words[i]));
    json_field_u64(writer, "seq_len", record_u64(record, FACT_SEQ_LEN));
    json_field_u64(writer, "batch_size", record_u64(record, FACT_BATCH_SIZE));
}

static void write_end(struct json_writer *writer, const char *key, double ms)
{
    if (isfinite(ms))
        json_field_double(writer, key, ms);
    else
        json_field_null(writer, key);
}

static void write_run(const struct history_run *run, const struct record *record, struct buf *line)
{
    struct json_writer writer;
    json_writer_init(&writer, line);
    json_begin_object(&writer);
    json_field_string(&writer, "schema", SCHEMA);
    json_field_string(&writer, "at", record_string(record, FACT_STARTED_AT));
    json_field_string(&writer, "history_id", run->id);
    write_cell(&writer, record);
    json_field_double(&writer, "ms", run->median.ms);
    write_end(&writer, "ms_low", run->median.ms_low);
    write_end(&writer, "ms_high", run->median.ms_high);
    json_end_object(&writer);
    buf_append_char(line, '\n');
}

enum status history_append(const char *dir, const struct record *record, struct err *err)
{
    struct history_run run;
    if (!history_run_of(record, &run))
        return STATUS_OK;
    struct journal journal;
    enum status status = journal_open_patiently(dir, HISTORY_NAME, &journal, err);
    if (status != STATUS_OK)
        return status;
    struct buf line;
    buf_init(&line, LINE_BYTES_MAX);
    write_run(&run, record, &line);
    status = line.failed ? ERR(err, STATUS_NOMEM, "no memory for a line of %s", HISTORY_NAME)
                         : journal_append(&journal, line.data, line.length_bytes, err);
    buf_release(&line);
    journal_close(&journal);
    return status;
}
