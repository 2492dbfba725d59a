#include "engines/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/num.h"
#include "base/reserve.h"
#include "base/sysmem.h"
#include "engines/launched.h"
#include "proto/line.h"
#include "proto/message.h"

#define FIRST_PRIVATE_FD 3

enum worker_state { WORKER_NEW, WORKER_GREETED, WORKER_OPEN, WORKER_FAILED };

struct worker {
    const struct engine_ops *ops; /* borrowed */
    void *context;                /* owned by the engine; NULL before open */
    struct cell cell;
    struct engine_device device; /* the cell's, since open */
    enum worker_state state;
    int in_fd;
    int out_fd;
    struct line_reader reader;
    struct buf out;    /* one line on its way out; used only between blocks */
    uint64_t *step_ns; /* owned: PROTO_BLOCK_STEPS_MAX, touched before any timing */
    bool has_baseline;
    uint64_t rss_baseline_bytes;
    bool is_closed; /* the engine */
    bool is_done;
    int exit_code;
};

/* Takes fd 0 and 1 away from whatever library may print to them: the protocol goes on over private
 * descriptors, fd 0 reads nothing and fd 1 is the log. */
static enum status take_descriptors(struct worker *worker, struct err *err)
{
    worker->in_fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, FIRST_PRIVATE_FD);
    worker->out_fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, FIRST_PRIVATE_FD);
    if (worker->in_fd < 0 || worker->out_fd < 0)
        return ERR(err, STATUS_IO, "a worker needs its standard input and output: %s",
                   strerror(errno));
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null_fd < 0)
        return ERR(err, STATUS_IO, "cannot open /dev/null: %s", strerror(errno));
    if (fcntl(STDERR_FILENO, F_GETFD) < 0)
        (void)dup2(null_fd, STDERR_FILENO);
    bool moved = dup2(null_fd, STDIN_FILENO) >= 0 && dup2(STDERR_FILENO, STDOUT_FILENO) >= 0;
    if (null_fd > STDERR_FILENO)
        (void)close(null_fd);
    if (!moved)
        return ERR(err, STATUS_IO, "cannot move the standard descriptors: %s", strerror(errno));
    return STATUS_OK;
}

/* False when the parent is already gone. Under a launcher this follows the launcher, which does no
 * harm: the end of the input stream ends the worker in any case. */
static bool die_with_parent(void)
{
    pid_t parent = getppid();
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    return getppid() == parent;
}

static void send_message(struct worker *worker, const struct proto_worker_message *message)
{
    buf_reset(&worker->out);
    proto_encode_worker(message, &worker->out);
    struct err err = {0};
    /* A host that no longer reads is a host that is gone: there is nobody to tell. */
    if (worker->out.failed || file_write_fd(worker->out_fd, worker->out.data,
                                            worker->out.length_bytes, &err) != STATUS_OK) {
        worker->is_done = true;
        worker->exit_code = worker->out.failed ? 1 : 0;
    }
}

static enum proto_error_kind error_kind(enum status status)
{
    switch (status) {
    case STATUS_NOMEM: return PROTO_ERROR_OOM;
    case STATUS_UNSUPPORTED:
    case STATUS_LIMIT: return PROTO_ERROR_UNSUPPORTED;
    case STATUS_INVALID:
    case STATUS_NOT_FOUND: return PROTO_ERROR_MODEL;
    case STATUS_OK:
    case STATUS_TIMEOUT:
    case STATUS_CRASHED:
    case STATUS_PROTOCOL:
    case STATUS_IO:
    case STATUS_BUSY:
    case STATUS_INTERRUPTED: return PROTO_ERROR_INTERNAL;
    }
    return PROTO_ERROR_INTERNAL;
}

/* Whose memory the model is in, in the protocol's words. */
static const char *memory_scope(const struct worker *worker)
{
    return worker->device.is_host ? "host" : "device";
}

