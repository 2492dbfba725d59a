/* client/log_tail.h - the end of what a process wrote to its log: it says most about what went
 * wrong. */
#ifndef CLIENT_LOG_TAIL_H
#define CLIENT_LOG_TAIL_H

#include <sys/types.h>

#define LOG_TAIL_BYTES     4096
#define LOG_TAIL_LINES_MAX 20

/* The last `lines_max` lines behind `start_byte`, at most LOG_TAIL_BYTES; "" when there are none or
 * `fd` is -1. */
void log_tail(int fd, off_t start_byte, int lines_max, char text[LOG_TAIL_BYTES + 1]);

#endif
