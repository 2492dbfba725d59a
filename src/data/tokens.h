/* data/tokens.h - the tokens a step works on: uniform random, or read from a file.
 *
 * File forms: raw little-endian uint16 or uint32 as nanoGPT writes them, the same behind llm.c's
 * header (256 int32: magic 20240520, version 1 = uint16, 7 = uint32, count), or plain text, one
 * token a byte. CELL_DATA_AUTO: llm.c header if the magic is there; else a name ending in .bin is
 * uint16; else text. Asked for as uint16 or uint32, a file with llm.c's magic must say the same of
 * itself, and its header is skipped; asked for as text, every byte is a token.
 *
 * The batch of a step depends on (seed, step, row) alone, so every engine sees equal tokens:
 *   row_key    = random_key(random_key(seed, step), row)
 *   synthetic:   token[i] = random_at(row_key, i) mod vocab_size,          i = 0 .. seq_len
 *   file:        offset   = random_at(row_key, 0) mod (tokens_count - seq_len),
 *                token[i] = file[offset + i],                              i = 0 .. seq_len
 * Inputs are tokens 0 .. seq_len-1, targets 1 .. seq_len.
 */
#ifndef DATA_TOKENS_H
#define DATA_TOKENS_H

#include <stdint.h>

#include "base/hash.h"
#include "base/status.h"
#include "spec/cell.h"

struct tokens; /* opaque */

/* Opens the cell's data (kind, path) and checks that it is long enough (more than seq_len tokens)
 * and that every token of it is below vocab_size (the text names the first that is not and where).
 * The file is mapped, not copied. *ret_tokens is the caller's: tokens_close(). */
MUST_CHECK enum status tokens_open(const struct cell *cell, struct tokens **ret_tokens,
                                   struct err *err);
void tokens_close(struct tokens *tokens);

/* The inputs and targets of one step, each (batch_size, seq_len), row-major. */
void tokens_batch(const struct tokens *tokens, uint64_t step, uint32_t *ret_inputs,
                  uint32_t *ret_targets);

/* Tokens in the file; 0 for synthetic. */
uint64_t tokens_count(const struct tokens *tokens);
/* What AUTO resolved to: "synthetic", "uint16", "uint32" or "text". Static. */
const char *tokens_form(const struct tokens *tokens);

/* Hash of a file's content, for cell ids. The file is streamed. */
MUST_CHECK enum status tokens_hash_file(const char *path, char id[HASH_ID_BYTES], struct err *err);

#endif
