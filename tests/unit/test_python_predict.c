/* Predicted memory beside peaks that were measured: docs/results.md has the commands, machines and
 * versions of those on a GPU, docs/metrics.md those on a CPU. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"
#include "engines/engine.h"
#include "engines/python/predict.h"
#include "plan/preset.h"

static struct cell cell_of(const char *model, const char *device, enum cell_mode mode,
                           enum cell_precision precision, uint32_t seq_len, uint32_t batch_size)
{
    struct cell cell = {
        .mode = mode, .precision = precision, .seq_len = seq_len, .batch_size = batch_size};
    struct err err = {0};
    cr_assert_eq(preset_load(model, &cell.model, &err), STATUS_OK, "%s", err.text);
    (void)snprintf(cell.device, sizeof(cell.device), "%s", device);
    cell.model.max_seq_len = seq_len;
    return cell;
}

struct measured {
    struct proto_memory_parts (*predict)(const struct cell *cell);
    const char *model, *device;
    enum cell_mode mode;
    enum cell_precision precision;
    uint32_t seq_len, batch_size;
    enum cell_moe moe;
    enum cell_compile compile;
    double peak_mib;
};

#define BIG    "superintelligence-1b"
#define TRAIN  CELL_MODE_TRAIN
#define INFER  CELL_MODE_INFER
#define BF16   CELL_PRECISION_BF16
#define ROUTED CELL_MOE_ROUTED, CELL_COMPILE_OFF
#define EVERY  CELL_MOE_PUBLISHED, CELL_COMPILE_OFF

static const struct measured gpu[] = {
    {predict_torch, BIG, "cuda:0", TRAIN, BF16, 512, 8, ROUTED, 19824},
    {predict_torch, BIG, "cuda:0", INFER, BF16, 512, 8, ROUTED, 4388},
    {predict_torch, BIG, "cuda:0", TRAIN, BF16, 512, 8, CELL_MOE_ROUTED, CELL_COMPILE_DEFAULT,
     19307},
    {predict_torch, BIG, "cuda:0", TRAIN, BF16, 512, 8, EVERY, 29927},
    {predict_torch, BIG, "cuda:0", TRAIN, BF16, 128, 8, EVERY, 16821},
    {predict_torch, BIG, "cuda:0", INFER, BF16, 128, 8, EVERY, 3995},
    {predict_torch, "superintelligence", "cuda:0", TRAIN, CELL_PRECISION_BF16_PURE, 128, 8, ROUTED,
     79035},
    {predict_jax, BIG, "cuda:0", TRAIN, BF16, 128, 8, ROUTED, 15053},
    {predict_jax, BIG, "cuda:0", TRAIN, BF16, 128, 32, ROUTED, 20162},
    {predict_jax, BIG, "cuda:0", TRAIN, BF16, 512, 8, ROUTED, 21485},
    {predict_jax, BIG, "cuda:0", TRAIN, BF16, 512, 32, ROUTED, 39312},
    {predict_jax, BIG, "cuda:0", TRAIN, BF16, 2048, 8, ROUTED, 39893},
    {predict_jax, BIG, "cuda:0", INFER, BF16, 128, 8, ROUTED, 4041},
    {predict_jax, BIG, "cuda:0", INFER, BF16, 512, 32, ROUTED, 6821},
    {predict_jax, BIG, "cuda:0", INFER, BF16, 2048, 32, ROUTED, 13326},
};

#define SMALL "superintelligence-tiny"
#define FP32  CELL_PRECISION_FP32

static const struct measured cpu[] = {
    {predict_torch, SMALL, "cpu", TRAIN, FP32, 512, 2, ROUTED, 1057},
    {predict_torch, SMALL, "cpu", INFER, FP32, 512, 2, ROUTED, 239},
    {predict_torch, SMALL, "cpu", CELL_MODE_DECODE, FP32, 512, 2, ROUTED, 204},
    {predict_torch, SMALL, "cpu", TRAIN, BF16, 512, 2, ROUTED, 941},
    {predict_torch, SMALL, "cpu", INFER, BF16, 512, 2, ROUTED, 246},
    {predict_torch, SMALL, "cpu", CELL_MODE_DECODE, BF16, 512, 2, ROUTED, 223},
    {predict_torch, SMALL, "cpu", TRAIN, FP32, 128, 4, ROUTED, 682},
    {predict_torch, SMALL, "cpu", TRAIN, BF16, 128, 4, ROUTED, 731},
    {predict_torch, SMALL, "cpu", TRAIN, CELL_PRECISION_BF16_PURE, 128, 4, ROUTED, 476},
    {predict_torch, SMALL, "cpu", INFER, CELL_PRECISION_BF16_PURE, 128, 4, ROUTED, 147},
    {predict_torch, SMALL, "cpu", TRAIN, FP32, 128, 4, EVERY, 991},
    {predict_torch, SMALL, "cpu", INFER, FP32, 128, 4, EVERY, 210},
    {predict_jax, SMALL, "cpu", TRAIN, FP32, 512, 2, ROUTED, 1312},
    {predict_jax, SMALL, "cpu", INFER, FP32, 512, 2, ROUTED, 376},
    {predict_jax, SMALL, "cpu", CELL_MODE_DECODE, FP32, 512, 2, ROUTED, 400},
    {predict_jax, SMALL, "cpu", TRAIN, FP32, 128, 4, ROUTED, 1069},
};

static double predicted_mib(const struct measured *row)
{
    struct cell cell =
        cell_of(row->model, row->device, row->mode, row->precision, row->seq_len, row->batch_size);
    cell.options.moe = row->moe;
    cell.options.compile = row->compile;
    struct proto_memory_parts parts = row->predict(&cell);
    cr_assert(parts.is_known);
    return (double)parts.total_bytes / (1024.0 * 1024.0);
}

Test(python_predict, is_near_the_peaks_of_a_gpu)
{
    for (size_t i = 0; i < ARRAY_COUNT(gpu); i++) {
        double percent = 100 * (predicted_mib(&gpu[i]) / gpu[i].peak_mib - 1);
        cr_expect(fabs(percent) < 10, "row %zu: %+.1f %%", i, percent);
    }
}

/* Of whole processes: allocators keep what is given back, and compilers what they made. */
Test(python_predict, is_near_the_growth_of_processes)
{
    for (size_t i = 0; i < ARRAY_COUNT(cpu); i++) {
        double percent = 100 * (predicted_mib(&cpu[i]) / cpu[i].peak_mib - 1);
        cr_expect(fabs(percent) < 16, "row %zu: %+.1f %%", i, percent);
    }
}

