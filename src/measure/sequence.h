/* measure/sequence.h - when a comparison looks at what it has, what it may say then, and when it
 * ends. Pure: times are told to it. docs/ab.md has the rule in words, docs/studies.md what it does.
 *
 * The error of a whole comparison, looks and all, is SEQUENCE_ERROR: that is the share in which one
 * of its intervals does not hold the truth. It is spent
 *   on looks within the first start, after 12, 24, 48, 96 and 192 rounds: SEQUENCE_EARLY_ERROR each
 *   (their sum, by Bonferroni's inequality);
 *   on a look after each whole start, with what is left: spending.h, with the share of the planned
 *   starts as information, and Student's t at the boundary's own level in place of the normal
 *   (Jennison and Turnbull, "Group Sequential Methods", 2000, section 4.4).
 * At each look the interval is that of compare_starts(). The comparison ends as soon as it is
 * decided, and else when the planned starts or the time are used up.
 *
 * A plan is made once the first start is ready for its rounds. The rounds of all starts take
 * time_max_ns, each an equal share. To prepare (start, open, compile, warm up) the starts after the
 * first may take as long again; so there are fewer where preparing is dear, or a round long.
 */
#ifndef MEASURE_SEQUENCE_H
#define MEASURE_SEQUENCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "measure/compare.h"
#include "measure/spending.h"

#define SEQUENCE_ERROR       0.05
#define SEQUENCE_EARLY_ERROR 0.001
#define SEQUENCE_EARLY_LOOKS 6 /* one more for a comparison that is cut */
#define SEQUENCE_STARTS_MAX  SPENDING_LOOKS_MAX
#define SEQUENCE_LOOKS_MAX   (SEQUENCE_EARLY_LOOKS + SEQUENCE_STARTS_MAX + 1)

struct sequence_rule {
    size_t starts_max; /* 1: the interval is that of the rounds, and what two processes differ by
                          counts as the sides' */
    uint64_t rounds_exact; /* of each start: then so many starts, and one look at the end; 0 = by
                              precision */
    bool is_estimate;      /* of one start: it does not end because it is decided */
    uint64_t time_max_ns;  /* of all rounds; 0 = any */
    struct compare_limits limits;
    struct compare_prior prior;
};

struct sequence_look {
    size_t starts_count; /* whole ones; 0 = within the first */
    size_t rounds_count; /* so far */
    double error;        /* two-sided, of this look's interval */
    double log_ratio;
    struct measure_interval log_ratio_ci;
    enum compare_outcome outcome;
};

enum sequence_end {
    SEQUENCE_GOES_ON,
    SEQUENCE_DECIDED,
    SEQUENCE_ALL_STARTS,
    SEQUENCE_TIME,      /* of rounds is used up */
    SEQUENCE_PREPARING, /* another start would take too long to prepare */
};

struct sequence {
    struct sequence_rule rule;
    size_t planned_count; /* starts; 0 = not planned yet */
    uint64_t first_prepare_ns, later_prepare_ns /* their sum */, longest_prepare_ns;
    double round_ns;      /* about, at the first start */
    uint64_t measured_ns; /* rounds of whole starts */
    size_t starts_count, rounds_count;
    struct compare_start starts[SEQUENCE_STARTS_MAX];
    size_t looks_count;
    struct sequence_look looks[SEQUENCE_LOOKS_MAX];
    enum sequence_end end;
};

void sequence_init(struct sequence *sequence, const struct sequence_rule *rule);

/* A start is ready for its rounds after prepare_ns; a round will take about round_ns. */
void sequence_prepared(struct sequence *sequence, uint64_t prepare_ns, double round_ns);
/* What the rounds of one start may take; 0 = any. After the first sequence_prepared(). */
uint64_t sequence_start_time_ns(const struct sequence *sequence);
/* From the first round on: the rounds, and preparing the starts after the first. At most, but for
 * exact rounds, which take about so long. */
uint64_t sequence_left_ns(const struct sequence *sequence);

/* Does a look within the first start come after `rounds_count` of its rounds? */
bool sequence_is_early_look(const struct sequence *sequence, size_t rounds_count);
/* Looks at the rounds of the start under way, which is the first: at a look of the schedule, or
 * because it was cut. Decided, it counts as a start. STATUS_NOMEM only. */
MUST_CHECK enum status sequence_look_early(struct sequence *sequence, const double *log_ratios,
                                           size_t rounds_count, struct err *err);
/* A start is whole: its rounds (>= 1) and how long they took. Looks. STATUS_NOMEM only. */
MUST_CHECK enum status sequence_add_start(struct sequence *sequence, const double *log_ratios,
                                          size_t rounds_count, uint64_t measured_ns,
                                          struct err *err);
/* It was cut: what an exact comparison has is judged, with the error that its share of the starts
 * may spend; others have looked already. */
void sequence_cut(struct sequence *sequence);

/* The look that decided, or else the last one with an interval; NULL = none. */
const struct sequence_look *sequence_result(const struct sequence *sequence);

#endif
