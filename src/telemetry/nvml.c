#include "telemetry/nvml.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/dynamic.h"
#include "base/status.h"

/* As the library has them; names and numbers are NVIDIA's. */
typedef struct nvml_handle *device_t;

enum {
    NVML_OK = 0,
    NVML_NOT_SUPPORTED = 3,
    NVML_NO_PERMISSION = 4,
    NVML_INSUFFICIENT_SIZE = 7,
    NVML_DRIVER_NOT_LOADED = 9
};
enum { CLOCK_SM = 1, CLOCK_MEM = 2 };

#define FIELD_POWER_INSTANT 186
#define SENSOR_GPU          0U
#define NVLINKS_MAX         18
#define PROCESSES_MAX       128
#define BYTES_NOT_AVAILABLE UINT64_MAX

struct pci_info {
    char bus_id_legacy[16];
    unsigned domain, bus, device, pci_device_id, pci_subsystem_id;
    char bus_id[32];
};

struct memory_v2 {
    unsigned version;
    unsigned long long total, reserved, free, used;
};
#define MEMORY_V2_VERSION (sizeof(struct memory_v2) | (2U << 24))
_Static_assert(sizeof(struct memory_v2) == 40, "nvmlMemory_v2_t");

struct memory_v1 {
    unsigned long long total, free, used;
};

/* Of the versions 2 and 3. */
struct process_info {
    unsigned pid;
    unsigned long long used_bytes;
    unsigned gpu_instance, compute_instance;
};
_Static_assert(sizeof(struct process_info) == 24, "nvmlProcessInfo_t");

enum value_type {
    VALUE_DOUBLE,
    VALUE_UINT,
    VALUE_ULONG,
    VALUE_ULONG_LONG,
    VALUE_LONG_LONG,
    VALUE_INT
};

struct field_value {
    unsigned field, scope;
    long long timestamp_us, latency_us;
    unsigned type; /* enum value_type */
    int result;
    union {
        double real;
        unsigned small;
        unsigned long large;
        unsigned long long largest;
    } value;
};
_Static_assert(sizeof(struct field_value) == 40, "nvmlFieldValue_t");

/* X(member, name, arguments): what is used of it. Any may be missing. */
#define SYMBOLS(X)                                                                               \
    X(init, "nvmlInit_v2", (void))                                                               \
    X(shutdown, "nvmlShutdown", (void))                                                          \
    X(driver_version, "nvmlSystemGetDriverVersion", (char *, unsigned))                          \
    X(library_version, "nvmlSystemGetNVMLVersion", (char *, unsigned))                           \
    X(cuda_version, "nvmlSystemGetCudaDriverVersion_v2", (int *))                                \
    X(device_count, "nvmlDeviceGetCount_v2", (unsigned *))                                       \
    X(device_by_index, "nvmlDeviceGetHandleByIndex_v2", (unsigned, device_t *))                  \
    X(device_name, "nvmlDeviceGetName", (device_t, char *, unsigned))                            \
    X(pci_info, "nvmlDeviceGetPciInfo_v3", (device_t, struct pci_info *))                        \
    X(memory_v2, "nvmlDeviceGetMemoryInfo_v2", (device_t, struct memory_v2 *))                   \
    X(memory_v1, "nvmlDeviceGetMemoryInfo", (device_t, struct memory_v1 *))                      \
    X(capability, "nvmlDeviceGetCudaComputeCapability", (device_t, int *, int *))                \
    X(clock_max, "nvmlDeviceGetMaxClockInfo", (device_t, unsigned, unsigned *))                  \
    X(clock, "nvmlDeviceGetClockInfo", (device_t, unsigned, unsigned *))                         \
    X(power_limit, "nvmlDeviceGetEnforcedPowerLimit", (device_t, unsigned *))                    \
    X(pcie_generation, "nvmlDeviceGetMaxPcieLinkGeneration", (device_t, unsigned *))             \
    X(pcie_width, "nvmlDeviceGetMaxPcieLinkWidth", (device_t, unsigned *))                       \
    X(nvlink_state, "nvmlDeviceGetNvLinkState", (device_t, unsigned, unsigned *))                \
    X(mig_mode, "nvmlDeviceGetMigMode", (device_t, unsigned *, unsigned *))                      \
    X(temperature, "nvmlDeviceGetTemperature", (device_t, unsigned, unsigned *))                 \
    X(power_usage, "nvmlDeviceGetPowerUsage", (device_t, unsigned *))                            \
    X(field_values, "nvmlDeviceGetFieldValues", (device_t, int, struct field_value *))           \
    X(event_reasons, "nvmlDeviceGetCurrentClocksEventReasons", (device_t, unsigned long long *)) \
    X(throttle_reasons, "nvmlDeviceGetCurrentClocksThrottleReasons",                             \
      (device_t, unsigned long long *))                                                          \
    X(energy, "nvmlDeviceGetTotalEnergyConsumption", (device_t, unsigned long long *))           \
    X(processes_v3, "nvmlDeviceGetComputeRunningProcesses_v3",                                   \
      (device_t, unsigned *, struct process_info *))                                             \
    X(processes_v2, "nvmlDeviceGetComputeRunningProcesses_v2",                                   \
      (device_t, unsigned *, struct process_info *))

