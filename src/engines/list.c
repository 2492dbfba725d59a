/* Every C engine of this program. A new one is added here and nowhere else. */
#include <string.h>

#include "engines/engine.h"
#include "engines/native/native.h"
#include "engines/null/null.h"
#include "engines/python/python.h"
#include "engines/sandbox/sandbox.h"

const struct engine_ops *const engine_list[] = {
    &native_engine, &pytorch_engine, &jax_engine, &null_engine, &sandbox_engine,
};

const unsigned engine_list_count = ARRAY_COUNT(engine_list);

const struct engine_ops *engine_find(const char *name)
{
    for (unsigned i = 0; i < engine_list_count; i++)
        if (strcmp(engine_list[i]->name, name) == 0)
            return engine_list[i];
    return NULL;
}
