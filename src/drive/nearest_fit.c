#include "drive/nearest_fit.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/reserve.h"
#include "base/sysmem.h"
#include "spec/device.h"

/* One part in so many is left: predictions are no better (docs/metrics.md). */
#define MARGIN      10
#define MIB         (1024.0 * 1024.0)
#define CUDA        "cuda:"
#define DEVICES_MAX 16 /* of one machine */

/* What a search goes by. Borrowed: for the search. */
struct fit_search {
    const struct cell *cell;
    predict_memory *predict;
    uint64_t allowed_bytes; /* by prediction */
};

static uint32_t row_shares(const struct cell *cell)
{
    struct parallel layout = cell_layout(cell);
    return parallel_row_shares(&layout);
}

/* Rows of a step come in multiples of this. */
static uint32_t least_rows(const struct cell *cell)
{
    return row_shares(cell) * cell_accumulate(cell);
}

/* The cell as the shape has it. */
static bool fits(const struct fit_search *search, const struct nearest_fit *shape,
                 uint64_t *ret_bytes)
{
    struct cell cell = *search->cell;
    cell.precision = shape->precision;
    cell.batch_size = shape->batch_size;
    cell.options.recompute = shape->recompute;
    cell.options.accumulate_count = shape->accumulate_count;
    if (cell.model.max_seq_len == cell.seq_len)
        cell.model.max_seq_len = shape->seq_len;
    cell.seq_len = shape->seq_len;
    cell_settle(&cell);
    return search->predict(&cell, ret_bytes) && *ret_bytes <= search->allowed_bytes;
}

/* The same training in fewer bytes: layers computed again, rows in parts, both. */
static bool find_training(const struct fit_search *search, struct nearest_fit *shape)
{
    const struct cell *cell = search->cell;
    const struct nearest_fit own = *shape;
    uint32_t rows = cell->batch_size / row_shares(cell);
    const uint32_t most[] = {cell_accumulate(cell), rows};
    const enum cell_recompute ways[] = {own.recompute, CELL_RECOMPUTE_FULL};
    for (size_t i = 0; i < ARRAY_COUNT(most) * ARRAY_COUNT(ways); i++) {
        *shape = own;
        shape->recompute = ways[i % 2];
        for (uint32_t parts = cell_accumulate(cell); parts <= most[i / 2]; parts *= 2) {
            shape->accumulate_count = parts;
            if (rows % parts == 0 && fits(search, shape, &shape->needed_bytes))
                return true;
        }
    }
    *shape = own;
    return false;
}

/* The most rows, fewer than the cell's. */
static bool find_rows(const struct fit_search *search, struct nearest_fit *shape)
{
    uint32_t step = least_rows(search->cell);
    uint32_t low = 0; /* fits, or is nothing; both in steps */
    uint32_t high = search->cell->batch_size / step;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        shape->batch_size = middle * step;
        if (fits(search, shape, &shape->needed_bytes))
            low = middle;
        else
            high = middle;
    }
    shape->batch_size = low * step;
    return low > 0 && fits(search, shape, &shape->needed_bytes);
}

static bool find_length(const struct fit_search *search, struct nearest_fit *shape)
{
    shape->batch_size = least_rows(search->cell);
    for (shape->seq_len = search->cell->seq_len / 2; shape->seq_len > 0; shape->seq_len /= 2)
        if (fits(search, shape, &shape->needed_bytes))
            return true;
    return false;
}

/* Others that hold less, the nearest first; how many. */
static size_t other_precisions(enum cell_precision own, enum cell_precision others[2])
{
    size_t count = 0;
    if (own == CELL_PRECISION_FP32 || own == CELL_PRECISION_TF32)
        others[count++] = CELL_PRECISION_BF16;
    if (own != CELL_PRECISION_BF16_PURE && own != CELL_PRECISION_INT8)
        others[count++] = CELL_PRECISION_BF16_PURE;
    return count;
}

static bool find(const struct fit_search *search, struct nearest_fit *ret)
{
    const struct cell *cell = search->cell;
    const struct nearest_fit own = {.precision = cell->precision,
                                    .seq_len = cell->seq_len,
                                    .batch_size = cell->batch_size,
                                    .recompute = cell->options.recompute,
                                    .accumulate_count = cell->options.accumulate_count};
    enum cell_precision others[2];
    size_t others_count = other_precisions(cell->precision, others);
    *ret = own;
    if (cell->mode == CELL_MODE_TRAIN && find_training(search, ret))
        return true;
    if (find_rows(search, ret))
        return true;
    for (size_t i = 0; i < others_count; i++) {
        *ret = own;
        ret->precision = others[i];
        if (fits(search, ret, &ret->needed_bytes))
            return true;
    }
    *ret = own;
    if (find_length(search, ret))
        return true;
    for (size_t i = 0; i < others_count; i++) {
        *ret = own;
        ret->precision = others[i];
        if (find_rows(search, ret) || find_length(search, ret))
            return true;
    }
    return false;
}

/* The fewest of such devices that would hold the cell as it is, each a part of the weights; 0 = not
 * known, or none. */
