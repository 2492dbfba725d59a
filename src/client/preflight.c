#include "client/preflight.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json_dump.h"
#include "base/spawn.h"
#include "base/words.h"
#include "client/banner.h"
#include "client/log_tail.h"
#include "client/worker_command.h"
#include "proto/line.h"

/* The line that names the fault: an interpreter's fatal error, else the last that the process wrote
 * to its standard error. */
static void read_last_line(int log_fd, char text[LOG_TAIL_BYTES + 1])
{
    log_tail(log_fd, 0, INT_MAX, text);
    char *fatal = strstr(text, "Fatal Python error: ");
    char *line = strrchr(text, '\n');
    if (fatal != NULL) {
        fatal[strcspn(fatal, "\n")] = '\0';
        memmove(text, fatal, strlen(fatal) + 1);
    } else if (line != NULL) {
        memmove(text, line + 1, strlen(line + 1) + 1);
    }
}

static enum status fail(const struct spawn *spawn, int log_fd, const char *engine, struct err *err)
{
    char text[LOG_TAIL_BYTES + 1];
    char exit_text[SPAWN_EXIT_TEXT_BYTES] = "it still runs";
    read_last_line(log_fd, text);
    if (spawn->is_reaped)
        spawn_exit_text(spawn->wait_status, exit_text);
    /* The worker's own complaint needs no second name in front of it. */
    const char *said = text;
    static const char title[] = "tokmark worker: ";
    if (strncmp(said, title, sizeof(title) - 1) == 0)
        said += sizeof(title) - 1;
    if (said[0] != '\0')
        return ERR(err, STATUS_NOT_FOUND, "%.400s", said);
    return ERR(err, STATUS_NOT_FOUND, "the worker of engine %s does not start (%s)", engine,
               exit_text);
}

/* One line of JSON, re-written compactly; false for what a launcher may print before it. */
static bool take_line(const char *line, size_t length, const char *key, struct buf *ret_json)
{
    const char *start = banner_end(line, length, key);
    json_t *object =
        start != NULL ? json_loadb(start, length - (size_t)(start - line), 0, NULL) : NULL;
    bool is_object = json_is_object(object);
    if (is_object) {
        struct json_writer writer;
        json_writer_init(&writer, ret_json);
        is_object = json_dump_value(object, &writer);
    }
    json_decref(object);
    return is_object;
}

static enum status ask(const struct words *command, int log_fd, uint64_t timeout_ns,
                       const char *engine, const char *key, struct buf *ret_json, struct err *err)
{
    struct spawn spawn = {.in_fd = -1, .out_fd = -1};
    struct err cause = {0};
    if (spawn_start(command->items, log_fd, &spawn, &cause) != STATUS_OK)
        return ERR(err, STATUS_NOT_FOUND, "%s", cause.text);
    spawn_close_in(&spawn);
    uint64_t deadline_ns = clock_now_ns() + timeout_ns;
    struct line_reader reader;
    line_reader_init(&reader, spawn.out_fd);
    const char *line = NULL;
    size_t length = 0;
    enum status status = STATUS_OK;
    bool is_taken = false;
    size_t seen_bytes = 0;
    while (status == STATUS_OK && !is_taken && seen_bytes <= BANNER_BYTES_MAX) {
        status = line_reader_next(&reader, deadline_ns, -1, &line, &length, &cause);
        is_taken = status == STATUS_OK && take_line(line, length, key, ret_json);
        seen_bytes += length + 1;
    }
    (void)spawn_wait(&spawn, is_taken ? deadline_ns : clock_now_ns() + NS_PER_S);
    if (is_taken)
        status = STATUS_OK;
    else if (status == STATUS_TIMEOUT)
        (void)ERR(err, status, "the worker of engine %s does not say what it is", engine);
    else
        status = fail(&spawn, log_fd, engine, err);
    line_reader_release(&reader);
    spawn_release(&spawn);
    return status;
}

/* `... worker ENGINE QUESTION [DETAIL]`; the answer has that key. */
static enum status ask_worker(const struct client_options *options, const char *engine,
                              const char *question, const char *detail, const char *key,
                              struct buf *ret_json, struct err *err)
{
    struct words command;
    enum status status = worker_command_make(options, engine, &command, err);
    if (status != STATUS_OK)
        return status;
    int log_fd = memfd_create("probe", MFD_CLOEXEC);
    status = words_add(&command, question, err);
    if (status == STATUS_OK && detail != NULL)
        status = words_add(&command, detail, err);
    if (status == STATUS_OK && log_fd < 0)
        status = ERR(err, STATUS_IO, "cannot take a worker's messages: %s", strerror(errno));
    if (status == STATUS_OK)
        status = ask(&command, log_fd, options->phase_timeout_ns, engine, key, ret_json, err);
    if (log_fd >= 0)
        (void)close(log_fd);
    words_release(&command);
    return status;
}

static enum status check_packages(const char *json, const char *engine, struct err *err)
{
    json_t *object = json_loads(json, 0, NULL);
    char missing[128] = "";
    const json_t *names = json_object_get(object, "missing");
    for (size_t i = 0; i < json_array_size(names); i++) {
        const char *name = json_string_value(json_array_get(names, i));
        size_t length = strlen(missing);
        (void)snprintf(missing + length, sizeof(missing) - length, "%s%s",
                       length > 0 ? " and " : "", name != NULL ? name : "?");
    }
    const char *path = json_string_value(json_object_get(object, "executable"));
    const char *origin = json_string_value(json_object_get(object, "chosen_by"));
    enum status status = STATUS_OK;
    if (missing[0] != '\0')
        status = ERR(err, STATUS_NOT_FOUND,
                     "no %s in %.200s (%.60s): install it there, or call with --python \"$(tokmark "
                     "setup %s)\", which makes a place that has it and takes it",
                     missing, path != NULL ? path : "?", origin != NULL ? origin : "?", engine);
    json_decref(object);
    return status;
}

enum status preflight_require(const struct client_options *options, const char *engine,
                              struct buf *ret_json, struct err *err)
{
    enum status status = ask_worker(options, engine, "--probe", NULL, "executable", ret_json, err);
    return status == STATUS_OK ? check_packages(ret_json->data, engine, err) : status;
}

enum status preflight_peak(const struct client_options *options, const char *engine,
                           const char *device, struct buf *ret_json, struct err *err)
{
    return ask_worker(options, engine, "--peak", device, "matmul_flops", ret_json, err);
}
