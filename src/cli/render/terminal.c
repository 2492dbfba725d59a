#include "cli/render/terminal.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/num.h"

#define COLUMNS_MAX 100000

size_t terminal_columns(int fd)
{
    if (isatty(fd) != 1)
        return 0;
    const char *told = getenv("COLUMNS");
    uint64_t columns = 0;
    if (told != NULL && num_parse_u64(told, 1, COLUMNS_MAX, &columns, NULL) == STATUS_OK)
        return (size_t)columns;
    struct winsize size;
    return ioctl(fd, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

bool terminal_is_smart(int fd)
{
    const char *terminal = getenv("TERM");
    return isatty(fd) == 1 && terminal != NULL && strcmp(terminal, "dumb") != 0;
}

bool terminal_may_color(uint64_t when)
{
    const char *no_color = getenv("NO_COLOR");
    if (when == RUN_WHEN_AUTO)
        return no_color == NULL || no_color[0] == '\0';
    return when == RUN_WHEN_ALWAYS;
}

bool terminal_has_color(uint64_t when, int fd)
{
    return terminal_may_color(when) && (when == RUN_WHEN_ALWAYS || terminal_is_smart(fd));
}

struct grid_style terminal_style(uint64_t when, int fd, bool is_markdown)
{
    return (struct grid_style){terminal_columns(fd), terminal_has_color(when, fd), is_markdown};
}

/* The first that is set and not empty counts, as in setlocale(). */
bool terminal_shows_utf8(void)
{
    static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        const char *value = getenv(names[i]);
        if (value == NULL || value[0] == '\0')
            continue;
        const char *codeset = strchr(value, '.');
        return codeset != NULL &&
               (strncasecmp(codeset, ".utf-8", 6) == 0 || strncasecmp(codeset, ".utf8", 5) == 0);
    }
    return false;
}
