#include "drive/check.h"

#include "base/file.h"
#include "client/client.h"
#include "drive/check_output.h"

struct checking {
    const struct check_job *job; /* borrowed: for the call */
    bool has_weights;
};

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

static bool talk(void *context, struct client *client)
{
    const struct checking *checking = context;
    const struct check_job *job = checking->job;
    return ask_check(client, job, 0, job->output_path) &&
           (job->steps_path == NULL || ask_check(client, job, job->train_steps, job->steps_path));
}

static enum status judge(void *context, struct reasons *ret_reasons, struct err *err)
{
    struct checking *checking = context;
    return check_output_verify(checking->job, ret_reasons, &checking->has_weights, err);
}

enum status check_run_worker(const struct check_job *job, const struct client_options *options,
                             struct worker_run *ret_run, bool *ret_has_weights, struct err *err)
{
    struct checking checking = {.job = job};
    const struct worker_job work = {.cell = job->cell,
                                    .log_path = job->log_path,
                                    .name = "check",
                                    .run_id = job->run_id,
                                    .talk = talk,
                                    .judge = judge,
                                    .context = &checking};
    enum status status = worker_run(&work, options, ret_run, err);
    if (status == STATUS_OK)
        *ret_has_weights = checking.has_weights;
    return status;
}
