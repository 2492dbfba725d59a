#include <inttypes.h>
#include <math.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json_write.h"
#include "hud/scene.h"

#define COLUMNS_DEFAULT 80
#define COLUMNS_LEAST   40
/* Rows of the screen beside those of cells; and so many that all of it is there. */
#define ROWS_BESIDE 12
#define ROWS_LEAST  22
#define LINE_BYTES  4096
#define LOOK_MS     1000
#define SLICE_NS    (100 * NS_PER_MS)

/* --- JSON --- */

static void put_place(const struct scene *scene, const struct board_place *place,
                      enum screen_state state, struct json_writer *writer)
{
    static const char *const states[] = {"planned", "running", "done"};
    const struct lexicon *words = &scene->board.words;
    json_begin_object(writer);
    json_field_string(writer, "framework", lexicon_text(words, place->axes.engine));
    json_field_string(writer, "model", lexicon_text(words, place->axes.model));
    json_field_string(writer, "device", lexicon_text(words, place->axes.device));
    json_field_string(writer, "mode", lexicon_text(words, place->axes.mode));
    json_field_string(writer, "precision", lexicon_text(words, place->axes.precision));
    json_field_u64(writer, "seq_len", place->axes.seq_len);
    json_field_u64(writer, "batch_size", place->axes.batch_size);
    bool is_cut_off = place->state == BOARD_RUNNING && state == SCREEN_STALE;
    json_field_string(writer, "state", is_cut_off ? "cut off" : states[place->state]);
    json_put_key(writer, "verdict");
    if (place->verdict < VERDICT_COUNT)
        json_put_string(writer, verdict_name(place->verdict));
    else
        json_put_null(writer);
    json_field_u64(writer, "trials", place->trials_count);
    json_field_bool(writer, "synthetic", place->is_synthetic);
    json_field_string(writer, "reason", lexicon_text(words, place->reason));
    for (enum board_metric i = 0; i < BOARD_METRICS_COUNT; i++)
        json_field_double(writer, board_metric_name(i), place->values[i]);
    json_field_double(writer, "ms_p50_low", place->median_low);
    json_field_double(writer, "ms_p50_high", place->median_high);
    json_end_object(writer);
}

static void put_run(const struct scene *scene, const struct screen_facts *facts,
                    struct json_writer *writer)
{
    const struct board_run *run = &scene->board.run;
    json_put_key(writer, "run");
    if (!run->is_told) {
        json_put_null(writer);
        return;
    }
    json_begin_object(writer);
    json_field_string(writer, "run_id", run->run_id);
    json_field_u64(writer, "cells_count", run->cells_count);
    json_field_u64(writer, "trials", run->trials_count);
    json_field_u64(writer, "done", run->done_count);
    json_field_u64(writer, "newest_event_ms", run->newest_ns / NS_PER_MS);
    json_field_string(writer, "phase", run->is_at_work ? run->phase : "");
    json_field_double(writer, "eta_ms",
                      (double)board_remaining_ns(run, facts->now_ns) / (double)NS_PER_MS);
    json_field_double(writer, "rss_mb", run->rss_mb);
    json_put_key(writer, "exit_code");
    if (run->has_ended)
        json_put_u64(writer, run->exit_code);
    else
        json_put_null(writer);
    json_end_object(writer);
}

static void put_scene(const struct scene *scene, struct buf *out)
{
    struct json_writer writer;
    struct buf filters;
    const struct screen_facts facts = scene_facts(scene);
    const char *state = screen_state_word(facts.state);
    buf_init(&filters, LINE_BYTES);
    view_describe_filters(&scene->view, &scene->board, &filters);
    json_writer_init(&writer, out);
    json_begin_object(&writer);
    json_field_string(&writer, "path", facts.name);
    json_field_string(&writer, "state", state[0] != '\0' ? state : "RECORDS");
    json_field_u64(&writer, "time_ms", facts.now_ns / NS_PER_MS);
    json_field_u64(&writer, "records", scene->board.records_count);
    json_field_u64(&writer, "bad_lines", scene->board.bad_count);
    json_field_u64(&writer, "newest_record_ms", facts.newest_ns / NS_PER_MS);
    json_field_string(&writer, "filters", filters.data);
    json_field_string(&writer, "metric", board_metric_name(scene->view.metric));
    put_run(scene, &facts, &writer);
    json_put_key(&writer, "cells");
    json_begin_array(&writer);
    for (size_t i = 0; i < scene->view.shown_count; i++)
        put_place(scene, &scene->board.places[scene->view.shown[i]], facts.state, &writer);
    json_end_array(&writer);
    json_end_object(&writer);
    buf_append_char(out, '\n');
    buf_release(&filters);
}

static enum status read_once(struct scene *scene, const struct hud_options *options,
                             struct err *err)
{
    enum status status = scene_open(scene, options, false, err);
    if (status == STATUS_OK)
        status = scene_read_all(scene, err);
    return status == STATUS_OK ? scene_press_keys(scene, err) : status;
}

