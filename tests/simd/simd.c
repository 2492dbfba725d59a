/* simd - what the native engine computes, in every mode and of every kind of model, with the
 * instruction set that it was built for (NATIVE_SIMD_LEVEL).
 *
 *   simd FILE         writes it
 *   simd FILE check   compares it with what another one wrote; 77: this processor has not that set
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engines/native/native.h"
#include "engines/native/simd_level.h"
#include "unit/small_model.h"

#define STEPS   3
#define SKIPPED 77
/* Of 1: sums have other lengths and orders, products are fused or not. */
#define TOLERANCE 2e-5

struct compared {
    FILE *file;
    bool is_check;
    unsigned values_count, differ_count;
};

static struct cell make_cell(enum cell_mode mode, bool is_moe)
{
    struct cell cell = small_native_cell(mode);
    cell.seq_len = 19;
    cell.batch_size = 3;
    cell.threads_count = 2;
    cell.seed = 11;
    struct model_spec *model = &cell.model;
    model->max_seq_len = cell.seq_len;
    model->vocab_size = 157; /* nothing is a multiple of a vector */
    model->dim = 44;
    model->ffn_hidden = 75;
    model->layers_count = 2;
    model->dropout = 0.1;
    model->is_causal = is_moe;
    if (is_moe)
        return cell;
    model->ffn = MODEL_FFN_GELU;
    model->norm = MODEL_NORM_LAYER;
    model->experts_count = model->experts_active = 1;
    model->rotary_dim = 0;
    model->is_head_tied = true;
    return cell;
}

static void take(struct compared *compared, const char *name, double value)
{
    double other = NAN;
    compared->values_count++;
    if (!compared->is_check) {
        (void)fprintf(compared->file, "%.9g\n", value);
        return;
    }
    if (fscanf(compared->file, "%lf", &other) == 1 &&
        fabs(value - other) <= TOLERANCE * fmax(1, fabs(other)))
        return;
    compared->differ_count++;
    printf("%s, value %u: %.9g here, %.9g there\n", name, compared->values_count, value, other);
}

static void run(enum cell_mode mode, bool is_moe, struct compared *compared)
{
    char name[64];
    struct cell cell = make_cell(mode, is_moe);
    struct proto_ready ready = {0};
    struct proto_observation seen;
    struct err err = {0};
    void *context = NULL;
    (void)snprintf(name, sizeof(name), "%s, %s", cell_mode_name(mode), is_moe ? "moe" : "gelu");
    ASSERT(native_engine.open(&cell, &context, &ready, &err) == STATUS_OK);
    for (int step = 0; step < STEPS; step++) {
        ASSERT(native_engine.run_step(context, &err) == STATUS_OK);
        proto_observation_init(&seen);
        native_engine.observe(context, &seen);
        if (mode == CELL_MODE_TRAIN) {
            take(compared, name, seen.loss);
            take(compared, name, seen.grad_norm);
        }
        for (size_t i = 0; i < seen.logits_count; i++)
            take(compared, name, seen.logits[i]);
    }
    native_engine.close(context);
}

static bool has_level(void)
{
#if defined(__x86_64__)
    return (NATIVE_SIMD_LEVEL < 3 ||
            (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))) &&
           (NATIVE_SIMD_LEVEL < 4 || __builtin_cpu_supports("avx512vl"));
#else
    return NATIVE_SIMD_LEVEL < 3;
#endif
}

int main(int argc, char **argv)
{
    ASSERT(argc > 1);
    struct compared compared = {.is_check = argc > 2};
    if (!has_level())
        return SKIPPED;
    compared.file = fopen(argv[1], compared.is_check ? "r" : "w");
    ASSERT(compared.file != NULL);
    for (int mode = 0; mode < CELL_MODE_COUNT; mode++)
        for (int is_moe = 0; is_moe < 2; is_moe++)
            run((enum cell_mode)mode, is_moe == 1, &compared);
    (void)fclose(compared.file);
    printf("%u values, %u differ\n", compared.values_count, compared.differ_count);
    return compared.differ_count > 0 || compared.values_count < 100;
}
