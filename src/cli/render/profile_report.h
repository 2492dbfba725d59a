/* cli/render/profile_report.h - what `tokmark profile` prints. */
#ifndef CLI_RENDER_PROFILE_REPORT_H
#define CLI_RENDER_PROFILE_REPORT_H

#include "base/buf.h"
#include "drive/profile.h"
#include "spec/cell.h"

/* Pointers are borrowed: for the call. */
struct profile_page {
    const struct cell *cell;
    const struct profile *profile;
    const char *trace_path;
    double peak_flops; /* of a matmul on the device in the cell's precision; 0 = not known */
};

/* The operators that took longest, as a table. */
void profile_report_text(const struct profile_page *page, struct buf *out);
/* One line, with all operators that the worker lists. */
void profile_report_json(const struct profile_page *page, struct buf *out);

#endif
