#include "spec/cure.h"

#include <string.h>

#include "base/status.h"

static const struct {
    const char *code;
    const char *cure;
} cures[] = {
    {"warmup_not_steady", "wait until the machine is idle, or give a longer warm-up (--warmup N)"},
    {"target_ci_not_met", "raise --max-time, or --target-ci; or stop what else is running"},
    {"samples_min_not_reached", "raise --max-time"},
    {"drift", "wait until the machine is warm and idle, or measure longer; --drift sets the limit"},
    {"correlated", "measure longer, or stop what else is running"},
    {"machine_drift", "find what changed on the machine, and measure the sweep again"},
    {"machine_slow",
     "measure again when the machine is at its usual pace; if it has changed for good, remove "
     "pace.jsonl from the user's data folder"},
    {"runs_disagree",
     "give the interval between several starts (--trials 5), compare side by side (tokmark ab), or "
     "measure on a quieter machine; if it has changed for good, remove history.jsonl from the "
     "user's data folder"},
    {"foreign_load",
     "stop other processes, or confine the worker to idle processors (--launch 'taskset -c 2,3'); "
     "--resume measures it again"},
    {"throttled", "cool the machine, or lower its clock limit; --resume measures it again"},
    {"precision_not_as_asked", "ask for the precision that runs, or mend the model's own casts"},
    {"check_failed", "mend the engine or the model until `tokmark check` passes, then measure"},
    {"nonfinite_loss", "use a wider precision (bf16, fp32), or mend the model or its weights"},
    {"recompile", "give a longer warm-up (--warmup N), or keep the model's shapes fixed"},
    {"clock_mismatch", "mend the worker's clock: its stamps must be CLOCK_MONOTONIC, in ns"},
    {"params_mismatch", "mend the worker's model, or give it a name of its own (--model)"},
    {"memory_does_not_fit", "lower --batch or --seq, or choose a smaller model or precision"},
    {"out_of_memory", "lower --batch or --seq, or choose a smaller model or precision"},
    {"kernel_oom_kill", "lower --batch or --seq, or free memory on the machine"},
    {"memory_limit", "raise --memory-limit, or lower --batch or --seq"},
    {"host_memory_low", "stop what else holds memory, then measure with --resume"},
    {"dominated", "--try-all runs it all the same"},
    {"unsupported", "choose what the reason names, or another engine (`tokmark engines`)"},
    {"model_error", "mend the model, its weights or its data as the reason says"},
    {"worker_error", "see the worker's log in DIR/logs"},
    {"start_failed", "check the command of --engine and --launch"},
    {"exited", "see the worker's log in DIR/logs"},
    {"killed_by_signal", "see the worker's log in DIR/logs"},
    {"timeout_start", "raise --timeout, or see the worker's log in DIR/logs"},
    {"timeout_open", "raise --timeout, or see the worker's log in DIR/logs"},
    {"timeout_warmup", "raise --timeout, or see the worker's log in DIR/logs"},
    {"timeout_measure", "raise --timeout, or see the worker's log in DIR/logs"},
    {"timeout_check", "raise --timeout, or see the worker's log in DIR/logs"},
    {"timeout_close", "raise --timeout, or see the worker's log in DIR/logs"},
    {"interrupted", "measure again with --resume"},
    {"bad_line", "mend the worker: docs/protocol.md says what a line is"},
    {"bad_message", "mend the worker: docs/protocol.md lists the messages"},
    {"half_line", "mend the worker: it must flush whole lines before it ends"},
    {"stream_closed", "mend the worker: it must keep its output open until it exits"},
    {"unexpected_message", "mend the worker: each request has one kind of reply"},
    {"unasked_message", "mend the worker: it must write replies only, and print to stderr"},
    {"wrong_version", "use a worker that speaks version 1 of the protocol"},
    {"wrong_block", "mend the worker: a block has the steps and the sync that were asked for"},
};

const char *cure_of(const char *code)
{
    for (size_t i = 0; i < ARRAY_COUNT(cures); i++)
        if (strcmp(cures[i].code, code) == 0)
            return cures[i].cure;
    return NULL;
}

const char *cure_code_at(size_t index, const char **ret_cure)
{
    if (index >= ARRAY_COUNT(cures))
        return NULL;
    *ret_cure = cures[index].cure;
    return cures[index].code;
}
