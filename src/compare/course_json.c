/* One JSON object with a line a cell and metric, for programs. */
#include <string.h>

#include "base/json_write.h"
#include "compare/course_format.h"

#define SCHEMA         "tokmark.history/1"
#define TEXT_BYTES_MAX ((size_t)1 << 28)

static void put_change(void *context, const char *name, const char *base, const char *now)
{
    struct json_writer *writer = context;
    json_begin_object(writer);
    json_field_string(writer, "name", name);
    json_field_string(writer, "before", base);
    json_field_string(writer, "after", now);
    json_end_object(writer);
}

static void put_step(const struct course_output *output, const struct course *course,
                     const struct course_step *step, struct json_writer *writer)
{
    json_begin_object(writer);
    json_field_u64(writer, "at", step->at);
    json_field_string(writer, "started_at", course->points[step->at].started_at);
    json_field_double(writer, "before", step->before);
    json_field_double(writer, "after", step->after);
    if (step->before > 0)
        json_field_double(writer, "change_percent", 100 * (step->after / step->before - 1));
    else
        json_field_null(writer, "change_percent");
    json_field_string(writer, "verdict", course_step_word(course, step));
    json_put_key(writer, "changed");
    json_begin_array(writer);
    courses_explain(output->courses, course, step, put_change, writer);
    json_end_array(writer);
    json_end_object(writer);
}

static void put_course(const struct course_output *output, const struct course_name *name,
                       const struct course *course, struct json_writer *writer)
{
    const struct fact *fact = fact_of(course->metric->fact);
    json_begin_object(writer);
    json_field_string(writer, "engine", name->engine);
    json_field_string(writer, "model", name->model);
    json_field_string(writer, "device", name->device);
    json_field_string(writer, "mode", name->mode);
    json_field_string(writer, "precision", name->precision);
    json_field_u64(writer, "seq_len", name->seq_len);
    json_field_u64(writer, "batch_size", name->batch_size);
    json_field_bool(writer, "synthetic", name->is_synthetic);
    json_field_string(writer, "metric", fact->name);
    json_field_string(writer, "unit", fact->unit);
    json_field_string(writer, "better", fact_better_name(fact->better));
    json_field_bool(writer, "too_few_runs", course->is_too_short);
    json_put_key(writer, "points");
    json_begin_array(writer);
    for (size_t i = 0; i < course->points_count; i++) {
        json_begin_array(writer);
        json_put_string(writer, course->points[i].started_at);
        json_put_double(writer, course->points[i].value);
        json_end_array(writer);
    }
    json_end_array(writer);
    json_put_key(writer, "steps");
    json_begin_array(writer);
    for (size_t i = 0; i < course->steps_count; i++)
        put_step(output, course, &course->steps[i], writer);
    json_end_array(writer);
    json_end_object(writer);
}

enum status course_write_json(const struct course_output *output, struct err *err)
{
    const struct courses_summary *summary = courses_summary(output->courses);
    struct buf out CLEANUP(buf_release);
    bool is_first = true;
    buf_init(&out, TEXT_BYTES_MAX);
    buf_append_text(&out, "{\"schema\":\"" SCHEMA "\",\"courses\":[");
    for (size_t cell = 0; cell < summary->cells_count; cell++) {
        struct course_name name = courses_name(output->courses, cell);
        for (size_t i = 0; i < courses_metrics(output->courses)->count; i++) {
            struct json_writer writer;
            struct course course CLEANUP(course_release) = {0};
            TRY(courses_get(output->courses, cell, i, &course, err));
            if (course.points_count == 0 || (output->shows_steps_only && course.steps_count == 0))
                continue;
            buf_append_text(&out, is_first ? "\n" : ",\n");
            is_first = false;
            json_writer_init(&writer, &out);
            put_course(output, &name, &course, &writer);
            TRY(course_flush(output, &out, err));
        }
    }
    buf_append_text(&out, "\n]}\n");
    return course_flush(output, &out, err);
}
