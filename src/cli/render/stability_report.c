#include "cli/render/stability_report.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/csv.h"
#include "base/json_write.h"
#include "base/num.h"
#include "base/version.h"
#include "cli/render/side_report.h"
#include "cli/render/table.h"

#define SCHEMA       1
#define NUMBER_BYTES 48

/* --- the line --- */

static void put_step(struct json_writer *writer, const char *key, size_t step)
{
    if (step > 0)
        json_field_u64(writer, key, step);
    else
        json_field_null(writer, key);
}

static void put_numbers(struct json_writer *writer, const char *key, const double *values,
                        size_t count)
{
    json_put_key(writer, key);
    json_begin_array(writer);
    for (size_t i = 0; i < count; i++)
        json_put_double(writer, values[i]);
    json_end_array(writer);
}

static void put_summary(struct json_writer *writer, const struct training *training)
{
    const struct curve_summary *summary = &training->summary;
    json_field_double(writer, "loss_first", summary->loss_first);
    json_field_double(writer, "loss_last", summary->loss_last);
    json_field_double(writer, "loss_end", summary->loss_end);
    json_field_double(writer, "loss_slope", summary->loss_slope);
    put_step(writer, "nonfinite_step", training->nonfinite_step);
    json_field_u64(writer, "nonfinite_losses", summary->nonfinite_losses_count);
    json_field_u64(writer, "nonfinite_norms", training->nonfinite_norms_count);
    put_step(writer, "diverged_step", summary->diverged_step);
    json_field_u64(writer, "spikes", summary->spikes_count);
    put_step(writer, "spike_step", summary->spike_step);
    json_field_double(writer, "spike_z", summary->spike_z);
    json_field_double(writer, "grad_norm_p50", summary->norm_p50);
    json_field_double(writer, "grad_norm_p95", summary->norm_p95);
    json_field_double(writer, "grad_norm_max", summary->norm_max);
    json_field_double(writer, "expert_imbalance_first", training->imbalance_first);
    json_field_double(writer, "expert_imbalance_last", training->imbalance_last);
}

static void put_difference(struct json_writer *writer, const struct stability_row *row)
{
    side_report_put_text(writer, "reference", row->has_reference ? row->reference : "");
    json_field_double(writer, "loss_difference",
                      row->has_reference ? row->difference.loss : (double)NAN);
    put_step(writer, "loss_difference_step", row->has_reference ? row->difference.loss_step : 0);
    json_field_double(writer, "tolerance", row->tolerance);
    json_field_double(writer, "rounding_difference", row->rounding);
    json_field_double(writer, "grad_norm_difference",
                      row->has_reference ? row->difference.norm : (double)NAN);
}

void stability_report_line(const struct stability_facts *facts, const struct stability_row *row,
                           struct buf *out)
{
    const struct training *training = &row->training;
    const struct cell *cell = &row->cell;
    char id[HASH_ID_BYTES];
    struct json_writer writer;
    cell_id(cell, id);
    json_writer_init(&writer, out);
    json_begin_object(&writer);
    json_field_u64(&writer, "schema", SCHEMA);
    json_field_string(&writer, "run_id", facts->run_id);
    side_report_put_text(&writer, "started_at", training->run.started_at);
    json_field_string(&writer, "engine", row->side->engine);
    json_field_string(&writer, "cell_id", id);
    side_report_put_cell(&writer, cell);
    json_field_double(&writer, "learning_rate", cell_learning_rate(cell));
    json_field_string(&writer, "data", facts->data_name);
    json_field_string(&writer, "data_hash", cell->data_hash);
    json_field_u64(&writer, "steps", facts->steps_count);
    json_field_u64(&writer, "steps_done", training->steps_done);
    json_field_string(&writer, "verdict", verdict_name(row->verdict));
    json_put_key(&writer, "reasons");
    reasons_write(&row->reasons, &writer);
    put_summary(&writer, training);
    put_difference(&writer, row);
    side_report_put_worker(&writer, &training->run);
    json_field_double(&writer, "total_ms", (double)training->run.total_ns / (double)NS_PER_MS);
    json_field_string(&writer, "environment_id", facts->environment_id);
    json_field_string(&writer, "harness", version_harness());
    json_field_raw(&writer, "command", facts->command_json);
    put_numbers(&writer, "losses", training->losses, training->steps_done);
    put_numbers(&writer, "grad_norms", training->norms, training->steps_done);
    json_end_object(&writer);
    buf_append_char(out, '\n');
}

/* --- rows of steps --- */

