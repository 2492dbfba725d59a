/* cli/render/side_report.h - what the lines and tables of calls that compare engines say alike. */
#ifndef CLI_RENDER_SIDE_REPORT_H
#define CLI_RENDER_SIDE_REPORT_H

#include "base/json_write.h"
#include "cli/check_setup.h"
#include "drive/worker_run.h"

/* The name that people see: the engine's, or what the worker calls itself. */
const char *side_report_label(const struct check_side *side, const struct worker_run *run);

/* Keys of a line, in an object that the caller has begun. */
void side_report_put_cell(struct json_writer *writer, const struct cell *cell);
void side_report_put_worker(struct json_writer *writer, const struct worker_run *run);
void side_report_put_text(struct json_writer *writer, const char *key, const char *text);

/* "  native fp32: invalid: CODE: TEXT" under a table; nothing for VERDICT_OK. */
void side_report_problem(const char *label, enum cell_precision precision, enum verdict verdict,
                         const struct reasons *reasons, size_t width, struct buf *out);

#endif
