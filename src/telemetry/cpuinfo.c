#include "telemetry/cpuinfo.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"
#include "base/procfs.h"

#define CPU_DIR  "/sys/devices/system/cpu"
#define NODE_DIR "/sys/devices/system/node"
/* More than any machine has; ends the search for cache directories. */
#define CACHES_MAX 16

/* The text behind "key<tabs>: " on the first line that begins with the key. */
static void find_text(const char *text, const char *key, char *value, size_t value_bytes)
{
    size_t key_bytes = strlen(key);
    value[0] = '\0';
    for (const char *line = text; line != NULL; line = strchr(line, '\n')) {
        if (*line == '\n')
            line++;
        const char *next = line + key_bytes;
        if (strncmp(line, key, key_bytes) != 0 || strchr("\t :", *next) == NULL || *next == '\0')
            continue;
        next += strspn(next, "\t ");
        if (*next != ':')
            continue;
        next++;
        next += strspn(next, "\t ");
        size_t length = strcspn(next, "\n");
        if (length >= value_bytes)
            length = value_bytes - 1;
        memcpy(value, next, length);
        value[length] = '\0';
        return;
    }
}

static bool find_number(const char *text, const char *key, uint64_t *ret)
{
    char value[CPUINFO_TEXT_BYTES];
    find_text(text, key, value, sizeof(value));
    return value[0] != '\0' && num_parse_u64(value, 0, UINT32_MAX, ret, NULL) == STATUS_OK;
}

/* The first processor's part of /proc/cpuinfo stands for all. */
static void read_model(const char *root, struct cpuinfo *info)
{
    char text[PROCFS_TEXT_BYTES];
    if (!procfs_read(root, "/proc", "cpuinfo", text, sizeof(text)))
        return;
    find_text(text, "vendor_id", info->vendor, sizeof(info->vendor));
    find_text(text, "model name", info->model, sizeof(info->model));
    find_text(text, "microcode", info->microcode, sizeof(info->microcode));
    info->has_family = find_number(text, "cpu family", &info->family);
    info->has_model_number = find_number(text, "model", &info->model_number);
    info->has_stepping = find_number(text, "stepping", &info->stepping);
    info->flags[0] = ' ';
    find_text(text, "flags", info->flags + 1, sizeof(info->flags) - 2);
    size_t length = strlen(info->flags);
    info->flags[length] = ' ';
    info->flags[length + 1] = '\0';
}

/* A processor is counted as a core (or socket) when it is the first online one of its group. */
static bool is_first_of_group(const char *root, unsigned cpu, const struct cpu_list *online,
                              const char *name, bool *is_known)
{
    char dir[64];
    (void)snprintf(dir, sizeof(dir), CPU_DIR "/cpu%u/topology", cpu);
    struct cpu_list group;
    if (!cpu_list_read(root, dir, name, &group)) {
        *is_known = false;
        return false;
    }
    for (unsigned other = 0; other < cpu; other++)
        if (cpu_list_has(&group, other) && cpu_list_has(online, other))
            return false;
    return true;
}

static void read_topology(const char *root, const struct cpu_list *online, struct cpuinfo *info)
{
    bool is_known = true;
    unsigned cores = 0;
    unsigned sockets = 0;
    for (unsigned cpu = 0; cpu < CPU_LIST_CPUS_MAX && is_known; cpu++) {
        if (!cpu_list_has(online, cpu))
            continue;
        cores += is_first_of_group(root, cpu, online, "thread_siblings_list", &is_known);
        sockets += is_first_of_group(root, cpu, online, "core_siblings_list", &is_known);
    }
    info->cores_count = is_known ? cores : 0;
    info->sockets_count = is_known ? sockets : 0;
}

static void read_governor(const char *root, const struct cpu_list *usable, struct cpuinfo *info)
{
    for (unsigned cpu = 0; cpu < CPU_LIST_CPUS_MAX; cpu++) {
        char dir[64];
        char text[CPUINFO_TEXT_BYTES];
        (void)snprintf(dir, sizeof(dir), CPU_DIR "/cpu%u/cpufreq", cpu);
        if (!cpu_list_has(usable, cpu) ||
            !procfs_read(root, dir, "scaling_governor", text, sizeof(text)))
            continue;
        uint64_t khz = 0;
        if (procfs_read_u64(root, dir, "cpuinfo_max_freq", &khz) && khz > info->max_khz)
            info->max_khz = khz;
        if (info->governor[0] == '\0')
            memcpy(info->governor, text, sizeof(text));
        else if (strcmp(info->governor, text) != 0)
            (void)snprintf(info->governor, sizeof(info->governor), "mixed");
    }
}

static void read_boost(const char *root, struct cpuinfo *info)
{
    uint64_t value = 0;
    if (procfs_read_u64(root, CPU_DIR "/intel_pstate", "no_turbo", &value)) {
        info->has_boost = true;
        info->is_boost_on = value == 0;
    } else if (procfs_read_u64(root, CPU_DIR "/cpufreq", "boost", &value)) {
        info->has_boost = true;
        info->is_boost_on = value != 0;
    }
}