struct nvml {
#define X(member, name, arguments) int(*member) arguments;
    SYMBOLS(X)
#undef X
    unsigned count;
    device_t devices[NVML_DEVICES_MAX];
};

/* Of a call that could not be made: no such symbol. */
#define NOT_IN_LIBRARY (-1)
#define CALL(nvml, member, ...) \
    ((nvml)->member != NULL ? (nvml)->member(__VA_ARGS__) : NOT_IN_LIBRARY)

static const char *missing_of(int result)
{
    switch (result) {
    case NVML_OK: return NULL;
    case NOT_IN_LIBRARY: return "not_in_library";
    case NVML_NOT_SUPPORTED: return "not_supported";
    case NVML_NO_PERMISSION: return "no_permission";
    default: return "driver_failed";
    }
}

static struct nvml_value value_of(int result, uint64_t value)
{
    return (struct nvml_value){missing_of(result), result == NVML_OK ? value : 0};
}

/* --- open and close --- */

static bool load(struct nvml *nvml)
{
    static const char *const names[] = {"libnvidia-ml.so.1", NULL};
    const struct dynamic_symbol symbols[] = {
#define X(member, name, arguments) {name, &nvml->member, true},
        SYMBOLS(X)
#undef X
    };
    struct err why = {0};
    return dynamic_load(names, symbols, ARRAY_COUNT(symbols), &why) == STATUS_OK;
}

static void find_devices(struct nvml *nvml)
{
    unsigned count = 0;
    if (CALL(nvml, device_count, &count) != NVML_OK)
        return;
    for (unsigned i = 0; i < count && nvml->count < NVML_DEVICES_MAX; i++)
        if (CALL(nvml, device_by_index, i, &nvml->devices[nvml->count]) == NVML_OK)
            nvml->count++;
}

struct nvml *nvml_open(const char **ret_missing)
{
    struct nvml *nvml = calloc(1, sizeof(*nvml));
    if (nvml == NULL) {
        *ret_missing = "out_of_memory";
        return NULL;
    }
    if (!load(nvml)) {
        free(nvml);
        *ret_missing = "no_nvml";
        return NULL;
    }
    int result = nvml->init != NULL ? nvml->init() : NOT_IN_LIBRARY;
    if (result != NVML_OK) {
        free(nvml);
        *ret_missing = result == NVML_DRIVER_NOT_LOADED ? "no_driver" : "driver_failed";
        return NULL;
    }
    find_devices(nvml);
    return nvml;
}

void nvml_close(struct nvml *nvml)
{
    if (nvml == NULL)
        return;
    if (nvml->shutdown != NULL)
        (void)nvml->shutdown();
    free(nvml);
}

/* --- the library --- */

void nvml_driver(const struct nvml *nvml, char text[NVML_TEXT_BYTES])
{
    text[0] = '\0';
    if (CALL(nvml, driver_version, text, NVML_TEXT_BYTES) != NVML_OK)
        text[0] = '\0';
}

