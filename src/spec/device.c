#include "spec/device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool device_is_host(const char *name)
{
    return strcmp(name, "cpu") == 0 || strncmp(name, "cpu:", 4) == 0;
}

void device_first(const char *name, char ret_first[DEVICE_NAME_BYTES])
{
    size_t length = device_is_host(name) ? strlen("cpu") : strcspn(name, "-");
    (void)snprintf(ret_first, DEVICE_NAME_BYTES, "%.*s", (int)length, name);
}

uint32_t device_count(const char *name)
{
    const char *colon = strchr(name, ':');
    if (colon == NULL)
        return 1;
    char *end = NULL;
    unsigned long first = strtoul(colon + 1, &end, 10);
    if (device_is_host(name))
        return (uint32_t)first;
    if (*end != '-')
        return 1;
    return (uint32_t)(strtoul(end + 1, NULL, 10) - first + 1);
}
