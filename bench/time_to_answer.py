#!/usr/bin/env python3
"""How long until the answer is known: a fixed number of steps beside stopping by precision.

    python3 bench/time_to_answer.py                                       CPU: native and pytorch, 200 steps
    python3 bench/time_to_answer.py --device cuda:0 --engines pytorch --model superintelligence-1b \\
        --precision bf16 --seq 512 --batch 8 --steps 2000

The two ways take turns, fixed, precise, precise, fixed, each a whole `tokmark run`, so that a machine that slows down hits both.
A row: the cell's median with its interval by either way, how far the precise one's median is from the
fixed one's, and the time of all steps (warm-up and measuring) of the precise way over the fixed way's.
`within` says how many of the precise way's medians are within 1 % of the median of the fixed ways'.
"""
import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

from engines_table import add_cell_arguments, find_program


def run(options, engine, way, out):
    """One sweep; its records."""
    how = ["--steps", str(options.steps), "--warmup", "20"] if way == "fixed" else \
        ["--target-ci", "1", "--warmup", "auto", "--max-time", options.max_time]
    words = [options.program, "run", "--engine", engine, "--model", options.model, "--device", options.device,
             "--precision", options.precision, "--mode", *options.mode, "--seq", *map(str, options.seq),
             "--batch", *map(str, options.batch), *how, "--out", str(out)]
    path = out / "bench_results.jsonl"
    before = len(path.read_text().splitlines()) if path.exists() else 0
    code = subprocess.run(words, stdout=subprocess.DEVNULL, check=False).returncode
    if code not in (0, 3, 4):
        sys.exit(f"time_to_answer: {' '.join(words)} ended with code {code}")
    return [json.loads(line) for line in path.read_text().splitlines()[before:]]


def steps_seconds(record):
    return (record["warmup_ms"] + record["steps"] * record["ms_per_step"]) / 1e3


def row(key, fixed, precise):
    due = statistics.median(r["ms_p50"] for r in fixed)
    ms = statistics.median(r["ms_p50"] for r in precise)
    within = sum(abs(r["ms_p50"] / due - 1) <= 0.01 for r in precise)
    spent = [statistics.median(map(steps_seconds, records)) for records in (fixed, precise)]
    wall = [statistics.median(r["harness_ms"] / 1e3 for r in records) for records in (fixed, precise)]
    verdicts = [", ".join(sorted({r["verdict"] for r in records})) for records in (fixed, precise)]
    interval = [f"{min(r['ms_p50_low'] or 0 for r in records):.4g} to {max(r['ms_p50_high'] or 0 for r in records):.4g}"
                for records in (fixed, precise)]
    engine, mode, seq, batch = key
    return (f"| {engine} | {mode} | {batch} x {seq} | {due:.4g} ({interval[0]}) | {ms:.4g} ({interval[1]}) | {100 * (ms / due - 1):+.2f} % | "
            f"{within} of {len(precise)} | {spent[0]:.2f} | {spent[1]:.2f} | {spent[1] / spent[0]:.3f} | {wall[1] / wall[0]:.3f} | "
            f"{verdicts[0]} / {verdicts[1]} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_cell_arguments(parser)
    parser.add_argument("--engines", nargs="+", default=["native", "pytorch"])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--max-time", default="30s")
    parser.add_argument("--rounds", type=int, default=1, help="of fixed, precise, precise, fixed")
    parser.add_argument("--out", default="_bench_answer", type=Path)
    options = parser.parse_args()
    options.program = options.program or find_program()
    found = {}
    for _ in range(options.rounds):
        for engine in options.engines:
            for way in ("fixed", "precise", "precise", "fixed"):
                print(f"{engine}: {way}", file=sys.stderr, flush=True)
                for r in run(options, engine, way, options.out / way):
                    found.setdefault((engine, r["mode"], r["seq_len"], r["batch_size"]), {}).setdefault(way, []).append(r)
    print(f"{options.model}, {options.device}, {options.precision}; {options.steps} steps against 1 % precision\n")
    print("| engine | mode | B x T | fixed ms | precise ms | apart | within 1 % | fixed s | precise s | steps' time, ratio | whole, ratio | verdicts |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for key, ways in found.items():
        measured = {way: [r for r in records if r["ms_p50"] is not None] for way, records in ways.items()}
        if measured.get("fixed") and measured.get("precise"):
            print(row(key, measured["fixed"], measured["precise"]))
        else:
            print(f"| {' | '.join(map(str, key[:2]))} | {key[3]} x {key[2]} | not measured by both ways |")
    return 0 if found else 4


if __name__ == "__main__":
    sys.exit(main())
