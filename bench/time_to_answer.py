#!/usr/bin/env python3
"""How long until the answer is known: a fixed number of steps beside stopping by precision.

    python3 bench/time_to_answer.py                                       CPU: native and pytorch, 200 steps
    python3 bench/time_to_answer.py --device cuda:0 --engines pytorch --model superintelligence-1b \\
        --precision bf16 --cells infer:32x512 train:8x512 --steps 2000 --order precise fixed precise

The two ways take turns, each a whole `tokmark run` of one cell, so that a machine that slows down hits both.
A row: the cell's median with its interval by either way, how far the precise one's median is from the
fixed one's, and the time of all steps (warm-up and measuring) of the precise way over the fixed way's.
`within` says how many of the precise way's medians are within 1 % of the median of the fixed ways'.
"""
import argparse
import itertools
import json
import statistics
import subprocess
import sys
from pathlib import Path

from engines_table import add_cell_arguments, find_program


def run(options, engine, cell, way, out):
    """The record of one run."""
    mode, batch, seq = cell
    how = ["--steps", str(options.steps), "--warmup", "20"] if way == "fixed" else \
        ["--target-ci", "1", "--warmup", "auto", "--max-time", options.max_time]
    words = [options.program, "run", "--engine", engine, "--model", options.model, "--device", options.device,
             "--precision", options.precision, "--mode", mode, "--seq", str(seq), "--batch", str(batch), *how, "--out", str(out)]
    code = subprocess.run(words, stdout=subprocess.DEVNULL, check=False).returncode
    if code not in (0, 3, 4):
        sys.exit(f"time_to_answer: {' '.join(words)} ended with code {code}")
    return json.loads((out / "bench_results.jsonl").read_text().splitlines()[-1])


def read_cell(text):
    """(mode, batch, seq) of "infer:32x512"."""
    mode, shape = text.split(":")
    batch, seq = shape.split("x")
    return mode, int(batch), int(seq)


def steps_seconds(record):
    return (record["warmup_ms"] + record["steps"] * record["ms_per_step"]) / 1e3


def widest(records):
    """From the lowest end of the records' intervals to the highest, or that one has none."""
    ends = [r[end] for r in records for end in ("ms_p50_low", "ms_p50_high")]
    return "no interval" if None in ends else f"{min(ends):.4g} to {max(ends):.4g}"


def row(key, fixed, precise):
    due = statistics.median(r["ms_p50"] for r in fixed)
    ms = statistics.median(r["ms_p50"] for r in precise)
    within = sum(abs(r["ms_p50"] / due - 1) <= 0.01 for r in precise)
    spent = [statistics.median(map(steps_seconds, records)) for records in (fixed, precise)]
    wall = [statistics.median(r["harness_ms"] / 1e3 for r in records) for records in (fixed, precise)]
    verdicts = [", ".join(sorted({r["verdict"] for r in records})) for records in (fixed, precise)]
    interval = [widest(records) for records in (fixed, precise)]
    engine, mode, batch, seq = key
    return (f"| {engine} | {mode} | {batch} x {seq} | {due:.4g} ({interval[0]}) | {ms:.4g} ({interval[1]}) | {100 * (ms / due - 1):+.2f} % | "
            f"{within} of {len(precise)} | {spent[0]:.2f} | {spent[1]:.2f} | {spent[1] / spent[0]:.3f} | {wall[1] / wall[0]:.3f} | "
            f"{verdicts[0]} / {verdicts[1]} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_cell_arguments(parser)
    parser.add_argument("--engines", nargs="+", default=["native", "pytorch"])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--max-time", default="30s")
    parser.add_argument("--cells", nargs="+", type=read_cell, metavar="MODE:BxT", help="instead of all of --mode, --batch and --seq")
    parser.add_argument("--order", nargs="+", choices=("fixed", "precise"), default=["fixed", "precise", "precise", "fixed"])
    parser.add_argument("--out", default="_bench_answer", type=Path)
    options = parser.parse_args()
    options.program = options.program or find_program()
    cells = options.cells or list(itertools.product(options.mode, options.batch, options.seq))
    found = {}
    for engine, cell, way in itertools.product(options.engines, cells, options.order):
        r = run(options, engine, cell, way, options.out / way)
        print(f"{engine} {cell}: {way}: {r['verdict']} {r['ms_p50']}", file=sys.stderr, flush=True)
        found.setdefault((engine, *cell), {}).setdefault(way, []).append(r)
    print(f"{options.model}, {options.device}, {options.precision}; {options.steps} steps against 1 % precision\n")
    print("| engine | mode | B x T | fixed ms | precise ms | apart | within 1 % | fixed s | precise s | steps' time, ratio | whole, ratio | verdicts |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for key, ways in found.items():
        measured = {way: [r for r in records if r["ms_p50"] is not None] for way, records in ways.items()}
        if measured.get("fixed") and measured.get("precise"):
            print(row(key, measured["fixed"], measured["precise"]))
        else:
            print(f"| {key[0]} | {key[1]} | {key[2]} x {key[3]} | not measured by both ways |")
    return 0 if found else 4


if __name__ == "__main__":
    sys.exit(main())
