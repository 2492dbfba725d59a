#!/usr/bin/env python3
"""Does the interval that a run prints for the next run hold its median?

    python3 bench/repeats.py collect                          24 slots, five minutes apart: two hours
    python3 bench/repeats.py collect --slots 6 --every 60 --cells native:infer pytorch:train
    python3 bench/repeats.py collect --wrap CMD ARG...        CMD ARG... is put before each slot's command
    python3 bench/repeats.py table FILE.jsonl...              of what is there; measures nothing

A slot measures each cell once, by `tokmark run` as anybody would call it; every record is a line of --out. In one of three slots, at random,
another process keeps a CPU busy, on and off at random every 0.1 to 5 s. The first slot begins with an empty memory of the machine in
--data (which `tokmark noise` shows: XDG_DATA_HOME=DIR tokmark noise); slots of an interrupted call are continued by the same command.
The table has, for each cell, how many pairs of a run and the next there are, in how many the interval that run i printed
(`next_run_ms_low` to `_high`) holds the median of run i + 1 and how many printed none, how wide it was, and the same of the interval by its own samples.
"""
import argparse
import collections
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from engines_table import find_program

KEPT = ("framework device mode seq_len batch_size precision model verdict reasons warnings ms_p50 ms_p50_low ms_p50_high samples samples_effective started_at "
        "next_run_ms_low next_run_ms_high next_run_basis between_run_percent foreign_cpu_percent pace_percent history_runs environment_id").split()
BUSY_EVERY = 3
LOAD = """
import os, random, sys, time
os.sched_setaffinity(0, {int(sys.argv[1])})
rng = random.Random(int(sys.argv[2]))
while True:
    end = time.monotonic() + rng.uniform(0.1, 5)
    while time.monotonic() < end:
        pass
    time.sleep(rng.uniform(0.1, 5))
"""


# --- one slot ---

def measure(options, cell):
    """The record of one cell."""
    engine, mode = cell.split(":")
    with tempfile.TemporaryDirectory() as out:
        words = [options.program, "run", "--engine", engine, "--mode", mode, "--model", options.model, "--precision", options.precision, "--device", options.device,
                 "--seq", str(options.seq), "--batch", str(options.batch), "--max-time", options.max_time, "--quiet", "--out", out]
        words += ["--python", options.python] if options.python and engine != "native" else []
        environment = {key: value for key, value in os.environ.items() if not key.startswith("OPENBLAS_")} | {"XDG_DATA_HOME": options.data}
        done = subprocess.run(words, stdout=subprocess.DEVNULL, env=environment, check=False)
        path = Path(out, "bench_results.jsonl")
        if not path.exists():
            sys.exit(f"repeats: {' '.join(words)} ended with code {done.returncode} and no record")
        record = json.loads(path.read_text().splitlines()[-1])
    return {key: record.get(key) for key in KEPT} | {"exit_code": done.returncode}


def run_slot(options):
    is_busy = random.Random(f"{options.seed} {options.slot // BUSY_EVERY}").randrange(BUSY_EVERY) == options.slot % BUSY_EVERY
    load = None
    if is_busy:
        load = subprocess.Popen([sys.executable, "-c", LOAD, str(max(os.sched_getaffinity(0))), str(options.slot)])
    try:
        lines = [{"slot": options.slot, "busy": is_busy} | measure(options, cell) for cell in options.cells]
    finally:
        if load is not None:
            load.send_signal(signal.SIGKILL)
            load.wait()
    with open(options.out, "a", encoding="ascii") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)
    for line in lines:
        print(f"slot {options.slot}{' busy' if is_busy else ''}: {line['framework']} {line['mode']} {line['verdict']} {line['ms_p50']} "
              f"next {line['next_run_ms_low']} to {line['next_run_ms_high']} ({line['next_run_basis']})", file=sys.stderr, flush=True)


def read(paths):
    return [json.loads(text) for path in paths if Path(path).exists() for text in Path(path).read_text().splitlines()]


def collect(options):
    done = 1 + max((line["slot"] for line in read([options.out])), default=-1)
    begin = time.monotonic()
    for slot in range(done, options.slots):
        time.sleep(max(0.0, begin + (slot - done) * options.every - time.monotonic()))
        words = [*options.wrap, sys.executable, __file__, "slot", "--slot", str(slot), "--program", options.program, "--out", options.out, "--data", options.data,
                 "--model", options.model, "--precision", options.precision, "--device", options.device, "--seq", str(options.seq), "--batch", str(options.batch),
                 "--max-time", options.max_time, "--seed", str(options.seed), "--cells", *options.cells]
        words += ["--python", options.python] if options.python else []
        code = subprocess.run(words, check=False).returncode
        if code != 0:
            print(f"repeats: slot {slot} ended with code {code}", file=sys.stderr, flush=True)
    print_table([options.out])