void nvml_library_version(const struct nvml *nvml, char text[NVML_TEXT_BYTES])
{
    text[0] = '\0';
    if (CALL(nvml, library_version, text, NVML_TEXT_BYTES) != NVML_OK)
        text[0] = '\0';
}

struct nvml_value nvml_cuda_version(const struct nvml *nvml)
{
    int version = 0;
    int result = CALL(nvml, cuda_version, &version);
    return value_of(result, version > 0 ? (uint64_t)version : 0);
}

/* --- a card --- */

unsigned nvml_count(const struct nvml *nvml)
{
    return nvml->count;
}

static struct nvml_value read_total(const struct nvml *nvml, device_t device)
{
    struct memory_v2 memory = {.version = MEMORY_V2_VERSION};
    int result = CALL(nvml, memory_v2, device, &memory);
    if (result == NVML_OK)
        return value_of(result, memory.total);
    struct memory_v1 older = {0};
    result = CALL(nvml, memory_v1, device, &older);
    return value_of(result, older.total);
}

static struct nvml_value count_nvlinks(const struct nvml *nvml, device_t device)
{
    uint64_t active = 0;
    int result = NVML_NOT_SUPPORTED;
    for (unsigned link = 0; link < NVLINKS_MAX; link++) {
        unsigned state = 0;
        int answer = CALL(nvml, nvlink_state, device, link, &state);
        if (answer == NVML_OK && state == 1)
            active++;
        if (link == 0 || answer == NVML_OK)
            result = answer;
    }
    return value_of(result, active);
}

static void read_bus_id(const struct nvml *nvml, device_t device, char text[NVML_TEXT_BYTES])
{
    struct pci_info pci = {0};
    text[0] = '\0';
    if (CALL(nvml, pci_info, device, &pci) == NVML_OK)
        (void)snprintf(text, NVML_TEXT_BYTES, "%.*s", (int)sizeof(pci.bus_id), pci.bus_id);
}

void nvml_describe(const struct nvml *nvml, unsigned index, struct nvml_card *ret_card)
{
    ASSERT(index < nvml->count);
    *ret_card = (struct nvml_card){0};
    device_t device = nvml->devices[index];
    if (CALL(nvml, device_name, device, ret_card->name, NVML_TEXT_BYTES) != NVML_OK)
        ret_card->name[0] = '\0';
    read_bus_id(nvml, device, ret_card->bus_id);
    int major = 0;
    int minor = 0;
    if (CALL(nvml, capability, device, &major, &minor) == NVML_OK)
        (void)snprintf(ret_card->capability, sizeof(ret_card->capability), "%d.%d", major, minor);
    ret_card->memory_bytes = read_total(nvml, device);
    unsigned value = 0;
    int result = CALL(nvml, clock_max, device, CLOCK_SM, &value);
    ret_card->sm_max_mhz = value_of(result, value);
    result = CALL(nvml, clock_max, device, CLOCK_MEM, &value);
    ret_card->memory_max_mhz = value_of(result, value);
    result = CALL(nvml, power_limit, device, &value);
    ret_card->power_limit_mw = value_of(result, value);
    result = CALL(nvml, pcie_generation, device, &value);
    ret_card->pcie_generation_max = value_of(result, value);
    result = CALL(nvml, pcie_width, device, &value);
    ret_card->pcie_width_max = value_of(result, value);
    ret_card->nvlinks = count_nvlinks(nvml, device);
    unsigned pending = 0;
    result = CALL(nvml, mig_mode, device, &value, &pending);
    ret_card->is_mig = value_of(result, value);
}

/* "00000000:01:00.0" and "0000:01:00.0": the same card. */
static const char *without_domain_zeros(const char *bus_id)
{
    while (*bus_id == '0')
        bus_id++;
    return bus_id;
}

bool nvml_find(const struct nvml *nvml, const char *bus_id, unsigned *ret_index)
{
    for (unsigned i = 0; i < nvml->count; i++) {
        char own[NVML_TEXT_BYTES];
        read_bus_id(nvml, nvml->devices[i], own);
        if (own[0] == '\0' ||
            strcasecmp(without_domain_zeros(own), without_domain_zeros(bus_id)) != 0)
            continue;
        *ret_index = i;
        return true;
    }
    return false;
}

/* --- what changes --- */

