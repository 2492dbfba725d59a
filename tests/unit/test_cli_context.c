#include "cli/context.h"

#include <criterion/criterion.h>

#include "base/clock.h"

TestSuite(cli_context);

static enum status become_nothing(const struct engine_start *start, struct err *err)
{
    (void)start;
    return ERR(err, STATUS_UNSUPPORTED, "it is made up");
}

/* Each flag that every command takes, and where it ends up. */
Test(cli_context, flags_reach_the_workers)
{
    struct context context = {.wake_fd = 71, .self_path = "/bin/me"};
    const struct run_options options = {.launch = "taskset -c 1",
                                        .python = "python9",
                                        .timeout_ns = 7 * NS_PER_S,
                                        .memory_limit_bytes = 11 << 20};
    struct client_options client = context_client(&context, &options);
    cr_expect_str_eq(client.launch_prefix, "taskset -c 1");
    cr_expect_str_eq(client.python, "python9");
    cr_expect_str_eq(client.self_path, "/bin/me");
    cr_expect_eq(client.phase_timeout_ns, 7 * NS_PER_S);
    cr_expect_eq(client.memory_limit_bytes, 11 << 20);
    cr_expect_eq(client.kill_grace_ns, CLIENT_KILL_GRACE_NS);
    cr_expect_eq(client.wake_fd, 71);
    cr_expect_not_null((const void *)client.interrupt);
    cr_expect_null(client.fork_pool, "who has one says so");
    cr_expect_null(client.work_dir);
}

Test(cli_context, who_is_forked)
{
    struct fork_pool *pool = fork_pool_new();
    const struct context context = {.fork_pool = pool};
    const struct engine_ops in_c = {.name = "c"};
    const struct engine_ops in_python = {.name = "python", .become = become_nothing};
    struct run_options options = {.launch = NULL};
    cr_expect_eq(context_fork_pool(&context, &options, &in_python), pool);
    cr_expect_null(context_fork_pool(&context, &options, &in_c), "it starts in no time");
    cr_expect_null(context_fork_pool(&context, &options, NULL), "another's command");
    options.launch = "nice";
    cr_expect_null(context_fork_pool(&context, &options, &in_python));
    options = (struct run_options){.is_fresh = true};
    cr_expect_null(context_fork_pool(&context, &options, &in_python));
    fork_pool_free(pool);
}

/* README.md has the table. */
Test(cli_context, exit_codes)
{
    static const struct {
        struct context_outcome outcome;
        enum exit_code code;
    } cases[] = {
        {{.has_result = true, .is_all_well = true}, 0},
        {{.has_result = true, .is_all_well = false}, 3},
        {{.has_result = false, .is_all_well = false}, 4},
        {{.has_result = true, .is_all_well = true, .has_failed_gate = true}, 1},
        {{.has_result = true, .is_all_well = false, .has_failed_gate = true}, 1},
        {{.has_result = false, .is_all_well = false, .has_failed_gate = true}, 1},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++)
        cr_expect_eq(context_exit_code(&cases[i].outcome), cases[i].code, "case %zu", i);
}
