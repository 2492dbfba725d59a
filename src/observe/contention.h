/* observe/contention.h - do others take the processors of a pair's two workers, which are measured
 * at once? */
#ifndef OBSERVE_CONTENTION_H
#define OBSERVE_CONTENTION_H

#include <stdbool.h>

#include "client/client.h"
#include "spec/verdict.h"
#include "telemetry/cpuload.h"

#define CONTENTION_CLIENTS_MAX 2

/* Zeroed: nothing was seen yet. Spans add up, so that a pair may have several starts. */
struct contention {
    struct cpuload before;      /* of the span that is open */
    struct cpuload from, until; /* sums of closed spans; `from` only ever counts the processors */
};

/* `clients`: those that are measured; what all of them do is no contention. The processors are
 * those that clients[index] may use. */
void contention_begin(struct contention *contention, const struct client *const *clients,
                      size_t clients_count, size_t index);
void contention_end(struct contention *contention, const struct client *const *clients,
                    size_t clients_count, size_t index);
/* NULL, or why it is not known: "worker_not_seen", or a word of cpuload_foreign_percent(). */
const char *contention_percent(const struct contention *contention, double *ret_percent);
/* True, with a sentence, where others took more than `limit_percent` (0 = any is fine). */
bool contention_is_over(const struct contention *contention, double limit_percent,
                        char ret_text[REASON_TEXT_BYTES]);

#endif
