/* compare/baseline.h - results kept under a name, to compare with later: a file of their records in
 * the user's data folder. */
#ifndef COMPARE_BASELINE_H
#define COMPARE_BASELINE_H

#include "base/file.h"
#include "base/status.h"

#define BASELINE_PREFIX         "baseline:" /* of a name where a path may stand */
#define BASELINE_NAME_BYTES_MAX 100

/* Letters, digits, '.', '_' and '-'; no '.' first. */
MUST_CHECK enum status baseline_check_name(const char *name, struct err *err);
/* The path that an operand stands for: itself, or that of baseline:NAME. */
MUST_CHECK enum status baseline_resolve(const char *operand, char path[FILE_PATH_BYTES],
                                        struct err *err);
/* The records of `source` (not standard input), whole or not at all. STATUS_BUSY: one of that name
 * is there, and `replaces` is false. */
MUST_CHECK enum status baseline_save(const char *name, const char *source, bool replaces,
                                     struct err *err);

#endif
