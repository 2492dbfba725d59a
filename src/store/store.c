#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "result/names.h"
#include "result/reader.h"
#include "spec/verdict.h"
#include "store/csv.h"
#include "store/index.h"
#include "store/lines.h"
#include "store/lock.h"

#define SAMPLES_LINE_BYTES_MAX  (64U << 20)
#define STORE_CELL_ID_BYTES_MAX 128

struct store {
    char dir[FILE_PATH_BYTES];
    int lock_fd;
    struct lines_file jsonl;
    struct lines_file csv;
    struct lines_file samples; /* of the cell and trial that had the last line */
    struct lines_file canary;
    bool is_canary;
    struct store_index finished;
    bool is_dir_synced;
    struct buf line; /* scratch, kept to be reused */
    struct buf row;
};

/* The first pass over the JSONL file. */
struct load {
    struct store *store; /* borrowed: while it is opened */
    struct store_facts facts;
    struct csv_check csv;
};

bool store_median_of(const struct record *record, struct store_median *ret_median)
{
    enum verdict verdict;
    double ms = record_double(record, FACT_MS_P50);
    if (!verdict_parse(record_string(record, FACT_VERDICT), &verdict) ||
        (verdict != VERDICT_OK && verdict != VERDICT_UNSTEADY) || !(ms > 0))
        return false;
    *ret_median = (struct store_median){ms, record_double(record, FACT_MS_P50_LOW),
                                        record_double(record, FACT_MS_P50_HIGH)};
    return true;
}

/* What the reader gave: a record of ours, or what is kept as it is. */
static enum status load_item(struct load *load, const struct reader_item *item, struct err *err)
{
    switch (item->kind) {
    case READER_RECORD:
        if (!item->is_published) {
            load->facts.records_count++;
            csv_check_row(&load->csv, item->record);
            return index_add_record(&load->store->finished, item->record, err);
        }
        load->facts.bad_lines_count++;
        break;
    case READER_FOREIGN:
    case READER_LATER:
    case READER_TOO_LONG: load->facts.bad_lines_count++; break;
    case READER_TORN: load->facts.torn_bytes = item->bytes; break;
    case READER_RESTARTED:
    case READER_WAITING:
    case READER_END: break;
    }
    return STATUS_OK;
}

/* Reads the JSONL file, and repairs its end: a torn line is cut off, and one that another writer
 * left without its '\n' gets one. */
static enum status load_lines(struct load *load, struct err *err)
{
    const struct reader_options options = {.is_jsonl = true};
    struct lines_file *jsonl = &load->store->jsonl;
    struct reader *reader = NULL;
    struct reader_item item = {0};
    bool is_unended = false;
    uint64_t torn_offset = 0;
    enum status status = reader_open_fd(jsonl->fd, jsonl->path, &options, &reader, err);
    while (status == STATUS_OK && item.kind != READER_END) {
        status = reader_next(reader, &item, err);
        if (status == STATUS_OK)
            status = load_item(load, &item, err);
        is_unended |= item.is_unended;
        if (item.kind == READER_TORN)
            torn_offset = item.offset;
    }
    reader_close(reader);
    if (status == STATUS_OK && is_unended)
        return lines_append(jsonl, "\n", 1, err);
    if (status == STATUS_OK && load->facts.torn_bytes > 0)
        return lines_truncate(jsonl, torn_offset, err);
    return status;
}

static enum status repair_csv(struct load *load, enum csv_kind kind, const char *path,
                              struct err *err)
{
    if (kind == CSV_OURS && csv_check_is_equal(&load->csv))
        return STATUS_OK;
    if (kind == CSV_FOREIGN || csv_check_is_longer(&load->csv)) {
        enum status status = csv_move_aside(path, err);
        if (status != STATUS_OK)
            return status;
        load->facts.is_csv_moved_aside = true;
    }
    load->facts.is_csv_remade = kind != CSV_MISSING || load->facts.records_count > 0;
    return csv_remake(path, load->store->jsonl.fd, load->store->jsonl.path, err);
}

