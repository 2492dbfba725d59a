#include "spec/model.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/nearest.h"
#include "base/num.h"

enum field_type { FIELD_U32, FIELD_DOUBLE, FIELD_BOOL, FIELD_NORM, FIELD_FFN };

/* A row of spec/model.def. Borrowed: static. */
struct field {
    const char *key;
    enum field_type type;
    size_t offset;
    double min;
    double max;
};

static const struct field fields[] = {
#define MODEL(key, type, least, most) \
    {#key, FIELD_##type, offsetof(struct model_spec, key), least, most},
#include "spec/model.def"
};

static const char *const norm_names[] = {[MODEL_NORM_RMS] = "rms", [MODEL_NORM_LAYER] = "layer"};
static const char *const ffn_names[] = {
    [MODEL_FFN_MOE_SWIGLU] = "moe_swiglu", [MODEL_FFN_GELU] = "gelu"};

static enum status field_find(const char *key, const struct field **ret_field, struct err *err)
{
    const char *keys[ARRAY_COUNT(fields)];
    for (size_t i = 0; i < ARRAY_COUNT(fields); i++) {
        if (strcmp(fields[i].key, key) == 0) {
            *ret_field = &fields[i];
            return STATUS_OK;
        }
        keys[i] = fields[i].key;
    }
    struct nearest_hint hint;
    return ERR(err, STATUS_INVALID, "a model has no '%.60s'; %s", key,
               nearest_hint(&hint, "", key, keys, ARRAY_COUNT(keys)));
}

/* Index of `text` in `names`, or an error that names the nearest. */
static enum status word_index(const char *key, const char *text, const char *const *names,
                              size_t count, int *ret_index, struct err *err)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(names[i], text) == 0) {
            *ret_index = (int)i;
            return STATUS_OK;
        }
    }
    struct nearest_hint hint;
    return ERR(err, STATUS_INVALID, "model: %s cannot be '%.60s'; %s", key, text,
               nearest_hint(&hint, "", text, names, count));
}

static enum status field_set_number(const struct field *field, struct model_spec *spec,
                                    double value, struct err *err)
{
    if (!(value >= field->min && value <= field->max))
        return ERR(err, STATUS_INVALID, "model: %s cannot be %.17g; the nearest is %.17g",
                   field->key, value, value < field->min ? field->min : field->max);
    if (field->type == FIELD_DOUBLE)
        memcpy((char *)spec + field->offset, &value, sizeof(value));
    else {
        uint32_t whole = (uint32_t)value;
        if ((double)whole != value)
            return ERR(err, STATUS_INVALID, "model: %s must be a whole number; try %" PRIu32,
                       field->key, whole);
        memcpy((char *)spec + field->offset, &whole, sizeof(whole));
    }
    return STATUS_OK;
}

static enum status field_set_word(const struct field *field, struct model_spec *spec,
                                  const char *text, struct err *err)
{
    int index = 0;
    bool is_norm = field->type == FIELD_NORM;
    enum status status =
        word_index(field->key, text, is_norm ? norm_names : ffn_names,
                   is_norm ? ARRAY_COUNT(norm_names) : ARRAY_COUNT(ffn_names), &index, err);
    if (status != STATUS_OK)
        return status;
    if (is_norm)
        spec->norm = (enum model_norm)index;
    else
        spec->ffn = (enum model_ffn)index;
    return STATUS_OK;
}

static void field_set_bool(const struct field *field, struct model_spec *spec, bool value)
{
    memcpy((char *)spec + field->offset, &value, sizeof(value));
}

bool model_spec_has(const char *key)
{
    const struct field *field = NULL;
    return field_find(key, &field, NULL) == STATUS_OK;
}

enum status model_spec_set(struct model_spec *spec, const char *key, const char *value,
                           struct err *err)
{
    const struct field *field = NULL;
    enum status status = field_find(key, &field, err);
    if (status != STATUS_OK)
        return status;
    static const char *const truths[] = {"false", "true"};
    double number = 0;
    int truth = 0;
    switch (field->type) {
    case FIELD_U32:
    case FIELD_DOUBLE:
        status = num_parse_double(value, field->min, field->max, &number, err);
        return status == STATUS_OK ? field_set_number(field, spec, number, err) : status;
    case FIELD_BOOL:
        status = word_index(key, value, truths, ARRAY_COUNT(truths), &truth, err);
        if (status == STATUS_OK)
            field_set_bool(field, spec, truth == 1);
        return status;
    case FIELD_NORM:
    case FIELD_FFN: return field_set_word(field, spec, value, err);
    }
    return STATUS_INVALID;
}

