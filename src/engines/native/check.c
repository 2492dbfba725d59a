/* The check request: on given tokens, without dropout, what comes out as safetensors. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/sysmem.h"
#include "data/safetensors.h"
#include "engines/native/session.h"

#define ENTRY_NAME_BYTES (MODEL_TENSOR_NAME_BYTES + 8)

/* The inputs file: tokens and targets, (B, T). */
struct check_inputs {
    size_t B, T;
    int32_t *tokens;  /* owned */
    int32_t *targets; /* owned */
};

static void inputs_release(struct check_inputs *inputs)
{
    free(inputs->tokens);
    free(inputs->targets);
    *inputs = (struct check_inputs){0};
}

static enum status read_tokens(const struct safetensors *file, const char *name,
                               const struct model_spec *spec, struct check_inputs *inputs,
                               int32_t **ret_values, struct err *err)
{
    const struct safetensors_tensor *tensor = safetensors_find(file, name);
    if (tensor == NULL || tensor->dims_count != 2 || tensor->elements_count == 0)
        return ERR(err, STATUS_INVALID, "check: the inputs need '%s' of shape (B, T)", name);
    if (inputs->B != 0 && (tensor->dims[0] != inputs->B || tensor->dims[1] != inputs->T))
        return ERR(err, STATUS_INVALID, "check: tokens and targets differ in shape");
    if (tensor->dims[1] > spec->max_seq_len)
        return ERR(err, STATUS_INVALID, "check: %" PRIu64 " tokens in a row; the most is %" PRIu32,
                   tensor->dims[1], spec->max_seq_len);
    int32_t *values = malloc((size_t)tensor->elements_count * sizeof(*values));
    if (values == NULL)
        return ERR(err, STATUS_NOMEM, "out of memory");
    enum status status = safetensors_copy_i32(tensor, values, err);
    for (uint64_t i = 0; status == STATUS_OK && i < tensor->elements_count; i++) {
        if (values[i] < 0 || (uint32_t)values[i] >= spec->vocab_size)
            status =
                ERR(err, STATUS_INVALID, "check: %s holds %" PRId32 "; the vocabulary has %" PRIu32,
                    name, values[i], spec->vocab_size);
    }
    if (status != STATUS_OK) {
        free(values);
        return status;
    }
    inputs->B = (size_t)tensor->dims[0];
    inputs->T = (size_t)tensor->dims[1];
    *ret_values = values;
    return STATUS_OK;
}

static enum status inputs_read(const char *path, const struct model_spec *spec,
                               struct check_inputs *ret, struct err *err)
{
    struct safetensors *file = NULL;
    struct check_inputs inputs = {0};
    enum status status = safetensors_open(path, &file, err);
    if (status == STATUS_OK)
        status = read_tokens(file, "tokens", spec, &inputs, &inputs.tokens, err);
    if (status == STATUS_OK)
        status = read_tokens(file, "targets", spec, &inputs, &inputs.targets, err);
    safetensors_close(file);
    if (status != STATUS_OK) {
        inputs_release(&inputs);
        return status;
    }
    *ret = inputs;
    return STATUS_OK;
}

/* A model of the inputs' shape with the session's weights and no dropout. */
static enum status open_copy(const struct native_session *session,
                             const struct check_inputs *inputs, struct transformer *ret,
                             struct err *err)
{
    const struct transformer *from = &session->model;
    struct transformer_shape shape = {.mode = from->shape.mode,
                                      .batch_size = inputs->B,
                                      .seq_len = inputs->T,
                                      .threads_count = from->shape.threads_count};
    struct proto_memory_parts parts;
    enum status status = transformer_plan(&from->spec, &shape, &parts, err);
    if (status != STATUS_OK)
        return status;
    uint64_t available = sysmem_available_bytes();
    if (available != 0 && parts.total_bytes > available)
        return ERR(err, STATUS_NOMEM, "check needs %" PRIu64 " bytes, %" PRIu64 " available (host)",
                   parts.total_bytes, available);
    status = transformer_open(&from->spec, &shape, 0, ret, err);
    if (status != STATUS_OK)
        return status;
    ret->dropout = 0;
    ASSERT(inputs->tokens != NULL && inputs->targets != NULL);
    memcpy(ret->buffers.weights.data, from->buffers.weights.data,
           from->params.elements_count * matrix_element_bytes(from->buffers.weights.dtype));
    for (size_t i = 0; i < inputs->B * inputs->T; i++) {
        ret->buffers.inputs[i] = (uint32_t)inputs->tokens[i];
        ret->buffers.targets[i] = (uint32_t)inputs->targets[i];
    }
    return STATUS_OK;
}

/* Mean cross-entropy of all logits (rows, V). */
static double loss_of(const struct transformer *t, const float *logits)
{
    size_t rows = t->shape.B * t->shape.T;
    size_t V = t->shape.V;
    double loss = 0;
    for (size_t at = 0; at < rows; at++) {
        const float *row = logits + at * V;
        double max = (double)row[0];
        double sum = 0;
        for (size_t i = 1; i < V; i++)
            max = fmax(max, (double)row[i]);
        for (size_t i = 0; i < V; i++)
            sum += exp((double)row[i] - max);
        loss += log(sum) + max - (double)row[t->buffers.targets[at]];
    }
    return loss / (double)rows;
}

/* T single-token steps from an empty cache, of which the last is the step that is timed. */
static void decode_all(struct native_session *copy, float *step_logits, float *logits)
{
    struct transformer *t = &copy->model;
    struct matrix step = matrix_make(step_logits, MATRIX_F32, t->shape.B, t->shape.V);
    size_t T = t->shape.T;
    size_t V = t->shape.V;
    for (size_t position = 0; position < T; position++) {
        if (position + 1 < T)
            session_decode_step(t, position, position, step);
        else
            session_step(copy, 0, step);
        for (size_t batch = 0; batch < t->shape.B; batch++)
            memcpy(logits + (batch * T + position) * V, step_logits + batch * V, V * sizeof(float));
    }
}

