#include "telemetry/environment.h"

#include <gnu/libc-version.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "base/cgroup.h"
#include "base/json_dump.h"
#include "base/json_write.h"
#include "base/num.h"
#include "base/procfs.h"
#include "base/sysmem.h"
#include "base/version.h"
#include "telemetry/cpuinfo.h"
#include "telemetry/gpu.h"
#include "telemetry/variables.h"

#define KIB                   1024ULL
#define GIB                   (1ULL << 30)
#define FINGERPRINT_BYTES_MAX (1U << 20)

/* Instruction sets that kernels choose by. */
static const char *const features[] = {
    "sse4_2",      "avx",      "avx2",     "fma",      "f16c",        "avx_vnni",
    "avx512f",     "avx512bw", "avx512vl", "avx512dq", "avx512_vnni", "avx512_bf16",
    "avx512_fp16", "amx_tile", "amx_bf16", "amx_int8", "amx_fp16"};

static void put_text(struct json_writer *writer, const char *key, const char *text)
{
    if (text[0] != '\0')
        json_field_string(writer, key, text);
    else
        json_field_null(writer, key);
}

static void put_count(struct json_writer *writer, const char *key, bool is_known, uint64_t value)
{
    if (is_known)
        json_field_u64(writer, key, value);
    else
        json_field_null(writer, key);
}

static void put_cpu(struct json_writer *writer, const char *root, const struct cpuinfo *info)
{
    json_put_key(writer, "cpu");
    json_begin_object(writer);
    put_text(writer, "model", info->model);
    put_text(writer, "vendor", info->vendor);
    put_count(writer, "family", info->has_family, info->family);
    put_count(writer, "model_number", info->has_model_number, info->model_number);
    put_count(writer, "stepping", info->has_stepping, info->stepping);
    put_text(writer, "microcode", info->microcode);
    put_count(writer, "sockets", info->sockets_count > 0, info->sockets_count);
    put_count(writer, "cores", info->cores_count > 0, info->cores_count);
    put_count(writer, "threads_per_core", info->cores_count > 0,
              info->cores_count > 0
                  ? (info->cpus_online_count + info->cores_count - 1) / info->cores_count
                  : 0);
    put_count(writer, "cpus_online", info->cpus_online_count > 0, info->cpus_online_count);
    put_count(writer, "cpus_usable", info->cpus_usable_count > 0, info->cpus_usable_count);
    put_text(writer, "affinity", info->affinity);
    put_text(writer, "governor", info->governor);
    put_count(writer, "max_khz", info->max_khz > 0, info->max_khz);
    if (info->has_boost)
        json_field_bool(writer, "boost", info->is_boost_on);
    else
        json_field_null(writer, "boost");
    json_put_key(writer, "features");
    json_begin_array(writer);
    for (size_t i = 0; i < ARRAY_COUNT(features); i++)
        if (cpuinfo_has_flag(info, features[i]))
            json_put_string(writer, features[i]);
    json_end_array(writer);
    json_put_key(writer, "caches");
    cpuinfo_write_caches(root, writer);
    json_end_object(writer);
}

/* False when meminfo cannot be read. */
static bool read_memory(const char *root, uint64_t *ret_bytes)
{
    char text[PROCFS_TEXT_BYTES];
    uint64_t kib = 0;
    if (!procfs_read(root, "/proc", "meminfo", text, sizeof(text)) ||
        !procfs_find_u64(text, "MemTotal:", &kib))
        return false;
    *ret_bytes = kib * KIB;
    return true;
}

/* The word in brackets: "always [madvise] never". */
static void read_huge_pages(const char *root, char *word, size_t word_bytes)
{
    char text[CPUINFO_TEXT_BYTES];
    word[0] = '\0';
    if (!procfs_read(root, "/sys/kernel/mm/transparent_hugepage", "enabled", text, sizeof(text)))
        return;
    const char *open = strchr(text, '[');
    const char *close = open != NULL ? strchr(open, ']') : NULL;
    if (close != NULL)
        (void)snprintf(word, word_bytes, "%.*s", (int)(close - open - 1), open + 1);
}

