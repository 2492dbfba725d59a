#include <criterion/criterion.h>
#include <string.h>

#include "drive/nearest_fit.h"
#include "spec/device.h"

/* 1000 for the weights, half of that in bf16-pure, and 10 a token. */
static bool predict(const struct cell *cell, uint64_t *ret_bytes)
{
    if (cell->precision == CELL_PRECISION_INT8)
        return false;
    *ret_bytes = (cell->precision == CELL_PRECISION_BF16_PURE ? 500U : 1000U) +
                 10ULL * cell->batch_size * cell->seq_len;
    return true;
}

static struct cell cell_of(enum cell_precision precision, uint32_t seq_len, uint32_t batch_size)
{
    struct cell cell = {.precision = precision, .seq_len = seq_len, .batch_size = batch_size};
    (void)snprintf(cell.device, sizeof(cell.device), "cpu");
    cell.model.max_seq_len = seq_len;
    return cell;
}

static void expect(const struct cell *cell, uint64_t available_bytes, const char *text)
{
    char said[NEAREST_FIT_TEXT_BYTES];
    struct nearest_fit fit = nearest_fit_find(cell, predict, available_bytes);
    cr_assert_null(fit.why_not, "%s", fit.why_not);
    nearest_fit_text(&fit, cell, said);
    cr_expect_str_eq(said, text);
}

Test(drive_nearest_fit, fewer_rows_come_first)
{
    struct cell cell = cell_of(CELL_PRECISION_FP32, 10, 32);
    expect(&cell, 2556, "batch 13 (2.25 KiB of 2.50 KiB)");
    expect(&cell, 2550, "batch 12 (2.15 KiB of 2.49 KiB)");
    expect(&cell, 1223, "batch 1 (1.07 KiB of 1.19 KiB)");
}

Test(drive_nearest_fit, then_another_precision_then_a_shorter_row_then_both)
{
    struct cell cell = cell_of(CELL_PRECISION_FP32, 40, 1);
    expect(&cell, 1300, "bf16-pure (900 B of 1.27 KiB)");
    cell = cell_of(CELL_PRECISION_BF16_PURE, 40, 1);
    expect(&cell, 800, "seq 20 (700 B of 800 B)");
    cell = cell_of(CELL_PRECISION_BF16, 40, 4);
    expect(&cell, 1000, "bf16-pure batch 1 (900 B of 1000 B)");
    expect(&cell, 670, "bf16-pure seq 10 batch 1 (600 B of 670 B)");
}

/* The cell did not fit, whatever its prediction says: nothing that is predicted to need as much. */
Test(drive_nearest_fit, what_is_named_needs_less_than_the_cell_that_did_not_fit)
{
    struct cell cell = cell_of(CELL_PRECISION_BF16_PURE, 10, 2);
    expect(&cell, 1000000, "batch 1 (600 B of 977 KiB)");
}

/* 1000 a device for the weights that fsdp divides, and 10 a token, 4 where layers are computed
 * again. */
static bool predict_training(const struct cell *cell, uint64_t *ret_bytes)
{
    uint32_t devices = device_count(cell->device);
    uint64_t token = cell->options.recompute == CELL_RECOMPUTE_FULL ? 4 : 10;
    *ret_bytes = 1000U / (strcmp(cell->parallel, "fsdp") == 0 ? devices : 1) +
                 token * cell->batch_size * cell->seq_len / devices / cell_accumulate(cell);
    return true;
}

Test(drive_nearest_fit, the_same_training_comes_before_fewer_rows)
{
    static const struct {
        uint64_t available_bytes;
        const char *text;
    } rows[] = {
        {2600, "--recompute full (2.23 KiB of 2.54 KiB), or --devices 2 --parallel fsdp"},
        {2200, "--accumulate 4 (1.76 KiB of 2.15 KiB), or --devices 4 --parallel fsdp"},
        {1200, "--accumulate 64 (1.03 KiB of 1.17 KiB), or --devices 4 --parallel fsdp"},
        {1150, "--recompute full --accumulate 64 (1020 B of 1.12 KiB), or --devices 8 --parallel "
               "fsdp"},
    };
    struct cell cell = cell_of(CELL_PRECISION_BF16, 5, 64);
    (void)snprintf(cell.device, sizeof(cell.device), "cuda:0");
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        char said[NEAREST_FIT_TEXT_BYTES];
        struct nearest_fit fit = nearest_fit_find(&cell, predict_training, rows[i].available_bytes);
        cr_assert_null(fit.why_not, "%s", fit.why_not);
        nearest_fit_text(&fit, &cell, said);
        cr_expect_str_eq(said, rows[i].text);
    }
}

