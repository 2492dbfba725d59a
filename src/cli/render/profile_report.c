#include "cli/render/profile_report.h"

#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/json_write.h"
#include "base/num.h"

#define TOP_COUNT    10
#define NAME_WIDTH   44
#define NUMBER_WIDTH 10
#define PEAK_BYTES   16

static const char warning[] =
    "Times under a profiler are longer than those of `tokmark run`: compare shares, not times.";

/* Work that overlaps adds up to more than the steps took. */
static double whole_ns(const struct proto_profiled *seen)
{
    return fmax((double)seen->window_ns, (double)seen->operators_ns);
}

static double share_percent(const struct proto_profiled *seen, double ns)
{
    return whole_ns(seen) > 0 ? 100 * ns / whole_ns(seen) : 0;
}

/* NULL, or why it is not known. */
static const char *peak_percent(const struct profile_page *page, const struct proto_operator *one,
                                double *ret_percent)
{
    if (!isfinite(one->flops))
        return "flops_not_known";
    if (page->peak_flops <= 0)
        return "run_tokmark_peak";
    if (one->self_ns == 0)
        return "below_the_clock";
    *ret_percent = 100 * one->flops / ((double)one->self_ns / 1e9) / page->peak_flops;
    return NULL;
}

/* --- for people --- */

static void append_name(const char *name, struct buf *out)
{
    char text[NAME_WIDTH + 1];
    size_t length = 0;
    for (; name[length] != '\0' && length < NAME_WIDTH; length++)
        text[length] = iscntrl((unsigned char)name[length]) ? '?' : name[length];
    text[length] = '\0';
    if (name[length] != '\0')
        memcpy(text + NAME_WIDTH - 3, "...", 3);
    buf_appendf(out, "%-*s", NAME_WIDTH, text);
}

static void append_row(const struct proto_profiled *seen, const char *name, double ns, double calls,
                       const char *peak, struct buf *out)
{
    struct buf number CLEANUP(buf_release) = {0};
    append_name(name, out);
    buf_appendf(out, "  %6.1f %%", share_percent(seen, ns));
    buf_init(&number, NUM_TEXT_BYTES);
    num_append_short(ns / 1e6 / seen->steps_count, &number);
    buf_appendf(out, "  %*s", NUMBER_WIDTH, number.data);
    buf_reset(&number);
    if (calls > 0)
        num_append_short(calls / seen->steps_count, &number);
    buf_appendf(out, "  %*s  %8s\n", NUMBER_WIDTH, calls > 0 ? number.data : "", peak);
}

static void append_table(const struct profile_page *page, struct buf *out)
{
    const struct proto_profiled *seen = &page->profile->seen;
    double rest_ns = (double)seen->operators_ns;
    uint32_t shown = seen->operators_count < TOP_COUNT ? seen->operators_count : TOP_COUNT;
    buf_appendf(out, "%-*s  %8s  %*s  %*s  %8s\n", NAME_WIDTH, "operator", "share", NUMBER_WIDTH,
                "ms/step", NUMBER_WIDTH, "calls/step", "of peak");
    for (uint32_t i = 0; i < shown; i++) {
        const struct proto_operator *one = &seen->operators[i];
        char peak[PEAK_BYTES] = "-";
        double percent = 0;
        if (peak_percent(page, one, &percent) == NULL)
            (void)snprintf(peak, sizeof(peak), "%.1f %%", percent);
        append_row(seen, one->name, (double)one->self_ns, (double)one->calls_count, peak, out);
        rest_ns -= (double)one->self_ns;
    }
    char name[NAME_WIDTH];
    if (seen->names_count > shown) {
        (void)snprintf(name, sizeof(name), "(%" PRIu64 " others)", seen->names_count - shown);
        append_row(seen, name, fmax(rest_ns, 0), 0, "", out);
    }
    if (seen->window_ns > seen->operators_ns)
        append_row(seen, "(outside of operators)", (double)(seen->window_ns - seen->operators_ns),
                   0, "", out);
}

/* What devices tell each other, beside what they compute. */
static void append_exchange(const struct proto_profiled *seen, struct buf *out)
{
    if (!seen->has_exchange)
        return;
    double window_ns = fmax((double)seen->window_ns, 1);
    buf_appendf(
        out,
        "\ncommunication: %.1f %% of the time, %.1f %% while nothing was computed (of rank 0, "
        "waiting for the others included)\n",
        100 * (double)seen->exchange_ns / window_ns,
        100 * (double)seen->exchange_alone_ns / window_ns);
}

