#include "cli/render/machine_table.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "measure/next_run.h"
#include "observe/readings.h"

#define DAY_CHARS    10 /* of a stamp */
#define NUMBER_BYTES 32

/* The file's words must do a terminal no harm. */
static void make_printable(struct buf *out, size_t from)
{
    for (size_t i = from; i < out->length_bytes; i++)
        if (((unsigned char)out->data[i] < 0x20 && out->data[i] != '\n') || out->data[i] == 0x7f)
            out->data[i] = '?';
}

static void append_row(const char *kind, const char *median, size_t count, const char *spread,
                       const char *at, int days, const char *cell, struct buf *out)
{
    char until[CLOCK_STAMP_BYTES] = "-";
    (void)clock_stamp_shift(at, days, until);
    buf_appendf(out, "%-11s  %9s  %4zu  %8s  %-10.*s  %-10.*s  %s\n", kind, median, count, spread,
                DAY_CHARS, at, DAY_CHARS, until, cell);
}

static bool is_newest_run(const struct machine_book *book, size_t index)
{
    for (size_t i = index + 1; i < book->runs_count; i++)
        if (hash_id_is_same(book->runs[i].id, book->runs[index].id))
            return false;
    return true;
}

/* All runs of what `run` is the newest of. */
static void append_runs(const struct machine_book *book, const struct machine_run *run,
                        struct buf *out)
{
    const struct machine_run *runs[NEXT_RUN_RUNS_MAX];
    struct measure_reading readings[NEXT_RUN_RUNS_MAX];
    char median[NUMBER_BYTES];
    char spread[NUMBER_BYTES] = "-";
    size_t count = machine_book_runs(book, run->id, NEXT_RUN_RUNS_MAX, runs);
    for (size_t i = 0; i < count; i++)
        readings[i] = reading_of_median(&runs[i]->median);
    struct next_run next =
        next_run_of(readings, NULL, count, false, (struct next_run_priors){0}, 0.95);
    (void)snprintf(median, sizeof(median), "%.4g", run->median.ms);
    if (next.between_percent.is_known)
        (void)snprintf(spread, sizeof(spread), "%.2f %%", next.between_percent.value);
    append_row("runs", median, count, spread, run->at, MACHINE_RUN_DAYS, run->cell, out);
}

static void append_floor(const struct machine_floor *floor, struct buf *out)
{
    char median[NUMBER_BYTES] = "-";
    char percent[NUMBER_BYTES];
    struct buf cell;
    buf_init(&cell, sizeof(*floor));
    buf_appendf(&cell, "%s %s %s %s seq %u batch %u %s", floor->engine, floor->device, floor->mode,
                floor->precision, floor->seq_len, floor->batch_size, floor->model);
    if (floor->ms > 0)
        (void)snprintf(median, sizeof(median), "%.4g", floor->ms);
    (void)snprintf(percent, sizeof(percent), "%.3g %%", floor->percent);
    append_row("noise floor", median, floor->repeats_count, percent, floor->at, MACHINE_FLOOR_DAYS,
               cell.data, out);
    buf_release(&cell);
}

static void append_clock(const struct machine_book *book, const char *machine_id, struct buf *out)
{
    for (size_t i = 0; i < book->clocks_count; i++)
        if (hash_id_is_same(book->clocks[i].machine_id, machine_id))
            buf_appendf(out, "Best clock check of this machine: %.4g ms (%.*s)\n",
                        (double)book->clocks[i].best_ns / (double)NS_PER_MS, DAY_CHARS,
                        book->clocks[i].at);
}

void machine_table_format(const struct machine_book *book, const char *machine_id, struct buf *out)
{
    size_t from = out->length_bytes;
    if (book->runs_count + book->floors_count > 0)
        buf_appendf(out, "%-11s  %9s  %4s  %8s  %-10s  %-10s  %s\n", "what", "last ms", "n",
                    "apart", "last", "counts to", "cell");
    for (size_t i = 0; i < book->runs_count; i++)
        if (is_newest_run(book, i))
            append_runs(book, &book->runs[i], out);
    for (size_t i = 0; i < book->floors_count; i++)
        if (machine_floor_is_newest(book, i))
            append_floor(&book->floors[i], out);
    append_clock(book, machine_id, out);
    make_printable(out, from);
}
