#!/usr/bin/env python3
"""clang-tidy and clang's own warnings for the C files, by build-clang's commands. Usage: tools/tidy.py ANALYZER_STATES

A file that was found clean on this machine, in any clone, is not looked at again: it is known by its text and those that it
includes, its command, the checks and clang-tidy's version.
"""
import contextlib
import hashlib
import json
import os
import shlex
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CLEAN = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "tokmark", "tidy")
KEPT_S = 60 * 24 * 3600  # since it was last found
FILES = ["src/*.c", "tests/*.c", ":!tests/fault"]


def output_of(*words):
    return subprocess.run(words, cwd=ROOT, check=True, capture_output=True).stdout


def read_commands():
    """Of each file its folder and the compiler's words, without those that name what it writes."""
    found = {}
    for entry in json.loads((ROOT / "build-clang" / "compile_commands.json").read_text()):
        words = shlex.split(entry["command"])
        for name in ("-o", "-MF", "-MT"):
            if name in words:
                at = words.index(name)
                del words[at:at + 2]
        words = [word for word in words if word not in ("-c", "-MD")]
        found[os.path.relpath(entry["file"], ROOT)] = entry["directory"], words
    return found


def key_of(command, common):
    """None for a file without a command of its own, or one that the compiler does not read."""
    if command is None:
        return None
    folder, words = command
    read = subprocess.run([*words, "-E", "-frewrite-includes"], cwd=folder, check=False, capture_output=True)
    if read.returncode != 0:
        return None
    text = "\0".join([*common, *words]).encode() + read.stdout
    return hashlib.sha256(text.replace(str(ROOT).encode(), b"")).hexdigest()


def is_clean(file, command, states, common):
    key = key_of(command, common)
    if key is not None and (CLEAN / key).exists():
        (CLEAN / key).touch()
        return True
    more = [f"--extra-arg={word}" for word in ("-Xclang", "-analyzer-config", "-Xclang", f"max-nodes={states}")]
    done = subprocess.run(["clang-tidy", "-p", "build-clang", "--quiet", *more, file], cwd=ROOT, check=False, text=True, capture_output=True)
    if done.returncode != 0:
        print(done.stdout or done.stderr, flush=True)
        return False
    if key is not None:
        (CLEAN / key).touch()
    return True


def main():
    CLEAN.mkdir(parents=True, exist_ok=True)
    for path in CLEAN.iterdir():
        with contextlib.suppress(FileNotFoundError):  # another clone's is at work, too
            if time.time() - path.stat().st_mtime > KEPT_S:
                path.unlink()
    states = sys.argv[1]
    checks = [Path(ROOT, path).read_text() for path in output_of("git", "ls-files", "--", "*.clang-tidy").decode().split()]
    common = [output_of("clang-tidy", "--version").decode(), *checks, states]
    commands = read_commands()
    files = output_of("git", "ls-files", "--", *FILES).decode().split()
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        clean = list(pool.map(lambda file: is_clean(file, commands.get(file), states, common), files))
    if not all(clean):
        sys.exit(1)
    print("clang-tidy: clean")


main()
