/* client/banner.h - what comes before a worker's first line: a launcher (ssh, docker), a shell's
 * start-up file or a preloaded library may greet whoever logs in, on standard output. */
#ifndef CLIENT_BANNER_H
#define CLIENT_BANNER_H

#include <stddef.h>

/* How much of it is passed over. */
#define BANNER_BYTES_MAX (64U << 10)

/* Where the JSON object that ends the line and has the key `key` begins, behind what was printed
 * before it without a line break; NULL = the line is a banner. Borrowed from `line`. */
const char *banner_end(const char *line, size_t line_bytes, const char *key);

#endif
