#include "drive/profile.h"

#include <stdlib.h>

#include "base/file.h"

/* What is done once, in the first steps, is no part of what a step consists of. */
#define WARMUP_STEPS 3

/* The conversation's state; borrowed for it. */
struct profiling {
    const struct profile_job *job;
    struct proto_profiled *seen;
};

static bool warm_up(struct client *client)
{
    struct proto_block block;
    uint64_t host_ns = 0;
    client->session.phase = EVENT_WARMUP;
    if (!client_run(client, WARMUP_STEPS, PROTO_SYNC_STEP, false, &block, &host_ns))
        return false;
    free(block.step_ns);
    return client_can_go_on(client);
}

static bool talk(void *context, struct client *client)
{
    struct profiling *profiling = context;
    const struct profile_job *job = profiling->job;
    struct proto_profile request = {.steps_count = job->steps_count};
    struct err why = {0};
    if (!client->hello.profiles) {
        session_end(&client->session, VERDICT_UNSUPPORTED, "unsupported",
                    "the worker has no profiler; native, pytorch and jax have one");
        client->session.is_alive_expected = true;
        return false;
    }
    if (file_path_to_text(job->trace_path, request.trace_path, sizeof(request.trace_path), &why) !=
        STATUS_OK) {
        session_end(&client->session, VERDICT_CRASHED, "start_failed", "%s", why.text);
        client->session.is_alive_expected = true;
        return false;
    }
    return warm_up(client) && client_profile(client, &request, profiling->seen);
}

enum status profile_run(const struct profile_job *job, const struct client_options *options,
                        struct profile *ret_profile, struct err *err)
{
    struct profile profile = {0};
    struct profiling profiling = {.job = job, .seen = &profile.seen};
    const struct worker_job work = {.cell = job->cell,
                                    .log_path = job->log_path,
                                    .name = "profile",
                                    .run_id = job->run_id,
                                    .talk = talk,
                                    .context = &profiling};
    TRY(worker_run(&work, options, &profile.run, err));
    *ret_profile = profile;
    return STATUS_OK;
}
