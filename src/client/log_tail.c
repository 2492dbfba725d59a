#include "client/log_tail.h"

#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char *last_lines(char *text, size_t length, int lines_max)
{
    int lines = 0;
    for (size_t i = length; i > 0; i--)
        if (text[i - 1] == '\n' && ++lines == lines_max)
            return text + i;
    return text;
}

void log_tail(int fd, off_t start_byte, int lines_max, char text[LOG_TAIL_BYTES + 1])
{
    text[0] = '\0';
    struct stat info;
    if (fd < 0 || fstat(fd, &info) != 0)
        return;
    off_t start = info.st_size - LOG_TAIL_BYTES;
    if (start < start_byte)
        start = start_byte;
    ssize_t got = pread(fd, text, LOG_TAIL_BYTES, start);
    size_t length = got > 0 ? (size_t)got : 0;
    for (size_t i = 0; i < length; i++)
        if (text[i] == '\0')
            text[i] = '?';
    while (length > 0 && (text[length - 1] == '\n' || text[length - 1] == ' '))
        length--;
    text[length] = '\0';
    char *from = last_lines(text, length, lines_max);
    memmove(text, from, length - (size_t)(from - text) + 1);
}
