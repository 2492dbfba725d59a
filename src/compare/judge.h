/* compare/judge.h - what is said of a cell, from what is kept of its two sides. */
#ifndef COMPARE_JUDGE_H
#define COMPARE_JUDGE_H

#include "compare/comparison.h"
#include "compare/context.h"
#include "compare/tally.h"

/* Pointers are borrowed: from the comparison, while it is made. */
struct judge {
    const struct comparison_options *options;
    const struct contexts *contexts;
    const struct tallies *tallies; /* COMPARE_SIDES_COUNT */
    double p_limit;                /* the largest p that is significant */
};

/* Fills in verdict, why and metrics of `row`, whose `sides` are set and not both NULL. */
void judge_row(const struct judge *judge, struct row *row);
/* The noise between runs that was used for the row. */
struct change_noise judge_noise(const struct row *row);

#endif
