#include "store/machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/journal.h"
#include "store/machine_lines.h"

#define CLOCK_WORTH_PERCENT 1

/* Of earlier versions first: what is newer comes later. */
static const char *const files[] = {"pace.jsonl", "history.jsonl", "noise.jsonl", MACHINE_NAME};

/* --- the book --- */

/* Room for one more of an array of the book; false: no memory. */
static bool reserve(void **items, size_t *capacity, size_t count, size_t item_bytes)
{
    if (count < *capacity)
        return true;
    size_t wanted = *capacity == 0 ? 16 : 2 * *capacity;
    void *grown = reallocarray(*items, wanted, item_bytes);
    if (grown == NULL)
        return false;
    *items = grown;
    *capacity = wanted;
    return true;
}

/* Takes over run->cell, also where it fails. */
static enum status add_run(struct machine_book *book, const struct machine_run *run,
                           struct err *err)
{
    void *runs = book->runs;
    if (run->cell == NULL ||
        !reserve(&runs, &book->runs_capacity, book->runs_count, sizeof(*run))) {
        free(run->cell);
        return ERR(err, STATUS_NOMEM, "no memory for %zu earlier runs", book->runs_count + 1);
    }
    book->runs = runs;
    book->runs[book->runs_count++] = *run;
    return STATUS_OK;
}

static enum status add_floor(struct machine_book *book, const struct machine_floor *floor,
                             struct err *err)
{
    void *floors = book->floors;
    if (!reserve(&floors, &book->floors_capacity, book->floors_count, sizeof(*floor)))
        return ERR(err, STATUS_NOMEM, "no memory for the noise of %zu cells", book->floors_count);
    book->floors = floors;
    book->floors[book->floors_count++] = *floor;
    return STATUS_OK;
}

static struct machine_clock *find_clock(const struct machine_book *book, const char *machine_id)
{
    for (size_t i = 0; i < book->clocks_count; i++)
        if (hash_id_is_same(book->clocks[i].machine_id, machine_id))
            return &book->clocks[i];
    return NULL;
}

/* The best of each machine. */
static enum status add_clock(struct machine_book *book, const struct machine_clock *clock,
                             struct err *err)
{
    struct machine_clock *known = find_clock(book, clock->machine_id);
    if (known != NULL) {
        if (clock->best_ns < known->best_ns)
            *known = *clock;
        return STATUS_OK;
    }
    void *clocks = book->clocks;
    if (!reserve(&clocks, &book->clocks_capacity, book->clocks_count, sizeof(*clock)))
        return ERR(err, STATUS_NOMEM, "no memory for %zu clock checks", book->clocks_count);
    book->clocks = clocks;
    book->clocks[book->clocks_count++] = *clock;
    return STATUS_OK;
}

static bool is_same_peak(const struct machine_peak *a, const struct machine_peak *b)
{
    return hash_id_is_same(a->hardware_id, b->hardware_id) && strcmp(a->device, b->device) == 0 &&
           strcmp(a->engine, b->engine) == 0 && strcmp(a->precision, b->precision) == 0;
}

/* The newest of each. */
static enum status add_peak(struct machine_book *book, const struct machine_peak *peak,
                            struct err *err)
{
    for (size_t i = 0; i < book->peaks_count; i++) {
        if (!is_same_peak(&book->peaks[i], peak))
            continue;
        book->peaks[i] = *peak;
        return STATUS_OK;
    }
    void *peaks = book->peaks;
    if (!reserve(&peaks, &book->peaks_capacity, book->peaks_count, sizeof(*peak)))
        return ERR(err, STATUS_NOMEM, "no memory for %zu peaks", book->peaks_count);
    book->peaks = peaks;
    book->peaks[book->peaks_count++] = *peak;
    return STATUS_OK;
}

/* A scan: the book, and the stamps before which lines count no more. */
struct scan {
    struct machine_book *book; /* borrowed: for the call */
    char oldest_run[CLOCK_STAMP_BYTES], oldest_floor[CLOCK_STAMP_BYTES];
};

static enum status visit_line(void *context, const char *text, size_t text_bytes, struct err *err)
{
    struct scan *scan = context;
    struct machine_line line;
    machine_line_read(text, text_bytes, &line);
    switch (line.kind) {
    case MACHINE_LINE_BAD: scan->book->bad_lines_count++; break;
    case MACHINE_LINE_LATER: break;
    case MACHINE_LINE_PEAK: return add_peak(scan->book, &line.peak, err);
    case MACHINE_LINE_CLOCK: return add_clock(scan->book, &line.clock, err);
    case MACHINE_LINE_FLOOR:
        if (strcmp(line.floor.at, scan->oldest_floor) >= 0)
            return add_floor(scan->book, &line.floor, err);
        break;
    case MACHINE_LINE_RUN:
        if (strcmp(line.run.at, scan->oldest_run) >= 0)
            return add_run(scan->book, &line.run, err);
        free(line.run.cell);
        break;
    }
    return STATUS_OK;
}

