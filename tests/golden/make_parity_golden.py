#!/usr/bin/env python3
"""Writes parity_golden.json: errors of pairs of tensors, by NumPy in double.

    python3 tests/golden/make_parity_golden.py > tests/golden/parity_golden.json
"""
import json

import numpy

CASES = [(1, 1), (7, 1), (37, 3), (150, 64)]  # elements, at a time
# How the second tensor comes from the first.
CHANGES = {
    "equal": lambda rng, b: b,
    "noise": lambda rng, b: b * (1 + 1e-5 * rng.standard_normal(b.shape)),
    "one": lambda rng, b: numpy.where(numpy.arange(b.size) == b.size // 2, b * 1.01, b),
    "zeros": lambda rng, b: numpy.where(rng.random(b.shape) < 0.3, 0, b),
    "sign": lambda rng, b: -b,
}


def errors(a, b):
    a, b = a.astype(numpy.float64), b.astype(numpy.float64)
    difference = abs(a - b)
    with numpy.errstate(divide="ignore", invalid="ignore"):
        element = numpy.where(difference > 0, difference / abs(b), 0).max()
    norm = numpy.linalg.norm
    return {"element": float(element), "tensor": float(difference.max() / abs(b).max()),
            "euclidean": float(norm(a - b) / norm(b))}


def main():
    rng = numpy.random.default_rng(5)
    rows = []
    for count, part in CASES:
        for name, change in CHANGES.items():
            b = (rng.standard_normal(count) * 10.0 ** rng.integers(-6, 3)).astype(numpy.float32)
            a = change(rng, b).astype(numpy.float32)
            rows.append({"change": name, "part": part, "values": [float(x) for x in a],
                         "reference": [float(x) for x in b], **errors(a, b)})
    print(json.dumps(rows))


main()
