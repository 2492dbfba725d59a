#include "client/session.h"

#include <criterion/criterion.h>

#include "base/clock.h"
#include "scratch.h"

/* tests/unit/test_drive_trial_faults.c has what workers do wrong, tests/simulate/ has both at any
 * message; here the system refuses tokmark itself a call. */

struct bench {
    char dir[FILE_PATH_BYTES];
    struct client_options options;
    struct session session;
};

/* A worker that says nothing, on which nobody waits for long. */
static void set_up(struct bench *bench)
{
    struct words command;
    char log_path[FILE_PATH_BYTES];
    struct err err = {0};
    *bench = (struct bench){
        .options = {.phase_timeout_ns = NS_PER_S / 2, .kill_grace_ns = NS_PER_S, .wake_fd = -1}};
    scratch_new(bench->dir);
    session_init(&bench->session, &bench->options);
    words_init(&command);
    cr_assert_eq(words_split(&command, "sleep 1000", &err), STATUS_OK);
    scratch_path(log_path, bench->dir, "log");
    cr_assert_eq(session_start(&bench->session, &command, false, log_path, "", &err), STATUS_OK,
                 "%s", err.text);
    cr_assert_not(bench->session.has_ended);
    words_release(&command);
    bench->session.phase = EVENT_OPENING;
}

/* What is at `path` in the place of one end of the worker's pipes. */
static void replace_fd(int fd, const char *path, int flags)
{
    int other = open(path, flags);
    cr_assert_geq(other, 0);
    cr_assert_eq(dup2(other, fd), fd);
    (void)close(other);
}

static void expect_refused(struct bench *bench, const char *text)
{
    const struct proto_host_message request = {.type = PROTO_MEMORY};
    struct proto_worker_message reply;
    struct session *session = &bench->session;
    cr_expect_not(session_ask(session, &request, PROTO_MEMORY, &reply));
    cr_expect(session->has_ended);
    cr_expect_eq(session->verdict, VERDICT_CRASHED);
    cr_expect_str_eq(reasons_deciding(&session->reasons), "pipe_failed");
    cr_expect_not_null(strstr(session->reasons.items[0].text, text), "%s",
                       session->reasons.items[0].text);
    session_finish(session);
    cr_expect(session->spawn.is_reaped);
    session_release(session);
    scratch_free(bench->dir);
}

Test(client_session, a_request_that_cannot_be_written_is_not_waited_for)
{
    struct bench bench;
    set_up(&bench);
    replace_fd(bench.session.spawn.in_fd, "/dev/full", O_WRONLY);
    expect_refused(&bench, "during open: cannot write to the process: No space left on device");
}

Test(client_session, a_reply_that_cannot_be_read_is_no_fault_of_the_worker)
{
    struct bench bench;
    set_up(&bench);
    replace_fd(bench.session.reader.fd, "/", O_RDONLY | O_DIRECTORY);
    expect_refused(&bench, "during open: cannot read from the peer: Is a directory");
}

/* Of a worker that never spoke the log knows most; one that has spoken says itself what is wrong.
 */
Test(client_session, a_reason_quotes_the_log_of_who_never_spoke)
{
    static const struct {
        enum event_phase phase;
        bool is_alive_expected;
        const char *text;
    } cases[] = {{EVENT_STARTING, false, "it is gone: second|third|fourth"},
                 {EVENT_STARTING, true, "it is gone"},
                 {EVENT_OPENING, false, "it is gone"}};
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        char path[FILE_PATH_BYTES];
        char dir[FILE_PATH_BYTES];
        const struct client_options options = {.wake_fd = -1};
        struct session session;
        scratch_new(dir);
        scratch_write_text(dir, "log", "first\nsecond\nthird\nfourth\n");
        session_init(&session, &options);
        session.log_fd = open(scratch_path(path, dir, "log"), O_RDONLY);
        session.phase = cases[i].phase;
        session.is_alive_expected = cases[i].is_alive_expected;
        session_end(&session, VERDICT_CRASHED, "exited", "it is %s", "gone");
        session_end(&session, VERDICT_TIMEOUT, "timeout_start", "too late");
        cr_expect_str_eq(session.reasons.items[0].text, cases[i].text);
        cr_expect(session.reasons.count == 1 && session.verdict == VERDICT_CRASHED, "the first");
        session_release(&session);
        scratch_free(dir);
    }
}
