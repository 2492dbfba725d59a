#include "spec/device.h"

#include <string.h>

bool device_is_host(const char *name)
{
    return strcmp(name, "cpu") == 0;
}
