/* store/store.h - one folder of results, one writer at a time.
 *
 *   DIR/bench_results.jsonl   the truth: one record a line, one write(2) each, O_APPEND
 *   DIR/bench_results.csv     made from it
 *   DIR/sentinel.jsonl        records of the canary cell, apart from the results
 *   DIR/samples/<cell_id>.<trial>.jsonl   raw samples, a line a block; of a canary cell
 *                                         <cell_id>.sentinel.<trial>.jsonl
 *   DIR/logs/<cell_id>.log    workers' stderr
 *   DIR/.tokmark.lock         flock'd by the writer, holds its pid
 *
 * Opening repairs: a torn last line is cut off (it was never a finished record) and the CSV is made
 * anew when it does not match. A write that fails (disk full) leaves the file as it was before it.
 *
 * No record is lost, whenever the program is killed. Why that holds:
 *   1. A record is in the JSONL file when its '\n' is. It gets there in one write(2) at the end of
 *      the file; store_append() returns OK only after that write took every byte. So whatever was
 *      reported as stored is a whole line, in the kernel's hands, and outlives the process.
 *   2. Nothing but the end of the file is ever written or cut. A line that is whole is only cut
 *      by the call that is still writing it (its CSV row did not fit), before it was reported.
 *   3. Killed inside of write(2), or between a short write and its taking back, the file ends in a
 *      part without '\n'. Nothing is appended behind it: this writer takes it back first, the next
 *      one cuts it off on opening, and the lock keeps it to one writer at a time.
 *   4. The CSV is checked byte by byte against the JSONL file on opening. It is replaced by
 *      rename(2), so a reader sees the old or the new one; one that is not ours, or that has more
 *      in it than its JSONL file, is moved aside to bench_results.csv.orig instead.
 *   Power loss is another matter: `is_durable` also waits for the disk.
 */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "result/record.h"
#include "store/index.h"

#define CANARY_NAME "sentinel.jsonl"

struct store; /* opaque */

struct store_facts {
    size_t records_count;    /* found on opening */
    size_t torn_bytes;       /* cut off the end on opening; 0 = nothing was torn */
    size_t bad_lines_count;  /* whole lines that are no record of ours; kept as they are */
    bool is_csv_remade;      /* there was none, or another one; not set for an empty new folder */
    bool is_csv_moved_aside; /* to bench_results.csv.orig, .orig.1 ...: it was not ours */
};

/* Makes the folder. STATUS_BUSY with the holder's pid when another writer has it. */
MUST_CHECK enum status store_open(const char *dir, struct store **ret_store,
                                  struct store_facts *ret_facts, struct err *err);
void store_close(struct store *store);

/* Appends one record to both files. `is_durable`: also fdatasync. STATUS_IO leaves both files
 * without any part of it. */
MUST_CHECK enum status store_append(struct store *store, const struct record *record,
                                    bool is_durable, struct err *err);

/* Where in its file the line of the last append begins: of the canary's while that is set. */
uint64_t store_last_offset(const struct store *store);

/* Is there a finished record (index_is_finished()) of that cell, policy, trial and environment?
 * Looks at what was there on opening and at what was appended since. Synthetic records match too.
 */
bool store_has_finished(const struct store *store, const char *cell_id, const char *policy_id,
                        uint64_t trial, const char *environment_id);

/* Is the newest of those unsteady? */
bool store_is_unsteady(const struct store *store, const char *cell_id, const char *policy_id,
                       uint64_t trial, const char *environment_id);

/* The median of a record, where its verdict is ok or unsteady and it has one that is over 0. */
bool store_median_of(const struct record *record, struct store_median *ret_median);
/* The same of the newest finished record of that cell, policy, trial and environment. */
bool store_find_median(const struct store *store, const char *cell_id, const char *policy_id,
                       uint64_t trial, const char *environment_id, struct store_median *ret_median);

/* Until it is called with false, appended records and samples belong to the canary cell. Its
 * records go to sentinel.jsonl with the same guarantees, and count for nothing else here. */
void store_set_canary(struct store *store, bool is_canary);

/* Appends one line, with or without its '\n',
 * {"run_id","phase":"warmup"|"steady","block","sync","window_ns","ns":[..]} to the cell's samples.
 */
MUST_CHECK enum status store_append_samples(struct store *store, const char *cell_id,
                                            uint64_t trial, const char *line, size_t line_bytes,
                                            struct err *err);

/* Path of the log file of a cell; its folder exists. */
MUST_CHECK enum status store_log_path(const struct store *store, const char *cell_id, char *path,
                                      size_t path_bytes, struct err *err);

/* store/archive.c: <dir>.zip beside the folder, through a temporary file and rename; without the
 * lock. Holds <name>/bench_results.jsonl, .csv, logs/ and samples/, sorted. `dir` may end in
 * slashes; "." and ".." stand for the folder's real name. Does not take the lock: a writer may
 * archive its own folder. */
MUST_CHECK enum status store_archive(const char *dir, char *ret_path, size_t path_bytes,
                                     struct err *err);

#endif
