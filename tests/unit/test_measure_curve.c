#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "measure/curve.h"

/* Made by Python, as are the values below by its statistics module:
 *   random.seed(5)
 *   losses = [round(9 * math.exp(-i / 40) + 0.5 + 0.05 * random.random(), 6) for i in range(100)]
 *   norms = [round(1 + random.random(), 6) for _ in range(100)] */
static const double losses[100] = {
    9.531145, 9.314879, 9.100824, 8.896814, 8.680532, 8.488588, 8.247822, 8.078394, 7.915745,
    7.719095, 7.554252, 7.341809, 7.190817, 7.015075, 6.869381, 6.714301, 6.533536, 6.394765,
    6.252627, 6.142783, 5.997062, 5.831978, 5.732406, 5.571282, 5.470177, 5.323688, 5.198501,
    5.125978, 4.979741, 4.869695, 4.80042,  4.689954, 4.558426, 4.492189, 4.373696, 4.28565,
    4.169366, 4.115832, 4.015201, 3.943059, 3.855602, 3.744108, 3.667499, 3.579978, 3.503125,
    3.425129, 3.364799, 3.309526, 3.210917, 3.177716, 3.095438, 3.030377, 2.993712, 2.916264,
    2.848952, 2.799617, 2.754606, 2.667426, 2.659888, 2.560152, 2.545661, 2.500834, 2.411135,
    2.402455, 2.335378, 2.301131, 2.228903, 2.18811,  2.153198, 2.151316, 2.073792, 2.063138,
    2.034173, 1.998061, 1.932354, 1.897934, 1.872353, 1.851662, 1.785869, 1.786272, 1.757879,
    1.730929, 1.660446, 1.677298, 1.606667, 1.591934, 1.578899, 1.568378, 1.514226, 1.518817,
    1.47585,  1.440795, 1.41817,  1.388925, 1.362232, 1.344574, 1.35092,  1.346139, 1.284719,
    1.259895,
};

static const double norms[100] = {
    1.986699, 1.533531, 1.405888, 1.237337, 1.59396,  1.826296, 1.455665, 1.421757, 1.055707,
    1.916069, 1.032721, 1.493564, 1.838429, 1.130572, 1.731664, 1.949799, 1.630399, 1.78801,
    1.106631, 1.434555, 1.149245, 1.844734, 1.294813, 1.453155, 1.9993,   1.852253, 1.976008,
    1.45354,  1.488159, 1.729505, 1.479042, 1.291023, 1.403789, 1.146506, 1.377001, 1.988388,
    1.959816, 1.626965, 1.499322, 1.338479, 1.089137, 1.27231,  1.782019, 1.867387, 1.361326,
    1.786023, 1.774898, 1.694597, 1.664018, 1.759639, 1.363432, 1.70447,  1.280852, 1.485685,
    1.769747, 1.690883, 1.293852, 1.945548, 1.649692, 1.580661, 1.011581, 1.546991, 1.250692,
    1.671643, 1.462939, 1.81668,  1.647437, 1.797626, 1.347885, 1.644063, 1.737827, 1.828189,
    1.350045, 1.84288,  1.869911, 1.688337, 1.976122, 1.956516, 1.518139, 1.52934,  1.166173,
    1.83662,  1.937382, 1.477239, 1.691426, 1.719686, 1.730353, 1.171827, 1.780372, 1.580845,
    1.665556, 1.420792, 1.623737, 1.774705, 1.636867, 1.720414, 1.027622, 1.160023, 1.441068,
    1.650117,
};

static struct curve_summary summary_of(const double *values, const double *gradients, size_t count)
{
    double scratch[100];
    struct curve curve = {.losses = values, .norms = gradients, .count = count};
    struct curve_summary summary;
    curve_summarize(&curve, scratch, &summary);
    return summary;
}

