#!/usr/bin/env python3
"""Does setting blocks aside keep a result what it is on a quiet machine?

    bench/interference.py limits  [--binary B] [--engine E]     shares of blocks against their times
    bench/interference.py bursts  [--binary B] [--runs N]       quiet runs and runs beside a load, in turn

The load keeps one CPU busy in bursts of 0.1 to 5 s, half of the time. Both print Markdown. Run them where nothing
else runs.
"""
import argparse
import contextlib
import json
import multiprocessing
import os
import random
import statistics
import subprocess
import tempfile
import time

CELL = "--mode infer --device cpu --history off --pace off --progress never".split()


def burn(seed, cpu):
    """Bursts of 0.1 to 5 s on one CPU, and rests as long."""
    os.sched_setaffinity(0, {cpu})
    draw = random.Random(seed)
    while True:
        end = time.monotonic() + draw.uniform(0.1, 5)
        while time.monotonic() < end:
            pass
        time.sleep(draw.uniform(0.1, 5))


@contextlib.contextmanager
def bursts(seed):
    process = multiprocessing.Process(target=burn, args=(seed, max(os.sched_getaffinity(0))), daemon=True)
    process.start()
    try:
        yield
    finally:
        process.kill()
        process.join()


def measure(options, *more):
    """The record of one run, and its raw measured blocks."""
    with tempfile.TemporaryDirectory() as folder:
        command = [options.binary, "run", "--engine", options.engine, "--model", options.model, "--seq", str(options.seq),
                   "--batch", str(options.batch), *CELL, *(["--set", *options.set] if options.set else []), *more, "--out", folder]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        path = os.path.join(folder, "bench_results.jsonl")
        if not os.path.exists(path):
            raise SystemExit(done.stderr)
        with open(path, encoding="utf-8") as file:
            record = json.loads(file.read())
        (samples,) = os.scandir(os.path.join(folder, "samples"))
        with open(samples.path, encoding="utf-8") as file:
            blocks = [json.loads(line) for line in file]
    return record, [block for block in blocks if block["phase"] == "steady"]


def share(block, name):
    cpus = block["cpus"]
    whole = cpus["wall_ns"] * (1 if name == "wait_ns" else cpus["count"])
    return 100 * cpus[name] / whole


def table(title, blocks, name, edges):
    quiet = statistics.median(statistics.median(block["ns"]) for block in blocks
                              if share(block, "wait_ns") < 0.5 and share(block, "steal_ns") == 0)
    print(f"\n| {title} | blocks | median of the blocks' medians | of their means |\n| --- | --- | --- | --- |")
    for low, high in zip(edges, edges[1:]):
        inside = [block for block in blocks if low <= share(block, name) < high]
        if inside:
            medians = statistics.median(statistics.median(block["ns"]) for block in inside)
            means = statistics.median(block["window_ns"] / block["steps"] for block in inside)
            print(f"| {low:g} to {high:g} % | {len(inside)} | {100 * (medians / quiet - 1):+.1f} % | {100 * (means / quiet - 1):+.1f} % |")


def limits(options):
    blocks = []
    for run in range(options.runs):
        for is_loaded in (False, True):
            with bursts(run) if is_loaded else contextlib.nullcontext():
                blocks += measure(options, "--foreign-load", "off", "--steps", str(options.steps))[1]
    print("Times are beside those of blocks with under 0.5 % waiting and no steal.")
    table("`cpu_wait`", blocks, "wait_ns", [0, 0.5, 1, 2, 3, 5, 10, 20, 50, 101])
    table("`foreign_cpu`", blocks, "foreign_ns", [0, 1, 2, 5, 10, 20, 50, 101])
    table("`cpu_steal`", blocks, "steal_ns", [0, 0.01, 1, 2, 4, 10, 101])


def beside(options):
    """Quiet and loaded runs in turn: each loaded one against the mean of its quiet neighbours."""
    print("| run | quiet before, ms | loaded, ms | quiet after, ms | off by | verdict | clean | blocks | paused, s |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    good, before = 0, measure(options)[0]["ms_p50"]
    for run in range(options.runs):
        with bursts(options.seed + run):
            record = measure(options)[0]
        after = measure(options)[0]["ms_p50"]
        off = 100 * (record["ms_p50"] / ((before + after) / 2) - 1)
        good += record["verdict"] == "ok" and abs(off) <= 3
        print(f"| {run + 1} | {before:.3f} | {record['ms_p50']:.3f} | {after:.3f} | {off:+.1f} % | {record['verdict']} | "
              f"{record['clean_percent']:.0f} % | {record['blocks']} | {record['paused_ms'] / 1e3:.1f} |", flush=True)
        before = after
    print(f"\n`ok` and within 3 %: {good} of {options.runs}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("limits", "bursts"))
    parser.add_argument("--binary", default="build/tokmark")
    parser.add_argument("--engine", default="native")
    parser.add_argument("--model", default="superintelligence-tiny")
    parser.add_argument("--set", nargs="+", metavar="KEY=VALUE", help="of the model: one that fits into a cache is held up less by neighbours of the machine")
    parser.add_argument("--seq", type=int, default=32)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    (limits if options.what == "limits" else beside)(options)


if __name__ == "__main__":
    main()
