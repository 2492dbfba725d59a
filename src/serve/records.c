#include "serve/records.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/num.h"
#include "result/condition.h"
#include "result/reader.h"

#define CONDITIONS_MAX 32U
#define OUT_BYTES      ((size_t)32 * 1024) /* handed on when there are so many */
#define OUT_BYTES_MAX  (OUT_BYTES + 8 * (size_t)RECORD_LINE_BYTES_MAX)
#define SLICE_NS       (10 * NS_PER_MS)
#define SLICE_LINES    64U /* between two looks at the clock */

struct records_query {
    char *values[CONDITIONS_MAX]; /* owned: what the conditions borrow */
    struct condition conditions[CONDITIONS_MAX];
    size_t conditions_count;
    enum fact_id fields[FACTS_COUNT];
    size_t fields_count; /* 0 = all */
    uint64_t limit;
    bool is_array;

    /* While it is answered. */
    const struct mhd *mhd;             /* borrowed */
    struct MHD_Connection *connection; /* borrowed */
    unsigned *count;                   /* borrowed */
    struct reader *reader;             /* owned */
    struct buf out;
    size_t out_at;
    uint64_t given_count;
    bool is_ended;
};

/* --- what is asked for --- */

enum status records_query_new(struct records_query **ret_query, struct err *err)
{
    struct records_query *query = calloc(1, sizeof(*query));
    if (query == NULL)
        return ERR(err, STATUS_NOMEM, "no memory for a query");
    query->limit = UINT64_MAX;
    buf_init(&query->out, OUT_BYTES_MAX);
    *ret_query = query;
    return STATUS_OK;
}

void records_query_free(struct records_query *query)
{
    if (query == NULL)
        return;
    for (size_t i = 0; i < query->conditions_count; i++)
        free(query->values[i]);
    reader_close(query->reader);
    buf_release(&query->out);
    free(query);
}

bool records_query_is_array(const struct records_query *query)
{
    return query->is_array;
}

static enum status add_fields(struct records_query *query, const char *names, struct err *err)
{
    query->fields_count = 0;
    for (const char *at = names;;) {
        size_t bytes = strcspn(at, ",");
        enum fact_id field;
        TRY(condition_find_field(at, bytes, &field, err));
        if (query->fields_count == FACTS_COUNT)
            return ERR(err, STATUS_INVALID, "fields names more than there are");
        query->fields[query->fields_count++] = field;
        if (at[bytes] == '\0')
            return STATUS_OK;
        at += bytes + 1;
    }
}

static enum status add_condition(struct records_query *query, const char *key, const char *value,
                                 struct err *err)
{
    enum fact_id field;
    TRY(condition_find_field(key, strlen(key), &field, err));
    if (query->conditions_count == CONDITIONS_MAX)
        return ERR(err, STATUS_LIMIT, "more than %u conditions", CONDITIONS_MAX);
    char *copy = strdup(value);
    if (copy == NULL)
        return ERR(err, STATUS_NOMEM, "no memory for a query");
    enum status status =
        condition_make(field, copy, &query->conditions[query->conditions_count], err);
    if (status == STATUS_OK)
        query->values[query->conditions_count++] = copy;
    else
        free(copy);
    return status;
}

enum status records_query_add(struct records_query *query, const char *key, const char *value,
                              struct err *err)
{
    if (strcmp(key, "fields") == 0)
        return add_fields(query, value, err);
    if (strcmp(key, "limit") == 0)
        return num_parse_u64(value, 0, INT64_MAX, &query->limit, err);
    if (strcmp(key, "format") != 0)
        return add_condition(query, key, value, err);
    query->is_array = strcmp(value, "json") == 0;
    return query->is_array || strcmp(value, "jsonl") == 0
               ? STATUS_OK
               : ERR(err, STATUS_INVALID, "format is json or jsonl");
}

/* --- the answer --- */

static void put_fields(struct records_query *query, const struct record *record)
{
    struct json_writer writer;
    json_writer_init(&writer, &query->out);
    json_begin_object(&writer);
    for (size_t i = 0; i < query->fields_count; i++) {
        json_put_key(&writer, fact_of(query->fields[i])->name);
        record_put_value(record, query->fields[i], &writer);
    }
    json_end_object(&writer);
    buf_append_char(&query->out, '\n');
}