/* Reads, repairs and opens both files. */
static enum status load_files(struct load *load, struct err *err)
{
    struct store *store = load->store;
    char jsonl_path[FILE_PATH_BYTES];
    char csv_path[FILE_PATH_BYTES];
    enum status status = file_join(store->dir, RESULT_JSONL_NAME, jsonl_path, err);
    if (status == STATUS_OK)
        status = file_join(store->dir, RESULT_CSV_NAME, csv_path, err);
    if (status == STATUS_OK)
        status = lines_open(&store->jsonl, jsonl_path, err);
    if (status != STATUS_OK)
        return status;
    enum csv_kind kind;
    status = csv_check_open(&load->csv, csv_path, &kind, err);
    if (status != STATUS_OK)
        return status;
    status = load_lines(load, err);
    if (status == STATUS_OK)
        status = repair_csv(load, kind, csv_path, err);
    csv_check_close(&load->csv);
    if (status == STATUS_OK)
        status = lines_open(&store->csv, csv_path, err);
    return status;
}

static enum status open_dir(struct store *store, const char *dir, struct err *err)
{
    size_t dir_bytes = strlen(dir);
    if (dir_bytes == 0)
        return ERR(err, STATUS_INVALID, "the folder's name is empty");
    if (dir_bytes >= sizeof(store->dir))
        return ERR(err, STATUS_LIMIT, "path too long: %.80s...", dir);
    memcpy(store->dir, dir, dir_bytes + 1);
    enum status status = file_make_dirs(dir, err);
    return status == STATUS_OK ? lock_acquire(dir, &store->lock_fd, err) : status;
}

enum status store_open(const char *dir, struct store **ret_store, struct store_facts *ret_facts,
                       struct err *err)
{
    struct store *store = calloc(1, sizeof(*store));
    if (store == NULL)
        return ERR(err, STATUS_NOMEM, "no memory to open '%s'", dir);
    store->lock_fd = store->jsonl.fd = store->csv.fd = store->samples.fd = store->canary.fd = -1;
    buf_init(&store->line, RECORD_LINE_BYTES_MAX);
    buf_init(&store->row, RECORD_ROW_BYTES_MAX);
    struct load load = {.store = store, .csv = {.fd = -1}};
    enum status status = open_dir(store, dir, err);
    if (status == STATUS_OK)
        status = load_files(&load, err);
    if (status != STATUS_OK) {
        store_close(store);
        return status;
    }
    *ret_store = store;
    *ret_facts = load.facts;
    return STATUS_OK;
}

void store_close(struct store *store)
{
    if (store == NULL)
        return;
    lines_close(&store->jsonl);
    lines_close(&store->csv);
    lines_close(&store->samples);
    lines_close(&store->canary);
    lock_release(store->lock_fd);
    index_release(&store->finished);
    buf_release(&store->line);
    buf_release(&store->row);
    free(store);
}

