#include "measure/series.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include "measure/special.h"

/* Most series end within a few lags: those are summed directly, the others transformed. */
#define DIRECT_LAGS  64
#define DIRECT_COUNT 512
#define STRETCH_LAGS \
    4096 /* then by stretches, whose transforms stay in the cache; a power of two */
#define STRETCH_COUNT    (8 * STRETCH_LAGS)
#define RHO_MAX          0.99
#define MEHLER_TERMS_MAX 20000

double series_mean(const double *values, size_t count)
{
    /* Relative to the first: no digits are lost when the spread is tiny compared with the mean. */
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += values[i] - values[0];
    return values[0] + sum / (double)count;
}

static double product_sum(const double *centered, size_t count, size_t lag)
{
    double sum = 0;
    for (size_t i = lag; i < count; i++)
        sum += centered[i] * centered[i - lag];
    return sum;
}

static void center(const double *values, size_t count, double *ret_centered)
{
    double mean = series_mean(values, count);
    for (size_t i = 0; i < count; i++)
        ret_centered[i] = values[i] - mean;
}

double series_lag1(const double *values, size_t count)
{
    if (count < 2)
        return 0;
    double mean = series_mean(values, count);
    double squares = (values[0] - mean) * (values[0] - mean);
    double products = 0;
    for (size_t i = 1; i < count; i++) {
        squares += (values[i] - mean) * (values[i] - mean);
        products += (values[i] - mean) * (values[i - 1] - mean);
    }
    return squares > 0 ? products / squares : 0;
}

/* --- all autocovariances at once, for long series --- */

static void swap(double *a, double *b)
{
    double kept = *a;
    *a = *b;
    *b = kept;
}

/* In place, `size` a power of two: Cooley and Tukey's. */
static void fourier_transform(double *real, double *imaginary, const double *roots, size_t size)
{
    for (size_t i = 1, j = 0; i < size; i++) {
        size_t bit = size >> 1;
        for (; (j & bit) != 0; bit >>= 1)
            j ^= bit;
        j ^= bit;
        if (i < j) {
            swap(&real[i], &real[j]);
            swap(&imaginary[i], &imaginary[j]);
        }
    }
    for (size_t half = 1; half < size; half *= 2) {
        size_t stride = size / (2 * half); /* of this stage's roots among all */
        for (size_t first = 0; first < size; first += 2 * half) {
            for (size_t k = 0; k < half; k++) {
                size_t i = first + k;
                double c = roots[2 * k * stride];
                double s = roots[2 * k * stride + 1];
                double re = real[i + half] * c - imaginary[i + half] * s;
                double im = real[i + half] * s + imaginary[i + half] * c;
                real[i + half] = real[i] - re;
                imaginary[i + half] = imaginary[i] - im;
                real[i] += re;
                imaginary[i] += im;
            }
        }
    }
}

/* exp(-2 pi i k / size) for k < size / 2: real part, imaginary part. */
static void fill_roots(size_t size, double *ret_roots)
{
    const double two_pi = 6.28318530717958647693;
    for (size_t k = 0; k < size / 2; k++) {
        double angle = -two_pi * (double)k / (double)size;
        ret_roots[2 * k] = cos(angle);
        ret_roots[2 * k + 1] = sin(angle);
    }
}

/* Sums of products at every lag, by the power spectrum of the series padded with zeros. */
static enum status product_sums(const double *centered, size_t count, double **ret_sums,
                                struct err *err)
{
    size_t size = 2;
    while (size < 2 * count)
        size *= 2;
    double *real = calloc(size, sizeof(*real));
    double *imaginary = calloc(size, sizeof(*imaginary));
    double *roots = calloc(size, sizeof(*roots));
    if (real == NULL || imaginary == NULL || roots == NULL) {
        free(real);
        free(imaginary);
        free(roots);
        return ERR(err, STATUS_NOMEM, "no memory for the autocorrelations of %zu samples", count);
    }
    for (size_t i = 0; i < count; i++)
        real[i] = centered[i];
    fill_roots(size, roots);
    fourier_transform(real, imaginary, roots, size);
    for (size_t i = 0; i < size; i++) {
        real[i] = (real[i] * real[i] + imaginary[i] * imaginary[i]) / (double)size;
        imaginary[i] = 0;
    }
    fourier_transform(real, imaginary, roots, size);
    free(imaginary);
    free(roots);
    *ret_sums = real;
    return STATUS_OK;
}

/* The same at the lags 0 to STRETCH_LAGS only. Each stretch of as many values is correlated with
 * itself and the one before it; one transform takes both, as real and imaginary part, and the
 * products' spectra are summed. */
struct stretches {
    double real[2 * STRETCH_LAGS];
    double imaginary[2 * STRETCH_LAGS];
    double sum_real[2 * STRETCH_LAGS];
    double sum_imaginary[2 * STRETCH_LAGS];
    double roots[2 * STRETCH_LAGS];
};

