#include "client/session.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/num.h"
#include "client/banner.h"
#include "client/fork_pool.h"
#include "client/ladder.h"
#include "client/log_tail.h"

#define INTERRUPT_GRACE_NS (2 * NS_PER_S) /* for the running block after SIGINT */
#define EXIT_GRACE_NS      (1 * NS_PER_S) /* between the stream's end and the process's */
#define REQUEST_BYTES_MAX  (64 * 1024)
#define FIRST_FREE_FD      3
#define REASON_LINES_MAX   3 /* of the log, in a reason */
/* How far a worker's clock may run from the host's over one block. */
#define CLOCK_SLACK_NS       NS_PER_MS
#define CLOCK_SLACK_PER_CENT 1

void session_init(struct session *session, const struct client_options *options)
{
    memset(session, 0, sizeof(*session));
    session->options = options;
    session->spawn = (struct spawn){.in_fd = -1, .out_fd = -1};
    session->log_fd = -1;
    session->pause_ns = WATCH_PAUSE_NS_MIN;
    session->looked_ns = clock_now_ns();
    session->phase = EVENT_STARTING;
    line_reader_init(&session->reader, -1);
}

void session_release(struct session *session)
{
    spawn_release(&session->spawn);
    line_reader_release(&session->reader);
    if (session->log_fd >= 0)
        (void)close(session->log_fd);
    session->log_fd = -1;
}

uint64_t session_window_max_ns(uint64_t host_ns)
{
    return host_ns + CLOCK_SLACK_NS + host_ns / 100 * CLOCK_SLACK_PER_CENT;
}

/* The last lines of the log, behind a reason. */
static void add_log(const struct session *session, char text[REASON_TEXT_BYTES])
{
    char lines[LOG_TAIL_BYTES + 1];
    size_t length = strlen(text);
    log_tail(session->log_fd, session->log_start_byte, REASON_LINES_MAX, lines);
    for (char *line = lines; (line = strchr(line, '\n')) != NULL;)
        *line = '|';
    if (lines[0] != '\0')
        (void)snprintf(text + length, REASON_TEXT_BYTES - length, ": %.*s",
                       (int)(REASON_TEXT_BYTES - length), lines);
}

void session_end(struct session *session, enum verdict verdict, const char *code,
                 const char *format, ...)
{
    if (session->has_ended)
        return;
    char text[REASON_TEXT_BYTES];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    /* Of a worker that never spoke, its log knows most: a launcher's complaint, a missing library.
     * Later a launcher says which rank ended first. */
    bool is_told_by_log =
        session->phase == EVENT_STARTING || session->options->launch_prefix != NULL;
    if (is_told_by_log && !session->is_alive_expected)
        add_log(session, text);
    session->has_ended = true;
    session->verdict = verdict;
    reasons_add(&session->reasons, code, "%s", text);
}

static void end_by_timeout(struct session *session)
{
    char limit[NUM_TEXT_BYTES];
    char code[REASON_CODE_BYTES];
    num_format_duration(session->options->phase_timeout_ns, limit);
    (void)snprintf(code, sizeof(code), "timeout_%s", event_phase_name(session->phase));
    session_end(session, VERDICT_TIMEOUT, code, "no answer within %s during %s", limit,
                event_phase_name(session->phase));
}

/* --- starting --- */

/* Appending, so that the worker's lines and ours do not overwrite each other. */
static enum status open_log(struct session *session, const char *path, const char *title,
                            struct err *err)
{
    int fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (fd >= 0 && fd < FIRST_FREE_FD) {
        int moved = fcntl(fd, F_DUPFD_CLOEXEC, FIRST_FREE_FD);
        (void)close(fd);
        fd = moved;
    }
    if (fd < 0)
        return ERR(err, STATUS_IO, "cannot write '%s': %s", path, strerror(errno));
    session->log_fd = fd;
    struct err why = {0};
    enum status status = file_write_fd(fd, title, strlen(title), &why);
    session->log_start_byte = lseek(fd, 0, SEEK_END);
    return status == STATUS_OK ? status : ERR(err, status, "cannot write '%s': %s", path, why.text);
}

/* False: the worker is to be started by itself, unless the session is over by now. */
static bool fork_process(struct session *session, const struct words *command, bool is_training)
{
    struct err why = {0};
    enum status status = fork_pool_start(session->options->fork_pool, command, is_training,
                                         session->options, session->log_fd, &session->spawn, &why);
    session->is_forked = status == STATUS_OK;
    if (status == STATUS_INTERRUPTED)
        session->is_abandoned = true;
    else if (status == STATUS_TIMEOUT)
        end_by_timeout(session);
    else if (status != STATUS_OK)
        (void)dprintf(session->log_fd, "[tokmark: not forked: %s]\n", why.text);
    return session->is_forked;
}

