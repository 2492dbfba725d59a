/* data/check_files.h - what engines are compared on: one set of weights and one batch, as
 * safetensors files that every engine reads.
 */
#ifndef DATA_CHECK_FILES_H
#define DATA_CHECK_FILES_H

#include <stdint.h>

#include "base/status.h"
#include "spec/cell.h"
#include "spec/model.h"

/* Weights under the published names, fp32. Nothing in them is zero, so that a bias that is not used
 * is seen, and experts are chosen with a wide margin, so that rounding does not choose others.
 *
 * With r = 2 unit(random_at(key, i)) - 1 for element i of the index-th tensor, where
 *   key = random_key(random_key(seed, CHECK_FILES_STREAM), index):
 *   linear [out, in]  sqrt(6 / (in + out)) r        norm weight      1 + 0.1 r
 *   bias              0.1 r                         token embedding  s r    positions  s r / 2
 * where s = 1, or sqrt(3 / dim) for a tied head, and, where experts_active < experts_count <= dim,
 *   gate.weight[e, e] is larger by 2, and
 *   token_embedding[t, e] by 4 sqrt(layers_count) for the experts of token t:
 *   (e - t) mod experts_count < experts_active.
 * In double, rounded once; no function of the C library but sqrt(), so that the file is the same
 * everywhere. */
#define CHECK_FILES_STREAM 0x636865636b000000ULL
MUST_CHECK enum status check_files_weights(const char *path, const struct model_spec *spec,
                                           uint64_t seed, struct err *err);

/* The F32 tensors of the file `from` with every value moved to the next float, up or down by the
 * lot of `seed`; as a file. Another dtype is UNSUPPORTED. */
MUST_CHECK enum status check_files_nudge(const char *from, const char *path, uint64_t seed,
                                         struct err *err);

/* `tokens` and `targets` (batch_size, seq_len), int32: the cell's step 0 (data/tokens.h). */
MUST_CHECK enum status check_files_batch(const char *path, const struct cell *cell,
                                         struct err *err);

#endif
