#!/usr/bin/env python3
"""Writes measure_golden.json: reference values for measure/, by SciPy and NumPy.

    python3 tests/golden/make_measure_golden.py > tests/golden/measure_golden.json
"""

import json
import math

import numpy
import scipy
from scipy import integrate, optimize, special, stats
from scipy.stats import binom

COUNTS = [1, 2, 5, 6, 7, 10, 15, 16, 17, 29, 59, 100, 299, 1000, 2995, 12345, 100000, 1000000]
QUANTILES = [0.1, 0.5, 0.9, 0.95, 0.99, 0.999]
MASK = (1 << 64) - 1
UNKNOWN = -1e9
SUMMARY = ("key count min max stddev median low high p90 p95 p99 p999 effective mean mean_low "
           "mean_high p90_upper p95_upper p99_upper p999_upper rate rate_low rate_high").split()


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


def median_ranks(n, confidence):
    """The exact interval of the median of independent samples, as whole ranks: half of the risk in each tail."""
    every = numpy.arange(1, n + 1)
    low = int(every[binom.cdf(every - 1, n, 0.5) <= (1 - confidence) / 2].max())
    return low, n + 1 - low


def summary_case(key, n):
    values = numpy.array([1e6 + 4e5 * (sample(key, i) * sample(key, i)) ** 2 for i in range(n)])
    effective, low, high = median_interval(values)[1:] if n > 1 else (1.0, UNKNOWN, UNKNOWN)
    mean = values.mean()
    batches = batch_case(values, mean_time(values)[0]) if n > 1 else [0, UNKNOWN, UNKNOWN, 0]

    def quantile(q, least):
        return numpy.quantile(values, q, method="inverted_cdf") if n >= least else -1.0

    return [
        values.min(),
        values.max(),
        values.std(ddof=1) if n > 1 else -1.0,
        numpy.median(values),
        low if low != UNKNOWN else -1.0,
        high if high != UNKNOWN else -1.0,
        quantile(0.9, 29),
        quantile(0.95, 59),
        quantile(0.99, 299),
        quantile(0.999, 2995),
        effective,
        mean,
        *(bound if bound != UNKNOWN else -1.0 for bound in batches[1:3]),
        *(upper_bound(values, q) if n > 1 else -1.0 for q in (0.9, 0.95, 0.99, 0.999)),
        *rate_case(n, mean, *batches[1:3]),
    ]


def rate_case(n, mean, low, high):
    """7 tokens a step, of which the window holds 5/4: their mean time's interval, turned over."""
    rate = 7 * n * 1e9 / int(mean * n * 1.25)
    return (rate, *((rate * mean / high, rate * mean / low) if low != UNKNOWN and low > 0 else (-1.0, -1.0)))


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


def series(key, n, phi):
    """x_i = phi x_{i-1} + unit(key, i): the same operations in the same order as in the test."""
    values, x = [], 0.0
    for i in range(n):
        x = phi * x + sample(key, i)
        values.append(x)
    return numpy.array(values)


def initial_positive_sequence(values):
    centered = values - values.mean()
    sums = numpy.correlate(centered, centered, "full")[len(values) - 1 :]
    if sums[0] <= 0:
        return 1.0, 1
    total, lag = 0.0, 0
    while lag + 1 < len(sums):
        pair = sums[lag] + sums[lag + 1]
        if lag > 0 and pair <= 0:
            break
        total += pair
        lag += 2
    return 2 * total / sums[0] - 1, max(lag - 1, 1)


def gaussian_indicator_time(rho, q):
    """Lag by lag: the correlation of two indicators is an integral over the bivariate normal's."""
    z = special.ndtri(q)
    total, k = 0.0, 1
    while rho**k > 1e-13:
        joint, _ = integrate.quad(
            lambda t: math.exp(-z * z / (1 + math.sin(t))) / (2 * math.pi),
            0, math.asin(rho**k), epsabs=0, epsrel=1e-13)
        total += joint / (q * (1 - q))
        k += 1
    return 1 + 2 * total


def lag1(values):
    centered = values - values.mean()
    squares = (centered**2).sum()
    return (centered[1:] * centered[:-1]).sum() / squares if squares > 0 else 0.0