void cpuinfo_read(const char *root, struct cpuinfo *ret_info)
{
    *ret_info = (struct cpuinfo){0};
    read_model(root, ret_info);
    struct cpu_list list;
    if (cpu_list_read(root, CPU_DIR, "online", &list)) {
        ret_info->cpus_online_count = cpu_list_count(&list);
        read_topology(root, &list, ret_info);
    }
    char text[PROCFS_TEXT_BYTES];
    char allowed[PROCFS_TEXT_BYTES];
    if (procfs_read(root, "/proc/self", "status", text, sizeof(text))) {
        find_text(text, "Cpus_allowed_list", allowed, sizeof(allowed));
        if (cpu_list_parse(allowed, &list)) {
            ret_info->cpus_usable_count = cpu_list_count(&list);
            (void)snprintf(ret_info->affinity, sizeof(ret_info->affinity), "%.*s",
                           CPUINFO_LIST_BYTES - 1, allowed);
            read_governor(root, &list, ret_info);
        }
    }
    read_boost(root, ret_info);
}

bool cpuinfo_has_flag(const struct cpuinfo *info, const char *flag)
{
    size_t flag_bytes = strlen(flag);
    for (const char *at = info->flags; (at = strstr(at, flag)) != NULL; at += flag_bytes)
        if (at > info->flags && at[-1] == ' ' && at[flag_bytes] == ' ')
            return true;
    return false;
}

/* "Node 0 MemTotal:       16374268 kB" */
static bool read_node_bytes(const char *root, const char *dir, uint64_t *ret_bytes)
{
    char text[PROCFS_TEXT_BYTES];
    uint64_t kib = 0;
    const char *found =
        procfs_read(root, dir, "meminfo", text, sizeof(text)) ? strstr(text, "MemTotal:") : NULL;
    if (found == NULL || !procfs_find_u64(found, "MemTotal:", &kib))
        return false;
    *ret_bytes = kib * 1024;
    return true;
}

static void write_node(const char *root, unsigned node, struct json_writer *writer)
{
    char dir[64];
    char cpus[CPUINFO_LIST_BYTES];
    uint64_t bytes = 0;
    (void)snprintf(dir, sizeof(dir), NODE_DIR "/node%u", node);
    json_begin_object(writer);
    json_field_u64(writer, "node", node);
    if (procfs_read(root, dir, "cpulist", cpus, sizeof(cpus)))
        json_field_string(writer, "cpus", cpus); /* "" = memory alone */
    else
        json_field_null(writer, "cpus");
    if (read_node_bytes(root, dir, &bytes))
        json_field_u64(writer, "total_bytes", bytes);
    else
        json_field_null(writer, "total_bytes");
    json_end_object(writer);
}

void cpuinfo_write_nodes(const char *root, struct json_writer *writer)
{
    struct cpu_list online;
    if (!cpu_list_read(root, NODE_DIR, "online", &online)) {
        json_put_null(writer);
        return;
    }
    json_begin_array(writer);
    for (unsigned node = 0; node < CPUINFO_NODES_MAX; node++)
        if (cpu_list_has(&online, node))
            write_node(root, node, writer);
    json_end_array(writer);
}

/* "32K" or "16M", as sysfs writes a cache's size. */
static bool read_size(const char *root, const char *dir, uint64_t *ret_bytes)
{
    char text[CPUINFO_TEXT_BYTES];
    return procfs_read(root, dir, "size", text, sizeof(text)) &&
           num_parse_bytes(text, ret_bytes, NULL) == STATUS_OK;
}

void cpuinfo_write_caches(const char *root, struct json_writer *writer)
{
    struct cpu_list online;
    unsigned cpu = 0;
    if (cpu_list_read(root, CPU_DIR, "online", &online))
        while (!cpu_list_has(&online, cpu))
            cpu++;
    bool is_open = false;
    for (unsigned i = 0; i < CACHES_MAX; i++) {
        char dir[80];
        (void)snprintf(dir, sizeof(dir), CPU_DIR "/cpu%u/cache/index%u", cpu, i);
        uint64_t level = 0;
        uint64_t bytes = 0;
        char type[CPUINFO_TEXT_BYTES];
        if (!procfs_read_u64(root, dir, "level", &level) || !read_size(root, dir, &bytes) ||
            !procfs_read(root, dir, "type", type, sizeof(type)))
            break;
        if (!is_open)
            json_begin_array(writer);
        is_open = true;
        json_begin_object(writer);
        json_field_u64(writer, "level", level);
        json_field_string(writer, "type", type);
        json_field_u64(writer, "bytes", bytes);
        struct cpu_list sharing;
        if (cpu_list_read(root, dir, "shared_cpu_list", &sharing))
            json_field_u64(writer, "cpus_sharing", cpu_list_count(&sharing));
        else
            json_field_null(writer, "cpus_sharing");
        json_end_object(writer);
    }
    if (is_open)
        json_end_array(writer);
    else
        json_put_null(writer);
}
