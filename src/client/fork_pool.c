#include "client/fork_pool.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "client/banner.h"
#include "client/log_tail.h"
#include "proto/line.h"

/* Of a request (docs/protocol.md, "Forked workers"). */
#define KIND_FORWARD  'f'
#define KIND_TRAINING 't'
#define SERVERS_MAX   4 /* a comparison has two sides; more are started by themselves */

struct fork_server {
    struct words command; /* its workers', and one word more */
    char *folder;         /* owned; NULL = ours */
    struct spawn spawn;
    struct line_reader reader;
    int log_fd; /* what it says, in memory; -1 = none */
    bool is_running;
    bool is_serving; /* it has imported, and said so */
};

struct fork_pool {
    struct fork_server servers[SERVERS_MAX];
    size_t servers_count;
    struct err failure; /* the first */
};

struct fork_pool *fork_pool_new(void)
{
    return calloc(1, sizeof(struct fork_pool));
}

static void stop(struct fork_server *server)
{
    if (!server->is_running)
        return;
    spawn_release(&server->spawn);
    line_reader_release(&server->reader);
    (void)close(server->log_fd);
    server->is_running = false;
    server->is_serving = false;
}

void fork_pool_renew(struct fork_pool *pool)
{
    for (size_t i = 0; pool != NULL && i < pool->servers_count; i++) {
        struct fork_server *server = &pool->servers[i];
        stop(server);
        words_release(&server->command);
        free(server->folder);
        *server = (struct fork_server){0};
    }
    if (pool != NULL)
        pool->servers_count = 0;
}

void fork_pool_free(struct fork_pool *pool)
{
    fork_pool_renew(pool);
    free(pool);
}

const char *fork_pool_failure(const struct fork_pool *pool)
{
    return pool != NULL && pool->failure.status != STATUS_OK ? pool->failure.text : NULL;
}

/* --- which server --- */

static bool is_same_text(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static bool is_of_command(const struct fork_server *server, const struct words *command)
{
    bool is_same = server->command.count == command->count + 1;
    for (size_t i = 0; is_same && i < command->count; i++)
        is_same = strcmp(server->command.items[i], command->items[i]) == 0;
    return is_same;
}

static enum status add_server(struct fork_pool *pool, const struct words *command,
                              const char *folder, struct fork_server **ret_server, struct err *err)
{
    if (pool->servers_count == SERVERS_MAX)
        return ERR(err, STATUS_LIMIT, "there are %d servers already", SERVERS_MAX);
    struct fork_server *server = &pool->servers[pool->servers_count];
    enum status status = STATUS_OK;
    for (size_t i = 0; i < command->count && status == STATUS_OK; i++)
        status = words_add(&server->command, command->items[i], err);
    if (status == STATUS_OK)
        status = words_add(&server->command, "--serve", err);
    server->folder = folder != NULL ? strdup(folder) : NULL;
    if (status == STATUS_OK && folder != NULL && server->folder == NULL)
        status = ERR(err, STATUS_NOMEM, "no memory for a server");
    pool->servers_count++;
    if (status == STATUS_OK)
        *ret_server = server;
    return status;
}

static enum status find_server(struct fork_pool *pool, const struct words *command,
                               const char *folder, struct fork_server **ret_server, struct err *err)
{
    for (size_t i = 0; i < pool->servers_count; i++) {
        struct fork_server *server = &pool->servers[i];
        if (is_of_command(server, command) && is_same_text(server->folder, folder)) {
            *ret_server = server;
            return STATUS_OK;
        }
    }
    return add_server(pool, command, folder, ret_server, err);
}

/* --- its life --- */

static enum status run_server(struct fork_server *server, struct err *err)
{
    /* Its workers become orphans, and thereby our children. */
    if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0)
        return ERR(err, STATUS_UNSUPPORTED, "cannot take in orphans: %s", strerror(errno));
    int log_fd = memfd_create("server", MFD_CLOEXEC);
    if (log_fd < 0)
        return ERR(err, STATUS_IO, "cannot take its messages: %s", strerror(errno));
    enum status status =
        spawn_start_server(server->folder, server->command.items, log_fd, &server->spawn, err);
    if (status != STATUS_OK) {
        (void)close(log_fd);
        return status;
    }
    server->log_fd = log_fd;
    line_reader_init(&server->reader, server->spawn.out_fd);
    server->is_running = true;
    return STATUS_OK;
}

/* The last line that it wrote says most about why. */
static enum status fail_ended(struct fork_server *server, struct err *err)
{
    char exit_text[SPAWN_EXIT_TEXT_BYTES] = "it lives on without an output";
    char said[LOG_TAIL_BYTES + 1];
    if (spawn_wait(&server->spawn, clock_now_ns() + NS_PER_S))
        spawn_exit_text(server->spawn.wait_status, exit_text);
    log_tail(server->log_fd, 0, 1, said);
    return ERR(err, STATUS_CRASHED, "the process that had imported the framework ended: %s%s%.500s",
               exit_text, said[0] != '\0' ? ": " : "", said);
}