# --- the table ---

def holds(line, low, high, median):
    return None not in (line[low], line[high]) and line[low] <= median <= line[high]


def describe(pairs):
    """Shares of pairs, and widths to either side of the run's own median in %."""
    def share(low, high):
        """An interval that was not printed claims nothing: such pairs are counted apart."""
        printed = [pair for pair in pairs if None not in (pair[0][low], pair[0][high])]
        held = sum(holds(line, low, high, after["ms_p50"]) for line, after in printed)
        return (f"{held} of {len(printed)} ({100 * held / len(printed):.0f} %)" if printed else "-") + f" | {len(pairs) - len(printed)}"

    known = [line for line, _ in pairs if None not in (line["next_run_ms_low"], line["next_run_ms_high"])]
    below = [100 * (line["next_run_ms_low"] / line["ms_p50"] - 1) for line in known]
    above = [100 * (line["next_run_ms_high"] / line["ms_p50"] - 1) for line in known]
    width = f"{statistics.median(below):+.1f} / {statistics.median(above):+.1f}" if known else "-"
    return f"{len(pairs)} | {share('next_run_ms_low', 'next_run_ms_high')} | {width} | {share('ms_p50_low', 'ms_p50_high')}"


def print_table(paths):
    rows = collections.defaultdict(list)
    for line in read(paths):
        if line["ms_p50"] is not None:
            rows[line["framework"], line["device"], line["model"], line["mode"], line["batch_size"], line["seq_len"], line["precision"]].append(line)
    print("| cell | runs (busy) | medians, ms | pairs | held by the interval of the next run | printed none | its median width, % | held by the median's own interval | printed none | bases | verdicts |")
    print("|" + " --- |" * 11)
    every = []
    for key, lines in rows.items():
        pairs = list(zip(lines, lines[1:]))
        every += pairs
        engine, device, model, mode, batch, seq, precision = key
        medians = [line["ms_p50"] for line in lines]
        bases = collections.Counter(line["next_run_basis"] for line in lines)
        verdicts = collections.Counter(line["verdict"] for line in lines)
        if pairs:
            print(f"| {engine} {device} {model} {mode} {precision} {batch} x {seq} | {len(lines)} ({sum(line['busy'] for line in lines)}) | {min(medians):.4g} to {max(medians):.4g} | "
                  f"{describe(pairs)} | {', '.join(f'{n} {name}' for name, n in bases.items())} | {', '.join(f'{n} {name}' for name, n in verdicts.items())} |")
    if every:
        print(f"| all | | | {describe(every)} | | |")
        seen = [pair for pair in every if pair[0]["next_run_basis"] != "this_run"]
        if seen:
            print(f"| all but `this_run` | | | {describe(seen)} | | |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["collect", "slot", "table"])
    parser.add_argument("files", nargs="*", help="of table")
    parser.add_argument("--program", default=None)
    parser.add_argument("--python", default=None, help="of engines in Python")
    parser.add_argument("--cells", nargs="+", default=["native:infer", "native:train", "pytorch:infer", "pytorch:train"], metavar="ENGINE:MODE")
    parser.add_argument("--model", default="superintelligence-tiny")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seq", type=int, default=64)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--max-time", default="5s")
    parser.add_argument("--slots", type=int, default=24)
    parser.add_argument("--every", type=float, default=300, metavar="SECONDS", help="from one slot's begin to the next one's")
    parser.add_argument("--out", default="_repeats.jsonl")
    parser.add_argument("--data", default="_repeats_data", help="XDG_DATA_HOME of every run")
    parser.add_argument("--seed", type=int, default=1, help="of which slots are busy")
    parser.add_argument("--slot", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--wrap", nargs=argparse.REMAINDER, default=[], metavar="CMD", help="put before each slot's command; must be the last option")
    options = parser.parse_args()
    if options.what == "table":
        return print_table(options.files or [options.out])
    options.program = str(Path(options.program or find_program()).absolute())
    options.out = str(Path(options.out).absolute())
    options.data = str(Path(options.data).absolute())
    return run_slot(options) if options.what == "slot" else collect(options)


if __name__ == "__main__":
    sys.exit(main())
