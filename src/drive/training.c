#include "drive/training.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Tokens of each expert since the cell was opened, after some step. */
struct expert_shares {
    uint32_t experts_count; /* 0 = not told */
    uint64_t tokens[PROTO_EXPERTS_MAX];
};

/* The conversation's state; borrowed for it. */
struct trainee {
    const struct training_job *job;
    struct training *training;
    struct expert_shares start, end_of_first, start_of_last,
        end; /* of the first and the last tenth */
};

static void end_invalid(struct client *client, const char *code, const char *what, uint32_t step,
                        uint32_t steps_count)
{
    session_end(&client->session, VERDICT_INVALID, code, "%s at step %" PRIu32 " of %" PRIu32, what,
                step, steps_count);
    client->session.is_alive_expected = true;
}

static void take_share(const struct proto_observation *seen, struct expert_shares *shares)
{
    shares->experts_count = seen->experts_count;
    memcpy(shares->tokens, seen->expert_tokens, sizeof(shares->tokens));
}

static void take_shares(struct trainee *trainee, const struct proto_observation *seen)
{
    uint32_t steps_count = trainee->job->steps_count;
    uint32_t step = trainee->training->steps_done;
    uint32_t tenth = steps_count / 10 > 0 ? steps_count / 10 : 1;
    take_share(seen, &trainee->end);
    if (step == tenth)
        trainee->end_of_first = trainee->end;
    if (step == steps_count - tenth)
        trainee->start_of_last = trainee->end;
}

/* False: there is no use in going on. */
static bool take_step(struct trainee *trainee, struct client *client,
                      const struct proto_observation *seen)
{
    struct training *training = trainee->training;
    uint32_t steps_count = trainee->job->steps_count;
    bool is_loss_odd = !isfinite(seen->loss);
    uint64_t odd_count = seen->has_nonfinite ? seen->nonfinite : 0;
    training->losses[training->steps_done] = seen->loss;
    training->norms[training->steps_done] = seen->grad_norm;
    training->steps_done++;
    take_shares(trainee, seen);
    if (trainee->job->tell != NULL)
        trainee->job->tell(trainee->job->tell_context, training->steps_done, seen->loss);
    if (is_loss_odd && odd_count == 0) {
        training->steps_done--;
        session_end(&client->session, VERDICT_UNSUPPORTED, "no_loss",
                    "the worker does not say what its losses are");
        client->session.is_alive_expected = true;
        return false;
    }
    training->nonfinite_norms_count += !isfinite(seen->grad_norm) && odd_count > is_loss_odd;
    if (odd_count > 0)
        training->nonfinite_step = training->steps_done;
    if (is_loss_odd)
        end_invalid(client, "nonfinite_loss", "the loss is not a finite number",
                    training->steps_done, steps_count);
    else if (odd_count > 0)
        end_invalid(client, "nonfinite_loss", "the norm of the gradients is not a finite number",
                    training->steps_done, steps_count);
    return !client->session.has_ended;
}

static bool talk(void *context, struct client *client)
{
    struct trainee *trainee = context;
    const struct training_job *job = trainee->job;
    while (trainee->training->steps_done < job->steps_count && client_can_go_on(client)) {
        struct proto_block block;
        uint64_t host_ns = 0;
        if (!client_run(client, 1, PROTO_SYNC_STEP, false, &block, &host_ns))
            return false;
        bool goes_on = take_step(trainee, client, &block.observation);
        free(block.step_ns);
        if (!goes_on)
            return false;
    }
    return trainee->training->steps_done == job->steps_count;
}

/* Busiest expert's share / even share between two times. */
static double imbalance(const struct expert_shares *from, const struct expert_shares *to)
{
    uint64_t total = 0;
    uint64_t most = 0;
    for (uint32_t i = 0; i < to->experts_count; i++) {
        uint64_t tokens = to->tokens[i] - from->tokens[i];
        total += tokens;
        most = tokens > most ? tokens : most;
    }
    return total > 0 ? (double)most * to->experts_count / (double)total : (double)NAN;
}

static enum status summarize(struct training *training, struct err *err)
{
    struct curve curve = training_curve(training);
    double *scratch = calloc(curve.count + 1, sizeof(*scratch));
    if (scratch == NULL)
        return ERR(err, STATUS_NOMEM, "out of memory");
    curve_summarize(&curve, scratch, &training->summary);
    free(scratch);
    return STATUS_OK;
}

static enum status judge(void *context, struct reasons *ret_reasons, struct err *err)
{
    struct trainee *trainee = context;
    TRY(summarize(trainee->training, err));
    const struct curve_summary *summary = &trainee->training->summary;
    if (summary->diverged_step > 0)
        reasons_add(ret_reasons, "loss_diverged",
                    "from step %zu of %" PRIu32 " on the loss is over %g times that of the first "
                    "step",
                    summary->diverged_step, trainee->job->steps_count, CURVE_DIVERGED_TIMES);
    return STATUS_OK;
}

enum status training_run(const struct training_job *job, const struct client_options *options,
                         struct training *ret_training, struct err *err)
{
    struct training training = {.imbalance_first = NAN, .imbalance_last = NAN};
    struct trainee trainee = {.job = job, .training = &training};
    ASSERT(job->steps_count >= 1 && job->steps_count <= TRAINING_STEPS_MAX);
    training.losses = calloc(job->steps_count, sizeof(*training.losses));
    training.norms = calloc(job->steps_count, sizeof(*training.norms));
    enum status status = training.losses != NULL && training.norms != NULL
                             ? STATUS_OK
                             : ERR(err, STATUS_NOMEM, "out of memory");
    const struct worker_job work = {.cell = job->cell,
                                    .log_path = job->log_path,
                                    .name = "stability",
                                    .run_id = job->run_id,
                                    .talk = talk,
                                    .judge = judge,
                                    .context = &trainee};
    if (status == STATUS_OK)
        status = worker_run(&work, options, &training.run, err);
    if (status == STATUS_OK)
        status = summarize(&training, err);
    training.imbalance_first = imbalance(&trainee.start, &trainee.end_of_first);
    if (training.steps_done == job->steps_count)
        training.imbalance_last = imbalance(&trainee.start_of_last, &trainee.end);
    if (status == STATUS_OK)
        *ret_training = training;
    else
        training_release(&training);
    return status;
}

void training_release(struct training *training)
{
    free(training->losses);
    free(training->norms);
    training->losses = NULL;
    training->norms = NULL;
}

struct curve training_curve(const struct training *training)
{
    return (struct curve){
        .losses = training->losses, .norms = training->norms, .count = training->steps_done};
}
