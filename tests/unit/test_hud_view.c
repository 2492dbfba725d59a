#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "hud/tail.h"
#include "hud/view.h"
#include "scratch.h"

/* A folder as the published scripts leave it, read into a board and looked at. */
struct bench {
    char dir[FILE_PATH_BYTES];
    struct board board;
    struct view view;
};

static void append_line(struct buf *out, const char *engine, const char *precision, int seq,
                        int batch, double ms)
{
    buf_appendf(out,
                "{\"framework\":\"%s\",\"device\":\"cuda\",\"precision\":\"%s\",\"mode\":\"train\","
                "\"seq_len\":%d,\"batch_size\":%d,\"steps\":5,\"tokens_per_step\":%d,"
                "\"ms_per_step\":%g,\"tokens_per_sec\":%g,\"mem_alloc_mb\":1.0,"
                "\"mem_reserved_mb\":1.0,\"peak_mem_mb\":1.0,\"params_millions\":1.0,"
                "\"notes\":\"\"}\n",
                engine, precision, seq, batch, seq * batch, ms, seq * batch * 1000 / ms);
}

static void read_all(struct bench *bench)
{
    struct tail *tail = NULL;
    struct err err = {0};
    bool is_more = true;
    cr_assert_eq(tail_open(bench->dir, false, &tail, &err), STATUS_OK, "%s", err.text);
    while (is_more)
        cr_assert_eq(tail_read(tail, &bench->board, 1000000, &is_more, &err), STATUS_OK);
    tail_close(tail);
}

static void update(struct bench *bench)
{
    struct err err = {0};
    bench->view.is_stale = true;
    cr_assert_eq(view_update(&bench->view, &bench->board, 0, &err), STATUS_OK);
}

static void set_up(struct bench *bench)
{
    struct buf lines;
    buf_init(&lines, 1 << 20);
    append_line(&lines, "jax", "fp32", 128, 8, 4);
    append_line(&lines, "jax", "bf16", 128, 8, 2);
    append_line(&lines, "pytorch", "fp32", 128, 2, 1);
    append_line(&lines, "pytorch", "fp32", 64, 8, 2);
    scratch_new(bench->dir);
    scratch_write(bench->dir, "bench_results.jsonl", lines.data, lines.length_bytes);
    buf_release(&lines);
    board_init(&bench->board);
    view_init(&bench->view);
    read_all(bench);
    update(bench);
}

static void tear_down(struct bench *bench)
{
    view_release(&bench->view);
    board_release(&bench->board);
    scratch_free(bench->dir);
}

static void press(struct bench *bench, const char *keys)
{
    for (; *keys != '\0'; keys++) {
        (void)view_key(&bench->view, &bench->board, (unsigned char)*keys);
        update(bench);
    }
}

static void expect_filters(const struct bench *bench, const char *text)
{
    struct buf out;
    buf_init(&out, 1024);
    view_describe_filters(&bench->view, &bench->board, &out);
    cr_expect_str_eq(out.data, text);
    buf_release(&out);
}

Test(hud_view, places_become_rows_and_columns)
{
    struct bench bench;
    set_up(&bench);
    cr_expect_eq(bench.view.shown_count, 4);
    cr_expect_eq(bench.view.rows_count, 4);
    cr_expect_eq(bench.view.batches_count, 2);
    cr_expect_eq(bench.view.batches[0], 2);
    cr_expect(bench.view.has_several[0] && !bench.view.has_several[2]);
    cr_expect_eq(view_entry(&bench.view, &bench.board, 0, 0), LOOKUP_NONE);
    cr_expect_eq(view_entry(&bench.view, &bench.board, 0, 1), 0);
    tear_down(&bench);
}

Test(hud_view, numbers_cycle_in_order_and_words_as_they_came)
{
    struct bench bench;
    set_up(&bench);
    press(&bench, "s");
    expect_filters(&bench, "seq 64");
    press(&bench, "s");
    expect_filters(&bench, "seq 128");
    press(&bench, "p");
    expect_filters(&bench, "seq 128  fp32");
    cr_expect_eq(bench.view.shown_count, 2);
    press(&bench, "0E");
    expect_filters(&bench, "pytorch");
    press(&bench, "EE");
    expect_filters(&bench, "");
    tear_down(&bench);
}

Test(hud_view, words_must_all_be_there)
{
    struct bench bench;
    set_up(&bench);
    press(&bench, "/JAX bf");
    cr_expect_eq(bench.view.shown_count, 1);
    expect_filters(&bench, "/JAX bf_");
    press(&bench, "\n");
    expect_filters(&bench, "/JAX bf");
    press(&bench, "/\x1b");
    cr_expect_eq(bench.view.shown_count, 4);
    press(&bench, "/train");
    cr_expect_eq(bench.view.shown_count, 4, "a cell is found by its mode");
    tear_down(&bench);
}

Test(hud_view, a_base_gives_changes)
{
    struct bench bench;
    bool is_change = false;
    set_up(&bench);
    bench.view.metric = BOARD_MEAN;
    view_select(&bench.view, 0);
    press(&bench, "c");
    cr_expect_float_eq(view_value(&bench.view, &bench.board, 1, &is_change), -50, 1e-9);
    cr_expect(is_change);
    bench.view.metric = BOARD_MEDIAN; /* the published scripts have none */
    cr_expect(isnan(view_value(&bench.view, &bench.board, 1, &is_change)));
    press(&bench, "c");
    bench.view.metric = BOARD_MEAN;
    cr_expect_float_eq(view_value(&bench.view, &bench.board, 1, &is_change), 2, 1e-9);
    cr_expect_not(is_change);
    tear_down(&bench);
}

