#!/usr/bin/env python3
"""Writes measure_golden.json: reference values for measure/, by SciPy and NumPy.

    python3 tests/golden/make_measure_golden.py > tests/golden/measure_golden.json
"""

import json
import math

import numpy
import scipy
from scipy import special, stats
from scipy.stats import binom

COUNTS = [1, 2, 5, 6, 7, 10, 15, 16, 17, 29, 59, 100, 299, 1000, 2995, 12345, 100000, 1000000]
QUANTILES = [0.1, 0.5, 0.9, 0.95, 0.99, 0.999]
MASK = (1 << 64) - 1
SUMMARY = "key count min max stddev median low high p90 p95 p99 p999".split()


def sample(key, counter):
    """base/random.h's random_unit(random_at(key, counter)), written anew."""
    z = (key + (counter + 1) * 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    z ^= z >> 31
    return (z >> 11) * 2.0**-53


def cdf_cases():
    for n in COUNTS:
        for q in QUANTILES:
            mean, deviation = n * q, math.sqrt(n * q * (1 - q))
            points = {round(mean + z * deviation) for z in (-6, -4, -2, -1, 0, 1, 2, 4, 6)}
            for k in sorted(k for k in points | {0, n - 1, n} if 0 <= k <= n):
                yield n, q, k, binom.cdf(k, n, q)


def ranks(n, q, confidence):
    """By the definition in measure/quantile.h, searched from the ends inwards."""
    risk = 1 - confidence
    below_all, above_all = (1 - q) ** n, q**n
    if n < 2 or below_all + above_all > risk:
        return 0, 0, 0.0
    low_risk = high_risk = risk / 2
    if above_all > high_risk:
        high_risk, low_risk = above_all, risk - above_all
    elif below_all > low_risk:
        low_risk, high_risk = below_all, risk - below_all
    every = numpy.arange(1, n + 1)
    low = int(every[binom.cdf(every - 1, n, q) <= low_risk].max())
    # n itself is allowed by construction; rounding must not lose it.
    highs = every[binom.sf(every - 1, n, q) <= high_risk]
    high = int(highs.min()) if len(highs) else n
    return low, high, binom.cdf(high - 1, n, q) - binom.cdf(low - 1, n, q)


def summary_case(key, n):
    values = numpy.array([1e6 + 4e5 * (sample(key, i) * sample(key, i)) ** 2 for i in range(n)])
    low, high, _ = ranks(n, 0.5, 0.95)
    ordered = numpy.sort(values)

    def quantile(q, least):
        return numpy.quantile(values, q, method="inverted_cdf") if n >= least else -1.0

    return [
        values.min(),
        values.max(),
        values.std(ddof=1) if n > 1 else -1.0,
        numpy.median(values),
        ordered[low - 1] if low else -1.0,
        ordered[high - 1] if high else -1.0,
        quantile(0.9, 29),
        quantile(0.95, 59),
        quantile(0.99, 299),
        quantile(0.999, 2995),
    ]


PROBABILITIES = [1e-300, 1e-100, 1e-20, 1e-9, 1e-4, 0.0125, 0.025, 0.05, 0.2, 0.3, 0.4999, 0.5,
                 0.5001, 0.7, 0.75, 0.9, 0.95, 0.975, 0.995, 0.999999]
SHAPES = [(0.5, 0.5), (1, 1), (0.5, 7), (2.5, 0.5), (1, 29), (3.7, 12.25), (20, 20), (55.5, 46.5),
          (100, 3), (500.5, 500.5), (9000, 1001), (5e5, 5e5 + 1), (999001, 1000)]
FREEDOMS = [0.5, 1, 2, 3, 4.5, 9, 10.25, 30, 99, 1000, 1e6]


def special_cases():
    """Rows {function, p or x, parameters, value}; parameters that a function lacks are 0."""
    for x in (-37, -12.5, -6, -1.96, -0.3, 0, 1e-9, 0.7, 1.645, 5, 8):
        yield "normal_cdf", x, 0, 0, special.ndtr(x)
    for p in PROBABILITIES:
        yield "normal_quantile", p, 0, 0, special.ndtri(p)
    for x in (1e-8, 0.1, 0.5, 1, 1.5, 2, 3.3, 15.99, 16, 50.5, 1e3, 1e6):
        yield "log_gamma", x, 0, 0, special.gammaln(x)
    for a, b in SHAPES:
        for p in PROBABILITIES:
            x = special.betaincinv(a, b, p)
            # In far tails SciPy's inverse may stop early or underflow: it must give p back.
            if abs(special.betainc(a, b, x) - p) <= 1e-12 * p:
                yield "beta_quantile", p, a, b, x
            if 1e-300 < x < 1:
                yield "beta_cdf", x, a, b, special.betainc(a, b, x)
    for freedom in FREEDOMS:
        for t in (-300, -12, -2.5, -0.7, -1e-6, 0, 0.4, 1.96, 4):
            yield "student_cdf", t, freedom, 0, stats.t.cdf(t, freedom)
        for p in PROBABILITIES[2:]:
            yield "student_quantile", p, freedom, 0, special.stdtrit(freedom, p)


def cases():
    yield "special", (
        dict(zip(("function", "x", "a", "b", "value"), (name, float(x), float(a), float(b), float(v))))
        for name, x, a, b, v in special_cases()
    )
    yield "cdf", (
        {"count": n, "q": q, "successes": k, "cdf": float(value)}
        for n, q, k, value in cdf_cases()
    )
    yield "ranks", (
        dict(zip(("count", "q", "confidence", "low", "high", "coverage"),
                 (n, q, confidence, *map(float, ranks(n, q, confidence)))))
        for n in COUNTS + [8, 9, 12, 20, 25, 50, 73, 200, 500]
        for q in QUANTILES
        for confidence in (0.95, 0.99)
    )
    yield "summary", (
        dict(zip(SUMMARY, (key, n, *map(float, summary_case(key, n)))))
        for key, n in [(1, 1), (2, 2), (3, 5), (4, 6), (5, 10), (6, 28), (7, 29), (8, 58), (9, 59),
                       (10, 298), (11, 299), (12, 1000), (13, 2994), (14, 2995), (15, 20000)]
    )


def main():
    """One case a line, so that a change reads well in a diff."""
    print("{")
    print(f' "made_with": "SciPy {scipy.__version__}, NumPy {numpy.__version__}",')
    print(' "summary_values": "1e6 + 4e5 * unit(key, i)^4; -1 = not known at this n",')
    blocks = []
    for name, rows in cases():
        lines = ",\n".join("  " + json.dumps(row) for row in rows)
        blocks.append(f' "{name}": [\n{lines}\n ]')
    print(",\n".join(blocks))
    print("}")


if __name__ == "__main__":
    main()
