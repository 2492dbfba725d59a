#!/usr/bin/env python3
"""Speed and memory of `tokmark registry merge`, beside jq, DuckDB and Python doing the same.

Usage: bench/registry_merge.py TOKMARK [RECORDS] [FOLDER] [tokmark]

With the last word only tokmark is run.

"The same": lines of the new file whose run_id, cell_id, policy_id, trial and started_at are not in the registry are
appended to it, through a temporary file that is renamed. Two cases: an empty registry, and one that has all of them.
Peers that are not installed are left out. Rates are of the new file's bytes, memory is the process's highest RSS.
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile

KEYS = ("run_id", "cell_id", "policy_id", "trial", "started_at")
PYTHON = """
import json, os, sys
into, new = sys.argv[1:]
key = lambda row: tuple(row.get(name) for name in %r)
with open(into) as file:
    seen = {key(json.loads(line)) for line in file}
with open(into) as old, open(into + ".new", "w") as out, open(new) as file:
    out.writelines(old)
    for line in file:
        if (one := key(json.loads(line))) not in seen:
            seen.add(one)
            out.write(line)
    out.flush()
    os.fsync(out.fileno())
os.rename(into + ".new", into)
""" % (KEYS,)
JQ = """jq -nc 'reduce inputs as $row ({}; ([$row | .%s] | tojson) as $key | if has($key) then . else .[$key] = $row end) | .[]' "$1" "$2" \
  > "$1.new" && mv "$1.new" "$1" """ % ", .".join(KEYS)
DUCKDB = """
import duckdb, os, sys
into, new = sys.argv[1:]
key = "md5(concat_ws('|', " + ", ".join("json_extract_string(line, '$." + name + "')" for name in KEYS) + "))"
read = "read_csv(?, columns={'line': 'VARCHAR'}, delim='\\x01', quote='', escape='', header=false, max_line_size=4000000)"
db = duckdb.connect()
db.execute("CREATE TABLE had AS SELECT line, " + key + " AS key FROM " + read, [into])
db.execute("CREATE TABLE new AS SELECT line, " + key + " AS key FROM " + read, [new])
db.execute("COPY (SELECT line FROM had UNION ALL SELECT any_value(line) FROM new WHERE key NOT IN (SELECT key FROM had) GROUP BY key) TO '"
           + into + ".new' (FORMAT csv, HEADER false, DELIM '\\x01', QUOTE '', ESCAPE '')")
os.rename(into + ".new", into)
""".replace("KEYS", repr(KEYS))


def make(path, count, sample):
    base = {**json.loads(sample), "framework": "native", "synthetic": False}
    with open(path, "w", encoding="utf-8") as out:
        for number in range(count):
            base["trial"] = number
            out.write(json.dumps(base, separators=(",", ":")) + "\n")


WRAPPER = """
import resource, subprocess, sys, time
start = time.monotonic()
code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
print(time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)
"""


def timed(words, folder):
    """Seconds and MiB, or None and what it said."""
    run = subprocess.run([sys.executable, "-c", WRAPPER, *words], capture_output=True, text=True, cwd=folder, check=False)
    if run.returncode != 0:
        return None, run.stderr.strip().splitlines()[-1:]
    seconds, kib = run.stdout.split()
    return float(seconds), int(kib) / 1024


def peers(tokmark):
    yield "tokmark", [tokmark, "registry", "merge", "--into", "{into}", "{new}"]
    if sys.argv[4:]:
        return
    yield "python json", [sys.executable, "-c", PYTHON, "{into}", "{new}"]
    if shutil.which("jq"):
        yield "jq", ["sh", "-c", JQ, "sh", "{into}", "{new}"]
    if subprocess.run([sys.executable, "-c", "import duckdb"], capture_output=True, check=False).returncode == 0:
        yield "duckdb", [sys.executable, "-c", DUCKDB, "{into}", "{new}"]


def main():
    tokmark = os.path.abspath(sys.argv[1])
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 100_000
    with tempfile.TemporaryDirectory(dir=sys.argv[3] if len(sys.argv) > 3 else None) as folder:
        subprocess.run([tokmark, "run", "--sandbox", "--mode", "train", "--seq", "128", "--batch", "1", "--steps", "30", "--out", "out"],
                       cwd=folder, capture_output=True, check=False)
        with open(os.path.join(folder, "out", "bench_results.jsonl"), encoding="utf-8") as file:
            own = file.readline()
        row = json.loads(own)
        names = list(row)[:15]
        short = json.dumps({name: row[name] for name in (*names, *KEYS, "schema", "verdict")})
        for label, sample in ((("records of tokmark", own),) if count <= 100_000 else ()) + (("short records", short),):
            new = os.path.join(folder, "new.jsonl")
            make(new, count, sample)
            size = os.path.getsize(new) / 1e6
            print(f"{label}: {count} of {size * 1e6 / count:.0f} bytes, {size:.0f} MB")
            for name, words in peers(tokmark):
                into = os.path.join(folder, "into.jsonl")
                open(into, "w", encoding="utf-8").close()
                for case in ("empty registry", "all there already"):
                    filled = [word.replace("{into}", into).replace("{new}", new) if word in ("{into}", "{new}") else word for word in words]
                    seconds, peak = timed(filled, folder)
                    if seconds is None:
                        print(f"  {name:12} {case:18} failed: {peak}")
                        continue
                    with open(into, "rb") as file:
                        assert sum(1 for _ in file) == count, f"{name} did something else"
                    print(f"  {name:12} {case:18} {seconds:7.2f} s {size / seconds:7.0f} MB/s {peak:7.0f} MiB")


if __name__ == "__main__":
    main()