/* False: there is no process, and what follows from it is set. */
static bool start_process(struct session *session, const struct words *command, bool is_training)
{
    if (session->options->fork_pool != NULL && fork_process(session, command, is_training))
        return true;
    if (session->has_ended || session->is_abandoned)
        return false;
    struct err why = {0};
    if (spawn_start_in(session->options->work_dir, command->items, session->log_fd, &session->spawn,
                       &why) == STATUS_OK)
        return true;
    session_end(session, VERDICT_CRASHED, "start_failed", "%s", why.text);
    return false;
}

enum status session_start(struct session *session, const struct words *command, bool is_training,
                          const char *log_path, const char *log_title, struct err *err)
{
    enum status status = open_log(session, log_path, log_title, err);
    if (status != STATUS_OK)
        return status;
    if (!start_process(session, command, is_training))
        return STATUS_OK;
    session->reader.fd = session->spawn.out_fd;
    /* Another's worker has promised to write nothing of the kind; a launcher has not. */
    bool is_own = session->options->self_path != NULL &&
                  strcmp(command->items[0], session->options->self_path) == 0;
    session->takes_banner = is_own || session->options->launch_prefix != NULL;
    watch_begin(&session->watch, session->spawn.pid, session->options->memory_limit_bytes);
    return STATUS_OK;
}

/* --- what ended it --- */

static void end_by_signal(struct session *session, const char *exit_text)
{
    bool is_kill = WIFSIGNALED(session->spawn.wait_status)
                       ? WTERMSIG(session->spawn.wait_status) == SIGKILL
                       : WEXITSTATUS(session->spawn.wait_status) == 128 + SIGKILL;
    if (is_kill && watch_saw_oom_kill(&session->watch))
        session_end(session, VERDICT_OOM, "kernel_oom_kill",
                    "the kernel killed the worker for memory during %s (%s)",
                    event_phase_name(session->phase), exit_text);
    else
        session_end(session, VERDICT_CRASHED, "killed_by_signal", "the worker died during %s: %s",
                    event_phase_name(session->phase), exit_text);
}

/* The stream has ended, or the process has, and there was no `bye`. `had_half_line`: the stream
 * ended inside a line, which breaks the protocol unless the worker was cut down while writing. */
static void end_by_exit(struct session *session, bool had_half_line)
{
    if (session->has_ended)
        return;
    spawn_close_in(&session->spawn);
    if (!ladder_wait(&session->spawn, session->options, clock_now_ns() + EXIT_GRACE_NS)) {
        session_end(session, VERDICT_PROTOCOL_ERROR, "stream_closed",
                    "the worker closed its output during %s and lived on",
                    event_phase_name(session->phase));
        return;
    }
    char exit_text[SPAWN_EXIT_TEXT_BYTES];
    spawn_exit_text(session->spawn.wait_status, exit_text);
    /* A launcher reports its command's signal as exit code 128 + signal. */
    bool is_signal = WIFSIGNALED(session->spawn.wait_status) ||
                     WEXITSTATUS(session->spawn.wait_status) == 128 + SIGKILL;
    if (is_signal)
        end_by_signal(session, exit_text);
    else if (had_half_line)
        session_end(session, VERDICT_PROTOCOL_ERROR, "half_line",
                    "the worker ended inside a line during %s: %s",
                    event_phase_name(session->phase), exit_text);
    else
        session_end(session, VERDICT_CRASHED, "exited", "the worker ended during %s: %s",
                    event_phase_name(session->phase), exit_text);
}

static void end_by_memory(struct session *session, const struct watch_look *look)
{
    const struct watch *watch = &session->watch;
    const char *phase = event_phase_name(session->phase);
    char seen[NUM_TEXT_BYTES];
    char limit[NUM_TEXT_BYTES];
    session->has_oom_available = true;
    if (look->finding == WATCH_OVER_LIMIT) {
        num_format_bytes_apart(look->rss_bytes, watch->limit_bytes, seen, limit);
        session->oom_available_bytes = watch->limit_bytes;
        session_end(session, VERDICT_OOM, "memory_limit",
                    "the worker held %s during %s, the limit is %s", seen, phase, limit);
    } else {
        char rss[NUM_TEXT_BYTES];
        num_format_bytes(look->rss_bytes, rss);
        num_format_bytes_apart(look->available_bytes, watch->reserve_bytes, seen, limit);
        session->oom_available_bytes = look->available_bytes;
        session_end(session, VERDICT_OOM, "host_memory_low",
                    "the worker held %s during %s and the host had only %s left, %s are kept free",
                    rss, phase, seen, limit);
    }
}

