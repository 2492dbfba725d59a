/* observe/interference.h - what disturbs a block, and is not of the program that is measured: its
 * threads wait for a processor, others use its processors, a hypervisor or a control group
 * withholds them. Looked at before a block and after it, from outside, for workers of any kind; the
 * answer never depends on how long a step took.
 *
 * Of a trial, or of two workers that are measured at once: what either does disturbs neither.
 * A device's own causes (other processes on it, its clocks held down) belong here too: a cause in
 * the map, what to read in interference_begin() and _end(), its share in interference_judge().
 */
#ifndef OBSERVE_INTERFERENCE_H
#define OBSERVE_INTERFERENCE_H

#include <stdbool.h>
#include <stdint.h>

#include "client/client.h"
#include "telemetry/cpu_watch.h"

/* X(name, code, what others did): the codes stand in raw samples and records. The first that
 * applies is a block's cause. */
#define INTERFERENCE_MAP(X)                                                \
    X(NONE, "", "")                                                        \
    X(AFTER_PAUSE, "after_pause", "the first after a pause")               \
    X(THROTTLED, "cpu_throttled", "a CPU limit held the worker's threads") \
    X(STOLEN, "cpu_steal", "the hypervisor took CPU time")                 \
    X(WAITED, "cpu_wait", "the worker's threads waited for a CPU")         \
    X(FOREIGN, "foreign_cpu", "others used the CPUs")

enum interference_cause {
#define X(name, code, text) INTERFERENCE_##name,
    INTERFERENCE_MAP(X)
#undef X
        INTERFERENCE_CAUSES_COUNT
};

/* Of a block's time: a thread waited, a limit held threads; of the processors' time: it was stolen.
 * Why 2: docs/studies.md#interference. What others used has the user's limit (--foreign-load). */
#define INTERFERENCE_LIMIT_PERCENT 2.0

const char *interference_code(enum interference_cause cause);

struct interference {
    bool is_open, is_on_device;
    double foreign_limit_percent; /* 0: nothing is set aside */
    struct cpu_watch watch;
    uint64_t at_ns;                 /* of the last look */
    uint64_t paused_ns;             /* for a disturbance to end; the caller adds it up */
    struct cpu_lap last;            /* the last block's */
    struct cpu_lap earlier, recent; /* two stretches of blocks, long enough to judge by ticks */
    /* Of measured blocks, by interference_count(). */
    struct cpu_lap sum;
    uint64_t blocks[INTERFERENCE_CAUSES_COUNT];
    uint64_t steps[INTERFERENCE_CAUSES_COUNT];
};

/* The rule by itself: the cause, and its share in % (0 without one). `lap`: the block's; `recent`:
 * the same with those before it, where it is too short to judge by ticks what others used. */
enum interference_cause interference_judge(const struct cpu_lap *lap, const struct cpu_lap *recent,
                                           double foreign_limit_percent, bool is_on_device,
                                           double *ret_percent);

/* `clients`: those that are measured at once, started. Nothing is found where none of them can be
 * seen from here. */
void interference_open(struct interference *interference, const struct client *const *clients,
                       size_t clients_count, double foreign_limit_percent);
void interference_close(struct interference *interference);
/* The counts go on from those of `before`: of workers that were started one after the other. */
void interference_carry(struct interference *interference, const struct interference *before);
/* Right before a block, and right after it: what disturbed it. */
void interference_begin(struct interference *interference);
enum interference_cause interference_end(struct interference *interference);
/* Is it worth a pause: do others keep a processor busy, so that the next block would be
 * disturbed, too? After interference_end(), which had a cause. */
bool interference_lasts(const struct interference *interference);
/* The workers are idle, since interference_begin() some 0.1 s: are the processors, too? */
bool interference_is_over(struct interference *interference);
/* A measured block had this cause; the counts below are of those. */
void interference_count(struct interference *interference, enum interference_cause cause,
                        uint64_t steps_count);
/* Measured blocks, clean or disturbed; those after a pause are neither. */
uint64_t interference_blocks(const struct interference *interference);
/* Were fewer than half of them clean? True, with a sentence that says why; `what` they are in it:
 * "block". */
bool interference_is_heavy(const struct interference *interference, const char *what,
                           char ret_text[REASON_TEXT_BYTES]);
/* Of the processors' time during measured blocks, what others used, in %. NULL, or why it is not
 * known: "worker_not_seen", "not_readable", "too_short". */
const char *interference_foreign_percent(const struct interference *interference,
                                         double *ret_percent);

#endif