static void send_error(struct worker *worker, enum status status, const struct err *why)
{
    struct proto_worker_message message = {.type = PROTO_ERROR};
    struct proto_error *error = &message.as.error;
    error->kind = error_kind(status);
    (void)snprintf(error->text, sizeof(error->text), "%s",
                   why->text[0] != '\0' ? why->text : status_text(status));
    if (error->kind == PROTO_ERROR_OOM)
        (void)snprintf(error->scope, sizeof(error->scope), "%s", memory_scope(worker));
    send_message(worker, &message);
}

/* A request that has no place here. */
static void send_out_of_order(struct worker *worker, enum proto_type type, const char *why)
{
    struct err err = {0};
    (void)ERR(&err, STATUS_PROTOCOL, "'%s' has no place here: %s", proto_type_name(type), why);
    send_error(worker, STATUS_PROTOCOL, &err);
}

static void handle_hello(struct worker *worker, const struct proto_host_hello *hello)
{
    bool is_spoken = false;
    for (uint32_t i = 0; i < hello->versions_count; i++)
        is_spoken = is_spoken || hello->versions[i] == PROTO_VERSION;
    if (!is_spoken) {
        struct err err = {0};
        (void)ERR(&err, STATUS_UNSUPPORTED, "this worker speaks protocol version %d only",
                  PROTO_VERSION);
        worker->state = WORKER_FAILED;
        send_error(worker, STATUS_UNSUPPORTED, &err);
        return;
    }
    struct proto_worker_message message = {.type = PROTO_HELLO};
    struct proto_worker_hello *reply = &message.as.hello;
    reply->version = PROTO_VERSION;
    (void)snprintf(reply->engine, sizeof(reply->engine), "%s", worker->ops->name);
    (void)snprintf(reply->engine_version, sizeof(reply->engine_version), "%s",
                   worker->ops->version);
    reply->pid = getpid();
    reply->is_synthetic = worker->ops->synthetic_step_ns != NULL;
    reply->verifies = worker->ops->verify != NULL;
    reply->profiles = worker->ops->profile != NULL;
    worker->state = WORKER_GREETED;
    send_message(worker, &message);
}

/* What a cell can have where it runs. False when that is not known, and for a made-up engine, which
 * takes no memory. */
static bool usable_memory(const struct worker *worker, uint64_t *ret_bytes)
{
    bool is_host = worker->device.is_host;
    uint64_t available = is_host ? sysmem_available_bytes() : worker->device.available_bytes;
    uint64_t reserve = is_host ? reserve_host_bytes() : 0;
    if (worker->ops->synthetic_step_ns != NULL || available == 0)
        return false;
    *ret_bytes = available > reserve ? available - reserve : 0;
    return true;
}

/* Whose memory the cell is in, as a person says it. */
static const char *memory_name(const struct engine_device *device)
{
    if (device->is_host)
        return "host";
    return device->name[0] != '\0' ? device->name : "device";
}

/* What the engine says of a device goes to the log. */
static void log_device(const struct engine_device *device)
{
    char total[NUM_TEXT_BYTES];
    char available[NUM_TEXT_BYTES];
    if (device->is_host)
        return;
    num_format_bytes(device->memory_bytes, total);
    num_format_bytes(device->available_bytes, available);
    (void)fprintf(stderr, "device: %" PRIu32 " x %s, %s of memory, %s of it free\n", device->count,
                  memory_name(device), device->memory_bytes > 0 ? total : "unknown",
                  device->available_bytes > 0 ? available : "unknown");
}

/* Answers `oom` and returns false when the cell cannot fit; unknown sizes let it try, and so does a
 * caller who overrides the prediction. */