static struct nvml_value read_instant(const struct nvml *nvml, device_t device)
{
    struct field_value field = {.field = FIELD_POWER_INSTANT};
    int result = CALL(nvml, field_values, device, 1, &field);
    if (result == NVML_OK)
        result = field.result;
    return value_of(result, field.type == VALUE_UINT ? field.value.small : field.value.largest);
}

static struct nvml_value read_throttle(const struct nvml *nvml, device_t device)
{
    unsigned long long bits = 0;
    int result = CALL(nvml, event_reasons, device, &bits);
    if (result != NVML_OK)
        result = CALL(nvml, throttle_reasons, device, &bits); /* its older name */
    return value_of(result, bits);
}

void nvml_read(const struct nvml *nvml, unsigned index, struct nvml_reading *ret_reading)
{
    ASSERT(index < nvml->count);
    device_t device = nvml->devices[index];
    unsigned value = 0;
    int result = CALL(nvml, clock, device, CLOCK_SM, &value);
    ret_reading->sm_mhz = value_of(result, value);
    result = CALL(nvml, clock, device, CLOCK_MEM, &value);
    ret_reading->memory_mhz = value_of(result, value);
    result = CALL(nvml, temperature, device, SENSOR_GPU, &value);
    ret_reading->temperature_c = value_of(result, value);
    ret_reading->power_mw = read_instant(nvml, device);
    ret_reading->is_power_instant = ret_reading->power_mw.missing == NULL;
    if (!ret_reading->is_power_instant) {
        result = CALL(nvml, power_usage, device, &value);
        ret_reading->power_mw = value_of(result, value);
    }
    ret_reading->throttle = read_throttle(nvml, device);
    unsigned long long energy = 0;
    result = CALL(nvml, energy, device, &energy);
    ret_reading->energy_mj = value_of(result, energy);
}

static struct nvml_value read_used(const struct nvml *nvml, device_t device)
{
    struct memory_v2 memory = {.version = MEMORY_V2_VERSION};
    int result = CALL(nvml, memory_v2, device, &memory);
    if (result == NVML_OK)
        return value_of(result, memory.used);
    struct memory_v1 older = {0};
    result = CALL(nvml, memory_v1, device, &older);
    return value_of(result, older.used);
}

void nvml_read_memory(const struct nvml *nvml, unsigned index, pid_t pid,
                      struct nvml_memory *ret_memory)
{
    ASSERT(index < nvml->count);
    device_t device = nvml->devices[index];
    struct process_info processes[PROCESSES_MAX];
    unsigned count = PROCESSES_MAX;
    ret_memory->used_bytes = read_used(nvml, device);
    int result = CALL(nvml, processes_v3, device, &count, processes);
    if (result == NOT_IN_LIBRARY) {
        count = PROCESSES_MAX;
        result = CALL(nvml, processes_v2, device, &count, processes);
    }
    if (result != NVML_OK)
        count = 0;
    ret_memory->processes_count = value_of(result, count);
    ret_memory->is_listed = false;
    ret_memory->process_bytes = value_of(result, 0);
    if (result == NVML_OK)
        ret_memory->process_bytes.missing = "not_listed";
    for (unsigned i = 0; i < count && i < PROCESSES_MAX; i++) {
        if ((pid_t)processes[i].pid != pid)
            continue;
        ret_memory->is_listed = true;
        bool is_known = processes[i].used_bytes != BYTES_NOT_AVAILABLE;
        ret_memory->process_bytes = (struct nvml_value){
            is_known ? NULL : "not_supported", is_known ? (uint64_t)processes[i].used_bytes : 0};
    }
}

uint64_t nvml_smallest_memory(void)
{
    const char *missing = NULL;
    struct nvml *nvml = nvml_open(&missing);
    uint64_t smallest = 0;
    for (unsigned i = 0; nvml != NULL && i < nvml_count(nvml); i++) {
        struct nvml_card card;
        nvml_describe(nvml, i, &card);
        if (card.memory_bytes.missing == NULL &&
            (smallest == 0 || card.memory_bytes.value < smallest))
            smallest = card.memory_bytes.value;
    }
    nvml_close(nvml);
    return smallest;
}
