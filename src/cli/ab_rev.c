#include "cli/ab_rev.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/nearest.h"
#include "base/spawn.h"

#define OUTPUT_BYTES_MAX (1U << 20)
#define SAID_BYTES       400
#define ARGUMENTS_MAX    16
#define NAMES_MAX        1024
#define END_GRACE_NS     (60 * NS_PER_S)

/* --- git --- */

/* The last line of what git wrote to its standard error. */
static void take_said(int log_fd, char said[SAID_BYTES])
{
    ssize_t got = pread(log_fd, said, SAID_BYTES - 1, 0);
    said[got > 0 ? got : 0] = '\0';
    size_t length = strlen(said);
    while (length > 0 && said[length - 1] == '\n')
        said[--length] = '\0';
    const char *line = strrchr(said, '\n');
    if (line != NULL)
        memmove(said, line + 1, strlen(line + 1) + 1);
}

/* Its whole standard output, without the last line end. */
static void read_output(int fd, struct buf *out)
{
    char chunk[4096];
    for (;;) {
        ssize_t got = read(fd, chunk, sizeof(chunk));
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        buf_append(out, chunk, (size_t)got);
    }
    if (out->length_bytes > 0 && out->data[out->length_bytes - 1] == '\n')
        out->data[--out->length_bytes] = '\0';
}

/* STATUS_NOT_FOUND when git is not there, STATUS_INVALID with its words when it refuses. */
static enum status run_git(const char *const *arguments, struct buf *out, struct err *err)
{
    const char *argv[ARGUMENTS_MAX + 2] = {"git"};
    for (size_t i = 0; arguments[i] != NULL; i++) {
        ASSERT(i < ARGUMENTS_MAX);
        argv[i + 1] = arguments[i];
    }
    int log_fd = memfd_create("git", MFD_CLOEXEC);
    if (log_fd < 0)
        return ERR(err, STATUS_IO, "cannot take git's messages: %s", strerror(errno));
    struct spawn spawn = {.in_fd = -1, .out_fd = -1};
    enum status status = spawn_start((char *const *)argv, log_fd, &spawn, err);
    if (status == STATUS_OK) {
        spawn_close_in(&spawn);
        read_output(spawn.out_fd, out);
        bool has_ended = spawn_wait(&spawn, clock_now_ns() + END_GRACE_NS);
        char said[SAID_BYTES];
        take_said(log_fd, said);
        if (!has_ended || spawn.wait_status != 0)
            status = ERR(err, STATUS_INVALID, "git %s: %s", arguments[0],
                         said[0] != '\0' ? said : "failed");
        else if (out->failed)
            status = ERR(err, STATUS_LIMIT, "git %s says too much", arguments[0]);
        spawn_release(&spawn);
    }
    (void)close(log_fd);
    return status;
}

/* One line of output into `text`. */
static enum status ask_git(const char *const *arguments, char *text, size_t text_bytes,
                           struct err *err)
{
    struct buf out;
    buf_init(&out, OUTPUT_BYTES_MAX);
    enum status status = run_git(arguments, &out, err);
    if (status == STATUS_OK && out.length_bytes >= text_bytes)
        status = ERR(err, STATUS_LIMIT, "git %s: the answer is too long", arguments[0]);
    if (status == STATUS_OK)
        (void)snprintf(text, text_bytes, "%s", out.data);
    buf_release(&out);
    return status;
}

/* --- finding --- */

/* No such revision: the nearest of the branches and tags. */
static enum status unknown_revision(const char *name, struct err *err)
{
    static const char *const arguments[] = {"for-each-ref", "--format=%(refname:short)", NULL};
    const char *names[NAMES_MAX] = {"HEAD"};
    size_t count = 1;
    struct buf out;
    buf_init(&out, OUTPUT_BYTES_MAX);
    if (run_git(arguments, &out, NULL) == STATUS_OK) {
        for (char *line = out.data; *line != '\0' && count < NAMES_MAX;) {
            char *end = line + strcspn(line, "\n");
            names[count++] = line;
            line = *end == '\n' ? end + 1 : end;
            *end = '\0';
        }
    }
    struct nearest_hint hint;
    enum status status = ERR(err, STATUS_INVALID, "no revision '%.80s'; %s", name,
                             nearest_hint(&hint, "", name, names, count));
    buf_release(&out);
    return status;
}

