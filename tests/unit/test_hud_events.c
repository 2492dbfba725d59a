#include <criterion/criterion.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "hud/board.h"

TestSuite(hud_events);

/* What a sweep of two cells and two trials tells, line by line, and what is made of it. Times are
 * in ms since 1970. */

static void tell(struct board *board, const char *format, ...) PRINTF_LIKE(2, 3);
static void tell(struct board *board, const char *format, ...)
{
    char line[4096];
    struct err err = {0};
    va_list args;
    va_start(args, format);
    int bytes = vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    cr_assert(bytes > 0 && (size_t)bytes < sizeof(line));
    cr_assert_eq(board_take_event(board, line, (size_t)bytes, &err), STATUS_OK, "%s", err.text);
}

static void tell_run(struct board *board, unsigned time_ms, unsigned first_cell)
{
    tell(board,
         "{\"event\":\"run\",\"time_ms\":%u,\"run_id\":\"r%u\",\"pid\":77,\"trials\":2,"
         "\"cells_count\":2,\"first_cell\":%u,\"cells\":[{\"cell_id\":\"h%u\",\"framework\":"
         "\"native\",\"model\":\"tiny\",\"device\":\"cpu\",\"mode\":\"train\",\"precision\":"
         "\"fp32\","
         "\"seq_len\":%u,\"batch_size\":3,\"tokens_per_step\":48}]}",
         time_ms, time_ms, first_cell, first_cell + 1, 16 + first_cell);
}

static void set_up(struct board *board)
{
    board_init(board);
    tell_run(board, 1000, 0);
    tell_run(board, 1000, 1);
    cr_assert_eq(board->places_count, 2);
}

static void tell_cell(struct board *board, unsigned time_ms, const char *id, const char *state)
{
    tell(board,
         "{\"event\":\"cell\",\"time_ms\":%u,\"cell_id\":\"%s\",\"trial\":1,\"is_sentinel\":false,"
         "\"state\":\"%s\"}",
         time_ms, id, state);
}

static void tell_record(struct board *board, unsigned time_ms, const char *id, const char *file)
{
    tell(board, "{\"event\":\"record\",\"time_ms\":%u,\"cell_id\":\"%s\",\"file\":\"%s\"}", time_ms,
         id, file);
}

Test(hud_events, the_plan_says_which_cells_there_are)
{
    struct board board;
    set_up(&board);
    const struct board_run *run = &board.run;
    cr_expect(run->is_told && run->pid == 77 && run->trials_count == 2 && run->cells_count == 2);
    cr_expect_str_eq(run->run_id, "r1000");
    cr_expect_eq(run->begin_ns, 1000 * NS_PER_MS);
    for (uint32_t i = 0; i < 2; i++) {
        const struct board_place *place = &board.places[i];
        cr_expect_eq(place->axes.seq_len, 16 + i);
        cr_expect_eq(place->axes.batch_size, 3);
        cr_expect_eq(place->tokens_per_step, 48);
        cr_expect(place->is_planned && place->state == BOARD_PLANNED);
        cr_expect_str_eq(lexicon_text(&board.words, place->axes.engine), "native");
        cr_expect_str_eq(lexicon_text(&board.words, place->axes.model), "tiny");
        cr_expect_str_eq(lexicon_text(&board.words, place->axes.device), "cpu");
        cr_expect_str_eq(lexicon_text(&board.words, place->axes.mode), "train");
        cr_expect_str_eq(lexicon_text(&board.words, place->axes.precision), "fp32");
    }
    /* another run over one of them: the other is no part of it */
    tell_run(&board, 9000, 0);
    cr_expect_str_eq(run->run_id, "r9000");
    cr_expect(board.places[0].is_planned && !board.places[1].is_planned);
    board_release(&board);
}

/* Trials that are there already are done, and say nothing of how long one takes. */
Test(hud_events, what_is_skipped_and_what_is_stored_is_done)
{
    struct board board;
    set_up(&board);
    const struct board_run *run = &board.run;
    tell_cell(&board, 1100, "h1", "skipped");
    cr_expect(run->done_count == 1 && run->measured_count == 0 && !run->is_at_work);
    tell_cell(&board, 2000, "h2", "started");
    cr_expect(run->is_at_work && run->place == 1 && run->trial == 1);
    cr_expect_eq(board.places[1].state, BOARD_RUNNING);
    tell_record(&board, 2400, "h9", "sentinel.jsonl");
    cr_expect_eq(run->done_count, 1, "the canary cell is none of the sweep's");
    tell_record(&board, 5000, "h2", "bench_results.jsonl");
    cr_expect(run->done_count == 2 && run->measured_count == 1 && !run->is_at_work);
    cr_expect_eq(run->measured_ns, 3000 * NS_PER_MS);
    cr_expect_eq(board.places[1].state, BOARD_PLANNED, "its record is not read yet");
    board_release(&board);
}

