#!/usr/bin/env python3
"""Do repeats of the same cell agree within the intervals they print?

    python3 bench/repeats.py                          ten repeats over an hour of one native and one pytorch cell
    python3 bench/repeats.py --repeats 4 --minutes 2 --engines native
    python3 bench/repeats.py --table FILE.jsonl       of what is there; measures nothing

A repeat is a `tokmark run` of each engine, by precision, as anybody would call it; repeats begin at equal distances. The pooled
median is that of all samples of all repeats. A row counts the repeats whose 95 % interval contains it, and those
whose record said that it is not to be trusted (`unsteady`, `invalid`), with the reasons. Every repeat is a line of --out.
What earlier runs on this machine say (`--history`) counts as for anybody; XDG_DATA_HOME=$(mktemp -d) begins without any.
--lock FILE: a lock held while measuring, for other measurements that use the pauses.
"""
import argparse
import collections
import fcntl
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from engines_table import find_program


def measure(options, engine):
    """(record, its measured samples in ms)"""
    with tempfile.TemporaryDirectory() as out:
        words = [options.program, "run", "--engine", engine, "--model", options.model, "--mode", options.mode, "--precision", options.precision,
                 "--seq", str(options.seq), "--batch", str(options.batch), "--max-time", options.max_time, "--quiet", "--out", out]
        code = subprocess.run(words, stdout=subprocess.DEVNULL, check=False).returncode
        if code not in (0, 3, 4):
            sys.exit(f"repeats: {' '.join(words)} ended with code {code}")
        record = json.loads(Path(out, "bench_results.jsonl").read_text().splitlines()[-1])
        samples = []
        for path in Path(out, "samples").glob("*.jsonl"):
            for line in path.read_text().splitlines():
                block = json.loads(line)
                samples += [ns / 1e6 for ns in block["ns"]] if block["phase"] == "steady" else []
    return record, samples


def repeat(options, index):
    lines = []
    with open(options.lock, "a", encoding="ascii") if options.lock else tempfile.TemporaryFile() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for engine in options.engines:
            record, samples = measure(options, engine)
            kept = ("framework mode seq_len batch_size precision model verdict reasons ms_p50 ms_p50_low ms_p50_high samples samples_effective "
                    "started_at foreign_cpu_percent drift_percent harness_percent history_runs history_spread_percent harness environment_id").split()
            lines.append({"repeat": index, **{key: record[key] for key in kept}, "values_ms": samples})
    with open(options.out, "a", encoding="ascii") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)
    for line in lines:
        print(f"repeat {index + 1}: {line['framework']} {line['verdict']} {line['ms_p50']} [{line['ms_p50_low']}, {line['ms_p50_high']}]",
              file=sys.stderr, flush=True)


def print_table(path):
    rows = collections.defaultdict(list)
    for text in Path(path).read_text().splitlines():
        line = json.loads(text)
        rows[line["framework"], line["model"], line["mode"], line["batch_size"], line["seq_len"], line["precision"]].append(line)
    print("| cell | repeats | pooled median ms | repeats' medians | interval contains it | else said so | neither | verdicts | reasons |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for key, lines in rows.items():
        pooled = statistics.median(value for line in lines for value in line["values_ms"])
        known = [line for line in lines if line["ms_p50_low"] is not None]
        good = [line for line in known if line["ms_p50_low"] <= pooled <= line["ms_p50_high"]]
        other = [line for line in lines if line not in good]
        said = [line for line in other if line["verdict"] != "ok"]
        medians = [line["ms_p50"] for line in lines if line["ms_p50"] is not None]
        verdicts = collections.Counter(line["verdict"] for line in lines)
        codes = collections.Counter(reason["code"] for line in lines for reason in line["reasons"])
        engine, model, mode, batch, seq, precision = key
        print(f"| {engine} {model} {mode} {precision} {batch} x {seq} | {len(lines)} | {pooled:.4g} | {min(medians):.4g} to {max(medians):.4g} | "
              f"{len(good)} | {len(said)} | {len(other) - len(said)} | {', '.join(f'{n} {name}' for name, n in verdicts.items())} | "
              f"{', '.join(f'{n} {name}' for name, n in codes.items()) or '-'} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", default=None)
    parser.add_argument("--engines", nargs="+", default=["native", "pytorch"])
    parser.add_argument("--model", default="superintelligence-tiny")
    parser.add_argument("--mode", default="infer")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--seq", type=int, default=128)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--max-time", default="30s")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--minutes", type=float, default=60, help="from the first repeat's begin to the last one's")
    parser.add_argument("--out", default="_repeats.jsonl")
    parser.add_argument("--lock")
    parser.add_argument("--table", metavar="FILE")
    options = parser.parse_args()
    if options.table:
        return print_table(options.table)
    options.program = options.program or find_program()
    begin = time.monotonic()
    for index in range(options.repeats):
        due = begin + index * options.minutes * 60 / max(1, options.repeats - 1)
        time.sleep(max(0.0, due - time.monotonic()))
        repeat(options, index)
    return print_table(options.out)


if __name__ == "__main__":
    sys.exit(main())
