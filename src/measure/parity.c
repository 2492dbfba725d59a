#include "measure/parity.h"

#include <math.h>

#include "base/status.h"

static const char *const kind_names[] = {
#define X(name, text) text,
    PARITY_KIND_MAP(X)
#undef X
};

const char *parity_kind_name(enum parity_kind kind)
{
    ASSERT((size_t)kind < ARRAY_COUNT(kind_names));
    return kind_names[kind];
}

void parity_add(struct parity_sums *sums, const float *values, const float *reference, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        double value = (double)values[i];
        double wanted = (double)reference[i];
        if (!isfinite(value) || !isfinite(wanted)) {
            sums->nonfinite_count++;
            continue;
        }
        double difference = fabs(value - wanted);
        if (difference > sums->difference_max)
            sums->difference_max = difference;
        sums->difference_squares += difference * difference;
        sums->reference_squares += wanted * wanted;
        if (fabs(wanted) > sums->reference_max)
            sums->reference_max = fabs(wanted);
        double relative = difference > 0.0 ? difference / fabs(wanted) : 0.0;
        if (relative > sums->element_max)
            sums->element_max = relative;
    }
    sums->elements_count += count;
}

double parity_error(const struct parity_sums *sums, enum parity_kind kind, double scale_max)
{
    if (sums->nonfinite_count > 0)
        return INFINITY;
    if (kind == PARITY_WEIGHTS)
        return sums->element_max;
    if (sums->difference_max == 0.0)
        return 0.0;
    if (sums->reference_max == 0.0)
        return sums->difference_max / scale_max;
    return kind == PARITY_PARAMETERS ? sqrt(sums->difference_squares / sums->reference_squares)
                                     : sums->difference_max / sums->reference_max;
}

/* The unit roundoff u = 2^-p of formats with p significant bits, and how many of it are allowed.
 * Why these numbers: docs/check.md. */
struct tolerance_row {
    double unit;
    double weights, logits, loss, gradients, parameters; /* in units */
};

#define FP32_UNITS (1e-4 / 0x1p-24) /* so that the tolerance is 1e-4 */

double parity_tolerance(enum parity_kind kind, enum cell_precision precision)
{
    static const struct tolerance_row rows[CELL_PRECISION_COUNT] = {
        [CELL_PRECISION_FP32] = {0x1p-24, 0, FP32_UNITS, FP32_UNITS, FP32_UNITS, FP32_UNITS},
        [CELL_PRECISION_TF32] = {0x1p-11, 0, 16, 2, 64, 8},
        [CELL_PRECISION_BF16] = {0x1p-8, 0, 16, 2, 64, 8},
        [CELL_PRECISION_BF16_PURE] = {0x1p-8, 1, 32, 2, 128, 8},
        [CELL_PRECISION_FP16] = {0x1p-11, 0, 16, 2, 64, 8},
        [CELL_PRECISION_INT8] = {(double)NAN, 0, 0, 0, 0, 0},
    };
    ASSERT((size_t)precision < ARRAY_COUNT(rows));
    const struct tolerance_row *row = &rows[precision];
    switch (kind) {
    case PARITY_WEIGHTS: return row->unit * row->weights;
    case PARITY_LOGITS: return row->unit * row->logits;
    case PARITY_LOSS: return row->unit * row->loss;
    case PARITY_GRADIENTS: return row->unit * row->gradients;
    case PARITY_PARAMETERS: return row->unit * row->parameters;
    case PARITY_KINDS_COUNT: break;
    }
    UNREACHABLE("every kind has a tolerance");
}
