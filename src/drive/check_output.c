#include "drive/check_output.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/safetensors.h"

#define PART_ELEMENTS    ((size_t)1 << 16)
#define ENTRY_NAME_BYTES (MODEL_TENSOR_NAME_BYTES + 16)
#define SHAPE_DIMS_MAX   3

/* A tensor that an output has. */
struct wanted_tensor {
    char entry[ENTRY_NAME_BYTES]; /* its name in the file: "grad.norm.weight" */
    char name[MODEL_TENSOR_NAME_BYTES];
    unsigned dims_count;
    uint64_t dims[SHAPE_DIMS_MAX];
};

static const char *prefix_of(enum parity_kind kind)
{
    switch (kind) {
    case PARITY_WEIGHTS: return "weight.";
    case PARITY_GRADIENTS: return "grad.";
    case PARITY_PARAMETERS: return "param.";
    case PARITY_LOGITS:
    case PARITY_LOSS:
    case PARITY_KINDS_COUNT: break;
    }
    return "";
}

static bool is_due(const struct check_job *job, enum parity_kind kind)
{
    bool is_train = job->cell->mode == CELL_MODE_TRAIN;
    return kind == PARITY_PARAMETERS  ? is_train && job->steps_path != NULL
           : kind == PARITY_GRADIENTS ? is_train
                                      : true;
}

/* Parameters are compared after the steps, everything else before any. */
static const char *path_of(const struct check_job *job, enum parity_kind kind)
{
    return kind == PARITY_PARAMETERS ? job->steps_path : job->output_path;
}

static bool is_per_tensor(enum parity_kind kind)
{
    return prefix_of(kind)[0] != '\0';
}

static uint32_t wanted_count(const struct check_job *job, enum parity_kind kind)
{
    return is_per_tensor(kind) ? model_tensors_count(&job->cell->model) : 1;
}

static void wanted_at(const struct check_job *job, enum parity_kind kind, uint32_t index,
                      struct wanted_tensor *ret)
{
    const struct cell *cell = job->cell;
    *ret = (struct wanted_tensor){0};
    if (!is_per_tensor(kind)) {
        (void)snprintf(ret->name, sizeof(ret->name), "%s", parity_kind_name(kind));
        bool is_loss = kind == PARITY_LOSS;
        ret->dims_count = is_loss ? 1 : 3;
        ret->dims[0] = is_loss ? 1 : cell->batch_size;
        ret->dims[1] = cell->seq_len;
        ret->dims[2] = cell->model.vocab_size;
    } else {
        struct model_tensor tensor;
        model_tensor_at(&cell->model, index, &tensor);
        (void)snprintf(ret->name, sizeof(ret->name), "%s", tensor.name);
        ret->dims_count = tensor.dims_count;
        memcpy(ret->dims, tensor.dims, sizeof(tensor.dims));
    }
    (void)snprintf(ret->entry, sizeof(ret->entry), "%s%s", prefix_of(kind), ret->name);
}

/* --- is it whole? --- */

/* Leading dimensions of 1 are taken as absent. */
static bool has_shape(const struct safetensors_tensor *found, const struct wanted_tensor *wanted)
{
    unsigned skipped = 0;
    while (found->dims_count - skipped > wanted->dims_count && found->dims[skipped] == 1)
        skipped++;
    bool is_same = found->dims_count - skipped == wanted->dims_count;
    for (unsigned i = 0; is_same && i < wanted->dims_count; i++)
        is_same = found->dims[skipped + i] == wanted->dims[i];
    return is_same;
}

static void shape_text(unsigned dims_count, const uint64_t *dims, char *text, size_t text_bytes)
{
    size_t length = 0;
    text[0] = '\0';
    for (unsigned i = 0; i < dims_count && length < text_bytes; i++)
        length += (size_t)snprintf(text + length, text_bytes - length, "%s%" PRIu64,
                                   i > 0 ? ", " : "", dims[i]);
}

static bool verify_shape(const struct safetensors_tensor *found, const struct wanted_tensor *wanted,
                         struct reasons *reasons)
{
    char shape[160];
    char due[160];
    if (strcmp(found->dtype, "F32") != 0) {
        reasons_add(reasons, "bad_output", "the worker wrote '%s' as %s; F32 is due", wanted->entry,
                    found->dtype);
    } else if (!has_shape(found, wanted)) {
        shape_text(found->dims_count, found->dims, shape, sizeof(shape));
        shape_text(wanted->dims_count, wanted->dims, due, sizeof(due));
        reasons_add(reasons, "bad_output", "the worker wrote '%s' of shape [%s]; [%s] is due",
                    wanted->entry, shape, due);
    } else {
        return true;
    }
    return false;
}

static enum status read_part(const struct safetensors_tensor *tensor, uint64_t first, size_t count,
                             float *values, struct err *err)
{
    const struct safetensors_tensor part = safetensors_part(tensor, first, count);
    return safetensors_copy_f32(&part, values, err);
}

