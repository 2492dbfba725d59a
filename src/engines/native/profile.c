#include "engines/native/profile.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/json_write.h"
#include "engines/native/gemm.h"

/* A trace is written in pieces of this many bytes, and a little more. */
#define PIECE_BYTES ((size_t)64 * 1024)

/* Borrowed for the call. */
struct steps_log {
    struct operation_log operations;
    uint64_t *ends_ns; /* owned: steps_count + 1, the first is the first step's begin */
    uint32_t steps_count;
};

/* --- by name --- */

/* A step has a dozen or two of names. */
static struct proto_operator *find_operator(struct proto_profiled *profiled, const char *name)
{
    for (uint32_t i = 0; i < profiled->operators_count; i++)
        if (strcmp(profiled->operators[i].name, name) == 0)
            return &profiled->operators[i];
    ASSERT(profiled->operators_count < PROTO_OPERATORS_MAX);
    struct proto_operator *one = &profiled->operators[profiled->operators_count++];
    (void)snprintf(one->name, sizeof(one->name), "%s", name);
    return one;
}

static int by_time(const void *a, const void *b)
{
    uint64_t a_ns = ((const struct proto_operator *)a)->self_ns;
    uint64_t b_ns = ((const struct proto_operator *)b)->self_ns;
    return a_ns < b_ns ? 1 : a_ns > b_ns ? -1 : 0;
}

static void sum_operations(const struct steps_log *log, struct proto_profiled *profiled)
{
    for (size_t i = 0; i < log->operations.count; i++) {
        const struct operation *entry = &log->operations.entries[i];
        struct proto_operator *one = find_operator(profiled, entry->name);
        one->calls_count++;
        one->self_ns += entry->end_ns - entry->begin_ns;
        one->flops += entry->flops;
        profiled->operators_ns += entry->end_ns - entry->begin_ns;
    }
    for (uint32_t i = 0; i < profiled->operators_count; i++)
        if (!(profiled->operators[i].flops > 0))
            profiled->operators[i].flops = (double)NAN;
    profiled->names_count = profiled->operators_count;
    qsort(profiled->operators, profiled->operators_count, sizeof(profiled->operators[0]), by_time);
}

/* --- the trace --- */

static void put_place(struct json_writer *writer)
{
    json_field_u64(writer, "pid", (uint64_t)getpid());
    json_field_u64(writer, "tid", (uint64_t)getpid());
}

/* A complete event; its times are in us. */
static void put_event(struct json_writer *writer, const char *name, const char *category,
                      uint64_t first_ns, uint64_t begin_ns, uint64_t end_ns, double flops)
{
    json_begin_object(writer);
    json_field_string(writer, "ph", "X");
    json_field_string(writer, "name", name);
    json_field_string(writer, "cat", category);
    json_field_double(writer, "ts", (double)(begin_ns - first_ns) / NS_PER_US);
    json_field_double(writer, "dur", (double)(end_ns - begin_ns) / NS_PER_US);
    put_place(writer);
    if (flops > 0) {
        json_put_key(writer, "args");
        json_begin_object(writer);
        json_field_double(writer, "flops", flops);
        json_end_object(writer);
    }
    json_end_object(writer);
}

static void put_process(struct json_writer *writer)
{
    json_begin_object(writer);
    json_field_string(writer, "ph", "M");
    json_field_string(writer, "name", "process_name");
    put_place(writer);
    json_put_key(writer, "args");
    json_begin_object(writer);
    json_field_string(writer, "name", "tokmark native");
    json_end_object(writer);
    json_end_object(writer);
}

static enum status flush(struct buf *out, int fd, size_t least_bytes, struct err *err)
{
    if (out->failed)
        return ERR(err, STATUS_NOMEM, "no memory for the trace");
    if (out->length_bytes < least_bytes)
        return STATUS_OK;
    TRY(file_write_fd(fd, out->data, out->length_bytes, err));
    buf_reset(out);
    return STATUS_OK;
}

static enum status write_trace(void *context, int fd, struct err *err)
{
    const struct steps_log *log = context;
    const struct operation *entries = log->operations.entries;
    struct buf out CLEANUP(buf_release) = {0};
    struct json_writer writer;
    buf_init(&out, 4 * PIECE_BYTES);
    json_writer_init(&writer, &out);
    json_begin_object(&writer);
    json_put_key(&writer, "traceEvents");
    json_begin_array(&writer);
    put_process(&writer);
    size_t next = 0;
    for (uint32_t step = 0; step < log->steps_count; step++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "step %u", step);
        put_event(&writer, name, "step", log->ends_ns[0], log->ends_ns[step],
                  log->ends_ns[step + 1], 0);
        for (; next < log->operations.count && entries[next].end_ns <= log->ends_ns[step + 1];
             next++) {
            put_event(&writer, entries[next].name, "operator", log->ends_ns[0],
                      entries[next].begin_ns, entries[next].end_ns, entries[next].flops);
            TRY(flush(&out, fd, PIECE_BYTES, err));
        }
    }
    json_end_array(&writer);
    json_end_object(&writer);
    buf_append_char(&out, '\n');
    return flush(&out, fd, 0, err);
}

/* --- the steps --- */

static enum status run_logged(struct native_session *session, struct steps_log *log,
                              enum status (*run_step)(void *session, struct err *err),
                              struct err *err)
{
    enum status status = STATUS_OK;
    session->model.compute.log = &log->operations;
    log->ends_ns[0] = clock_now_ns();
    for (uint32_t step = 0; status == STATUS_OK && step < log->steps_count; step++) {
        status = run_step(session, err);
        log->ends_ns[step + 1] = clock_now_ns();
    }
    session->model.compute.log = NULL;
    if (status == STATUS_OK && log->operations.is_full)
        status = ERR(err, STATUS_NOMEM, "no memory for the operations of %u steps; try fewer",
                     log->steps_count);
    return status;
}

enum status profile_steps(struct native_session *session, const struct proto_profile *request,
                          enum status (*run_step)(void *session, struct err *err),
                          struct proto_profiled *ret_profiled, struct err *err)
{
    struct steps_log log = {.steps_count = request->steps_count};
    struct proto_profiled profiled = {.steps_count = request->steps_count};
    log.ends_ns = calloc((size_t)request->steps_count + 1, sizeof(*log.ends_ns));
    if (log.ends_ns == NULL)
        return ERR(err, STATUS_NOMEM, "no memory for %u steps", request->steps_count);
    enum status status = run_logged(session, &log, run_step, err);
    if (status == STATUS_OK) {
        (void)snprintf(profiled.profiler, sizeof(profiled.profiler),
                       "native's own log of operations, %s kernels", gemm_backend_name());
        profiled.window_ns = log.ends_ns[log.steps_count] - log.ends_ns[0];
        sum_operations(&log, &profiled);
        status = file_replace(request->trace_path, write_trace, &log, err);
    }
    if (status == STATUS_OK)
        *ret_profiled = profiled;
    operation_log_release(&log.operations);
    free(log.ends_ns);
    return status;
}
