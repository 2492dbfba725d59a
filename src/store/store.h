/* store/store.h - one folder of results, one writer at a time.
 *
 *   DIR/bench_results.jsonl   the truth: one record a line, one write(2) each, O_APPEND
 *   DIR/bench_results.csv     made from it
 *   DIR/samples/<cell_id>.<trial>.jsonl   raw samples, a line a block
 *   DIR/logs/<cell_id>.log    workers' stderr
 *   DIR/.tokmark.lock         flock'd by the writer, holds its pid
 *
 * Opening repairs: a torn last line is cut off (it was never a finished record) and the CSV is made
 * anew when it does not match. A write that fails (disk full) leaves the file as it was before it.
 */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "store/record.h"

struct store; /* opaque */

struct store_facts {
    size_t records_count;   /* found on opening */
    size_t torn_bytes;      /* cut off the end on opening; 0 = nothing was torn */
    size_t bad_lines_count; /* whole lines that are no record; kept as they are */
    bool csv_remade;
};

/* Makes the folder. STATUS_BUSY with the holder's pid when another writer has it. */
MUST_CHECK enum status store_open(const char *dir, struct store **ret_store,
                                  struct store_facts *ret_facts, struct err *err);
void store_close(struct store *store);

/* Appends one record to both files. `is_durable`: also fdatasync. STATUS_IO leaves both files
 * without any part of it. */
MUST_CHECK enum status store_append(struct store *store, const struct record *record,
                                    bool is_durable, struct err *err);

/* Finished record (verdict_is_finished) of that cell, policy, trial and environment? Looks at what
 * was there on opening and at what was appended since. Synthetic records match too. */
bool store_has_finished(const struct store *store, const char *cell_id, const char *policy_id,
                        uint64_t trial, const char *environment_id);

/* Appends one line {"run_id","phase":"warmup"|"steady","block","sync","window_ns","ns":[..]} to the
 * cell's samples. */
MUST_CHECK enum status store_append_samples(struct store *store, const char *cell_id,
                                            uint64_t trial, const char *line, size_t line_bytes,
                                            struct err *err);

/* Path of the log file of a cell; its folder exists. */
MUST_CHECK enum status store_log_path(const struct store *store, const char *cell_id, char *path,
                                      size_t path_bytes, struct err *err);

/* Number of finished records now in the folder. */
size_t store_records_count(const struct store *store);

/* store/archive.c: <dir>.zip beside the folder, through a temporary file and rename; without the
 * lock. */
MUST_CHECK enum status store_archive(const char *dir, char *ret_path, size_t path_bytes,
                                     struct err *err);

#endif