static bool fits_in_memory(struct worker *worker, const struct engine_prediction *prediction)
{
    const struct engine_device *device = &worker->device;
    uint64_t usable = 0;
    uint64_t needed = prediction->memory.total_bytes;
    if (worker->cell.skips_memory_check || !prediction->memory.is_known ||
        !usable_memory(worker, &usable) || needed <= usable)
        return true;
    char needed_text[NUM_TEXT_BYTES];
    char usable_text[NUM_TEXT_BYTES];
    num_format_bytes_apart(needed, usable, needed_text, usable_text);
    struct proto_worker_message message = {.type = PROTO_ERROR};
    struct proto_error *error = &message.as.error;
    error->kind = PROTO_ERROR_OOM;
    (void)snprintf(error->text, sizeof(error->text),
                   "the cell needs %s of %s memory and %s can be used", needed_text,
                   memory_name(device), usable_text);
    (void)snprintf(error->scope, sizeof(error->scope), "%s", memory_scope(worker));
    error->has_bytes = true;
    error->needed_bytes = needed;
    error->available_bytes = usable;
    send_message(worker, &message);
    return false;
}

/* From here on the peak is the model's. */
static void take_baseline(struct worker *worker)
{
    uint64_t peak_bytes = 0;
    (void)sysmem_reset_own_peak();
    worker->has_baseline = sysmem_process_rss(getpid(), &worker->rss_baseline_bytes, &peak_bytes);
}

/* Rank 0 of several says that they are too many; the others have ended. */
static enum status require_one_process(const struct engine_ops *ops, struct err *err)
{
    struct launched launched;
    if (!launched_find(&launched))
        return STATUS_OK;
    return ERR(err, STATUS_UNSUPPORTED,
               "%s is one process, and the launcher started %" PRIu32 " ranks (%s: %s=%" PRIu32
               "); the nearest is a launcher of one",
               ops->name, launched.count, launched.launcher, launched.count_key, launched.count);
}

/* How a step is laid out and trained is never passed over. */
static enum status require_plain_step(const struct engine_ops *ops, const struct cell *cell,
                                      struct err *err)
{
    const struct cell_options *options = &cell->options;
    const char *flag = cell->parallel[0] != '\0'                               ? "parallel"
                       : options->recompute != CELL_RECOMPUTE_OFF              ? "recompute"
                       : options->accumulate_count > 1                         ? "accumulate"
                       : options->optimizer_dtype != CELL_OPTIMIZER_DTYPE_AUTO ? "optimizer-dtype"
                                                                               : NULL;
    if (flag == NULL)
        return STATUS_OK;
    return ERR(err, STATUS_UNSUPPORTED, "%s has no --%s; pytorch has", ops->name, flag);
}

/* All that can be known before memory is taken. */
static enum status look_before_open(struct worker *worker, struct engine_prediction *ret_prediction,
                                    struct err *err)
{
    const struct engine_ops *ops = worker->ops;
    TRY(require_one_process(ops, err));
    TRY(require_plain_step(ops, &worker->cell, err));
    TRY(ops->supports(&worker->cell, err));
    TRY(engine_device_of(ops, &worker->cell, &worker->device, err));
    if (ops->device != NULL)
        log_device(&worker->device);
    return ops->predict != NULL ? ops->predict(&worker->cell, ret_prediction, err) : STATUS_OK;
}

static void handle_open(struct worker *worker, const struct cell *cell)
{
    if (worker->state != WORKER_GREETED) {
        send_out_of_order(worker, PROTO_OPEN, "it comes once, after hello");
        return;
    }
    worker->state = WORKER_FAILED;
    worker->cell = *cell;
    file_path_from_text(worker->cell.data_path);
    file_path_from_text(worker->cell.weights_path);
    take_baseline(worker);
    struct err err = {0};
    struct engine_prediction prediction = {0};
    enum status status = look_before_open(worker, &prediction, &err);
    if (status == STATUS_OK && !fits_in_memory(worker, &prediction))
        return;
    struct proto_worker_message message = {.type = PROTO_READY};
    if (status == STATUS_OK)
        status = worker->ops->open(&worker->cell, &worker->context, &message.as.ready, &err);
    if (status != STATUS_OK) {
        send_error(worker, status, &err);
        return;
    }
    if (!message.as.ready.memory_predicted.is_known)
        message.as.ready.memory_predicted = prediction.memory;
    worker->state = WORKER_OPEN;
    send_message(worker, &message);
}

