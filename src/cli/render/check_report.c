#include "cli/render/check_report.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/json_write.h"
#include "base/version.h"

#define SCHEMA         1
#define OVER_SHOWN_MAX 8 /* tensors that the text under the table names, per row */
#define NUMBER_BYTES   32

const char *check_row_label(const struct check_row *row)
{
    bool is_command = strncmp(row->side->engine, "exec:", 5) == 0;
    return is_command && row->run.has_hello ? row->run.hello.engine : row->side->cell.framework;
}

/* --- the line --- */

static void put_kind(struct json_writer *writer, const struct check_kind *kind)
{
    json_begin_object(writer);
    json_field_u64(writer, "tensors", kind->tensors_count);
    json_field_u64(writer, "over", kind->over_count);
    json_field_string(writer, "worst", kind->worst.name);
    json_field_double(writer, "error", kind->worst.error);
    json_field_double(writer, "tolerance", kind->tolerance);
    json_put_key(writer, "over_tensors");
    json_begin_array(writer);
    for (uint64_t i = 0; i < kind->over_count && i < CHECK_OVER_MAX; i++) {
        json_begin_object(writer);
        json_field_string(writer, "tensor", kind->over[i].name);
        json_field_double(writer, "error", kind->over[i].error);
        json_end_object(writer);
    }
    json_end_array(writer);
    json_end_object(writer);
}

static void put_kinds(struct json_writer *writer, const struct check_row *row)
{
    json_put_key(writer, "kinds");
    json_begin_object(writer);
    for (int i = 0; i < PARITY_KINDS_COUNT; i++) {
        const struct check_kind *kind = &row->comparison.kinds[i];
        json_put_key(writer, parity_kind_name((enum parity_kind)i));
        if (row->is_compared && kind->is_compared)
            put_kind(writer, kind);
        else
            json_put_null(writer);
    }
    json_end_object(writer);
}

static void put_text_or_null(struct json_writer *writer, const char *key, const char *text)
{
    if (text[0] != '\0')
        json_field_string(writer, key, text);
    else
        json_field_null(writer, key);
}

static void put_reference(struct json_writer *writer, const struct check_row *row)
{
    json_put_key(writer, "reference");
    if (row->reference == NULL) {
        json_put_null(writer);
        return;
    }
    json_begin_object(writer);
    json_field_string(writer, "engine", row->reference->engine);
    json_field_string(writer, "device", row->reference->cell.device);
    json_field_string(writer, "precision", cell_precision_name(CELL_PRECISION_FP32));
    json_field_string(writer, "weights_hash", row->reference->cell.weights_hash);
    json_end_object(writer);
}

static void put_cell(struct json_writer *writer, const struct check_row *row)
{
    const struct cell *cell = &row->side->cell;
    json_field_string(writer, "model", cell->model.name);
    json_field_string(writer, "device", cell->device);
    json_field_string(writer, "precision", cell_precision_name(row->precision));
    json_field_string(writer, "mode", cell_mode_name(cell->mode));
    json_field_u64(writer, "seq_len", cell->seq_len);
    json_field_u64(writer, "batch_size", cell->batch_size);
    json_field_u64(writer, "seed", cell->seed);
    json_field_string(writer, "weights_hash", cell->weights_hash);
}

static void put_worker(struct json_writer *writer, const struct check_run *run)
{
    put_text_or_null(writer, "worker", run->hello.engine);
    put_text_or_null(writer, "engine_version", run->hello.engine_version);
    put_text_or_null(writer, "model_source", run->ready.model_source);
    put_text_or_null(writer, "dtype_param", run->ready.dtype_param);
    put_text_or_null(writer, "dtype_compute", run->ready.dtype_compute);
    put_text_or_null(writer, "dtype_accumulate", run->ready.dtype_accumulate);
    put_text_or_null(writer, "backend", run->ready.backend);
    put_text_or_null(writer, "log_tail", run->log_tail);
}

void check_report_line(const struct check_facts *facts, const struct check_row *row,
                       struct buf *out)
{
    struct json_writer writer;
    json_writer_init(&writer, out);
    json_begin_object(&writer);
    json_field_u64(&writer, "schema", SCHEMA);
    json_field_string(&writer, "run_id", facts->run_id);
    put_text_or_null(&writer, "started_at", row->run.started_at);
    json_field_string(&writer, "engine", row->side->engine);
    put_cell(&writer, row);
    json_field_u64(&writer, "train_steps", facts->setup->options.train_steps);
    put_reference(&writer, row);
    json_field_string(&writer, "verdict", verdict_name(row->verdict));
    json_put_key(&writer, "reasons");
    reasons_write(&row->reasons, &writer);
    put_kinds(&writer, row);
    put_worker(&writer, &row->run);
    json_field_double(&writer, "total_ms", (double)row->run.total_ns / (double)NS_PER_MS);
    json_field_string(&writer, "environment_id", facts->environment_id);
    json_field_string(&writer, "harness", version_harness());
    json_field_raw(&writer, "command", facts->command_json);
    json_end_object(&writer);
    buf_append_char(out, '\n');
}