static void put_memory(struct json_writer *writer, const char *root)
{
    uint64_t bytes = 0;
    bool is_known = read_memory(root, &bytes);
    char nodes[PROCFS_TEXT_BYTES];
    struct cpu_list list;
    bool has_nodes =
        procfs_read(root, "/sys/devices/system/node", "online", nodes, sizeof(nodes)) &&
        cpu_list_parse(nodes, &list);
    char huge[CPUINFO_TEXT_BYTES];
    read_huge_pages(root, huge, sizeof(huge));
    json_put_key(writer, "memory");
    json_begin_object(writer);
    put_count(writer, "total_bytes", is_known, bytes);
    put_count(writer, "numa_nodes", has_nodes, has_nodes ? cpu_list_count(&list) : 0);
    json_put_key(writer, "nodes");
    cpuinfo_write_nodes(root, writer);
    put_text(writer, "transparent_huge_pages", huge);
    json_end_object(writer);
}

/* The root is borrowed for the call. */
struct cpu_limit {
    const char *root;
    double cpus; /* 0 = none */
};

/* v2: "max 100000" or "150000 100000" in cpu.max; v1: two files, a quota of -1 for none. */
static bool read_quota(const char *root, const char *dir, bool is_v2, double *ret_cpus)
{
    char quota[CPUINFO_TEXT_BYTES];
    char period[CPUINFO_TEXT_BYTES] = "";
    if (!procfs_read(root, dir, is_v2 ? "cpu.max" : "cpu.cfs_quota_us", quota, sizeof(quota)))
        return false;
    if (is_v2) {
        char *space = strchr(quota, ' ');
        if (space == NULL)
            return false;
        *space = '\0';
        memcpy(period, space + 1, strlen(space + 1) + 1);
    } else if (!procfs_read(root, dir, "cpu.cfs_period_us", period, sizeof(period))) {
        return false;
    }
    uint64_t quota_us = 0;
    uint64_t period_us = 0;
    if (num_parse_u64(quota, 1, UINT32_MAX, &quota_us, NULL) != STATUS_OK ||
        num_parse_u64(period, 1, UINT32_MAX, &period_us, NULL) != STATUS_OK)
        return false;
    *ret_cpus = (double)quota_us / (double)period_us;
    return true;
}

static void apply_quota(void *context, const char *dir, bool is_v2)
{
    struct cpu_limit *limit = context;
    double cpus = 0;
    if (read_quota(limit->root, dir, is_v2, &cpus) && (limit->cpus == 0 || cpus < limit->cpus))
        limit->cpus = cpus;
}

static void put_limits(struct json_writer *writer, const char *root)
{
    uint64_t machine = 0;
    uint64_t allowed = sysmem_total_bytes_at(root);
    bool is_limited = read_memory(root, &machine) && allowed > 0 && allowed < machine;
    struct cpu_limit limit = {.root = root};
    cgroup_walk(root, "cpu", apply_quota, &limit);
    json_put_key(writer, "limits");
    json_begin_object(writer);
    put_count(writer, "memory_bytes", is_limited, allowed);
    if (limit.cpus > 0)
        json_field_double(writer, "cpus", limit.cpus);
    else
        json_field_null(writer, "cpus");
    json_end_object(writer);
}

