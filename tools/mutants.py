#!/usr/bin/env python3
"""Which faults would the tests not notice? Puts each of tests/mutants.json in, one at a time, and runs its suites.

usage: tools/mutants.py [--list] [--trust] [--only WORD...] [--jobs N] [--folder DIR] [--python PROGRAM]

A row is {name, file, text, with, suites}: `text` must be in `file` exactly once, and `with` takes its place.
A suite is `unit/SUITE` (of the C tests), `simulate` (sweeps in simulated time), or a file of pytest with what -k takes behind
it: "tests/cli/test_x.py seed".
A fault that no suite notices survives; so does one that no longer applies or builds, until its row is mended. All
is done in copies of the tree (below build-mutants), one a job, which are built incrementally. Exit code 1: there are
survivors.
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TABLE = "tests/mutants.json"
TOGETHER = 6  # rows at most that one job takes at a time, of the same suites
SUITE_S = 300  # of a suite on the tree as it is; with a fault it has five times what it took there


def copy_tree(folder):
    """The files of the tree as they are now; those that are the same keep their time."""
    tree = folder / "tree"
    names = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, text=True,
                           capture_output=True, check=True).stdout.splitlines()
    for name in names:
        source, target = ROOT / name, tree / name
        if not source.is_file():
            target.unlink(missing_ok=True)
            continue
        if target.is_file() and target.read_bytes() == source.read_bytes():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)
    return tree


class Copy:
    """The tree that faults are put into, and its build: like that of the release, with tests."""

    def __init__(self, folder, python):
        self.tree = copy_tree(folder)
        self.build_folder = folder / "build"
        self.python = python
        self.took_s = {}
        subprocess.run(["cmake", "-G", "Ninja", "-S", self.tree, "-B", self.build_folder,
                        "-DCMAKE_BUILD_TYPE=RelWithDebInfo", "-DCMAKE_C_FLAGS_RELWITHDEBINFO=-O1 -DNDEBUG -w"],
                       check=True, stdout=subprocess.DEVNULL)

    def build(self, suites):
        """What these suites run, no more."""
        targets = {"unit_tests" if suite.startswith("unit/") else "simulate" if suite == "simulate" else "tokmark"
                   for suite in suites}
        if "unit_tests" in targets:
            targets.add("tokmark")  # which some of them start
        done = subprocess.run(["cmake", "--build", self.build_folder, "-j2", "--target", *targets],
                              text=True, capture_output=True, check=False)
        return done.returncode == 0, done.stdout[-2000:]

    def passes(self, suite):
        name, _, words = suite.partition(" ")
        if name == "simulate":
            command = [self.build_folder / "tests/simulate/simulate", "500"]
        elif name.startswith("unit/"):
            command = [self.build_folder / "tests/unit_tests", "--filter", name[len("unit/"):] + "/" + (words or "*"), "-j1"]
        else:
            chosen = ["-k", words] if words else []
            command = [self.python, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *chosen, name]
        binary = str(self.build_folder / "tokmark")
        env = {**os.environ, "TOKMARK_BINARY": binary, "TOKMARK_RELEASE_BINARY": binary,
               "PATH": f"{os.environ['PATH']}:{ROOT}/build/readers"}  # of exports, which set-up puts there
        limit_s = 5 * self.took_s[suite] + 20 if suite in self.took_s else SUITE_S
        try:
            done = subprocess.run(command, cwd=self.tree, env=env, capture_output=True, text=True, timeout=limit_s, check=False)
        except subprocess.TimeoutExpired:
            return False, "it takes too long"
        return done.returncode == 0, (done.stdout + done.stderr)[-2000:]

    def why_unsound(self, suites):
        """Before a fault is put in: a suite that fails on the tree as it is shows nothing. Empty: none."""
        new = [suite for suite in suites if suite not in self.took_s]
        if new:
            is_built, text = self.build(new)
            if not is_built:
                sys.exit(text)
        for suite in new:
            before = time.monotonic()
            passed, text = self.passes(suite)
            if not passed:
                return f"{suite} fails on the tree as it is: {text}"
            self.took_s[suite] = time.monotonic() - before
        return ""


def judge(copy, row):
    """What became of the fault: the suite that noticed it, or None and why not."""
    path = copy.tree / row["file"]
    sound = path.read_text(encoding="utf-8")
    if sound.count(row["text"]) != 1:
        return None, f"its text is there {sound.count(row['text'])} times"
    path.write_text(sound.replace(row["text"], row["with"]), encoding="utf-8")
    try:
        is_built, text = copy.build(row["suites"])
        if not is_built:
            return None, f"does not build: {text}"
        for suite in row["suites"]:
            passed, _ = copy.passes(suite)
            if not passed:
                return suite, ""
        return None, "not noticed"
    finally:
        path.write_text(sound, encoding="utf-8")


class Jury:
    """Jobs that judge rows beside each other, each in a copy of its own, made when it begins."""

    def __init__(self, options, rows):
        self._options, self._rows = options, rows
        self._survivors = []
        self._copies_count = 0
        self._done_count = 0
        self._lock = threading.Lock()
        self._mine = threading.local()

    def survivors(self):
        """Judges all rows. The names of those that no suite noticed."""
        with ThreadPoolExecutor(self._options.jobs, initializer=self._begin) as pool:
            for _ in pool.map(self._judge_some, self._pieces()):
                pass
        return self._survivors

    def _begin(self):
        with self._lock:
            self._copies_count += 1
            folder = self._options.folder.resolve() / str(self._copies_count)
        self._mine.copy = Copy(folder, self._options.python)

    def _pieces(self):
        """Rows of the same suites together: those are run on the tree as it is once a job."""
        by_suites = defaultdict(list)
        for row in self._rows:
            by_suites[tuple(row["suites"])].append(row)
        return [rows[first:first + TOGETHER] for rows in by_suites.values() for first in range(0, len(rows), TOGETHER)]

    def _judge_some(self, rows):
        copy = self._mine.copy
        for row in rows:
            unsound = "" if self._options.trust else copy.why_unsound(row["suites"])
            before = time.monotonic()
            suite, why = (None, unsound) if unsound else judge(copy, row)
            seconds = time.monotonic() - before
            with self._lock:
                self._done_count += 1
                told = suite or "SURVIVES: " + why
                print(f"[{self._done_count}/{len(self._rows)}] {seconds:5.1f} s  {row['name']}: {told}", flush=True)
                if suite is None:
                    self._survivors.append(row["name"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--list", action="store_true", help="print the names")
    parser.add_argument("--only", nargs="+", default=[""], metavar="WORD", help="those with one of these in their name or file")
    parser.add_argument("--trust", action="store_true", help="the suites pass on the tree as it is: do not look")
    parser.add_argument("--jobs", type=int, default=max(len(os.sched_getaffinity(0)) // 2, 1), help="rows at a time; default: half the processors")
    parser.add_argument("--folder", type=Path, default=ROOT / "build-mutants")
    parser.add_argument("--python", default=str(ROOT / "build/venv/bin/python"), help="for suites of pytest")
    options = parser.parse_args()
    rows = [row for row in json.loads((ROOT / TABLE).read_text(encoding="utf-8"))
            if any(word in row["name"] + " " + row["file"] for word in options.only)]
    if options.list:
        print("\n".join(row["name"] for row in rows))
        return 0
    survivors = Jury(options, rows).survivors()
    print(f"{len(rows)} faults, {len(rows) - len(survivors)} noticed, {len(survivors)} survive")
    for name in survivors:
        print(f"  {name}")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