/* A line that is none is the worker's fault; a call that the system refuses this program is not. */
static void end_by_stream(struct session *session, enum status status, const struct err *why)
{
    bool is_line = status == STATUS_PROTOCOL;
    bool is_memory = status == STATUS_NOMEM;
    enum verdict verdict = is_memory ? VERDICT_OOM : VERDICT_CRASHED;
    const char *code = is_memory ? "host_memory_low" : "pipe_failed";
    session_end(session, is_line ? VERDICT_PROTOCOL_ERROR : verdict, is_line ? "bad_line" : code,
                "during %s: %s", event_phase_name(session->phase), why->text);
}

static void end_by_error(struct session *session, const struct proto_error *error)
{
    const char *text = error->text[0] != '\0' ? error->text : proto_error_kind_name(error->kind);
    session->is_alive_expected = true;
    if (error->kind == PROTO_ERROR_OOM && error->has_bytes) {
        session->has_oom_needed = true;
        session->has_oom_available = true;
        session->oom_needed_bytes = error->needed_bytes;
        session->oom_available_bytes = error->available_bytes;
    }
    switch (error->kind) {
    case PROTO_ERROR_OOM:
        session_end(session, VERDICT_OOM,
                    error->has_bytes ? "memory_does_not_fit" : "out_of_memory", "%s%s%s", text,
                    error->scope[0] != '\0' ? "; on the " : "", error->scope);
        break;
    case PROTO_ERROR_UNSUPPORTED:
        session_end(session, VERDICT_UNSUPPORTED, "unsupported", "%s", text);
        break;
    case PROTO_ERROR_MODEL: session_end(session, VERDICT_INVALID, "model_error", "%s", text); break;
    case PROTO_ERROR_INTERNAL:
    case PROTO_ERROR_KINDS_COUNT:
        session_end(session, VERDICT_CRASHED, "worker_error", "during %s: %s",
                    event_phase_name(session->phase), text);
    }
}

/* --- waiting --- */

bool session_is_interrupted(const struct session *session)
{
    return client_is_interrupted(session->options);
}

/* A flood on standard error must not fill the disk: over the limit, this trial's part of the log
 * starts anew with its own last lines, which say most about what goes wrong. */
static void cap_log(const struct session *session, off_t size_bytes)
{
    if (size_bytes - session->log_start_byte <= (off_t)SESSION_LOG_BYTES_MAX)
        return;
    char tail[LOG_TAIL_BYTES + 1];
    session_log_tail(session, tail);
    if (ftruncate(session->log_fd, session->log_start_byte) == 0)
        (void)dprintf(session->log_fd,
                      "[tokmark: the log grew past %llu MiB; only its end is kept]\n%s\n",
                      SESSION_LOG_BYTES_MAX >> 20, tail);
}

/* True when the worker has written to its log since the last look. */
static bool look_at_log(struct session *session)
{
    struct stat info;
    if (session->log_fd < 0 || fstat(session->log_fd, &info) != 0)
        return false;
    cap_log(session, info.st_size);
    bool has_grown = info.st_size != session->log_seen_byte;
    session->log_seen_byte = info.st_size;
    return has_grown;
}

/* What is done between two waits: memory, log, listeners. */
static void look_around(struct session *session)
{
    const struct event_listener *events = session->options->events;
    events_tick(events);
    session->looked_ns = clock_now_ns();
    bool is_talking = look_at_log(session);
    struct watch_look look = watch_take_look(&session->watch);
    session->pause_ns = is_talking ? WATCH_PAUSE_NS_MIN : watch_pause_ns(&session->watch, &look);
    events_memory_seen(events, &look);
    uint64_t tick_ns = events_tick_ns(events, session->pause_ns);
    if (tick_ns < session->pause_ns)
        session->pause_ns = tick_ns;
    if (look.finding != WATCH_FINE && !session->has_ended)
        end_by_memory(session, &look);
}

/* In the pipe, not read yet. */
static size_t waiting_bytes(const struct session *session)
{
    int waiting = 0;
    return ioctl(session->spawn.out_fd, FIONREAD, &waiting) == 0 ? (size_t)waiting : 0;
}

/* Come, and not given out as a line yet. */
static size_t buffered_bytes(const struct session *session)
{
    return session->reader.data.length_bytes - session->reader.given_bytes;
}

