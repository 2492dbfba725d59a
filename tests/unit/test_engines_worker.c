#include <criterion/criterion.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "engines/worker.h"
#include "patience.h"
#include "proto/line.h"

/* worker_main() in a child of this test, around engines made for it, spoken to over pipes. */

struct context {
    uint64_t steps_done;
    uint64_t steps_prepared;
    bool can_fail;
};

static enum status supports_all(const struct cell *cell, struct err *err)
{
    (void)cell;
    (void)err;
    return STATUS_OK;
}

/* As libraries do: prints on what it takes for the terminal. */
static enum status open_noisily(const struct cell *cell, void **ret_context,
                                struct proto_ready *ret_ready, struct err *err)
{
    (void)err;
    puts("loading 100 %");
    fflush(stdout);
    struct context *context = calloc(1, sizeof(*context));
    context->can_fail = cell->batch_size == 77;
    ret_ready->load_ns = 5;
    *ret_context = context;
    return STATUS_OK;
}

static enum status step_slowly(void *pointer, struct err *err)
{
    struct context *context = pointer;
    context->steps_done++;
    if (context->can_fail && context->steps_done == 3)
        return ERR(err, STATUS_NOMEM, "step %d found no memory", (int)context->steps_done);
    printf("step\n");
    fflush(stdout);
    usleep(2000);
    return STATUS_OK;
}

static uint64_t made_up_ns(void *pointer)
{
    return 1000 + ((struct context *)pointer)->steps_done;
}

static enum status predict_too_much(const struct cell *cell, struct engine_prediction *ret,
                                    struct err *err)
{
    (void)cell;
    (void)err;
    ret->memory = (struct proto_memory_parts){.is_known = true, .total_bytes = 1ULL << 55};
    return STATUS_OK;
}

static void observe_loss(void *pointer, struct proto_observation *ret)
{
    ret->loss = (double)((struct context *)pointer)->steps_done;
}

static enum status prepare_slowly(void *pointer, uint32_t steps_count, struct err *err)
{
    struct context *context = pointer;
    if (steps_count == 13)
        return ERR(err, STATUS_NOMEM, "no room for %u steps", (unsigned)steps_count);
    context->steps_prepared += steps_count;
    usleep(20000);
    return STATUS_OK;
}

static enum status step_if_prepared(void *pointer, struct err *err)
{
    struct context *context = pointer;
    if (++context->steps_done > context->steps_prepared)
        return ERR(err, STATUS_INVALID, "a step without its data");
    return STATUS_OK;
}

static uint32_t recompiles_on_odd_steps(void *pointer)
{
    return (uint32_t)(((struct context *)pointer)->steps_done % 2);
}

static void observe_device(void *pointer, struct proto_observation *ret)
{
    ret->has_device_ns = true;
    ret->device_ns = 7 * ((struct context *)pointer)->steps_done;
}

static enum status card(const struct cell *cell, struct engine_device *ret, struct err *err)
{
    (void)cell;
    (void)err;
    *ret = (struct engine_device){
        .name = "Card X", .count = 2, .memory_bytes = 2000, .available_bytes = 1500};
    return STATUS_OK;
}

static enum status predict_by_batch(const struct cell *cell, struct engine_prediction *ret,
                                    struct err *err)
{
    (void)err;
    ret->memory = (struct proto_memory_parts){.is_known = true, .total_bytes = cell->batch_size};
    return STATUS_OK;
}

static const struct engine_ops card_engine = {.name = "card",
                                              .version = "1",
                                              .supports = supports_all,
                                              .device = card,
                                              .predict = predict_by_batch,
                                              .open = open_noisily,
                                              .prepare = prepare_slowly,
                                              .run_step = step_if_prepared,
                                              .observe = observe_device,
                                              .recompiles = recompiles_on_odd_steps,
                                              .close = free};
static const struct engine_ops noisy_engine = {.name = "noisy",
                                               .version = "1",
                                               .supports = supports_all,
                                               .open = open_noisily,
                                               .run_step = step_slowly,
                                               .observe = observe_loss,
                                               .close = free};
