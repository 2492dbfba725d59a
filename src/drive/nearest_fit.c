#include "drive/nearest_fit.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/reserve.h"
#include "base/sysmem.h"
#include "spec/device.h"

/* One part in so many is left: predictions are no better (docs/metrics.md). */
#define MARGIN 10

/* What a search goes by. Borrowed: for the search. */
struct fit_search {
    const struct cell *cell;
    predict_memory *predict;
    uint64_t allowed_bytes; /* by prediction */
};

/* Of the cell in another shape. */
static bool fits(const struct fit_search *search, const struct nearest_fit *shape,
                 uint64_t *ret_bytes)
{
    struct cell cell = *search->cell;
    cell.precision = shape->precision;
    cell.batch_size = shape->batch_size;
    if (cell.model.max_seq_len == cell.seq_len)
        cell.model.max_seq_len = shape->seq_len;
    cell.seq_len = shape->seq_len;
    return search->predict(&cell, ret_bytes) && *ret_bytes <= search->allowed_bytes;
}

/* The most rows, fewer than the cell's. */
static bool find_rows(const struct fit_search *search, struct nearest_fit *shape)
{
    uint32_t low = 0; /* fits, or is nothing */
    uint32_t high = search->cell->batch_size;
    while (high - low > 1) {
        shape->batch_size = low + (high - low) / 2;
        if (fits(search, shape, &shape->needed_bytes))
            low = shape->batch_size;
        else
            high = shape->batch_size;
    }
    shape->batch_size = low;
    return low > 0 && fits(search, shape, &shape->needed_bytes);
}

static bool find_length(const struct fit_search *search, struct nearest_fit *shape)
{
    shape->batch_size = 1;
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
    const struct nearest_fit own = {
        .precision = cell->precision, .seq_len = cell->seq_len, .batch_size = cell->batch_size};
    enum cell_precision others[2];
    size_t others_count = other_precisions(cell->precision, others);
    *ret = own;
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
    if (!find(&search, &fit))
        return (struct nearest_fit){.why_not = "nothing_fits"};
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
    char precision[32] = "", seq[32] = "", batch[32] = "";
    num_format_bytes_apart(fit->needed_bytes, fit->available_bytes, needed, available);
    if (fit->precision != cell->precision)
        (void)snprintf(precision, sizeof(precision), "%s ", cell_precision_name(fit->precision));
    if (fit->seq_len != cell->seq_len)
        (void)snprintf(seq, sizeof(seq), "seq %" PRIu32 " ", fit->seq_len);
    if (fit->batch_size != cell->batch_size)
        (void)snprintf(batch, sizeof(batch), "batch %" PRIu32 " ", fit->batch_size);
    (void)snprintf(text, NEAREST_FIT_TEXT_BYTES, "%s%s%s(%s of %s)", precision, seq, batch, needed,
                   available);
}