enum status machine_book_read(const char *dir, struct machine_book *ret_book, struct err *err)
{
    struct machine_book book = {0};
    struct scan scan = {.book = &book};
    char now[CLOCK_STAMP_BYTES];
    clock_stamp(now);
    (void)clock_stamp_shift(now, -MACHINE_RUN_DAYS, scan.oldest_run);
    (void)clock_stamp_shift(now, -MACHINE_FLOOR_DAYS, scan.oldest_floor);
    enum status status = STATUS_OK;
    for (size_t i = 0; status == STATUS_OK && i < ARRAY_COUNT(files); i++) {
        char path[FILE_PATH_BYTES];
        status = file_join(dir, files[i], path, err);
        if (status == STATUS_OK)
            status = journal_scan(path, MACHINE_LINE_BYTES_MAX, visit_line, &scan, err);
    }
    if (status == STATUS_OK)
        *ret_book = book;
    else
        machine_book_release(&book);
    return status;
}

void machine_book_release(struct machine_book *book)
{
    for (size_t i = 0; i < book->runs_count; i++)
        free(book->runs[i].cell);
    free(book->runs);
    free(book->floors);
    free(book->clocks);
    free(book->peaks);
    *book = (struct machine_book){0};
}

/* A line to the end of machine.jsonl; it is released. */
static enum status append(const char *dir, struct buf *line, struct err *err)
{
    struct journal journal;
    enum status status = line->failed
                             ? ERR(err, STATUS_NOMEM, "no memory for a line of %s", MACHINE_NAME)
                             : journal_open_patiently(dir, MACHINE_NAME, &journal, err);
    if (status == STATUS_OK) {
        status = journal_append(&journal, line->data, line->length_bytes, err);
        journal_close(&journal);
    }
    buf_release(line);
    return status;
}

/* --- runs --- */

size_t machine_book_runs(const struct machine_book *book, const char *id, size_t runs_max,
                         const struct machine_run **ret_runs)
{
    size_t count = 0;
    for (size_t i = book->runs_count; i-- > 0 && count < runs_max;)
        if (hash_id_is_same(book->runs[i].id, id))
            ret_runs[count++] = &book->runs[i];
    for (size_t i = 0; i < count / 2; i++) {
        const struct machine_run *run = ret_runs[i];
        ret_runs[i] = ret_runs[count - 1 - i];
        ret_runs[count - 1 - i] = run;
    }
    return count;
}

static uint64_t hash_words(uint64_t seed, const char *a, const char *b)
{
    char text[2 * CELL_PATH_BYTES];
    int length = snprintf(text, sizeof(text), "%016llx\n%s\n%s", (unsigned long long)seed, a, b);
    size_t bytes = (size_t)length < sizeof(text) ? (size_t)length : sizeof(text) - 1;
    return hash_u64(text, bytes);
}

uint64_t machine_device_hash(const char *machine_id, const char *device, const char *name)
{
    char text[2 * CELL_PATH_BYTES];
    (void)snprintf(text, sizeof(text), "%s\n%s", hash_id_digits(machine_id), device);
    return hash_words(1, text, name);
}

uint64_t machine_kind_hash(uint64_t device, const char *framework, const char *mode)
{
    return hash_words(device, framework, mode);
}

uint64_t machine_call_hash(const char *run_id)
{
    return hash_words(2, run_id, "");
}

/* The run of a record that has a history_id and a sound median; false for others. */
static bool run_of(const struct record *record, const char *machine_id, struct machine_run *run)
{
    const char *words[] = {record_string(record, FACT_FRAMEWORK),
                           record_string(record, FACT_DEVICE), record_string(record, FACT_MODE),
                           record_string(record, FACT_PRECISION),
                           record_string(record, FACT_MODEL)};
    const char *id = record_string(record, FACT_HISTORY_ID);
    char same[CLOCK_STAMP_BYTES];
    struct buf text;
    (void)snprintf(run->id, sizeof(run->id), "%s", id);
    (void)snprintf(run->at, sizeof(run->at), "%s", record_string(record, FACT_STARTED_AT));
    if (id[0] == '\0' || !store_median_of(record, &run->median) ||
        !clock_stamp_shift(run->at, 0, same))
        return false;
    run->is_disturbed = reasons_have(record_reasons(record, FACT_REASONS), "foreign_load");
    run->call = machine_call_hash(record_string(record, FACT_RUN_ID));
    run->device =
        machine_device_hash(machine_id, words[1], record_string(record, FACT_DEVICE_NAME));
    run->kind = machine_kind_hash(run->device, words[0], words[2]);
    buf_init(&text, MACHINE_LINE_BYTES_MAX);
    machine_line_describe(words, record_u64(record, FACT_SEQ_LEN),
                          record_u64(record, FACT_BATCH_SIZE), &text);
    run->cell = strdup(text.data);
    buf_release(&text);
    return true;
}

