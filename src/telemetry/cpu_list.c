#include "telemetry/cpu_list.h"

#include <stdio.h>
#include <string.h>

#include "base/procfs.h"
#include "base/status.h"

/* Digits at `*text`, which is moved behind them. */
static bool take_number(const char **text, unsigned *ret)
{
    unsigned value = 0;
    const char *next = *text;
    while (*next >= '0' && *next <= '9' && value < CPU_LIST_CPUS_MAX)
        value = value * 10 + (unsigned)(*next++ - '0');
    if (next == *text || value >= CPU_LIST_CPUS_MAX)
        return false;
    *text = next;
    *ret = value;
    return true;
}

bool cpu_list_parse(const char *text, struct cpu_list *ret_list)
{
    struct cpu_list list = {0};
    for (;;) {
        unsigned first;
        if (!take_number(&text, &first))
            return false;
        unsigned last = first;
        if (*text == '-') {
            text++;
            if (!take_number(&text, &last) || last < first)
                return false;
        }
        for (unsigned cpu = first; cpu <= last; cpu++)
            list.bits[cpu / 64] |= 1ULL << (cpu % 64);
        if (*text == '\0')
            break;
        if (*text++ != ',')
            return false;
    }
    *ret_list = list;
    return true;
}

bool cpu_list_has(const struct cpu_list *list, unsigned cpu)
{
    return cpu < CPU_LIST_CPUS_MAX && (list->bits[cpu / 64] >> (cpu % 64) & 1) != 0;
}

unsigned cpu_list_count(const struct cpu_list *list)
{
    unsigned count = 0;
    for (size_t i = 0; i < ARRAY_COUNT(list->bits); i++)
        count += (unsigned)__builtin_popcountll(list->bits[i]);
    return count;
}

bool cpu_list_read(const char *root, const char *dir, const char *name, struct cpu_list *ret_list)
{
    char text[PROCFS_TEXT_BYTES];
    return procfs_read(root, dir, name, text, sizeof(text)) && cpu_list_parse(text, ret_list);
}

bool cpu_list_read_allowed(const char *root, pid_t pid, struct cpu_list *ret_list)
{
    static const char key[] = "Cpus_allowed_list:";
    char dir[32];
    char text[PROCFS_TEXT_BYTES];
    (void)snprintf(dir, sizeof(dir), "/proc/%ld", (long)pid);
    if (!procfs_read(root, dir, "status", text, sizeof(text)))
        return false;
    char *found = strstr(text, key);
    if (found == NULL)
        return false;
    found += strlen(key);
    found += strspn(found, " \t");
    found[strcspn(found, "\n")] = '\0';
    return cpu_list_parse(found, ret_list);
}
