/* How often drift is seen where there is none and where there is some. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "base/status.h"
#include "measure/drift.h"
#include "measure/interval.h"
#include "statistics_study.h"
#include "study_series.h"

#define SAMPLES_MAX 1000

void study_drift(const struct study_options *options)
{
    /* As the others, but everything a fifth as large: noise of 1 %. */
    static const char *const quiet = "noise 1 %";
    static const struct study_kind kinds[] = {
        {"normal, independent", STUDY_NORMAL, 0, 0, STUDY_FLAT, 0},
        {"lognormal, independent", STUDY_LOGNORMAL, 0, 0, STUDY_FLAT, 0},
        {"AR(1) 0.6", STUDY_NORMAL, 0.6, 0, STUDY_FLAT, 0},
        {"AR(1) 0.9", STUDY_NORMAL, 0.9, 0, STUDY_FLAT, 0},
        {"two modes, kept with 0.8", STUDY_BIMODAL, 0.8, 0, STUDY_FLAT, 0},
        {"linear drift, 4 %", STUDY_NORMAL, 0, 0, STUDY_LINEAR, 0.04},
        {"linear drift, 10 %", STUDY_NORMAL, 0, 0, STUDY_LINEAR, 0.1},
        {"step of 5 % at half", STUDY_NORMAL, 0, 0, STUDY_STEP, 0.05},
        {"ramp from +50 %", STUDY_NORMAL, 0, 0, STUDY_RAMP, 0.5},
        {"linear drift, 5 %, noise 1 %", STUDY_NORMAL, 0, 0, STUDY_LINEAR, 0.25},
        {"linear drift, 5 %, AR(1) 0.6, noise 1 %", STUDY_NORMAL, 0.6, 0, STUDY_LINEAR, 0.25},
        {"step of 3 % at half, noise 1 %", STUDY_NORMAL, 0, 0, STUDY_STEP, 0.15},
    };
    static const size_t counts[] = {30, 100, 200, 300, 1000};
    printf("\nDrift beyond 1 %% said / samples too correlated for an interval, %% of series\n\n"
           "| series | n = 30 | n = 100 | n = 200 | n = 300 | n = 1000 |\n"
           "| --- | --- | --- | --- | --- | --- |\n");
    for (size_t k = 0; k < ARRAY_COUNT(kinds); k++) {
        printf("| %s |", kinds[k].name);
        for (size_t n = 0; n < ARRAY_COUNT(counts); n++) {
            size_t drifted = 0;
            size_t correlated = 0;
            uint64_t key = random_key(random_key(random_key(options->seed, 10), k), n);
            for (size_t i = 0; i < options->series_count; i++) {
                double samples[SAMPLES_MAX];
                struct drift drift;
                struct interval_quantile median;
                struct study_random random = {random_key(key, i), 0};
                study_series_make(&kinds[k], &random, counts[n], samples);
                for (size_t s = 0; strstr(kinds[k].name, quiet) != NULL && s < counts[n]; s++)
                    samples[s] = 1 + (samples[s] - 1) / 5;
                if (drift_of(samples, counts[n], 1, &drift, NULL) != STATUS_OK ||
                    interval_of_median(samples, counts[n], 0.95, &median, NULL) != STATUS_OK)
                    exit(1);
                drifted += drift.has_drifted;
                correlated += !median.two_sided.is_known;
            }
            double scale = 100 / (double)options->series_count;
            printf(" %.1f / %.1f |", scale * (double)drifted, scale * (double)correlated);
        }
        printf("\n");
    }
}
