#include "data/check_files.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "data/safetensors.h"
#include "data/tokens.h"

#define GATE_BOOST      2.0
#define EMBEDDING_BOOST 4.0 /* times the root of the number of layers: the stream grows by each */

struct weights_maker {
    const struct model_spec *spec; /* borrowed */
    uint64_t stream;
};

/* Has the model a choice of experts to be made wide? */
static bool has_choice(const struct model_spec *spec)
{
    return spec->ffn == MODEL_FFN_MOE_SWIGLU && spec->experts_active < spec->experts_count &&
           spec->experts_count <= spec->dim;
}

static bool is_gate(const struct model_tensor *tensor)
{
    static const char suffix[] = ".gate.weight";
    size_t length = strlen(tensor->name);
    return length >= sizeof(suffix) - 1 &&
           strcmp(tensor->name + length - (sizeof(suffix) - 1), suffix) == 0;
}

static double boost(const struct model_spec *spec, const struct model_tensor *tensor, uint64_t at)
{
    uint64_t row = at / spec->dim;
    uint64_t column = at % spec->dim;
    if (tensor->kind == MODEL_TENSOR_EMBEDDING) {
        uint64_t experts = spec->experts_count;
        bool is_chosen =
            column < experts && (column + experts - row % experts) % experts < spec->experts_active;
        return is_chosen ? EMBEDDING_BOOST * sqrt((double)spec->layers_count) : 0.0;
    }
    return row == column && is_gate(tensor) ? GATE_BOOST : 0.0;
}

static void make_weights(void *context, size_t index, uint64_t first, size_t count,
                         void *ret_elements)
{
    const struct weights_maker *maker = context;
    float *elements = ret_elements;
    struct model_tensor tensor;
    model_tensor_at(maker->spec, (uint32_t)index, &tensor);
    /* A tied head multiplies by it once more: logits stay near 1. */
    double embedding = maker->spec->is_head_tied ? sqrt(3.0 / (double)maker->spec->dim) : 1.0;
    double scale = 0.1;
    double base = 0.0;
    switch (tensor.kind) {
    case MODEL_TENSOR_EMBEDDING: scale = embedding; break;
    case MODEL_TENSOR_POSITION: scale = embedding / 2.0; break;
    case MODEL_TENSOR_LINEAR: scale = sqrt(6.0 / (double)(tensor.dims[0] + tensor.dims[1])); break;
    case MODEL_TENSOR_BIAS: break;
    case MODEL_TENSOR_NORM: base = 1.0; break;
    }
    bool is_boosted =
        has_choice(maker->spec) && (tensor.kind == MODEL_TENSOR_EMBEDDING || is_gate(&tensor));
    uint64_t key = random_key(maker->stream, index);
    for (size_t i = 0; i < count; i++) {
        double value = base + scale * (2.0 * random_unit(random_at(key, first + i)) - 1.0);
        if (is_boosted)
            value += boost(maker->spec, &tensor, first + i);
        elements[i] = (float)value;
    }
}

enum status check_files_weights(const char *path, const struct model_spec *spec, uint64_t seed,
                                struct err *err)
{
    uint32_t count = model_tensors_count(spec);
    struct safetensors_entry *entries = calloc(count, sizeof(*entries));
    char(*names)[MODEL_TENSOR_NAME_BYTES] = calloc(count, sizeof(*names));
    enum status status = STATUS_OK;
    if (entries == NULL || names == NULL)
        status = ERR(err, STATUS_NOMEM, "no memory for the names of %u tensors", (unsigned)count);
    for (uint32_t i = 0; status == STATUS_OK && i < count; i++) {
        struct model_tensor tensor;
        model_tensor_at(spec, i, &tensor);
        memcpy(names[i], tensor.name, sizeof(names[i]));
        entries[i] = (struct safetensors_entry){
            .name = names[i], .dtype = "F32", .dims_count = tensor.dims_count};
        memcpy(entries[i].dims, tensor.dims, sizeof(tensor.dims));
    }
    struct weights_maker maker = {.spec = spec, .stream = random_key(seed, CHECK_FILES_STREAM)};
    if (status == STATUS_OK)
        status = safetensors_write_made(path, entries, count, make_weights, &maker, err);
    free(entries);
    free(names);
    return status;
}

/* --- the same weights but for their last place --- */

/* "nudge" */
#define NUDGE_STREAM 0x6E75646765000000ULL

/* Borrowed for the call. */
struct nudger {
    const struct safetensors *file;
    uint64_t stream;
};

static void nudge(void *context, size_t index, uint64_t first, size_t count, void *ret_elements)
{
    const struct nudger *nudger = context;
    float *elements = ret_elements;
    const struct safetensors_tensor part =
        safetensors_part(safetensors_at(nudger->file, index), first, count);
    uint64_t key = random_key(nudger->stream, index);
    memcpy(elements, part.data, count * sizeof(*elements));
    for (size_t i = 0; i < count; i++)
        elements[i] =
            nextafterf(elements[i], random_at(key, first + i) >> 63 != 0 ? INFINITY : -INFINITY);
}

static enum status nudge_file(const struct safetensors *file, const char *path, uint64_t seed,
                              struct err *err)
{
    size_t count = safetensors_count(file);
    struct nudger nudger = {.file = file, .stream = random_key(seed, NUDGE_STREAM)};
    struct safetensors_entry *entries = calloc(count + 1, sizeof(*entries));
    enum status status =
        entries != NULL ? STATUS_OK : ERR(err, STATUS_NOMEM, "no memory for %zu tensors", count);
    for (size_t i = 0; status == STATUS_OK && i < count; i++) {
        const struct safetensors_tensor *tensor = safetensors_at(file, i);
        if (strcmp(tensor->dtype, "F32") != 0)
            status = ERR(err, STATUS_UNSUPPORTED, "tensor '%.80s' is %s, not F32", tensor->name,
                         tensor->dtype);
        entries[i] = (struct safetensors_entry){
            .name = tensor->name, .dtype = "F32", .dims_count = tensor->dims_count};
        memcpy(entries[i].dims, tensor->dims, sizeof(tensor->dims));
    }
    if (status == STATUS_OK)
        status = safetensors_write_made(path, entries, count, nudge, &nudger, err);
    free(entries);
    return status;
}

enum status check_files_nudge(const char *from, const char *path, uint64_t seed, struct err *err)
{
    struct safetensors *file = NULL;
    TRY(safetensors_open(from, &file, err));
    enum status status = nudge_file(file, path, seed, err);
    safetensors_close(file);
    return status;
}

enum status check_files_batch(const char *path, const struct cell *cell, struct err *err)
{
    struct tokens *tokens = NULL;
    enum status status = tokens_open(cell, &tokens, err);
    if (status != STATUS_OK)
        return status;
    size_t count = (size_t)cell->batch_size * cell->seq_len;
    /* A vocabulary is far below 2^31, so the same bytes are right as int32. */
    uint32_t *values = calloc(2 * count, sizeof(*values));
    if (values == NULL)
        status = ERR(err, STATUS_NOMEM, "no memory for a batch of %zu tokens", count);
    if (status == STATUS_OK) {
        tokens_batch(tokens, 0, values, values + count);
        const struct safetensors_entry entries[] = {
            {"tokens", "I32", 2, {cell->batch_size, cell->seq_len}, values},
            {"targets", "I32", 2, {cell->batch_size, cell->seq_len}, values + count},
        };
        status = safetensors_write(path, entries, ARRAY_COUNT(entries), err);
    }
    free(values);
    tokens_close(tokens);
    return status;
}
