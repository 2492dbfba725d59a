/* A libnvidia-ml.so.1 without a card: what the real one would say stands in a file, whose path is
 * in TOKMARK_FAKE_NVML. It is read anew by each call, so that a test can change it meanwhile.
 *
 * Lines "key value". A value "!3" is the error of that number; a key that is not there is error 3
 * (not supported). Keys begin with the card's number where it has one: "0.power_mw 250000".
 *
 * energy: from `energy_mj`, where it is given; else it grows with `power_mw` since the first call,
 * in steps of `energy_step_ms`, as the counters of cards do.
 *
 * With FAKE_NVML_OLD it lacks what old drivers lack.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define EXPORT __attribute__((visibility("default")))

enum { OK = 0, INVALID = 2, NOT_SUPPORTED = 3, INSUFFICIENT_SIZE = 7 };

struct pci {
    char legacy[16];
    unsigned domain, bus, device, device_id, subsystem_id;
    char bus_id[32];
};
struct memory_v2 {
    unsigned version;
    unsigned long long total, reserved, free, used;
};
struct memory_v1 {
    unsigned long long total, free, used;
};
struct process {
    unsigned pid;
    unsigned long long used;
    unsigned gpu_instance, compute_instance;
};
struct field {
    unsigned id, scope;
    long long timestamp, latency;
    unsigned type;
    int result;
    union {
        double real;
        unsigned small;
        unsigned long long large;
    } value;
};

/* A handle is the card's number, plus one. */
static int number_of(void *device)
{
    return (int)((size_t)device - 1);
}

/* Into `text`; the error that stands there, or NOT_SUPPORTED where nothing does. */
static int look_up(int card, const char *key, char text[256])
{
    const char *path = getenv("TOKMARK_FAKE_NVML");
    FILE *file = path != NULL ? fopen(path, "re") : NULL;
    char wanted[128];
    char line[512];
    int result = NOT_SUPPORTED;
    if (file == NULL)
        return 999;
    if (card < 0)
        (void)snprintf(wanted, sizeof(wanted), "%s ", key);
    else
        (void)snprintf(wanted, sizeof(wanted), "%d.%s ", card, key);
    while (fgets(line, sizeof(line), file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (strncmp(line, wanted, strlen(wanted)) != 0)
            continue;
        (void)snprintf(text, 256, "%.255s", line + strlen(wanted));
        result = text[0] == '!' ? (int)strtol(text + 1, NULL, 10) : OK;
    }
    (void)fclose(file);
    return result;
}

static int number(int card, const char *key, unsigned long long *ret_value)
{
    char text[256];
    int result = look_up(card, key, text);
    if (result == OK)
        *ret_value = strtoull(text, NULL, 0);
    return result;
}

static int small(void *device, const char *key, unsigned *ret_value)
{
    unsigned long long value = 0;
    int result = number(number_of(device), key, &value);
    if (result == OK)
        *ret_value = (unsigned)value;
    return result;
}

static int words(int card, const char *key, char *text, unsigned bytes)
{
    char found[256] = "";
    int result = look_up(card, key, found);
    size_t length = strlen(found);
    if (result == OK && length >= bytes)
        return INSUFFICIENT_SIZE;
    if (result == OK)
        memcpy(text, found, length + 1);
    return result;
}

EXPORT int nvmlInit_v2(void)
{
    unsigned long long value = 0;
    int result = number(-1, "init", &value);
    return result == NOT_SUPPORTED ? OK : result;
}

EXPORT int nvmlShutdown(void)
{
    return OK;
}

EXPORT int nvmlSystemGetDriverVersion(char *text, unsigned bytes)
{
    return words(-1, "driver", text, bytes);
}

EXPORT int nvmlSystemGetNVMLVersion(char *text, unsigned bytes)
{
    return words(-1, "nvml", text, bytes);
}

EXPORT int nvmlSystemGetCudaDriverVersion_v2(int *ret_version)
{
    unsigned long long value = 0;
    int result = number(-1, "cuda", &value);
    *ret_version = (int)value;
    return result;
}

EXPORT int nvmlDeviceGetCount_v2(unsigned *ret_count)
{
    unsigned long long value = 0;
    int result = number(-1, "count", &value);
    *ret_count = (unsigned)value;
    return result;
}

EXPORT int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **ret_device)
{
    *ret_device = (void *)((size_t)index + 1);
    return OK;
}

EXPORT int nvmlDeviceGetName(void *device, char *text, unsigned bytes)
{
    return words(number_of(device), "name", text, bytes);
}

EXPORT int nvmlDeviceGetPciInfo_v3(void *device, struct pci *ret_pci)
{
    memset(ret_pci, 0, sizeof(*ret_pci));
    return words(number_of(device), "bus_id", ret_pci->bus_id, sizeof(ret_pci->bus_id));
}

EXPORT int nvmlDeviceGetMemoryInfo(void *device, struct memory_v1 *ret_memory)
{
    unsigned long long reserved = 0;
    (void)number(number_of(device), "memory_reserved", &reserved);
    int result = number(number_of(device), "memory_total", &ret_memory->total);
    ret_memory->used = 0;
    (void)number(number_of(device), "memory_used", &ret_memory->used);
    ret_memory->used += reserved;
    ret_memory->free = ret_memory->total - ret_memory->used;
    return result;
}

