/* telemetry/variables.h - variables of the surroundings that change how fast libraries compute: all
 * of them are recorded, and those that are known to do harm are named.
 */
#ifndef TELEMETRY_VARIABLES_H
#define TELEMETRY_VARIABLES_H

#include <stdbool.h>
#include <stddef.h>

#include "base/json_write.h"
#include "telemetry/cpuinfo.h"

/* Whom a harmful variable can slow down. */
enum variable_scope {
    VARIABLE_ANY = 1,    /* every process */
    VARIABLE_PYTHON = 2, /* the libraries below PyTorch, JAX and NumPy */
    VARIABLE_GPU = 4,    /* the same, on an NVIDIA device */
};

#define VARIABLE_WHY_BYTES 256

struct variable_harm {
    enum variable_scope scope;
    char why[VARIABLE_WHY_BYTES]; /* "NAME=VALUE: what it does" */
};

#define VARIABLES_HARM_MAX 16

/* "NAME=VALUE": does any library or allocator read it? */
bool variable_is_of_speed(const char *assignment);
/* One object {NAME: VALUE}, sorted; a value is cut at 512 bytes, and at most 64 are written.
 * `environment`: as `environ`. */
void variables_write(char *const *environment, struct json_writer *writer);
/* Those that do harm on such processors; at most VARIABLES_HARM_MAX, how many. */
size_t variables_find_harm(char *const *environment, const struct cpuinfo *info,
                           struct variable_harm ret_harm[VARIABLES_HARM_MAX]);

#endif
