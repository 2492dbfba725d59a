/* bench/study_rules.h - rules that say when a warm-up has ended: those of other tools, written anew
 * from their sources and papers, the one tokmark had first, and the one it has. */
#ifndef BENCH_STUDY_RULES_H
#define BENCH_STUDY_RULES_H

#include <stdbool.h>
#include <stddef.h>

struct study_rule {
    const char *name;
    /* Are the first `count` samples enough to say "steady", and from which sample on? */
    bool (*is_steady)(const double *samples, size_t count, size_t *ret_start);
    bool is_per_sample; /* looks after each sample; else at tokmark's block ends */
};

extern const struct study_rule study_rules[];
extern const size_t study_rules_count;

#endif
