#include "cli/ab_rev.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/nearest.h"
#include "cli/git.h"

#define OUTPUT_BYTES_MAX (1U << 20)
#define NAMES_MAX        1024

/* --- finding --- */

/* No such revision: the nearest of the branches and tags. */
static enum status unknown_revision(const char *name, struct err *err)
{
    static const char *const arguments[] = {"for-each-ref", "--format=%(refname:short)", NULL};
    const char *names[NAMES_MAX] = {"HEAD"};
    size_t count = 1;
    struct buf out;
    buf_init(&out, OUTPUT_BYTES_MAX);
    if (git_run(arguments, &out, NULL) == STATUS_OK) {
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
    enum status status = git_ask(prefix, rev.subfolder, sizeof(rev.subfolder), &cause);
    if (status != STATUS_OK)
        return ERR(err, STATUS_INVALID, "the current folder is in no git repository (%s)",
                   cause.text);
    size_t length = strlen(rev.subfolder);
    if (length > 0 && rev.subfolder[length - 1] == '/')
        rev.subfolder[length - 1] = '\0';
    (void)snprintf(wanted, sizeof(wanted), "%.200s^{commit}", name);
    const char *const commit[] = {"rev-parse",        "--verify", "--quiet",
                                  "--end-of-options", wanted,     NULL};
    if (name[0] == '-' || git_ask(commit, rev.commit, sizeof(rev.commit), NULL) != STATUS_OK)
        return unknown_revision(name, err);
    (void)snprintf(wanted, sizeof(wanted), "%s:%s", rev.commit, rev.subfolder);
    const char *const folder[] = {"rev-parse", "--verify", "--quiet", wanted, NULL};
    if (git_ask(folder, ignored, sizeof(ignored), NULL) != STATUS_OK)
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
    status = git_run(add, &out, &cause);
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
    (void)!git_run(remove, &out, &cause); /* what it leaves, rmdir sees */
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
