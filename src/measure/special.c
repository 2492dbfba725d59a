#include "measure/special.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>

#include "base/status.h"

#define TERMS_MAX           100000
#define INVERSE_STEPS_MAX   200
#define STIRLING_SERIES_MIN 16.0

/* --- normal --- */

double special_normal_cdf(double x)
{
    const double root_half = 0.70710678118654752440;
    return 0.5 * erfc(-x * root_half);
}

static double normal_density(double x)
{
    const double root_two_pi = 2.50662827463100050242;
    return exp(-x * x / 2) / root_two_pi;
}

/* For p <= 1/2: a start that is right to about 5e-4 (Abramowitz & Stegun 26.2.23), then Halley's
 * steps on ln cdf, whose size does not depend on how small p is. */
static double normal_lower_quantile(double p)
{
    double t = sqrt(-2 * log(p));
    double x = (2.515517 + t * (0.802853 + t * 0.010328)) /
                   (1 + t * (1.432788 + t * (0.189269 + t * 0.001308))) -
               t;
    for (int i = 0; i < 8; i++) {
        double cdf = special_normal_cdf(x);
        double density = normal_density(x);
        if (cdf <= 0 || density <= 0)
            break;
        /* f = ln(cdf / p): f' = density / cdf, f'' = -f' (x + f'). */
        double f = log(cdf / p);
        double slope = density / cdf;
        double newton = f / slope;
        double step = newton / (1 + newton * (x + slope) / 2);
        x -= step;
        if (fabs(step) <= 1e-15 * fabs(x))
            break;
    }
    return x;
}

double special_normal_quantile(double p)
{
    ASSERT(p > 0 && p < 1);
    if (p == 0.5)
        return 0;
    return p < 0.5 ? normal_lower_quantile(p) : -normal_lower_quantile(1 - p);
}

/* --- gamma, binomial --- */

double special_log_gamma(double x)
{
    ASSERT(x > 0);
    int sign = 0;
    return lgamma_r(x, &sign);
}

/* ln(n!) less Stirling's ln(sqrt(2 pi n) (n / e)^n), n > 0. */
static double stirling_error(double n)
{
    if (n < STIRLING_SERIES_MIN) {
        const double half_log_two_pi = 0.91893853320467274178;
        return special_log_gamma(n + 1) - (half_log_two_pi + (n + 0.5) * log(n) - n);
    }
    double square = n * n;
    double series = 1.0 / 1680 - 1.0 / 1188 / square;
    series = 1.0 / 1260 - series / square;
    series = 1.0 / 360 - series / square;
    return (1.0 / 12 - series / square) / n;
}

/* x ln(x / mean) + mean - x, without the cancellation near x = mean. */
static double deviance(double x, double mean)
{
    if (fabs(x - mean) >= 0.1 * (x + mean))
        return x * log(x / mean) + mean - x;
    double v = (x - mean) / (x + mean);
    double sum = (x - mean) * v;
    double term = 2 * x * v;
    v *= v;
    for (int j = 1; j < 1000; j++) {
        term *= v;
        double next = sum + term / (2 * j + 1);
        if (next == sum)
            break;
        sum = next;
    }
    return sum;
}

double special_binomial_mass(double k, double n, double q)
{
    ASSERT(q > 0 && q < 1 && k >= 0 && k <= n);
    if (k == 0)
        return exp(n * log1p(-q));
    if (k == n)
        return exp(n * log(q));
    const double two_pi = 6.28318530717958647693;
    double log_mass = stirling_error(n) - stirling_error(k) - stirling_error(n - k) -
                      deviance(k, n * q) - deviance(n - k, n * (1 - q));
    return exp(log_mass) * sqrt(n / (two_pi * k * (n - k)));
}

/* --- beta --- */

/* x^a (1 - x)^b / B(a, b). */
static double beta_kernel(double x, double a, double b)
{
    return a * b / (a + b) * special_binomial_mass(a, a + b, x);
}

/* A continued fraction's value so far, by Lentz's method as Thompson and Barnett changed it. */
struct fraction {
    double c, d, value;
};

