#!/usr/bin/env python3
"""Does `tokmark ab` say what is true on this machine, while other cores are loaded on and off?

usage: bench/ab_study.py aa|effect|large|truth|table [--runs 40] [--out _ab_study.jsonl] [--max-time 60s] [--seed 1]
                         [--binary build/tokmark] [--threads 1] [--no-load] [--ignore-noise] [--lock FILE]
                         [--starts 20] [--for 60]

  aa      N comparisons of a cell with itself: FASTER and SLOWER are false.
  effect  N comparisons where B's model has 103 layers for A's 100 and all else is alike: SLOWER is true.
  large   the same with 120 layers.
  truth   what those layers are in time (a little under 3 %: not all of a step is layers): one long comparison without load.
  table   only the table of what the file holds.

Load: a busy loop a core less one, stopped and let go on at random (seeded, every 0.5 to 4 s); ended by its id, and
by itself when this script is gone. Every run is a line of the file as soon as it is over; a call goes on where the
file ends. --for: no run is begun after so many seconds, to do a study in pieces. Prints a Markdown table. --ignore-noise: as if `tokmark noise` had stored nothing. --lock FILE: held during each run,
for other measurements in the pauses (bench/repeats.py).
"""
import argparse
import fcntl
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# Steps of some ms, so that a block's median is over several; layers so small that all of them are in the cache.
CELL = ["--engine", "native", "--model", "gpt2-124m", "--set", "dim=32", "--set", "heads_count=2", "--set",
        "ffn_hidden=64", "--set", "vocab_size=256", "--mode", "infer", "--seq", "8", "--batch", "4"]
LAYERS = {"aa": 100, "effect": 103, "large": 120, "truth": 103}
PARTS = tuple(LAYERS)
TRUTH_ROUNDS = 100
LET_OTHERS_S = 0.5  # who waits for the lock would else find it taken again
# Also gone with this script when that is killed while the loop is stopped.
BUSY = ("import ctypes, os\nparent = os.getppid()\nctypes.CDLL(None).prctl(1, 9, 0, 0, 0)\n"
        "while os.getppid() == parent:\n    sum(range(10000))\n")


class Load:
    """Busy loops on all cores but one, on and off until end()."""

    def __init__(self, seed, is_wanted):
        self.random = random.Random(seed)
        count = max(1, (os.cpu_count() or 2) - 1) if is_wanted else 0
        self.children = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(count)]
        self.is_over = threading.Event()
        self.on_s = 0.0
        self.thread = threading.Thread(target=self.switch)
        self.thread.start()

    def switch(self):
        is_on = self.random.random() < 0.5
        while not self.is_over.is_set():
            for child in self.children:
                child.send_signal(signal.SIGCONT if is_on else signal.SIGSTOP)
            begin = time.monotonic()
            self.is_over.wait(self.random.uniform(0.5, 4))
            self.on_s += (time.monotonic() - begin) * (is_on and bool(self.children))
            is_on = not is_on

    def end(self):
        self.is_over.set()
        self.thread.join()
        for child in self.children:
            child.kill()
            child.wait()


