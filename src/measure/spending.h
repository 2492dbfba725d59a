/* measure/spending.h - how much error each of several looks may make, when a comparison can end at
 * any of them: group-sequential boundaries by error spending (Lan and DeMets, "Discrete sequential
 * boundaries for clinical trials", 1983), two-sided and symmetric. Pure.
 *
 * Looks are at information fractions 0 < t_1 < ... < t_K <= 1. By look k at most spent(t_k) of the
 * error is made. An interval at each look with that look's boundary in place of 1.96 makes repeated
 * confidence intervals (Jennison and Turnbull, "Interim analyses: the repeated confidence interval
 * approach", 1989): all of them hold the truth together, with probability 1 - spent(t_K), so
 * stopping at any one, for whatever reason, is covered.
 */
#ifndef MEASURE_SPENDING_H
#define MEASURE_SPENDING_H

#include <stddef.h>

#define SPENDING_LOOKS_MAX 64

/* error * t^2, the power family (Kim and DeMets, 1987): little at first, so that the last look is
 * nearly as narrow as a single one's (2.23 for 1.96 with ten looks), and yet not so little that
 * only a monstrous difference could end a comparison early. */
double spending_power(double information, double error);

/* Boundaries of a standard normal statistic: ret_z[k] such that |Z_k| > ret_z[k] at look k and not
 * before has probability spent[k] - spent[k - 1], where the Z_k are those of a sum of independent
 * increments. `spent` is the error spent by each look, rising, below 1; count is at most
 * SPENDING_LOOKS_MAX. By recursive integration (Armitage, McPherson and Rowe, 1969), right to about
 * 1e-5. */
void spending_boundaries(const double *information, const double *spent, size_t count,
                         double *ret_z);

#endif
