#include "cli/run_layouts.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/run_words.h"
#include "spec/device.h"

const struct option_choice run_layout_choices[] = {
    {"none", 0}, {"ddp", 1}, {"fsdp", 2}, {"tp", 3}, {"ep", 4}, {NULL, 0},
};

/* The layout that `text` begins with, and where the next one is; NULL: there is none. */
static const char *first_of(const char *text, char ret_layout[OPTION_WORD_BYTES])
{
    size_t length = strchr(text, ':') != NULL ? strlen(text) : strcspn(text, ",");
    (void)snprintf(ret_layout, OPTION_WORD_BYTES, "%.*s", (int)length, text);
    return text[length] == ',' ? text + length + 1 : NULL;
}

enum status run_check_layouts(const char *text, struct err *err)
{
    while (text != NULL) {
        char layout[OPTION_WORD_BYTES];
        text = first_of(text, layout);
        TRY(parallel_check(layout, err));
    }
    return STATUS_OK;
}

static enum status add(const char *layout, const char *devices, struct plan_axes *axes,
                       struct err *err)
{
    bool is_none = strcmp(layout, "none") == 0;
    if (is_none && devices != NULL)
        return ERR(err, STATUS_INVALID,
                   "--devices %.40s needs --parallel: ddp (the whole model on each) or fsdp "
                   "(the weights divided)",
                   devices);
    if (!is_none && devices == NULL)
        return ERR(err, STATUS_INVALID,
                   "--parallel needs --devices, such as --devices cuda:0-1 or cpu:2");
    if (run_layouts_are_found(devices) && strchr(layout, ':') != NULL)
        return ERR(err, STATUS_INVALID,
                   "--devices %.40s finds how many there are to be; give --parallel fsdp without a "
                   "number, not %s",
                   devices, layout);
    char device[CELL_WORD_BYTES] = "cpu";
    if (devices != NULL)
        run_take_devices(devices, device);
    char settled[PARALLEL_TEXT_BYTES];
    struct err cause = {0};
    if (parallel_settle(layout, device_count(device), settled, &cause) != STATUS_OK)
        return ERR(err, STATUS_INVALID, "--parallel %s", cause.text);
    for (size_t i = 0; i < axes->parallels_count; i++)
        if (strcmp(axes->parallels[i], settled) == 0)
            return STATUS_OK;
    if (axes->parallels_count == PLAN_LAYOUTS_MAX)
        return ERR(err, STATUS_LIMIT, "--parallel: the most is %d layouts", PLAN_LAYOUTS_MAX);
    memcpy(axes->parallels[axes->parallels_count++], settled, sizeof(settled));
    return STATUS_OK;
}

enum status run_layouts_take(const struct option_texts *words, const char *devices,
                             struct plan_axes *axes, struct err *err)
{
    axes->parallels_count = 0;
    if (words->count == 0)
        return add("none", devices, axes, err);
    for (size_t i = 0; i < words->count; i++) {
        const char *text = words->items[i];
        while (text != NULL) {
            char layout[OPTION_WORD_BYTES];
            text = first_of(text, layout);
            TRY(add(layout, devices, axes, err));
        }
    }
    return STATUS_OK;
}

/* --- devices that are to be found --- */

bool run_layouts_are_found(const char *devices)
{
    return devices != NULL && (strcmp(devices, "min") == 0 || strcmp(devices, "cpu:min") == 0);
}

void run_layouts_put(uint32_t devices_count, struct cell *cell)
{
    if (devices_count == 1)
        cell->parallel[0] = '\0';
    else if (device_is_host(cell->device))
        (void)snprintf(cell->device, sizeof(cell->device), "cpu:%" PRIu32, devices_count);
    else
        (void)snprintf(cell->device, sizeof(cell->device), "cuda:0-%" PRIu32, devices_count - 1);
}

bool run_layouts_divide(const struct cell *cell, uint32_t devices_count)
{
    const struct parallel layout = parallel_of(cell->parallel, devices_count);
    const struct model_spec *model = &cell->model;
    if (cell->batch_size % (parallel_row_shares(&layout) * cell_accumulate(cell)) != 0)
        return false;
    return cell->model_ref[0] != '\0' ||
           (model->heads_count % layout.tp == 0 && model->ffn_hidden % layout.tp == 0 &&
            model->experts_count % layout.ep == 0);
}