void profile_report_text(const struct profile_page *page, struct buf *out)
{
    const struct cell *cell = page->cell;
    const struct profile *profile = page->profile;
    const struct proto_profiled *seen = &profile->seen;
    buf_appendf(out, "%s %s, %" PRIu32 " x %" PRIu32 " tokens on %s by %s: %s\n",
                cell_mode_name(cell->mode), cell_precision_name(cell->precision), cell->batch_size,
                cell->seq_len, cell->device, cell->framework, cell->model.name);
    for (size_t i = 0; i < profile->run.reasons.count; i++)
        buf_appendf(out, "  %s: %s: %s\n", verdict_name(profile->run.verdict),
                    profile->run.reasons.items[i].code, profile->run.reasons.items[i].text);
    if (profile->run.verdict != VERDICT_OK)
        return;
    char duration[NUM_TEXT_BYTES];
    num_format_duration(seen->window_ns / seen->steps_count, duration);
    buf_appendf(out, "%" PRIu32 " step%s under %s: %s a step\n\n", seen->steps_count,
                num_plural(seen->steps_count), seen->profiler, duration);
    append_table(page, out);
    append_exchange(seen, out);
    if (page->peak_flops > 0)
        buf_appendf(out, "\nof peak: of the %.4g FLOP/s of the best matmul (tokmark peak)\n",
                    page->peak_flops);
    else
        buf_appendf(out, "\nof peak: `tokmark peak` has not measured this device in %s\n",
                    cell_precision_name(cell->precision));
    buf_appendf(out, "%s\ntrace: %s (ui.perfetto.dev opens it)\n", warning, page->trace_path);
}

/* --- for programs --- */

static void put_operator(const struct profile_page *page, const struct proto_operator *one,
                         struct json_writer *writer)
{
    double percent = 0;
    const char *missing = peak_percent(page, one, &percent);
    json_begin_object(writer);
    json_field_string(writer, "name", one->name);
    json_field_u64(writer, "calls", one->calls_count);
    json_field_u64(writer, "self_ns", one->self_ns);
    json_field_double(writer, "share_percent",
                      share_percent(&page->profile->seen, (double)one->self_ns));
    json_field_double(writer, "flops", one->flops);
    if (missing == NULL) {
        json_field_double(writer, "peak_percent", percent);
    } else {
        json_field_null(writer, "peak_percent");
        json_field_string(writer, "peak_percent_null", missing);
    }
    json_end_object(writer);
}

static void put_seen(const struct profile_page *page, struct json_writer *writer)
{
    const struct proto_profiled *seen = &page->profile->seen;
    json_field_string(writer, "profiler", seen->profiler);
    json_field_u64(writer, "steps", seen->steps_count);
    json_field_u64(writer, "window_ns", seen->window_ns);
    json_field_u64(writer, "operators_ns", seen->operators_ns);
    json_field_u64(writer, "names", seen->names_count);
    if (seen->has_exchange) {
        json_field_u64(writer, "exchange_ns", seen->exchange_ns);
        json_field_u64(writer, "exchange_alone_ns", seen->exchange_alone_ns);
    }
    json_field_double(writer, "peak_flops", page->peak_flops > 0 ? page->peak_flops : (double)NAN);
    json_put_key(writer, "operators");
    json_begin_array(writer);
    for (uint32_t i = 0; i < seen->operators_count; i++)
        put_operator(page, &seen->operators[i], writer);
    json_end_array(writer);
    json_field_string(writer, "trace", page->trace_path);
    json_field_string(writer, "note", warning);
}

void profile_report_json(const struct profile_page *page, struct buf *out)
{
    const struct profile *profile = page->profile;
    struct json_writer writer;
    char id[HASH_ID_BYTES];
    json_writer_init(&writer, out);
    cell_id(page->cell, id);
    json_begin_object(&writer);
    json_field_string(&writer, "cell_id", id);
    json_put_key(&writer, "cell");
    json_begin_object(&writer);
    cell_write(page->cell, &writer);
    json_end_object(&writer);
    json_field_string(&writer, "verdict", verdict_name(profile->run.verdict));
    json_put_key(&writer, "reasons");
    reasons_write(&profile->run.reasons, &writer);
    if (profile->run.verdict == VERDICT_OK)
        put_seen(page, &writer);
    json_end_object(&writer);
    buf_append_char(out, '\n');
}
