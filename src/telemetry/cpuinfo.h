/* telemetry/cpuinfo.h - the processors of a machine, from procfs and sysfs. */
#ifndef TELEMETRY_CPUINFO_H
#define TELEMETRY_CPUINFO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/json_write.h"
#include "telemetry/cpu_list.h"

#define CPUINFO_TEXT_BYTES  128
#define CPUINFO_FLAGS_BYTES 4096
#define CPUINFO_LIST_BYTES  512
#define CPUINFO_NODES_MAX   256

/* What was not found is an empty text, or 0 with its has_ flag false. */
struct cpuinfo {
    char vendor[CPUINFO_TEXT_BYTES];
    char model[CPUINFO_TEXT_BYTES];
    char microcode[CPUINFO_TEXT_BYTES];
    char governor[CPUINFO_TEXT_BYTES]; /* "mixed" when the usable processors differ */
    char flags[CPUINFO_FLAGS_BYTES];   /* with a space in front and behind */
    bool has_family;
    bool has_model_number;
    bool has_stepping;
    bool has_boost;
    bool is_boost_on; /* turbo is allowed */
    uint64_t family;
    uint64_t model_number;
    uint64_t stepping;
    unsigned sockets_count;            /* with a processor online; 0 = unknown */
    unsigned cores_count;              /* physical, online; 0 = unknown */
    unsigned cpus_online_count;        /* logical; 0 = unknown */
    unsigned cpus_usable_count;        /* by this process's affinity and cpuset; 0 = unknown */
    uint64_t max_khz;                  /* 0 = unknown */
    char affinity[CPUINFO_LIST_BYTES]; /* of this process, as the kernel writes it; "" = unknown */
};

/* `root` as in base/procfs.h. */
void cpuinfo_read(const char *root, struct cpuinfo *ret_info);
bool cpuinfo_has_flag(const struct cpuinfo *info, const char *flag);

/* An array of {node, cpus, total_bytes} of the memory's nodes online; null if unknown. */
void cpuinfo_write_nodes(const char *root, struct json_writer *writer);
/* An array of {level, type, bytes, cpus_sharing} of the first processor online; null if unknown. */
void cpuinfo_write_caches(const char *root, struct json_writer *writer);

#endif
