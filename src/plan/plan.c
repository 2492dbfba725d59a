#include "plan/plan.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"

/* Longest item that is read: "4294967295-4294967295*4294967295" has 32 bytes. */
#define ITEM_BYTES 40

/* One item of the grammar: a value is a range of one. */
struct range {
    uint32_t first;
    uint32_t last;
    uint32_t step;
    bool is_factor; /* `step` multiplies */
};

static enum status axis_push(struct plan_axis *axis, uint32_t value, struct err *err)
{
    for (size_t i = 0; i < axis->count; i++)
        if (axis->values[i] == value)
            return STATUS_OK;
    if (axis->count == PLAN_AXIS_VALUES_MAX)
        return ERR(err, STATUS_LIMIT,
                   "an axis has at most %d values; %" PRIu32 " would be one more, the last that "
                   "fits is %" PRIu32,
                   PLAN_AXIS_VALUES_MAX, value, axis->values[axis->count - 1]);
    axis->values[axis->count++] = value;
    return STATUS_OK;
}

/* `text` has `length` bytes and no NUL of its own. */
static enum status parse_part(const char *text, size_t length, uint64_t min, uint64_t max,
                              uint32_t *ret_value, struct err *err)
{
    char part[ITEM_BYTES];
    ASSERT(length < sizeof(part));
    memcpy(part, text, length);
    part[length] = '\0';
    /* "4k" is 4096, as in the names of models and contexts. */
    bool is_kilo = length > 1 && (part[length - 1] == 'k' || part[length - 1] == 'K');
    uint64_t factor = is_kilo ? 1024 : 1;
    if (is_kilo)
        part[length - 1] = '\0';
    uint64_t value = 0;
    enum status status =
        num_parse_u64(part, (min + factor - 1) / factor, max / factor, &value, err);
    value *= factor;
    if (status == STATUS_OK)
        *ret_value = (uint32_t)value;
    return status;
}

/* What follows the '-' of a range: LAST, LAST*FACTOR or LAST+STEP. */
static enum status parse_range_end(const char *item, const char *rest, uint32_t max,
                                   struct range *range, struct err *err)
{
    size_t digits = strcspn(rest, "*+");
    enum status status = parse_part(rest, digits, 1, max, &range->last, err);
    if (status != STATUS_OK)
        return status;
    if (range->last < range->first)
        return ERR(err, STATUS_INVALID, "'%s' runs down; try %" PRIu32 "-%" PRIu32, item,
                   range->last, range->first);
    range->step = 1;
    if (rest[digits] == '\0')
        return STATUS_OK;
    range->is_factor = rest[digits] == '*';
    const char *step = rest + digits + 1;
    struct err why = {0};
    if (parse_part(step, strlen(step), range->is_factor ? 2 : 1, UINT32_MAX, &range->step, &why) ==
        STATUS_OK)
        return STATUS_OK;
    return ERR(err, STATUS_INVALID, "'%s': a range grows by *2 or more, or +1 or more (%s)", item,
               why.text);
}

static enum status parse_item(const char *item, uint32_t max, struct range *ret_range,
                              struct err *err)
{
    struct range range = {.step = 1};
    const char *dash = item[0] == '-' ? NULL : strchr(item, '-');
    size_t first_length = dash != NULL ? (size_t)(dash - item) : strlen(item);
    enum status status = parse_part(item, first_length, 1, max, &range.first, err);
    range.last = range.first;
    if (status == STATUS_OK && dash != NULL)
        status = parse_range_end(item, dash + 1, max, &range, err);
    if (status == STATUS_OK)
        *ret_range = range;
    return status;
}

/* axis_push() ends a range that is too long after PLAN_AXIS_VALUES_MAX values, whatever it spans.
 */
static enum status axis_push_range(struct plan_axis *axis, const struct range *range,
                                   struct err *err)
{
    uint64_t value = range->first;
    while (value <= range->last) {
        enum status status = axis_push(axis, (uint32_t)value, err);
        if (status != STATUS_OK)
            return status;
        value = range->is_factor ? value * range->step : value + range->step;
    }
    return STATUS_OK;
}

/* The word with its empty items left out, for the error text. */
static void without_empty_items(const char *text, char *ret_text, size_t ret_bytes)
{
    size_t length = 0;
    for (; *text != '\0' && length + 1 < ret_bytes; text++) {
        bool is_empty = *text == ',' && (length == 0 || text[1] == ',' || text[1] == '\0');
        if (!is_empty)
            ret_text[length++] = *text;
    }
    ret_text[length] = '\0';
}