static const struct engine_ops made_up_engine = {.name = "made-up",
                                                 .version = "1",
                                                 .supports = supports_all,
                                                 .open = open_noisily,
                                                 .run_step = step_slowly,
                                                 .synthetic_step_ns = made_up_ns,
                                                 .close = free};
static const struct engine_ops huge_engine = {.name = "huge",
                                              .version = "1",
                                              .supports = supports_all,
                                              .predict = predict_too_much,
                                              .open = open_noisily,
                                              .run_step = step_slowly,
                                              .close = free};

/* Its steps are queued, and done when they are waited for; each takes 2 ms. */
static enum status queue_step(void *pointer, struct err *err)
{
    (void)err;
    ((struct context *)pointer)->steps_done++;
    return STATUS_OK;
}

static enum status finish_late(void *pointer, struct err *err)
{
    struct context *context = pointer;
    (void)err;
    while (context->steps_prepared < context->steps_done) {
        usleep(2000);
        context->steps_prepared++;
    }
    return STATUS_OK;
}

static const struct engine_ops late_engine = {.name = "late",
                                              .version = "1",
                                              .supports = supports_all,
                                              .open = open_noisily,
                                              .run_step = queue_step,
                                              .synchronize = finish_late,
                                              .close = free};

struct peer {
    pid_t pid;
    int to_fd;
    int log_fd; /* the child's standard error */
    struct line_reader reader;
    struct proto_worker_message reply;
};

/* As a library does that is loaded: much memory, given back. */
static void hold_for_a_moment(size_t bytes)
{
    void *data = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED)
        _exit(9);
    memset(data, 1, bytes);
    munmap(data, bytes);
}

static void start_after_a_peak(struct peer *peer, const struct engine_ops *ops, size_t peak_bytes)
{
    int in[2];
    int out[2];
    char path[] = "worker_log_XXXXXX";
    peer->log_fd = mkstemp(path);
    unlink(path);
    cr_assert(pipe(in) == 0 && pipe(out) == 0);
    peer->pid = fork();
    if (peer->pid == 0) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        dup2(peer->log_fd, 2);
        close(in[1]);
        close(out[0]);
        close(in[0]);
        close(out[1]);
        if (peak_bytes > 0)
            hold_for_a_moment(peak_bytes);
        _exit(worker_main(ops));
    }
    close(in[0]);
    close(out[1]);
    peer->to_fd = in[1];
    line_reader_init(&peer->reader, out[0]);
}

static void start(struct peer *peer, const struct engine_ops *ops)
{
    start_after_a_peak(peer, ops, 0);
}

static void tell(struct peer *peer, const struct proto_host_message *message)
{
    struct buf line;
    buf_init(&line, 1 << 16);
    proto_encode_host(message, &line);
    cr_assert_eq(write(peer->to_fd, line.data, line.length_bytes), (ssize_t)line.length_bytes);
    buf_release(&line);
}

static void ask(struct peer *peer, const struct proto_host_message *message,
                enum proto_type expected)
{
    tell(peer, message);
    const char *line = NULL;
    size_t bytes = 0;
    struct err err = {0};
    proto_worker_message_release(&peer->reply);
    cr_assert_eq(
        line_reader_next(&peer->reader, clock_now_ns() + PATIENCE_NS, -1, &line, &bytes, &err),
        STATUS_OK, "%s", err.text);
    cr_assert_eq(proto_decode_worker(line, bytes, &peer->reply, &err), STATUS_OK, "%s", err.text);
    cr_assert_eq(peer->reply.type, expected, "%s", line);
}

static void greet(struct peer *peer)
{
    struct proto_host_message hello = {.type = PROTO_HELLO,
                                       .as.hello = {.versions_count = 1, .versions = {1}}};
    memset(&peer->reply, 0, sizeof(peer->reply));
    ask(peer, &hello, PROTO_HELLO);
}

