#include "supervise/provenance.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* How much a type can tell apart, in the order that matters here. */
static const struct {
    const char *name;
    int width;
} types[] = {{"fp64", 64}, {"fp32", 32}, {"tf32", 19}, {"bf16", 16},
             {"fp16", 16}, {"fp8", 8},   {"int8", 8}};

static const char *const asked_types[] = {
    [CELL_PRECISION_FP32] = "fp32", [CELL_PRECISION_TF32] = "tf32",
    [CELL_PRECISION_BF16] = "bf16", [CELL_PRECISION_BF16_PURE] = "bf16",
    [CELL_PRECISION_FP16] = "fp16", [CELL_PRECISION_INT8] = "int8",
};
_Static_assert(ARRAY_COUNT(asked_types) == CELL_PRECISION_COUNT, "a precision has no type");

static int width_of(const char *word, size_t length)
{
    for (size_t i = 0; i < ARRAY_COUNT(types); i++)
        if (strlen(types[i].name) == length && strncmp(types[i].name, word, length) == 0)
            return types[i].width;
    return 0;
}

static bool is_word_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* "bf16 81 %, fp32 19 %" and "fp32+bf16": the most common type stands first. */
struct seen {
    const char *first; /* NULL = none that is known */
    int first_width;
    int narrowest;
};

static bool is_first(const struct seen *seen, const char *name)
{
    return seen->first != NULL && strncmp(seen->first, name, strlen(name)) == 0;
}

static struct seen types_in(const char *text)
{
    struct seen seen = {0};
    for (const char *c = text; *c != '\0';) {
        size_t length = 0;
        while (is_word_char(c[length]))
            length++;
        int width = width_of(c, length);
        if (width > 0 && seen.first == NULL) {
            seen.first = c;
            seen.first_width = width;
            seen.narrowest = width;
        }
        if (width > 0 && width < seen.narrowest)
            seen.narrowest = width;
        c += length > 0 ? length : 1;
    }
    return seen;
}

static bool contradicts_compute(enum cell_precision precision, const struct proto_ready *ready)
{
    const char *asked = asked_types[precision];
    struct seen seen = types_in(ready->dtype_compute);
    if (seen.first == NULL)
        return false;
    /* Engines name tf32 products by their operands' type, and the switch apart. */
    bool is_tf32 = precision == CELL_PRECISION_TF32 && ready->has_tf32 && ready->tf32 &&
                   is_first(&seen, "fp32");
    if (!is_tf32 && !is_first(&seen, asked))
        return true;
    return seen.narrowest < width_of(asked, strlen(asked));
}

static bool contradicts_param(enum cell_precision precision, const struct proto_ready *ready)
{
    struct seen seen = types_in(ready->dtype_param);
    if (seen.first == NULL)
        return false;
    if (precision == CELL_PRECISION_FP32 || precision == CELL_PRECISION_TF32)
        return seen.narrowest < 32;
    return precision == CELL_PRECISION_BF16_PURE && !is_first(&seen, "bf16");
}

bool provenance_contradicts(enum cell_precision precision, const struct proto_ready *ready,
                            char ret_text[REASON_TEXT_BYTES])
{
    ASSERT((size_t)precision < ARRAY_COUNT(asked_types));
    bool is_compute = contradicts_compute(precision, ready);
    if (!is_compute && !contradicts_param(precision, ready))
        return false;
    (void)snprintf(ret_text, REASON_TEXT_BYTES, "%s was asked for, and the worker's %s are %s",
                   cell_precision_name(precision), is_compute ? "products" : "parameters",
                   is_compute ? ready->dtype_compute : ready->dtype_param);
    return true;
}

/* --- the model --- */

bool provenance_is_preset(const struct cell *cell)
{
    return strcmp(cell->model_source, "preset") == 0;
}

bool provenance_is_package(const struct proto_ready *ready)
{
    static const char prefix[] = "package ";
    return strncmp(ready->model_source, prefix, sizeof(prefix) - 1) == 0;
}

bool provenance_is_other_model(const struct cell *cell, const struct proto_ready *ready,
                               char ret_text[REASON_TEXT_BYTES])
{
    uint64_t seen = ready->params_total;
    uint64_t wanted = model_params_total(&cell->model);
    if (!provenance_is_preset(cell) || provenance_is_package(ready) || seen == 0 || seen == wanted)
        return false;
    (void)snprintf(ret_text, REASON_TEXT_BYTES,
                   "the worker's model has %" PRIu64 " parameters, the preset %" PRIu64, seen,
                   wanted);
    return true;
}
