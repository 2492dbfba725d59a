/* store/machine.h - machine.jsonl in the user's data folder: what this machine has shown. Four
 * kinds of lines: what each run of a cell came to, how far a cell seems apart from itself (`tokmark
 * noise`, the floor of `ab`), the best clock check, and what a device can do (`tokmark peak`).
 * Everybody asks this header; `tokmark noise` prints it. Files of earlier versions (history.jsonl,
 * noise.jsonl, pace.jsonl) are read, and not written any more. Any of them may be removed at any
 * time.
 */
#ifndef STORE_MACHINE_H
#define STORE_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/status.h"
#include "result/record.h"
#include "spec/cell.h"
#include "store/store.h"

#define MACHINE_NAME "machine.jsonl"
/* What is older counts no more, and is not read. */
#define MACHINE_RUN_DAYS    180
#define MACHINE_FLOOR_DAYS  30

#define MACHINE_REPEATS_MAX 100
#define MACHINE_LINES_MAX   1000000
#define MACHINE_WORD_BYTES  64

/* One run of a cell. */
struct machine_run {
    char id[HASH_ID_BYTES]; /* the record's history_id: equal for runs of the same thing */
    char at[CLOCK_STAMP_BYTES];
    struct store_median median;
    /* Hashes, 0 = not known: the call that it was a part of; the machine with its device; the
     * engine and mode on that; lines of earlier versions know neither. */
    uint64_t call, device, kind;
    bool is_disturbed; /* by others on the machine, for most of the time: `foreign_load` */
    char *cell;        /* owned; for people: "native cpu infer fp32 seq 128 batch 4 NAME" */
};

/* How far comparisons of a cell with itself lay apart. */
struct machine_floor {
    char at[CLOCK_STAMP_BYTES];
    char version[MACHINE_WORD_BYTES]; /* of the harness */
    char environment_id[HASH_ID_BYTES];
    char engine[CELL_PATH_BYTES];
    char device[CELL_WORD_BYTES];
    char mode[MACHINE_WORD_BYTES];
    char precision[MACHINE_WORD_BYTES];
    char model[MODEL_NAME_BYTES];
    uint32_t seq_len, batch_size;
    double percent; /* >= 0 */
    double ms;      /* the step's median meanwhile; 0 = not known */
    size_t repeats_count;
    double log_ratios[MACHINE_REPEATS_MAX]; /* medians of the comparisons it was made from */
};

/* The shortest clock check of a machine. */
struct machine_clock {
    char machine_id[HASH_ID_BYTES];
    char at[CLOCK_STAMP_BYTES];
    uint64_t best_ns;
};

/* What a device can do at best in a precision, per second; 0 = not known. */
struct machine_peak {
    char at[CLOCK_STAMP_BYTES];
    char hardware_id[HASH_ID_BYTES];
    char device[CELL_WORD_BYTES];
    char engine[CELL_PATH_BYTES]; /* by whose kernels */
    char precision[MACHINE_WORD_BYTES];
    double matmul_flops;
    double fma_flops; /* in registers; no kernel is over it */
    double read_bytes, write_bytes, triad_bytes;
    double launch_ns; /* of the shortest piece of work */
};

/* Lists are owned. */
struct machine_book {
    struct machine_run *runs; /* in the order of the files */
    size_t runs_count, runs_capacity;
    struct machine_floor *floors;
    size_t floors_count, floors_capacity;
    struct machine_clock *clocks; /* one a machine */
    size_t clocks_count, clocks_capacity;
    struct machine_peak *peaks;
    size_t peaks_count, peaks_capacity;
    size_t bad_lines_count; /* that say nothing, or what cannot be: they are skipped */
};

/* All that DIR's files say and that counts still; nothing where there is no file, or no folder. */
MUST_CHECK enum status machine_book_read(const char *dir, struct machine_book *ret_book,
                                         struct err *err);
void machine_book_release(struct machine_book *book);

/* --- runs --- */

/* The newest runs with that id, at most `runs_max`, oldest first; how many. Borrowed until a run is
 * added. */
size_t machine_book_runs(const struct machine_book *book, const char *id, size_t runs_max,
                         const struct machine_run **ret_runs);
/* The hashes of a run of such a cell here; `name`: which one the device is, ""
 * for not known. */
uint64_t machine_device_hash(const char *machine_id, const char *device, const char *name);
uint64_t machine_kind_hash(uint64_t device, const char *framework, const char *mode);
uint64_t machine_call_hash(const char *run_id);
/* Takes the run of a record that has a history_id and a sound median (store_median_of()) into the
 * book, and appends it to
 * DIR/machine.jsonl, which is made; `dir` NULL: into the book only. Waits a little for another
 * writer. */
MUST_CHECK enum status machine_take_run(struct machine_book *book, const char *dir,
                                        const char *machine_id, const struct record *record,
                                        struct err *err);

/* --- floors --- */

/* The cell's words into a floor, the rest of which stays. */
void machine_floor_take_cell(struct machine_floor *floor, const struct cell *cell);
/* The newest of that very cell in that environment; NULL for none. Borrowed from the book. */
const struct machine_floor *machine_book_floor(const struct machine_book *book,
                                               const char *environment_id, const struct cell *cell);
/* Is there no newer one of the same cell and environment? */
bool machine_floor_is_newest(const struct machine_book *book, size_t index);
MUST_CHECK enum status machine_append_floor(const char *dir, const struct machine_floor *floor,
                                            struct err *err);

/* --- the clock check --- */

/* The best known of that machine, ns; 0 where there is none. */
uint64_t machine_book_clock(const struct machine_book *book, const char *machine_id);
/* Takes `seen_ns` (0 = not measured) where it is less. True when it is worth storing: the first, or
 * better by 1 %. */
bool machine_clock_improve(uint64_t *best_ns, uint64_t seen_ns);
MUST_CHECK enum status machine_append_clock(const char *dir, const char *machine_id,
                                            uint64_t best_ns, struct err *err);

/* --- peaks --- */

/* Of each rate the best that the newest measurement of any engine has seen, on that device; all 0
 * where there is none. */
void machine_book_peak(const struct machine_book *book, const char *hardware_id, const char *device,
                       const char *precision, struct machine_peak *ret_peak);
MUST_CHECK enum status machine_append_peak(const char *dir, const struct machine_peak *peak,
                                           struct err *err);

#endif
