/* observe/probe.h - what a probe is: one file that watches the machine, the worker or the result
 * beside a trial's blocks, never inside a timed one; says what it found to the verdict and fills
 * fields of its own. observe/list.c has all of them.
 */
#ifndef OBSERVE_PROBE_H
#define OBSERVE_PROBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/client.h"
#include "client/gauges.h"
#include "measure/canary.h"
#include "measure/summary.h"
#include "observe/interference.h"
#include "result/record.h"
#include "spec/cell.h"
#include "spec/verdict.h"
#include "store/machine.h"

/* What the sweep's canary cell says. */
struct canary_facts {
    struct canary_change change; /* of its newest measurement from its first */
    const char *unknown_reason;  /* a word; NULL: the change is known. Borrowed */
    /* This trial is the canary itself, whose first measurement was this; NULL: it is another cell.
     * Borrowed. */
    const struct measure_reading *first_reading;
};

/* One part a probe. Pointers are borrowed: for the trial's life. */
struct observe_options {
    double foreign_limit_percent;       /* of a block's processors; more sets it aside; 0 = any */
    const uint64_t *clock_best_ns;      /* of this machine, 0 where unknown; NULL: off */
    const struct machine_book *machine; /* what this machine has shown; NULL: off */
    double target_percent;              /* how well another run is to be known; 0 = nobody asked */
    const char *machine_id;
    const struct machine_book *peaks;     /* what `tokmark peak` has measured here; NULL: off */
    const char *hardware_id;              /* of the machine with its cards */
    double price_per_kwh, price_per_hour; /* in any unit of money; 0 = not given */
    const char *run_id;                   /* of the call */
    /* This cell's trials before this one, of this call or, resumed, an earlier one. */
    const struct measure_reading *trials;
    size_t trials_count;
    const char *program_id; /* content hash of this program */
    const char *environment_id;
    const char *results_dir;           /* where checks of engines are looked up; NULL: off */
    const struct canary_facts *canary; /* NULL: the trial is of no sweep */
};

/* What probes look at. Pointers are borrowed: for one call of a probe. */
struct observed {
    const struct observe_options *options;
    const struct client *client;
    const char *cell_id;
    const struct measure_summary *summary;   /* NULL: nothing was measured, or not yet */
    const struct interference *interference; /* NULL: no worker was started */
    bool is_sync_per_block;
};

/* Pointers are borrowed: constants of the probe's file. */
struct probe {
    const char *name;
    size_t state_bytes; /* zeroed before the first call; only where the probe is on */
    /* NULL: always on. Off costs nothing: no other function is called, the fields are null. */
    bool (*is_on)(const struct observe_options *options);
    const char *off_reason;     /* null reason of its fields then */
    const enum fact_id *fields; /* its own */
    size_t fields_count;
    /* Each may be NULL. While the worker is idle: before its first block, before the first measured
     * one, after the last. `is_complete`: measuring ended by the policy. */
    void (*before_first)(void *state, const struct observed *seen);
    void (*before_measured)(void *state, const struct observed *seen);
    /* Between measured blocks, at most once a second: what is seen right now, for who looks on. */
    void (*look)(void *state, const struct observed *seen, struct gauges *gauges);
    void (*after_measured)(void *state, const struct observed *seen, bool is_complete);
    /* The worker has ended; files may be looked at. */
    enum status (*after_trial)(void *state, const struct observed *seen, struct err *err);
    void (*judge)(const void *state, const struct observed *seen, struct judgement *judgement);
    /* All of its fields. The record's median and verdict are there already. */
    void (*put)(const void *state, const struct observed *seen, struct record *record);
};

#endif
