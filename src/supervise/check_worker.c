#include "supervise/check_worker.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "supervise/check_output.h"
#include "supervise/greet.h"

static enum status start(struct session *session, const struct check_job *job, struct err *err)
{
    const struct supervise_options *options = session->options;
    struct words command;
    char title[256];
    (void)snprintf(title, sizeof(title), "[tokmark: check %s]\n",
                   options->run_id != NULL ? options->run_id : "-");
    enum status status = session_command(options, job->cell->engine, &command, err);
    if (status != STATUS_OK)
        return status;
    session->phase = EVENT_STARTING;
    status = session_start(session, &command, job->log_path, title, err);
    words_release(&command);
    return status;
}

static bool can_go_on(const struct session *session)
{
    return !session->has_ended && !session_is_interrupted(session);
}

static bool ask_check(struct session *session, const struct check_job *job, uint32_t train_steps,
                      const char *output_path)
{
    struct proto_worker_message reply;
    struct proto_host_message request = {
        .type = PROTO_CHECK,
        .as.check = {.train_steps = train_steps, .wants_weights = train_steps == 0}};
    struct proto_check *check = &request.as.check;
    struct err why = {0};
    if (file_path_to_text(job->inputs_path, check->inputs_path, sizeof(check->inputs_path), &why) !=
            STATUS_OK ||
        file_path_to_text(output_path, check->output_path, sizeof(check->output_path), &why) !=
            STATUS_OK) {
        session_end(session, VERDICT_CRASHED, "start_failed", "%s", why.text);
        return false;
    }
    return session_ask(session, &request, PROTO_CHECK, &reply);
}

/* False: the session has ended, or was interrupted. */
static bool converse(struct session *session, const struct check_job *job, struct check_run *run)
{
    struct proto_worker_message reply;
    run->has_hello = can_go_on(session) && greet_worker(session, &run->hello);
    if (!can_go_on(session))
        return false;
    session->phase = EVENT_OPENING;
    struct proto_host_message open = {.type = PROTO_OPEN, .as.open = *job->cell};
    if (!session_ask(session, &open, PROTO_READY, &reply))
        return false;
    run->ready = reply.as.ready;
    proto_ready_drop_json(&run->ready);
    run->has_ready = true;
    if (!can_go_on(session))
        return false;
    session->phase = EVENT_CHECKING;
    return ask_check(session, job, 0, job->output_path) &&
           (job->steps_path == NULL ||
            (can_go_on(session) && ask_check(session, job, job->train_steps, job->steps_path)));
}

/* Made-up figures must not pass for computed ones, and another model is not the one asked for. */
static void judge_worker(struct session *session, const struct check_job *job,
                         const struct check_run *run)
{
    uint64_t wanted = model_params_total(&job->cell->model);
    if (run->hello.is_synthetic)
        session_end(session, VERDICT_UNSUPPORTED, "synthetic",
                    "the worker says that its figures are made up");
    else if (run->ready.params_total != 0 && run->ready.params_total != wanted)
        session_end(session, VERDICT_INVALID, "params_mismatch",
                    "the worker's model has %llu parameters, the preset %llu",
                    (unsigned long long)run->ready.params_total, (unsigned long long)wanted);
}

enum status check_worker_run(const struct check_job *job, const struct supervise_options *options,
                             struct check_run *ret_run, struct err *err)
{
    struct session session;
    struct check_run run = {0};
    uint64_t before_ns = clock_now_ns();
    clock_stamp(run.started_at);
    session_init(&session, options);
    enum status status = start(&session, job, err);
    if (status == STATUS_OK) {
        if (converse(&session, job, &run))
            judge_worker(&session, job, &run);
        session_finish(&session);
        if (session_is_interrupted(&session))
            session_end(&session, VERDICT_INTERRUPTED, "interrupted", "stopped by a signal");
        /* Only now: no process of the worker's lives that could still write. */
        if (!session.has_ended)
            status = check_output_verify(job, &run.has_weights, &session.reasons, err);
        if (!session.has_ended && session.reasons.count > 0)
            session.verdict = VERDICT_INVALID;
    }
    run.verdict = session.reasons.count > 0 ? session.verdict : VERDICT_OK;
    run.reasons = session.reasons;
    run.total_ns = clock_now_ns() - before_ns;
    if (run.verdict != VERDICT_OK && run.verdict != VERDICT_UNSUPPORTED)
        session_log_tail(&session, run.log_tail);
    session_release(&session);
    if (status == STATUS_OK)
        *ret_run = run;
    return status;
}
