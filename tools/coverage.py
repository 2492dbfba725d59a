#!/usr/bin/env python3
"""Which lines and branches of src/ do the tests reach? A table by room.

usage: tools/coverage.py [--folder DIR] [--suites NAME...] [--files ROOM] [--python PROGRAM]

Builds with gcc's --coverage, runs the C tests, the simulation and pytest (--suites: only these of `unit`, `simulate` and
files or folders of pytest), and counts what gcov says. Branches of a line with ASSERT or UNREACHABLE are left out: their
other side is a fault of the program. Exit code 1: a room is below its goal.
"""
import argparse
import collections
import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LINES_GOAL, BRANCHES_GOAL = 90, 75
ALL = ["unit", "simulate", "tests/cli", "tests/protocol", "tests/fault", "tests/web/test_report.py", "tests/engines"]


def build(folder):
    subprocess.run(["cmake", "-G", "Ninja", "-S", ROOT, "-B", folder, "-DCMAKE_BUILD_TYPE=Debug", "-DCMAKE_C_COMPILER=gcc",
                    "-DCMAKE_C_FLAGS_DEBUG=-O1 -g1 --coverage -fprofile-update=atomic"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["cmake", "--build", folder, "-j2"], check=True, stdout=subprocess.DEVNULL)


def run(folder, suite, python):
    """A test that fails stops nothing: what it has reached counts."""
    binary = str(folder / "tokmark")
    env = {**os.environ, "TOKMARK_BINARY": binary, "TOKMARK_RELEASE_BINARY": binary}
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", suite]
    if suite == "unit":
        command = ["ctest", "--test-dir", folder, "-j2", "-R", "^unit/"]
    elif suite == "simulate":
        command = [folder / "tests/simulate/simulate", "2000"]
    done = subprocess.run(command, cwd=ROOT, env=env, text=True, capture_output=True, check=False)
    print(f"{suite}: exit code {done.returncode}; {(done.stdout.splitlines() or [''])[-1]}", flush=True)


def gcov(folder):
    """[(file, what gcov says of it)] of the program's own objects."""
    others = (folder / "tests", folder / "bench")
    notes = [path for path in folder.rglob("*.gcno") if not any(other in path.parents for other in others)]
    for note in notes:
        done = subprocess.run(["gcov", "--json-format", "--stdout", "--branch-probabilities", note], cwd=folder, text=True,
                              capture_output=True, check=False)
        for line in done.stdout.splitlines():
            for file in json.loads(line)["files"]:
                yield file


def count(folder):
    """{file: (lines, reached, branches, reached)}; a header's line is reached if it is in any object."""
    lines, branches = collections.defaultdict(dict), collections.defaultdict(dict)
    texts = {}
    for file in gcov(folder):
        path = Path(file["file"])
        path = path if path.is_absolute() else folder / path
        path = Path(os.path.normpath(path))
        if ROOT / "src" not in path.parents or path.suffix != ".c":
            continue
        name = str(path.relative_to(ROOT / "src"))
        if name not in texts:
            texts[name] = dict(enumerate(path.read_text(encoding="utf-8").splitlines(), 1))
        for line in file["lines"]:
            number = line["line_number"]
            lines[name][number] = lines[name].get(number, 0) + line["count"]
            if any(word in texts[name].get(number, "") for word in ("ASSERT(", "UNREACHABLE(")):
                continue
            for at, branch in enumerate(line["branches"]):
                key = number, at
                branches[name][key] = branches[name].get(key, 0) + branch["count"]
    return {name: (len(seen), sum(map(bool, seen.values())), len(branches[name]), sum(map(bool, branches[name].values())))
            for name, seen in lines.items()}


def percent(part, whole):
    return 100 * part / whole if whole else 100


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=ROOT / "build-coverage")
    parser.add_argument("--suites", nargs="*", default=ALL)
    parser.add_argument("--files", metavar="ROOM", help="also the files of a room")
    parser.add_argument("--python", default=str(ROOT / "build/venv/bin/python"), help="for suites of pytest")
    options = parser.parse_args()
    folder = options.folder.resolve()
    build(folder)
    for suite in options.suites:
        run(folder, suite, options.python)
    files = count(folder)
    rooms = collections.defaultdict(lambda: [0, 0, 0, 0])
    for name, numbers in files.items():
        room = name.rsplit("/", 1)[0]
        rooms[room] = [have + more for have, more in zip(rooms[room], numbers)]
    low = []
    print(f"{'room':28} {'lines':>7} {'':>7} {'branches':>9}")
    for room, (lines, seen, branches, taken) in sorted(rooms.items()):
        is_low = percent(seen, lines) < LINES_GOAL or percent(taken, branches) < BRANCHES_GOAL
        low += [room] if is_low else []
        print(f"{room:28} {lines:7} {percent(seen, lines):6.1f}% {percent(taken, branches):8.1f}%{'  below' if is_low else ''}")
        for name, numbers in sorted(files.items()):
            if room == options.files and name.rsplit("/", 1)[0] == room:
                print(f"  {name:26} {numbers[0]:7} {percent(numbers[1], numbers[0]):6.1f}% {percent(numbers[3], numbers[2]):8.1f}%")
    print(f"{len(rooms)} rooms, {len(low)} below {LINES_GOAL} % of lines or {BRANCHES_GOAL} % of branches")
    return 1 if low else 0


if __name__ == "__main__":
    sys.exit(main())