/* What grows takes more, never less: a search for what fits may go by it. */
Test(python_predict, a_larger_cell_needs_no_less)
{
    struct proto_memory_parts (*const predict[])(const struct cell *) = {predict_torch,
                                                                         predict_jax};
    static const char *const devices[] = {"cpu", "cuda:0"};
    static const char *const models[] = {"superintelligence-tiny", "gpt2-124m"};
    for (unsigned i = 0; i < 2 * 2 * 2 * CELL_MODE_COUNT * CELL_PRECISION_COUNT; i++) {
        enum cell_mode mode = (enum cell_mode)(i / 8 % CELL_MODE_COUNT);
        enum cell_precision precision = (enum cell_precision)(i / 8 / CELL_MODE_COUNT);
        uint64_t last = 0;
        for (uint32_t size = 1; size <= 1024; size *= 2) {
            struct cell cell =
                cell_of(models[i % 2], devices[i / 2 % 2], mode, precision, size, 1 + size / 2);
            struct proto_memory_parts parts = predict[i / 4 % 2](&cell);
            cr_assert_eq(parts.is_known, precision != CELL_PRECISION_INT8);
            cr_expect_geq(parts.total_bytes, last);
            cr_expect_eq(parts.total_bytes, parts.weights_bytes + parts.gradients_bytes +
                                                parts.optimizer_bytes + parts.activations_bytes +
                                                parts.kv_cache_bytes + parts.workspace_bytes +
                                                parts.other_bytes);
            last = parts.total_bytes;
        }
    }
}

