/* base/dynamic.h - shared libraries that a machine may not have.
 *
 * What only some machines have, or only some commands need (NVML, libcurl, libmicrohttpd), is
 * loaded when it is asked for: the program itself needs the C library alone.
 */
#ifndef BASE_DYNAMIC_H
#define BASE_DYNAMIC_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"

/* One function of the library. `slot` points to a function pointer of the right type, which is set
 * to its address, or to NULL where an optional one is absent:
 *     static int (*init)(void);
 *     {"nvmlInit_v2", &init, false} */
struct dynamic_symbol {
    const char *name; /* borrowed */
    void *slot;       /* borrowed: the address of a pointer to a function */
    bool is_optional;
};

/* Loads the first of `names` (NULL at the end) that the machine has and finds its symbols. Every
 * slot is set on success, none otherwise. The library stays loaded until the program ends: several
 * that we use start threads or register handlers, and cannot be unloaded safely.
 * STATUS_NOT_FOUND: none of the names is there (the text holds the loader's reason for the first).
 * STATUS_UNSUPPORTED: the library lacks a function that is not optional (the text names both). */
MUST_CHECK enum status dynamic_load(const char *const *names, const struct dynamic_symbol *symbols,
                                    size_t symbols_count, struct err *err);

#endif
