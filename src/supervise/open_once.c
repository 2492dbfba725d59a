#include "supervise/open_once.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "supervise/greet.h"
#include "supervise/session.h"

static void converse(struct session *session, const struct cell *cell, struct open_once *outcome)
{
    struct proto_worker_message reply;
    if (session->has_ended || session_is_interrupted(session) ||
        !greet_worker(session, &outcome->hello) || session->has_ended)
        return;
    session->phase = EVENT_OPENING;
    struct proto_host_message request = {.type = PROTO_OPEN, .as.open = *cell};
    if (!session_ask(session, &request, PROTO_READY, &reply))
        return;
    outcome->ready = reply.as.ready;
    outcome->has_ready = true;
}

static enum status start(struct session *session, const struct cell *cell, char *log_path,
                         struct err *err)
{
    int fd = mkstemp(log_path);
    if (fd < 0)
        return ERR(err, STATUS_IO, "cannot write '%s': %s", log_path, strerror(errno));
    (void)close(fd);
    struct words command;
    enum status status = session_command(session->options, cell->engine, &command, err);
    if (status == STATUS_OK) {
        session->phase = EVENT_STARTING;
        status = session_start(session, &command, log_path, "", err);
        words_release(&command);
    }
    (void)unlink(log_path);
    return status;
}

enum status open_once_run(const struct cell *cell, const struct supervise_options *options,
                          struct open_once *ret_outcome, struct err *err)
{
    struct session session;
    struct open_once outcome = {0};
    char log_path[FILE_PATH_BYTES];
    const char *folder = getenv("TMPDIR");
    session_init(&session, options);
    enum status status = file_join(folder != NULL && folder[0] != '\0' ? folder : "/tmp",
                                   "tokmark-explain.XXXXXX", log_path, err);
    if (status == STATUS_OK)
        status = start(&session, cell, log_path, err);
    if (status == STATUS_OK) {
        converse(&session, cell, &outcome);
        session_finish(&session);
        if (session_is_interrupted(&session))
            session_end(&session, VERDICT_INTERRUPTED, "interrupted", "stopped by a signal");
        outcome.verdict = session.reasons.count > 0 ? session.verdict : VERDICT_OK;
        outcome.reasons = session.reasons;
    }
    session_release(&session);
    if (status == STATUS_OK)
        *ret_outcome = outcome;
    else
        proto_ready_release(&outcome.ready);
    return status;
}