enum status ab_rev_find(const char *name, struct ab_rev *ret_rev, struct err *err)
{
    struct ab_rev rev = {0};
    char wanted[FILE_PATH_BYTES + AB_REV_COMMIT_BYTES];
    char ignored[FILE_PATH_BYTES];
    static const char *const prefix[] = {"rev-parse", "--show-prefix", NULL};
    struct err cause = {0};
    enum status status = ask_git(prefix, rev.subfolder, sizeof(rev.subfolder), &cause);
    if (status != STATUS_OK)
        return ERR(err, STATUS_INVALID, "the current folder is in no git repository (%s)",
                   cause.text);
    size_t length = strlen(rev.subfolder);
    if (length > 0 && rev.subfolder[length - 1] == '/')
        rev.subfolder[length - 1] = '\0';
    (void)snprintf(wanted, sizeof(wanted), "%.200s^{commit}", name);
    const char *const commit[] = {"rev-parse",        "--verify", "--quiet",
                                  "--end-of-options", wanted,     NULL};
    if (name[0] == '-' || ask_git(commit, rev.commit, sizeof(rev.commit), NULL) != STATUS_OK)
        return unknown_revision(name, err);
    (void)snprintf(wanted, sizeof(wanted), "%s:%s", rev.commit, rev.subfolder);
    const char *const folder[] = {"rev-parse", "--verify", "--quiet", wanted, NULL};
    if (ask_git(folder, ignored, sizeof(ignored), NULL) != STATUS_OK)
        return ERR(err, STATUS_INVALID, "revision '%.80s' has no folder '%.200s'", name,
                   rev.subfolder);
    *ret_rev = rev;
    return STATUS_OK;
}

/* --- checking out --- */

static enum status make_temporary(struct ab_rev *rev, struct err *err)
{
    const char *place = getenv("TMPDIR");
    char path[FILE_PATH_BYTES];
    enum status status = file_join(place != NULL && place[0] != '\0' ? place : "/tmp",
                                   "tokmark-ab.XXXXXX", path, err);
    if (status != STATUS_OK)
        return status;
    if (mkdtemp(path) == NULL)
        return ERR(err, STATUS_IO, "cannot make a temporary folder '%.200s': %s", path,
                   strerror(errno));
    char *real = realpath(path, NULL);
    (void)snprintf(rev->temporary, sizeof(rev->temporary), "%s", real != NULL ? real : path);
    free(real);
    return file_join(rev->temporary, "tree", rev->tree, err);
}

enum status ab_rev_check_out(struct ab_rev *rev, struct err *err)
{
    enum status status = make_temporary(rev, err);
    if (status != STATUS_OK)
        return status;
    const char *const add[] = {"worktree", "add",       "--detach", "--quiet",
                               rev->tree,  rev->commit, NULL};
    struct buf out;
    struct err cause = {0};
    buf_init(&out, OUTPUT_BYTES_MAX);
    status = run_git(add, &out, &cause);
    buf_release(&out);
    if (status != STATUS_OK)
        return ERR(err, STATUS_IO, "cannot check out %.12s: %s", rev->commit, cause.text);
    if (rev->subfolder[0] == '\0') {
        memcpy(rev->work_folder, rev->tree, sizeof(rev->work_folder));
        return STATUS_OK;
    }
    return file_join(rev->tree, rev->subfolder, rev->work_folder, err);
}

enum status ab_rev_remove(struct ab_rev *rev, struct err *err)
{
    if (rev->temporary[0] == '\0')
        return STATUS_OK;
    const char *const remove[] = {"worktree", "remove", "--force", "--force", rev->tree, NULL};
    struct buf out;
    struct err cause = {0};
    buf_init(&out, OUTPUT_BYTES_MAX);
    (void)!run_git(remove, &out, &cause); /* what it leaves, rmdir sees */
    buf_release(&out);
    enum status status = STATUS_OK;
    if (rmdir(rev->temporary) != 0)
        status = ERR(err, STATUS_IO,
                     "cannot remove '%.200s': %s; `git worktree prune` after removing it by hand "
                     "tidies up",
                     rev->temporary, cause.text[0] != '\0' ? cause.text : strerror(errno));
    rev->temporary[0] = '\0';
    return status;
}