static void add_stretch(struct stretches *work, const double *centered, size_t count, size_t first)
{
    const size_t size = 2 * STRETCH_LAGS;
    for (size_t i = 0; i < size; i++) {
        bool is_there = i < STRETCH_LAGS && first + i < count;
        bool has_both = first + i >= STRETCH_LAGS && first + i - STRETCH_LAGS < count;
        work->real[i] = is_there ? centered[first + i] : 0;
        work->imaginary[i] = has_both ? centered[first + i - STRETCH_LAGS] : 0;
    }
    fourier_transform(work->real, work->imaginary, work->roots, size);
    for (size_t i = 0; i < size; i++) {
        size_t mirror = (size - i) % size;
        /* Spectra of the two real series, twice each. */
        double a_real = work->real[i] + work->real[mirror];
        double a_imaginary = work->imaginary[i] - work->imaginary[mirror];
        double b_real = work->imaginary[i] + work->imaginary[mirror];
        double b_imaginary = work->real[mirror] - work->real[i];
        work->sum_real[i] += a_real * b_real + a_imaginary * b_imaginary;
        work->sum_imaginary[i] += a_real * b_imaginary - a_imaginary * b_real;
    }
}

static enum status stretch_sums(const double *centered, size_t count, double **ret_sums,
                                struct err *err)
{
    const size_t size = 2 * STRETCH_LAGS;
    struct stretches *work = calloc(1, sizeof(*work));
    double *sums = calloc(STRETCH_LAGS + 1, sizeof(*sums));
    if (work == NULL || sums == NULL) {
        free(work);
        free(sums);
        return ERR(err, STATUS_NOMEM, "no memory for the autocorrelations of %zu samples", count);
    }
    fill_roots(size, work->roots);
    for (size_t first = 0; first < count; first += STRETCH_LAGS)
        add_stretch(work, centered, count, first);
    /* Back: the transform of the conjugate. Its place j holds the lag STRETCH_LAGS - j. */
    for (size_t i = 0; i < size; i++)
        work->sum_imaginary[i] = -work->sum_imaginary[i];
    fourier_transform(work->sum_real, work->sum_imaginary, work->roots, size);
    for (size_t lag = 0; lag <= STRETCH_LAGS; lag++)
        sums[lag] = work->sum_real[STRETCH_LAGS - lag] / (4 * (double)size);
    free(work);
    *ret_sums = sums;
    return STATUS_OK;
}

/* --- the initial positive sequence --- */

/* Adds pairs from `lag` on while they are positive; true once one was not. `sums` may be NULL: then
 * up to `lags_end` by hand. */
static bool add_pairs(const double *centered, size_t count, const double *sums, size_t lags_end,
                      size_t *lag, double *total)
{
    for (; *lag + 1 < lags_end; *lag += 2) {
        double pair = sums != NULL ? sums[*lag] + sums[*lag + 1]
                                   : product_sum(centered, count, *lag) +
                                         product_sum(centered, count, *lag + 1);
        /* The first pair is the series with itself: it always counts. */
        if (pair <= 0 && *lag > 0)
            return true;
        *total += pair;
    }
    return *lag + 1 >= count;
}

static void finish_time(double time, size_t window, size_t count, struct series_time *ret_time)
{
    double n = (double)count;
    /* The effective sample size of ten samples is at least one. */
    time = fmin(fmax(time, 1), n);
    /* Only the part over 1 was estimated. */
    double excess = 1 - 1 / (time * time);
    double freedom = n / ((2 * (double)window - 1) * excess);
    *ret_time = (struct series_time){
        .time = time, .window = window, .freedom = fmax(freedom, 1), .effective_count = n / time};
}

static enum status time_of_centered(const double *centered, size_t count,
                                    struct series_time *ret_time, struct err *err)
{
    double square_sum = product_sum(centered, count, 0);
    if (square_sum <= 0) {
        finish_time(1, 1, count, ret_time);
        return STATUS_OK;
    }
    size_t lag = 0;
    double total = 0;
    size_t direct = count <= DIRECT_COUNT ? count : DIRECT_LAGS;
    bool is_whole = add_pairs(centered, count, NULL, direct, &lag, &total);
    double *sums = NULL;
    if (!is_whole && count >= STRETCH_COUNT) {
        enum status status = stretch_sums(centered, count, &sums, err);
        if (status != STATUS_OK)
            return status;
        is_whole = add_pairs(centered, count, sums, STRETCH_LAGS, &lag, &total);
        free(sums);
    }
    if (!is_whole) {
        enum status status = product_sums(centered, count, &sums, err);
        if (status != STATUS_OK)
            return status;
        (void)add_pairs(centered, count, sums, count, &lag, &total);
        free(sums);
    }
    size_t window = lag > 0 ? lag - 1 : 1;
    finish_time(2 * total / square_sum - 1, window, count, ret_time);
    return STATUS_OK;
}