static struct proto_host_message open_message(uint32_t batch_size)
{
    struct proto_host_message message = {.type = PROTO_OPEN};
    message.as.open = (struct cell){.engine = "x",
                                    .framework = "x",
                                    .model_source = "preset",
                                    .device = "cpu",
                                    .mode = CELL_MODE_INFER,
                                    .seq_len = 4,
                                    .batch_size = batch_size};
    message.as.open.model = (struct model_spec){.name = "m",
                                                .vocab_size = 8,
                                                .max_seq_len = 4,
                                                .dim = 8,
                                                .layers_count = 1,
                                                .heads_count = 1,
                                                .ffn_hidden = 8,
                                                .experts_count = 1,
                                                .experts_active = 1,
                                                .norm_eps = 1e-6,
                                                .rotary_base = 10000.0};
    return message;
}

static void run_steps(struct peer *peer, uint32_t steps, enum proto_sync sync,
                      enum proto_type expected)
{
    struct proto_host_message run = {.type = PROTO_RUN,
                                     .as.run = {.steps_count = steps, .sync = sync}};
    ask(peer, &run, expected);
}

static void stop(struct peer *peer, int wanted_code)
{
    int status = 0;
    proto_worker_message_release(&peer->reply);
    close(peer->to_fd);
    cr_assert_eq(waitpid(peer->pid, &status, 0), peer->pid);
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == wanted_code, "status %d", status);
    close(peer->reader.fd);
    close(peer->log_fd);
    line_reader_release(&peer->reader);
}

Test(engines_worker, what_an_engine_prints_goes_to_the_log)
{
    struct peer peer;
    start(&peer, &noisy_engine);
    greet(&peer);
    struct proto_host_message open = open_message(1);
    ask(&peer, &open, PROTO_READY);
    run_steps(&peer, 3, PROTO_SYNC_STEP, PROTO_BLOCK);
    struct proto_host_message bye = {.type = PROTO_CLOSE};
    ask(&peer, &bye, PROTO_BYE);
    char log[256] = "";
    cr_assert_gt(pread(peer.log_fd, log, sizeof(log) - 1, 0), 0);
    cr_expect_str_eq(log, "loading 100 %\nstep\nstep\nstep\n");
    stop(&peer, 0);
}

Test(engines_worker, steps_are_timed_back_to_back)
{
    struct peer peer;
    start(&peer, &noisy_engine);
    greet(&peer);
    struct proto_host_message open = open_message(1);
    ask(&peer, &open, PROTO_READY);
    uint64_t before = clock_now_ns();
    run_steps(&peer, 5, PROTO_SYNC_STEP, PROTO_BLOCK);
    uint64_t host_ns = clock_now_ns() - before;
    const struct proto_block *block = &peer.reply.as.block;
    uint64_t sum_ns = 0;
    for (int i = 0; i < 5; i++) {
        cr_expect_geq(block->step_ns[i], 2000 * NS_PER_US, "a step sleeps 2 ms");
        sum_ns += block->step_ns[i];
    }
    cr_expect_eq(sum_ns, block->window_ns, "no gap is lost");
    cr_expect_leq(block->window_ns, host_ns);
    cr_expect_float_eq(block->observation.loss, 5.0, 0);
    cr_expect(isnan(block->observation.grad_norm));
    run_steps(&peer, 4, PROTO_SYNC_BLOCK, PROTO_BLOCK);
    cr_expect_null(peer.reply.as.block.step_ns);
    cr_expect_geq(peer.reply.as.block.window_ns, 8000 * NS_PER_US);
    stop(&peer, 0);
}

Test(engines_worker, a_stamp_is_taken_when_a_step_is_complete)
{
    struct peer peer;
    start(&peer, &late_engine);
    greet(&peer);
    struct proto_host_message open = open_message(1);
    ask(&peer, &open, PROTO_READY);
    const struct proto_block *block = &peer.reply.as.block;
    run_steps(&peer, 3, PROTO_SYNC_STEP, PROTO_BLOCK);
    for (int i = 0; i < 3; i++)
        cr_expect_geq(block->step_ns[i], 2000 * NS_PER_US, "step %d", i);
    run_steps(&peer, 3, PROTO_SYNC_BLOCK, PROTO_BLOCK);
    cr_expect_geq(block->window_ns, 6000 * NS_PER_US);
    stop(&peer, 0);
}

