#!/usr/bin/env python3
"""One table of every engine on the same cells, as Markdown on standard output.

    python3 bench/engines_table.py                                      CPU: native, pytorch (eager, compiled), jax
    python3 bench/engines_table.py --device cuda:0 --model superintelligence-1b --precision bf16 --seq 512 --batch 8
    python3 bench/engines_table.py --read FILE.jsonl...                 of records that are there; measures nothing

The engines take turns, a whole `tokmark run` each, for --rounds rounds, so that a machine that slows down or is shared
hits them alike. A row's value is the median over rounds of the cell's median step; behind it the lowest low end
and the highest high end of the rounds' 95 % intervals. `median_tokens_per_sec` is of that median. Nothing is left out: a cell that an
engine could not do has its verdict in the row. All records are in --out.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WAYS = {
    "native": ("native", []),
    "pytorch": ("pytorch", []),
    "pytorch compiled": ("pytorch", ["--compile", "default"]),
    "jax": ("jax", []),
}


def find_program():
    found = sorted(ROOT.glob("dist/tokmark-*-linux-*/bin/tokmark")) + [ROOT / "build" / "tokmark"]
    return str(next(path for path in reversed(found) if path.exists()))


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def run(options, way, records):
    """One call; its records, taken from behind those that were there."""
    engine, flags = WAYS[way]
    python = {"pytorch": options.pytorch_python, "jax": options.jax_python}.get(engine)
    words = [options.program, "run", "--engine", engine, *flags, "--model", options.model, "--device", options.device,
             "--precision", options.precision, "--mode", *options.mode, "--seq", *map(str, options.seq),
             "--batch", *map(str, options.batch), "--warmup", "auto", "--target-ci", "1", "--max-time", options.max_time,
             "--out", options.out, *(["--python", python] if python else [])]
    code = subprocess.run(words, stdout=subprocess.DEVNULL, check=False).returncode
    if code not in (0, 3, 4):
        sys.exit(f"engines_table: {' '.join(words)} ended with code {code}")
    return read(records)[len(run.seen):]


run.seen = []


def way_of(record):
    """By what the worker said it ran; a cell that failed before it said so counts as plain."""
    is_compiled = record["framework"] == "pytorch" and ", compiled" in (record["backend"] or "")
    return "pytorch compiled" if is_compiled else record["framework"]


def cell_of(record):
    return record["mode"], record["precision"], record["seq_len"], record["batch_size"]


def summary(records):
    """(milliseconds, interval, median tokens/s, peak MiB), or None without any measured round."""
    measured = [r for r in records if r["ms_p50"] is not None and r["verdict"] in ("ok", "unsteady")]
    if not measured:
        return None
    ms = statistics.median(r["ms_p50"] for r in measured)
    known = [r for r in measured if r["ms_p50_low"] is not None]
    peak = max((r["peak_mem_mb"] for r in measured if r["peak_mem_mb"] is not None), default=None)
    interval = "-"
    if known:
        low = min([r["ms_p50_low"] for r in known] + [r["ms_p50"] for r in measured])
        high = max([r["ms_p50_high"] for r in known] + [r["ms_p50"] for r in measured])
        interval = f"{low:,.4g} to {high:,.4g}" + (f" ({len(known)})" if len(known) < len(measured) else "")
    return ms, interval, measured[0]["tokens_per_step"] / ms * 1e3, peak


def text(value, form):
    return "-" if value is None else format(value, form)


def print_table(by_row, title):
    versions = sorted({r["engine_version"] for rows in by_row.values() for r in rows if r["engine_version"]})
    print(f"{title}; {'; '.join(versions)}\n")
    print("| mode | seq | batch | engine | rounds | `ms_p50` | 95 % interval | `median_tokens_per_sec` | peak MiB | "
          "verdicts |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for (mode, _, seq, batch, way), rows in sorted(by_row.items(), key=lambda item: order(item[0])):
        ms, interval, rate, peak = summary(rows) or (None, "-", None, None)
        verdicts = ", ".join(sorted({r["verdict"] for r in rows}))
        print(f"| {mode} | {seq} | {batch} | {way} | {len(rows)} | {text(ms, ',.4g')} | {interval} | {text(rate, ',.0f')} | "
              f"{text(peak, ',.0f')} | {verdicts} |")


def order(key):
    mode, _, seq, batch, way = key
    return ("train", "infer", "decode").index(mode), seq, batch, list(WAYS).index(way)


def add(by_row, records, way=None):
    for record in records:
        by_row.setdefault((*cell_of(record), way or way_of(record)), []).append(record)


def print_read(paths):
    records = [record for path in paths for record in read(Path(path))]
    by_row = {}
    add(by_row, records)
    print_table(by_row, "; ".join(sorted({f"{r['model']}, {r['device']}, {r['precision']}" for r in records})))
    return 0 if by_row else 4


def add_cell_arguments(parser):
    parser.add_argument("--program", default=None)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--model", default="superintelligence-tiny")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--mode", nargs="+", default=["train", "infer"])
    parser.add_argument("--seq", nargs="+", type=int, default=[128])
    parser.add_argument("--batch", nargs="+", type=int, default=[4])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_cell_arguments(parser)
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=None)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--max-time", default="10s")
    parser.add_argument("--pytorch-python", help="interpreter with torch; default: as `tokmark run` chooses")
    parser.add_argument("--jax-python", help="interpreter with jax")
    parser.add_argument("--out", default="_bench_engines")
    parser.add_argument("--read", nargs="+", metavar="FILE", help="records that are there")
    options = parser.parse_args()
    if options.read:
        return print_read(options.read)
    options.program = options.program or find_program()
    ways = options.ways or [way for way in WAYS if options.device == "cpu" or way != "native"]
    records = Path(options.out) / "bench_results.jsonl"
    run.seen = read(records)
    by_row = {}
    for index in range(options.rounds):
        for way in ways if index % 2 == 0 else reversed(ways):
            print(f"round {index + 1} of {options.rounds}: {way}", file=sys.stderr, flush=True)
            new = run(options, way, records)
            run.seen += new
            add(by_row, new, way)
    print_table(by_row, f"{options.model}, {options.device}, {options.precision}; interleaved rounds")
    return 0 if by_row else 4


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    sys.exit(main())