static uint32_t find_devices(const struct fit_search *search)
{
    struct cell cell = *search->cell;
    uint64_t bytes = 0;
    uint32_t own = device_count(cell.device);
    if (device_is_host(cell.device) || strncmp(cell.device, CUDA, strlen(CUDA)) != 0)
        return 0;
    (void)snprintf(cell.parallel, sizeof(cell.parallel), "fsdp");
    for (uint32_t count = own > 1 ? own : 2; count <= DEVICES_MAX; count++) {
        (void)snprintf(cell.device, sizeof(cell.device), CUDA "0-%" PRIu32, count - 1);
        bool is_own = count == own && strcmp(search->cell->parallel, "fsdp") == 0;
        if (!is_own && cell.batch_size % (count * cell_accumulate(&cell)) == 0 &&
            search->predict(&cell, &bytes) && bytes <= search->allowed_bytes)
            return count;
    }
    return 0;
}

struct nearest_fit nearest_fit_find(const struct cell *cell, predict_memory *predict,
                                    uint64_t available_bytes)
{
    uint64_t own_bytes = 0;
    struct nearest_fit fit = {0};
    if (predict == NULL || !predict(cell, &own_bytes))
        return (struct nearest_fit){.why_not = "no_prediction"};
    if (available_bytes == 0)
        return (struct nearest_fit){.why_not = "memory_not_known"};
    struct fit_search search = {.cell = cell,
                                .predict = predict,
                                .allowed_bytes = available_bytes - available_bytes / MARGIN};
    if (search.allowed_bytes >= own_bytes)
        search.allowed_bytes = own_bytes - 1;
    uint32_t devices = find_devices(&search);
    if (!find(&search, &fit))
        return (struct nearest_fit){.why_not = "nothing_fits"};
    fit.fsdp_devices = devices;
    fit.available_bytes = available_bytes;
    return fit;
}

uint64_t nearest_fit_memory(const struct cell *cell, uint64_t limit_bytes, uint64_t hello_rss_bytes,
                            uint64_t card_bytes)
{
    if (!device_is_host(cell->device))
        return card_bytes;
    uint64_t available = sysmem_available_bytes();
    uint64_t reserve = reserve_host_bytes();
    available = available > reserve ? available - reserve : 0;
    if (limit_bytes == 0)
        return available;
    limit_bytes = limit_bytes > hello_rss_bytes ? limit_bytes - hello_rss_bytes : 0;
    return limit_bytes < available ? limit_bytes : available;
}

void nearest_fit_text(const struct nearest_fit *fit, const struct cell *cell,
                      char text[NEAREST_FIT_TEXT_BYTES])
{
    char needed[NUM_TEXT_BYTES], available[NUM_TEXT_BYTES];
    char precision[32] = "", recompute[32] = "", parts[32] = "", seq[32] = "", batch[32] = "";
    char devices[48] = "";
    num_format_bytes_apart(fit->needed_bytes, fit->available_bytes, needed, available);
    if (fit->precision != cell->precision)
        (void)snprintf(precision, sizeof(precision), "%s ", cell_precision_name(fit->precision));
    if (fit->recompute != cell->options.recompute)
        (void)snprintf(recompute, sizeof(recompute), "--recompute %s ",
                       cell_recompute_name(fit->recompute));
    if (fit->accumulate_count > cell_accumulate(cell))
        (void)snprintf(parts, sizeof(parts), "--accumulate %" PRIu32 " ", fit->accumulate_count);
    if (fit->seq_len != cell->seq_len)
        (void)snprintf(seq, sizeof(seq), "seq %" PRIu32 " ", fit->seq_len);
    if (fit->batch_size != cell->batch_size)
        (void)snprintf(batch, sizeof(batch), "batch %" PRIu32 " ", fit->batch_size);
    if (fit->fsdp_devices > 0)
        (void)snprintf(devices, sizeof(devices), ", or --devices %" PRIu32 " --parallel fsdp",
                       fit->fsdp_devices);
    (void)snprintf(text, NEAREST_FIT_TEXT_BYTES, "%s%s%s%s%s(%s of %s)%s", precision, recompute,
                   parts, seq, batch, needed, available, devices);
}

void nearest_fit_write(const struct nearest_fit *fit, const struct cell *cell,
                       struct json_writer *writer)
{
    json_begin_object(writer);
    json_field_string(writer, "precision", cell_precision_name(fit->precision));
    json_field_u64(writer, "seq_len", fit->seq_len);
    json_field_u64(writer, "batch_size", fit->batch_size);
    if (cell->mode == CELL_MODE_TRAIN) {
        json_field_string(writer, "recompute", cell_recompute_name(fit->recompute));
        json_field_u64(writer, "accumulate", fit->accumulate_count > 0 ? fit->accumulate_count : 1);
    }
    if (fit->fsdp_devices > 0)
        json_field_u64(writer, "fsdp_devices", fit->fsdp_devices);
    json_field_double(writer, "mem_predicted_mb", (double)fit->needed_bytes / MIB);
    json_field_double(writer, "available_mb", (double)fit->available_bytes / MIB);
    json_end_object(writer);
}
