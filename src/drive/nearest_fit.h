/* drive/nearest_fit.h - what is predicted to fit instead of a cell that ran out of memory. */
#ifndef DRIVE_NEAREST_FIT_H
#define DRIVE_NEAREST_FIT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/json_write.h"
#include "base/num.h"
#include "spec/cell.h"

#define NEAREST_FIT_TEXT_BYTES (2 * NUM_TEXT_BYTES + 256)

/* What a cell takes where its model runs, by its engine's arithmetic. False: not known, or the
 * engine cannot run it. */
typedef bool predict_memory(const struct cell *cell, uint64_t *ret_bytes);

/* Borrowed: static. */
struct nearest_fit {
    const char *why_not; /* NULL: this fits. Else a word for records: `no_prediction`,
                            `memory_not_known`, `nothing_fits` */
    enum cell_precision precision;
    uint32_t seq_len, batch_size;
    enum cell_recompute recompute; /* as the cell's options have them */
    uint32_t accumulate_count;
    uint32_t fsdp_devices; /* as many such devices hold the cell unchanged; 0 = not known */
    uint64_t needed_bytes, available_bytes;
};

/* The first of these that fits with a tenth to spare: in training layers computed again, rows in
 * parts, both; fewer rows; another precision; one row, halved until it fits; the last two of
 * another precision. All need less than the cell, which did not fit whatever was predicted. Pure.
 * `predict` NULL: nothing is known. */
struct nearest_fit nearest_fit_find(const struct cell *cell, predict_memory *predict,
                                    uint64_t available_bytes);
/* What a cell may take: of the host's memory now, less a reserve and within the limit; of a device
 * that of the card. A limit is of the whole worker, what it held at its hello is no
 * cell's. 0 = not known. */
uint64_t nearest_fit_memory(const struct cell *cell, uint64_t limit_bytes, uint64_t hello_rss_bytes,
                            uint64_t card_bytes);

/* "batch 2 (10.1 GiB of 15.2 GiB)": what differs from `cell`. */
void nearest_fit_text(const struct nearest_fit *fit, const struct cell *cell,
                      char text[NEAREST_FIT_TEXT_BYTES]);

/* The same as a JSON object, for records. */
void nearest_fit_write(const struct nearest_fit *fit, const struct cell *cell,
                       struct json_writer *writer);

#endif