static size_t part_of(const struct safetensors_tensor *tensor, uint64_t done)
{
    uint64_t left = tensor->elements_count - done;
    return left < PART_ELEMENTS ? (size_t)left : PART_ELEMENTS;
}

static enum status verify_values(const struct safetensors_tensor *found, const char *entry,
                                 float *values, struct reasons *reasons, struct err *err)
{
    uint64_t bad_count = 0;
    for (uint64_t done = 0; done < found->elements_count;) {
        size_t now = part_of(found, done);
        enum status status = read_part(found, done, now, values, err);
        if (status != STATUS_OK)
            return status;
        for (size_t i = 0; i < now; i++)
            if (!isfinite(values[i]))
                bad_count++;
        done += now;
    }
    if (bad_count > 0)
        reasons_add(reasons, "nonfinite",
                    "'%s' holds %" PRIu64 " of %" PRIu64 " values that are not finite", entry,
                    bad_count, found->elements_count);
    return STATUS_OK;
}

static enum status verify_kind(const struct check_job *job, const struct safetensors *file,
                               enum parity_kind kind, float *values, struct reasons *reasons,
                               struct err *err)
{
    enum status status = STATUS_OK;
    uint32_t count = wanted_count(job, kind);
    for (uint32_t i = 0; status == STATUS_OK && i < count; i++) {
        struct wanted_tensor wanted;
        wanted_at(job, kind, i, &wanted);
        const struct safetensors_tensor *found = safetensors_find(file, wanted.entry);
        if (found == NULL) {
            reasons_add(reasons, "bad_output", "the worker did not write '%s'", wanted.entry);
            continue;
        }
        if (verify_shape(found, &wanted, reasons))
            status = verify_values(found, wanted.entry, values, reasons, err);
    }
    return status;
}

/* The weights in use are optional: none of them is fine. */
static bool has_any_weight(const struct check_job *job, const struct safetensors *file)
{
    for (uint32_t i = 0; i < wanted_count(job, PARITY_WEIGHTS); i++) {
        struct wanted_tensor wanted;
        wanted_at(job, PARITY_WEIGHTS, i, &wanted);
        if (safetensors_find(file, wanted.entry) != NULL)
            return true;
    }
    return false;
}

/* What was written before any step, or after them. */
static enum status verify_file(const struct check_job *job, bool is_after, bool *has_weights,
                               struct reasons *reasons, struct err *err)
{
    struct safetensors *file = NULL;
    struct err why = {0};
    enum status status =
        safetensors_open(is_after ? job->steps_path : job->output_path, &file, &why);
    if (status == STATUS_NOMEM)
        return ERR(err, status, "%s", why.text);
    if (status != STATUS_OK) {
        reasons_add(reasons, "bad_output", "what the worker wrote cannot be read: %s", why.text);
        return STATUS_OK;
    }
    float *values = malloc(PART_ELEMENTS * sizeof(*values));
    status = values == NULL ? ERR(err, STATUS_NOMEM, "out of memory") : STATUS_OK;
    if (!is_after)
        *has_weights = has_any_weight(job, file);
    for (int i = 0; status == STATUS_OK && i < PARITY_KINDS_COUNT; i++) {
        enum parity_kind kind = (enum parity_kind)i;
        bool is_here = is_due(job, kind) && (kind == PARITY_PARAMETERS) == is_after;
        if (is_here && (kind != PARITY_WEIGHTS || *has_weights))
            status = verify_kind(job, file, kind, values, reasons, err);
    }
    free(values);
    safetensors_close(file);
    return status;
}

enum status check_output_verify(const struct check_job *job, struct reasons *reasons,
                                bool *ret_has_weights, struct err *err)
{
    bool has_weights = false;
    enum status status = verify_file(job, false, &has_weights, reasons, err);
    if (status == STATUS_OK && job->steps_path != NULL)
        status = verify_file(job, true, &has_weights, reasons, err);
    if (status == STATUS_OK)
        *ret_has_weights = has_weights;
    return status;
}

/* --- how far apart? --- */

/* Two verified files and room for a part of each. */
struct verified {
    const struct check_job *job;   /* borrowed: for the comparison */
    struct safetensors *file;      /* owned */
    struct safetensors *reference; /* owned */
    float *values;                 /* owned */
    float *wanted;                 /* owned */
};

/* The part of the key bias that no rotation reaches has a gradient of exactly zero, because softmax
 * does not see a constant; AdamW turns its rounding noise into whole steps of either sign. Such
 * elements are made equal, so that they count for nothing. */
static void mask_key_bias(const struct verified *pair, const char *name, uint64_t first,
                          size_t count)
{
    static const char suffix[] = ".attn.qkv_proj.bias";
    const struct model_spec *spec = &pair->job->cell->model;
    size_t length = strlen(name);
    if (length < sizeof(suffix) || strcmp(name + length - (sizeof(suffix) - 1), suffix) != 0)
        return;
    uint64_t head_dim = spec->dim / spec->heads_count;
    for (size_t i = 0; i < count; i++) {
        uint64_t at = first + i;
        bool is_key = at / spec->dim == 1;
        if (is_key && at % head_dim >= spec->rotary_dim)
            pair->values[i] = pair->wanted[i];
    }
}