/* Read again, as after a restart of the file: nothing is there twice. */
Test(hud_view, the_newest_record_of_a_place_counts)
{
    struct bench bench;
    struct buf line;
    set_up(&bench);
    buf_init(&line, 4096);
    append_line(&line, "jax", "fp32", 128, 8, 9);
    scratch_write(bench.dir, "bench_results.jsonl", line.data, line.length_bytes);
    read_all(&bench);
    update(&bench);
    cr_expect_eq(bench.board.records_count, 5);
    cr_expect_eq(bench.board.places_count, 4);
    cr_expect_float_eq(bench.board.places[0].values[BOARD_MEAN], 9, 1e-9);
    board_forget_records(&bench.board);
    update(&bench);
    cr_expect_eq(bench.view.shown_count, 0);
    read_all(&bench);
    update(&bench);
    cr_expect_eq(bench.board.records_count, 1);
    cr_expect_eq(bench.view.shown_count, 1);
    buf_release(&line);
    tear_down(&bench);
}

static void take_event(struct bench *bench, const char *line)
{
    struct err err = {0};
    cr_assert_eq(board_take_event(&bench->board, line, strlen(line), &err), STATUS_OK);
}

Test(hud_view, events_tell_the_plan_the_cell_and_the_time_left)
{
    struct bench bench;
    set_up(&bench);
    const struct board_run *run = &bench.board.run;
    take_event(&bench, "{\"event\":\"block\",\"ms_per_step\":1}"); /* of no run that is known */
    cr_expect_not(run->is_told);
    take_event(
        &bench,
        "{\"event\":\"run\",\"time_ms\":1000,\"run_id\":\"r\",\"trials\":2,\"cells_count\":2,"
        "\"first_cell\":0,\"cells\":[{\"cell_id\":\"ha\",\"framework\":\"jax\",\"device\":"
        "\"cuda\",\"mode\":\"train\",\"precision\":\"fp32\",\"seq_len\":128,\"batch_size\":8,"
        "\"tokens_per_step\":1024},{\"cell_id\":\"hb\",\"seq_len\":1,\"batch_size\":1}]}");
    take_event(&bench, "{\"event\":\"cell\",\"time_ms\":2000,\"cell_id\":\"ha\",\"trial\":0,"
                       "\"state\":\"started\"}");
    update(&bench);
    cr_expect_eq(bench.view.shown_count, 5); /* one of the plan was not there */
    /* An empty model of a record and none in the plan are the same. */
    cr_expect_eq(run->place, 0);
    cr_expect_eq(bench.board.places[0].state, BOARD_RUNNING);
    take_event(&bench,
               "{\"event\":\"block\",\"time_ms\":3000,\"phase\":\"measure\",\"ms_per_step\":"
               "10.0,\"ms_p50\":10.0,\"ms_p50_low\":9.0,\"ms_p50_high\":12.0,"
               "\"remaining_ms\":500.0,\"samples\":7}");
    cr_expect_float_eq(board_series_at(&run->widths, 0), 20, 1e-9);
    bool is_change = false;
    cr_expect_float_eq(view_value(&bench.view, &bench.board, 0, &is_change), 102400, 1e-6);
    take_event(&bench, "{\"event\":\"record\",\"time_ms\":4000,\"cell_id\":\"ha\",\"file\":"
                       "\"bench_results.jsonl\"}");
    cr_expect_eq(run->done_count, 1);
    take_event(&bench, "{\"event\":\"cell\",\"time_ms\":4000,\"cell_id\":\"hb\",\"state\":"
                       "\"skipped\"}");
    take_event(&bench, "{\"event\":\"cell\",\"time_ms\":4000,\"cell_id\":\"hb\",\"state\":"
                       "\"started\"}");
    /* Two of four to come, at 2 s each; of the one at work nothing is known. */
    cr_expect_eq(board_remaining_ns(run, 4000 * NS_PER_MS), 2000 * NS_PER_MS);
    take_event(&bench, "{\"event\":\"later\"}");
    take_event(&bench, "no JSON");
    take_event(&bench, "{\"event\":\"end\",\"time_ms\":5000,\"exit_code\":130}");
    cr_expect(run->has_ended && run->exit_code == 130);
    tear_down(&bench);
}

Test(hud_view, a_series_keeps_the_newest)
{
    static struct board_series series;
    for (int i = 0; i < BOARD_STEPS + 3; i++)
        board_series_add(&series, i, i % 2 == 0);
    cr_expect_eq(series.count, BOARD_STEPS);
    cr_expect_float_eq(board_series_at(&series, 0), 3, 0);
    cr_expect_float_eq(board_series_at(&series, BOARD_STEPS - 1), BOARD_STEPS + 2, 0);
    cr_expect(board_series_is_marked(&series, 1));
}

/* The title has what all cells shown have in common, and nothing where there are none. */
Test(hud_view, what_is_common_is_said_once)
{
    static const struct {
        const char *find, *wanted;
    } cases[] = {{"/train", "  cuda"}, {"/nowhere", ""}};
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct bench bench;
        struct buf out;
        set_up(&bench);
        press(&bench, cases[i].find);
        buf_init(&out, 1024);
        view_describe_common(&bench.view, &bench.board, &out);
        cr_expect_str_eq(out.data, cases[i].wanted, "'%s'", out.data);
        buf_release(&out);
        tear_down(&bench);
    }
}
