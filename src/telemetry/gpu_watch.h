/* telemetry/gpu_watch.h - NVIDIA cards, looked at beside the work: each ten times a second, by a
 * thread of its own. Nothing is set on a card.
 */
#ifndef TELEMETRY_GPU_WATCH_H
#define TELEMETRY_GPU_WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "telemetry/nvml.h"

/* Shorter spans say too little: counters move every 20 to 100 ms. */
#define GPU_ENERGY_MIN_NS (2 * NS_PER_S)

/* One value over all samples. Where there is none, count is 0 and `missing` says why, in a word.
 * Borrowed: static. */
struct gpu_series {
    const char *missing;
    uint64_t count;
    double sum, min, max;
};

#define GPU_THROTTLES_COUNT 9

/* Of one card or of several. What one of several does not know is known of none; what cannot be put
 * together is `several_devices`. Words are borrowed: static. */
struct gpu_totals {
    uint64_t samples_count; /* of the card with the fewest */
    uint64_t wall_ns;       /* watched */
    uint64_t gap_max_ns;    /* between two samples, or the ends */
    struct gpu_series sm_mhz, memory_mhz, temperature_c, power_w, used_bytes, process_bytes, others;
    const char *throttle_missing;
    uint64_t throttles[GPU_THROTTLES_COUNT]; /* samples with bit i (nvml.h) */
    uint64_t throttles_counted;
    /* Over wall_ns; NULL or why there is none, `too_short` among them. */
    const char *counter_missing, *integrated_missing;
    double counter_j, integrated_j;
};

/* "sw_power_cap": of bit i. */
const char *gpu_throttle_name(unsigned bit);

struct gpu_watch;

/* Of `count` cards, at most NVML_DEVICES_MAX. `pid`: whose memory is told apart. NVML is borrowed
 * until gpu_watch_stop(). Waits, at most 0.12 s, for the energy counters to move. False: no thread
 * could be started, and nothing is watched. */
bool gpu_watch_start(const struct nvml *nvml, const unsigned *indices, size_t count, pid_t pid,
                     struct gpu_watch **ret_watches);
/* The card's last sample; all values missing, `not_measured`, before the first. */
void gpu_watch_latest(struct gpu_watch *watch, struct nvml_reading *ret_reading,
                      struct nvml_value *ret_used_bytes);
/* Waits as long, too; frees them. The totals are those of all cards together: energy is their sum,
 * clocks are over the samples of all, heat and memory are those of the card with most. There is one
 * sample at least: of a span that was over before the first, taken now. */
void gpu_watch_stop(struct gpu_watch *const *watches, size_t count, struct gpu_totals *ret_totals);

#endif
