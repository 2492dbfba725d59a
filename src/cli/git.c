#include "cli/git.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/spawn.h"

#define OUTPUT_BYTES_MAX (1U << 20)
#define SAID_BYTES       400
#define ARGUMENTS_MAX    16
#define END_GRACE_NS     (60 * NS_PER_S)

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

enum status git_run(const char *const *arguments, struct buf *out, struct err *err)
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

enum status git_ask(const char *const *arguments, char *text, size_t text_bytes, struct err *err)
{
    struct buf out;
    buf_init(&out, OUTPUT_BYTES_MAX);
    enum status status = git_run(arguments, &out, err);
    if (status == STATUS_OK && out.length_bytes >= text_bytes)
        status = ERR(err, STATUS_LIMIT, "git %s: the answer is too long", arguments[0]);
    if (status == STATUS_OK)
        (void)snprintf(text, text_bytes, "%s", out.data);
    buf_release(&out);
    return status;
}

/* Of "FILE.py:NAME" the file's folder, else the current one. */
static void folder_of(const char *model, char folder[FILE_PATH_BYTES])
{
    const char *file_end = model != NULL ? strstr(model, ".py:") : NULL;
    size_t bytes = 0;
    for (size_t i = 0; file_end != NULL && model + i < file_end; i++)
        if (model[i] == '/')
            bytes = i + 1;
    (void)snprintf(folder, FILE_PATH_BYTES, "%.*s", bytes > 0 ? (int)bytes : 1,
                   bytes > 0 ? model : ".");
}

void git_source_commit(const char *model, char ret_text[GIT_COMMIT_BYTES])
{
    char folder[FILE_PATH_BYTES];
    folder_of(model, folder);
    /* Of tags nothing is taken, so that the text is the commit alone; and no lock, as others may
     * work in the repository. */
    const char *const arguments[] = {
        "--no-optional-locks", "-C",          folder, "describe", "--always", "--dirty",
        "--abbrev=12",         "--exclude=*", NULL};
    if (git_ask(arguments, ret_text, GIT_COMMIT_BYTES, NULL) != STATUS_OK)
        ret_text[0] = '\0';
}
