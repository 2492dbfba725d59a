/* base/version.h - which tokmark this is. Only version.c sees the generated header, so that a new
 * commit rebuilds one file. */
#ifndef BASE_VERSION_H
#define BASE_VERSION_H

const char *version_text(void);   /* "0.1.0" */
const char *version_commit(void); /* "abc123def456", "-dirty" behind it when the tree was changed */
const char *version_compiler(void); /* "GNU 12.2.0" */
const char *version_flags(void);    /* build type and extra flags */
const char *version_harness(void);  /* "tokmark 0.1.0 (abc123def456)" */

#endif
