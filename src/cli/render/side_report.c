#include "cli/render/side_report.h"

#include <string.h>

#include "base/wrap.h"

#define LINE_BYTES_MAX (1 << 20)

const char *side_report_label(const struct check_side *side, const struct worker_run *run)
{
    bool is_command = strncmp(side->engine, "exec:", 5) == 0;
    return is_command && run->has_hello ? run->hello.engine : side->cell.framework;
}

void side_report_put_text(struct json_writer *writer, const char *key, const char *text)
{
    if (text[0] != '\0')
        json_field_string(writer, key, text);
    else
        json_field_null(writer, key);
}

void side_report_put_cell(struct json_writer *writer, const struct cell *cell)
{
    char device[2 * CELL_WORD_BYTES];
    cell_device_text(cell, device);
    json_field_string(writer, "model", cell->model.name);
    json_field_string(writer, "device", device);
    json_field_string(writer, "precision", cell_precision_name(cell->precision));
    json_field_string(writer, "mode", cell_mode_name(cell->mode));
    json_field_u64(writer, "seq_len", cell->seq_len);
    json_field_u64(writer, "batch_size", cell->batch_size);
    json_field_u64(writer, "seed", cell->seed);
    json_field_string(writer, "weights_hash", cell->weights_hash);
}

void side_report_put_worker(struct json_writer *writer, const struct worker_run *run)
{
    side_report_put_text(writer, "worker", run->hello.engine);
    side_report_put_text(writer, "engine_version", run->hello.engine_version);
    side_report_put_text(writer, "model_source", run->ready.model_source);
    side_report_put_text(writer, "dtype_param", run->ready.dtype_param);
    side_report_put_text(writer, "dtype_compute", run->ready.dtype_compute);
    side_report_put_text(writer, "dtype_accumulate", run->ready.dtype_accumulate);
    side_report_put_text(writer, "backend", run->ready.backend);
    side_report_put_text(writer, "log_tail", run->log_tail);
}

void side_report_problem(const char *label, enum cell_precision precision, enum verdict verdict,
                         const struct reasons *reasons, size_t width, struct buf *out)
{
    struct buf line;
    if (verdict == VERDICT_OK)
        return;
    buf_init(&line, LINE_BYTES_MAX);
    buf_appendf(&line, "%s %s: %s", label, cell_precision_name(precision), verdict_name(verdict));
    for (size_t i = 0; i < reasons->count; i++) {
        const struct reason *reason = &reasons->items[i];
        bool is_said = strcmp(reason->code, verdict_name(verdict)) == 0;
        buf_appendf(&line, "%s %s%s%s", i == 0 ? ":" : ";", is_said ? "" : reason->code,
                    is_said ? "" : ": ", reason->text);
    }
    buf_append_text(out, "  ");
    wrap_text(line.data, width, 2, 4, out);
    buf_release(&line);
}
