/* telemetry/rapl.h - energy of the processors by their own counters, where the kernel shows them
 * (/sys/class/powercap; since 2020 to root only, and in few virtual machines).
 */
#ifndef TELEMETRY_RAPL_H
#define TELEMETRY_RAPL_H

#include <stddef.h>
#include <stdint.h>

#define RAPL_PACKAGES_MAX 16

struct rapl {
    const char *missing; /* `no_rapl`, `no_permission`; NULL: known. Borrowed: static */
    size_t count;        /* packages */
    uint64_t at_ns;
    uint64_t energy_uj[RAPL_PACKAGES_MAX];
    uint64_t range_uj[RAPL_PACKAGES_MAX]; /* where a counter begins at 0 again; 0 = not known */
};

/* Whole packages: the cores and memory that have counters of their own are within them, or apart.
 * `root` as in base/procfs.h. */
void rapl_read(const char *root, struct rapl *ret_rapl);
/* NULL, or why it is not known: as above, `too_short`, or `may_have_wrapped`, more than once. */
const char *rapl_energy(const struct rapl *before, const struct rapl *after, double *ret_joules);

#endif
