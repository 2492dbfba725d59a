#include "measure/spending.h"

#include <math.h>

#include "base/status.h"
#include "measure/special.h"

#define INTERVALS   200 /* of Simpson's rule, even */
#define BISECTIONS  60
#define SURE_SDS    9.0 /* nothing is as far as that */
#define ROOT_TWO_PI 2.50662827463100050242

/* The density of the sum S_k = Z_k sqrt(t_k) where no look has ended it, on -bound..bound. */
struct density {
    double bound;
    double weighted[INTERVALS + 1]; /* times the weights of Simpson's rule */
};

static double place(const struct density *density, size_t index)
{
    return density->bound * (2.0 * (double)index / INTERVALS - 1);
}

static double weight(const struct density *density, size_t index)
{
    double step = 2 * density->bound / INTERVALS;
    if (index == 0 || index == INTERVALS)
        return step / 3;
    return (index % 2 == 1 ? 4 : 2) * step / 3;
}

double spending_power(double information, double error)
{
    return error * information * information;
}

/* P(|S_k| > bound), S_{k-1} having stayed within its own; `sd` of the increment. */
static double exit_probability(const struct density *before, double sd, double bound)
{
    double sum = 0;
    for (size_t i = 0; i <= INTERVALS; i++)
        sum += before->weighted[i] * special_normal_cdf((place(before, i) - bound) / sd);
    return 2 * sum; /* both ends are alike */
}

/* The first look has one normal variable. */
static double first_bound(double sd, double error)
{
    return -sd * special_normal_quantile(error / 2);
}

static double next_bound(const struct density *before, double sd, double error, double most)
{
    double low = 0;
    double high = most;
    for (int i = 0; i < BISECTIONS; i++) {
        double middle = (low + high) / 2;
        if (exit_probability(before, sd, middle) > error)
            low = middle;
        else
            high = middle;
    }
    return (low + high) / 2;
}

static double normal_density(double x, double sd)
{
    double z = x / sd;
    return exp(-z * z / 2) / (sd * ROOT_TWO_PI);
}

/* `before` NULL: the first look. */
static void next_density(const struct density *before, double sd, double bound,
                         struct density *ret_density)
{
    ret_density->bound = bound;
    for (size_t i = 0; i <= INTERVALS; i++) {
        double x = place(ret_density, i);
        double value = 0;
        if (before == NULL)
            value = normal_density(x, sd);
        for (size_t j = 0; before != NULL && j <= INTERVALS; j++)
            value += before->weighted[j] * normal_density(x - place(before, j), sd);
        ret_density->weighted[i] = value * weight(ret_density, i);
    }
}

void spending_boundaries(const double *information, const double *spent, size_t count,
                         double *ret_z)
{
    ASSERT(count >= 1 && count <= SPENDING_LOOKS_MAX);
    struct density densities[2];
    for (size_t k = 0; k < count; k++) {
        const struct density *before = k > 0 ? &densities[(k - 1) % 2] : NULL;
        double gained = k > 0 ? information[k] - information[k - 1] : information[0];
        double error = k > 0 ? spent[k] - spent[k - 1] : spent[0];
        double sd = sqrt(gained);
        double root = sqrt(information[k]);
        ASSERT(gained > 0 && error > 0 && error < 1);
        double bound =
            k == 0 ? first_bound(sd, error) : next_bound(before, sd, error, SURE_SDS * root);
        ret_z[k] = bound / root;
        if (k + 1 < count)
            next_density(before, sd, bound, &densities[k % 2]);
    }
}
