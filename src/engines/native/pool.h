/* engines/native/pool.h - a fixed set of threads that run one loop at a time.
 *
 * The caller is thread 0; the others are started by pool_new() and live until pool_free(). Between
 * loops they spin for some tens of microseconds (not at all when there are more threads than
 * processors), then sleep, so that an idle pool costs nothing.
 */
#ifndef ENGINES_NATIVE_POOL_H
#define ENGINES_NATIVE_POOL_H

#include <stddef.h>

#include "base/status.h"

#define POOL_THREADS_MAX 1024
/* Stack of a pool thread: tasks keep large arrays elsewhere. */
#define POOL_STACK_BYTES ((size_t)256 * 1024)

struct pool; /* opaque */

/* `threads_count`: 1 .. POOL_THREADS_MAX, the caller counted. */
MUST_CHECK enum status pool_new(unsigned threads_count, struct pool **ret_pool, struct err *err);
void pool_free(struct pool *pool);
unsigned pool_threads_count(const struct pool *pool);

/* Items begin .. end-1 of a loop, on thread `thread_index` (0 .. threads_count-1). */
typedef void pool_task(void *context, unsigned thread_index, size_t begin, size_t end);

/* Runs `task` over items 0 .. items_count-1 and returns when all are done. The items are split into
 * contiguous, nearly equal ranges, one to a thread; fewer threads take part when a range would be
 * shorter than `grain` items (0 counts as 1). The split depends on the arguments and the number of
 * threads alone. No task is called for zero items. Not re-entrant: one caller at a time, and not
 * from inside a task. */
void pool_run(struct pool *pool, size_t items_count, size_t grain, pool_task *task, void *context);

#endif
