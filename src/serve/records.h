/* serve/records.h - /api/records: records of the folder as they stand, filtered by the query.
 *
 *   FIELD=VALUE    only records whose field has that value, or is null; several: all hold
 *   fields=A,B     only these fields; all without it
 *   format=jsonl   a line a record (as without it); json: one array
 *   limit=N        no more than so many
 */
#ifndef SERVE_RECORDS_H
#define SERVE_RECORDS_H

#include <stdbool.h>

#include "base/status.h"
#include "serve/mhd.h"

/* A request reads on its own; no more of them at once than this. */
#define RECORDS_REQUESTS_MAX 8U

struct records_query; /* opaque */

MUST_CHECK enum status records_query_new(struct records_query **ret_query, struct err *err);
void records_query_free(struct records_query *query);
/* A key and a value of the query; both are copied. STATUS_INVALID, with a text for the client. */
MUST_CHECK enum status records_query_add(struct records_query *query, const char *key,
                                         const char *value, struct err *err);
bool records_query_is_array(const struct records_query *query);

/* The response; takes the query over, also when it fails. `count` is of requests that are answered:
 * this one is added, and taken off at its end; by the daemon's one thread only. */
MUST_CHECK enum status records_answer(struct records_query *query, const char *dir,
                                      const struct mhd *mhd, struct MHD_Connection *connection,
                                      unsigned *count, struct MHD_Response **ret_response,
                                      struct err *err);

#endif