static void take(struct records_query *query, const struct reader_item *item)
{
    for (size_t i = 0; i < query->conditions_count; i++)
        if (!condition_holds(&query->conditions[i], item->record))
            return;
    if (query->is_array)
        buf_append_char(&query->out, query->given_count == 0 ? '[' : ',');
    if (query->fields_count > 0)
        put_fields(query, item->record);
    else
        reader_append_line(item, &query->out);
    query->given_count++;
}

/* Reads until there is something to hand on, or for a while. */
static enum status read_slice(struct records_query *query, struct err *err)
{
    struct reader_item item = {0};
    uint64_t end_ns = clock_now_ns() + SLICE_NS;
    for (uint64_t lines = 1; !query->is_ended; lines++) {
        query->is_ended = query->given_count >= query->limit;
        if (!query->is_ended) {
            TRY(reader_next(query->reader, &item, err));
            query->is_ended = item.kind == READER_END;
        }
        if (query->is_ended && query->is_array)
            buf_append_text(&query->out, query->given_count == 0 ? "[]\n" : "]\n");
        else if (!query->is_ended && item.kind == READER_RECORD)
            take(query, &item);
        if (query->out.length_bytes >= OUT_BYTES ||
            (lines % SLICE_LINES == 0 && clock_now_ns() >= end_ns))
            break;
    }
    return query->out.failed ? ERR(err, STATUS_NOMEM, "no memory for records") : STATUS_OK;
}

static ssize_t read_records(void *context, uint64_t offset, char *bytes, size_t bytes_max)
{
    struct records_query *query = context;
    struct err err = {0};
    (void)offset;
    if (query->out_at == query->out.length_bytes) {
        buf_reset(&query->out);
        query->out_at = 0;
        if (read_slice(query, &err) != STATUS_OK)
            return MHD_CONTENT_READER_END_WITH_ERROR;
    }
    size_t left = query->out.length_bytes - query->out_at;
    if (left == 0 && query->is_ended)
        return MHD_CONTENT_READER_END_OF_STREAM;
    if (left == 0) { /* the others' turn */
        query->mhd->suspend_connection(query->connection);
        query->mhd->resume_connection(query->connection);
        return 0;
    }
    size_t count = left < bytes_max ? left : bytes_max;
    memcpy(bytes, query->out.data + query->out_at, count);
    query->out_at += count;
    return (ssize_t)count;
}

static void close_records(void *context)
{
    struct records_query *query = context;
    --*query->count;
    records_query_free(query);
}

/* The fields to be given, and those that are asked about. */
static enum status open_reader(struct records_query *query, const char *dir, struct err *err)
{
    enum fact_id fields[FACTS_COUNT];
    bool is_wanted[FACTS_COUNT] = {false};
    struct reader_options options = {.fields = fields, .reads_rows_whole = true};
    for (size_t i = 0; i < query->fields_count; i++)
        is_wanted[query->fields[i]] = true;
    for (size_t i = 0; i < query->conditions_count; i++)
        is_wanted[query->conditions[i].field] = true;
    for (enum fact_id id = 0; id < FACTS_COUNT; id++)
        if (is_wanted[id])
            fields[options.fields_count++] = id;
    return reader_open(dir, &options, &query->reader, err);
}

enum status records_answer(struct records_query *query, const char *dir, const struct mhd *mhd,
                           struct MHD_Connection *connection, unsigned *count,
                           struct MHD_Response **ret_response, struct err *err)
{
    query->mhd = mhd;
    query->connection = connection;
    query->count = count;
    struct MHD_Response *response = NULL;
    enum status status =
        *count >= RECORDS_REQUESTS_MAX
            ? ERR(err, STATUS_BUSY, "%u such requests are being answered; ask again", *count)
            : open_reader(query, dir, err);
    if (status == STATUS_OK) {
        response = mhd->create_response_from_callback(MHD_SIZE_UNKNOWN, OUT_BYTES, read_records,
                                                      query, close_records);
        if (response == NULL)
            status = ERR(err, STATUS_NOMEM, "no memory for a response");
    }
    if (status == STATUS_OK) {
        ++*count;
        *ret_response = response;
    } else {
        records_query_free(query);
    }
    return status;
}
