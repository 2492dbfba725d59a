/* report/format.h - the forms of a report, a file each. */
#ifndef REPORT_FORMAT_H
#define REPORT_FORMAT_H

#include "report/document.h"

struct report_output {
    const struct document *document; /* borrowed */
    size_t columns;                  /* of the terminal; 0 = no limit */
    bool is_ascii, has_color;
    /* The folder that links are relative to: that of the file that is written. Borrowed. */
    const char *folder;
};

struct report_format { /* borrowed: static */
    const char *name;
    const char *says; /* for help */
    void (*write)(const struct report_output *output, struct buf *out);
};

extern const struct report_format report_formats[];
extern const size_t report_formats_count;

/* More is refused: out->failed. */
#define REPORT_BYTES_MAX ((size_t)512 << 20)

void report_write_text(const struct report_output *output, struct buf *out);
void report_write_markdown(const struct report_output *output, struct buf *out);
void report_write_html(const struct report_output *output, struct buf *out);

/* --- what they share --- */

/* The path of a cell's raw samples from the output's folder, as a link: percent-encoded. Nothing
 * where that file is not there. */
void report_append_link(const struct report_output *output, const struct report_cell *cell,
                        struct buf *out);
/* A chart as bars of text: a line each point, in at most `columns` columns (0 = 100). */
void report_append_plot(const struct document *document, const struct chart *chart, size_t columns,
                        bool is_ascii, struct buf *out);

struct grid;
/* A table's cell with its colour; `has_sign`: with the sign of its tone before it. */
void report_put_cell(const struct table_cell *cell, bool has_sign, struct grid *grid);

#endif
