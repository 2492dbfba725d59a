/* serve/metrics.h - the current results as text that Prometheus reads (exposition format 0.0.4). */
#ifndef SERVE_METRICS_H
#define SERVE_METRICS_H

#include "base/buf.h"
#include "serve/feed.h"

/* Cells beyond these, the longest unchanged ones, are left out; a metric says how many. */
#define METRICS_CELLS_MAX ((size_t)2000)
#define METRICS_BYTES_MAX ((size_t)32 << 20)

void metrics_append(const struct feed_taken *taken, struct buf *out);

#endif