Test(measure_curve, a_stable_training_is_described)
{
    struct curve_summary summary = summary_of(losses, norms, 100);
    cr_expect_float_eq(summary.loss_first, losses[0], 0);
    cr_expect_float_eq(summary.loss_last, losses[99], 0);
    /* statistics.median(losses[-10:]) */
    cr_expect_float_eq(summary.loss_end, 1.356576, 1e-12);
    /* statistics.linear_regression(range(50), losses[50:]).slope */
    cr_expect_float_eq(summary.loss_slope, -0.03637311726290516, 1e-12);
    /* statistics.median(norms), sorted(norms)[94], max(norms) */
    cr_expect_float_eq(summary.norm_p50, 1.628682, 1e-12);
    cr_expect_float_eq(summary.norm_p95, 1.959816, 0);
    cr_expect_float_eq(summary.norm_max, 1.9993, 0);
    cr_expect_eq(summary.spikes_count, 0);
    cr_expect_eq(summary.nonfinite_step, 0);
    cr_expect_eq(summary.diverged_step, 0);
    cr_expect(isnan(summary_of(losses, norms, 58).norm_p95), "58 norms are too few");
}

Test(measure_curve, a_spike_is_found_with_its_step)
{
    double changed[100];
    memcpy(changed, losses, sizeof(changed));
    changed[70] = 5.0;
    struct curve_summary summary = summary_of(changed, norms, 100);
    cr_expect_eq(summary.spikes_count, 1);
    cr_expect_eq(summary.spike_step, 71);
    /* (5 - mean(window)) / stdev(window), of the 20 losses before it */
    cr_expect_float_eq(summary.spike_z, 7.946978242614302, 1e-9);
    cr_expect_eq(summary.diverged_step, 0, "one spike is no divergence");
}

Test(measure_curve, a_flat_curve_has_no_spikes)
{
    double flat[100];
    for (size_t i = 0; i < 100; i++)
        flat[i] = i == 50 ? 2.001 : 2.0;
    cr_expect_eq(summary_of(flat, norms, 100).spikes_count, 0);
    flat[50] = 2.1;
    cr_expect_eq(summary_of(flat, norms, 100).spikes_count, 1);
}

Test(measure_curve, the_first_loss_that_is_no_number_is_told)
{
    double changed[100];
    memcpy(changed, losses, sizeof(changed));
    changed[36] = NAN;
    changed[40] = INFINITY;
    struct curve_summary summary = summary_of(changed, norms, 100);
    cr_expect_eq(summary.nonfinite_step, 37);
    cr_expect_eq(summary.nonfinite_losses_count, 2);
    cr_expect_float_eq(summary.loss_last, losses[35], 0);
    changed[0] = NAN;
    summary = summary_of(changed, norms, 100);
    cr_expect_eq(summary.nonfinite_step, 1);
    cr_expect(isnan(summary.loss_first) && isnan(summary.loss_end) && isnan(summary.loss_slope));
}

Test(measure_curve, losses_that_stay_high_have_diverged)
{
    double changed[100];
    memcpy(changed, losses, sizeof(changed));
    double limit = CURVE_DIVERGED_TIMES * losses[0];
    for (size_t i = 0; i < 100; i++)
        if (i == 20 || i >= 60)
            changed[i] = limit * 1.01;
    cr_expect_eq(summary_of(changed, norms, 100).diverged_step, 61);
    for (size_t i = 60; i < 100; i++)
        changed[i] = limit * 0.99;
    cr_expect_eq(summary_of(changed, norms, 100).diverged_step, 0);
}

