/* client/provenance.h - is what a worker opened what was asked for: the model, the precision? By
 * its own words (ready). Pure. */
#ifndef CLIENT_PROVENANCE_H
#define CLIENT_PROVENANCE_H

#include <stdbool.h>

#include "proto/message.h"
#include "spec/cell.h"
#include "spec/verdict.h"

/* True, with a sentence, where they contradict: matmuls that mostly run in another type than the
 * one asked for, or in part in a narrower one; parameters narrower than fp32 for fp32 and tf32, or
 * other than bf16 for bf16-pure. bf16 and fp16 leave parameters open: they are fp32 as a rule.
 * Types of dtype_kept are their author's choice: wider ones are left out, narrower ones too where
 * they do not stand first; but what was asked for must be there.
 * Types that the worker does not name, or that nobody knows, contradict nothing. */
bool provenance_contradicts(enum cell_precision precision, const struct proto_ready *ready,
                            char ret_text[REASON_TEXT_BYTES]);

/* Is the cell's model a preset? Then did the worker take the user's own package for it? */
bool provenance_is_preset(const struct cell *cell);
bool provenance_is_package(const struct proto_ready *ready);
/* True, with a sentence, for a preset that has another number of parameters. A package of the
 * user's own is measured as it is. */
bool provenance_is_other_model(const struct cell *cell, const struct proto_ready *ready,
                               char ret_text[REASON_TEXT_BYTES]);

#endif
