/* compare/format.h - the forms in which a comparison is written: one file each, one row of the
 * list.
 */
#ifndef COMPARE_FORMAT_H
#define COMPARE_FORMAT_H

#include "base/buf.h"
#include "compare/comparison.h"

/* Takes what was written so far. */
typedef enum status compare_sink(void *context, const char *bytes, size_t bytes_count,
                                 struct err *err);

/* Pointers are borrowed: until the output is released. */
struct compare_output {
    const struct comparison *comparison;
    bool has_gate, is_lenient;
    double gate_percent;
    const char *comment_id; /* of the hidden marker of a comment */
    compare_sink *sink;
    void *sink_context;
    struct buf text; /* not handed over yet */
};

/* Texts are borrowed: literals. */
struct compare_format {
    const char *name;
    const char *says; /* for help */
    enum status (*write)(struct compare_output *output, struct err *err);
};

extern const struct compare_format compare_formats[];
extern const size_t compare_formats_count;

/* Starts an output with no text. */
void compare_output_init(struct compare_output *output);
void compare_output_release(struct compare_output *output);
/* Hands the text over, if there is enough of it to be worth that, or all of it. */
MUST_CHECK enum status compare_output_flush(struct compare_output *output, bool is_all,
                                            struct err *err);

enum status compare_write_text(struct compare_output *output, struct err *err);
enum status compare_write_markdown(struct compare_output *output, struct err *err);
enum status compare_write_json(struct compare_output *output, struct err *err);
enum status compare_write_junit(struct compare_output *output, struct err *err);

#endif
