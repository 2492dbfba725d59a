#include "drive/check.h"

#include <stdio.h>

#include "base/file.h"
#include "client/client.h"
#include "drive/check_output.h"

static enum status start(struct client *client, const struct check_job *job, struct err *err)
{
    char title[256];
    (void)snprintf(title, sizeof(title), "[tokmark: check %s]\n",
                   job->run_id != NULL ? job->run_id : "-");
    return client_start(client, job->log_path, title, err);
}

static bool ask_check(struct client *client, const struct check_job *job, uint32_t train_steps,
                      const char *output_path)
{
    struct proto_check request = {.train_steps = train_steps, .wants_weights = train_steps == 0};
    struct err why = {0};
    if (file_path_to_text(job->inputs_path, request.inputs_path, sizeof(request.inputs_path),
                          &why) != STATUS_OK ||
        file_path_to_text(output_path, request.output_path, sizeof(request.output_path), &why) !=
            STATUS_OK) {
        session_end(&client->session, VERDICT_CRASHED, "start_failed", "%s", why.text);
        return false;
    }
    return client_can_go_on(client) && client_check(client, &request);
}

/* False: the session has ended, or was interrupted. */
static bool converse(struct client *client, const struct check_job *job)
{
    if (client_can_go_on(client))
        client_open(client);
    return client->has_ready && ask_check(client, job, 0, job->output_path) &&
           (job->steps_path == NULL || ask_check(client, job, job->train_steps, job->steps_path));
}

/* Made-up results must not pass for computed ones, and another model or precision is not the one
 * asked for. */
static void judge_worker(struct client *client)
{
    if (client->hello.is_synthetic)
        session_end(&client->session, VERDICT_UNSUPPORTED, "synthetic",
                    "the worker says that its results are made up");
    else
        client_end_if_faulty(client);
}

static void take_client(struct check_run *run, const struct client *client)
{
    run->has_hello = client->has_hello;
    run->has_ready = client->has_ready;
    run->hello = client->hello;
    run->ready = client->ready;
}

enum status check_run_worker(const struct check_job *job, const struct client_options *options,
                             struct check_run *ret_run, struct err *err)
{
    struct client client;
    struct check_run run = {0};
    uint64_t before_ns = clock_now_ns();
    clock_stamp(run.started_at);
    client_init(&client, job->cell, options);
    struct session *session = &client.session;
    enum status status = start(&client, job, err);
    if (status == STATUS_OK) {
        if (converse(&client, job))
            judge_worker(&client);
        client_close(&client);
        if (session_is_interrupted(session))
            session_end(session, VERDICT_INTERRUPTED, "interrupted", "stopped by a signal");
        /* Only now: no process of the worker's lives that could still write. */
        if (!session->has_ended)
            status = check_output_verify(job, &session->reasons, &run.has_weights, err);
        if (!session->has_ended && session->reasons.count > 0)
            session->verdict = VERDICT_INVALID;
    }
    run.verdict = session->reasons.count > 0 ? session->verdict : VERDICT_OK;
    run.reasons = session->reasons;
    run.total_ns = clock_now_ns() - before_ns;
    if (run.verdict != VERDICT_OK && run.verdict != VERDICT_UNSUPPORTED)
        session_log_tail(session, run.log_tail);
    proto_ready_drop_json(&client.ready);
    take_client(&run, &client);
    client_release(&client);
    if (status == STATUS_OK)
        *ret_run = run;
    return status;
}
