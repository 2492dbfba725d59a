/* spec/device.h - what the name of a cell's device tells. */
#ifndef SPEC_DEVICE_H
#define SPEC_DEVICE_H

#include <stdbool.h>

/* "cpu": the model runs on this machine's CPUs, in its memory. Any other name is a device
 * with memory of its own; which one it is and what it has is known only to the engine
 * (engine_ops.device). */
bool device_is_host(const char *name);

#endif
