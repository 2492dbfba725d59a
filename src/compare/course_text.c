/* For a terminal and for logs: a line a cell and metric, with its course as a row of bars, and a
 * line a step with what has changed there. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/num.h"
#include "compare/course_format.h"
#include "compare/phrase.h"

#define TEXT_BYTES_MAX   ((size_t)1 << 24)
#define NAME_BYTES_MAX   120
#define CHANGE_BYTES_MAX 80
#define BARS_MAX         48
#define CHANGES_MAX      8 /* of what differs at a step */

/* --- the row of bars --- */

/* Bars from the lowest value of all to the highest; a long course is put together to `BARS_MAX`
 * geometric means. */
static void append_bars(const struct course *course, bool is_ascii, struct buf *out)
{
    static const char *const blocks[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    static const char *const letters[] = {"_", ".", "-", "~", "=", "+", "*", "#"};
    size_t bars_count = course->points_count < BARS_MAX ? course->points_count : BARS_MAX;
    double bars[BARS_MAX];
    double low = INFINITY, high = -INFINITY;
    for (size_t i = 0; i < bars_count; i++) {
        size_t from = i * course->points_count / bars_count;
        size_t to = (i + 1) * course->points_count / bars_count;
        double sum = 0;
        for (size_t j = from; j < to; j++)
            sum += course->points[j].value;
        bars[i] = sum / (double)(to - from);
        low = fmin(low, bars[i]);
        high = fmax(high, bars[i]);
    }
    for (size_t i = 0; i < bars_count; i++) {
        double share = high > low ? (bars[i] - low) / (high - low) : 0;
        const size_t tallest = ARRAY_COUNT(blocks) - 1;
        size_t height = (size_t)(share * (double)tallest + 0.5);
        buf_append_text(out, is_ascii ? letters[height] : blocks[height]);
    }
}

/* --- words --- */

static void append_name(const struct course_name *name, struct buf *out)
{
    const char *const parts[] = {name->engine, name->model, name->device, name->mode,
                                 name->precision};
    for (size_t i = 0; i < ARRAY_COUNT(parts); i++) {
        if (parts[i][0] == '\0')
            continue;
        phrase_append_text(parts[i], NAME_BYTES_MAX, out);
        buf_append_char(out, ' ');
    }
    buf_appendf(out, "seq %zu batch %zu%s\n", name->seq_len, name->batch_size,
                name->is_synthetic ? "  SYNTHETIC: made up by the sandbox" : "");
}

/* "2026-11-28 10:31"; a run without a time is told by its number. */
static void append_time(const struct course *course, size_t at, struct buf *out)
{
    const char *time = course->points[at].started_at;
    if (strlen(time) < strlen("2026-11-28T10:31"))
        buf_appendf(out, "run %zu", at + 1);
    else
        buf_appendf(out, "%.10s %.5s", time, time + strlen("2026-11-28T"));
}

struct changes {
    struct buf *out; /* borrowed */
    size_t count;
};

static void append_change(void *context, const char *name, const char *base, const char *now)
{
    struct changes *changes = context;
    if (changes->count++ >= CHANGES_MAX)
        return;
    buf_append_text(changes->out, "        ");
    phrase_append_text(name, CHANGE_BYTES_MAX, changes->out);
    buf_append_text(changes->out, ": ");
    phrase_append_text(base, CHANGE_BYTES_MAX, changes->out);
    buf_append_text(changes->out, " -> ");
    phrase_append_text(now, CHANGE_BYTES_MAX, changes->out);
    buf_append_char(changes->out, '\n');
}

static void append_step(const struct course_output *output, const struct course *course,
                        size_t index, struct buf *out)
{
    const struct course_step *step = &course->steps[index];
    size_t from = index > 0 ? course->steps[index - 1].at : 0;
    size_t to =
        index + 1 < course->steps_count ? course->steps[index + 1].at : course->points_count;
    struct changes changes = {out, 0};
    buf_append_text(out, "      ");
    append_time(course, step->at, out);
    buf_append_text(out, "  ");
    if (step->before > 0)
        buf_appendf(out, "%+.1f %%  ", 100 * (step->after / step->before - 1));
    phrase_append_value(course->metric, step->before, out);
    buf_append_text(out, " -> ");
    phrase_append_value(course->metric, step->after, out);
    buf_appendf(out, "  %s  (%zu run%s before, %zu from here)\n", course_step_word(course, step),
                step->at - from, num_plural(step->at - from), to - step->at);
    courses_explain(output->courses, course, step, append_change, &changes);
    if (changes.count == 0)
        buf_append_text(out, "        nothing that records hold has changed here\n");
    else if (changes.count > CHANGES_MAX)
        buf_appendf(out, "        and %zu more\n", changes.count - CHANGES_MAX);
}

static void append_course(const struct course_output *output, const struct course *course,
                          struct buf *out)
{
    const struct fact *fact = fact_of(course->metric->fact);
    buf_appendf(out, "    %s%s%s", fact->name, fact->unit[0] != '\0' ? ", " : "", fact->unit);
    buf_append_text(out, "  ");
    append_bars(course, output->is_ascii, out);
    buf_append_text(out, "  ");
    phrase_append_value(course->metric, course->points[course->points_count - 1].value, out);
    buf_appendf(out, "  %zu run%s", course->points_count, num_plural(course->points_count));
    if (course->is_too_short)
        buf_append_text(out, ", too few to look for steps");
    else if (course->steps_count == 0)
        buf_append_text(out, ", no step");
    buf_append_char(out, '\n');
    for (size_t i = 0; i < course->steps_count; i++)
        append_step(output, course, i, out);
}

/* --- the whole --- */

static enum status write_cell(const struct course_output *output, size_t cell, struct buf *out,
                              size_t *shown_count, struct err *err)
{
    struct course_name name = courses_name(output->courses, cell);
    bool has_name = false;
    for (size_t i = 0; i < courses_metrics(output->courses)->count; i++) {
        struct course course CLEANUP(course_release) = {0};
        TRY(courses_get(output->courses, cell, i, &course, err));
        if (course.points_count == 0 || (output->shows_steps_only && course.steps_count == 0))
            continue;
        if (!has_name)
            append_name(&name, out);
        has_name = true;
        append_course(output, &course, out);
    }
    *shown_count += has_name;
    return has_name ? course_flush(output, out, err) : STATUS_OK;
}

enum status course_write_text(const struct course_output *output, struct err *err)
{
    const struct courses_summary *summary = courses_summary(output->courses);
    struct buf out CLEANUP(buf_release);
    size_t shown_count = 0;
    buf_init(&out, TEXT_BYTES_MAX);
    for (size_t cell = 0; cell < summary->cells_count; cell++)
        TRY(write_cell(output, cell, &out, &shown_count, err));
    if (shown_count == 0 && output->shows_steps_only)
        buf_appendf(&out, "no step in %zu cell%s\n", summary->cells_count,
                    num_plural(summary->cells_count));
    return course_flush(output, &out, err);
}
