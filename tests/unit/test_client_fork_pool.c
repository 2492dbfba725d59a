#include "client/fork_pool.h"

#include <signal.h>
#include <unistd.h>

#include "paths.h"
#include "patience.h"
#include "scratch.h"

/* Servers that import nothing: tests/protocol/fork_server.py. Each start of one is a byte of a
 * file. */
static char dir[FILE_PATH_BYTES];
static char starts_path[FILE_PATH_BYTES];

static void set_up(void)
{
    scratch_new(dir);
    (void)scratch_path(starts_path, dir, "starts");
}

static void tear_down(void)
{
    scratch_free(dir);
}

TestSuite(client_fork_pool, .init = set_up, .fini = tear_down);

static size_t starts_count(void)
{
    size_t bytes = 0;
    free(scratch_read(dir, "starts", &bytes));
    return bytes;
}

/* Has a worker of `folder` whose command ends in `word` forked, and ends it. */
static enum status fork_one(struct fork_pool *pool, const char *folder, const char *word,
                            bool is_training)
{
    const struct client_options options = {
        .work_dir = folder, .phase_timeout_ns = PATIENCE_NS, .wake_fd = -1};
    const char *const parts[] = {"python3",   "-I",
                                 "-S",        TOKMARK_SOURCE_DIR "/tests/protocol/fork_server.py",
                                 starts_path, word};
    struct words command = {0};
    struct spawn spawn = {0};
    struct err err = {0};
    for (size_t i = 0; i < ARRAY_COUNT(parts); i++)
        cr_assert_eq(words_add(&command, parts[i], &err), STATUS_OK);
    enum status status =
        fork_pool_start(pool, &command, is_training, &options, STDERR_FILENO, &spawn, &err);
    words_release(&command);
    if (status == STATUS_OK) {
        cr_expect_eq(kill(spawn.pid, 0), 0);
        spawn_release(&spawn);
    }
    return status;
}

Test(client_fork_pool, workers_of_one_command_and_folder_have_one_server)
{
    static const struct {
        const char *folder, *word;
        size_t starts_count;
    } rows[] = {{NULL, "a", 1}, {NULL, "a", 1},   {NULL, "b", 2}, {"/", "b", 3},
                {"/", "b", 3},  {"/tmp", "b", 4}, {NULL, "b", 4}, {NULL, "a", 4}};
    struct fork_pool *pool = fork_pool_new();
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        cr_assert_eq(fork_one(pool, rows[i].folder, rows[i].word, false), STATUS_OK, "row %zu", i);
        cr_expect_eq(starts_count(), rows[i].starts_count, "row %zu: %zu", i, starts_count());
    }
    cr_expect_null(fork_pool_failure(pool));
    cr_expect_eq(fork_one(pool, NULL, "c", false), STATUS_LIMIT);
    cr_expect_str_eq(fork_pool_failure(pool), "there are 4 servers already");
    fork_pool_free(pool);
}

/* It may have to import more for them. */
Test(client_fork_pool, a_server_is_told_which_workers_train)
{
    struct fork_pool *pool = fork_pool_new();
    static const bool are_training[] = {false, true, true, false};
    for (size_t i = 0; i < ARRAY_COUNT(are_training); i++)
        cr_assert_eq(fork_one(pool, NULL, "a", are_training[i]), STATUS_OK);
    fork_pool_free(pool);
    char *asked = scratch_read(dir, "starts.asked", NULL);
    cr_expect_str_eq(asked, "fttf");
    free(asked);
}

/* The workers of each trial are of another process, and there may be any number of trials. */
Test(client_fork_pool, renewed_it_starts_others)
{
    struct fork_pool *pool = fork_pool_new();
    for (size_t trial = 1; trial <= 6; trial++) {
        cr_assert_eq(fork_one(pool, NULL, "a", false), STATUS_OK);
        cr_assert_eq(fork_one(pool, NULL, "a", false), STATUS_OK);
        cr_expect_eq(starts_count(), trial);
        fork_pool_renew(pool);
    }
    fork_pool_free(pool);
    fork_pool_renew(NULL);
}