/* Empty where it is no number. */
static void append_value(double value, struct buf *out)
{
    char text[NUM_TEXT_BYTES] = "";
    if (isfinite(value))
        num_format_double(value, text);
    buf_append_text(out, text);
}

void stability_report_csv(const struct stability_facts *facts, const struct stability_row *row,
                          struct buf *out)
{
    if (row == NULL) {
        buf_append_text(out, "run_id,engine,precision,step,loss,grad_norm\r\n");
        return;
    }
    for (uint32_t i = 0; i < row->training.steps_done; i++) {
        buf_appendf(out, "%s,", facts->run_id);
        csv_append_quoted(out, row->side->engine);
        buf_appendf(out, ",%s,%" PRIu32 ",", cell_precision_name(row->cell.precision), i + 1);
        append_value(row->training.losses[i], out);
        buf_append_char(out, ',');
        append_value(row->training.norms[i], out);
        buf_append_text(out, "\r\n");
    }
}

/* --- the table --- */

static const struct grid_column columns[] = {
    {"engine", "", false, 0},
    {"precision", "", false, 0},
    {"verdict", "", false, 0},
    {"steps", "", true, 0},
    {"loss_first", "nats", true, 0},
    {"loss_end", "nats", true, 0},
    {"loss_slope", "nats/step", true, 4},
    {"grad_p50", "", true, 2},
    {"grad_p95", "", true, 5},
    {"grad_max", "", true, 3},
    {"spikes", "", true, 0},
    {"imbalance", "", true, 6},
    {"difference", "", true, 0},
    {"tolerance", "", true, 1},
};

static void put_number(struct grid *grid, double value)
{
    char text[NUMBER_BYTES] = "-";
    if (isfinite(value))
        (void)snprintf(text, sizeof(text), value != 0 && fabs(value) < 0.01 ? "%.1e" : "%.4g",
                       value);
    grid_put(grid, GRID_PLAIN, text);
}

static void put_count(struct grid *grid, uint64_t count)
{
    char text[NUMBER_BYTES];
    (void)snprintf(text, sizeof(text), "%" PRIu64, count);
    grid_put(grid, GRID_PLAIN, text);
}

static void put_row(const struct stability_row *row, struct grid *grid)
{
    const struct training *training = &row->training;
    const struct curve_summary *summary = &training->summary;
    grid_put(grid, GRID_PLAIN, side_report_label(row->side, &training->run));
    grid_put(grid, GRID_PLAIN, cell_precision_name(row->cell.precision));
    grid_put(grid, table_verdict_color(row->verdict), verdict_name(row->verdict));
    put_count(grid, training->steps_done);
    put_number(grid, summary->loss_first);
    put_number(grid, summary->loss_end);
    put_number(grid, summary->loss_slope);
    put_number(grid, summary->norm_p50);
    put_number(grid, summary->norm_p95);
    put_number(grid, summary->norm_max);
    put_count(grid, summary->spikes_count);
    put_number(grid, training->imbalance_last);
    put_number(grid, row->has_reference ? row->difference.loss : (double)NAN);
    put_number(grid, row->tolerance);
}

/* What does not make a training invalid, but is worth a look. */
static void append_notes(const struct stability_row *row, struct buf *out)
{
    const char *label = side_report_label(row->side, &row->training.run);
    const char *precision = cell_precision_name(row->cell.precision);
    const struct curve_summary *summary = &row->training.summary;
    if (summary->spikes_count > 0)
        buf_appendf(out, "  %s %s: %zu loss spike%s, the highest at step %zu (%.1f deviations)\n",
                    label, precision, summary->spikes_count, num_plural(summary->spikes_count),
                    summary->spike_step, summary->spike_z);
    if (row->has_reference && row->verdict == VERDICT_OK)
        buf_appendf(out,
                    "  %s %s: %zu step%s, whose losses are within %.2g of those of %s; the largest "
                    "difference is at step %zu\n",
                    label, precision, row->difference.steps_count,
                    num_plural(row->difference.steps_count), row->difference.loss, row->reference,
                    row->difference.loss_step);
}

void stability_report_table(const struct stability_row *rows, size_t rows_count,
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
    buf_append_char(out, '\n');
    for (size_t i = 0; i < rows_count; i++)
        append_notes(&rows[i], out);
    if (!is_all_ok)
        buf_append_text(out, "\nNot ok:\n");
    for (size_t i = 0; i < rows_count; i++)
        side_report_problem(side_report_label(rows[i].side, &rows[i].training.run),
                            rows[i].cell.precision, rows[i].verdict, &rows[i].reasons,
                            style->columns, out);
}