enum status model_spec_read(const json_t *object, struct model_spec *spec, struct err *err)
{
    if (!json_is_object(object))
        return ERR(err, STATUS_INVALID, "a model must be a JSON object");
    const char *key = NULL;
    json_t *value = NULL;
    /* jansson's iterator takes a non-const object but does not change it */
    json_object_foreach((json_t *)object, key, value)
    {
        if (strcmp(key, "name") == 0 && json_is_string(value)) {
            (void)snprintf(spec->name, sizeof(spec->name), "%s", json_string_value(value));
            continue;
        }
        const struct field *field = NULL;
        enum status status = field_find(key, &field, err);
        if (status != STATUS_OK)
            return status;
        bool is_number = field->type == FIELD_U32 || field->type == FIELD_DOUBLE;
        if (is_number && json_is_number(value)) {
            status = field_set_number(field, spec, json_number_value(value), err);
        } else if (field->type == FIELD_BOOL && json_is_boolean(value)) {
            field_set_bool(field, spec, json_is_true(value));
        } else if (!is_number && field->type != FIELD_BOOL && json_is_string(value)) {
            status = field_set_word(field, spec, json_string_value(value), err);
        } else {
            status = ERR(err, STATUS_INVALID, "model: %s must be a %s", key,
                         is_number                   ? "number"
                         : field->type == FIELD_BOOL ? "boolean"
                                                     : "word");
        }
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

void model_spec_write(const struct model_spec *spec, struct json_writer *writer)
{
    json_begin_object(writer);
    json_field_string(writer, "name", spec->name);
    for (size_t i = 0; i < ARRAY_COUNT(fields); i++) {
        const char *at = (const char *)spec + fields[i].offset;
        uint32_t whole = 0;
        double number = 0;
        bool truth = false;
        switch (fields[i].type) {
        case FIELD_U32:
            memcpy(&whole, at, sizeof(whole));
            json_field_u64(writer, fields[i].key, whole);
            break;
        case FIELD_DOUBLE:
            memcpy(&number, at, sizeof(number));
            json_field_double(writer, fields[i].key, number);
            break;
        case FIELD_BOOL:
            memcpy(&truth, at, sizeof(truth));
            json_field_bool(writer, fields[i].key, truth);
            break;
        case FIELD_NORM: json_field_string(writer, fields[i].key, norm_names[spec->norm]); break;
        case FIELD_FFN: json_field_string(writer, fields[i].key, ffn_names[spec->ffn]); break;
        }
    }
    json_end_object(writer);
}

/* The divisor of `whole` that is nearest to `wish`. */
static uint32_t nearest_divisor(uint32_t whole, uint32_t wish)
{
    for (uint32_t away = 0; away < whole; away++) {
        if (wish > away && whole % (wish - away) == 0)
            return wish - away;
        if (whole % (wish + away) == 0)
            return wish + away;
    }
    return whole;
}

enum status model_spec_validate(const struct model_spec *spec, struct err *err)
{
    if (spec->dim == 0 || spec->heads_count == 0 || spec->layers_count == 0 ||
        spec->vocab_size < 2 || spec->ffn_hidden == 0 || spec->max_seq_len == 0)
        return ERR(err, STATUS_INVALID,
                   "model: vocab_size, max_seq_len, dim, layers_count, heads_count and ffn_hidden "
                   "must be given");
    if (spec->dim % spec->heads_count != 0)
        return ERR(err, STATUS_INVALID,
                   "model: heads_count %" PRIu32 " does not divide dim %" PRIu32
                   "; the nearest that does is %" PRIu32,
                   spec->heads_count, spec->dim, nearest_divisor(spec->dim, spec->heads_count));
    uint32_t head_dim = spec->dim / spec->heads_count;
    if (spec->rotary_dim > head_dim || spec->rotary_dim % 2 != 0)
        return ERR(err, STATUS_INVALID,
                   "model: rotary_dim %" PRIu32 " must be even and at most the head size; the "
                   "nearest is %" PRIu32,
                   spec->rotary_dim,
                   spec->rotary_dim > head_dim ? head_dim / 2 * 2 : spec->rotary_dim - 1);
    if (spec->ffn == MODEL_FFN_GELU && (spec->experts_count != 1 || spec->experts_active != 1))
        return ERR(err, STATUS_INVALID,
                   "model: ffn gelu has no experts: experts_count and experts_active must be 1");
    if (spec->experts_active > spec->experts_count || spec->experts_active == 0)
        return ERR(err, STATUS_INVALID,
                   "model: experts_active %" PRIu32 " must be from 1 to experts_count %" PRIu32,
                   spec->experts_active, spec->experts_count);
    if (!(spec->rotary_base >= 1))
        return ERR(err, STATUS_INVALID, "model: rotary_base must be given, from 1; try 10000");
    if (!(spec->dropout >= 0 && spec->dropout < 1))
        return ERR(err, STATUS_INVALID, "model: dropout must be from 0 to 0.99");
    return STATUS_OK;
}