def score_rho(values):
    n = len(values)
    if values.min() == values.max():
        return 0.0
    rho = lag1(special.ndtri((stats.rankdata(values) - 0.5) / n))
    return min(max(rho + (1 + 3 * rho) / n, 0), 0.99)


def finish(time, window, n):
    time = min(max(time, 1), n)
    excess = 1 - 1 / time**2
    freedom = max(n / ((2 * window - 1) * excess), 1) if excess > 0 else math.inf
    return time, freedom


def quantile_time(values, q, threshold):
    time, window = initial_positive_sequence((values <= threshold).astype(float))
    return finish(max(time, gaussian_indicator_time(score_rho(values), q)), window, len(values))


def mean_time(values):
    time, window = initial_positive_sequence(values)
    rho = score_rho(values)
    return finish(max(time, (1 + rho) / (1 - rho)), window, len(values))


def widened(risk, freedom):
    return risk if math.isinf(freedom) else special.ndtr(special.stdtrit(freedom, risk))


def real_rank(n, q, probability):
    """r with P(X_(r) <= x_q) = probability; F(X_(r)) is beta(r, n + 1 - r)."""
    return optimize.brentq(lambda r: special.betainc(r, n + 1 - r, q) - probability,
                           1e-9, n + 1 - 1e-9, xtol=1e-14, rtol=1e-14, maxiter=1000)


def real_ranks(n, q, confidence, freedom):
    risk = widened((1 - confidence) / 2, freedom)
    if n < 1 or (1 - q) ** n > risk or q**n > risk:
        return 0.0, 0.0
    return real_rank(n, q, 1 - risk), real_rank(n, q, risk)


def upper_rank(n, q, confidence, freedom):
    risk = widened(1 - confidence, freedom)
    if n < 1 or q**n > risk * (1 + 1e-12):
        return 0.0
    return min(real_rank(n, q, risk), n)


def value_at(ordered, effective, rank):
    n = len(ordered)
    place = min(max(rank * (n + 1) / (effective + 1), 1), n)
    return numpy.interp(place, numpy.arange(1, n + 1), ordered)


def upper_bound(values, q):
    threshold = numpy.quantile(values, q, method="inverted_cdf")
    time, freedom = quantile_time(values, q, threshold)
    rank = upper_rank(len(values) / time, q, 0.95, freedom)
    return value_at(numpy.sort(values), len(values) / time, rank) if rank else -1.0


SERIES = [(1, 2, 0), (2, 9, 0), (3, 10, 0.5), (4, 30, 0), (5, 31, 0.3), (6, 60, 0.6), (7, 100, 0),
          (8, 300, 0.3), (9, 512, 0.9), (10, 513, 0.95), (11, 2000, 0.6), (12, 4000, 0.99),
          (13, 4000, -0.7)]


def series_case(key, n, phi):
    values = series(key, n, phi)
    ordered = numpy.sort(values)
    row = {"key": key, "count": n, "phi": phi, "lag1": lag1(values), "mean": values.mean()}
    for name, q in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99)):
        threshold = (numpy.median(values) if q == 0.5
                     else numpy.quantile(values, q, method="inverted_cdf"))
        time, freedom = quantile_time(values, q, threshold)
        low, high = real_ranks(n / time, q, 0.95, freedom)
        upper = upper_rank(n / time, q, 0.95, freedom)
        row[name] = [threshold, n / time] + [
            value_at(ordered, n / time, rank) if rank else -1e9 for rank in (low, high, upper)]
    time, _ = mean_time(values)
    row["mean_effective"] = n / time if n >= 10 else 1.0
    row["batches"] = batch_case(values, time)
    return json.loads(json.dumps(row, default=float))


