/* store/noise.h - noise.jsonl in the user's data folder: what this machine's own noise makes of two
 * equal sides, a line for each cell that `tokmark noise` looked at (docs/ab.md). The newest line of
 * a cell is the one that counts.
 */
#ifndef STORE_NOISE_H
#define STORE_NOISE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/status.h"
#include "spec/cell.h"

#define NOISE_NAME         "noise.jsonl"
#define NOISE_REPEATS_MAX  100
#define NOISE_ENTRIES_MAX  10000
#define NOISE_WORD_BYTES   64
#define NOISE_ENGINE_BYTES CELL_PATH_BYTES

struct noise_entry {
    char at[CLOCK_STAMP_BYTES];
    char version[NOISE_WORD_BYTES]; /* of the harness */
    char environment_id[HASH_ID_BYTES];
    /* the kind of cell */
    char engine[NOISE_ENGINE_BYTES];
    char device[CELL_WORD_BYTES];
    char mode[NOISE_WORD_BYTES];
    char precision[NOISE_WORD_BYTES];
    /* the cell */
    char model[MODEL_NAME_BYTES];
    uint32_t seq_len, batch_size;
    double floor_percent; /* >= 0 */
    size_t repeats_count;
    double log_ratios[NOISE_REPEATS_MAX]; /* medians of the comparisons it was made from */
};

struct noise_book {
    struct noise_entry *entries; /* owned; in the order of the file */
    size_t count, capacity;
    size_t bad_lines_count; /* that are no entry, or one that cannot be: they are skipped */
};

/* The cell's words into an entry, the rest of which stays. */
void noise_entry_take_cell(struct noise_entry *entry, const struct cell *cell);

/* All entries of the file; none where there is no file. A torn last line is no entry. */
MUST_CHECK enum status noise_book_read(const char *path, struct noise_book *ret_book,
                                       struct err *err);
void noise_book_release(struct noise_book *book);
/* Appends to DIR/noise.jsonl, which is made; waits a little for another writer. */
MUST_CHECK enum status noise_append(const char *dir, const struct noise_entry *entry,
                                    struct err *err);

/* The entry that says how noisy `cell` is in that environment: the newest of the same cell, else of
 * the newest ones of cells of the same kind (engine, device, mode, precision) the largest; NULL for
 * none. Borrowed from the book. */
const struct noise_entry *noise_book_find(const struct noise_book *book, const char *environment_id,
                                          const struct cell *cell);
/* Is it of the very cell, and not only of its kind? */
bool noise_entry_is_of_cell(const struct noise_entry *entry, const struct cell *cell);
/* Is there no newer entry of the same cell and environment? */
bool noise_book_is_newest(const struct noise_book *book, size_t index);

#endif
