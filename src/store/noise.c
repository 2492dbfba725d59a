#include "store/noise.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_write.h"
#include "store/journal.h"

#define SCHEMA            "tokmark.noise/1"
#define LINE_BYTES_MAX    (64 * 1024)
#define FLOOR_PERCENT_MAX 1e6

void noise_entry_take_cell(struct noise_entry *entry, const struct cell *cell)
{
    (void)snprintf(entry->engine, sizeof(entry->engine), "%s", cell->engine);
    (void)snprintf(entry->device, sizeof(entry->device), "%s", cell->device);
    (void)snprintf(entry->mode, sizeof(entry->mode), "%s", cell_mode_name(cell->mode));
    (void)snprintf(entry->precision, sizeof(entry->precision), "%s",
                   cell_precision_name(cell->precision));
    (void)snprintf(entry->model, sizeof(entry->model), "%s", cell->model.name);
    entry->seq_len = cell->seq_len;
    entry->batch_size = cell->batch_size;
}

/* --- reading --- */

/* False for a text that is not there, empty or too long. */
static bool take_text(const json_t *object, const char *key, char *text, size_t text_bytes)
{
    const char *value = json_string_value(json_object_get(object, key));
    if (value == NULL || value[0] == '\0' || strlen(value) >= text_bytes)
        return false;
    memcpy(text, value, strlen(value) + 1);
    return true;
}

static bool take_count(const json_t *object, const char *key, uint32_t *ret)
{
    const json_t *value = json_object_get(object, key);
    json_int_t number = json_integer_value(value);
    if (!json_is_integer(value) || number < 1 || number > UINT32_MAX)
        return false;
    *ret = (uint32_t)number;
    return true;
}

static bool take_ratios(const json_t *object, struct noise_entry *entry)
{
    const json_t *array = json_object_get(object, "log_ratios");
    size_t count = json_array_size(array);
    if (count < 1 || count > NOISE_REPEATS_MAX)
        return false;
    for (size_t i = 0; i < count; i++) {
        const json_t *value = json_array_get(array, i);
        if (!json_is_number(value))
            return false;
        entry->log_ratios[i] = json_number_value(value);
    }
    entry->repeats_count = count;
    return true;
}

static bool take_entry(const json_t *object, struct noise_entry *entry)
{
    const char *schema = json_string_value(json_object_get(object, "schema"));
    const json_t *floor = json_object_get(object, "floor_percent");
    entry->floor_percent = json_number_value(floor);
    return schema != NULL && strcmp(schema, SCHEMA) == 0 && json_is_number(floor) &&
           entry->floor_percent >= 0 && entry->floor_percent <= FLOOR_PERCENT_MAX &&
           take_text(object, "at", entry->at, sizeof(entry->at)) &&
           take_text(object, "version", entry->version, sizeof(entry->version)) &&
           take_text(object, "environment_id", entry->environment_id,
                     sizeof(entry->environment_id)) &&
           take_text(object, "engine", entry->engine, sizeof(entry->engine)) &&
           take_text(object, "device", entry->device, sizeof(entry->device)) &&
           take_text(object, "mode", entry->mode, sizeof(entry->mode)) &&
           take_text(object, "precision", entry->precision, sizeof(entry->precision)) &&
           take_text(object, "model", entry->model, sizeof(entry->model)) &&
           take_count(object, "seq_len", &entry->seq_len) &&
           take_count(object, "batch_size", &entry->batch_size) && take_ratios(object, entry);
}

static bool reserve_entry(struct noise_book *book)
{
    if (book->count < book->capacity)
        return true;
    size_t capacity = book->capacity == 0 ? 16 : 2 * book->capacity;
    struct noise_entry *entries = reallocarray(book->entries, capacity, sizeof(book->entries[0]));
    if (entries == NULL)
        return false;
    book->entries = entries;
    book->capacity = capacity;
    return true;
}

static enum status visit_line(void *context, const char *line, size_t line_bytes, struct err *err)
{
    struct noise_book *book = context;
    if (book->count == NOISE_ENTRIES_MAX)
        return ERR(err, STATUS_LIMIT, "%s has over %d entries", NOISE_NAME, NOISE_ENTRIES_MAX);
    if (!reserve_entry(book))
        return ERR(err, STATUS_NOMEM, "no memory for the noise of %zu cells", book->count);
    struct noise_entry *entry = &book->entries[book->count];
    memset(entry, 0, sizeof(*entry));
    json_t *object =
        line != NULL ? json_loadb(line, line_bytes, JSON_REJECT_DUPLICATES, NULL) : NULL;
    if (take_entry(object, entry))
        book->count++;
    else
        book->bad_lines_count++;
    json_decref(object);
    return STATUS_OK;
}