Test(measure_curve, two_curves_are_as_far_apart_as_their_worst_step)
{
    double changed[100];
    double gradients[100];
    memcpy(changed, losses, sizeof(changed));
    memcpy(gradients, norms, sizeof(gradients));
    changed[10] *= 1.001;
    changed[80] *= 0.98;
    gradients[3] *= 1.25;
    gradients[4] = NAN;
    struct curve a = {.losses = changed, .norms = gradients, .count = 100};
    struct curve b = {.losses = losses, .norms = norms, .count = 100};
    const struct curve_allowance allowance = {.least = 0.002};
    struct curve_difference difference;
    curve_compare(&a, &b, &allowance, &difference);
    cr_expect_eq(difference.steps_count, 100);
    cr_expect_eq(difference.loss_step, 81);
    cr_expect_float_eq(difference.loss, 0.02 * losses[80] / losses[0], 1e-9);
    cr_expect_float_eq(difference.norm, 0.25, 1e-9);
    cr_expect_eq(difference.over_step, 81);
    cr_expect_eq(difference.allowed, 0.002);
    a.count = 50;
    curve_compare(&a, &b, &allowance, &difference);
    cr_expect_eq(difference.steps_count, 50);
    cr_expect_eq(difference.loss_step, 11);
    a.losses = (const double[]){losses[0], NAN};
    a.count = 2;
    curve_compare(&a, &b, &allowance, &difference);
    cr_expect(isnan(difference.loss), "what is no number agrees with nothing");
    cr_expect_eq(difference.over_step, 2);
    cr_expect_eq(difference.loss_step, 2);
    a.count = 0;
    curve_compare(&a, &b, &allowance, &difference);
    cr_expect(isnan(difference.loss));
}

Test(measure_curve, a_step_may_be_as_far_apart_as_rounding_had_grown_by_then)
{
    double twin[100];
    double growth[100];
    double changed[100];
    memcpy(twin, losses, sizeof(twin));
    twin[20] += 0.001 * losses[0];
    twin[60] -= 0.004 * losses[0];
    const struct curve reference = {.losses = losses, .norms = norms, .count = 100};
    const struct curve again = {.losses = twin, .norms = norms, .count = 90};
    curve_growth(&again, &reference, growth);
    cr_expect_eq(growth[19], 0);
    cr_expect_float_eq(growth[20], 0.001, 1e-12);
    cr_expect_float_eq(growth[59], 0.001, 1e-12, "the most until then");
    cr_expect_float_eq(growth[89], 0.004, 1e-12);
    cr_expect(isnan(growth[90]), "where the twin has ended nothing is known");
    const struct curve_allowance allowance = {
        .least = 0.002, .growth = growth, .growth_count = 100};
    struct curve_difference difference;
    struct curve curve = {.losses = changed, .norms = norms, .count = 100};
    memcpy(changed, losses, sizeof(changed));
    changed[10] += 0.0015 * losses[0]; /* within the least */
    changed[30] += 0.9 * CURVE_GROWTH_TIMES * 0.001 * losses[0];
    changed[70] += 0.9 * CURVE_GROWTH_TIMES * 0.004 * losses[0];
    curve_compare(&curve, &reference, &allowance, &difference);
    cr_expect_eq(difference.over_step, 0);
    cr_expect_eq(difference.loss_step, 71);
    cr_expect_float_eq(difference.allowed, CURVE_GROWTH_TIMES * 0.004, 1e-12);
    changed[15] += 0.003 * losses[0]; /* before rounding had grown */
    changed[95] += 0.003 * losses[0]; /* where nothing is known */
    curve_compare(&curve, &reference, &allowance, &difference);
    cr_expect_eq(difference.over_step, 16);
    cr_expect_float_eq(difference.over, 0.003, 1e-9);
    cr_expect_float_eq(difference.over_allowed, 0.002, 1e-12);
    cr_expect_eq(difference.loss_step, 71);
}

Test(measure_curve, a_lower_precision_is_given_more_room)
{
    cr_expect_lt(curve_tolerance(CELL_PRECISION_FP32), curve_tolerance(CELL_PRECISION_TF32));
    cr_expect_lt(curve_tolerance(CELL_PRECISION_TF32), curve_tolerance(CELL_PRECISION_BF16));
    cr_expect_lt(curve_tolerance(CELL_PRECISION_BF16), curve_tolerance(CELL_PRECISION_BF16_PURE));
}
