/* client/gauges.h - what a machine does at a moment, for who looks on: clocks, power, heat.
 * Fields of a record say the same of a whole measurement.
 */
#ifndef CLIENT_GAUGES_H
#define CLIENT_GAUGES_H

#include <stddef.h>

/* X(name, key in events; that of the record's field, where there is one) */
#define GAUGES_MAP(X)                       \
    X(CPU_MHZ, "cpu_mhz")                   \
    X(GPU_SM_MHZ, "gpu_sm_mhz")             \
    X(GPU_TEMPERATURE, "gpu_temperature_c") \
    X(GPU_USED_MB, "gpu_used_mb")           \
    X(POWER_W, "power_w")

enum gauge_id {
#define X(name, key) GAUGE_##name,
    GAUGES_MAP(X)
#undef X
        GAUGES_COUNT
};

/* A value, or why there is none. Words are borrowed: static. */
struct gauge {
    enum gauge_id id;
    double value;
    const char *missing; /* NULL: the value is known */
};

/* Those that say something of the device that is measured on. */
struct gauges {
    struct gauge list[GAUGES_COUNT];
    size_t count;
};

/* Static. */
const char *gauge_key(enum gauge_id id);
void gauges_add(struct gauges *gauges, enum gauge_id id, double value, const char *missing);

#endif
