#include "telemetry/rapl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/procfs.h"

#define ZONES_MAX   64
#define SPAN_MIN_NS NS_PER_S
#define PACKAGE_W   1000.0 /* no package takes more */
#define NAME_BYTES  64
#define RAPL_DIR    "/sys/class/powercap"

static bool is_denied(const char *root, const char *dir)
{
    char path[FILE_PATH_BYTES];
    int length = snprintf(path, sizeof(path), "%s%s/energy_uj", root, dir);
    if (length < 0 || (size_t)length >= sizeof(path))
        return false;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool is_so = fd < 0 && (errno == EACCES || errno == EPERM);
    if (fd >= 0)
        (void)close(fd);
    return is_so;
}

void rapl_read(const char *root, struct rapl *ret_rapl)
{
    *ret_rapl = (struct rapl){.missing = "no_rapl", .at_ns = clock_now_ns()};
    for (unsigned zone = 0; zone < ZONES_MAX && ret_rapl->count < RAPL_PACKAGES_MAX; zone++) {
        char dir[sizeof(RAPL_DIR) + 32];
        char name[NAME_BYTES];
        (void)snprintf(dir, sizeof(dir), RAPL_DIR "/intel-rapl:%u", zone);
        if (!procfs_read(root, dir, "name", name, sizeof(name)) ||
            strncmp(name, "package", strlen("package")) != 0)
            continue;
        uint64_t energy_uj = 0;
        uint64_t range_uj = 0;
        if (!procfs_read_u64(root, dir, "energy_uj", &energy_uj)) {
            ret_rapl->missing = is_denied(root, dir) ? "no_permission" : "no_rapl";
            return;
        }
        (void)procfs_read_u64(root, dir, "max_energy_range_uj", &range_uj);
        ret_rapl->energy_uj[ret_rapl->count] = energy_uj;
        ret_rapl->range_uj[ret_rapl->count++] = range_uj;
        ret_rapl->missing = NULL;
    }
}

const char *rapl_energy(const struct rapl *before, const struct rapl *after, double *ret_joules)
{
    if (before->missing != NULL || after->missing != NULL)
        return before->missing != NULL ? before->missing : after->missing;
    uint64_t span_ns = after->at_ns - before->at_ns;
    if (span_ns < SPAN_MIN_NS)
        return "too_short";
    double sum_uj = 0;
    for (size_t i = 0; i < before->count && i < after->count; i++) {
        uint64_t from_uj = before->energy_uj[i];
        uint64_t to_uj = after->energy_uj[i];
        double range_uj = (double)after->range_uj[i];
        if (range_uj > 0 && PACKAGE_W * (double)span_ns / 1e3 >= range_uj)
            return "may_have_wrapped";
        if (to_uj < from_uj && range_uj == 0)
            return "may_have_wrapped";
        sum_uj += to_uj >= from_uj ? (double)(to_uj - from_uj)
                                   : range_uj - (double)from_uj + (double)to_uj;
    }
    *ret_joules = sum_uj / 1e6;
    return NULL;
}
