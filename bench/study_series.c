#include "study_series.h"

#include <math.h>

#include "base/random.h"
#include "base/status.h"
#include "measure/special.h"

#define NORMAL_SD       0.05
#define LOG_SIGMA       0.3
#define PARETO_SCALE    0.05
#define PARETO_EXPONENT 2.5
#define MODE_SHARE      0.3
#define MODE_PLACE      1.2
#define MODE_SD         0.01
#define OUTLIER_SHARE   0.03
#define OUTLIER_PLACE   1.5
#define OUTLIER_SD      0.1
#define BULK_SD         0.02
#define TIE_STEP        0.02

double study_uniform(struct study_random *random)
{
    return random_unit(random_at(random->key, random->counter++)) + 0x1p-54;
}

/* Box and Muller's, one of the pair. */
double study_gauss(struct study_random *random)
{
    const double two_pi = 6.28318530717958647693;
    double radius = sqrt(-2 * log(study_uniform(random)));
    return radius * cos(two_pi * study_uniform(random));
}

static double level_at(const struct study_kind *kind, size_t index, size_t count)
{
    double place = ((double)index + 0.5) / (double)count;
    const double two_pi = 6.28318530717958647693;
    switch (kind->trend) {
    case STUDY_FLAT: return 1;
    case STUDY_LINEAR: return 1 + kind->size * place;
    case STUDY_STEP: return place < 0.5 ? 1 : 1 + kind->size;
    case STUDY_RAMP: return 1 + kind->size * exp(-10 * place);
    case STUDY_OSCILLATION: return 1 + kind->size * sin(10 * two_pi * place);
    }
    return 1;
}

/* Of one sample about level 1. */
static double shape_cdf(enum study_shape shape, double x)
{
    switch (shape) {
    case STUDY_TIED:
    case STUDY_NORMAL: return special_normal_cdf((x - 1) / NORMAL_SD);
    case STUDY_LOGNORMAL: return x > 0 ? special_normal_cdf(log(x) / LOG_SIGMA) : 0;
    case STUDY_PARETO: return x > 1 ? 1 - pow(1 + (x - 1) / PARETO_SCALE, -PARETO_EXPONENT) : 0;
    case STUDY_BIMODAL:
        return (1 - MODE_SHARE) * special_normal_cdf((x - 1) / MODE_SD) +
               MODE_SHARE * special_normal_cdf((x - MODE_PLACE) / MODE_SD);
    case STUDY_OUTLIERS:
        return (1 - OUTLIER_SHARE) * special_normal_cdf((x - 1) / BULK_SD) +
               OUTLIER_SHARE * special_normal_cdf((x - OUTLIER_PLACE) / OUTLIER_SD);
    }
    return 0;
}

static double shape_mean(enum study_shape shape)
{
    switch (shape) {
    case STUDY_TIED:
    case STUDY_NORMAL: return 1;
    case STUDY_LOGNORMAL: return exp(LOG_SIGMA * LOG_SIGMA / 2);
    case STUDY_PARETO: return 1 + PARETO_SCALE / (PARETO_EXPONENT - 1);
    case STUDY_BIMODAL: return 1 + MODE_SHARE * (MODE_PLACE - 1);
    case STUDY_OUTLIERS: return 1 + OUTLIER_SHARE * (OUTLIER_PLACE - 1);
    }
    return 0;
}

/* `z`: the Gaussian behind the sample; `is_other`: in the rarer mode. */
static double shape_sample(enum study_shape shape, double z, bool is_other)
{
    switch (shape) {
    case STUDY_NORMAL: return 1 + NORMAL_SD * z;
    case STUDY_TIED: return TIE_STEP * round((1 + NORMAL_SD * z) / TIE_STEP);
    case STUDY_LOGNORMAL: return exp(LOG_SIGMA * z);
    case STUDY_PARETO:
        return 1 + PARETO_SCALE * (pow(special_normal_cdf(-z), -1 / PARETO_EXPONENT) - 1);
    case STUDY_BIMODAL: return is_other ? MODE_PLACE + MODE_SD * z : 1 + MODE_SD * z;
    case STUDY_OUTLIERS: return is_other ? OUTLIER_PLACE + OUTLIER_SD * z : 1 + BULK_SD * z;
    }
    return 1;
}

void study_series_make(const struct study_kind *kind, struct study_random *random, size_t count,
                       double *ret_samples)
{
    double share = kind->shape == STUDY_BIMODAL ? MODE_SHARE : OUTLIER_SHARE;
    bool has_modes = kind->shape == STUDY_BIMODAL || kind->shape == STUDY_OUTLIERS;
    double phi = has_modes ? 0 : kind->phi;
    double slow = study_gauss(random);
    bool is_other = has_modes && study_uniform(random) < share;
    for (size_t i = 0; i < count; i++) {
        double z = sqrt(1 - kind->white_share) * slow;
        if (kind->white_share > 0)
            z += sqrt(kind->white_share) * study_gauss(random);
        ret_samples[i] = level_at(kind, i, count) * shape_sample(kind->shape, z, is_other);
        slow = phi * slow + sqrt(1 - phi * phi) * study_gauss(random);
        /* A mode is kept with probability phi, else drawn anew. */
        if (has_modes && study_uniform(random) >= kind->phi)
            is_other = study_uniform(random) < share;
    }
}

double study_true_quantile(const struct study_kind *kind, size_t count, double q)
{
    double low = 0;
    double high = 100;
    for (int step = 0; step < 100; step++) {
        double middle = (low + high) / 2;
        double sum = 0;
        for (size_t i = 0; i < count; i++) {
            sum += shape_cdf(kind->shape, middle / level_at(kind, i, count));
            if (kind->trend == STUDY_FLAT) {
                sum *= (double)count;
                break;
            }
        }
        if (sum < q * (double)count)
            low = middle;
        else
            high = middle;
    }
    /* A coarse clock shows only its own steps. */
    return kind->shape == STUDY_TIED ? TIE_STEP * round(low / TIE_STEP) : low;
}

double study_true_mean(const struct study_kind *kind, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += level_at(kind, i, count);
    return shape_mean(kind->shape) * sum / (double)count;
}