Test(engines_worker, made_up_time_replaces_the_clock)
{
    struct peer peer;
    start(&peer, &made_up_engine);
    greet(&peer);
    cr_expect(peer.reply.as.hello.is_synthetic);
    struct proto_host_message open = open_message(1);
    ask(&peer, &open, PROTO_READY);
    run_steps(&peer, 2, PROTO_SYNC_STEP, PROTO_BLOCK);
    cr_expect_eq(peer.reply.as.block.step_ns[0], 1001);
    cr_expect_eq(peer.reply.as.block.step_ns[1], 1002);
    cr_expect_eq(peer.reply.as.block.window_ns, 2003);
    run_steps(&peer, 2, PROTO_SYNC_BLOCK, PROTO_BLOCK);
    cr_expect_eq(peer.reply.as.block.window_ns, 2007);
    stop(&peer, 0);
}

Test(engines_worker, a_cell_that_cannot_fit_is_refused_before_it_is_opened)
{
    struct peer peer;
    start(&peer, &huge_engine);
    greet(&peer);
    struct proto_host_message open = open_message(1);
    ask(&peer, &open, PROTO_ERROR);
    cr_expect_eq(peer.reply.as.error.kind, PROTO_ERROR_OOM);
    cr_expect(peer.reply.as.error.has_bytes);
    cr_expect_eq(peer.reply.as.error.needed_bytes, 1ULL << 55);
    cr_expect_gt(peer.reply.as.error.available_bytes, 0);
    cr_expect_str_eq(peer.reply.as.error.scope, "host");
    char log[64];
    cr_expect_eq(pread(peer.log_fd, log, sizeof(log), 0), 0, "open() was not called");
    struct proto_host_message bye = {.type = PROTO_CLOSE};
    ask(&peer, &bye, PROTO_BYE);
    stop(&peer, 0);
}

Test(engines_worker, a_prediction_of_memory_can_be_overridden)
{
    struct peer peer;
    start(&peer, &huge_engine);
    greet(&peer);
    struct proto_host_message open = open_message(1);
    open.as.open.skips_memory_check = true;
    ask(&peer, &open, PROTO_READY);
    stop(&peer, 0);
}

Test(engines_worker, a_device_has_its_own_memory)
{
    struct peer peer;
    start(&peer, &card_engine);
    greet(&peer);
    struct proto_host_message open = open_message(1501);
    ask(&peer, &open, PROTO_ERROR);
    cr_expect_eq(peer.reply.as.error.kind, PROTO_ERROR_OOM);
    cr_expect_eq(peer.reply.as.error.needed_bytes, 1501);
    cr_expect_eq(peer.reply.as.error.available_bytes, 1500);
    cr_expect_str_eq(peer.reply.as.error.scope, "device");
    cr_expect(strstr(peer.reply.as.error.text, "Card X") != NULL, "%s", peer.reply.as.error.text);
    stop(&peer, 0);
    start(&peer, &card_engine);
    greet(&peer);
    open = open_message(1500);
    ask(&peer, &open, PROTO_READY);
    char log[128] = "";
    cr_assert_gt(pread(peer.log_fd, log, sizeof(log) - 1, 0), 0);
    cr_expect(strstr(log, "device: 2 x Card X, 1.95 KiB of memory, 1.46 KiB of it free\n") == log,
              "%s", log);
    stop(&peer, 0);
}

Test(engines_worker, what_a_device_needs_happens_outside_the_window)
{
    struct peer peer;
    start(&peer, &card_engine);
    greet(&peer);
    struct proto_host_message open = open_message(1);
    ask(&peer, &open, PROTO_READY);
    const struct proto_block *block = &peer.reply.as.block;
    run_steps(&peer, 3, PROTO_SYNC_STEP, PROTO_BLOCK);
    cr_expect(block->observation.has_prepare_ns);
    cr_expect_geq(block->observation.prepare_ns, 20000 * NS_PER_US);
    cr_expect_lt(block->window_ns, block->observation.prepare_ns);
    cr_expect_eq(block->observation.device_ns, 21);
    cr_expect_eq(block->recompiles_count, 1);
    run_steps(&peer, 1, PROTO_SYNC_BLOCK, PROTO_BLOCK);
    cr_expect_eq(block->recompiles_count, 0);
    run_steps(&peer, 13, PROTO_SYNC_STEP, PROTO_ERROR);
    cr_expect_str_eq(peer.reply.as.error.text, "no room for 13 steps");
    cr_expect_str_eq(peer.reply.as.error.scope, "device");
    stop(&peer, 0);
}