Test(hud_events, what_is_left_is_by_what_was_measured)
{
    struct board board;
    set_up(&board);
    const struct board_run *run = &board.run;
    cr_expect_eq(board_remaining_ns(run, 2000 * NS_PER_MS), 0, "nothing is known");
    tell_cell(&board, 2000, "h1", "started");
    tell(&board, "{\"event\":\"block\",\"time_ms\":2100,\"remaining_ms\":900}");
    /* three more trials like this one, which has taken 500 ms so far and takes 900 more */
    cr_expect_eq(board_remaining_ns(run, 2500 * NS_PER_MS), (900 + 3 * 1400) * NS_PER_MS);
    tell_record(&board, 4000, "h1", "bench_results.jsonl");
    tell_cell(&board, 4000, "h2", "started");
    cr_expect_eq(board_remaining_ns(run, 4100 * NS_PER_MS), 2 * 2000 * NS_PER_MS);
    tell(&board, "{\"event\":\"block\",\"time_ms\":4100,\"remaining_ms\":500}");
    cr_expect_eq(board_remaining_ns(run, 4100 * NS_PER_MS), (500 + 2 * 2000) * NS_PER_MS);
    tell(&board, "{\"event\":\"end\",\"time_ms\":4200,\"exit_code\":130}");
    cr_expect(run->has_ended && run->exit_code == 130 && !run->is_at_work);
    cr_expect_eq(board.places[1].state, BOARD_PLANNED);
    cr_expect_eq(board_remaining_ns(run, 4300 * NS_PER_MS), 0);
    board_release(&board);
}

Test(hud_events, a_block_is_told_and_a_new_cell_begins_anew)
{
    struct board board;
    set_up(&board);
    const struct board_run *run = &board.run;
    tell_cell(&board, 2000, "h1", "started");
    tell(&board, "{\"event\":\"phase\",\"time_ms\":2001,\"phase\":\"warmup\"}");
    cr_expect_str_eq(run->phase, "warmup");
    tell(&board, "{\"event\":\"block\",\"time_ms\":2002,\"phase\":\"warmup\",\"steps_done\":4,"
                 "\"ms_per_step\":8,\"loss\":3.5}");
    cr_expect_eq(run->widths.count, 0);
    tell(&board,
         "{\"event\":\"block\",\"time_ms\":2003,\"phase\":\"measure\",\"steps_done\":9,"
         "\"samples\":5,\"set_aside_steps\":2,\"ms_per_step\":6,\"ms_p50\":5,\"ms_p50_low\":4.5,"
         "\"ms_p50_high\":5.25,\"remaining_ms\":700,\"loss\":3.25}");
    cr_expect(run->steps_done == 9 && run->samples_count == 5 && run->set_aside_count == 2);
    cr_expect(run->step_ms == 6 && run->median_ms == 5 && run->median_low == 4.5);
    cr_expect(run->median_high == 5.25 && run->remaining_ms == 700 && run->loss == 3.25);
    cr_assert_eq(run->steps.count, 2);
    cr_expect(board_series_at(&run->steps, 0) == 8 && board_series_at(&run->steps, 1) == 6);
    cr_expect(board_series_is_marked(&run->steps, 0) && !board_series_is_marked(&run->steps, 1));
    cr_assert_eq(run->widths.count, 1);
    cr_expect_float_eq(board_series_at(&run->widths, 0), 10, 1e-9, "the wider side, of 5 ms");
    tell_cell(&board, 3000, "h2", "started");
    cr_expect(run->steps_done == 0 && run->samples_count == 0 && run->set_aside_count == 0);
    cr_expect(isnan(run->step_ms) && isnan(run->median_ms) && isnan(run->median_low));
    cr_expect(isnan(run->median_high) && isnan(run->remaining_ms) && isnan(run->loss));
    cr_expect(run->steps.count == 0 && run->widths.count == 0);
    cr_expect_str_empty(run->phase);
    board_release(&board);
}

Test(hud_events, what_the_machine_does_is_said_in_words)
{
    struct board board;
    set_up(&board);
    const struct board_run *run = &board.run;
    tell(&board, "{\"event\":\"telemetry\",\"time_ms\":2000,\"trial\":1,\"rss_mb\":12.5,"
                 "\"available_mb\":900,\"cpu_mhz\":1980.4,\"power_w\":null,\"fan\":3,"
                 "\"null_reasons\":{\"power_w\":\"no_rapl\"}}");
    cr_expect(run->rss_mb == 12.5 && run->available_mb == 900);
    cr_expect_str_eq(run->telemetry, "clock 1980 MHz  power n/a (no rapl)  fan 3");
    tell(&board, "{\"event\":\"telemetry\",\"time_ms\":2100,\"rss_mb\":13,\"null_reasons\":{}}");
    cr_expect(run->rss_mb == 13 && isnan(run->available_mb));
    cr_expect_str_eq(run->telemetry, "clock 1980 MHz  power n/a (no rapl)  fan 3");
    tell(&board, "{\"event\":\"telemetry\",\"time_ms\":2200,\"power_w\":7.25}");
    cr_expect_str_eq(run->telemetry, "power 7.2 W");
    board_release(&board);
}

Test(hud_events, lines_that_say_nothing_change_nothing)
{
    struct board board;
    board_init(&board);
    tell_cell(&board, 1000, "h1", "started");
    cr_expect(!board.run.is_told && !board.run.is_at_work, "before there is a run");
    board_release(&board);
    set_up(&board);
    tell(&board, "no JSON");
    tell(&board, "[1,2]");
    tell(&board, "{\"time_ms\":-5,\"event\":[]}");
    tell(&board, "{\"event\":\"of a later version\",\"time_ms\":1800}");
    tell(&board, "{\"event\":\"phase\",\"time_ms\":2000,\"phase\":7}");
    cr_expect_str_empty(board.run.phase);
    cr_expect(board.run.gap_ns == 800 * NS_PER_MS && board.run.newest_ns == 2000 * NS_PER_MS);
    tell_cell(&board, 2100, "h7", "started");
    cr_expect_eq(board.run.place, LOOKUP_NONE, "a cell of no plan");
    tell_record(&board, 2200, "h7", "bench_results.jsonl");
    cr_expect_eq(board.run.done_count, 1);
    board_release(&board);
}
