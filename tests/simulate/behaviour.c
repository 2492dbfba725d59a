#include "behaviour.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "proto/message.h"
#include "world.h"

#define STEP_NS      (2 * NS_PER_MS)
#define REPLY_BYTES  (256 * 1024)
#define TARGET_STEPS 64

struct behaviour behaviour;

const char *fault_name(enum fault fault)
{
    static const char *const names[] = {
#define X(name, text, verdicts) text,
        FAULT_MAP(X)
#undef X
    };
    return names[fault];
}

const char *fault_verdicts(enum fault fault)
{
    static const char *const verdicts_of[] = {
#define X(name, text, verdicts) verdicts,
        FAULT_MAP(X)
#undef X
    };
    return verdicts_of[fault];
}

static uint64_t chance(uint64_t of)
{
    behaviour.key = random_at(behaviour.key, 1);
    return behaviour.key % of;
}

void behaviour_start(void)
{
    behaviour.messages_count = 0;
    behaviour.has_happened = false;
}

/* --- sound answers --- */

static void put_block(const struct proto_run *run, struct proto_block *block)
{
    *block = (struct proto_block){.steps_count = run->steps_count, .sync = run->sync};
    proto_observation_init(&block->observation);
    block->step_ns =
        run->sync == PROTO_SYNC_STEP ? calloc(run->steps_count, sizeof(uint64_t)) : NULL;
    for (uint32_t i = 0; i < run->steps_count; i++) {
        uint64_t step_ns = STEP_NS + chance(STEP_NS / 50);
        block->window_ns += step_ns;
        if (block->step_ns != NULL)
            block->step_ns[i] = step_ns;
    }
}

/* *ret_takes_ns: what the worker needs for it. */
static void answer(const struct proto_host_message *request, struct proto_worker_message *reply,
                   uint64_t *ret_takes_ns)
{
    *reply = (struct proto_worker_message){.type = request->type};
    *ret_takes_ns = 100 * NS_PER_US + chance(20 * NS_PER_MS);
    switch (request->type) {
    case PROTO_HELLO:
        reply->as.hello = (struct proto_worker_hello){.version = PROTO_VERSION,
                                                      .engine = "simulated",
                                                      .engine_version = "1",
                                                      .pid = world.worker.pid,
                                                      .is_synthetic = behaviour.is_synthetic,
                                                      .verifies = true};
        break;
    case PROTO_OPEN:
        reply->type = PROTO_READY;
        reply->as.ready = (struct proto_ready){.compiler_flops = 0};
        break;
    case PROTO_RUN:
        reply->type = PROTO_BLOCK;
        put_block(&request->as.run, &reply->as.block);
        *ret_takes_ns += reply->as.block.window_ns;
        break;
    case PROTO_MEMORY: reply->as.memory = (struct proto_memory){.has_rss = false}; break;
    case PROTO_VERIFY:
        proto_observation_init(&reply->as.verify.expected);
        (void)snprintf(reply->as.verify.why_not, sizeof(reply->as.verify.why_not), "it is made up");
        break;
    case PROTO_CLOSE: reply->type = PROTO_BYE; break;
    default: abort();
    }
}

static void say(const struct proto_worker_message *reply, uint64_t at_ns)
{
    struct buf line;
    buf_init(&line, REPLY_BYTES);
    proto_encode_worker(reply, &line);
    if (line.failed)
        abort();
    size_t cut = chance(4) == 0 ? (size_t)chance(line.length_bytes) : 0;
    if (cut > 0)
        world_write(at_ns, line.data, cut);
    world_write(at_ns + cut * NS_PER_US, line.data + cut, line.length_bytes - cut);
    buf_release(&line);
}

static void end(uint64_t at_ns, int wait_status)
{
    world.worker.dies_at_ns = at_ns;
    world.worker.dies_status = wait_status;
}

/* --- faults --- */

static void say_error(enum proto_error_kind kind, uint64_t at_ns)
{
    struct proto_worker_message reply = {.type = PROTO_ERROR};
    reply.as.error = (struct proto_error){.kind = kind};
    (void)snprintf(reply.as.error.text, sizeof(reply.as.error.text), "it is made up");
    say(&reply, at_ns);
}

static void write_long_line(uint64_t at_ns)
{
    static char bytes[PROTO_LINE_BYTES_MAX / 4];
    memset(bytes, 'x', sizeof(bytes));
    for (uint64_t i = 0; i < 6; i++)
        world_write(at_ns + i * NS_PER_MS, bytes, sizeof(bytes));
}

/* The reply is sound, the worker is not. */
static void say_wrong(struct proto_worker_message *reply, uint64_t at_ns)
{
    static const char garbage[] = "step 3: loss 4.1\n";
    static const char nul[] = "{\"type\":\"bye\0\"}\n";
    switch (behaviour.fault) {
    case FAULT_GARBAGE: world_write(at_ns, garbage, sizeof(garbage) - 1); break;
    case FAULT_NUL: world_write(at_ns, nul, sizeof(nul) - 1); break;
    case FAULT_WRONG_TYPE:
        reply->type = reply->type == PROTO_HELLO ? PROTO_BYE : PROTO_HELLO;
        reply->as.hello = (struct proto_worker_hello){.version = PROTO_VERSION, .pid = 1};
        (void)snprintf(reply->as.hello.engine, sizeof(reply->as.hello.engine), "simulated");
        say(reply, at_ns);
        break;
    case FAULT_TWICE:
        say(reply, at_ns);
        say(reply, at_ns + NS_PER_MS);
        break;
    case FAULT_CLOCK:
        reply->as.block.window_ns = 100 * reply->as.block.window_ns;
        say(reply, at_ns);
        break;
    case FAULT_STEPS:
        reply->as.block.steps_count -= 1;
        say(reply, at_ns);
        break;
    case FAULT_ERROR_OOM: say_error(PROTO_ERROR_OOM, at_ns); break;
    case FAULT_ERROR_UNSUPPORTED: say_error(PROTO_ERROR_UNSUPPORTED, at_ns); break;
    case FAULT_ERROR_MODEL: say_error(PROTO_ERROR_MODEL, at_ns); break;
    case FAULT_ERROR_INTERNAL: say_error(PROTO_ERROR_INTERNAL, at_ns); break;
    default: abort();
    }
}

