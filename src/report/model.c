#include "report/model.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "report/curves.h"
#include "report/reading.h"

static enum status read_all(struct report *report, struct err *err)
{
    struct report_reading *reading = NULL;
    enum status status = reading_new(report, &reading, err);
    for (uint32_t i = 0; status == STATUS_OK && i < report->sources_count; i++)
        status = reading_take(reading, i, err);
    for (uint32_t i = 0; status == STATUS_OK && i < report->sources_count; i++)
        status = report_curves_take(report, i, err);
    if (status == STATUS_OK)
        status = reading_finish(reading, err);
    reading_free(reading);
    return status;
}

enum status report_new(const char *const *paths, const char *const *names, size_t sources_count,
                       struct report **ret_report, struct err *err)
{
    ASSERT(sources_count > 0 && sources_count <= REPORT_SOURCES_MAX);
    struct report *report = calloc(1, sizeof(*report));
    if (report == NULL)
        return ERR(err, STATUS_NOMEM, "no memory for a report");
    report->sources_count = sources_count;
    for (size_t i = 0; i < sources_count; i++)
        report->sources[i] = (struct report_source){
            .path = paths[i],
            .name = strcmp(paths[i], "-") == 0 ? "standard input"
                                               : texts_keep(&report->texts, names[i]),
            .first_note = "",
            .first_started = "",
            .last_started = "",
            .environment_id = ""};
    enum status status = read_all(report, err);
    if (status == STATUS_OK)
        *ret_report = report;
    else
        report_free(report);
    return status;
}

void report_free(struct report *report)
{
    if (report == NULL)
        return;
    for (size_t i = 0; i < report->sources_count; i++)
        free(report->sources[i].facts);
    free(report->cells);
    free(report->issues);
    for (size_t i = 0; i < report->curves_count; i++)
        free(report->curves[i].losses);
    free(report->curves);
    texts_release(&report->texts);
    free(report);
}

double report_share_of_peak(const struct report_cell *cell)
{
    if (isfinite(cell->bandwidth) || isfinite(cell->bandwidth_datasheet))
        return isfinite(cell->bandwidth) ? cell->bandwidth : cell->bandwidth_datasheet;
    return isfinite(cell->mfu) ? cell->mfu : cell->mfu_datasheet;
}

/* --- keys --- */

/* Results of no key's text are told by their place: modes in the order of a sweep. */
static int mode_rank(const char *mode)
{
    static const char *const modes[] = {"train", "infer", "decode"};
    for (int i = 0; i < (int)ARRAY_COUNT(modes); i++)
        if (strcmp(mode, modes[i]) == 0)
            return i;
    return (int)ARRAY_COUNT(modes);
}

static int order_u32(uint32_t a, uint32_t b)
{
    return a < b ? -1 : a > b;
}

int report_cell_compare(const struct report_cell *a, const struct report_cell *b,
                        enum report_key key)
{
    switch (key) {
    case REPORT_KEY_MODEL: return strcmp(a->model, b->model);
    case REPORT_KEY_DEVICE: return strcmp(a->device, b->device);
    case REPORT_KEY_MODE: {
        int order = mode_rank(a->mode) - mode_rank(b->mode);
        return order != 0 ? order : strcmp(a->mode, b->mode);
    }
    case REPORT_KEY_ENGINE: return strcmp(a->engine, b->engine);
    case REPORT_KEY_PRECISION: return strcmp(a->precision, b->precision);
    case REPORT_KEY_SOURCE: return order_u32(a->source, b->source);
    case REPORT_KEY_SEQ: return order_u32(a->seq_len, b->seq_len);
    case REPORT_KEY_BATCH: return order_u32(a->batch_size, b->batch_size);
    case REPORT_KEYS_COUNT: break;
    }
    UNREACHABLE("a key that is none");
}

unsigned report_name_keys(const struct report *report)
{
    unsigned keys = 1U << REPORT_KEY_MODE | 1U << REPORT_KEY_SEQ | 1U << REPORT_KEY_BATCH;
    for (enum report_key key = 0; key < REPORT_KEYS_COUNT; key++)
        keys |= (unsigned)report->is_varied[key] << key;
    return keys;
}

void report_cell_name(const struct report *report, const struct report_cell *cell, unsigned keys,
                      struct buf *out)
{
    const char *const words[REPORT_KEYS_COUNT] = {
        [REPORT_KEY_MODEL] = cell->model,
        [REPORT_KEY_DEVICE] = cell->device,
        [REPORT_KEY_MODE] = cell->mode,
        [REPORT_KEY_ENGINE] = cell->engine,
        [REPORT_KEY_PRECISION] = cell->precision,
        [REPORT_KEY_SOURCE] = report->sources[cell->source].name};
    /* As people say it: what runs, then where it comes from, then its shape. */
    static const enum report_key order[] = {REPORT_KEY_MODE,      REPORT_KEY_ENGINE,
                                            REPORT_KEY_MODEL,     REPORT_KEY_DEVICE,
                                            REPORT_KEY_PRECISION, REPORT_KEY_SOURCE};
    size_t start = out->length_bytes;
    for (size_t i = 0; i < ARRAY_COUNT(order); i++)
        if ((keys >> order[i] & 1) != 0 && words[order[i]][0] != '\0')
            buf_appendf(out, "%s%s", out->length_bytes > start ? " " : "", words[order[i]]);
    const char *gap = out->length_bytes > start ? " " : "";
    if ((keys >> REPORT_KEY_SEQ & 1) != 0)
        buf_appendf(out, "%sseq %" PRIu32, gap, cell->seq_len);
    gap = out->length_bytes > start ? " " : "";
    if ((keys >> REPORT_KEY_BATCH & 1) != 0)
        buf_appendf(out, "%sbatch %" PRIu32, gap, cell->batch_size);
}