/* The hypervisor's own signature, where the processor has one. */
static void read_signature(char text[CPUINFO_TEXT_BYTES])
{
    text[0] = '\0';
#if defined(__x86_64__)
    static const struct {
        const char *signature;
        const char *name;
    } known[] = {{"KVMKVMKVM", "kvm"},           {"Microsoft Hv", "hyperv"},
                 {"VMwareVMware", "vmware"},     {"XenVMMXenVMM", "xen"},
                 {"VBoxVBoxVBox", "virtualbox"}, {"TCGTCGTCGTCG", "qemu"},
                 {"bhyve bhyve ", "bhyve"},      {"ACRNACRNACRN", "acrn"}};
    unsigned eax = 0;
    unsigned words[3] = {0};
    __cpuid(0x40000000, eax, words[0], words[1], words[2]);
    char signature[sizeof(words) + 1] = "";
    memcpy(signature, words, sizeof(words));
    for (size_t i = 0; i < ARRAY_COUNT(known); i++)
        if (strcmp(signature, known[i].signature) == 0)
            (void)snprintf(text, CPUINFO_TEXT_BYTES, "%s", known[i].name);
#endif
}

/* "none" on bare metal; the vendor that the firmware names, or the signature; "unknown" when there
 * is one that says nothing. Empty when the processor's flags could not be read. */
static void read_hypervisor(const char *root, const struct cpuinfo *info,
                            char text[CPUINFO_TEXT_BYTES])
{
    text[0] = '\0';
    if (info->model[0] == '\0')
        return;
    if (!cpuinfo_has_flag(info, "hypervisor")) {
        (void)snprintf(text, CPUINFO_TEXT_BYTES, "none");
        return;
    }
    if (root[0] == '\0')
        read_signature(text);
    if (text[0] == '\0' && !procfs_read(root, "/sys/hypervisor", "type", text, CPUINFO_TEXT_BYTES))
        (void)procfs_read(root, "/sys/class/dmi/id", "sys_vendor", text, CPUINFO_TEXT_BYTES);
    if (text[0] == '\0')
        (void)snprintf(text, CPUINFO_TEXT_BYTES, "unknown");
}

static void put_system(struct json_writer *writer, const char *root, const struct cpuinfo *info)
{
    char kernel[CPUINFO_TEXT_BYTES];
    char hypervisor[CPUINFO_TEXT_BYTES];
    (void)procfs_read(root, "/proc/sys/kernel", "osrelease", kernel, sizeof(kernel));
    read_hypervisor(root, info, hypervisor);
    json_put_key(writer, "system");
    json_begin_object(writer);
    put_text(writer, "kernel", kernel);
    json_put_key(writer, "libc");
    char libc[CPUINFO_TEXT_BYTES];
    (void)snprintf(libc, sizeof(libc), "glibc %s", gnu_get_libc_version());
    json_put_string(writer, libc);
    put_text(writer, "hypervisor", hypervisor);
    json_end_object(writer);
}

static void put_build(struct json_writer *writer)
{
    json_put_key(writer, "build");
    json_begin_object(writer);
    json_field_string(writer, "version", version_text());
    json_field_string(writer, "commit", version_commit());
    json_field_string(writer, "compiler", version_compiler());
    json_field_string(writer, "flags", version_flags());
    json_end_object(writer);
}

enum status environment_write_at(const char *root, struct buf *ret_json, struct err *err)
{
    struct cpuinfo *info = malloc(sizeof(*info));
    if (info == NULL)
        return ERR(err, STATUS_NOMEM, "no memory for the environment");
    cpuinfo_read(root, info);
    struct json_writer writer;
    json_writer_init(&writer, ret_json);
    json_begin_object(&writer);
    put_cpu(&writer, root, info);
    put_memory(&writer, root);
    put_limits(&writer, root);
    put_system(&writer, root, info);
    json_put_key(&writer, "gpu");
    gpu_write(root, &writer);
    put_build(&writer);
    json_put_key(&writer, "variables");
    variables_write(root[0] == '\0' ? environ : NULL, &writer);
    json_end_object(&writer);
    free(info);
    return ret_json->failed ? ERR(err, STATUS_NOMEM, "no memory for the environment") : STATUS_OK;
}

enum status environment_write(struct buf *ret_json, struct err *err)
{
    return environment_write_at("", ret_json, err);
}

/* A member of a member, as JSON; null when it is not there. */
static void put_part(struct json_writer *writer, const json_t *object, const char *group,
                     const char *key)
{
    const json_t *value = json_object_get(json_object_get(object, group), key);
    if (value == NULL || !json_dump_value(value, writer))
        json_put_null(writer);
}

