/* engines/native/weights.h - where the parameters come from: a seed, or a safetensors file. */
#ifndef ENGINES_NATIVE_WEIGHTS_H
#define ENGINES_NATIVE_WEIGHTS_H

#include <stdint.h>

#include "base/status.h"
#include "engines/native/compute.h"
#include "engines/native/params.h"
#include "spec/model.h"

/* Writes every tensor of `weights` (params.h) by its kind (spec/model.h). Element i of the index-th
 * tensor comes from key = random_key(random_key(seed, WEIGHTS_STREAM), index) uniform:
 * unit(random_at(key, i)); normal: Box-Muller of values i and i ^ 1, cosine for even i and sine for
 * odd. So the values do not depend on threads. */
#define WEIGHTS_STREAM 0x7765696768747300ULL
void weights_init(const struct compute *compute, const struct model_spec *spec,
                  const struct params_layout *params, uint64_t seed, struct matrix weights);

/* Writes `weights` from a file. Every tensor of the model must be in it, with its shape (leading
 * dimensions of 1 are taken as absent) and a floating-point type; INVALID names the first that is
 * not. More tensors are no error. A longer position table gives its first max_seq_len rows, so that
 * a checkpoint serves every seq_len of a sweep. */
MUST_CHECK enum status weights_load(const char *path, const struct model_spec *spec,
                                    const struct params_layout *params, struct matrix weights,
                                    struct err *err);

#endif
