#include "spec/hint.h"

#include <string.h>

#include "base/status.h"

static const struct {
    const char *code;
    const char *hint;
} hints[] = {
    {"warmup_not_steady", "wait until the machine is idle, or give a longer warm-up (--warmup N)"},
    {"target_ci_not_met", "raise --max-time or --target-ci, or stop other processes"},
    {"samples_min_not_reached", "raise --max-time"},
    {"imprecise", "measure more steps (--steps), or until it is precise (--target-ci)"},
    {"drift", "wait until the machine is warm and idle, or measure longer; --drift sets the limit"},
    {"correlated", "measure longer, or stop other processes"},
    {"machine_drift", "find what changed on the machine, and run the sweep again"},
    {"machine_slow",
     "measure again when the CPU is at its usual clock rate; if the machine has "
     "changed for good, remove machine.jsonl and pace.jsonl from the user's data folder"},
    {"runs_disagree", "use next_run_ms_low and _high, which hold for both states, compare side by "
                      "side (tokmark ab), or use a quieter machine; `tokmark noise` shows what "
                      "is known of this one"},
    {"foreign_load", "stop other processes, or pin the worker to idle CPUs (--launch 'taskset -c "
                     "2,3'); --resume measures it again"},
    {"load_not_judged", "measure longer (--steps, or --target-ci)"},
    {"throttled", "cool the machine, or lower its clock limit, and measure again"},
    {"over_peak",
     "run `tokmark peak` again, with nothing else running; if it stays, the model does less "
     "than its settings say"},
    {"gpu_shared", "stop the other processes on the card, and measure again"},
    {"energy_disagrees", "take the energy as known no better than both differ"},
    {"harmful_variable", "unset the variable, and measure again"},
    {"precision_not_as_asked", "request the precision that runs, or fix the model's own casts"},
    {"check_failed", "fix the engine or the model until `tokmark check` passes, then measure"},
    {"nonfinite_loss", "use a wider precision (bf16, fp32), or fix the model or its weights"},
    {"loss_diverged", "lower the learning rate (--lr), or use a wider precision"},
    {"no_loss", "use an engine that says its losses: `loss` of a block (docs/protocol.md)"},
    {"recompile", "give a longer warm-up (--warmup N), or keep the model's shapes fixed"},
    {"clock_mismatch", "fix the worker's clock: its time stamps must be CLOCK_MONOTONIC, in ns"},
    {"step_differs", "fix the engine: what it times is not the model that was asked for"},
    {"params_mismatch", "fix the worker's model, or give it a name of its own (--model)"},
    {"memory_does_not_fit", "lower --batch or --seq, or choose a smaller model or precision"},
    {"out_of_memory", "lower --batch or --seq, or choose a smaller model or precision"},
    {"kernel_oom_kill", "lower --batch or --seq, or free memory on the machine"},
    {"memory_limit", "raise --memory-limit, or lower --batch or --seq"},
    {"host_memory_low", "stop other processes that hold memory, then measure with --resume"},
    {"dominated", "--try-all runs it anyway"},
    {"unsupported", "choose what the reason names, or another engine (`tokmark engines`)"},
    {"model_error", "fix the model, its weights or its data as the reason says"},
    {"worker_error", "see the worker's log in DIR/logs"},
    {"start_failed", "check the command of --engine and --launch"},
    {"exited", "see the worker's log in DIR/logs"},
    {"killed_by_signal", "see the worker's log in DIR/logs"},
    {"pipe_failed",
     "measure again with --resume: the system refused tokmark a call, as the reason says"},
    {"timeout_start", "raise --timeout, or see the worker's log in DIR/logs"},
    {"timeout_open", "raise --timeout, or see the worker's log in DIR/logs"},
    {"timeout_warmup", "raise --timeout, or see the worker's log in DIR/logs"},
    {"timeout_measure", "raise --timeout, or see the worker's log in DIR/logs"},
    {"timeout_check", "raise --timeout, or see the worker's log in DIR/logs"},
    {"timeout_close", "raise --timeout, or see the worker's log in DIR/logs"},
    {"interrupted", "measure again with --resume"},
    {"bad_line", "fix the worker: docs/protocol.md defines a line"},
    {"bad_message", "fix the worker: docs/protocol.md lists the messages"},
    {"half_line", "fix the worker: it must flush whole lines before it ends"},
    {"stream_closed", "fix the worker: it must keep its output open until it exits"},
    {"unexpected_message", "fix the worker: each request has one kind of reply"},
    {"unasked_message", "fix the worker: it must write only replies, and print to stderr"},
    {"wrong_version", "use a worker that speaks version 1 of the protocol"},
    {"wrong_block", "fix the worker: a block has the requested steps and sync"},
};

const char *hint_of(const char *code)
{
    for (size_t i = 0; i < ARRAY_COUNT(hints); i++)
        if (strcmp(hints[i].code, code) == 0)
            return hints[i].hint;
    return NULL;
}

const char *hint_code_at(size_t index, const char **ret_hint)
{
    if (index >= ARRAY_COUNT(hints))
        return NULL;
    *ret_hint = hints[index].hint;
    return hints[index].code;
}
