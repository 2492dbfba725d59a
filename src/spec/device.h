/* spec/device.h - what the name of a cell's device tells. */
#ifndef SPEC_DEVICE_H
#define SPEC_DEVICE_H

#include <stdbool.h>
#include <stdint.h>

#define DEVICE_NAME_BYTES 32

/* "cpu", or "cpu:2" for two processes: the model runs on this machine's CPUs, in its memory. Any
 * other name is a device with memory of its own; which one it is and what it has is known only to
 * the engine (engine_ops.device). */
bool device_is_host(const char *name);

/* The name of the first of them, "cuda:0" for "cuda:0-3". */
void device_first(const char *name, char ret_first[DEVICE_NAME_BYTES]);

/* How many devices a name stands for: "cuda:0-3" for 4, "cpu:2" for 2, others for 1. */
uint32_t device_count(const char *name);

#endif
