#include "client/provenance.h"

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

/* "bf16 81 %, fp32 19 %" and "bf16+fp32": what most is done in stands first. Borrowed: static. */
struct types_seen {
    const char *first; /* NULL = none that is known */
    int narrowest;
    bool has_kept; /* some were left out: see is_excused() */
};

static bool is_first(const struct types_seen *seen, const char *name)
{
    return seen->first != NULL && strncmp(seen->first, name, strlen(name)) == 0;
}

static size_t word_length(const char *text)
{
    size_t length = 0;
    while (is_word_char(text[length]))
        length++;
    return length;
}

/* Whether `kept` ("fp32: 2 of 26 parameters (lm_head.weight, ...)") names this type. */
static bool is_kept(const char *kept, const char *type, size_t type_length)
{
    for (const char *c = kept; *c != '\0';) {
        size_t length = word_length(c);
        if (length == type_length && c[length] == ':' && strncmp(c, type, length) == 0)
            return true;
        c += length > 0 ? length : 1;
    }
    return false;
}

/* A type that parameters keep because their author chose it is no wrong precision: one that tells
   more apart never, one that tells less apart only beside what was asked for. */
static bool is_excused(const struct types_seen *seen, const char *kept, int asked_width,
                       const char *type, size_t length)
{
    int width = width_of(type, length);
    return (width > asked_width || (width < asked_width && seen->first != NULL)) &&
           is_kept(kept, type, length);
}

static struct types_seen types_in(const char *text, const char *kept, int asked_width)
{
    struct types_seen seen = {0};
    for (const char *c = text; *c != '\0';) {
        size_t length = word_length(c);
        int width = width_of(c, length);
        bool is_left_out = width > 0 && is_excused(&seen, kept, asked_width, c, length);
        seen.has_kept = seen.has_kept || is_left_out;
        if (width > 0 && !is_left_out) {
            seen.narrowest = seen.first == NULL || width < seen.narrowest ? width : seen.narrowest;
            seen.first = seen.first == NULL ? c : seen.first;
        }
        c += length > 0 ? length : 1;
    }
    return seen;
}

static bool contradicts_compute(enum cell_precision precision, const struct proto_ready *ready)
{
    const char *asked = asked_types[precision];
    int asked_width = width_of(asked, strlen(asked));
    struct types_seen seen = types_in(ready->dtype_compute, ready->dtype_kept, asked_width);
    if (seen.first == NULL)
        return seen.has_kept;
    /* Engines name tf32 matmuls by their operands' type, and the switch apart. */
    bool is_tf32 = precision == CELL_PRECISION_TF32 && ready->has_tf32 && ready->tf32 &&
                   is_first(&seen, "fp32");
    if (!is_tf32 && !is_first(&seen, asked))
        return true;
    return seen.narrowest < asked_width;
}

static bool contradicts_param(enum cell_precision precision, const struct proto_ready *ready)
{
    bool is_wide = precision == CELL_PRECISION_FP32 || precision == CELL_PRECISION_TF32;
    struct types_seen seen = types_in(ready->dtype_param, ready->dtype_kept, is_wide ? 32 : 16);
    if (seen.first == NULL)
        return seen.has_kept && precision == CELL_PRECISION_BF16_PURE;
    if (is_wide)
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
                   cell_precision_name(precision), is_compute ? "matmuls" : "parameters",
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
