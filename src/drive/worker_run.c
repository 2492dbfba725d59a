#include "drive/worker_run.h"

#include <stdio.h>

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

static void converse(const struct worker_job *job, struct client *client)
{
    if (client_can_go_on(client))
        client_open(client);
    if (client->has_ready && job->talk(job->context, client))
        judge_worker(client);
    client_close(client);
    if (session_is_interrupted(&client->session))
        session_end(&client->session, VERDICT_INTERRUPTED, "interrupted", "stopped by a signal");
}

static enum status judge_results(const struct worker_job *job, struct session *session,
                                 struct err *err)
{
    if (session->has_ended || job->judge == NULL)
        return STATUS_OK;
    enum status status = job->judge(job->context, &session->reasons, err);
    if (session->reasons.count > 0)
        session->verdict = VERDICT_INVALID;
    return status;
}

static void take_session(struct worker_run *run, const struct session *session)
{
    run->verdict = session->reasons.count > 0 ? session->verdict : VERDICT_OK;
    run->reasons = session->reasons;
    if (run->verdict != VERDICT_OK && run->verdict != VERDICT_UNSUPPORTED)
        session_log_tail(session, run->log_tail);
}

static void take_client(struct worker_run *run, struct client *client)
{
    proto_ready_drop_json(&client->ready);
    run->has_hello = client->has_hello;
    run->has_ready = client->has_ready;
    run->hello = client->hello;
    run->ready = client->ready;
}

enum status worker_run(const struct worker_job *job, const struct client_options *options,
                       struct worker_run *ret_run, struct err *err)
{
    struct client client;
    struct worker_run run = {0};
    uint64_t before_ns = clock_now_ns();
    clock_stamp(run.started_at);
    char title[256];
    (void)snprintf(title, sizeof(title), "[tokmark: %s %s]\n", job->name,
                   job->run_id != NULL ? job->run_id : "-");
    client_init(&client, job->cell, options);
    enum status status = client_start(&client, job->log_path, title, err);
    if (status == STATUS_OK) {
        converse(job, &client);
        status = judge_results(job, &client.session, err);
    }
    take_session(&run, &client.session);
    run.total_ns = clock_now_ns() - before_ns;
    take_client(&run, &client);
    client_release(&client);
    if (status == STATUS_OK)
        *ret_run = run;
    return status;
}
