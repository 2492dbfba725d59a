/* telemetry/gpu.h - the graphics cards of a machine, for its environment. */
#ifndef TELEMETRY_GPU_H
#define TELEMETRY_GPU_H

#include "base/json_write.h"

/* One object {driver, nvml, cuda, cards: [...], why_none, pci: [...]}; `why_none`: why NVIDIA's
 * library tells of no card, null where it does. `pci`: cards by the PCI bus, and those of makers
 * whose libraries are not asked. `root` as in base/procfs.h: a root that is not "" has no NVIDIA
 * library. */
void gpu_write(const char *root, struct json_writer *writer);

#endif