/* docs/parallel.md: two NVIDIA H200. */
Test(python_predict, is_near_the_peaks_of_two_gpus)
{
    static const struct {
        struct proto_memory_parts (*predict)(const struct cell *cell);
        const char *model;
        const char *parallel;
        uint32_t seq_len, batch_size;
        double peak_mib;
    } rows[] = {
        {predict_torch, BIG, "ddp", 512, 16, 23531},
        {predict_torch, BIG, "ddp", 512, 32, 30419},
        {predict_torch, "superintelligence", "fsdp", 128, 8, 84889},
        {predict_torch, BIG, "tp", 512, 16, 18920},
        {predict_torch, BIG, "ep", 512, 16, 15577},
        {predict_jax, BIG, "ddp", 512, 16, 21893},
        {predict_jax, "gpt2-124m", "ddp", 512, 16, 4535},
        {predict_jax, "gpt2-124m", "fsdp", 512, 16, 4230},
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct cell cell =
            cell_of(rows[i].model, "cuda:0-1", TRAIN, BF16, rows[i].seq_len, rows[i].batch_size);
        (void)snprintf(cell.parallel, sizeof(cell.parallel), "%s", rows[i].parallel);
        struct proto_memory_parts parts = rows[i].predict(&cell);
        double percent = 100 * ((double)parts.total_bytes / rows[i].peak_mib / (1 << 20) - 1);
        cr_expect(fabs(percent) < 10, "row %zu: %+.1f %%", i, percent);
    }
}

/* Two CPUs, torch 2.13: superintelligence-tiny, 8 x 256 in fp32. */
Test(python_predict, is_near_the_growth_of_processes_that_train_in_another_way)
{
    static const struct {
        struct cell_options options;
        double peak_mib;
    } rows[] = {
        {{.recompute = CELL_RECOMPUTE_FULL}, 1031},
        {{.accumulate_count = 4}, 831},
        {{.recompute = CELL_RECOMPUTE_FULL, .accumulate_count = 4}, 695},
        {{.optimizer_dtype = CELL_OPTIMIZER_DTYPE_BF16}, 1285},
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct cell cell = cell_of(SMALL, "cpu", TRAIN, FP32, 256, 8);
        cell.options = rows[i].options;
        struct proto_memory_parts parts = predict_torch(&cell);
        double percent = 100 * ((double)parts.total_bytes / rows[i].peak_mib / (1 << 20) - 1);
        cr_expect(fabs(percent) < 16, "row %zu: %+.1f %%", i, percent);
    }
}

static uint64_t total_of(const struct cell *cell)
{
    return predict_torch(cell).total_bytes;
}

/* What each of them is for. */
Test(python_predict, training_in_another_way_needs_less)
{
    struct cell plain = cell_of(BIG, "cuda:0", TRAIN, BF16, 2048, 16);
    struct cell cell = plain;
    cell.options.recompute = CELL_RECOMPUTE_FULL;
    cr_expect_lt(total_of(&cell), total_of(&plain) / 3 * 2);
    struct cell both = cell;
    both.options.accumulate_count = 4;
    cr_expect_lt(total_of(&both), total_of(&cell));
    cell = plain;
    cell.options.accumulate_count = 4;
    cr_expect_lt(total_of(&cell), total_of(&plain) / 2);
    cell = plain;
    cell.options.optimizer_dtype = CELL_OPTIMIZER_DTYPE_BF16;
    uint64_t params = model_params_total(&plain.model);
    cr_expect_eq(total_of(&plain) - total_of(&cell), 2 * 2 * params);
    cell = plain;
    (void)snprintf(cell.device, sizeof(cell.device), "cuda:0-1");
    (void)snprintf(cell.parallel, sizeof(cell.parallel), "ddp");
    uint64_t ddp = total_of(&cell);
    (void)snprintf(cell.parallel, sizeof(cell.parallel), "fsdp");
    cr_expect_lt(total_of(&cell), ddp);
    cr_expect_not(predict_jax(&both).is_known);
}

/* Of the same cell: what tp and ep divide is there once over all devices. */
Test(python_predict, more_devices_hold_less_each)
{
    struct proto_memory_parts (*const predict[])(const struct cell *) = {predict_torch,
                                                                         predict_jax};
    static const char *const layouts[] = {"fsdp", "tp", "ep"};
    for (size_t i = 0; i < ARRAY_COUNT(predict) * ARRAY_COUNT(layouts); i++) {
        struct cell cell = cell_of(BIG, "cuda:0-1", TRAIN, BF16, 512, 16);
        (void)snprintf(cell.parallel, sizeof(cell.parallel), "%s", layouts[i / 2]);
        struct proto_memory_parts two = predict[i % 2](&cell);
        (void)snprintf(cell.device, sizeof(cell.device), "cuda:0-3");
        struct proto_memory_parts four = predict[i % 2](&cell);
        (void)snprintf(cell.device, sizeof(cell.device), "cuda:0");
        cell.parallel[0] = '\0';
        struct proto_memory_parts one = predict[i % 2](&cell);
        cr_assert(one.is_known && two.is_known && four.is_known);
        cr_expect_lt(two.total_bytes, one.total_bytes);
        cr_expect_lt(four.total_bytes, two.total_bytes);
        int64_t half = (int64_t)(one.weights_bytes - two.weights_bytes);
        int64_t quarter = (int64_t)(two.weights_bytes - four.weights_bytes);
        cr_expect_lt(llabs(half - 2 * quarter), 8, "row %zu", i);
    }
}

