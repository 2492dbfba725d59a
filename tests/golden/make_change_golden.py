#!/usr/bin/env python3
"""Writes change_golden.json: reference values for measure/change.h, by SciPy and statsmodels.

    python3 tests/golden/make_change_golden.py > tests/golden/change_golden.json
"""
import json
import math

import numpy
import scipy
import statsmodels
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import ttost_ind

RANDOM = numpy.random.default_rng(14)


def runs_only():
    """Several runs a side and nothing known beside them: Student's t test with pooled variance on the logarithms, and TOST."""
    for base_count, new_count, sd, shift in [(2, 2, 0.01, 0), (3, 3, 0.002, 0.03), (3, 5, 0.01, 0.02), (5, 5, 0.004, 0.001),
                                             (10, 10, 0.01, 0.03), (20, 7, 0.03, -0.05), (4, 4, 0.0005, 0.0102), (30, 30, 0.02, 0)]:
        base = numpy.exp(RANDOM.normal(3, sd, base_count))
        new = numpy.exp(RANDOM.normal(3 + shift, sd, new_count))
        test = stats.ttest_ind(numpy.log(new), numpy.log(base))
        interval = test.confidence_interval(0.95)
        same, _, _ = ttost_ind(numpy.log(new), numpy.log(base), -math.log1p(0.02), math.log1p(0.02))
        yield {"base": list(base), "new": list(new), "p": test.pvalue, "low": interval.low, "high": interval.high,
               "same_p": same}


def one_run():
    """One run a side: the variance of the difference by Satterthwaite, then Student's t."""
    for within_base, within_new, between, freedom, shift in [(0.003, 0.003, 0.003, 4, 0), (0.002, 0.005, 0.001, 9, 0.03),
                                                             (0.0, 0.001, 0.01, 3, 0.03), (0.004, 0.004, 0.0, 4, 0.012),
                                                             (0.001, 0.001, 0.02, 9, -0.08)]:
        known = within_base**2 + within_new**2
        part = 2 * between**2
        variance = known + part
        t_freedom = freedom * (variance / part) ** 2 if part else 1e6
        error = math.sqrt(variance)
        half = stats.t.ppf(0.975, min(t_freedom, 1e6)) * error
        yield {"within_base": within_base, "within_new": within_new, "between": between, "freedom": freedom, "shift": shift,
               "p": 2 * stats.t.sf(abs(shift) / error, min(t_freedom, 1e6)), "low": shift - half, "high": shift + half}


def moderated():
    """Both: the posterior variance of Smyth's moderated t, of squared errors of the difference."""
    for runs, sd, within, between, freedom in [(2, 0.01, 0.003, 0.004, 9), (3, 0.004, 0.003, 0.003, 5), (3, 0.0001, 0.004, 0.003, 9),
                                               (5, 0.02, 0.001, 0.001, 3)]:
        base, new = (numpy.exp(RANDOM.normal(1, sd, runs)) for _ in range(2))
        logs = numpy.log(base), numpy.log(new)
        squares = sum(((one - one.mean()) ** 2).sum() for one in logs)
        own_freedom = 2 * runs - 2
        known = 2 * within**2 / runs
        part = 2 * between**2 / runs
        prior_freedom = min(freedom * ((known + part) / part) ** 2, 20)
        variance = (prior_freedom * (known + part) + own_freedom * squares / own_freedom * 2 / runs) / (prior_freedom + own_freedom)
        error = math.sqrt(max(variance, known))
        difference = logs[1].mean() - logs[0].mean()
        yield {"base": list(base), "new": list(new), "within": within, "between": between, "freedom": freedom,
               "p": 2 * stats.t.sf(abs(difference) / error, prior_freedom + own_freedom), "error": error}


def holm():
    for count in (1, 2, 5, 20, 100):
        values = numpy.sort(RANDOM.uniform(0, 1, count) ** 4)
        yield {"p": list(values), "rejected": int(multipletests(values, alpha=0.05, method="holm")[0].sum())}


def main():
    parts = {"runs_only": list(runs_only()), "one_run": list(one_run()), "moderated": list(moderated()), "holm": list(holm())}
    print("{")
    print(f' "made_with": "SciPy {scipy.__version__}, NumPy {numpy.__version__}, statsmodels {statsmodels.__version__}",')
    for number, (name, rows) in enumerate(parts.items()):
        lines = ",\n".join("  " + json.dumps(row) for row in rows)
        print(f' "{name}": [\n{lines}\n ]{"," if number < len(parts) - 1 else ""}')
    print("}")


if __name__ == "__main__":
    main()