static enum status time_of_values(const double *values, size_t count, struct series_time *ret_time,
                                  struct err *err)
{
    double *centered = calloc(count, sizeof(*centered));
    if (centered == NULL)
        return ERR(err, STATUS_NOMEM, "no memory for %zu samples", count);
    center(values, count, centered);
    enum status status = time_of_centered(centered, count, ret_time, err);
    free(centered);
    return status;
}

/* --- by ranks --- */

double series_gaussian_indicator_time(double rho, double q)
{
    ASSERT(rho >= 0 && rho < 1 && q > 0 && q < 1);
    double z = special_normal_quantile(q);
    const double two_pi = 6.28318530717958647693;
    double density_square = exp(-z * z) / two_pi;
    /* Correlation of the indicators at lag k: sum over j >= 1 of c_j rho^(j k), where
     * c_j = density^2 He_{j-1}(z)^2 / j! / (q (1 - q)); summed over k, rho^j / (1 - rho^j). */
    double before = 0;
    double hermite = 1; /* He_{j-1}(z) / sqrt((j - 1)!) */
    double power = 1;
    double sum = 0;
    for (int j = 1; j <= MEHLER_TERMS_MAX; j++) {
        power *= rho;
        if (power < DBL_EPSILON)
            break;
        sum += hermite * hermite / j * power / (1 - power);
        double next = (z * hermite - sqrt(j - 1.0) * before) / sqrt(j);
        before = hermite;
        hermite = next;
    }
    return 1 + 2 * sum * density_square / (q * (1 - q));
}

struct indexed {
    double value;
    size_t index;
};

static int compare_indexed(const void *a, const void *b)
{
    double left = ((const struct indexed *)a)->value;
    double right = ((const struct indexed *)b)->value;
    return (left > right) - (left < right);
}

/* Normal scores: the standard normal's quantile of (rank - 1/2) / count, equal values sharing their
 * mean rank. */
static enum status normal_scores(const double *values, size_t count, double *ret_scores,
                                 struct err *err)
{
    struct indexed *sorted = calloc(count, sizeof(*sorted));
    if (sorted == NULL)
        return ERR(err, STATUS_NOMEM, "no memory to rank %zu samples", count);
    for (size_t i = 0; i < count; i++)
        sorted[i] = (struct indexed){values[i], i};
    qsort(sorted, count, sizeof(sorted[0]), compare_indexed);
    for (size_t first = 0, end = 0; first < count; first = end) {
        for (end = first; end < count && sorted[end].value == sorted[first].value;)
            end++;
        double score = special_normal_quantile((double)(first + end) / 2 / (double)count);
        for (size_t i = first; i < end; i++)
            ret_scores[sorted[i].index] = score;
    }
    free(sorted);
    return STATUS_OK;
}

/* The lag-1 autocorrelation of normal scores, without its bias about an estimated mean,
 * -(1 + 3 rho) / n (Kendall, 1954). 0 to RHO_MAX. */
enum status series_score_lag1(const double *values, size_t count, double *ret_rho, struct err *err)
{
    ASSERT(count >= 2);
    double *work = calloc(count, sizeof(*work));
    if (work == NULL)
        return ERR(err, STATUS_NOMEM, "no memory for %zu samples", count);
    enum status status = normal_scores(values, count, work, err);
    if (status != STATUS_OK) {
        free(work);
        return status;
    }
    bool has_spread = false;
    for (size_t i = 1; i < count; i++)
        has_spread = has_spread || values[i] != values[0];
    double rho = series_lag1(work, count);
    /* What never varies has nothing to resemble. */
    rho += has_spread ? (1 + 3 * rho) / (double)count : 0;
    *ret_rho = fmin(fmax(rho, 0), RHO_MAX);
    free(work);
    return STATUS_OK;
}

/* Of `work`'s series as it is, or of what AR(1) makes of it, whichever is longer. */
static enum status longer_time(const double *work, size_t count, double gaussian,
                               struct series_time *ret_time, struct err *err)
{
    struct series_time time;
    enum status status = time_of_values(work, count, &time, err);
    if (status != STATUS_OK)
        return status;
    finish_time(fmax(time.time, gaussian), time.window, count, ret_time);
    return STATUS_OK;
}

enum status series_mean_time(const double *values, size_t count, double rho,
                             struct series_time *ret_time, struct err *err)
{
    ASSERT(count >= 2);
    return longer_time(values, count, (1 + rho) / (1 - rho), ret_time, err);
}

enum status series_quantile_time(const double *values, size_t count, double q, double threshold,
                                 double rho, struct series_time *ret_time, struct err *err)
{
    ASSERT(count >= 2);
    double *work = calloc(count, sizeof(*work));
    if (work == NULL)
        return ERR(err, STATUS_NOMEM, "no memory for %zu samples", count);
    for (size_t i = 0; i < count; i++)
        work[i] = values[i] <= threshold ? 1 : 0;
    enum status status =
        longer_time(work, count, series_gaussian_indicator_time(rho, q), ret_time, err);
    free(work);
    return status;
}
