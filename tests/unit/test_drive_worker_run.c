#include "drive/worker_run.h"

#include <criterion/criterion.h>

#include "drive/check.h"
#include "drive/profile.h"
#include "scratch.h"
#include "small_model.h"

TestSuite(drive_worker_run);

/* A worker of a few lines, that writes down what it is asked. */
static const char script[] =
    "while read -r line; do\n"
    "  echo \"$line\" >> \"$1\"\n"
    "  case \"$line\" in\n"
    "  *'\"type\":\"hello\"'*) echo '{\"type\":\"hello\",\"version\":1,\"engine\":\"sh\","
    "\"engine_version\":\"1\",\"pid\":1,\"synthetic\":false,\"profiles\":true}' ;;\n"
    "  *'\"type\":\"open\"'*) echo '{\"type\":\"ready\"}' ;;\n"
    "  *'\"type\":\"run\"'*) echo '{\"type\":\"block\",\"steps\":3,\"sync\":\"step\","
    "\"window_ns\":3000,\"step_ns\":[1000,1000,1000]}' ;;\n"
    "  *'\"type\":\"check\"'*) echo '{\"type\":\"check\",\"tensors\":1}' ;;\n"
    "  *'\"type\":\"close\"'*) echo '{\"type\":\"bye\"}'; exit 0 ;;\n"
    "  *) echo '{\"type\":\"error\",\"kind\":\"unsupported\",\"text\":\"no\"}' ;;\n"
    "  esac\n"
    "done\n";

struct bench {
    char dir[FILE_PATH_BYTES], log_path[FILE_PATH_BYTES];
    struct cell cell;
    struct client_options options;
    char *asked; /* lines */
};

static void set_up(struct bench *bench)
{
    *bench = (struct bench){.cell = {.model = small_model(),
                                     .model_source = "factory",
                                     .device = "cpu",
                                     .framework = "sh",
                                     .mode = CELL_MODE_TRAIN,
                                     .seq_len = 8,
                                     .batch_size = 2},
                            .options = {.phase_timeout_ns = 600 * NS_PER_S,
                                        .kill_grace_ns = 600 * NS_PER_S,
                                        .wake_fd = -1}};
    scratch_new(bench->dir);
    scratch_path(bench->log_path, bench->dir, "log");
    scratch_write_text(bench->dir, "worker.sh", script);
    (void)snprintf(bench->cell.engine, sizeof(bench->cell.engine),
                   "exec:sh '%.400s/worker.sh' '%.400s/asked'", bench->dir, bench->dir);
}

/* The n-th line that the worker was sent, from 0, has those words, but none behind a '!'. */
static void expect_asked(struct bench *bench, int n, const char *const words[], size_t count)
{
    bench->asked = bench->asked != NULL ? bench->asked : scratch_read(bench->dir, "asked", NULL);
    char *line = bench->asked;
    for (int i = 0; i < n && line != NULL; i++)
        line = strchr(line, '\n') != NULL ? strchr(line, '\n') + 1 : NULL;
    cr_assert_not_null(line, "line %d", n);
    size_t bytes = strcspn(line, "\n");
    for (size_t i = 0; i < count; i++) {
        bool is_wanted = words[i][0] != '!';
        const char *word = is_wanted ? words[i] : words[i] + 1;
        cr_expect_eq(memmem(line, bytes, word, strlen(word)) != NULL, is_wanted,
                     "line %d, %s: %.*s", n, words[i], (int)bytes, line);
    }
}
#define EXPECT_ASKED(bench, n, ...)                            \
    expect_asked(bench, n, (const char *const[]){__VA_ARGS__}, \
                 sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *))

static void tear_down(struct bench *bench)
{
    free(bench->asked);
    scratch_free(bench->dir);
}

/* What the first steps do once is no part of what a step consists of. */
Test(drive_worker_run, a_profile_is_of_a_model_that_has_run)
{
    static struct bench bench;
    static struct profile profile;
    struct err err = {0};
    set_up(&bench);
    const struct profile_job job = {.cell = &bench.cell,
                                    .log_path = bench.log_path,
                                    .trace_path = "/a/trace",
                                    .run_id = "r1",
                                    .steps_count = 5};
    cr_assert_eq(profile_run(&job, &bench.options, &profile, &err), STATUS_OK, "%s", err.text);
    cr_expect_eq(profile.run.verdict, VERDICT_UNSUPPORTED);
    EXPECT_ASKED(&bench, 2, "\"type\":\"run\"", "\"steps\":3", "\"sync\":\"step\"");
    EXPECT_ASKED(&bench, 3, "\"type\":\"profile\"", "\"steps\":5", "\"trace\":\"/a/trace\"");
    EXPECT_ASKED(&bench, 4, "\"type\":\"close\"");
    tear_down(&bench);
}

Test(drive_worker_run, a_check_is_before_any_step_and_after_so_many)
{
    static struct bench bench;
    static struct worker_run run;
    struct err err = {0};
    bool has_weights = false;
    set_up(&bench);
    const struct check_job job = {.cell = &bench.cell,
                                  .inputs_path = "/a/inputs",
                                  .output_path = "/a/output",
                                  .steps_path = "/a/steps",
                                  .log_path = bench.log_path,
                                  .train_steps = 7};
    cr_assert_eq(check_run_worker(&job, &bench.options, &run, &has_weights, &err), STATUS_OK, "%s",
                 err.text);
    cr_expect_neq(run.verdict, VERDICT_OK, "it wrote nothing");
    EXPECT_ASKED(&bench, 2, "\"type\":\"check\"", "\"inputs\":\"/a/inputs\"",
                 "\"output\":\"/a/output\"", "\"train_steps\":0", "\"weights\":true");
    EXPECT_ASKED(&bench, 3, "\"type\":\"check\"", "\"inputs\":\"/a/inputs\"",
                 "\"output\":\"/a/steps\"", "\"train_steps\":7", "!weights");
    EXPECT_ASKED(&bench, 4, "\"type\":\"close\"");
    tear_down(&bench);
}
