/* serve/feed.h - what a results folder holds, kept up to date while it is written: the current
 * record of each cell and the last records one by one, for any number of readers.
 *
 * One thread reads the folder (feed_read); any thread may take (feed_take). A place in the results
 * is a position: the file's generation, and an offset behind a whole line of it. Generations of one
 * file are the same in any process, so a position outlives the server; one that is of another
 * generation (the file was emptied or replaced) is of nothing that is still there.
 *
 * Memory is bounded: rows for FEED_CELLS_MAX cells, the most recently changed ones, and the last
 * FEED_RECENT_MAX records; beyond that 45 bytes a cell (result/cells.h).
 */
#ifndef SERVE_FEED_H
#define SERVE_FEED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/file.h"
#include "base/status.h"
#include "serve/row.h"

#define FEED_CELLS_MAX  ((size_t)1 << 17)
#define FEED_RECENT_MAX ((size_t)1 << 12)
#define FEED_NOTE_BYTES 256

struct feed_position {
    uint64_t generation; /* 0 = of nothing */
    uint64_t offset;
};

struct feed_state {
    struct feed_position position; /* all before it is read */
    uint64_t version;              /* differs whenever anything else here does */
    uint64_t file_bytes;           /* of the file, when it was last looked at */
    uint64_t written_ns;           /* when it was last written, since 1970 */
    uint64_t records_count, cells_count;
    uint64_t known_count;       /* records that had been there before */
    uint64_t bad_count;         /* lines that are no record */
    uint64_t hidden_count;      /* cells without a row */
    bool is_there;              /* there is a file */
    bool is_at_end;             /* what is there is read */
    char note[FEED_NOTE_BYTES]; /* of the last line that is no record, or of a failure */
};

struct feed_taken {
    struct serve_row **rows; /* owned; held */
    size_t count;
    bool is_reset; /* forget what was taken before */
    /* Every record behind the position, oldest first; else the rows of the cells that have changed,
     * newest first. */
    bool is_each;
    struct feed_position position; /* what to take from next time */
    struct feed_state state;       /* as of these rows */
};

struct feed; /* opaque */

/* The folder, and its file, may come later. */
MUST_CHECK enum status feed_new(const char *dir, struct feed **ret_feed, struct err *err);
void feed_free(struct feed *feed);

/* Reads on for a slice of time; *ret_has_more: there was more to read, so call again at once. A
 * folder that cannot be read is a note, and tried again. STATUS_NOMEM. */
MUST_CHECK enum status feed_read(struct feed *feed, bool *ret_has_more, struct err *err);

void feed_look(struct feed *feed, struct feed_state *ret_state);
/* What has come since `after`; nothing is fine too. feed_give_back() in any case. */
MUST_CHECK enum status feed_take(struct feed *feed, struct feed_position after,
                                 struct feed_taken *ret_taken, struct err *err);
void feed_give_back(struct feed *feed, struct feed_taken *taken);

#endif
