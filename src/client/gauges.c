#include "client/gauges.h"

#include "base/status.h"

const char *gauge_key(enum gauge_id id)
{
    static const char *const keys[] = {
#define X(name, key) key,
        GAUGES_MAP(X)
#undef X
    };
    ASSERT(id < GAUGES_COUNT);
    return keys[id];
}

void gauges_add(struct gauges *gauges, enum gauge_id id, double value, const char *missing)
{
    ASSERT(gauges->count < GAUGES_COUNT);
    gauges->list[gauges->count++] = (struct gauge){id, value, missing};
}
