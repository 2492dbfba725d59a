#include "cli/render/check_report.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/json_write.h"
#include "base/version.h"
#include "cli/render/side_report.h"
#include "cli/render/table.h"

#define SCHEMA         1
#define OVER_SHOWN_MAX 8 /* tensors that the text under the table names, per row */
#define NUMBER_BYTES   32

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

static void put_reference(struct json_writer *writer, const struct check_row *row)
{
    json_put_key(writer, "reference");
    if (row->reference == NULL) {
        json_put_null(writer);
        return;
    }
    char device[2 * CELL_WORD_BYTES];
    cell_device_text(&row->reference->cell, device);
    json_begin_object(writer);
    json_field_string(writer, "engine", row->reference->engine);
    json_field_string(writer, "device", device);
    json_field_string(writer, "precision", cell_precision_name(CELL_PRECISION_FP32));
    json_field_string(writer, "weights_hash", row->reference->cell.weights_hash);
    json_end_object(writer);
}

void check_report_line(const struct check_facts *facts, const struct check_row *row,
                       struct buf *out)
{
    struct json_writer writer;
    json_writer_init(&writer, out);
    json_begin_object(&writer);
    json_field_u64(&writer, "schema", SCHEMA);
    json_field_string(&writer, "run_id", facts->run_id);
    side_report_put_text(&writer, "started_at", row->run.started_at);
    json_field_string(&writer, "engine", row->side->engine);
    struct cell cell = row->side->cell;
    cell.precision = row->precision;
    side_report_put_cell(&writer, &cell);
    json_field_u64(&writer, "train_steps", facts->setup->options.train_steps);
    put_reference(&writer, row);
    json_field_string(&writer, "verdict", verdict_name(row->verdict));
    json_put_key(&writer, "reasons");
    reasons_write(&row->reasons, &writer);
    put_kinds(&writer, row);
    side_report_put_worker(&writer, &row->run);
    json_field_double(&writer, "total_ms", (double)row->run.total_ns / (double)NS_PER_MS);
    json_field_string(&writer, "environment_id", facts->environment_id);
    json_field_string(&writer, "harness", version_harness());
    json_field_raw(&writer, "command", facts->command_json);
    json_end_object(&writer);
    buf_append_char(out, '\n');
}

/* --- the table --- */

static void format_error(double value, char text[NUMBER_BYTES])
{
    if (isnan(value) || isinf(value))
        (void)snprintf(text, NUMBER_BYTES, "not finite");
    else if (value == 0.0)
        (void)snprintf(text, NUMBER_BYTES, "0");
    else
        (void)snprintf(text, NUMBER_BYTES, "%.1e", value);
}

static const struct grid_column columns[] = {
    {"engine", "", false, 0},   {"precision", "", false, 0},    {"kind", "", false, 0},
    {"verdict", "", false, 0},  {"worst tensor", "", false, 3}, {"error", "", true, 1},
    {"tolerance", "", true, 2},
};

#define VERDICT_COLUMN 3

static void put_cells(const char *const cells[ARRAY_COUNT(columns)], enum grid_color verdict_color,
                      struct grid *grid)
{
    for (size_t i = 0; i < ARRAY_COUNT(columns); i++)
        grid_put(grid, i == VERDICT_COLUMN ? verdict_color : GRID_PLAIN, cells[i]);
}

static void put_row(const struct check_row *row, struct grid *grid)
{
    const char *label = side_report_label(row->side, &row->run);
    const char *precision = cell_precision_name(row->precision);
    if (!row->is_compared) {
        bool is_reference = row->verdict == VERDICT_OK;
        put_cells((const char *[]){label, precision, "-",
                                   is_reference ? "reference" : verdict_name(row->verdict), "", "",
                                   ""},
                  is_reference ? GRID_PLAIN : table_verdict_color(row->verdict), grid);
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
        put_cells((const char *[]){label, precision, parity_kind_name((enum parity_kind)i),
                                   kind->over_count == 0 ? "PASS" : "FAIL", kind->worst.name, error,
                                   tolerance},
                  kind->over_count == 0 ? GRID_GREEN : GRID_RED, grid);
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

static void append_problem(const struct check_row *row, size_t width, struct buf *out)
{
    side_report_problem(side_report_label(row->side, &row->run), row->precision, row->verdict,
                        &row->reasons, width, out);
    if (row->verdict != VERDICT_OK && row->is_compared)
        append_over(row, out);
}

void check_report_table(const struct check_row *rows, size_t rows_count,
                        const struct grid_style *style, struct buf *out)
{
    struct grid grid;
    bool is_all_ok = true;
    grid_init(&grid, columns, ARRAY_COUNT(columns));
    for (size_t i = 0; i < rows_count; i++) {
        put_row(&rows[i], &grid);
        is_all_ok &= rows[i].verdict == VERDICT_OK;
    }
    grid_format(&grid, style, out);
    grid_release(&grid);
    if (!is_all_ok)
        buf_append_text(out, "\nNot ok:\n");
    for (size_t i = 0; i < rows_count; i++)
        append_problem(&rows[i], style->columns, out);
}
