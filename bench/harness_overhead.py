#!/usr/bin/env python3
"""What the harness itself costs: the null engine's results, whose steps do nothing.

usage: bench/harness_overhead.py [--binary build/tokmark] [--repeats 7]

Prints, with the least, the median and the greatest over the repeats:
  - ns per step that waiting for every step adds (sync step: one clock reading and one call a step);
  - ns per step with only the block's end waited for (sync block);
  - ms to start a worker (program to hello) and to close one (close to collected), seen from outside
    by speaking the protocol to it;
  - ms of a whole cell beside its own work (harness_ms of the records);
  - for each engine of --engines, on the tiny model with blocks of the usual length: what protocol and
    scheduling take beside the measured windows, in % of them (harness_percent), per block, and apart
    from it tokmark's own processor time within the windows (harness_cpu_percent) and what the worker says
    it needs for batches and for reading losses.
"""
import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
STEPS = 200000


def cell(binary, sync):
    """One record of the null engine."""
    with tempfile.TemporaryDirectory() as out:
        subprocess.run(
            [binary, "run", "--engine", "null", "--mode", "infer", "--seq", "128", "--batch", "1",
             "--warmup", "1000", "--steps", str(STEPS), "--sync", sync, "--drift", "off", "--foreign-load", "off", "--pace", "off",
             "--out", out],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with open(os.path.join(out, "bench_results.jsonl"), encoding="utf-8") as file:
            return json.loads(file.readlines()[-1])


def start_and_close(binary):
    """(ms from starting a worker to its hello, ms from close to its being collected)"""
    started = time.perf_counter()
    with subprocess.Popen([binary, "worker", "null"], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as worker:
        worker.stdin.write(b'{"type":"hello","versions":[1]}\n')
        worker.stdin.flush()
        assert json.loads(worker.stdout.readline())["type"] == "hello"
        greeted = time.perf_counter()
        worker.stdin.write(b'{"type":"close"}\n')
        worker.stdin.flush()
        assert json.loads(worker.stdout.readline())["type"] == "bye"
        worker.wait()
        closed = time.perf_counter()
    return (greeted - started) * 1e3, (closed - greeted) * 1e3


def engine_cells(binary, engine, time_max):
    """Records of an engine on the tiny model, with the number of measured blocks of each."""
    with tempfile.TemporaryDirectory() as out:
        subprocess.run(
            [binary, "run", "--engine", engine, "--model", "superintelligence-tiny", "--device", "cpu",
             "--mode", "infer", "train", "--seq", "128", "--batch", "4", "--max-time", time_max,
             "--target-ci", "0.01", "--foreign-load", "off", "--drift", "off", "--pace", "off", "--out", out],
            check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with open(os.path.join(out, "bench_results.jsonl"), encoding="utf-8") as file:
            records = [json.loads(line) for line in file]
        for record in records:
            path = os.path.join(out, "samples", f"{record['cell_id']}.{record['trial']}.jsonl")
            with open(path, encoding="utf-8") as file:
                blocks = sum(json.loads(line)["phase"] == "steady" for line in file)
            yield record, blocks


def show_engine(binary, engine, time_max):
    for record, blocks in engine_cells(binary, engine, time_max):
        name = f"{engine} {record['mode']}"
        if record["harness_percent"] is None:
            print(f"{name:16} {record['verdict']}: {record['notes']}")
            continue
        window = record["ms_per_step"] * record["steps"]
        percents = [record["harness_cpu_percent"]]
        percents += [record[key] and record[key] / window * 100 for key in ("prepare_ms", "observe_ms")]
        apart = (f"{'-':>9}" if percent is None else f"{percent:9.3f}" for percent in percents)
        print(f"{name:16} {window / blocks:9.1f} {record['harness_outside_ms'] / blocks:9.3f} "
              f"{record['harness_inside_ms'] / blocks:9.3f} {record['harness_percent']:9.3f}",
              *apart)


def show(name, values, unit, target):
    print(f"{name:38} {min(values):10.3f} {statistics.median(values):10.3f} {max(values):10.3f} "
          f"{unit:4} {target}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--binary", default=os.path.join(ROOT, "build", "tokmark"))
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--engines", nargs="*", default=["null", "native"])
    parser.add_argument("--max-time", default="10s", help="of measuring, a cell of --engines")
    arguments = parser.parse_args()
    synced = [cell(arguments.binary, "step") for _ in range(arguments.repeats)]
    free = [cell(arguments.binary, "block") for _ in range(arguments.repeats)]
    lives = [start_and_close(arguments.binary) for _ in range(arguments.repeats)]
    print(f"{'':38} {'min':>10} {'median':>10} {'max':>10}      target")
    show("sync step: median of the steps", [r["ms_p50"] * 1e6 for r in synced], "ns", "<= 100")
    show("sync step: mean of the steps", [r["ms_per_step"] * 1e6 for r in synced], "ns", "<= 100")
    show("sync block: mean of the steps", [r["ms_per_step"] * 1e6 for r in free], "ns", "about 0")
    show("worker: start to hello", [start for start, _ in lives], "ms", "")
    show("worker: close to collected", [close for _, close in lives], "ms", "")
    show("worker: both", [start + close for start, close in lives], "ms", "< 10")
    show("cell: start_ms in its record", [r["start_ms"] for r in synced], "ms", "")
    show("cell: harness_ms in its record", [r["harness_ms"] for r in synced], "ms", "")
    print(f"\n{'per block':16} {'window ms':>9} {'outside':>9} {'inside':>9} {'% <= 0.1':>9} "
          f"{'own CPU %':>9} {'batches %':>9} {'losses %':>9}")
    for engine in arguments.engines:
        show_engine(arguments.binary, engine, arguments.max_time)


if __name__ == "__main__":
    main()
