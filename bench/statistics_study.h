/* bench/statistics_study.h - the parts of the simulation study; each prints Markdown tables. */
#ifndef BENCH_STATISTICS_STUDY_H
#define BENCH_STATISTICS_STUDY_H

#include <stddef.h>
#include <stdint.h>

struct study_options {
    size_t series_count; /* a cell of a table */
    uint64_t seed;
    const char *recorded_dir; /* borrowed: recorded series, for the warm-up */
};

void study_intervals(const struct study_options *options);
void study_warmup(const struct study_options *options);
void study_stop(const struct study_options *options);
void study_compare(const struct study_options *options);
void study_drift(const struct study_options *options);
void study_starts(const struct study_options *options);
void study_next_run(const struct study_options *options);
void study_gate(const struct study_options *options);
void study_interference(const struct study_options *options);

#endif