/* --- the table --- */

/* Column widths; the worst tensor's is what its names need. */
struct widths {
    int engine, tensor;
};

static void widen(int *width, const char *text)
{
    if ((int)strlen(text) > *width)
        *width = (int)strlen(text);
}

static struct widths measure_widths(const struct check_row *rows, size_t rows_count)
{
    struct widths widths = {(int)strlen("engine"), (int)strlen("worst tensor")};
    for (size_t i = 0; i < rows_count; i++) {
        widen(&widths.engine, check_row_label(&rows[i]));
        for (int kind = 0; kind < PARITY_KINDS_COUNT; kind++)
            widen(&widths.tensor, rows[i].comparison.kinds[kind].worst.name);
    }
    return widths;
}

static void format_error(double value, char text[NUMBER_BYTES])
{
    if (isnan(value) || isinf(value))
        (void)snprintf(text, NUMBER_BYTES, "not finite");
    else if (value == 0.0)
        (void)snprintf(text, NUMBER_BYTES, "0");
    else
        (void)snprintf(text, NUMBER_BYTES, "%.1e", value);
}

static void append_cells(const struct widths *widths, const char *const cells[7], struct buf *out)
{
    size_t start = out->length_bytes;
    buf_appendf(out, "%-*s  %-9s  %-10s  %-14s  %-*s  %10s  %9s", widths->engine, cells[0],
                cells[1], cells[2], cells[3], widths->tensor, cells[4], cells[5], cells[6]);
    while (out->length_bytes > start && out->data[out->length_bytes - 1] == ' ')
        out->data[--out->length_bytes] = '\0';
    buf_append_char(out, '\n');
}

static void append_row(const struct widths *widths, const struct check_row *row, struct buf *out)
{
    const char *label = check_row_label(row);
    const char *precision = cell_precision_name(row->precision);
    if (!row->is_compared) {
        bool is_reference = row->verdict == VERDICT_OK;
        append_cells(widths,
                     (const char *[]){label, precision, "-",
                                      is_reference ? "reference" : verdict_name(row->verdict), "",
                                      "", ""},
                     out);
        return;
    }
    for (int i = 0; i < PARITY_KINDS_COUNT; i++) {
        const struct check_kind *kind = &row->comparison.kinds[i];
        if (!kind->is_compared)
            continue;
        char error[NUMBER_BYTES];
        char tolerance[NUMBER_BYTES];
        format_error(kind->worst.error, error);
        format_error(kind->tolerance, tolerance);
        append_cells(widths,
                     (const char *[]){label, precision, parity_kind_name((enum parity_kind)i),
                                      kind->over_count == 0 ? "PASS" : "FAIL", kind->worst.name,
                                      error, tolerance},
                     out);
    }
}

static void append_over(const struct check_row *row, struct buf *out)
{
    uint64_t left = 0;
    unsigned shown = 0;
    for (int i = 0; i < PARITY_KINDS_COUNT; i++) {
        const struct check_kind *kind = &row->comparison.kinds[i];
        left += kind->over_count;
        for (uint64_t at = 0; at < kind->over_count && at < CHECK_OVER_MAX; at++) {
            if (shown == OVER_SHOWN_MAX)
                break;
            char error[NUMBER_BYTES];
            format_error(kind->over[at].error, error);
            buf_appendf(out, "    %-10s  %s: %s\n", parity_kind_name((enum parity_kind)i),
                        kind->over[at].name, error);
            shown++;
            left--;
        }
    }
    if (left > 0)
        buf_appendf(out, "    and %" PRIu64 " more\n", left);
}

static void append_problem(const struct check_row *row, struct buf *out)
{
    if (row->verdict == VERDICT_OK)
        return;
    buf_appendf(out, "  %s %s: %s", check_row_label(row), cell_precision_name(row->precision),
                verdict_name(row->verdict));
    for (size_t i = 0; i < row->reasons.count; i++) {
        const struct reason *reason = &row->reasons.items[i];
        bool is_said = strcmp(reason->code, verdict_name(row->verdict)) == 0;
        buf_appendf(out, "%s %s%s%s", i == 0 ? ":" : ";", is_said ? "" : reason->code,
                    is_said ? "" : ": ", reason->text);
    }
    buf_append_char(out, '\n');
    if (row->is_compared)
        append_over(row, out);
}

void check_report_table(const struct check_row *rows, size_t rows_count, struct buf *out)
{
    struct widths widths = measure_widths(rows, rows_count);
    bool is_all_ok = true;
    append_cells(&widths,
                 (const char *[]){"engine", "precision", "kind", "verdict", "worst tensor", "error",
                                  "tolerance"},
                 out);
    for (size_t i = 0; i < rows_count; i++) {
        append_row(&widths, &rows[i], out);
        is_all_ok &= rows[i].verdict == VERDICT_OK;
    }
    if (!is_all_ok)
        buf_append_text(out, "\nNot ok:\n");
    for (size_t i = 0; i < rows_count; i++)
        append_problem(&rows[i], out);
}
