/* compare/course_format.h - the forms in which courses are written. */
#ifndef COMPARE_COURSE_FORMAT_H
#define COMPARE_COURSE_FORMAT_H

#include <stdbool.h>

#include "compare/course.h"
#include "compare/format.h"

/* Pointers are borrowed: for one call of write(). */
struct course_output {
    const struct courses *courses;
    bool shows_steps_only; /* courses without a step are left out */
    bool is_ascii;         /* the screen shows no other characters */
    compare_sink *sink;
    void *sink_context;
};

/* Texts are borrowed: literals. */
struct course_format {
    const char *name;
    const char *says; /* for help */
    enum status (*write)(const struct course_output *output, struct err *err);
};

/* Ends with a row without a name. */
extern const struct course_format course_formats[];

enum status course_write_text(const struct course_output *output, struct err *err);
enum status course_write_json(const struct course_output *output, struct err *err);

/* Hands the text over and empties it. */
MUST_CHECK enum status course_flush(const struct course_output *output, struct buf *out,
                                    struct err *err);

/* "better", "worse" or "changed", by the metric's direction. */
const char *course_step_word(const struct course *course, const struct course_step *step);

#endif
