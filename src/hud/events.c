#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "hud/board.h"

static const char *text_of(const json_t *event, const char *key)
{
    const char *text = json_string_value(json_object_get(event, key));
    return text != NULL ? text : "";
}

static uint64_t count_of(const json_t *event, const char *key)
{
    json_int_t number = json_integer_value(json_object_get(event, key));
    return number > 0 ? (uint64_t)number : 0;
}

static uint64_t time_of(const json_t *event)
{
    uint64_t ms = count_of(event, "time_ms");
    return ms < UINT64_MAX / NS_PER_MS ? ms * NS_PER_MS : 0;
}

static double number_of(const json_t *event, const char *key)
{
    const json_t *value = json_object_get(event, key);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static uint64_t cell_key(const json_t *event)
{
    const char *id = hash_id_digits(text_of(event, "cell_id"));
    return hash_u64(id, strlen(id));
}

/* --- the plan --- */

static enum status take_cell(struct board *board, const json_t *cell, struct err *err)
{
    struct board_axes axes = {.seq_len = (uint32_t)count_of(cell, "seq_len"),
                              .batch_size = (uint32_t)count_of(cell, "batch_size")};
    uint32_t place = 0;
    TRY(lexicon_add(&board->words, text_of(cell, "framework"), &axes.engine, err));
    TRY(lexicon_add(&board->words, text_of(cell, "model"), &axes.model, err));
    TRY(lexicon_add(&board->words, text_of(cell, "device"), &axes.device, err));
    TRY(lexicon_add(&board->words, text_of(cell, "mode"), &axes.mode, err));
    TRY(lexicon_add(&board->words, text_of(cell, "precision"), &axes.precision, err));
    TRY(board_find_place(board, &axes, &place, err));
    board->places[place].is_planned = true;
    board->places[place].tokens_per_step = count_of(cell, "tokens_per_step");
    return lookup_set(&board->by_cell, cell_key(cell), place, err);
}

static void begin_run(struct board *board, const json_t *event)
{
    struct board_run *run = &board->run;
    *run = (struct board_run){.is_told = true, .place = LOOKUP_NONE, .median_ms = NAN};
    (void)snprintf(run->run_id, sizeof(run->run_id), "%s", text_of(event, "run_id"));
    run->pid = count_of(event, "pid");
    run->begin_ns = run->newest_ns = time_of(event);
    run->trials_count = count_of(event, "trials");
    run->cells_count = count_of(event, "cells_count");
    for (size_t i = 0; i < board->places_count; i++) {
        board->places[i].is_planned = false;
        if (board->places[i].state == BOARD_RUNNING)
            board->places[i].state = board->places[i].has_result ? BOARD_DONE : BOARD_PLANNED;
    }
    lookup_clear(&board->by_cell);
}

static enum status take_run(struct board *board, const json_t *event, struct err *err)
{
    size_t i;
    const json_t *cell;
    if (count_of(event, "first_cell") == 0)
        begin_run(board, event);
    json_array_foreach(json_object_get(event, "cells"), i, cell) TRY(take_cell(board, cell, err));
    board->version++;
    return STATUS_OK;
}

/* --- a trial --- */

static void take_trial(struct board *board, const json_t *event)
{
    struct board_run *run = &board->run;
    if (strcmp(text_of(event, "state"), "skipped") == 0) {
        run->done_count++;
        return;
    }
    run->place = lookup_get(&board->by_cell, cell_key(event));
    run->is_at_work = true;
    run->is_canary = json_is_true(json_object_get(event, "is_sentinel"));
    run->trial = count_of(event, "trial");
    run->cell_begin_ns = time_of(event);
    run->steps_done = run->samples_count = run->set_aside_count = 0;
    run->step_ms = run->median_ms = run->median_low = run->median_high = NAN;
    run->remaining_ms = run->loss = run->rss_mb = NAN;
    run->phase[0] = '\0';
    run->steps.count = run->widths.count = 0;
    if (run->place != LOOKUP_NONE && !run->is_canary)
        board->places[run->place].state = BOARD_RUNNING;
    board->version++;
}

static void take_block(struct board_run *run, const json_t *event)
{
    bool is_warmup = strcmp(text_of(event, "phase"), "warmup") == 0;
    run->step_ms = number_of(event, "ms_per_step");
    run->steps_done = count_of(event, "steps_done");
    run->samples_count = count_of(event, "samples");
    run->set_aside_count = count_of(event, "set_aside_steps");
    run->median_ms = number_of(event, "ms_p50");
    run->median_low = number_of(event, "ms_p50_low");
    run->median_high = number_of(event, "ms_p50_high");
    run->remaining_ms = number_of(event, "remaining_ms");
    run->loss = number_of(event, "loss");
    if (isfinite(run->step_ms))
        board_series_add(&run->steps, run->step_ms, is_warmup);
    double low = run->median_ms - run->median_low;
    double high = run->median_high - run->median_ms;
    double width = 100 * (low > high ? low : high) / run->median_ms;
    if (isfinite(width))
        board_series_add(&run->widths, width, false);
}

/* What is known by name is said in words; other numbers by their keys. `reason`: why there is none.
 */
static int format_gauge(const char *key, const json_t *value, const char *reason, char *text,
                        size_t text_bytes)
{
    static const struct {
        const char *key, *word, *unit;
    } known[] = {{"cpu_mhz", "clock", "MHz"},
                 {"gpu_sm_mhz", "clock", "MHz"},
                 {"power_w", "power", "W"},
                 {"gpu_temperature_c", "heat",
                  "\xC2\xB0"
                  "C"},
                 {"gpu_used_mb", "card", "MiB"}};
    double number = json_number_value(value);
    for (size_t i = 0; i < ARRAY_COUNT(known); i++) {
        if (strcmp(key, known[i].key) != 0)
            continue;
        if (json_is_number(value))
            return snprintf(text, text_bytes, "%s %.*f %s", known[i].word, number < 10 ? 1 : 0,
                            number, known[i].unit);
        int length = snprintf(text, text_bytes, "%s n/a (%s)", known[i].word, reason);
        for (char *at = text; (at = strchr(at, '_')) != NULL;)
            *at = ' ';
        return length;
    }
    return json_is_number(value) ? snprintf(text, text_bytes, "%s %.4g", key, number) : 0;
}

/* Whatever a line of telemetry holds beside what has a place of its own. A line without any leaves
 * what was said before: that is of the machine, not of the cell. */
static void take_telemetry(struct board_run *run, json_t *event)
{
    const char *key;
    json_t *value;
    const json_t *reasons = json_object_get(event, "null_reasons");
    char all[BOARD_TEXT_BYTES] = "";
    size_t length = 0;
    run->rss_mb = number_of(event, "rss_mb");
    run->available_mb = number_of(event, "available_mb");
    json_object_foreach(event, key, value)
    {
        char text[BOARD_TEXT_BYTES];
        bool is_own = strcmp(key, "time_ms") == 0 || strcmp(key, "trial") == 0 ||
                      strcmp(key, "rss_mb") == 0 || strcmp(key, "available_mb") == 0;
        if (is_own || format_gauge(key, value, text_of(reasons, key), text, sizeof(text)) <= 0 ||
            length + 1 >= sizeof(all))
            continue;
        int more =
            snprintf(all + length, sizeof(all) - length, "%s%s", length > 0 ? "  " : "", text);
        length += more > 0 ? (size_t)more : 0;
    }
    if (length > 0)
        memcpy(run->telemetry, all, sizeof(all));
}

static void take_record(struct board *board, const json_t *event)
{
    struct board_run *run = &board->run;
    run->is_at_work = false;
    if (strcmp(text_of(event, "file"), "sentinel.jsonl") == 0)
        return;
    uint64_t now_ns = time_of(event);
    run->done_count++;
    run->measured_count++;
    run->measured_ns += now_ns > run->cell_begin_ns ? now_ns - run->cell_begin_ns : 0;
    uint32_t place = lookup_get(&board->by_cell, cell_key(event));
    if (place != LOOKUP_NONE && board->places[place].state == BOARD_RUNNING)
        board->places[place].state = board->places[place].has_result ? BOARD_DONE : BOARD_PLANNED;
    board->version++;
}

static void end_run(struct board *board, const json_t *event)
{
    struct board_run *run = &board->run;
    run->has_ended = true;
    run->is_at_work = false;
    run->exit_code = count_of(event, "exit_code");
    if (run->place != LOOKUP_NONE && board->places[run->place].state == BOARD_RUNNING)
        board->places[run->place].state =
            board->places[run->place].has_result ? BOARD_DONE : BOARD_PLANNED;
    board->version++;
}

static enum status take_event(struct board *board, json_t *event, struct err *err)
{
    struct board_run *run = &board->run;
    const char *name = text_of(event, "event");
    if (strcmp(name, "run") == 0)
        return take_run(board, event, err);
    if (!run->is_told)
        return STATUS_OK;
    uint64_t time_ns = time_of(event);
    uint64_t gap_ns = time_ns > run->newest_ns ? time_ns - run->newest_ns : 0;
    run->gap_ns = gap_ns > run->gap_ns ? gap_ns : run->gap_ns;
    run->newest_ns = time_ns > 0 ? time_ns : run->newest_ns;
    if (strcmp(name, "cell") == 0)
        take_trial(board, event);
    else if (strcmp(name, "phase") == 0)
        (void)snprintf(run->phase, sizeof(run->phase), "%s", text_of(event, "phase"));
    else if (strcmp(name, "block") == 0)
        take_block(run, event);
    else if (strcmp(name, "telemetry") == 0)
        take_telemetry(run, event);
    else if (strcmp(name, "record") == 0)
        take_record(board, event);
    else if (strcmp(name, "end") == 0)
        end_run(board, event);
    return STATUS_OK;
}

enum status board_take_event(struct board *board, const char *line, size_t line_bytes,
                             struct err *err)
{
    json_t *event = json_loadb(line, line_bytes, 0, NULL);
    enum status status = json_is_object(event) ? take_event(board, event, err) : STATUS_OK;
    json_decref(event);
    return status;
}

uint64_t board_remaining_ns(const struct board_run *run, uint64_t now_ns)
{
    uint64_t total = run->cells_count * run->trials_count;
    uint64_t cell_ns = run->remaining_ms > 0 && run->remaining_ms < 1e12
                           ? (uint64_t)(run->remaining_ms * (double)NS_PER_MS)
                           : 0;
    if (!run->is_told || run->has_ended || run->done_count >= total)
        return 0;
    uint64_t spent_ns = now_ns > run->cell_begin_ns ? now_ns - run->cell_begin_ns : 0;
    uint64_t each_ns =
        run->measured_count > 0 ? run->measured_ns / run->measured_count : spent_ns + cell_ns;
    bool is_known = run->measured_count > 0 || cell_ns > 0;
    return is_known ? cell_ns + (total - run->done_count - 1) * each_ns : 0;
}
