/* spec/parallel.h - how a cell lies on its devices: what is divided, and over how many of them. */
#ifndef SPEC_PARALLEL_H
#define SPEC_PARALLEL_H

#include <stdint.h>

#include "base/status.h"

#define PARALLEL_TEXT_BYTES 32

/* Devices that share each of these; their product is the number of devices. 1 = not divided so. */
struct parallel {
    uint32_t ddp;  /* rows; each has the whole of the weights that it shares with them */
    uint32_t fsdp; /* rows, weights, gradients and what the optimizer keeps */
    uint32_t ep;   /* rows, and experts */
    uint32_t tp;   /* heads and columns of matrices; all have the same rows */
};

/* "none", "fsdp", "fsdp:4", "tp:2,fsdp:2": can it be one? The error names the nearest that can. */
MUST_CHECK enum status parallel_check(const char *text, struct err *err);
/* The one spelling of a text that parallel_check() takes, on that many devices: "" for none, "fsdp"
 * for all devices, "fsdp:2,tp:2" in the order of struct parallel. STATUS_INVALID where the
 * product is another number, with the nearest that is possible. */
MUST_CHECK enum status parallel_settle(const char *text, uint32_t devices_count,
                                       char ret_text[PARALLEL_TEXT_BYTES], struct err *err);
/* Of a settled text. */
struct parallel parallel_of(const char *text, uint32_t devices_count);
/* Devices that have rows of their own. */
uint32_t parallel_row_shares(const struct parallel *layout);

#endif
