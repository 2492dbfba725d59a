/* cli/matrix.h - an environment matrix (YAML: hardware and software asked for), answered for
 * a machine line by line (docs/machine.md).
 */
#ifndef CLI_MATRIX_H
#define CLI_MATRIX_H

#include "base/buf.h"
#include "base/status.h"

enum matrix_answer { MATRIX_MET, MATRIX_NOT_MET, MATRIX_CANNOT_TELL };

/* Room enough for what matrix_answer_file() writes. */
#define MATRIX_BYTES_MAX ((size_t)32 * 1024)

/* "met", "not met", "cannot tell". */
const char *matrix_answer_name(enum matrix_answer answer);
/* Appends one JSON object {file, hash, answer, lines: [{line, answer, why}]}. `environment`: an
 * environment's JSON (telemetry/environment.h); of its interpreters those under `worker`, `pytorch`
 * and `jax` are looked at. *ret_answer: not met if any line is not met, else cannot tell if any
 * cannot be told. STATUS_INVALID: it is no YAML, or no matrix; STATUS_NOT_FOUND, STATUS_IO. */
MUST_CHECK enum status matrix_answer_file(const char *path, const char *environment,
                                          struct buf *ret_json, enum matrix_answer *ret_answer,
                                          struct err *err);
/* Is it a matrix that can be read? A rule on the flag that names one. */
MUST_CHECK enum status matrix_check_file(const char *path, struct err *err);

#endif
