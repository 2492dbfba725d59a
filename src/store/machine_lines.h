/* store/machine_lines.h - the lines of machine.jsonl, and of its files of earlier versions, for
 * machine.c. */
#ifndef STORE_MACHINE_LINES_H
#define STORE_MACHINE_LINES_H

#include "base/buf.h"
#include "store/machine.h"

#define MACHINE_LINE_BYTES_MAX (64 * 1024)

enum machine_line_kind {
    MACHINE_LINE_BAD, /* no line of ours, or it cannot be true */
    MACHINE_LINE_RUN,
    MACHINE_LINE_FLOOR,
    MACHINE_LINE_CLOCK,
    MACHINE_LINE_PEAK,
    MACHINE_LINE_LATER, /* of a kind that a later version may know */
};

/* What one line says. */
struct machine_line {
    enum machine_line_kind kind;
    struct machine_run run; /* its `cell` is the caller's to free, or NULL: memory has ended */
    struct machine_floor floor;
    struct machine_clock clock;
    struct machine_peak peak;
};

/* `text` may be NULL: a line too long. */
void machine_line_read(const char *text, size_t text_bytes, struct machine_line *ret_line);

/* Each with its '\n'. */
void machine_line_write_run(const struct machine_run *run, const char *machine_id,
                            const struct record *record, struct buf *out);
void machine_line_write_floor(const struct machine_floor *floor, struct buf *out);
void machine_line_write_clock(const char *machine_id, uint64_t best_ns, struct buf *out);
void machine_line_write_peak(const struct machine_peak *peak, struct buf *out);

/* A run's cell for people, of its words. */
void machine_line_describe(const char *const words[5], uint64_t seq_len, uint64_t batch_size,
                           struct buf *out);

#endif