Test(engines_worker, a_step_that_fails_is_an_error_and_the_worker_stays)
{
    struct peer peer;
    start(&peer, &noisy_engine);
    greet(&peer);
    struct proto_host_message open = open_message(77);
    ask(&peer, &open, PROTO_READY);
    run_steps(&peer, 5, PROTO_SYNC_STEP, PROTO_ERROR);
    cr_expect_eq(peer.reply.as.error.kind, PROTO_ERROR_OOM);
    cr_expect_str_eq(peer.reply.as.error.text, "step 3 found no memory");
    struct proto_host_message bye = {.type = PROTO_CLOSE};
    ask(&peer, &bye, PROTO_BYE);
    stop(&peer, 0);
}

Test(engines_worker, memory_is_told_as_growth_since_open)
{
    struct peer peer;
    start(&peer, &noisy_engine);
    greet(&peer);
    struct proto_host_message open = open_message(1);
    ask(&peer, &open, PROTO_READY);
    struct proto_host_message memory = {.type = PROTO_MEMORY};
    ask(&peer, &memory, PROTO_MEMORY);
    const struct proto_memory *seen = &peer.reply.as.memory;
    cr_expect(seen->has_rss);
    cr_expect_gt(seen->rss_baseline_bytes, 0);
    cr_expect_geq(seen->rss_peak_bytes, seen->rss_bytes);
    cr_expect_not(seen->has_allocated_bytes);
    stop(&peer, 0);
}

Test(engines_worker, the_peak_before_the_model_is_not_the_models)
{
    struct peer peer;
    const uint64_t peak_bytes = (uint64_t)256 << 20;
    start_after_a_peak(&peer, &noisy_engine, peak_bytes);
    greet(&peer);
    struct proto_host_message open = open_message(1);
    ask(&peer, &open, PROTO_READY);
    struct proto_host_message memory = {.type = PROTO_MEMORY};
    ask(&peer, &memory, PROTO_MEMORY);
    const struct proto_memory *told = &peer.reply.as.memory;
    cr_assert(told->has_rss);
    cr_expect_lt(told->rss_peak_bytes, told->rss_baseline_bytes + peak_bytes / 2);
    stop(&peer, 0);
}

Test(engines_worker, a_worker_dies_with_its_parent)
{
    /* This process keeps the worker's input open, so only the kernel's signal can end it. */
    int in[2];
    int out[2];
    int report[2];
    cr_assert(pipe(in) == 0 && pipe(out) == 0 && pipe(report) == 0);
    prctl(PR_SET_CHILD_SUBREAPER, 1); /* the orphan comes to us */
    pid_t parent = fork();
    if (parent == 0) {
        pid_t worker = fork();
        if (worker == 0) {
            dup2(in[0], 0);
            dup2(out[1], 1);
            _exit(worker_main(&noisy_engine));
        }
        (void)!write(report[1], &worker, sizeof(worker));
        pause();
        _exit(0);
    }
    pid_t worker = 0;
    cr_assert_eq(read(report[0], &worker, sizeof(worker)), (ssize_t)sizeof(worker));
    /* Its hello shows that it has asked for the signal. */
    static const char hello[] = "{\"type\":\"hello\",\"versions\":[1]}\n";
    cr_assert_eq(write(in[1], hello, sizeof(hello) - 1), (ssize_t)sizeof(hello) - 1);
    char byte;
    cr_assert_eq(read(out[0], &byte, 1), 1);
    kill(parent, SIGKILL);
    cr_assert_eq(waitpid(parent, NULL, 0), parent);
    int status = 0;
    pid_t got = 0;
    for (unsigned i = 0; i < PATIENCE_MS / 10 && got == 0; i++) {
        got = waitpid(worker, &status, WNOHANG);
        usleep(10000);
    }
    cr_assert_eq(got, worker, "it lives");
    cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "status %d", status);
}