/* Its next line, with the listener's ticks while it takes time. */
static enum status await_line(struct fork_server *server, const struct client_options *options,
                              const char **ret_line, size_t *ret_bytes, struct err *err)
{
    uint64_t deadline_ns = clock_now_ns() + options->phase_timeout_ns;
    uint64_t tick_ns = events_tick_ns(options->events, NS_PER_S / 2);
    for (;;) {
        uint64_t now_ns = clock_now_ns();
        uint64_t slice_ns = now_ns + tick_ns < deadline_ns ? now_ns + tick_ns : deadline_ns;
        struct err why = {0};
        enum status status = line_reader_next(&server->reader, slice_ns, options->wake_fd, ret_line,
                                              ret_bytes, &why);
        if (status == STATUS_NOT_FOUND || (status == STATUS_PROTOCOL && server->reader.is_at_end))
            return fail_ended(server, err);
        if (status != STATUS_TIMEOUT && status != STATUS_INTERRUPTED)
            return status == STATUS_OK ? status : ERR(err, status, "%s", why.text);
        client_drain_wake(options);
        if (client_is_interrupted(options))
            return ERR(err, STATUS_INTERRUPTED, "interrupted");
        events_tick(options->events);
        if (clock_now_ns() >= deadline_ns)
            return ERR(err, STATUS_TIMEOUT, "no answer from the process that imports");
    }
}

/* Its next message of type `type`, as JSON; a preloaded library may print before the first. */
static enum status await_message(struct fork_server *server, const struct client_options *options,
                                 const char *type, json_t **ret_message, struct err *err)
{
    const char *line = NULL;
    size_t line_bytes = 0;
    enum status status = STATUS_OK;
    const char *start = NULL;
    for (size_t seen = 0; status == STATUS_OK && start == NULL; seen += line_bytes) {
        status = seen <= BANNER_BYTES_MAX
                     ? await_line(server, options, &line, &line_bytes, err)
                     : ERR(err, STATUS_PROTOCOL, "the process that imports prints too much");
        start = status == STATUS_OK ? banner_end(line, line_bytes, "type") : NULL;
    }
    if (status != STATUS_OK)
        return status;
    json_t *message = json_loadb(start, line_bytes - (size_t)(start - line), 0, NULL);
    if (is_same_text(json_string_value(json_object_get(message, "type")), type)) {
        *ret_message = message;
        return STATUS_OK;
    }
    const char *text = json_string_value(json_object_get(message, "text"));
    status = ERR(err, STATUS_UNSUPPORTED, "%s", text != NULL ? text : "it answers otherwise");
    json_decref(message);
    return status;
}

static enum status begin_serving(struct fork_server *server, const struct client_options *options,
                                 struct err *err)
{
    json_t *message = NULL;
    enum status status = server->is_running ? STATUS_OK : run_server(server, err);
    if (status == STATUS_OK)
        status = await_message(server, options, "serving", &message, err);
    json_decref(message);
    server->is_serving = status == STATUS_OK;
    return status;
}

static enum status fork_worker(struct fork_server *server, bool is_training,
                               const struct client_options *options, int log_fd,
                               struct spawn *ret_spawn, struct err *err)
{
    struct spawn spawn;
    json_t *message = NULL;
    struct err cause = {0};
    enum status status = spawn_ask(&server->spawn, is_training ? KIND_TRAINING : KIND_FORWARD,
                                   log_fd, &spawn, &cause);
    if (status == STATUS_CRASHED)
        return fail_ended(server, err);
    if (status != STATUS_OK)
        return ERR(err, status, "%s", cause.text);
    status = await_message(server, options, "forked", &message, err);
    if (status == STATUS_TIMEOUT)
        status = STATUS_CRASHED; /* it had imported: a worker's own start may still do */
    if (status == STATUS_OK &&
        !spawn_adopt(&spawn, json_integer_value(json_object_get(message, "pid"))))
        status = ERR(err, STATUS_CRASHED, "a forked worker did not become a child of this program");
    json_decref(message);
    if (status == STATUS_OK)
        *ret_spawn = spawn;
    else
        spawn_drop(&spawn);
    return status;
}

void fork_pool_prepare(struct fork_pool *pool, const struct words *command,
                       const struct client_options *options)
{
    struct fork_server *server = NULL;
    if (find_server(pool, command, options->work_dir, &server, NULL) == STATUS_OK)
        (void)!run_server(server, NULL);
}

enum status fork_pool_start(struct fork_pool *pool, const struct words *command, bool is_training,
                            const struct client_options *options, int log_fd,
                            struct spawn *ret_spawn, struct err *err)
{
    struct fork_server *server = NULL;
    if (pool->failure.status != STATUS_OK)
        return ERR(err, STATUS_UNSUPPORTED, "%s", pool->failure.text);
    struct err why = {0};
    enum status status = find_server(pool, command, options->work_dir, &server, &why);
    if (status == STATUS_OK && !server->is_serving)
        status = begin_serving(server, options, &why);
    if (status == STATUS_OK)
        status = fork_worker(server, is_training, options, log_fd, ret_spawn, &why);
    if (status == STATUS_OK)
        return status;
    if (server != NULL)
        stop(server);
    if (status != STATUS_INTERRUPTED)
        pool->failure = why;
    return ERR(err, status, "%s", why.text);
}
