/* base/json_dump.h - a value that jansson read, written again by the one JSON writer.
 *
 * jansson's own dump writes doubles with 17 digits (0.1 becomes 0.10000000000000001); this one
 * writes what json_write.h writes, so that text that is read and written again stays the same.
 */
#ifndef BASE_JSON_DUMP_H
#define BASE_JSON_DUMP_H

#include <jansson.h>
#include <stdbool.h>

#include "base/json_write.h"
#include "base/status.h"

/* Keys keep the order they were read in. False, with nothing written, when the value nests deeper
 * than the writer has levels left. */
MUST_CHECK bool json_dump_value(const json_t *value, struct json_writer *writer);

#endif
