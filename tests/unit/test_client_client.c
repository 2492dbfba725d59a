#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "client/client.h"

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
