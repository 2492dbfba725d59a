/* report/texts.h - texts that live as long as the report, at places that do not move. */
#ifndef REPORT_TEXTS_H
#define REPORT_TEXTS_H

#include <stddef.h>

#include "base/buf.h"

/* Zeroed: empty. */
struct report_texts {
    struct texts_block *blocks; /* owned; a list, the newest first */
    size_t used_bytes;          /* of the newest */
    bool failed;                /* memory ended: what was to be kept is "" */
};

void texts_release(struct report_texts *texts);
/* A copy of the text, cut at TEXTS_BYTES_MAX, on one line and printable: control characters become
 * spaces, bytes that are not UTF-8 U+FFFD. Borrowed from `texts`. */
#define TEXTS_BYTES_MAX 4096
const char *texts_keep(struct report_texts *texts, const char *text);
const char *texts_keepf(struct report_texts *texts, const char *format, ...) PRINTF_LIKE(2, 3);

#endif
