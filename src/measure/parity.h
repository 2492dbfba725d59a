/* measure/parity.h - how far two engines' numbers are apart, and how far they may be
 * (docs/check.md). Pure.
 */
#ifndef MEASURE_PARITY_H
#define MEASURE_PARITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "spec/cell.h"

/* What is compared, in the order it is reported. */
#define PARITY_KIND_MAP(X)    \
    X(WEIGHTS, "weights")     \
    X(LOGITS, "logits")       \
    X(LOSS, "loss")           \
    X(GRADIENTS, "gradients") \
    X(PARAMETERS, "parameters")

enum parity_kind {
#define X(name, text) PARITY_##name,
    PARITY_KIND_MAP(X)
#undef X
        PARITY_KINDS_COUNT
};

const char *parity_kind_name(enum parity_kind kind);

/* Of one tensor, added up part by part. Zeroed to begin with. */
struct parity_sums {
    uint64_t elements_count;
    uint64_t nonfinite_count; /* pairs of which one is NaN or infinite; in none of the maxima */
    double difference_max;    /* max |a - b| */
    double reference_max;     /* max |b| */
    double element_max;       /* max |a - b| / |b|; infinite where b alone is 0 */
    double difference_squares, reference_squares;
};

/* Adds `count` values and what they should be. */
void parity_add(struct parity_sums *sums, const float *values, const float *reference,
                size_t count);

/* The error of a whole tensor of that kind.
 *   weights:    max over elements of |a - b| / |b|: they are read, not computed
 *   parameters: |a - b| / |b| in the Euclidean norm: AdamW turns the rounding noise of a gradient
 * near zero into a step of any size, so single elements say nothing all others: max |a - b| / max
 * |b|, both over the whole tensor. Where b is zero throughout: max |a - b| / `scale_max`, the
 * largest |b| of all tensors of the kind. Infinite when a value is not finite, or when there is no
 * scale at all and the two differ. */
double parity_error(const struct parity_sums *sums, enum parity_kind kind, double scale_max);

/* Largest error that passes: of two engines in fp32, or of a lower precision against the same
 * engine's fp32. Multiples of the precision's unit roundoff; NaN where none is stated (int8). */
double parity_tolerance(enum parity_kind kind, enum cell_precision precision);

#endif
