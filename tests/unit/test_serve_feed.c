#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "result/names.h"
#include "scratch.h"
#include "serve/feed.h"

static char dir[FILE_PATH_BYTES];
static char path[FILE_PATH_BYTES];

static void set_up(void)
{
    scratch_new(dir);
    scratch_path(path, dir, RESULT_JSONL_NAME);
}

static void tear_down(void)
{
    scratch_free(dir);
}

TestSuite(serve_feed, .init = set_up, .fini = tear_down);

static void write_cell(FILE *file, size_t cell, const char *run_id)
{
    (void)fprintf(file,
                  "{\"schema\":1,\"run_id\":\"%s\",\"cell_id\":\"h%016zx\",\"verdict\":\"ok\"}\n",
                  run_id, cell);
}

static void read_all(struct feed *feed)
{
    struct err err = {0};
    for (bool has_more = true; has_more;)
        cr_assert_eq(feed_read(feed, &has_more, &err), STATUS_OK, "%s", err.text);
}

/* Beyond what is shown, the cells that have not changed for longest are hidden: one that was
 * measured again is not. */
Test(serve_feed, of_too_many_cells_the_oldest_are_hidden)
{
    struct feed *feed = NULL;
    struct feed_taken taken = {0};
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    for (size_t i = 0; i < FEED_CELLS_MAX; i++)
        write_cell(file, i, "r1");
    write_cell(file, 0, "r2");
    write_cell(file, FEED_CELLS_MAX, "r2");
    write_cell(file, FEED_CELLS_MAX + 1, "r2");
    (void)fclose(file);
    cr_assert_eq(feed_new(dir, &feed, NULL), STATUS_OK);
    read_all(feed);
    cr_assert_eq(feed_take(feed, (struct feed_position){0}, &taken, NULL), STATUS_OK);
    cr_expect_eq(taken.state.cells_count, FEED_CELLS_MAX + 2);
    cr_expect_eq(taken.state.hidden_count, 2);
    cr_assert_eq(taken.count, FEED_CELLS_MAX);
    cr_expect_eq(taken.rows[0]->cell, FEED_CELLS_MAX + 1);
    cr_expect_eq(taken.rows[1]->cell, FEED_CELLS_MAX);
    cr_expect_eq(taken.rows[2]->cell, 0, "it was measured again");
    cr_expect_eq(taken.rows[2]->count, 2);
    cr_expect_eq(taken.rows[3]->cell, FEED_CELLS_MAX - 1);
    cr_expect_eq(taken.rows[FEED_CELLS_MAX - 1]->cell, 3, "1 and 2 are hidden");
    feed_give_back(feed, &taken);
    feed_free(feed);
}

/* A record whose names fill all the room there is for them to the last byte is a row like others.
 */
Test(serve_feed, names_of_thousands_of_letters_are_left_out_and_the_row_is_not)
{
    enum { ROOM = ROW_BYTES_MAX / 8, HALF = ROOM / 2 - 1 };
    static char name[ROOM];
    struct feed *feed = NULL;
    struct feed_taken taken = {0};
    memset(name, 'x', sizeof(name) - 1);
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    for (int more = -2; more < 3; more++)
        (void)fprintf(file,
                      "{\"schema\":1,\"cell_id\":\"h%d\",\"framework\":\"%.*s\",\"model\":\"%.*s\","
                      "\"mode\":\"infer\",\"device\":\"cpu\"}\n",
                      more + 2, HALF, name, HALF + more, name);
    (void)fclose(file);
    cr_assert_eq(feed_new(dir, &feed, NULL), STATUS_OK);
    read_all(feed);
    cr_assert_eq(feed_take(feed, (struct feed_position){0}, &taken, NULL), STATUS_OK);
    cr_assert_eq(taken.count, 5);
    for (size_t i = 0; i < taken.count; i++)
        cr_expect_eq(strlen(row_word(taken.rows[i], FACT_FRAMEWORK)), HALF);
    feed_give_back(feed, &taken);
    feed_free(feed);
}

static struct feed_state state_of(struct feed *feed)
{
    struct feed_state state;
    read_all(feed);
    feed_look(feed, &state);
    return state;
}

/* What is told of the file is what the system says of it, and the version changes with each part,
 * and with nothing else. */
Test(serve_feed, the_state_is_that_of_the_file)
{
    struct feed *feed = NULL;
    struct timespec times[2] = {{1762675626, 250000000}, {1762675626, 250000000}};
    cr_assert_eq(feed_new(dir, &feed, NULL), STATUS_OK);
    struct feed_state none = state_of(feed);
    cr_expect_not(none.is_there);
    cr_expect_eq(none.file_bytes, 0);
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    write_cell(file, 1, "r1");
    write_cell(file, 2, "r1");
    write_cell(file, 1, "r1");
    (void)fprintf(file, "no record\n");
    long bytes = ftell(file);
    (void)fclose(file);
    cr_assert_eq(utimensat(AT_FDCWD, path, times, 0), 0);
    struct feed_state state = state_of(feed);
    cr_expect(state.is_there && state.is_at_end);
    cr_expect_neq(state.version, none.version);
    cr_expect_eq(state.file_bytes, (uint64_t)bytes);
    cr_expect_eq(state.position.offset, (uint64_t)bytes);
    cr_expect_eq(state.written_ns, 1762675626250000000);
    cr_expect_eq(state.records_count, 3);
    cr_expect_eq(state.known_count, 1);
    cr_expect_eq(state.cells_count, 2);
    cr_expect_eq(state.bad_count, 1);
    cr_expect_eq(state_of(feed).version, state.version, "nothing has changed");
    times[1].tv_nsec++;
    cr_assert_eq(utimensat(AT_FDCWD, path, times, 0), 0);
    struct feed_state later = state_of(feed);
    cr_expect_neq(later.version, state.version);
    cr_expect_eq(later.written_ns, 1762675626250000001);
    cr_assert_eq(unlink(path), 0);
    cr_expect_neq(state_of(feed).version, later.version);
    cr_expect_not(state_of(feed).is_there);
    feed_free(feed);
}
