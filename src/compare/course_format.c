#include "compare/course_format.h"

const struct course_format course_formats[] = {
    {"text", "a line a cell and metric with its course, and a line a step", course_write_text},
    {"json", "an object a cell and metric with its points and steps", course_write_json},
    {NULL, NULL, NULL},
};

enum status course_flush(const struct course_output *output, struct buf *out, struct err *err)
{
    if (out->failed)
        return ERR(err, STATUS_NOMEM, "no memory for the text");
    enum status status = output->sink(output->sink_context, out->data, out->length_bytes, err);
    buf_reset(out);
    return status;
}

const char *course_step_word(const struct course *course, const struct course_step *step)
{
    switch (fact_of(course->metric->fact)->better) {
    case FACT_BETTER_HIGHER: return step->after > step->before ? "better" : "worse";
    case FACT_BETTER_LOWER: return step->after < step->before ? "better" : "worse";
    case FACT_BETTER_EXACT:
    case FACT_BETTER_NONE: break;
    }
    return "changed";
}
