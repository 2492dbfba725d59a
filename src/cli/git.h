/* cli/git.h - the user's repository, by the program `git`; nothing in it changes. */
#ifndef CLI_GIT_H
#define CLI_GIT_H

#include <stddef.h>

#include "base/buf.h"
#include "base/status.h"

#define GIT_COMMIT_BYTES 80 /* a commit, and "-dirty" */

/* Its standard output, without the last line end. STATUS_NOT_FOUND when git is not there,
 * STATUS_INVALID with its words when it refuses. `arguments`: 16 at most, and NULL. */
MUST_CHECK enum status git_run(const char *const *arguments, struct buf *out, struct err *err);
/* The same as one text. */
MUST_CHECK enum status git_ask(const char *const *arguments, char *text, size_t text_bytes,
                               struct err *err);

/* The commit of the repository that the model's source lies in: that of "FILE.py:NAME", else the
 * current folder. Twelve digits, and "-dirty" where tracked files have changed; "": there is no
 * repository, no commit or no git. `model` may be NULL. */
void git_source_commit(const char *model, char ret_text[GIT_COMMIT_BYTES]);

#endif
