/* client/session.h - one live worker: its process, its stream, its log, and what ended it.
 *
 * session_ask() is the only way to talk to it: one request, one reply, one deadline. What goes
 * wrong becomes a verdict with a reason in the session (`ended`), not an error of the harness.
 */
#ifndef CLIENT_SESSION_H
#define CLIENT_SESSION_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/spawn.h"
#include "base/status.h"
#include "base/words.h"
#include "client/log_tail.h"
#include "client/options.h"
#include "client/watch.h"
#include "proto/line.h"
#include "proto/message.h"
#include "spec/verdict.h"

#define SESSION_LOG_BYTES_MAX (64ULL << 20)

struct session {
    const struct client_options *options; /* borrowed: for the session's life */
    struct spawn spawn;
    struct line_reader reader;
    struct watch watch;
    int log_fd;           /* owned; -1 = none */
    off_t log_start_byte; /* this trial's part begins here */
    off_t log_seen_byte;  /* its size at the last look */
    uint64_t pause_ns;    /* between two looks around */
    uint64_t looked_ns;   /* when that was done last */
    enum event_phase phase;
    bool is_forked;    /* by a server that has the framework imported */
    bool takes_banner; /* until the first reply, other lines may come (client/banner.h) */

    bool has_ended;         /* no more requests; the verdict says why */
    bool is_alive_expected; /* ended by a reply: the worker still takes `close` */
    bool is_abandoned;      /* interrupted while the worker was busy: it is not waited for */
    enum verdict verdict;
    struct reasons reasons;
    bool has_oom_needed, has_oom_available;
    uint64_t oom_needed_bytes;
    uint64_t oom_available_bytes;
};

/* Zeroed but for descriptors; session_release() is fine after it. */
void session_init(struct session *session, const struct client_options *options);
/* Opens the log and starts the process. A program that cannot be started is an outcome (has_ended);
 * only a log that cannot be written is an error. */
MUST_CHECK enum status session_start(struct session *session, const struct words *command,
                                     bool is_training, const char *log_path, const char *log_title,
                                     struct err *err);

/* Sends `request` (not NULL) and waits for a reply of type `expected`. True: *ret_reply is the
 * caller's to release. False: the session has ended (or was interrupted) and says why. */
bool session_ask(struct session *session, const struct proto_host_message *request,
                 enum proto_type expected, struct proto_worker_message *ret_reply);

/* Waits while the worker is idle. False, at once, when a signal has come or the worker is gone. */
bool session_pause(struct session *session, uint64_t pause_ns);

/* How long a block's window can have been for a host that saw so much time pass: two clocks may
 * differ by a little. */
uint64_t session_window_max_ns(uint64_t host_ns);
/* Has a SIGINT come? */
bool session_is_interrupted(const struct session *session);
/* Ends the session with a verdict; the first one stays. */
void session_end(struct session *session, enum verdict verdict, const char *code,
                 const char *format, ...) PRINTF_LIKE(4, 5);
/* Takes the worker down: `close` and `bye` if it is still able to, else the end of its input and
 * the kill ladder. Afterwards the process is collected and no member of its group lives. */
void session_finish(struct session *session);
/* Last lines of this trial's log, at most LOG_TAIL_*; "" when there are none. */
void session_log_tail(const struct session *session, char text[LOG_TAIL_BYTES + 1]);
void session_release(struct session *session);

#endif