/* Each step waited for: one time stamp a step, its duration the difference of two. */
static enum status run_synced_steps(const struct worker *worker, uint32_t steps_count,
                                    uint64_t *ret_window_ns, struct err *err)
{
    const struct engine_ops *ops = worker->ops;
    void *context = worker->context;
    uint64_t *step_ns = worker->step_ns;
    uint64_t first = clock_now_ns();
    uint64_t last = first;
    for (uint32_t i = 0; i < steps_count; i++) {
        enum status status = ops->run_step(context, err);
        if (status == STATUS_OK && ops->synchronize != NULL)
            status = ops->synchronize(context, err);
        if (status != STATUS_OK)
            return status;
        uint64_t now = clock_now_ns();
        step_ns[i] = now - last;
        last = now;
    }
    *ret_window_ns = last - first;
    return STATUS_OK;
}

/* Only the block's end waited for: two time stamps. */
static enum status run_free_steps(const struct worker *worker, uint32_t steps_count,
                                  uint64_t *ret_window_ns, struct err *err)
{
    const struct engine_ops *ops = worker->ops;
    void *context = worker->context;
    uint64_t first = clock_now_ns();
    for (uint32_t i = 0; i < steps_count; i++) {
        enum status status = ops->run_step(context, err);
        if (status != STATUS_OK)
            return status;
    }
    enum status status = ops->synchronize == NULL ? STATUS_OK : ops->synchronize(context, err);
    *ret_window_ns = clock_now_ns() - first;
    return status;
}

/* Durations that the engine makes up; no clock is read. */
static enum status run_synthetic_steps(const struct worker *worker, uint32_t steps_count,
                                       uint64_t *ret_window_ns, struct err *err)
{
    uint64_t window_ns = 0;
    for (uint32_t i = 0; i < steps_count; i++) {
        enum status status = worker->ops->run_step(worker->context, err);
        if (status != STATUS_OK)
            return status;
        worker->step_ns[i] = worker->ops->synthetic_step_ns(worker->context);
        window_ns += worker->step_ns[i];
    }
    *ret_window_ns = window_ns;
    return STATUS_OK;
}

/* Outside the window. */
static enum status prepare_block(const struct worker *worker, uint32_t steps_count,
                                 uint64_t *ret_ns, struct err *err)
{
    if (worker->ops->prepare == NULL)
        return STATUS_OK;
    uint64_t before_ns = clock_now_ns();
    enum status status = worker->ops->prepare(worker->context, steps_count, err);
    *ret_ns = clock_now_ns() - before_ns;
    return status;
}

static void observe_block(const struct worker *worker, struct proto_block *block)
{
    if (worker->ops->observe != NULL) {
        uint64_t before_ns = clock_now_ns();
        worker->ops->observe(worker->context, &block->observation);
        block->observation.observe_ns = clock_now_ns() - before_ns;
        block->observation.has_observe_ns = worker->ops->synthetic_step_ns == NULL;
    }
    if (worker->ops->recompiles != NULL)
        block->recompiles_count = worker->ops->recompiles(worker->context);
}

