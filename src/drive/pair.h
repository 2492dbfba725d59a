/* drive/pair.h - one comparison: two workers alive at once, their blocks interleaved, until it
 * is certain enough which is faster (measure/compare.h, docs/ab.md).
 *
 *   start and open A, then B;  interleaved warm-up, the same number of steps on both;
 *   rounds of four blocks, A B B A and then B A A B, each of a lead-in step that is not counted and
 *   the same number of counted steps; looks at predeclared numbers of rounds;
 *   all of it again with fresh workers, for several starts, as two processes of one program differ,
 *   until it is decided or the time is used up (measure/sequence.h).
 *
 * What goes wrong with a worker is an outcome; a status other than OK means that the harness itself
 * could not go on.
 */
#ifndef DRIVE_PAIR_H
#define DRIVE_PAIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "client/log_tail.h"
#include "client/options.h"
#include "measure/policy.h"
#include "measure/sequence.h"
#include "observe/interference.h"
#include "proto/message.h"
#include "spec/cell.h"
#include "store/lines.h"

#define PAIR_CONFIDENCE      0.95
#define PAIR_BLOCK_TARGET_NS (4 * NS_PER_MS) /* of the slower side's blocks; at least one step */
#define PAIR_ROUNDS_MAX      100000          /* of one start */

enum pair_name { PAIR_A, PAIR_B, PAIR_SIDES };

/* "a", "b"; "A", "B". */
const char *pair_key(enum pair_name name);
const char *pair_title(enum pair_name name);

struct pair_listener {
    void *context; /* borrowed: for the comparison */
    /* A new phase, or another round: `last` is what the last look saw, NULL before one. */
    void (*changed)(void *context, enum event_phase phase, size_t rounds_count,
                    const struct compare_result *last);
    /* The first start is ready for its rounds; how many starts there will be is known. May be NULL.
     */
    void (*planned)(void *context, const struct sequence *sequence);
};

struct pair_plan {
    const struct cell *cells[PAIR_SIDES];             /* borrowed */
    const struct client_options *clients[PAIR_SIDES]; /* borrowed */
    struct measure_policy policies[PAIR_SIDES];       /* with equal sync */
    const char *log_paths[PAIR_SIDES];                /* borrowed */
    const char *run_id;                               /* borrowed; NULL = none */
    double foreign_limit_percent; /* as in observe/interference.h; 0: no round is set aside */
    struct sequence_rule rule;
    struct lines_file *rounds_file; /* borrowed: a line a round; NULL = none */
    struct pair_listener listener;
};

struct pair_side_result {
    bool was_started;
    enum verdict verdict; /* `unsteady`: its warm-up never settled, and it was measured */
    struct reasons reasons;
    bool has_hello, has_ready;
    struct proto_worker_hello hello;
    struct proto_ready ready;
    uint64_t warmup_steps_count;     /* of the first start */
    uint64_t steps_count;            /* counted */
    size_t blocks_count;             /* counted; with results */
    struct interval_quantile median; /* of the blocks' times, ns; when blocks_count > 0 */
    char log_tail[LOG_TAIL_BYTES + 1];
};

struct pair_result {
    struct pair_side_result sides[PAIR_SIDES];
    char started_at[CLOCK_STAMP_BYTES];
    uint64_t total_ns, measured_ns;
    uint32_t steps_per_block;         /* 0 = no block ran */
    uint64_t lead_in_steps_count;     /* dropped */
    struct sequence sequence;         /* its starts, its looks, and why it ended */
    struct compare_result comparison; /* of all rounds, with ratio and interval of the last look;
                                         valid when rounds_count > 0 */
    enum compare_outcome outcome; /* the comparison's; undecided for one that was cut or spoiled */
    struct reasons reasons;       /* why it is undecided, or ended as it did */
    bool is_interrupted;
    uint64_t rounds_run_count; /* also those that were set aside */
    /* Rounds by their cause; those that count have none. */
    uint64_t rounds_by_cause[INTERFERENCE_CAUSES_COUNT];
    bool has_foreign;
    double foreign_percent; /* of the processors' time that others took while it was measured */
};

MUST_CHECK enum status pair_compare(const struct pair_plan *plan, struct pair_result *ret_result,
                                    struct err *err);

/* The side that runs block `index` (0 to 3) of round `round`. */
enum pair_name pair_order(size_t round, size_t index);
/* The side that is opened first at start `start`, from 0. */
enum pair_name pair_first(size_t start);
/* Counted steps of a block, when one step of the slower side takes `step_ns` (> 0). Short blocks
 * make many rounds, and what changes slower than a round does not tell; few steps would lose too
 * much to the lead-in. */
uint32_t pair_block_steps(double step_ns);

#endif