/* Through the very step that is timed. Its update comes after its gradients; where parameters are
 * asked for, it must not be one too many. */
static enum status compute(struct native_session *copy, uint32_t train_steps, float *logits,
                           double *ret_loss, struct err *err)
{
    struct transformer *t = &copy->model;
    struct matrix logits_out = matrix_make(logits, MATRIX_F32, t->shape.B * t->shape.T, t->shape.V);
    switch (t->shape.mode) {
    case CELL_MODE_TRAIN:
        for (uint32_t step = 0; step < train_steps; step++)
            session_step(copy, step, MATRIX_NONE);
        if (train_steps == 0)
            session_step(copy, 0, logits_out);
        *ret_loss = train_steps == 0 ? copy->loss : transformer_gradients(t, 0, logits_out);
        return STATUS_OK;
    case CELL_MODE_INFER:
        session_step(copy, 0, logits_out);
        *ret_loss = loss_of(t, logits);
        return STATUS_OK;
    case CELL_MODE_DECODE: {
        float *step_logits = malloc(t->shape.B * t->shape.V * sizeof(float));
        if (step_logits == NULL)
            return ERR(err, STATUS_NOMEM, "out of memory");
        decode_all(copy, step_logits, logits);
        *ret_loss = loss_of(t, logits);
        free(step_logits);
        return STATUS_OK;
    }
    }
    return ERR(err, STATUS_UNSUPPORTED, "check: no such mode");
}

/* What is written, in the order of the file. */
struct check_entries {
    struct safetensors_entry *items; /* owned */
    char (*names)[ENTRY_NAME_BYTES]; /* owned */
    size_t count;
};

static void entries_add(struct check_entries *entries, const char *prefix, const char *name,
                        unsigned dims_count, const uint64_t *dims, const void *data)
{
    (void)snprintf(entries->names[entries->count], ENTRY_NAME_BYTES, "%s%s", prefix, name);
    struct safetensors_entry *entry = &entries->items[entries->count];
    *entry = (struct safetensors_entry){.name = entries->names[entries->count],
                                        .dtype = "F32",
                                        .dims_count = dims_count,
                                        .data = data};
    for (unsigned i = 0; i < dims_count; i++)
        entry->dims[i] = dims[i];
    entries->count++;
}

static enum status write_output(const struct transformer *t, const struct proto_check *request,
                                struct matrix weights, const float *logits, const float *loss,
                                uint64_t *ret_count, struct err *err)
{
    uint32_t tensors_count = model_tensors_count(&t->spec);
    size_t entries_max = 2 + 3 * (size_t)tensors_count;
    struct check_entries entries = {.items = calloc(entries_max, sizeof(*entries.items)),
                                    .names = calloc(entries_max, sizeof(*entries.names))};
    enum status status = STATUS_OK;
    if (entries.items == NULL || entries.names == NULL) {
        status = ERR(err, STATUS_NOMEM, "out of memory");
    } else {
        entries_add(&entries, "", "logits", 3,
                    (const uint64_t[]){t->shape.B, t->shape.T, t->shape.V}, logits);
        entries_add(&entries, "", "loss", 1, (const uint64_t[]){1}, loss);
        for (uint32_t i = 0; i < tensors_count; i++) {
            struct model_tensor tensor;
            model_tensor_at(&t->spec, i, &tensor);
            if (request->wants_weights)
                entries_add(&entries, "weight.", tensor.name, tensor.dims_count, tensor.dims,
                            matrix_floats(params_of(&t->params, weights, &tensor)));
            if (t->shape.mode != CELL_MODE_TRAIN)
                continue;
            entries_add(&entries, "grad.", tensor.name, tensor.dims_count, tensor.dims,
                        matrix_floats(params_of(&t->params, t->buffers.gradients, &tensor)));
            if (request->train_steps > 0)
                entries_add(&entries, "param.", tensor.name, tensor.dims_count, tensor.dims,
                            matrix_floats(params_of(&t->params, t->buffers.weights, &tensor)));
        }
        *ret_count = entries.count;
        status = safetensors_write(request->output_path, entries.items, entries.count, err);
    }
    free(entries.items);
    free(entries.names);
    return status;
}

static void free_floats(float **values)
{
    free(*values);
}

static void copy_close(struct native_session *copy)
{
    transformer_close(&copy->model);
}

enum status session_check(struct native_session *session, const struct proto_check *request,
                          struct proto_check_result *ret_result, struct err *err)
{
    struct check_inputs inputs CLEANUP(inputs_release) = {0};
    struct native_session copy CLEANUP(copy_close) = {.cell = session->cell,
                                                      .adamw = session->adamw};
    struct proto_check_result result = {0};
    TRY(inputs_read(request->inputs_path, &session->model.spec, &inputs, err));
    TRY(open_copy(session, &inputs, &copy.model, err));
    float *logits CLEANUP(free_floats) =
        malloc(inputs.B * inputs.T * copy.model.shape.V * sizeof(float));
    if (logits == NULL)
        return ERR(err, STATUS_NOMEM, "out of memory");
    TRY(compute(&copy, request->train_steps, logits, &result.loss, err));
    float loss = (float)result.loss;
    TRY(write_output(&copy.model, request, session->model.buffers.weights, logits, &loss,
                     &result.tensors_count, err));
    *ret_result = result;
    return STATUS_OK;
}