enum status hud_append_json(const struct hud_options *options, struct buf *out, struct err *err)
{
    struct scene *scene = calloc(1, sizeof(*scene));
    if (scene == NULL)
        return ERR(err, STATUS_NOMEM, "no memory for the HUD");
    enum status status = read_once(scene, options, err);
    if (status == STATUS_OK)
        put_scene(scene, out);
    scene_close(scene);
    free(scene);
    return status;
}

/* --- text --- */

static enum status append_picture(struct scene *scene, size_t columns, struct buf *out,
                                  struct err *err)
{
    size_t cells = scene->view.is_plot ? scene->view.shown_count : scene->view.rows_count;
    size_t rows = ROWS_BESIDE + (cells < CANVAS_ROWS_MAX ? cells : CANVAS_ROWS_MAX);
    rows = rows < ROWS_LEAST ? ROWS_LEAST : rows;
    columns = columns == 0 ? COLUMNS_DEFAULT : columns < COLUMNS_LEAST ? COLUMNS_LEAST : columns;
    TRY(canvas_resize(&scene->screen.canvas, rows, columns, err));
    const struct screen_facts facts = scene_facts(scene);
    screen_draw(&scene->screen, &scene->board, &scene->view, &facts);
    canvas_append_text(&scene->screen.canvas, out);
    return STATUS_OK;
}

enum status hud_append_text(const struct hud_options *options, size_t columns, struct buf *out,
                            struct err *err)
{
    struct scene *scene = calloc(1, sizeof(*scene));
    if (scene == NULL)
        return ERR(err, STATUS_NOMEM, "no memory for the HUD");
    enum status status = read_once(scene, options, err);
    if (status == STATUS_OK)
        status = append_picture(scene, columns, out, err);
    scene_close(scene);
    free(scene);
    return status;
}

/* --- lines --- */

/* Through a canvas, so that texts from outside are as safe as on the screen. */
static enum status append_line(struct scene *scene, struct buf *out, struct err *err)
{
    struct canvas *canvas = &scene->screen.canvas;
    const struct board *board = &scene->board;
    const struct board_run *run = &board->run;
    const struct screen_facts facts = scene_facts(scene);
    char value[NUM_TEXT_BYTES];
    struct buf name;
    TRY(canvas_resize(canvas, 1, CANVAS_COLUMNS_MAX, err));
    size_t end = canvas->columns;
    size_t at = 0;
    if (run->is_told)
        at = canvas_putf(canvas, 0, at, end, CANVAS_PLAIN, "[%" PRIu64 "/%" PRIu64 "] %s  ",
                         run->done_count, run->cells_count * run->trials_count,
                         screen_state_word(facts.state));
    at = canvas_putf(canvas, 0, at, end, CANVAS_PLAIN, "%" PRIu64 " records, %" PRIu64 " bad lines",
                     board->records_count, board->bad_count);
    if (board->newest != LOOKUP_NONE) {
        const struct board_place *place = &board->places[board->newest];
        buf_init(&name, LINE_BYTES);
        view_describe_place(&scene->view, board, board->newest, true, &name);
        screen_format_value(place->values[BOARD_TOKENS], value);
        (void)canvas_putf(
            canvas, 0, at, end, CANVAS_PLAIN, "; newest: %s: %s, %s tokens/s", name.data,
            place->verdict < VERDICT_COUNT ? verdict_name(place->verdict) : "no verdict", value);
        buf_release(&name);
    }
    canvas_append_text(canvas, out);
    return STATUS_OK;
}

static enum status tell(struct scene *scene, hud_line *take, void *context, bool *ret_goes_on,
                        struct err *err)
{
    struct buf line;
    buf_init(&line, LINE_BYTES);
    enum status status = append_line(scene, &line, err);
    *ret_goes_on = status == STATUS_OK && take(context, line.data);
    buf_release(&line);
    return status;
}

static enum status follow(struct scene *scene, hud_line *take, void *context, struct err *err)
{
    const struct hud_options *options = scene->options;
    uint64_t told = UINT64_MAX;
    bool goes_on = true;
    while (goes_on && *options->interrupt == 0) {
        bool is_more = false;
        TRY(tail_read(scene->tail, &scene->board, SLICE_NS, &is_more, err));
        uint64_t now = scene->board.version + scene->board.bad_count;
        if (!is_more && now != told) {
            told = now;
            TRY(tell(scene, take, context, &goes_on, err));
        }
        if (!is_more && scene->board.run.has_ended)
            return STATUS_OK;
        struct pollfd polled[] = {{.fd = tail_fd(scene->tail), .events = POLLIN},
                                  {.fd = options->wake_fd, .events = POLLIN}};
        if (!is_more)
            (void)poll(polled, ARRAY_COUNT(polled), LOOK_MS);
    }
    return STATUS_OK;
}

enum status hud_follow_lines(const struct hud_options *options, hud_line *take, void *context,
                             struct err *err)
{
    struct scene *scene = calloc(1, sizeof(*scene));
    if (scene == NULL)
        return ERR(err, STATUS_NOMEM, "no memory for the HUD");
    enum status status = scene_open(scene, options, true, err);
    if (status == STATUS_OK)
        status = follow(scene, take, context, err);
    scene_close(scene);
    free(scene);
    return status;
}