enum status plan_axis_add(struct plan_axis *axis, const char *text, uint32_t max, struct err *err)
{
    ASSERT(max >= 1);
    struct plan_axis added = *axis; /* on failure the caller's stays as it was */
    for (const char *at = text;; at++) {
        size_t length = strcspn(at, ",");
        if (length == 0) {
            char better[64];
            without_empty_items(text, better, sizeof(better));
            return ERR(err, STATUS_INVALID, "'%.60s' has an empty value; try %s", text,
                       better[0] != '\0' ? better : "1");
        }
        if (length >= ITEM_BYTES)
            return ERR(err, STATUS_INVALID,
                       "'%.30s...' is no value or range; the largest value is %" PRIu32, at, max);
        char item[ITEM_BYTES];
        memcpy(item, at, length);
        item[length] = '\0';
        struct range range;
        enum status status = parse_item(item, max, &range, err);
        if (status == STATUS_OK)
            status = axis_push_range(&added, &range, err);
        if (status != STATUS_OK)
            return status;
        at += length;
        if (*at == '\0')
            break;
    }
    *axis = added;
    return STATUS_OK;
}

static enum status check_axes(const struct plan_axes *axes, size_t *ret_count, struct err *err)
{
    const struct {
        const char *name;
        size_t count;
    } sizes[] = {
        {"precisions", axes->precisions_count},   {"sequence lengths", axes->seq_lens.count},
        {"batch sizes", axes->batch_sizes.count}, {"modes", axes->modes_count},
        {"layouts", axes->parallels_count},
    };
    size_t count = 1;
    for (size_t i = 0; i < ARRAY_COUNT(sizes); i++) {
        if (sizes[i].count == 0)
            return ERR(err, STATUS_INVALID, "there are no %s to measure; give at least 1",
                       sizes[i].name);
        count *= sizes[i].count; /* at most 6 * 1024 * 1024 * 3 * 5 */
    }
    if (count > PLAN_CELLS_MAX)
        return ERR(err, STATUS_LIMIT,
                   "%zu precisions x %zu sequence lengths x %zu batch sizes x %zu modes x %zu "
                   "layouts are %zu cells; the most is %d",
                   sizes[0].count, sizes[1].count, sizes[2].count, sizes[3].count, sizes[4].count,
                   count, PLAN_CELLS_MAX);
    *ret_count = count;
    return STATUS_OK;
}

static enum status check_length(const struct plan_axes *axes, struct err *err)
{
    uint32_t most = axes->base.model.max_seq_len;
    for (size_t i = 0; axes->keeps_length && i < axes->seq_lens.count; i++)
        if (axes->seq_lens.values[i] > most)
            return ERR(err, STATUS_INVALID,
                       "--set max_seq_len=%" PRIu32 " is less than the sequence length %" PRIu32
                       "; set at least that, or leave it out",
                       most, axes->seq_lens.values[i]);
    return STATUS_OK;
}

enum status plan_make(const struct plan_axes *axes, struct plan *ret_plan, struct err *err)
{
    size_t count = 0;
    enum status status = check_axes(axes, &count, err);
    if (status == STATUS_OK)
        status = check_length(axes, err);
    if (status != STATUS_OK)
        return status;
    struct cell *cells = calloc(count, sizeof(*cells));
    if (cells == NULL)
        return ERR(err, STATUS_NOMEM, "no memory for %zu cells", count);
    /* A number in mixed radix: the innermost axis is its last digit. */
    for (size_t i = 0; i < count; i++) {
        size_t rest = i;
        struct cell *cell = &cells[i];
        *cell = axes->base;
        cell->mode = axes->modes[rest % axes->modes_count];
        rest /= axes->modes_count;
        cell->batch_size = axes->batch_sizes.values[rest % axes->batch_sizes.count];
        rest /= axes->batch_sizes.count;
        cell->seq_len = axes->seq_lens.values[rest % axes->seq_lens.count];
        rest /= axes->seq_lens.count;
        cell->precision = axes->precisions[rest % axes->precisions_count];
        rest /= axes->precisions_count;
        (void)snprintf(cell->parallel, sizeof(cell->parallel), "%s", axes->parallels[rest]);
        if (!axes->keeps_length)
            cell->model.max_seq_len = cell->seq_len;
        cell_settle(cell);
    }
    *ret_plan = (struct plan){cells, count};
    return STATUS_OK;
}

enum status plan_drop_repeats(struct plan *plan, struct err *err)
{
    size_t kept = 0;
    char(*ids)[HASH_ID_BYTES] = calloc(plan->cells_count, sizeof(*ids));
    if (ids == NULL)
        return ERR(err, STATUS_NOMEM, "no memory for the ids of %zu cells", plan->cells_count);
    for (size_t i = 0; i < plan->cells_count; i++) {
        size_t same = 0;
        cell_id(&plan->cells[i], ids[kept]);
        while (same < kept && strcmp(ids[same], ids[kept]) != 0)
            same++;
        if (same == kept)
            plan->cells[kept++] = plan->cells[i];
    }
    plan->cells_count = kept;
    free(ids);
    return STATUS_OK;
}

void plan_release(struct plan *plan)
{
    if (plan == NULL)
        return;
    free(plan->cells);
    *plan = (struct plan){0};
}
