/* engines/native/native.h - the engine in C, on the CPU, in single precision.
 *
 * What its steps are (docs/metrics.md says what is made of their times):
 *   train   the tokens of the step, forward with dropout, loss, backward, AdamW
 *   infer   the tokens of the step, forward over seq_len tokens, every logit of every row; logits
 *           are made a block of rows at a time
 *   decode  one token a row at position seq_len - 1, whose predecessors open() put into the cache,
 *           and its logits. Each step feeds the next token of the row at the same position, so that
 *           every step reads a cache of the same depth. In the cache a position sees its past only,
 *           whatever the model's mask is for whole sequences.
 */
#ifndef ENGINES_NATIVE_NATIVE_H
#define ENGINES_NATIVE_NATIVE_H

#include "engines/engine.h"

extern const struct engine_ops native_engine;

#endif
