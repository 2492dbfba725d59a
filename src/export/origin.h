/* export/origin.h - what of a record's environment other programs ask for. */
#ifndef EXPORT_ORIGIN_H
#define EXPORT_ORIGIN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "result/record.h"

struct origin {
    char cpu[256];                      /* its model's name; "" = not known */
    uint64_t cpus_usable, memory_bytes; /* 0 = not known */
};

/* The record's fields `environment` must have been read. */
struct origin origin_of(const struct record *record);
/* Did it run on the processor? */
bool origin_is_cpu(const struct record *record);

#endif
