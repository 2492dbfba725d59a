#include "compare/course_format.h"

const struct course_format course_formats[] = {
    {"text", "a line a cell and metric with its course, and a line a step", course_write_text},
    {"json", "an object a cell and metric with its points and steps", course_write_json},
    {NULL, NULL, NULL},
};

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