enum status machine_take_run(struct machine_book *book, const char *dir, const char *machine_id,
                             const struct record *record, struct err *err)
{
    struct machine_run run = {0};
    if (!run_of(record, machine_id, &run))
        return STATUS_OK;
    enum status status = add_run(book, &run, err);
    if (status != STATUS_OK || dir == NULL)
        return status;
    struct buf line;
    buf_init(&line, MACHINE_LINE_BYTES_MAX);
    machine_line_write_run(&run, machine_id, record, &line);
    return append(dir, &line, err);
}

/* --- floors --- */

void machine_floor_take_cell(struct machine_floor *floor, const struct cell *cell)
{
    (void)snprintf(floor->engine, sizeof(floor->engine), "%s", cell->engine);
    (void)snprintf(floor->device, sizeof(floor->device), "%s", cell->device);
    (void)snprintf(floor->mode, sizeof(floor->mode), "%s", cell_mode_name(cell->mode));
    (void)snprintf(floor->precision, sizeof(floor->precision), "%s",
                   cell_precision_name(cell->precision));
    (void)snprintf(floor->model, sizeof(floor->model), "%s", cell->model.name);
    floor->seq_len = cell->seq_len;
    floor->batch_size = cell->batch_size;
}

static bool is_same_cell(const struct machine_floor *a, const struct machine_floor *b)
{
    return strcmp(a->engine, b->engine) == 0 && strcmp(a->device, b->device) == 0 &&
           strcmp(a->mode, b->mode) == 0 && strcmp(a->precision, b->precision) == 0 &&
           strcmp(a->model, b->model) == 0 && a->seq_len == b->seq_len &&
           a->batch_size == b->batch_size;
}

bool machine_floor_is_newest(const struct machine_book *book, size_t index)
{
    const struct machine_floor *floor = &book->floors[index];
    for (size_t i = index + 1; i < book->floors_count; i++)
        if (is_same_cell(&book->floors[i], floor) &&
            hash_id_is_same(book->floors[i].environment_id, floor->environment_id))
            return false;
    return true;
}

const struct machine_floor *machine_book_floor(const struct machine_book *book,
                                               const char *environment_id, const struct cell *cell)
{
    struct machine_floor wanted = {0};
    machine_floor_take_cell(&wanted, cell);
    for (size_t i = book->floors_count; i-- > 0;)
        if (hash_id_is_same(book->floors[i].environment_id, environment_id) &&
            is_same_cell(&book->floors[i], &wanted))
            return &book->floors[i];
    return NULL;
}

enum status machine_append_floor(const char *dir, const struct machine_floor *floor,
                                 struct err *err)
{
    struct buf line;
    buf_init(&line, MACHINE_LINE_BYTES_MAX);
    machine_line_write_floor(floor, &line);
    return append(dir, &line, err);
}

/* --- the clock check --- */

uint64_t machine_book_clock(const struct machine_book *book, const char *machine_id)
{
    const struct machine_clock *clock = find_clock(book, machine_id);
    return clock != NULL ? clock->best_ns : 0;
}

bool machine_clock_improve(uint64_t *best_ns, uint64_t seen_ns)
{
    if (seen_ns == 0 || (*best_ns != 0 && seen_ns >= *best_ns))
        return false;
    bool is_worth = *best_ns == 0 || seen_ns < *best_ns - *best_ns / 100 * CLOCK_WORTH_PERCENT;
    *best_ns = seen_ns;
    return is_worth;
}

enum status machine_append_clock(const char *dir, const char *machine_id, uint64_t best_ns,
                                 struct err *err)
{
    struct buf line;
    buf_init(&line, MACHINE_LINE_BYTES_MAX);
    machine_line_write_clock(machine_id, best_ns, &line);
    return append(dir, &line, err);
}

/* --- peaks --- */

static void keep_best(double *best, double seen)
{
    if (seen > *best)
        *best = seen;
}

void machine_book_peak(const struct machine_book *book, const char *hardware_id, const char *device,
                       const char *precision, struct machine_peak *ret_peak)
{
    *ret_peak = (struct machine_peak){0};
    for (size_t i = 0; i < book->peaks_count; i++) {
        const struct machine_peak *peak = &book->peaks[i];
        if (!hash_id_is_same(peak->hardware_id, hardware_id) || strcmp(peak->device, device) != 0)
            continue;
        keep_best(&ret_peak->read_bytes, peak->read_bytes);
        keep_best(&ret_peak->write_bytes, peak->write_bytes);
        keep_best(&ret_peak->triad_bytes, peak->triad_bytes);
        if (strcmp(peak->precision, precision) != 0)
            continue;
        keep_best(&ret_peak->matmul_flops, peak->matmul_flops);
        keep_best(&ret_peak->fma_flops, peak->fma_flops);
    }
}

enum status machine_append_peak(const char *dir, const struct machine_peak *peak, struct err *err)
{
    struct buf line;
    buf_init(&line, MACHINE_LINE_BYTES_MAX);
    machine_line_write_peak(peak, &line);
    return append(dir, &line, err);
}
