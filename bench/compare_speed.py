#!/usr/bin/env python3
"""Speed and memory of `tokmark compare`, beside jq, DuckDB and Python doing a part of the same.

Usage: bench/compare_speed.py [--binary build/tokmark] [--records 1000000] [--long 1000000] [--folder DIR] [--duckdb PYTHON] [--slow-part 20]

The base and the new results are two files with the same cells, every one different: --records short records (the fields that are compared),
and --long whole ones as tokmark writes them (7 KB each), which are one file compared with itself. "A part of the same": the peers join both sides by
cell_id and give the ratio of ms_p50, whether it is over 2 %, and whether the intervals overlap, and count; they judge no other metric, no runs, no
environments. jq and Python's json take only the first of --slow-part parts. Rates are of the bytes of both sides, memory is the process's highest RSS.
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import reader_speed  # noqa: E402

FIELDS = ("framework device precision mode seq_len batch_size steps tokens_per_step ms_per_step tokens_per_sec mem_alloc_mb mem_reserved_mb peak_mem_mb "
          "params_millions notes schema run_id cell_id policy_id trial started_at verdict synthetic samples ms_p50 ms_p50_low ms_p50_high model "
          "mem_predicted_mb environment_id").split()
PYTHON = """
import json, math, sys
def rows(path):
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            yield row["cell_id"], (row["ms_p50"], row["ms_p50_low"], row["ms_p50_high"])
base = dict(rows(sys.argv[1]))
counts = {}
for cell, new in rows(sys.argv[2]):
    old = base.get(cell)
    if old is None:
        verdict = "new"
    elif None in old or None in new:
        verdict = "undecided"
    else:
        verdict = "same" if old[1] <= new[2] and new[1] <= old[2] else "worse" if new[0] > old[0] * 1.02 else "other"
    counts[verdict] = counts.get(verdict, 0) + 1
print(counts)
"""
JQ = """jq -nc 'reduce (inputs | {(.cell_id): [.ms_p50, .ms_p50_low, .ms_p50_high]}) as $row ({}; . + $row)' "$1" > "$1.base" &&
jq -c --slurpfile base "$1.base" '$base[0][.cell_id] as $old | [.cell_id, .ms_p50 / ($old[0] // 1), (.ms_p50 > ($old[0] // 0) * 1.02), (.ms_p50_low // 0) <= ($old[2] // 0)]' "$2" | wc -l"""
DUCKDB = """
import sys, duckdb
db = duckdb.connect(config={"threads": 1})
columns = "{cell_id: 'VARCHAR', ms_p50: 'DOUBLE', ms_p50_low: 'DOUBLE', ms_p50_high: 'DOUBLE'}"
read = lambda path: "read_json('" + path + "', format='newline_delimited', columns=" + columns + ")"
print(db.execute("select count(*), avg(n.ms_p50 / b.ms_p50), sum((n.ms_p50 > b.ms_p50 * 1.02)::INT), sum((n.ms_p50_low <= b.ms_p50_high)::INT) from "
                 + read(sys.argv[1]) + " b join " + read(sys.argv[2]) + " n using (cell_id)").fetchall())
"""


def make_short(sample, path, count, factor):
    record = {name: sample[name] for name in FIELDS}
    with open(path, "w", encoding="utf-8") as out:
        for number in range(count):
            median = (1 + number % 97) * factor
            record.update(cell_id=f"h{number * 11400714819323198485 % 2**64:016x}", seq_len=number % 4096 + 1, batch_size=number // 4096 + 1, ms_p50=median,
                          ms_p50_low=median * 0.997, ms_p50_high=median * 1.003, synthetic=False, framework="native", verdict="ok", samples=200)
            out.write(json.dumps(record, separators=(",", ":")) + "\n")


def first_part(path, count):
    part = path + ".part"
    with open(path, "rb") as lines, open(part, "wb") as out:
        for _ in range(count):
            out.write(lines.readline())
    return part


def contenders(options, base, now, count):
    slow = max(1, count // options.slow_part)
    parts = [first_part(path, slow) for path in (base, now)] if count > slow else [base, now]
    yield "tokmark", [base, now], [options.binary, "compare", base, now, "--format", "json:/dev/null"]
    yield "tokmark, text", [base, now], [options.binary, "compare", base, now, "--format", "text:/dev/null"]
    if options.duckdb:
        yield "DuckDB, one thread", [base, now], [options.duckdb, "-c", DUCKDB, base, now]
    yield "Python's json", parts, [sys.executable, "-c", PYTHON, *parts]
    if shutil.which("jq"):
        # jq's object grows by copying: a twentieth of the part again.
        tiny = [first_part(part, max(1, slow // 20)) for part in parts]
        yield "jq", tiny, ["sh", "-c", JQ, "sh", *tiny]


def compare(options, label, base, now, count):
    size = sum(os.path.getsize(path) for path in (base, now)) / 1e6
    print(f"\n{label}: {count} records a side, {size:.0f} MB; load {os.getloadavg()[0]:.1f}", flush=True)
    print(f"{'':20} {'MB/s':>8} {'MB/s of CPU time':>17} {'peak MiB':>9} {'MB':>8}")
    for name, paths, argv in contenders(options, base, now, count):
        wall, busy, peak = reader_speed.measure(argv)
        megabytes = sum(os.path.getsize(path) for path in paths) / 1e6
        print(f"{name:20} {megabytes / wall:8.0f} {megabytes / busy:17.0f} {peak:9.1f} {megabytes:8.0f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=os.path.join(reader_speed.ROOT, "build", "tokmark"))
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--long", type=int, default=1_000_000)
    parser.add_argument("--slow-part", type=int, default=20)
    parser.add_argument("--folder", default=None)
    parser.add_argument("--duckdb", default=None, help="a Python that has duckdb")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        subprocess.run([options.binary, "run", "--sandbox", "--mode", "train", "--seq", "128", "--batch", "1", "--steps", "30", "--out", "out"],
                       cwd=folder, capture_output=True, check=False)
        with open(os.path.join(folder, "out", "bench_results.jsonl"), encoding="utf-8") as lines:
            sample = json.loads(lines.readline())
        base, now = (os.path.join(folder, name) for name in ("base.jsonl", "new.jsonl"))
        make_short(sample, base, options.records, 1)
        make_short(sample, now, options.records, 1.01)
        compare(options, "short records", base, now, options.records)
        os.unlink(base)
        os.unlink(now)
        if options.long > 0:
            path = reader_speed.make_file(options.binary, folder, options.long)
            compare(options, "whole records, a file with itself", path, path, options.long)


if __name__ == "__main__":
    main()