EXPORT int nvmlDeviceGetCudaComputeCapability(void *device, int *ret_major, int *ret_minor)
{
    char text[256];
    int result = look_up(number_of(device), "capability", text);
    if (result == OK && sscanf(text, "%d.%d", ret_major, ret_minor) != 2)
        result = INVALID;
    return result;
}

EXPORT int nvmlDeviceGetMaxClockInfo(void *device, unsigned type, unsigned *ret_mhz)
{
    return small(device, type == 1 ? "sm_max_mhz" : "memory_max_mhz", ret_mhz);
}

EXPORT int nvmlDeviceGetClockInfo(void *device, unsigned type, unsigned *ret_mhz)
{
    return small(device, type == 1 ? "sm_mhz" : "memory_mhz", ret_mhz);
}

EXPORT int nvmlDeviceGetEnforcedPowerLimit(void *device, unsigned *ret_mw)
{
    return small(device, "power_limit_mw", ret_mw);
}

EXPORT int nvmlDeviceGetMaxPcieLinkGeneration(void *device, unsigned *ret_generation)
{
    return small(device, "pcie_generation", ret_generation);
}

EXPORT int nvmlDeviceGetMaxPcieLinkWidth(void *device, unsigned *ret_width)
{
    return small(device, "pcie_width", ret_width);
}

EXPORT int nvmlDeviceGetNvLinkState(void *device, unsigned link, unsigned *ret_state)
{
    unsigned long long links = 0;
    int result = number(number_of(device), "nvlinks", &links);
    *ret_state = link < links;
    return result;
}

EXPORT int nvmlDeviceGetMigMode(void *device, unsigned *ret_mode, unsigned *ret_pending)
{
    *ret_pending = 0;
    return small(device, "mig", ret_mode);
}

EXPORT int nvmlDeviceGetTemperature(void *device, unsigned sensor, unsigned *ret_degrees)
{
    return sensor == 0 ? small(device, "temperature_c", ret_degrees) : INVALID;
}

/* The average of a second: the key of its own shows which of both was asked. */
EXPORT int nvmlDeviceGetPowerUsage(void *device, unsigned *ret_mw)
{
    return small(device, "power_average_mw", ret_mw);
}

EXPORT int nvmlDeviceGetCurrentClocksThrottleReasons(void *device, unsigned long long *ret_bits)
{
    return number(number_of(device), "throttle", ret_bits);
}

EXPORT int nvmlDeviceGetTotalEnergyConsumption(void *device, unsigned long long *ret_mj)
{
    static struct timespec first;
    struct timespec now;
    unsigned long long step_ms = 20;
    unsigned long long power = 0;
    int result = number(number_of(device), "energy_mj", ret_mj);
    if (result != NOT_SUPPORTED)
        return result;
    result = number(number_of(device), "power_mw", &power);
    (void)number(number_of(device), "energy_step_ms", &step_ms);
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    if (first.tv_sec == 0)
        first = now;
    double elapsed_ms =
        1e3 * (double)(now.tv_sec - first.tv_sec) + (double)(now.tv_nsec - first.tv_nsec) / 1e6;
    unsigned long long steps = (unsigned long long)elapsed_ms / step_ms;
    *ret_mj = 1000000ULL + steps * step_ms * power / 1000;
    return result;
}

static int processes(void *device, unsigned *count, struct process *list)
{
    char text[256];
    unsigned pid = 0;
    unsigned long long used = 0;
    unsigned found = 0;
    for (unsigned i = 0; i < *count; i++) {
        char key[32];
        (void)snprintf(key, sizeof(key), "process%u", i);
        int result = look_up(number_of(device), key, text);
        if (result != OK || sscanf(text, "%u %llu", &pid, &used) != 2)
            break;
        list[found++] = (struct process){.pid = pid, .used = used};
    }
    *count = found;
    return OK;
}

EXPORT int nvmlDeviceGetComputeRunningProcesses_v2(void *device, unsigned *count,
                                                   struct process *list)
{
    return processes(device, count, list);
}

#ifndef FAKE_NVML_OLD
EXPORT int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned *count,
                                                   struct process *list)
{
    return processes(device, count, list);
}

EXPORT int nvmlDeviceGetCurrentClocksEventReasons(void *device, unsigned long long *ret_bits)
{
    return number(number_of(device), "throttle", ret_bits);
}

EXPORT int nvmlDeviceGetMemoryInfo_v2(void *device, struct memory_v2 *ret_memory)
{
    unsigned long long reserved = 0;
    if (ret_memory->version != 0x02000028)
        return 25; /* NVML_ERROR_ARGUMENT_VERSION_MISMATCH */
    (void)number(number_of(device), "memory_reserved", &reserved);
    int result = number(number_of(device), "memory_total", &ret_memory->total);
    ret_memory->used = 0;
    (void)number(number_of(device), "memory_used", &ret_memory->used);
    ret_memory->reserved = reserved;
    ret_memory->free = ret_memory->total - ret_memory->used - reserved;
    return result;
}

EXPORT int nvmlDeviceGetFieldValues(void *device, int count, struct field *fields)
{
    for (int i = 0; i < count; i++) {
        fields[i].type = 1;
        fields[i].result =
            fields[i].id == 186 ? small(device, "power_mw", &fields[i].value.small) : NOT_SUPPORTED;
    }
    return OK;
}
#endif