enum status environment_add(struct buf *environment, const char *name, const char *json,
                            struct err *err)
{
    json_t *object = json_loads(environment->data, 0, NULL);
    json_t *value = json_loads(json, JSON_DECODE_ANY, NULL);
    enum status status = STATUS_OK;
    if (object == NULL || value == NULL || json_object_set(object, name, value) != 0)
        status = ERR(err, STATUS_INVALID, "'%s' of the environment is no JSON", name);
    struct buf text;
    buf_init(&text, environment->max_bytes);
    struct json_writer writer;
    json_writer_init(&writer, &text);
    if (status == STATUS_OK && (!json_dump_value(object, &writer) || text.failed))
        status = ERR(err, STATUS_LIMIT, "'%s' does not fit into the environment", name);
    if (status == STATUS_OK) {
        buf_release(environment);
        *environment = text;
    } else {
        buf_release(&text);
    }
    json_decref(value);
    json_decref(object);
    return status;
}

/* The processors and the system; cards and their driver; the build and the worker. */
enum hashed { HASHED_MACHINE, HASHED_HARDWARE, HASHED_ALL };

static void hash_parts(const char *environment_json, enum hashed hashed, char id[HASH_ID_BYTES])
{
    static const char *const machine[][2] = {
        {"cpu", "model"},           {"cpu", "family"},      {"cpu", "model_number"},
        {"cpu", "stepping"},        {"cpu", "cpus_usable"}, {"cpu", "governor"},
        {"cpu", "boost"},           {"system", "kernel"},   {"memory", "transparent_huge_pages"},
        {"limits", "memory_bytes"}, {"limits", "cpus"}};
    static const char *const build[][2] = {
        {"build", "version"}, {"build", "commit"}, {"build", "compiler"}, {"build", "flags"}};
    json_t *object = json_loads(environment_json, 0, NULL);
    struct buf text;
    buf_init(&text, FINGERPRINT_BYTES_MAX);
    struct json_writer writer;
    json_writer_init(&writer, &text);
    json_begin_array(&writer);
    for (size_t i = 0; i < ARRAY_COUNT(machine); i++)
        put_part(&writer, object, machine[i][0], machine[i][1]);
    for (size_t i = 0; i < ARRAY_COUNT(build) && hashed == HASHED_ALL; i++)
        put_part(&writer, object, build[i][0], build[i][1]);
    /* What the kernel keeps for itself changes a little from boot to boot. */
    const json_t *total = json_object_get(json_object_get(object, "memory"), "total_bytes");
    json_put_u64(&writer, ((uint64_t)json_integer_value(total) + GIB / 2) / GIB);
    /* Ids of machines without such cards stay what they were before cards were looked at. */
    if (hashed != HASHED_MACHINE &&
        json_array_size(json_object_get(json_object_get(object, "gpu"), "cards")) > 0) {
        put_part(&writer, object, "gpu", "driver");
        put_part(&writer, object, "gpu", "cards");
    }
    if (json_object_get(object, "worker") != NULL && hashed == HASHED_ALL) {
        put_part(&writer, object, "worker", "python");
        put_part(&writer, object, "worker", "packages");
    }
    json_end_array(&writer);
    if (object == NULL || text.failed)
        hash_id(environment_json, strlen(environment_json), id);
    else
        hash_id(text.data, text.length_bytes, id);
    buf_release(&text);
    json_decref(object);
}

void environment_fingerprint(const char *environment_json, char id[HASH_ID_BYTES])
{
    hash_parts(environment_json, HASHED_ALL, id);
}

void environment_machine(const char *environment_json, char id[HASH_ID_BYTES])
{
    hash_parts(environment_json, HASHED_MACHINE, id);
}

void environment_hardware(const char *environment_json, char id[HASH_ID_BYTES])
{
    hash_parts(environment_json, HASHED_HARDWARE, id);
}
