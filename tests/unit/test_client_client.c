#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "client/client.h"
#include "scratch.h"

TestSuite(client_client);

static const struct client_options options;

static void set_up(struct client *client, struct cell *cell)
{
    *cell = (struct cell){.model_source = "factory", .precision = CELL_PRECISION_BF16};
    client_init(client, cell, &options);
    client->has_hello = client->has_ready = true;
    (void)snprintf(client->ready.dtype_compute, sizeof(client->ready.dtype_compute), "bf16");
}

static void expect_fault(struct client *client, const char *code)
{
    struct reasons faults = {0};
    client_faults(client, &faults);
    cr_expect_str_eq(reasons_deciding(&faults), code);
    client_end_if_faulty(client);
    cr_expect_eq(client->session.has_ended, code[0] != '\0');
    if (client->session.has_ended) {
        cr_expect_eq(client->session.verdict, VERDICT_INVALID);
        cr_expect(client->session.is_alive_expected, "the worker still takes `close`");
    }
    client_release(client);
}

Test(client_client, what_makes_results_wrong_is_a_fault)
{
    struct client client;
    struct cell cell;
    set_up(&client, &cell);
    expect_fault(&client, "");
    set_up(&client, &cell);
    (void)snprintf(client.ready.dtype_compute, sizeof(client.ready.dtype_compute), "fp32");
    expect_fault(&client, "precision_not_as_asked");
    set_up(&client, &cell);
    client.nonfinite_count = 2;
    expect_fault(&client, "nonfinite_loss");
    set_up(&client, &cell);
    client.recompiles_count = 1;
    expect_fault(&client, "recompile");
    set_up(&client, &cell);
    client.impossible_window_ns = 2;
    expect_fault(&client, "clock_mismatch");
    set_up(&client, &cell);
    client.has_ready = false;
    (void)snprintf(client.ready.dtype_compute, sizeof(client.ready.dtype_compute), "fp32");
    expect_fault(&client, "");
}

/* A millisecond and a hundredth: docs/protocol.md. */
Test(client_client, clocks_may_differ_by_a_little)
{
    cr_expect_eq(session_window_max_ns(0), 1000000);
    cr_expect_eq(session_window_max_ns(2000000000), 2000000000 + 1000000 + 20000000);
}

static void count_look(void *context, const struct watch_look *look)
{
    *(unsigned *)context += look->rss_bytes > 0;
}

/* Behind a launcher the worker is the launcher's child: that is what memory is watched of. */
Test(client_client, who_says_hello_is_watched)
{
    static struct client client;
    char dir[FILE_PATH_BYTES];
    char log_path[FILE_PATH_BYTES];
    struct cell cell = {.model_source = "factory"};
    unsigned looks_count = 0;
    const struct event_listener listener = {.context = &looks_count, .memory_seen = count_look};
    const struct client_options patient = {.phase_timeout_ns = 600 * NS_PER_S,
                                           .kill_grace_ns = 600 * NS_PER_S,
                                           .wake_fd = -1,
                                           .events = &listener};
    struct err err = {0};
    scratch_new(dir);
    scratch_write_text(dir, "worker.sh",
                       "read -r line\n"
                       "echo '{\"type\":\"hello\",\"version\":1,\"engine\":\"sh\","
                       "\"engine_version\":\"1\",\"pid\":'$$',\"synthetic\":false}'\n"
                       "read -r line\n"
                       "sleep 1.2\n" /* longer than it goes unwatched */
                       "echo '{\"type\":\"bye\"}'\n");
    (void)snprintf(cell.engine, sizeof(cell.engine), "exec:sh -c 'sh %.400s/worker.sh; exit 0'",
                   dir);
    client_init(&client, &cell, &patient);
    uint64_t before_ns = clock_now_ns();
    cr_assert_eq(client_start(&client, scratch_path(log_path, dir, "log"), "", &err), STATUS_OK,
                 "%s", err.text);
    uint64_t after_ns = clock_now_ns();
    cr_assert(client.has_hello);
    cr_expect_neq(client.hello.pid, client.session.spawn.pid);
    cr_expect_eq(client.session.watch.pid, client.hello.pid);
    cr_expect(client_is_here(&client) && !client_is_synthetic(&client));
    cr_expect(client.start_ns > 0 && client.start_ns <= after_ns - before_ns);
    cr_expect_gt(client.hello_rss_bytes, 0);
    client_close(&client);
    cr_expect_not(client.session.has_ended, "%s", reasons_deciding(&client.session.reasons));
    cr_expect_gt(looks_count, 0, "nobody is told what it holds");
    client_release(&client);
    scratch_free(dir);
}