/* What a product divides is what its factors do, one after the other. */
Test(python_predict, a_product_divides_by_each_of_its_factors)
{
    static const struct {
        const char *devices, *layout, *like_devices, *like; /* the same weights on each device */
    } rows[] = {
        {"cuda:0-3", "ddp:2,fsdp:2", "cuda:0-1", "fsdp"},
        {"cuda:0-3", "ddp:2,tp:2", "cuda:0-1", "tp"},
        {"cuda:0-3", "ddp:2,ep:2", "cuda:0-1", "ep"},
        {"cuda:0-7", "ddp:2,fsdp:2,tp:2", "cuda:0-3", "fsdp:2,tp:2"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct cell cell = cell_of(BIG, rows[i].devices, TRAIN, BF16, 512, 16);
        (void)snprintf(cell.parallel, sizeof(cell.parallel), "%s", rows[i].layout);
        struct cell like = cell_of(BIG, rows[i].like_devices, TRAIN, BF16, 512, 8);
        (void)snprintf(like.parallel, sizeof(like.parallel), "%s", rows[i].like);
        struct proto_memory_parts found = predict_torch(&cell), wanted = predict_torch(&like);
        cr_expect_eq(found.weights_bytes, wanted.weights_bytes, "row %zu", i);
        cr_expect_eq(found.optimizer_bytes, wanted.optimizer_bytes, "row %zu", i);
        cr_expect_eq(found.activations_bytes, wanted.activations_bytes, "row %zu", i);
        cr_expect_eq(predict_jax(&cell).total_bytes, predict_jax(&like).total_bytes, "row %zu", i);
    }
    struct cell cell = cell_of(BIG, "cuda:0-3", TRAIN, BF16, 512, 16);
    (void)snprintf(cell.parallel, sizeof(cell.parallel), "fsdp:2,tp:2");
    struct proto_memory_parts both = predict_torch(&cell);
    (void)snprintf(cell.device, sizeof(cell.device), "cuda:0-1");
    (void)snprintf(cell.parallel, sizeof(cell.parallel), "tp");
    cr_expect_eq(both.weights_bytes, predict_torch(&cell).weights_bytes / 2);
}

Test(python_predict, a_cache_is_two_tensors_a_layer)
{
    struct cell cell = cell_of("gpt2-124m", "cpu", CELL_MODE_DECODE, BF16, 1024, 4);
    cr_expect_eq(predict_torch(&cell).kv_cache_bytes, 2ULL * 12 * 4 * 1024 * 768 * 2);
}

Test(python_predict, nothing_is_known_of_a_model_of_the_users_own)
{
    struct cell cell = cell_of("gpt2-124m", "cpu", TRAIN, BF16, 128, 4);
    (void)snprintf(cell.model_ref, sizeof(cell.model_ref), "hf:/model");
    cr_expect_not(predict_torch(&cell).is_known);
    cr_expect_not(predict_jax(&cell).is_known);
}

Test(python_predict, the_engines_say_it)
{
    struct cell cell = cell_of("gpt2-124m", "cpu", TRAIN, CELL_PRECISION_FP32, 128, 4);
    struct engine_prediction torch = {0}, jax = {0};
    cr_assert_eq(engine_find("pytorch")->predict(&cell, &torch, NULL), STATUS_OK);
    cr_assert_eq(engine_find("jax")->predict(&cell, &jax, NULL), STATUS_OK);
    cr_expect_eq(torch.memory.total_bytes, predict_torch(&cell).total_bytes);
    cr_expect_eq(jax.memory.total_bytes, predict_jax(&cell).total_bytes);
}
