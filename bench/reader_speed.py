#!/usr/bin/env python3
"""How fast results are read, beside jq, Python's json and DuckDB: MB/s and peak memory over the same file.

    bench/reader_speed.py [--records 1000000] [--rounds 3] [--folder DIR] [--duckdb PYTHON] [--slow-part 10]
    bench/reader_speed.py --make FILE; bench/reader_speed.py --file FILE     the same in two steps: a busy hour, a quiet minute

Makes a file of that many records (bench/reader_data.py) from records that the program writes now: the native engine's
three modes and the sandbox's. Each reader takes five fields of every record; `tokmark, all` takes every field. Nothing is
printed but by jq, into /dev/null. Readers alternate for --rounds rounds, and the median counts; the file was just written,
so it is in the page cache where that is large enough. Wall time depends on what else the machine does, so processor time
stands beside it. jq and Python's json read only the first of --slow-part parts. DuckDB runs on one thread, from an
interpreter that has it (--duckdb).
"""
import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import reader_data  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FIELDS = ["framework", "mode", "verdict", "ms_p50", "tokens_per_sec"]
PYTHON = """
import json, sys
count = 0
with open(sys.argv[1], encoding="utf-8") as lines:
    for line in lines:
        record = json.loads(line)
        picked = [record[name] for name in sys.argv[2].split(",")]
        count += picked[1] == "none"
"""
DUCKDB = """
import sys, duckdb
db = duckdb.connect(config={"threads": 1})
names = sys.argv[2].split(",")
types = ", ".join(f"{name}: '{'DOUBLE' if name.startswith(('ms', 'tokens')) else 'VARCHAR'}'" for name in names)
picked = ", ".join(f"count({name})" for name in names)
db.execute(f"select {picked} from read_json('{sys.argv[1]}', format='newline_delimited', columns={{{types}}})").fetchall()
"""


def make_file(binary, folder, count):
    """The file of records, and its first part for slow readers."""
    source = os.path.join(folder, "source.jsonl")
    runs = [["--model", "superintelligence-tiny", "--mode", "train", "infer", "decode", "--seq", "32", "--batch", "1",
             "--max-time", "1"],
            ["--sandbox", "--mode", "train", "--seq", "128", "--batch", "1", "2"]]
    with open(source, "wb") as out:
        for number, run in enumerate(runs):
            results = os.path.join(folder, f"run{number}")
            subprocess.run([binary, "run", *run, "--history", "off", "--out", results], stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL, check=False)
            with open(os.path.join(results, "bench_results.jsonl"), "rb") as lines:
                out.write(lines.read())
    path = os.path.join(folder, "records.jsonl")
    reader_data.write(source, path, count)
    return path


def make_part(path, part, records):
    with open(path, "rb") as lines, open(part, "wb") as out:
        for _ in range(records):
            out.write(lines.readline())
    return part


def peak_mib(pid):
    try:
        with open(f"/proc/{pid}/status", encoding="ascii") as lines:
            return max((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), default=0)
    except (FileNotFoundError, ProcessLookupError):
        return 0


def measure(argv):
    """Wall seconds, processor seconds, peak MiB."""
    started = time.perf_counter()
    peak = 0
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    while True:
        # Until exec the child has its parent's memory.
        if time.perf_counter() - started > 0.05:
            peak = max(peak, peak_mib(process.pid))
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid != 0:
            break
        time.sleep(0.005)
    wall = time.perf_counter() - started
    if status != 0:
        sys.exit(f"{argv[0]} failed: {process.stderr.read().decode()[-500:]}")
    process.stderr.close()
    return wall, usage.ru_utime + usage.ru_stime, peak


def readers(options, path, part):
    """(name, file, command)"""
    names = ",".join(FIELDS)
    listed = [("tokmark, five fields", path, [options.binary, "cat", path, "--fields", names, "--where", "mode=none"]),
              ("tokmark, all fields", path, [options.binary, "cat", path, "--where", "mode=none"]),
              ("jq 1.6", part, ["jq", "-r", "[" + ",".join("." + name for name in FIELDS) + "]|@tsv", part]),
              ("Python's json", part, [sys.executable, "-c", PYTHON, part, names])]
    if options.duckdb:
        listed.append(("DuckDB", path, [options.duckdb, "-c", DUCKDB, path, names]))
    return listed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=os.path.join(ROOT, "build", "tokmark"))
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--slow-part", type=int, default=10)
    parser.add_argument("--folder", default=None, help="where the file is made, for as long as this runs; /tmp by default")
    parser.add_argument("--duckdb", default=None, help="a Python that has duckdb")
    parser.add_argument("--make", default=None, metavar="FILE", help="only make the file, to be kept there")
    parser.add_argument("--file", default=None, help="a file that --make has made, instead of a new one")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = options.file or make_file(options.binary, folder, options.records)
        if options.make:
            shutil.move(path, options.make)
            return
        part = make_part(path, os.path.join(folder, "part.jsonl"), options.records // options.slow_part)
        print(f"{options.records} records, {os.path.getsize(path) / 1e9:.2f} GB; {os.cpu_count()} processors, load "
              f"{os.getloadavg()[0]:.1f}", flush=True)
        found = {}
        for _ in range(options.rounds):
            for name, file, argv in readers(options, path, part):
                wall, busy, peak = measure(argv)
                megabytes = os.path.getsize(file) / 1e6
                found.setdefault(name, []).append((megabytes / wall, megabytes / busy, peak))
        print(f"{'reader':22} {'MB/s':>8} {'MB/s of CPU time':>17} {'peak MiB':>9}")
        for name, rows in found.items():
            wall, busy, peak = (statistics.median(row[i] for row in rows) for i in range(3))
            print(f"{name:22} {wall:8.0f} {busy:17.0f} {peak:9.1f}")


if __name__ == "__main__":
    main()