/* How long a busy worker may go on after SIGINT: a block is worth waiting for, a start is not. */
static uint64_t interrupt_grace_ns(const struct session *session)
{
    bool is_block = session->phase == EVENT_WARMUP || session->phase == EVENT_MEASURING;
    return is_block ? INTERRUPT_GRACE_NS : 0;
}

/* Between two waits; false when waiting is over. */
static bool go_on_waiting(struct session *session, uint64_t *deadline_ns, bool *is_stopping)
{
    client_drain_wake(session->options);
    look_around(session);
    if (session->has_ended)
        return false;
    /* A grandchild may hold the pipe open when the worker is long gone. */
    if (spawn_has_exited(&session->spawn) && waiting_bytes(session) == 0) {
        end_by_exit(session, buffered_bytes(session) > 0);
        return false;
    }
    uint64_t now = clock_now_ns();
    /* A second signal means that even the grace is too long. */
    bool is_urgent = ladder_is_urgent(session->options);
    if (session_is_interrupted(session) && (!*is_stopping || is_urgent)) {
        *is_stopping = true;
        uint64_t stop_ns = now + (is_urgent ? 0 : interrupt_grace_ns(session));
        if (stop_ns < *deadline_ns)
            *deadline_ns = stop_ns;
    }
    if (now < *deadline_ns)
        return true;
    if (*is_stopping)
        session->is_abandoned = true;
    else
        end_by_timeout(session);
    return false;
}

/* The next line, looking around while it waits. False: the session has ended, or was interrupted
 * and the grace for that is over. */
static bool await_line(struct session *session, uint64_t deadline_ns, const char **ret_line,
                       size_t *ret_bytes)
{
    bool is_stopping = false;
    do {
        uint64_t slice_ns = clock_now_ns() + session->pause_ns;
        struct err why = {0};
        enum status status =
            line_reader_next(&session->reader, slice_ns < deadline_ns ? slice_ns : deadline_ns,
                             session->options->wake_fd, ret_line, ret_bytes, &why);
        if (status == STATUS_OK) {
            /* Answers that always come before a look is due would put it off for ever. What ended
             * earlier is still told goodbye. */
            bool had_ended = session->has_ended;
            if (clock_now_ns() - session->looked_ns >= WATCH_PAUSE_NS_MAX)
                look_around(session);
            return had_ended || !session->has_ended;
        }
        if (status == STATUS_NOT_FOUND ||
            (status == STATUS_PROTOCOL && session->reader.is_at_end)) {
            end_by_exit(session, status == STATUS_PROTOCOL);
            return false;
        }
        if (status != STATUS_TIMEOUT && status != STATUS_INTERRUPTED) {
            end_by_stream(session, status, &why);
            return false;
        }
    } while (go_on_waiting(session, &deadline_ns, &is_stopping));
    return false;
}

bool session_pause(struct session *session, uint64_t pause_ns)
{
    uint64_t end_ns = clock_now_ns() + pause_ns;
    for (uint64_t now_ns; (now_ns = clock_now_ns()) < end_ns;) {
        struct pollfd polled = {.fd = session->options->wake_fd, .events = POLLIN};
        (void)poll(&polled, 1, clock_poll_ms(end_ns - now_ns, INT_MAX));
        client_drain_wake(session->options);
        if (session_is_interrupted(session) || spawn_has_exited(&session->spawn))
            return false;
    }
    events_tick(session->options->events);
    return true;
}

/* --- request and reply --- */

/* False when the worker does not take it; a worker that is gone shows when its reply is awaited. */
static bool send_request(struct session *session, const struct proto_host_message *request,
                         uint64_t deadline_ns)
{
    struct buf line;
    buf_init(&line, REQUEST_BYTES_MAX);
    proto_encode_host(request, &line);
    if (line.failed) {
        session_end(session, VERDICT_OOM, "host_memory_low", "tokmark has no memory for a request");
        buf_release(&line);
        return false;
    }
    struct err why = {0};
    enum status status =
        spawn_write(&session->spawn, line.data, line.length_bytes, deadline_ns, &why);
    buf_release(&line);
    bool is_sent = status == STATUS_OK || status == STATUS_CRASHED;
    if (status == STATUS_TIMEOUT)
        end_by_timeout(session);
    else if (!is_sent)
        end_by_stream(session, status, &why);
    return is_sent;
}

/* Takes a decoded reply, or ends the session for what came instead. */
static bool take_reply(struct session *session, enum proto_type expected,
                       struct proto_worker_message *reply, struct proto_worker_message *ret_reply)
{
    if (reply->type == expected) {
        *ret_reply = *reply;
        return true;
    }
    if (reply->type == PROTO_ERROR)
        end_by_error(session, &reply->as.error);
    else
        session_end(session, VERDICT_PROTOCOL_ERROR, "unexpected_message",
                    "'%s' came during %s where '%s' was due", proto_type_name(reply->type),
                    event_phase_name(session->phase), proto_type_name(expected));
    proto_worker_message_release(reply);
    return false;
}

