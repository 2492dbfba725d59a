/* telemetry/nvml.h - NVIDIA's management library: what cards there are, and what one does now.
 *
 * It is loaded at run time; a machine without it, a card that does not know a value, and a driver
 * that refuses one are told apart by a word that records take as the reason of a null.
 */
#ifndef TELEMETRY_NVML_H
#define TELEMETRY_NVML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define NVML_TEXT_BYTES  96
#define NVML_DEVICES_MAX 64

struct nvml;

/* A value, or why there is none: `not_supported`, `no_permission`, `not_in_library`,
 * `driver_failed`. */
struct nvml_value {
    const char *missing; /* borrowed: a static word; NULL: the value is known */
    uint64_t value;
};

/* What stays the same. Texts are empty where unknown. */
struct nvml_card {
    char name[NVML_TEXT_BYTES];
    char bus_id[NVML_TEXT_BYTES]; /* "00000000:01:00.0" */
    char capability[16];          /* "9.0" */
    struct nvml_value memory_bytes, sm_max_mhz, memory_max_mhz, power_limit_mw, pcie_generation_max,
        pcie_width_max, nvlinks; /* of NVLink those that are active */
    struct nvml_value is_mig;    /* cut into instances; 0 or 1 */
};

/* Bits of `throttle` (nvmlClocksEventReasons). */
#define NVML_THROTTLE_IDLE          0x1ULL
#define NVML_THROTTLE_APP_CLOCKS    0x2ULL
#define NVML_THROTTLE_SW_POWER_CAP  0x4ULL
#define NVML_THROTTLE_HW_SLOWDOWN   0x8ULL
#define NVML_THROTTLE_SYNC_BOOST    0x10ULL
#define NVML_THROTTLE_SW_THERMAL    0x20ULL
#define NVML_THROTTLE_HW_THERMAL    0x40ULL
#define NVML_THROTTLE_POWER_BRAKE   0x80ULL
#define NVML_THROTTLE_DISPLAY_CLOCK 0x100ULL

/* What changes. */
struct nvml_reading {
    struct nvml_value sm_mhz, memory_mhz, temperature_c, power_mw, throttle, energy_mj;
    bool is_power_instant; /* not the driver's average over a second */
};

/* What lies in a card's memory. */
struct nvml_memory {
    struct nvml_value used_bytes;      /* by all */
    struct nvml_value process_bytes;   /* by that process */
    struct nvml_value processes_count; /* with work on the card, that one included */
    bool is_listed;                    /* is that process among them? */
};

/* NULL where there is none: *ret_missing is then `no_nvml` (no such library), `no_driver` or
 * `driver_failed`. */
struct nvml *nvml_open(const char **ret_missing);
/* No-op on NULL. */
void nvml_close(struct nvml *nvml);

/* Memory of the smallest card of this machine: which of them a framework calls `cuda:N` depends on
 * its own order. 0 = not known. Opens the library for itself. */
uint64_t nvml_smallest_memory(void);

/* "550.54.15"; "" where unknown. */
void nvml_driver(const struct nvml *nvml, char text[NVML_TEXT_BYTES]);
void nvml_library_version(const struct nvml *nvml, char text[NVML_TEXT_BYTES]);
/* The newest CUDA that the driver runs: 12040 for 12.4. */
struct nvml_value nvml_cuda_version(const struct nvml *nvml);

unsigned nvml_count(const struct nvml *nvml);
void nvml_describe(const struct nvml *nvml, unsigned index, struct nvml_card *ret_card);
/* By a PCI bus id, of any spelling of the domain. False: no such card. */
bool nvml_find(const struct nvml *nvml, const char *bus_id, unsigned *ret_index);
/* Quick enough for 10 times a second; may be called from another thread than nvml_open() was. */
void nvml_read(const struct nvml *nvml, unsigned index, struct nvml_reading *ret_reading);
/* Slower. Drivers number processes outside of containers: a process that is not found there is
 * `not_listed`. */
void nvml_read_memory(const struct nvml *nvml, unsigned index, pid_t pid,
                      struct nvml_memory *ret_memory);

#endif
