#include "base/procfs.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"

bool procfs_read(const char *root, const char *dir, const char *name, char *text, size_t text_bytes)
{
    text[0] = '\0';
    char path[FILE_PATH_BYTES];
    int length = snprintf(path, sizeof(path), "%s%s/%s", root, dir, name);
    if (length < 0 || (size_t)length >= sizeof(path))
        return false;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return false;
    size_t filled = 0;
    bool is_read = true;
    while (filled < text_bytes - 1) {
        ssize_t got = read(fd, text + filled, text_bytes - 1 - filled);
        if (got < 0 && errno == EINTR)
            continue;
        is_read = got >= 0;
        if (got <= 0)
            break;
        filled += (size_t)got;
    }
    (void)close(fd);
    if (!is_read)
        filled = 0;
    while (filled > 0 && (text[filled - 1] == '\n' || text[filled - 1] == '\r'))
        filled--;
    text[filled] = '\0';
    return is_read;
}

/* Digits, then the end, a space or a line end. A number too large for 64 bits is refused. */
static bool parse_u64(const char *text, const char **ret_end, uint64_t *ret_value)
{
    if (!isdigit((unsigned char)text[0]))
        return false;
    errno = 0;
    char *end = NULL;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno != 0 || (*end != '\0' && !isspace((unsigned char)*end)))
        return false;
    *ret_end = end;
    *ret_value = value;
    return true;
}

bool procfs_read_u64(const char *root, const char *dir, const char *name, uint64_t *ret_value)
{
    char text[64];
    const char *end = NULL;
    uint64_t value = 0;
    if (!procfs_read(root, dir, name, text, sizeof(text)) || !parse_u64(text, &end, &value) ||
        *end != '\0')
        return false;
    *ret_value = value;
    return true;
}

bool procfs_find_u64(const char *text, const char *key, uint64_t *ret_value)
{
    size_t key_bytes = strlen(key);
    for (const char *line = text; line != NULL; line = strchr(line, '\n')) {
        if (*line == '\n')
            line++;
        if (strncmp(line, key, key_bytes) != 0)
            continue;
        const char *next = line + key_bytes;
        if (*next != ' ' && *next != '\t')
            continue;
        while (*next == ' ' || *next == '\t')
            next++;
        const char *end = NULL;
        return parse_u64(next, &end, ret_value);
    }
    return false;
}