def batch_case(values, time):
    n = len(values)
    if n < 10:
        return [0, -1e9, -1e9, 0]
    excess = time - 1 / time
    length = int(min(max(math.ceil(10 * excess), -(-n // 1000)), n // 10))
    batches = values[n % length :].reshape(-1, length).mean(axis=1)
    low, high = -1e9, -1e9
    if length >= 5 * excess:
        low, high = stats.t.interval(0.95, len(batches) - 1, loc=values.mean(),
                                     scale=stats.sem(batches))
    return [len(batches), low, high, lag1(batches)]


def trend_z(values):
    """Mann-Kendall by its definition; ties by the groups' sizes."""
    n = len(values)
    later = numpy.sign(values[None, :] - values[:, None])
    score = numpy.triu(later, 1).sum()
    _, groups = numpy.unique(values, return_counts=True)
    variance = (n * (n - 1) * (2 * n + 5) - (groups * (groups - 1) * (2 * groups + 5)).sum()) / 18
    if n > 1:  # SciPy's tau-b has the same score
        tau = stats.kendalltau(numpy.arange(n), values).statistic
        pairs = math.sqrt(n * (n - 1) / 2 * (n * (n - 1) - (groups * (groups - 1)).sum()) / 2)
        assert abs(tau * pairs - score) < 1e-6 * n * n
    return 0.0 if score == 0 or variance <= 0 else (score - numpy.sign(score)) / math.sqrt(variance)


def steady_case(key, n, phi, steps):
    values = series(key, n, phi)
    if steps:
        values = numpy.round(values * steps) / steps
    half = min(n // 4, 200)
    window = values[n - 2 * half :]
    before, last = numpy.median(window[:half]), numpy.median(window[half:])
    spread = numpy.median(numpy.abs(window - numpy.repeat([before, last], half)))
    error = 1.2533 * 1.4826 * spread * math.sqrt(2 / half)
    change, accepted, z = abs(last - before), max(before / 100, error / 2), trend_z(window)
    is_settled = change + 2 * error <= before / 200 or (change <= accepted and abs(z) <= 1)
    row = dict(zip(("key", "count", "phi", "steps", "before", "last", "accepted", "trend_z"),
                   map(float, (key, n, phi, steps, before, last, accepted, z))))
    return row | {"is_settled": bool(is_settled)}


def median_interval(values):
    median = numpy.median(values)
    time, freedom = quantile_time(values, 0.5, median)
    effective = len(values) / time
    low, high = real_ranks(effective, 0.5, 0.95, freedom)
    ordered = numpy.sort(values)
    if not low:
        return median, effective, UNKNOWN, UNKNOWN
    return median, effective, value_at(ordered, effective, low), value_at(ordered, effective, high)


def robust_slope(values):
    n = len(values)
    if n < 2:
        return 0.0
    points = min(n, 200)
    edges = [i * n // points for i in range(points + 1)]
    medians = [numpy.median(values[a:b]) for a, b in zip(edges, edges[1:])]
    places = [(a + b - 1) / 2 for a, b in zip(edges, edges[1:])]
    return stats.theilslopes(medians, places)[0]


def drift_case(key, n, phi):
    values = series(key, n, phi)
    slope = robust_slope(values)
    halves = values[: n // 2], values[n - n // 2 :]
    # Intervals without the half's own slope, taken out about its middle.
    places = numpy.arange(n // 2) - (n // 2 - 1) / 2
    first, second = (median_interval(half - robust_slope(half) * places) for half in halves)
    change = math.log(numpy.median(halves[1]) / numpy.median(halves[0]))
    low = high = UNKNOWN
    if first[2] > 0 and second[2] > 0:
        low = change - math.hypot(math.log(second[0] / second[2]), math.log(first[3] / first[0]))
        high = change + math.hypot(math.log(second[3] / second[0]), math.log(first[0] / first[2]))
        low, high = 100 * math.expm1(low), 100 * math.expm1(high)
    q1, q3 = numpy.percentile(values, [25, 75])
    fences = [q1 - 3 * (q3 - q1), q1 - 1.5 * (q3 - q1), q3 + 1.5 * (q3 - q1), q3 + 3 * (q3 - q1)]
    within = values[(values >= fences[1]) & (values <= fences[2])]
    return {
        "key": key, "count": n, "phi": phi, "slope": 100 * slope * n / numpy.median(values),
        "change": 100 * math.expm1(change), "low": low, "high": high, "q1": q1, "q3": q3,
        "outliers": [int((values < fences[0]).sum()),
                     int(((values >= fences[0]) & (values < fences[1])).sum()),
                     int(((values > fences[2]) & (values <= fences[3])).sum()),
                     int((values > fences[3]).sum())],
        "mean_within": within.mean()}


def compare_case(key, n, phi, shift):
    """Rounds: a series about 0.5 of which `shift` is taken."""
    ratios = series(key, n, phi) - shift
    median, effective, low, high = median_interval(ratios)
    below, above = int((ratios < 0).sum()), int((ratios > 0).sum())
    return {"key": key, "count": n, "phi": phi, "shift": shift, "median": median,
            "effective": effective, "low": low, "high": high,
            "sign_p": stats.binomtest(below, below + above).pvalue}


def starts_case(key, n, shift, confidence):
    """Medians of starts: a series about 0.5 of which `shift` is taken. Fewer than five with a prior of 0.4 with 4
    degrees of freedom, and an error of 0.3 each: as if four values of mean 0 with that spread had been seen, too."""
    medians = series(key, n, 0) - shift
    spread = numpy.std(medians, ddof=1) if n > 1 else 0.0
    if n >= 5:
        low, high = stats.t.interval(confidence, n - 1, loc=medians.mean(), scale=stats.sem(medians))
    else:
        pooled = numpy.average([0.4**2 + 0.3**2, spread**2], weights=[4, n - 1])
        low, high = stats.t.interval(confidence, 4 + n - 1, loc=medians.mean(), scale=math.sqrt(pooled / n))
    return {"key": key, "count": n, "shift": shift, "confidence": confidence, "mean": medians.mean(), "low": low, "high": high,
            "spread": spread}


def spending_case(name, spent, information):
    """Lan-DeMets boundaries by recursive integration with Gauss and Legendre's nodes, and then each look's exit probability once more by
    SciPy's integral of the multivariate normal distribution."""

    def missing(bound, density, places, step, error):
        return 2 * density @ stats.norm.sf((bound - places) / step) - error

    nodes, weights = special.roots_legendre(300)
    bounds, places, density, before, had = [], None, None, 0.0, 0.0
    for t in information:
        error, step = spent(t) - had, math.sqrt(t - before)
        if places is None:
            bound = step * stats.norm.isf(error / 2)
        else:
            bound = optimize.brentq(missing, 0, 9 * math.sqrt(t), args=(density, places, step, error), xtol=1e-14)
        x = bound * nodes
        own = stats.norm.pdf(x, 0, step) if places is None else stats.norm.pdf(x[:, None], places[None, :], step) @ density
        places, density, before, had = x, own * weights * bound, t, spent(t)
        bounds.append(bound / math.sqrt(t))
    count = min(len(bounds), 6)
    covariance = numpy.array([[math.sqrt(min(s, t) / max(s, t)) for s in information[:count]] for t in information[:count]])
    limits = numpy.array(bounds[:count])
    inside = stats.multivariate_normal.cdf(limits, None, covariance, lower_limit=-limits, abseps=1e-7, releps=1e-7, maxpts=4000000, rng=1)
    assert abs(1 - inside - spent(information[count - 1])) < 2e-6, (name, inside)
    return {"name": name, "information": list(information), "spent": [spent(t) for t in information], "z": bounds}


def sided(spent):
    """A one-sided spending function at 0.025, on both sides."""
    return lambda t: 2 * spent(t)


SPENDING = {
    "power": lambda t: 0.05 * t**2,
    "obrien": sided(lambda t: 2 * stats.norm.sf(stats.norm.isf(0.0125) / math.sqrt(t))),
    "pocock": sided(lambda t: 0.025 * math.log(1 + (math.e - 1) * t)),
}


def even(count):
    return [(i + 1) / count for i in range(count)]


def noise_case(key, n, phi):
    """Medians of comparisons with oneself: a series about 0.5 of which 0.5 is taken."""
    ratios = series(key, n, phi) - 0.5
    floor = stats.t.ppf(0.975, n) * math.sqrt(float((ratios**2).sum()) / n)
    return {"key": key, "count": n, "phi": phi, "floor": floor}


def trials_case(key, count, noise):
    """Trials' medians e^(noise * unit): figures that SciPy has under names of its own."""
    medians = numpy.exp(noise * series(key, count, 0))
    row = {"key": key, "count": count, "noise": noise, "location": stats.gmean(medians),
           "low": UNKNOWN, "high": UNKNOWN, "spread": UNKNOWN, "range": UNKNOWN}
    if count < 2:
        return row
    logs = numpy.log(medians)
    low, high = stats.t.interval(0.95, count - 1, loc=logs.mean(), scale=stats.sem(logs))
    fitted = stats.lognorm(logs.std(ddof=1))
    return row | {"low": math.exp(low), "high": math.exp(high),
                  "spread": 100 * math.sqrt(math.expm1(logs.var(ddof=1))),
                  "spread_of_lognorm": 100 * fitted.std() / fitted.mean(),
                  "range": 100 * (medians.max() / medians.min() - 1)}


def next_run_case(key, count, noise, width, others, disturbed=False, calm=None):
    """Runs as the trials', each known to a factor e^-width to e^width with 95 %; others: [variance, freedom, weight, range];
    disturbed: runs 1, 4, 7 ... are; calm: the others' undisturbed runs."""
    logs = numpy.log(numpy.exp(noise * series(key, count, 0)))
    own = (width / special.ndtri(0.975)) ** 2

    def spread(runs, cells):
        """Variance, half-width, and what the runs say between them."""
        freedoms = [freedom * weight for _, freedom, weight, _ in cells]
        prior = min(sum(freedoms), 4)
        freedom = prior + len(runs) - 1
        alone = special.ndtri(0.975) * math.sqrt(own * (1 + 1 / len(runs)))
        if freedom < 1:
            return own, alone, UNKNOWN
        pooled = numpy.average([cell[0] for cell in cells], weights=freedoms) if cells else 0
        variance = (prior * pooled + ((runs - runs.mean()) ** 2).sum()) / freedom
        # The geometric coefficient of variation, as the log-normal distribution has it.
        shape = math.sqrt(max(0, variance - own))
        between = 100 * stats.lognorm.std(shape) / stats.lognorm.mean(shape) if shape > 0 else 0
        half = stats.t.ppf(0.975, max(1.25, freedom)) * math.sqrt(max(variance, own) * (1 + 1 / len(runs)))
        farthest = max([numpy.ptp(runs)] + [cell[3] for cell in cells])
        return variance, min(half, max(math.log(1.25), 1.5 * farthest, alone)), between

    calm = others if calm is None else calm
    _, half, between = spread(logs, others)
    kept = numpy.array([x for i, x in enumerate(logs) if i % 3 != 1]) if disturbed else logs
    is_calm = not disturbed or (count - 1) % 3 != 1
    low = logs.mean() - half
    if len(kept) >= 2 or (is_calm and sum(freedom * weight for _, freedom, weight, _ in calm) >= 1):
        low = kept.mean() - spread(kept, calm)[1]
    return {"key": key, "count": count, "noise": noise, "width": width, "others": others, "calm": calm, "disturbed": disturbed,
            "between": between, "low": math.exp(min(low, logs.min())), "high": math.exp(max(logs.mean() + half, logs.max()))}


def ratio_case(first, second):
    """Two figures, each (value, low, high), a low of 0 when it has no interval."""
    change = math.log(second[0] / first[0])
    low = high = UNKNOWN
    if first[1] and second[1]:
        low = change - math.hypot(math.log(second[0] / second[1]), math.log(first[2] / first[0]))
        high = change + math.hypot(math.log(second[2] / second[0]), math.log(first[0] / first[1]))
        low, high = 100 * math.expm1(low), 100 * math.expm1(high)
    return {"first": first, "second": second, "percent": 100 * math.expm1(change),
            "low": low, "high": high}


def cases():
    yield "noise", (noise_case(*row) for row in [(51, 1, 0), (52, 2, 0), (53, 5, 0), (54, 20, 0)])
    yield "trials", (
        trials_case(*row) for row in [(51, 1, 0.5), (52, 2, 0.01), (53, 2, 2.0), (54, 3, 0.1),
                                      (55, 5, 0.3), (56, 10, 0.05), (57, 40, 1.0)])
    yield "next_run", (next_run_case(*row) for row in [
        (71, 1, 0, 0.01, []), (72, 1, 0, 0.01, [[0.0004, 1, 1, 0.03]]), (73, 1, 0, 0.05, [[0.0004, 8, 0.25, 0.06]]),
        (74, 2, 0.02, 0, []), (75, 2, 0.1, 0.01, []), (76, 2, 0.1, 0.01, [[0.01, 3, 1, 0.2], [0.0001, 9, 0.25, 0.03]]),
        (77, 5, 0.05, 0.002, []), (78, 5, 0.05, 0.2, []), (79, 21, 0.3, 0.01, [[0.0001, 20, 1, 0.04], [0.02, 2, 0.25, 0.3]]),
        (80, 21, 0.3, 0.01, []), (81, 1, 0, 0.01, [[0.0004, 2, 0.25, 0.04]]), (82, 9, 0.2, 0.01, [], True),
        (83, 6, 0.1, 0.01, [[0.01, 3, 1, 0.2]], True),
        # two runs of another cell, of which one took half as long again
        (84, 1, 0, 0.01, [[0.0822, 1, 1, 0.4055]]), (85, 1, 0, 0.01, [[0.0822, 1, 1, 0.4055], [0.0001, 1, 1, 0.014]]),
        (86, 1, 0, 0.01, [[0.0822, 2, 1, 0.5]], False, [[0.0001, 1, 1, 0.014]]), (87, 2, 0.1, 0.01, [[0.0822, 2, 1, 0.5]], True, [[0.0001, 1, 1, 0.014]]),
        (88, 2, 2.0, 0.001, []), (89, 2, 0.3, 0.4, [])])
    yield "ratio", (
        ratio_case(*row) for row in [((10.0, 9.9, 10.1), (10.5, 10.4, 10.7)),
                                     ((10.0, 9.0, 10.5), (8.0, 7.9, 8.2)),
                                     ((3.5, 0, 0), (7.0, 6.9, 7.1)),
                                     ((1.0, 1.0, 1.0), (1.001, 1.001, 1.001))])
    yield "drift", (drift_case(*row) for row in SERIES if row[2] >= 0 or row[1] > 9)
    yield "compare", (
        compare_case(*row) for row in [(41, 10, 0, 0.5), (42, 40, 0, 0.5), (43, 40, 0, 0.3),
                                       (44, 100, 0.5, 1.1), (45, 5, 0, 0.2), (46, 300, 0.9, 4.9)])
    yield "starts", (
        starts_case(*row) for row in [(61, 1, 0.5, 0.95), (62, 2, 0.5, 0.999), (63, 3, 0.4, 0.95), (67, 4, 0.5, 0.9995),
                                      (64, 5, 0.5, 0.95), (65, 7, 3.0, 0.99), (66, 64, 0.5, 0.95)])
    yield "spending", (
        spending_case(name, SPENDING[name], information)
        for name, information in [("power", even(10)), ("power", even(1)), ("power", even(3)), ("power", [0.1, 0.2, 0.3, 1]),
                                  ("power", even(64)), ("obrien", even(5)), ("pocock", even(5))])
    yield "steady", (
        steady_case(*row)
        for row in [(21, 20, 0, 0), (22, 33, 0.5, 0), (23, 100, 0.9, 0), (24, 801, 0, 0),
                    (25, 3000, 0.5, 0), (26, 64, 0.9, 4), (27, 400, 0, 8), (28, 40, 0, 0),
                    (29, 90, 0, 0), (30, 120, 0, 0)]
    )
    yield "gaussian_time", (
        {"rho": rho, "q": q, "time": gaussian_indicator_time(rho, q)}
        for rho in (0, 0.01, 0.3, 0.6, 0.9, 0.99) for q in (0.5, 0.1, 0.9, 0.99)
    )
    yield "real_ranks", (
        dict(zip(("count", "q", "freedom", "low", "high", "upper"),
                 map(float, (n, q, freedom if freedom else -1,
                             *real_ranks(n, q, 0.95, freedom or math.inf),
                             upper_rank(n, q, 0.95, freedom or math.inf)))))
        for n in (1, 4.9, 6, 10, 29, 33.3, 59, 100, 299, 1234.5, 50000)
        for q in (0.5, 0.9, 0.99)
        for freedom in (0, 3, 25.5)
    )
    yield "series", (series_case(*row) for row in SERIES)
    yield "special", (
        dict(zip(("function", "x", "a", "b", "value"), (name, float(x), float(a), float(b), float(v))))
        for name, x, a, b, v in special_cases()
    )
    yield "cdf", (
        {"count": n, "q": q, "successes": k, "cdf": float(value)}
        for n, q, k, value in cdf_cases()
    )
    yield "median_ranks", (
        dict(zip(("count", "confidence", "low", "high"), (n, confidence, *median_ranks(n, confidence))))
        for n in COUNTS + [8, 9, 12, 20, 25, 50, 73, 200, 500]
        for confidence in (0.95, 0.99)
        if 0.5**n <= (1 - confidence) / 2
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