enum status noise_book_read(const char *path, struct noise_book *ret_book, struct err *err)
{
    struct noise_book book = {0};
    enum status status = journal_scan(path, LINE_BYTES_MAX, visit_line, &book, err);
    if (status == STATUS_OK)
        *ret_book = book;
    else
        noise_book_release(&book);
    return status;
}

void noise_book_release(struct noise_book *book)
{
    free(book->entries);
    *book = (struct noise_book){0};
}

/* --- writing --- */

static void write_entry(const struct noise_entry *entry, struct buf *line)
{
    struct json_writer writer;
    json_writer_init(&writer, line);
    json_begin_object(&writer);
    json_field_string(&writer, "schema", SCHEMA);
    json_field_string(&writer, "at", entry->at);
    json_field_string(&writer, "version", entry->version);
    json_field_string(&writer, "environment_id", entry->environment_id);
    json_field_string(&writer, "engine", entry->engine);
    json_field_string(&writer, "device", entry->device);
    json_field_string(&writer, "mode", entry->mode);
    json_field_string(&writer, "precision", entry->precision);
    json_field_string(&writer, "model", entry->model);
    json_field_u64(&writer, "seq_len", entry->seq_len);
    json_field_u64(&writer, "batch_size", entry->batch_size);
    json_field_double(&writer, "floor_percent", entry->floor_percent);
    json_put_key(&writer, "log_ratios");
    json_begin_array(&writer);
    for (size_t i = 0; i < entry->repeats_count; i++)
        json_put_double(&writer, entry->log_ratios[i]);
    json_end_array(&writer);
    json_end_object(&writer);
    buf_append_char(line, '\n');
}

enum status noise_append(const char *dir, const struct noise_entry *entry, struct err *err)
{
    struct journal journal;
    enum status status = journal_open_patiently(dir, NOISE_NAME, &journal, err);
    if (status != STATUS_OK)
        return status;
    struct buf line;
    buf_init(&line, LINE_BYTES_MAX);
    write_entry(entry, &line);
    status = line.failed ? ERR(err, STATUS_NOMEM, "no memory for a line of %s", NOISE_NAME)
                         : journal_append(&journal, line.data, line.length_bytes, err);
    buf_release(&line);
    journal_close(&journal);
    return status;
}

/* --- looking up --- */

static bool is_same_kind(const struct noise_entry *a, const struct noise_entry *b)
{
    return strcmp(a->engine, b->engine) == 0 && strcmp(a->device, b->device) == 0 &&
           strcmp(a->mode, b->mode) == 0 && strcmp(a->precision, b->precision) == 0;
}

static bool is_same_cell(const struct noise_entry *a, const struct noise_entry *b)
{
    return is_same_kind(a, b) && strcmp(a->model, b->model) == 0 && a->seq_len == b->seq_len &&
           a->batch_size == b->batch_size;
}

bool noise_entry_is_of_cell(const struct noise_entry *entry, const struct cell *cell)
{
    struct noise_entry wanted = {0};
    noise_entry_take_cell(&wanted, cell);
    return is_same_cell(entry, &wanted);
}

bool noise_book_is_newest(const struct noise_book *book, size_t index)
{
    const struct noise_entry *entry = &book->entries[index];
    for (size_t i = index + 1; i < book->count; i++)
        if (is_same_cell(&book->entries[i], entry) &&
            hash_id_is_same(book->entries[i].environment_id, entry->environment_id))
            return false;
    return true;
}

const struct noise_entry *noise_book_find(const struct noise_book *book, const char *environment_id,
                                          const struct cell *cell)
{
    struct noise_entry wanted = {0};
    const struct noise_entry *largest = NULL;
    noise_entry_take_cell(&wanted, cell);
    for (size_t i = book->count; i-- > 0;) {
        const struct noise_entry *entry = &book->entries[i];
        if (!hash_id_is_same(entry->environment_id, environment_id) ||
            !is_same_kind(entry, &wanted))
            continue;
        if (is_same_cell(entry, &wanted))
            return entry;
        if ((largest == NULL || entry->floor_percent > largest->floor_percent) &&
            noise_book_is_newest(book, i))
            largest = entry;
    }
    return largest;
}
