/* cli/ab_rev.h - a revision of the git repository that the current folder is in, checked out beside
 * the user's work: a detached worktree in a temporary folder, which is removed at the end. Calls
 * git; nothing in the user's own checkout changes. */
#ifndef CLI_AB_REV_H
#define CLI_AB_REV_H

#include "base/file.h"
#include "base/status.h"

#define AB_REV_COMMIT_BYTES 65

struct ab_rev {
    char commit[AB_REV_COMMIT_BYTES];  /* "" = no revision */
    char subfolder[FILE_PATH_BYTES];   /* the current folder within the repository; "" = its top */
    char temporary[FILE_PATH_BYTES];   /* "" = nothing is checked out */
    char tree[FILE_PATH_BYTES];        /* the worktree in it */
    char work_folder[FILE_PATH_BYTES]; /* where the worker starts */
};

/* Resolves `name`; nothing is written. STATUS_INVALID: no repository, no such revision (with the
 * nearest name), or one that has not the current folder. */
MUST_CHECK enum status ab_rev_find(const char *name, struct ab_rev *ret_rev, struct err *err);
MUST_CHECK enum status ab_rev_check_out(struct ab_rev *rev, struct err *err);
/* No-op where nothing is checked out. STATUS_IO says what is left, and where. */
MUST_CHECK enum status ab_rev_remove(struct ab_rev *rev, struct err *err);

#endif
