#include "engines/native/params.h"

#include <stdbool.h>
#include <string.h>

#define PARAMS_GAP          16
#define PARAMS_ELEMENTS_MAX ((uint64_t)1 << 60)

enum slot_group { SLOT_GLOBAL, SLOT_LAYER, SLOT_EXPERT };

static const struct slot_name {
    const char *name;
    enum param_slot slot;
    enum slot_group group;
} slot_names[] = {
#define X(slot, name) {name, PARAM_##slot, SLOT_GLOBAL},
    PARAM_GLOBAL_MAP(X)
#undef X
#define X(slot, name) {name, PARAM_##slot, SLOT_LAYER},
        PARAM_LAYER_MAP(X)
#undef X
#define X(slot, name) {name, PARAM_##slot, SLOT_EXPERT},
            PARAM_EXPERT_MAP(X)
#undef X
};

struct cursor {
    uint64_t at; /* elements */
    bool has_overflowed;
};

static void place(struct params_layout *layout, enum param_slot slot, struct cursor *cursor,
                  uint64_t rows, uint64_t columns)
{
    uint64_t count = rows * columns; /* both fit 32 bits (spec/model.c) */
    layout->offset[slot] = (size_t)cursor->at;
    layout->rows[slot] = (size_t)rows;
    layout->columns[slot] = (size_t)columns;
    if (count > PARAMS_ELEMENTS_MAX || cursor->at > PARAMS_ELEMENTS_MAX)
        cursor->has_overflowed = true;
    else
        cursor->at += (count + PARAMS_GAP - 1) / PARAMS_GAP * PARAMS_GAP;
}

static void place_norm(struct params_layout *layout, enum param_slot weight, enum param_slot bias,
                       struct cursor *cursor, const struct model_spec *spec)
{
    place(layout, weight, cursor, 1, spec->dim);
    if (spec->norm == MODEL_NORM_LAYER)
        place(layout, bias, cursor, 1, spec->dim);
}

/* Adds (times - 1) copies of what lies between `begin` and the cursor. */
static void repeat(struct cursor *cursor, uint64_t begin, uint64_t times, size_t *ret_stride)
{
    uint64_t stride = cursor->at - begin;
    uint64_t more = 0;
    *ret_stride = (size_t)stride;
    if (__builtin_mul_overflow(stride, times - 1, &more) || more > PARAMS_ELEMENTS_MAX)
        cursor->has_overflowed = true;
    else
        cursor->at += more;
}

static void place_ffn(struct params_layout *layout, struct cursor *cursor,
                      const struct model_spec *spec)
{
    uint64_t dim = spec->dim;
    uint64_t hidden = spec->ffn_hidden;
    if (spec->ffn == MODEL_FFN_GELU) {
        place(layout, PARAM_FC_WEIGHT, cursor, hidden, dim);
        place(layout, PARAM_FC_BIAS, cursor, 1, hidden);
        place(layout, PARAM_PROJ_WEIGHT, cursor, dim, hidden);
        place(layout, PARAM_PROJ_BIAS, cursor, 1, dim);
        return;
    }
    place(layout, PARAM_GATE_WEIGHT, cursor, spec->experts_count, dim);
    uint64_t expert_begin = cursor->at;
    place(layout, PARAM_W1_WEIGHT, cursor, hidden, dim);
    place(layout, PARAM_W1_BIAS, cursor, 1, hidden);
    place(layout, PARAM_W2_WEIGHT, cursor, hidden, dim);
    place(layout, PARAM_W2_BIAS, cursor, 1, hidden);
    place(layout, PARAM_W3_WEIGHT, cursor, dim, hidden);
    place(layout, PARAM_W3_BIAS, cursor, 1, dim);
    repeat(cursor, expert_begin, spec->experts_count, &layout->expert_stride);
}

static void alias(struct params_layout *layout, enum param_slot slot, enum param_slot of)
{
    layout->offset[slot] = layout->offset[of];
    layout->rows[slot] = layout->rows[of];
    layout->columns[slot] = layout->columns[of];
}

void params_layout_init(struct params_layout *layout, const struct model_spec *spec)
{
    *layout = (struct params_layout){0};
    for (size_t slot = 0; slot < PARAM_SLOTS_COUNT; slot++)
        layout->offset[slot] = SIZE_MAX;
    struct cursor cursor = {0};
    uint64_t dim = spec->dim;
    place(layout, PARAM_TOKEN, &cursor, spec->vocab_size, dim);
    place(layout, PARAM_POSITION, &cursor, spec->max_seq_len, dim);
    uint64_t layer_begin = cursor.at;
    place_norm(layout, PARAM_NORM1_WEIGHT, PARAM_NORM1_BIAS, &cursor, spec);
    place(layout, PARAM_QKV_WEIGHT, &cursor, 3 * dim, dim);
    place(layout, PARAM_QKV_BIAS, &cursor, 1, 3 * dim);
    place(layout, PARAM_OUT_WEIGHT, &cursor, dim, dim);
    place(layout, PARAM_OUT_BIAS, &cursor, 1, dim);
    place_norm(layout, PARAM_NORM2_WEIGHT, PARAM_NORM2_BIAS, &cursor, spec);
    place_ffn(layout, &cursor, spec);
    repeat(&cursor, layer_begin, spec->layers_count, &layout->layer_stride);
    place_norm(layout, PARAM_NORM_WEIGHT, PARAM_NORM_BIAS, &cursor, spec);
    if (spec->is_head_tied)
        alias(layout, PARAM_HEAD, PARAM_TOKEN);
    else
        place(layout, PARAM_HEAD, &cursor, spec->vocab_size, dim);
    layout->elements_count = cursor.has_overflowed ? 0 : (size_t)cursor.at;
}

/* Behind "layers.N." or "layers.N.moe.experts.E.". */
static const char *name_in_group(const struct model_tensor *tensor, enum slot_group group)
{
    static const int dots_before[] = {[SLOT_GLOBAL] = 0, [SLOT_LAYER] = 2, [SLOT_EXPERT] = 5};
    const char *name = tensor->name;
    for (int dots = 0; dots < dots_before[group]; dots++) {
        name = strchr(name, '.');
        ASSERT(name != NULL);
        name++;
    }
    return name;
}

struct matrix params_of(const struct params_layout *layout, struct matrix run,
                        const struct model_tensor *tensor)
{
    enum slot_group group = tensor->expert >= 0  ? SLOT_EXPERT
                            : tensor->layer >= 0 ? SLOT_LAYER
                                                 : SLOT_GLOBAL;
    const char *name = name_in_group(tensor, group);
    size_t layer = tensor->layer >= 0 ? (size_t)tensor->layer : 0;
    size_t expert = tensor->expert >= 0 ? (size_t)tensor->expert : 0;
    for (size_t i = 0; i < ARRAY_COUNT(slot_names); i++) {
        const struct slot_name *entry = &slot_names[i];
        if (entry->group != group || strcmp(entry->name, name) != 0)
            continue;
        struct matrix found = params_at(layout, run, entry->slot, layer, expert);
        ASSERT(found.rows * found.columns == tensor->elements_count);
        return found;
    }
    UNREACHABLE("a tensor of the model has no slot");
    return MATRIX_NONE;
}