/* The next line; as the first of all, the one that is no banner. */
static bool await_reply(struct session *session, uint64_t deadline_ns, const char **ret_line,
                        size_t *ret_bytes)
{
    size_t banner_bytes = 0;
    const char *line = NULL;
    size_t line_bytes = 0;
    while (await_line(session, deadline_ns, &line, &line_bytes)) {
        const char *start = session->takes_banner ? banner_end(line, line_bytes, "type") : line;
        size_t skipped = start != NULL ? (size_t)(start - line) : line_bytes + 1;
        if (skipped > 0)
            (void)dprintf(session->log_fd, "[before the worker's first line: %.*s]\n",
                          (int)(start != NULL ? skipped : line_bytes), line);
        if (start != NULL) {
            *ret_line = start;
            *ret_bytes = line_bytes - skipped;
            session->takes_banner = false;
            return true;
        }
        banner_bytes += skipped;
        if (banner_bytes > BANNER_BYTES_MAX) {
            session_end(session, VERDICT_PROTOCOL_ERROR, "bad_message",
                        "more than %u bytes came before the worker's hello", BANNER_BYTES_MAX);
            return false;
        }
    }
    return false;
}

static bool exchange(struct session *session, const struct proto_host_message *request,
                     enum proto_type expected, struct proto_worker_message *ret_reply)
{
    size_t unasked_bytes = buffered_bytes(session) + waiting_bytes(session);
    if (unasked_bytes > 0 && !session->takes_banner) {
        session_end(session, VERDICT_PROTOCOL_ERROR, "unasked_message",
                    "the worker wrote %zu byte%s that nobody asked for before '%s'", unasked_bytes,
                    num_plural(unasked_bytes), proto_type_name(request->type));
        return false;
    }
    uint64_t deadline_ns = clock_now_ns() + session->options->phase_timeout_ns;
    const char *line = NULL;
    size_t line_bytes = 0;
    if (!send_request(session, request, deadline_ns) ||
        !await_reply(session, deadline_ns, &line, &line_bytes))
        return false;
    struct proto_worker_message reply;
    struct err why = {0};
    if (proto_decode_worker(line, line_bytes, &reply, &why) != STATUS_OK) {
        session_end(session, VERDICT_PROTOCOL_ERROR, "bad_message", "during %s: %s",
                    event_phase_name(session->phase), why.text);
        return false;
    }
    return take_reply(session, expected, &reply, ret_reply);
}

bool session_ask(struct session *session, const struct proto_host_message *request,
                 enum proto_type expected, struct proto_worker_message *ret_reply)
{
    return !session->has_ended && exchange(session, request, expected, ret_reply);
}

/* --- the end --- */

/* `close`, `bye`, and the process's own end. */
static void close_politely(struct session *session)
{
    const struct proto_host_message request = {.type = PROTO_CLOSE};
    struct proto_worker_message reply;
    uint64_t deadline_ns = clock_now_ns() + session->options->phase_timeout_ns;
    if (!exchange(session, &request, PROTO_BYE, &reply))
        return;
    spawn_close_in(&session->spawn);
    if (ladder_wait(&session->spawn, session->options, deadline_ns))
        return;
    if (session_is_interrupted(session))
        session->is_abandoned = true;
    else
        end_by_timeout(session);
}

static void take_down(struct session *session)
{
    session->phase = EVENT_CLOSING;
    bool is_interrupted = session_is_interrupted(session);
    if ((!session->has_ended || session->is_alive_expected) && !is_interrupted)
        close_politely(session);
    if (session->spawn.is_reaped)
        return;
    spawn_close_in(&session->spawn);
    /* An idle worker leaves by itself at the end of its input. */
    bool is_idle = is_interrupted && !session->has_ended && !session->is_abandoned;
    uint64_t deadline_ns = clock_now_ns() + session->options->kill_grace_ns;
    if (!is_idle || !ladder_wait(&session->spawn, session->options, deadline_ns))
        ladder_end(&session->spawn, session->options);
}

void session_finish(struct session *session)
{
    if (session->spawn.pid <= 0)
        return;
    if (!session->spawn.is_reaped)
        take_down(session);
    (void)look_at_log(session);
}

void session_log_tail(const struct session *session, char text[LOG_TAIL_BYTES + 1])
{
    log_tail(session->log_fd, session->log_start_byte, LOG_TAIL_LINES_MAX, text);
}