static void handle_run(struct worker *worker, const struct proto_run *run)
{
    if (worker->state != WORKER_OPEN) {
        send_out_of_order(worker, PROTO_RUN, "no model is open");
        return;
    }
    struct proto_worker_message message = {.type = PROTO_BLOCK};
    struct proto_block *block = &message.as.block;
    *block = (struct proto_block){.steps_count = run->steps_count, .sync = run->sync};
    proto_observation_init(&block->observation);
    struct err err = {0};
    bool has_prepared = worker->ops->prepare != NULL && worker->ops->synthetic_step_ns == NULL;
    uint64_t prepare_ns = 0;
    enum status status = prepare_block(worker, run->steps_count, &prepare_ns, &err);
    if (status != STATUS_OK) {
        send_error(worker, status, &err);
        return;
    }
    if (worker->ops->synthetic_step_ns != NULL)
        status = run_synthetic_steps(worker, run->steps_count, &block->window_ns, &err);
    else if (run->sync == PROTO_SYNC_STEP)
        status = run_synced_steps(worker, run->steps_count, &block->window_ns, &err);
    else
        status = run_free_steps(worker, run->steps_count, &block->window_ns, &err);
    if (status != STATUS_OK) {
        send_error(worker, status, &err);
        return;
    }
    if (run->sync == PROTO_SYNC_STEP)
        block->step_ns = worker->step_ns;
    observe_block(worker, block);
    block->observation.has_prepare_ns = has_prepared;
    block->observation.prepare_ns = prepare_ns;
    send_message(worker, &message);
}

static void handle_memory(struct worker *worker)
{
    struct proto_worker_message message = {.type = PROTO_MEMORY};
    struct proto_memory *memory = &message.as.memory;
    if (worker->state == WORKER_OPEN && worker->ops->memory != NULL)
        worker->ops->memory(worker->context, memory);
    memory->has_rss = worker->has_baseline &&
                      sysmem_process_rss(getpid(), &memory->rss_bytes, &memory->rss_peak_bytes);
    memory->rss_baseline_bytes = worker->rss_baseline_bytes;
    send_message(worker, &message);
}

static void handle_check(struct worker *worker, const struct proto_check *request)
{
    if (worker->state != WORKER_OPEN) {
        send_out_of_order(worker, PROTO_CHECK, "no model is open");
        return;
    }
    struct err err = {0};
    struct proto_check asked = *request;
    file_path_from_text(asked.inputs_path);
    file_path_from_text(asked.output_path);
    struct proto_worker_message message = {.type = PROTO_CHECK};
    enum status status =
        worker->ops->check == NULL
            ? ERR(&err, STATUS_UNSUPPORTED, "engine '%s' computes nothing that could be checked",
                  worker->ops->name)
            : worker->ops->check(worker->context, &asked, &message.as.check, &err);
    if (status == STATUS_OK)
        send_message(worker, &message);
    else
        send_error(worker, status, &err);
}

/* What stands in its way is no fault of the measurement that is made already. */
static void handle_verify(struct worker *worker, const struct proto_verify *request)
{
    if (worker->state != WORKER_OPEN || worker->ops->verify == NULL) {
        send_out_of_order(worker, PROTO_VERIFY, "no model is open, or the engine cannot");
        return;
    }
    struct proto_worker_message message = {.type = PROTO_VERIFY};
    struct proto_verified *verified = &message.as.verify;
    struct err err = {0};
    proto_observation_init(&verified->expected);
    if (worker->ops->verify(worker->context, request->step, &verified->expected, &err) != STATUS_OK)
        (void)snprintf(verified->why_not, sizeof(verified->why_not), "%.*s",
                       (int)sizeof(verified->why_not) - 1, err.text);
    send_message(worker, &message);
}

static void handle_profile(struct worker *worker, const struct proto_profile *request)
{
    if (worker->state != WORKER_OPEN || worker->ops->profile == NULL) {
        send_out_of_order(worker, PROTO_PROFILE, "no model is open, or the engine cannot");
        return;
    }
    struct err err = {0};
    struct proto_profile asked = *request;
    file_path_from_text(asked.trace_path);
    struct proto_worker_message message = {.type = PROTO_PROFILE};
    enum status status = worker->ops->profile(worker->context, &asked, &message.as.profile, &err);
    if (status == STATUS_OK)
        send_message(worker, &message);
    else
        send_error(worker, status, &err);
}

