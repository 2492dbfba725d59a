/* Every C engine of this program. A new one is added here and nowhere else. */
#include <string.h>

#include "engines/engine.h"
#include "engines/native/native.h"
#include "engines/null/null.h"
#include "engines/python/python.h"
#include "engines/sandbox/sandbox.h"
#include "spec/device.h"

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

bool engine_predict_bytes(const struct cell *cell, uint64_t *ret_bytes)
{
    struct engine_prediction prediction = {0};
    const struct engine_ops *ops = engine_find(cell->engine);
    if (ops == NULL || ops->predict == NULL ||
        (ops->supports != NULL && ops->supports(cell, NULL) != STATUS_OK) ||
        ops->predict(cell, &prediction, NULL) != STATUS_OK || !prediction.memory.is_known)
        return false;
    *ret_bytes = prediction.memory.total_bytes;
    return true;
}

enum status engine_device_of(const struct engine_ops *ops, const struct cell *cell,
                             struct engine_device *ret, struct err *err)
{
    struct engine_device device = {.is_host = device_is_host(cell->device), .count = 1};
    if (ops != NULL && ops->device != NULL) {
        enum status status = ops->device(cell, &device, err);
        if (status != STATUS_OK)
            return status;
    }
    *ret = device;
    return STATUS_OK;
}
