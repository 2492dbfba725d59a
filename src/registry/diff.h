/* registry/diff.h - two texts that differ in few places, as `diff -u` shows them. */
#ifndef REGISTRY_DIFF_H
#define REGISTRY_DIFF_H

#include "base/buf.h"

/* Appends nothing where they are equal. */
void diff_append(const char *name, const struct buf *before, const struct buf *after,
                 struct buf *out);

#endif