static enum status add_tensor(struct verified *pair, enum parity_kind kind,
                              const struct wanted_tensor *wanted, struct parity_sums *sums,
                              struct err *err)
{
    const struct safetensors_tensor *found = safetensors_find(pair->file, wanted->entry);
    const struct safetensors_tensor *due = safetensors_find(pair->reference, wanted->entry);
    if (found == NULL || due == NULL || found->elements_count != due->elements_count)
        return ERR(err, STATUS_IO, "'%s' has gone from a file that was being compared",
                   wanted->entry);
    for (uint64_t done = 0; done < found->elements_count;) {
        size_t now = part_of(found, done);
        enum status status = read_part(found, done, now, pair->values, err);
        if (status == STATUS_OK)
            status = read_part(due, done, now, pair->wanted, err);
        if (status != STATUS_OK)
            return status;
        if (kind == PARITY_PARAMETERS)
            mask_key_bias(pair, wanted->name, done, now);
        parity_add(sums, pair->values, pair->wanted, now);
        done += now;
    }
    return STATUS_OK;
}

static void judge_tensor(struct check_kind *kind, const char *name, double error)
{
    struct check_tensor tensor = {.error = error};
    (void)snprintf(tensor.name, sizeof(tensor.name), "%s", name);
    if (kind->tensors_count == 0 || error > kind->worst.error)
        kind->worst = tensor;
    kind->tensors_count++;
    /* Not `>`: an error that is no number does not pass. */
    if (!(error <= kind->tolerance)) {
        if (kind->over_count < CHECK_OVER_MAX)
            kind->over[kind->over_count] = tensor;
        kind->over_count++;
    }
}

static enum status compare_kind(struct verified *pair, enum parity_kind kind,
                                struct check_kind *ret, struct err *err)
{
    uint32_t count = wanted_count(pair->job, kind);
    struct parity_sums *sums = calloc(count, sizeof(*sums));
    enum status status = sums == NULL ? ERR(err, STATUS_NOMEM, "out of memory") : STATUS_OK;
    double scale_max = 0.0;
    struct wanted_tensor wanted;
    for (uint32_t i = 0; status == STATUS_OK && i < count; i++) {
        wanted_at(pair->job, kind, i, &wanted);
        status = add_tensor(pair, kind, &wanted, &sums[i], err);
        scale_max = fmax(scale_max, sums[i].reference_max);
    }
    ret->is_compared = true;
    ret->tolerance = parity_tolerance(kind, pair->job->cell->precision);
    for (uint32_t i = 0; status == STATUS_OK && i < count; i++) {
        wanted_at(pair->job, kind, i, &wanted);
        judge_tensor(ret, wanted.name, parity_error(&sums[i], kind, scale_max));
    }
    free(sums);
    return status;
}

static enum status pair_open(struct verified *pair, const char *path, const char *reference_path,
                             struct err *err)
{
    struct err why = {0};
    enum status status = safetensors_open(path, &pair->file, &why);
    if (status == STATUS_OK)
        status = safetensors_open(reference_path, &pair->reference, &why);
    if (status != STATUS_OK)
        return ERR(err, STATUS_IO, "%s", why.text);
    pair->values = malloc(PART_ELEMENTS * sizeof(float));
    pair->wanted = malloc(PART_ELEMENTS * sizeof(float));
    if (pair->values == NULL || pair->wanted == NULL)
        return ERR(err, STATUS_NOMEM, "out of memory");
    return STATUS_OK;
}

static void pair_close(struct verified *pair)
{
    safetensors_close(pair->file);
    safetensors_close(pair->reference);
    free(pair->values);
    free(pair->wanted);
}

enum status check_output_compare(const struct check_job *job, const struct check_job *reference,
                                 bool has_weights, struct check_comparison *ret, struct err *err)
{
    struct check_comparison comparison = {0};
    enum status status = STATUS_OK;
    for (int i = 0; status == STATUS_OK && i < PARITY_KINDS_COUNT; i++) {
        enum parity_kind kind = (enum parity_kind)i;
        if (!is_due(job, kind) || (kind == PARITY_WEIGHTS && !has_weights))
            continue;
        struct verified pair = {.job = job};
        status = pair_open(&pair, path_of(job, kind), path_of(reference, kind), err);
        if (status == STATUS_OK)
            status = compare_kind(&pair, kind, &comparison.kinds[i], err);
        pair_close(&pair);
    }
    if (status == STATUS_OK)
        *ret = comparison;
    return status;
}

bool check_comparison_has_failed(const struct check_comparison *comparison)
{
    for (int kind = 0; kind < PARITY_KINDS_COUNT; kind++)
        if (comparison->kinds[kind].over_count > 0)
            return true;
    return false;
}