def compare(options, part, index):
    """One run as a line of the study."""
    a, b = "--set layers_count=100", f"--set layers_count={LAYERS[part]}"
    length = ["--rounds", str(TRUTH_ROUNDS), "--starts", "5"] if part == "truth" else ["--max-time", options.max_time, "--starts", str(options.starts)]
    env = dict(os.environ)
    with tempfile.TemporaryDirectory() as out:
        if options.ignore_noise:
            env["XDG_DATA_HOME"] = out
        is_loaded = part != "truth" and not options.no_load
        load = Load(f"{options.seed} {part} {index}", is_loaded)
        begin = time.monotonic()
        try:
            done = subprocess.run([options.binary, "ab", "--foreign-load", "off", *CELL, "--threads", str(options.threads), "--a", a, "--b", b,
                                   *length, "--out", out, "--quiet"], env=env, check=False, text=True,
                                  capture_output=True)
        finally:
            load.end()
        wall_s = time.monotonic() - begin
        if done.returncode not in (0, 3):
            sys.exit(f"tokmark ab: exit {done.returncode}\n{done.stdout}{done.stderr}")
        with open(os.path.join(out, "ab_results.jsonl"), encoding="utf-8") as file:
            line = json.loads(file.readlines()[-1])
    kept = ("outcome ratio_percent ratio_percent_low ratio_percent_high starts starts_planned start_spread_percent looks prepare_ms rounds effective_rounds steps_per_block "
            "threshold_percent noise_floor_percent measured_ms environment_id").split()
    return {"part": part, "index": index, "seed": options.seed, "loaded": is_loaded, "wall_s": round(wall_s, 2),
            "load_on_share": round(load.on_s / wall_s, 3), "a_ms": line["a"]["ms_p50"], "b_ms": line["b"]["ms_p50"],
            "codes": [reason["code"] for reason in line["reasons"]], **{key: line[key] for key in kept}}


def read(path):
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.endswith("\n")]


def print_table(lines):
    print("| part | runs | FASTER | SLOWER | SAME | UNDECIDED | B/A %, median [least, greatest] | half-width %, median | "
          "starts, median [most] | spread between starts %, median | rounds, median | s a run, median [most] | load on |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for part in PARTS:
        rows = [line for line in lines if line["part"] == part]
        if not rows:
            continue
        said = {name: sum(row["outcome"] == name for row in rows) for name in
                ("faster", "slower", "same", "undecided")}
        ratios = [row["ratio_percent"] for row in rows if row["ratio_percent"] is not None] or [float("nan")]
        widths = [(row["ratio_percent_high"] - row["ratio_percent_low"]) / 2 for row in rows
                  if row["ratio_percent_low"] is not None] or [float("nan")]
        spreads = [row["start_spread_percent"] for row in rows if row["start_spread_percent"] is not None] or [float("nan")]
        print(f"| {part} | {len(rows)} | {said['faster']} | {said['slower']} | {said['same']} | {said['undecided']} | "
              f"{statistics.median(ratios):+.2f} [{min(ratios):+.2f}, {max(ratios):+.2f}] | "
              f"{statistics.median(widths):.2f} | {statistics.median(row['starts'] for row in rows):g} [{max(row['starts'] for row in rows)}] | "
              f"{statistics.median(spreads):.2f} | {statistics.median(row['rounds'] for row in rows):g} | "
              f"{statistics.median(row['wall_s'] for row in rows):.1f} [{max(row['wall_s'] for row in rows):.1f}] | "
              f"{statistics.mean(row['load_on_share'] for row in rows):.0%} |")


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("part", choices=[*PARTS, "table"])
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--out", default="_ab_study.jsonl")
    parser.add_argument("--max-time", default="60s")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--binary", default=os.path.join(ROOT, "build", "tokmark"))
    parser.add_argument("--no-load", action="store_true")
    parser.add_argument("--ignore-noise", action="store_true")
    parser.add_argument("--lock")
    parser.add_argument("--starts", type=int, default=20)
    parser.add_argument("--for", type=float, default=float("inf"), dest="seconds")
    options = parser.parse_args()
    runs = 0 if options.part == "table" else 1 if options.part == "truth" else options.runs
    there = {(line["part"], line["index"]) for line in read(options.out)}
    end = time.monotonic() + options.seconds
    for index in range(runs):
        if (options.part, index) in there:
            continue
        if time.monotonic() >= end:
            break
        with open(options.lock, "a", encoding="ascii") if options.lock else tempfile.TemporaryFile() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            line = compare(options, options.part, index)
        time.sleep(LET_OTHERS_S if options.lock else 0)
        with open(options.out, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        print(f"{options.part} {index + 1}/{runs}: {line['outcome']} {line['ratio_percent']:+.2f} % "
              f"[{line['ratio_percent_low']}, {line['ratio_percent_high']}], {line['rounds']} rounds", file=sys.stderr)
    print_table(read(options.out))


if __name__ == "__main__":
    main()