/* False: the worker's own part is sound, but for what comes behind. */
static bool happens(struct proto_worker_message *reply, uint64_t at_ns)
{
    struct worker *worker = &world.worker;
    switch (behaviour.fault) {
    case FAULT_EXIT: end(at_ns, (int)(chance(2) << 8)); return true;
    case FAULT_SIGNAL: end(at_ns, chance(2) == 0 ? 11 : 9); return true;
    case FAULT_KERNEL:
        world.oom_kills++;
        end(at_ns, 9);
        return true;
    case FAULT_HALF_LINE:
        world_write(at_ns, "{\"type\":", 8);
        end(at_ns + 1, 1 << 8);
        return true;
    case FAULT_MEMBER:
        worker->is_member = true;
        end(at_ns, 1 << 8);
        return true;
    case FAULT_HANG_MEMBER: worker->is_member = true; return true;
    case FAULT_HANG: return true;
    case FAULT_STAYS: say(reply, at_ns); return true;
    case FAULT_HANG_DEAF: worker->is_deaf = true; return true;
    case FAULT_HANG_STOPPED: worker->is_stopped = true; return true;
    case FAULT_READS_NOTHING:
        worker->reads_nothing = true;
        say(reply, at_ns);
        return true;
    case FAULT_CLOSES: world_close_out(at_ns); return true;
    case FAULT_LONG_LINE: write_long_line(at_ns); return true;
    case FAULT_LEAK: worker->leaks_from_ns = world.now_ns; return true;
    /* the worker is sound: it is the harness whom the system refuses a call */
    case FAULT_NO_WRITE: worker->refuses_write = true; return false;
    case FAULT_NO_READ: worker->refuses_read = true; return false;
    case FAULT_NO_WAIT: worker->refuses_wait = true; return false;
    case FAULT_SLOW: say(reply, world.now_ns + behaviour.timeout_ns / 10 * 9); return true;
    case FAULT_NONE:
    case FAULT_START: return false;
    default: say_wrong(reply, at_ns); return true;
    }
}

/* Signals to the harness, while it waits for what does not come. */
static void signal_soon(void)
{
    uint64_t at = world.calls_count;
    if (!behaviour.is_signalled || world.signals_count > 0)
        return;
    world.signals_count = 1 + chance(SIGNALS_MAX);
    for (size_t i = 0; i < world.signals_count; i++)
        world.signal_calls[i] = at += 1 + chance(60);
}

void behaviour_line(const char *line, size_t line_bytes)
{
    struct proto_host_message request;
    struct proto_worker_message reply;
    struct err err = {0};
    uint64_t takes_ns = 0;
    if (proto_decode_host(line, line_bytes, &request, &err) != STATUS_OK) {
        world.broken = "the worker cannot read what it is asked";
        return;
    }
    answer(&request, &reply, &takes_ns);
    uint64_t *step_ns = reply.type == PROTO_BLOCK ? reply.as.block.step_ns : NULL;
    bool is_block_fault = behaviour.fault == FAULT_CLOCK || behaviour.fault == FAULT_STEPS;
    bool can_happen = true;
    if (is_block_fault)
        can_happen = reply.type == PROTO_BLOCK && reply.as.block.steps_count > 1;
    else if (behaviour.fault == FAULT_STAYS)
        can_happen = reply.type == PROTO_BYE;
    else if (behaviour.fault == FAULT_TWICE || behaviour.fault == FAULT_NO_WRITE)
        /* nobody reads, or writes, behind `bye` */
        can_happen = reply.type != PROTO_BYE;
    bool is_due =
        behaviour.messages_count >= behaviour.message && !behaviour.has_happened && can_happen;
    behaviour.messages_count++;
    behaviour.has_happened |= is_due && behaviour.fault != FAULT_NONE;
    if (behaviour.has_happened && is_due)
        signal_soon();
    if (!is_due || !happens(&reply, world.now_ns + takes_ns)) {
        say(&reply, world.now_ns + takes_ns);
        if (reply.type == PROTO_BYE)
            end(world.now_ns + takes_ns + NS_PER_MS, 0);
    }
    free(step_ns);
}

/* A sound worker leaves. */
void behaviour_end_of_input(void)
{
    struct worker *worker = &world.worker;
    bool is_hung =
        behaviour.has_happened && behaviour.fault >= FAULT_HANG && behaviour.fault <= FAULT_CLOSES;
    if (!is_hung && worker->dies_at_ns == NEVER && behaviour.fault != FAULT_LEAK)
        end(world.now_ns + NS_PER_MS, 0);
}