/* In a record: what does not apply is not there. */
Test(drive_nearest_fit, as_a_field)
{
    const struct nearest_fit fit = {.precision = CELL_PRECISION_BF16,
                                    .seq_len = 5,
                                    .batch_size = 64,
                                    .recompute = CELL_RECOMPUTE_FULL,
                                    .fsdp_devices = 2,
                                    .needed_bytes = 3 << 20,
                                    .available_bytes = 4 << 20};
    struct nearest_fit unsharded = fit;
    struct cell cell = cell_of(CELL_PRECISION_BF16, 5, 64);
    const struct {
        const struct nearest_fit *fit;
        enum cell_mode mode;
        const char *json;
    } rows[] = {
        {&fit, CELL_MODE_TRAIN,
         "{\"precision\":\"bf16\",\"seq_len\":5,\"batch_size\":64,\"recompute\":\"full\","
         "\"accumulate\":1,\"fsdp_devices\":2,\"mem_predicted_mb\":3.0,\"available_mb\":4.0}"},
        {&unsharded, CELL_MODE_TRAIN,
         "{\"precision\":\"bf16\",\"seq_len\":5,\"batch_size\":64,\"recompute\":\"full\","
         "\"accumulate\":4,\"mem_predicted_mb\":3.0,\"available_mb\":4.0}"},
        {&unsharded, CELL_MODE_INFER,
         "{\"precision\":\"bf16\",\"seq_len\":5,\"batch_size\":64,\"mem_predicted_mb\":3.0,"
         "\"available_mb\":4.0}"},
    };
    unsharded.fsdp_devices = 0;
    unsharded.accumulate_count = 4;
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct buf text;
        struct json_writer writer;
        buf_init(&text, 1000);
        json_writer_init(&writer, &text);
        cell.mode = rows[i].mode;
        nearest_fit_write(rows[i].fit, &cell, &writer);
        cr_expect_str_eq(text.data, rows[i].json);
        buf_release(&text);
    }
}

/* What is named divides over the cell's devices, as the cell must. */
Test(drive_nearest_fit, fewer_rows_divide_over_the_devices)
{
    struct cell cell = cell_of(CELL_PRECISION_BF16_PURE, 100, 7 * 2);
    cell.mode = CELL_MODE_INFER;
    (void)snprintf(cell.device, sizeof(cell.device), "cuda:0-1");
    (void)snprintf(cell.parallel, sizeof(cell.parallel), "ddp");
    struct nearest_fit fit = nearest_fit_find(&cell, predict_training, 6000);
    cr_assert_null(fit.why_not);
    cr_expect_eq(fit.batch_size, 8);
}

Test(drive_nearest_fit, why_nothing_is_named)
{
    struct cell cell = cell_of(CELL_PRECISION_FP32, 10, 32);
    cr_expect_str_eq(nearest_fit_find(&cell, NULL, 1).why_not, "no_prediction");
    cr_expect_str_eq(nearest_fit_find(&cell, predict, 0).why_not, "memory_not_known");
    cr_expect_str_eq(nearest_fit_find(&cell, predict, 560).why_not, "nothing_fits");
    cell.precision = CELL_PRECISION_INT8;
    cr_expect_str_eq(nearest_fit_find(&cell, predict, 1000000).why_not, "no_prediction");
}

Test(drive_nearest_fit, a_limit_is_less_than_the_host_has)
{
    struct cell cell = cell_of(CELL_PRECISION_FP32, 10, 32);
    cr_expect_eq(nearest_fit_memory(&cell, 1 << 20, 1000, 7), (1 << 20) - 1000);
    cr_expect_eq(nearest_fit_memory(&cell, 1 << 20, 2 << 20, 7), 0);
    cr_expect_gt(nearest_fit_memory(&cell, 0, 1000, 7), 1 << 20);
    (void)snprintf(cell.device, sizeof(cell.device), "cuda:0");
    cr_expect_eq(nearest_fit_memory(&cell, 1 << 20, 1000, 7), 7);
}