/* The names of new files are the folder's data: once is enough. */
static enum status sync_dir(struct store *store, struct err *err)
{
    if (store->is_dir_synced)
        return STATUS_OK;
    int fd = open(store->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int error = fd < 0 || fsync(fd) != 0 ? errno : 0;
    if (fd >= 0)
        (void)close(fd);
    /* Some network file systems have no such call, and need none. */
    if (error != 0 && error != EINVAL && error != ENOTSUP)
        return ERR(err, STATUS_IO, "cannot sync folder '%s': %s", store->dir, strerror(error));
    store->is_dir_synced = true;
    return STATUS_OK;
}

static enum status sync_files(struct store *store, struct err *err)
{
    enum status status = lines_sync(&store->jsonl, err);
    if (status == STATUS_OK)
        status = lines_sync(&store->csv, err);
    return status == STATUS_OK ? sync_dir(store, err) : status;
}

/* Why a record has no line: the field that takes most of it, or memory. */
static enum status tell_no_line(const struct record *record, struct err *err)
{
    enum fact_id largest = 0;
    size_t texts_bytes = 0;
    for (enum fact_id i = 0; i < FACTS_COUNT; i++) {
        texts_bytes += strlen(record_string(record, i));
        if (strlen(record_string(record, i)) > strlen(record_string(record, largest)))
            largest = i;
    }
    /* a character can take six, and the fields that are no texts take little */
    if (texts_bytes < RECORD_LINE_BYTES_MAX / 8)
        return ERR(err, STATUS_NOMEM, "no memory for a record");
    return ERR(err, STATUS_LIMIT, "the record is longer than %u bytes; most of it is in field '%s'",
               RECORD_LINE_BYTES_MAX, fact_of(largest)->name);
}

static enum status format_lines(struct store *store, const struct record *record, struct err *err)
{
    buf_reset(&store->line);
    buf_reset(&store->row);
    record_format_json(record, &store->line);
    record_format_csv(record, &store->row);
    return store->line.failed || store->row.failed ? tell_no_line(record, err) : STATUS_OK;
}

void store_set_canary(struct store *store, bool is_canary)
{
    store->is_canary = is_canary;
}

/* The line that is formatted, to sentinel.jsonl. */
static enum status append_canary(struct store *store, bool is_durable, struct err *err)
{
    struct lines_file *file = &store->canary;
    enum status status = STATUS_OK;
    if (file->fd < 0) {
        char path[FILE_PATH_BYTES];
        status = file_join(store->dir, CANARY_NAME, path, err);
        if (status == STATUS_OK)
            status = lines_open_repaired(file, path, err);
        store->is_dir_synced = false; /* it has a new name */
    }
    if (status == STATUS_OK)
        status = lines_append(file, store->line.data, store->line.length_bytes, err);
    if (status != STATUS_OK || !is_durable)
        return status;
    status = lines_sync(file, err);
    if (status == STATUS_OK)
        status = sync_dir(store, err);
    if (status != STATUS_OK)
        lines_undo(file);
    return status;
}

enum status store_append(struct store *store, const struct record *record, bool is_durable,
                         struct err *err)
{
    enum status status = format_lines(store, record, err);
    if (status == STATUS_OK && store->is_canary)
        return append_canary(store, is_durable, err);
    if (status == STATUS_OK)
        status = lines_append(&store->jsonl, store->line.data, store->line.length_bytes, err);
    if (status != STATUS_OK)
        return status;
    status = lines_append(&store->csv, store->row.data, store->row.length_bytes, err);
    if (status == STATUS_OK && is_durable) {
        status = sync_files(store, err);
        if (status != STATUS_OK)
            lines_undo(&store->csv);
    }
    if (status != STATUS_OK) {
        /* Last, so that the CSV never has a row that the truth does not. */
        lines_undo(&store->jsonl);
        return status;
    }
    /* It is stored, whether or not there is memory to remember it for this run's own --resume. */
    bool is_remembered = index_add_record(&store->finished, record, NULL) == STATUS_OK;
    (void)is_remembered;
    return STATUS_OK;
}

uint64_t store_last_offset(const struct store *store)
{
    return store->is_canary ? store->canary.length_bytes : store->jsonl.length_bytes;
}

bool store_has_finished(const struct store *store, const char *cell_id, const char *policy_id,
                        uint64_t trial, const char *environment_id)
{
    return index_find(&store->finished, cell_id, policy_id, trial, environment_id) != NULL;
}

bool store_is_unsteady(const struct store *store, const char *cell_id, const char *policy_id,
                       uint64_t trial, const char *environment_id)
{
    const struct index_entry *entry =
        index_find(&store->finished, cell_id, policy_id, trial, environment_id);
    return entry != NULL && entry->is_unsteady;
}

bool store_find_median(const struct store *store, const char *cell_id, const char *policy_id,
                       uint64_t trial, const char *environment_id, struct store_median *ret_median)
{
    const struct index_entry *entry =
        index_find(&store->finished, cell_id, policy_id, trial, environment_id);
    if (entry == NULL || isnan(entry->median.ms))
        return false;
    *ret_median = entry->median;
    return true;
}

/* Ids become file names: nothing that could leave the folder. */
static enum status check_cell_id(const char *cell_id, struct err *err)
{
    size_t length = strlen(cell_id);
    if (length == 0 || length > STORE_CELL_ID_BYTES_MAX || cell_id[0] == '.' ||
        strspn(cell_id, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ._-") !=
            length)
        return ERR(err, STATUS_INVALID, "'%.80s' is no cell id", cell_id);
    return STATUS_OK;
}

/* DIR/FOLDER/NAME; makes the folder. */
static enum status make_path(const struct store *store, const char *folder, const char *name,
                             char path[FILE_PATH_BYTES], struct err *err)
{
    char dir[FILE_PATH_BYTES];
    enum status status = file_join(store->dir, folder, dir, err);
    if (status == STATUS_OK)
        status = file_make_dirs(dir, err);
    return status == STATUS_OK ? file_join(dir, name, path, err) : status;
}

/* Opens the samples' file of that cell and trial, unless it is the open one, and repairs its end.
 */
static enum status open_samples(struct store *store, const char *cell_id, uint64_t trial,
                                struct err *err)
{
    char name[STORE_CELL_ID_BYTES_MAX + 40];
    char path[FILE_PATH_BYTES];
    (void)snprintf(name, sizeof(name), "%s%s.%" PRIu64 ".jsonl", cell_id,
                   store->is_canary ? ".sentinel" : "", trial);
    enum status status = make_path(store, "samples", name, path, err);
    if (status != STATUS_OK ||
        (store->samples.fd >= 0 && strcmp(store->samples.path, path) == 0 && file_exists(path)))
        return status;
    lines_close(&store->samples);
    return lines_open_repaired(&store->samples, path, err);
}

enum status store_append_samples(struct store *store, const char *cell_id, uint64_t trial,
                                 const char *line, size_t line_bytes, struct err *err)
{
    enum status status = check_cell_id(cell_id, err);
    if (status != STATUS_OK)
        return status;
    if (line_bytes > 0 && line[line_bytes - 1] == '\n')
        line_bytes--;
    if (line_bytes == 0 || memchr(line, '\n', line_bytes) != NULL)
        return ERR(err, STATUS_INVALID, "samples must be one line that is not empty");
    status = open_samples(store, cell_id, trial, err);
    if (status != STATUS_OK)
        return status;
    struct buf whole;
    buf_init(&whole, SAMPLES_LINE_BYTES_MAX);
    buf_append(&whole, line, line_bytes);
    buf_append_char(&whole, '\n');
    if (line_bytes >= SAMPLES_LINE_BYTES_MAX)
        status = ERR(err, STATUS_LIMIT, "samples of %zu bytes in one line", line_bytes);
    else if (whole.failed)
        status = ERR(err, STATUS_NOMEM, "no memory for samples");
    else
        status = lines_append(&store->samples, whole.data, whole.length_bytes, err);
    buf_release(&whole);
    return status;
}

enum status store_log_path(const struct store *store, const char *cell_id, char *path,
                           size_t path_bytes, struct err *err)
{
    char name[STORE_CELL_ID_BYTES_MAX + 8];
    char full[FILE_PATH_BYTES];
    enum status status = check_cell_id(cell_id, err);
    if (status != STATUS_OK)
        return status;
    (void)snprintf(name, sizeof(name), "%s.log", cell_id);
    status = make_path(store, "logs", name, full, err);
    if (status != STATUS_OK)
        return status;
    size_t full_bytes = strlen(full) + 1;
    if (full_bytes > path_bytes)
        return ERR(err, STATUS_LIMIT, "path too long: %.80s...", full);
    memcpy(path, full, full_bytes);
    return STATUS_OK;
}