/* Takes in one more numerator / (denominator + ...). True when that changed nothing any more. */
static bool fraction_step(struct fraction *fraction, double numerator, double denominator)
{
    const double tiny = 1e-300;
    double d = denominator + numerator * fraction->d;
    double c = denominator + numerator / fraction->c;
    fraction->d = 1 / (fabs(d) < tiny ? tiny : d);
    fraction->c = fabs(c) < tiny ? tiny : c;
    fraction->value *= fraction->d * fraction->c;
    return fabs(fraction->d * fraction->c - 1) <= DBL_EPSILON;
}

/* The continued fraction of I_x(a, b) / (kernel / a). For x < (a + 1) / (a + b + 2). */
static double beta_fraction(double x, double a, double b)
{
    const double tiny = 1e-300;
    double d = 1 - (a + b) * x / (a + 1);
    d = 1 / (fabs(d) < tiny ? tiny : d);
    struct fraction fraction = {1, d, d};
    for (int i = 1; i <= TERMS_MAX; i++) {
        double m = i;
        double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
        double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
        (void)fraction_step(&fraction, even, 1);
        if (fraction_step(&fraction, odd, 1))
            break;
    }
    return fraction.value;
}

/* I_x(a, b) where `complement` is 1 - x, which a caller may know better than x. */
static double beta_lower(double x, double complement, double a, double b)
{
    if (x <= 0)
        return 0;
    if (complement <= 0)
        return 1;
    if (x < (a + 1) / (a + b + 2))
        return beta_kernel(x, a, b) * beta_fraction(x, a, b) / a;
    return 1 - beta_kernel(complement, b, a) * beta_fraction(complement, b, a) / b;
}

double special_beta_cdf(double x, double a, double b)
{
    ASSERT(a > 0 && b > 0);
    return beta_lower(x, 1 - x, a, b);
}

/* For p at most about 1/2 of the mass: Newton's steps on the logarithms of both sides, kept inside
 * a bracket, so that an answer of 1e-200 is found as fast as one of 0.1. */
static double beta_inverse(double p, double a, double b)
{
    double low = 0;
    double high = 1;
    double x = a / (a + b);
    for (int i = 0; i < INVERSE_STEPS_MAX; i++) {
        double cdf = special_beta_cdf(x, a, b);
        if (cdf == p)
            break;
        if (cdf < p)
            low = x;
        else
            high = x;
        /* d ln I / d ln x = kernel / ((1 - x) I) */
        double slope = beta_kernel(x, a, b) / (1 - x);
        double next = cdf > 0 && slope > 0 ? x * exp(log(p / cdf) * cdf / slope) : 0;
        if (!(next > low && next < high))
            next = low > 0 ? sqrt(low) * sqrt(high) : high * 1e-3;
        if (fabs(next - x) <= 2 * DBL_EPSILON * x)
            return next;
        x = next;
    }
    return x;
}

double special_beta_quantile(double p, double a, double b)
{
    ASSERT(a > 0 && b > 0 && p >= 0 && p <= 1);
    if (p == 0 || p == 1)
        return p;
    /* Solve for the end of the smaller side: its cdf has no 1 minus something near 1. */
    double middle = (a + 1) / (a + b + 2);
    if (p <= special_beta_cdf(middle, a, b))
        return beta_inverse(p, a, b);
    return 1 - beta_inverse(1 - p, b, a);
}

/* --- Student --- */

/* P(T > t), t >= 0: half of I_(v / (v + t^2)) (v / 2, 1 / 2). */
static double student_tail(double t, double freedom)
{
    double square = t * t;
    double x = freedom / (freedom + square);
    return 0.5 * beta_lower(x, square / (freedom + square), freedom / 2, 0.5);
}

double special_student_cdf(double t, double freedom)
{
    ASSERT(freedom > 0);
    double tail = student_tail(fabs(t), freedom);
    return t < 0 ? tail : 1 - tail;
}

double special_student_quantile(double p, double freedom)
{
    ASSERT(p > 0 && p < 1 && freedom > 0);
    if (p == 0.5)
        return 0;
    double tail = p < 0.5 ? p : 1 - p;
    double t = 0;
    if (tail < 0.25) {
        double x = special_beta_quantile(2 * tail, freedom / 2, 0.5);
        t = sqrt(freedom * (1 - x) / x);
    } else {
        /* Near the middle x is near 1: solve for 1 - x instead. */
        double y = special_beta_quantile(1 - 2 * tail, 0.5, freedom / 2);
        t = sqrt(freedom * y / (1 - y));
    }
    return p < 0.5 ? -t : t;
}
