#include "base/json_memory.h"

#include <jansson.h>
#include <stdlib.h>

#include "base/status.h"

static void *allocate(size_t bytes)
{
    void *memory = malloc(bytes);
    if (memory == NULL)
        out_of_memory("JSON");
    return memory;
}

void json_memory_install(void)
{
    json_set_alloc_funcs(allocate, free);
}
