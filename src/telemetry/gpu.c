#include "telemetry/gpu.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/procfs.h"
#include "telemetry/cpuinfo.h"
#include "telemetry/nvml.h"

#define PCI_DIR        "/sys/bus/pci/devices"
#define CLASS_DISPLAY  0x03UL
#define CLASS_COMPUTE  0x12UL
#define VENDOR_NVIDIA  0x10deUL
#define OTHERS_MAX     64
#define PCI_NAME_BYTES 32

static void put_value(struct json_writer *writer, const char *key, struct nvml_value value)
{
    if (value.missing == NULL)
        json_field_u64(writer, key, value.value);
    else
        json_field_null(writer, key);
}

static void put_text(struct json_writer *writer, const char *key, const char *text)
{
    if (text[0] != '\0')
        json_field_string(writer, key, text);
    else
        json_field_null(writer, key);
}

static void put_card(struct json_writer *writer, const struct nvml_card *card)
{
    json_begin_object(writer);
    put_text(writer, "name", card->name);
    put_value(writer, "memory_bytes", card->memory_bytes);
    put_text(writer, "compute_capability", card->capability);
    put_value(writer, "sm_max_mhz", card->sm_max_mhz);
    put_value(writer, "memory_max_mhz", card->memory_max_mhz);
    if (card->power_limit_mw.missing == NULL)
        json_field_double(writer, "power_limit_w", (double)card->power_limit_mw.value / 1000);
    else
        json_field_null(writer, "power_limit_w");
    put_value(writer, "pcie_generation", card->pcie_generation_max);
    put_value(writer, "pcie_width", card->pcie_width_max);
    put_value(writer, "nvlinks", card->nvlinks);
    if (card->is_mig.missing == NULL)
        json_field_bool(writer, "mig", card->is_mig.value != 0);
    else
        json_field_null(writer, "mig");
    json_end_object(writer);
}

static void put_nvidia(struct json_writer *writer, const struct nvml *nvml, const char *missing)
{
    char driver[NVML_TEXT_BYTES] = "";
    char library[NVML_TEXT_BYTES] = "";
    char cuda[NVML_TEXT_BYTES] = "";
    unsigned count = 0;
    if (nvml != NULL) {
        nvml_driver(nvml, driver);
        nvml_library_version(nvml, library);
        struct nvml_value version = nvml_cuda_version(nvml);
        if (version.missing == NULL)
            (void)snprintf(cuda, sizeof(cuda), "%u.%u", (unsigned)(version.value / 1000),
                           (unsigned)(version.value % 1000 / 10));
        count = nvml_count(nvml);
    }
    put_text(writer, "driver", driver);
    put_text(writer, "nvml", library);
    put_text(writer, "cuda", cuda);
    json_put_key(writer, "cards");
    json_begin_array(writer);
    for (unsigned i = 0; i < count; i++) {
        struct nvml_card card;
        nvml_describe(nvml, i, &card);
        put_card(writer, &card);
    }
    json_end_array(writer);
    put_text(writer, "why_none", nvml == NULL ? missing : count == 0 ? "no_card" : "");
}

/* --- by the PCI bus --- */

static bool read_hex(const char *root, const char *dir, const char *name, unsigned long *ret_value)
{
    char text[CPUINFO_TEXT_BYTES];
    char *end = NULL;
    if (!procfs_read(root, dir, name, text, sizeof(text)) || text[0] == '\0')
        return false;
    *ret_value = strtoul(text, &end, 16);
    return *end == '\0';
}

static int by_text(const void *left, const void *right)
{
    return strcmp(left, right);
}

/* Sorted: a folder lists them in any order. */
static size_t list_pci(const char *root, char names[OTHERS_MAX][PCI_NAME_BYTES])
{
    char path[FILE_PATH_BYTES];
    (void)snprintf(path, sizeof(path), "%s" PCI_DIR, root);
    DIR *dir = opendir(path);
    if (dir == NULL)
        return 0;
    size_t count = 0;
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL && count < OTHERS_MAX;) {
        char device[FILE_PATH_BYTES];
        unsigned long class = 0;
        (void)snprintf(device, sizeof(device), PCI_DIR "/%.*s", PCI_NAME_BYTES - 1, entry->d_name);
        if (entry->d_name[0] == '.' || !read_hex(root, device, "class", &class) ||
            (class >> 16 != CLASS_DISPLAY && class >> 16 != CLASS_COMPUTE))
            continue;
        (void)snprintf(names[count++], PCI_NAME_BYTES, "%.*s", PCI_NAME_BYTES - 1, entry->d_name);
    }
    (void)closedir(dir);
    qsort(names, count, PCI_NAME_BYTES, by_text);
    return count;
}

static void put_others(struct json_writer *writer, const char *root)
{
    static const struct {
        unsigned long vendor;
        const char *name;
        const char *answer;
    } makers[] = {{0x1002, "AMD", "not supported yet"},
                  {0x8086, "Intel", "not supported yet"},
                  {VENDOR_NVIDIA, "NVIDIA", "its library is asked"}};
    char names[OTHERS_MAX][PCI_NAME_BYTES];
    size_t count = list_pci(root, names);
    json_put_key(writer, "pci");
    json_begin_array(writer);
    for (size_t i = 0; i < count; i++) {
        char dir[FILE_PATH_BYTES];
        unsigned long vendor = 0;
        unsigned long device = 0;
        (void)snprintf(dir, sizeof(dir), PCI_DIR "/%s", names[i]);
        if (!read_hex(root, dir, "vendor", &vendor) || !read_hex(root, dir, "device", &device))
            continue;
        for (size_t k = 0; k < ARRAY_COUNT(makers); k++) {
            if (makers[k].vendor != vendor)
                continue;
            char id[CPUINFO_TEXT_BYTES];
            (void)snprintf(id, sizeof(id), "%04lx:%04lx", vendor, device);
            json_begin_object(writer);
            json_field_string(writer, "maker", makers[k].name);
            json_field_string(writer, "id", id);
            json_field_string(writer, "support", makers[k].answer);
            json_end_object(writer);
        }
    }
    json_end_array(writer);
}

void gpu_write(const char *root, struct json_writer *writer)
{
    const char *missing = "no_nvml";
    struct nvml *nvml = root[0] == '\0' ? nvml_open(&missing) : NULL;
    json_begin_object(writer);
    put_nvidia(writer, nvml, missing);
    put_others(writer, root);
    json_end_object(writer);
    nvml_close(nvml);
}