/* Once in a worker's life, whatever happened before. */
static void close_engine(struct worker *worker)
{
    if (!worker->is_closed && worker->ops->close != NULL)
        worker->ops->close(worker->context);
    worker->context = NULL;
    worker->is_closed = true;
}

static void handle_close(struct worker *worker)
{
    close_engine(worker);
    struct proto_worker_message message = {.type = PROTO_BYE};
    send_message(worker, &message);
    worker->is_done = true;
}

static void handle_message(struct worker *worker, const struct proto_host_message *message)
{
    switch (message->type) {
    case PROTO_HELLO:
        if (worker->state == WORKER_NEW)
            handle_hello(worker, &message->as.hello);
        else
            send_out_of_order(worker, PROTO_HELLO, "it comes once, first of all");
        break;
    case PROTO_OPEN: handle_open(worker, &message->as.open); break;
    case PROTO_RUN: handle_run(worker, &message->as.run); break;
    case PROTO_MEMORY: handle_memory(worker); break;
    case PROTO_CHECK: handle_check(worker, &message->as.check); break;
    case PROTO_VERIFY: handle_verify(worker, &message->as.verify); break;
    case PROTO_PROFILE: handle_profile(worker, &message->as.profile); break;
    case PROTO_CLOSE: handle_close(worker); break;
    case PROTO_READY:
    case PROTO_BLOCK:
    case PROTO_BYE:
    case PROTO_ERROR:
    case PROTO_TYPES_COUNT: UNREACHABLE("the decoder lets none of these through");
    }
}

/* Reads, does, answers, until close, the end of the stream or a line that is not understood. */
static void serve(struct worker *worker)
{
    while (!worker->is_done) {
        const char *line = NULL;
        size_t line_bytes = 0;
        struct err err = {0};
        struct proto_host_message message;
        enum status status = line_reader_next(&worker->reader, 0, -1, &line, &line_bytes, &err);
        if (status == STATUS_INTERRUPTED)
            continue;
        if (status == STATUS_NOT_FOUND)
            break; /* the host is gone */
        if (status == STATUS_OK)
            status = proto_decode_host(line, line_bytes, &message, &err);
        if (status == STATUS_OK) {
            handle_message(worker, &message);
            continue;
        }
        send_error(worker, STATUS_PROTOCOL, &err);
        worker->is_done = true;
        worker->exit_code = 1;
    }
}

int worker_main(const struct engine_ops *ops)
{
    struct err err = {0};
    struct launched launched;
    if (launched_find(&launched) && launched.rank > 0)
        return 0; /* rank 0 speaks for all */
    struct worker *worker = calloc(1, sizeof(*worker));
    if (worker == NULL)
        return 1;
    worker->ops = ops;
    worker->device.is_host = true;
    /* Writing to a host that is gone is answered by an exit code, not by a signal. */
    (void)signal(SIGPIPE, SIG_IGN);
    if (take_descriptors(worker, &err) != STATUS_OK) {
        (void)fprintf(stderr, "tokmark worker: %s\n", err.text);
        free(worker);
        return 1;
    }
    line_reader_init(&worker->reader, worker->in_fd);
    buf_init(&worker->out, PROTO_LINE_BYTES_MAX + 1);
    worker->step_ns = malloc(PROTO_BLOCK_STEPS_MAX * sizeof(*worker->step_ns));
    if (worker->step_ns == NULL) {
        worker->exit_code = 1;
    } else if (die_with_parent()) {
        memset(worker->step_ns, 0xFF, PROTO_BLOCK_STEPS_MAX * sizeof(*worker->step_ns));
        serve(worker);
        close_engine(worker);
    }
    int exit_code = worker->exit_code;
    free(worker->step_ns);
    buf_release(&worker->out);
    line_reader_release(&worker->reader);
    (void)close(worker->in_fd);
    (void)close(worker->out_fd);
    free(worker);
    return exit_code;
}
