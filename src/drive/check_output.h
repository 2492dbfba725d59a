/* drive/check_output.h - the files that workers write in answer to `check`: are they whole, and
 * how far are two of them apart.
 */
#ifndef DRIVE_CHECK_OUTPUT_H
#define DRIVE_CHECK_OUTPUT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "drive/check.h"
#include "measure/parity.h"
#include "spec/verdict.h"

#define CHECK_OVER_MAX 16 /* tensors over tolerance that are kept by name, per kind */

struct check_tensor {
    char name[MODEL_TENSOR_NAME_BYTES]; /* of the parameter; "logits", "loss" */
    double error;                       /* may be infinite */
};

/* One kind of tensors of one engine and precision, against the reference's. */
struct check_kind {
    bool is_compared;
    double tolerance;
    uint64_t tensors_count;
    uint64_t over_count;
    struct check_tensor worst;
    struct check_tensor over[CHECK_OVER_MAX]; /* the first of them, in the model's order */
};

struct check_comparison {
    struct check_kind kinds[PARITY_KINDS_COUNT];
};

/* Is every tensor there, in the shape of the preset, fp32 and finite? What is not is added to
 * `reasons`: `bad_output`, `nonfinite`. *ret_has_weights: the optional weights are there too. */
MUST_CHECK enum status check_output_verify(const struct check_job *job, struct reasons *reasons,
                                           bool *ret_has_weights, struct err *err);

/* Both have been verified. `has_weights`: both have the weights in use. */
MUST_CHECK enum status check_output_compare(const struct check_job *job,
                                            const struct check_job *reference, bool has_weights,
                                            struct check_comparison *ret, struct err *err);

/* Is any tensor of any kind over its tolerance? */
bool check_comparison_has_failed(const struct check_comparison *comparison);

#endif
