"""How the command line's tests run the program: in an empty folder, under any of its names."""
import json
import os
import re
import subprocess
import threading

from waiting import TIMEOUT_S, wait_until

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TOKMARK = os.path.abspath(os.environ.get("TOKMARK_BINARY", os.path.join(ROOT, "build", "tokmark")))


def program(name):
    """The binary under one of its names."""
    return os.path.join(os.path.dirname(TOKMARK), name)


def records(folder, out):
    """The records of a results folder; every line must be whole."""
    text = (folder / out / "bench_results.jsonl").read_text(encoding="utf-8")
    assert text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


WORKER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "worker.py")
# Of the smallest preset: under the sanitizers a step of the preset itself takes seconds.
THIN = ["--set", "layers_count=2", "vocab_size=512", "dim=64", "heads_count=4", "rotary_dim=8", "ffn_hidden=64"]
# A sweep of two cells on the engine that does nothing.
NULL = ["run", "--engine", "null", "--steps", "20", "--warmup", "2"]


def worker(*args):
    """--engine for worker.py."""
    return "exec:python3 '" + WORKER + "' " + " ".join(args)


# On a machine that does other work, a cell may well drift, and blocks be set aside: only tests of
# that very thing let results follow it.
CALM = ["--drift", "off", "--foreign-load", "off", "--pace", "off", "--history", "off"]


def calm(args, name="tokmark"):
    """The arguments, with what keeps a busy machine out of the verdict; a flag given twice would be
    refused."""
    args = list(args)
    flags = []
    for flag in CALM[::2]:
        if flag not in args and "--version" not in args:
            flags += [flag, "off"]
    if name != "tokmark":
        return flags + args
    if args[:1] in (["ab"], ["noise"]) and len(args) > 1 and "--foreign-load" not in args:
        return [*args[:1], "--foreign-load", "off", *args[1:]]
    return args[:1] + flags + args[1:] if args[:1] == ["run"] else args


def await_samples(call, process, pattern="*.jsonl"):
    """Until the first block of raw samples is on the disk."""
    wait_until(lambda: any(path.stat().st_size > 0 for path in call.folder.glob(f"_bench/samples/{pattern}")), process)


def worker_pids(process):
    """Children of the harness."""
    with open(f"/proc/{process.pid}/task/{process.pid}/children", encoding="ascii") as file:
        return [int(pid) for pid in file.read().split()]


def table(stdout):
    """The lines of a run's table: a dict each, by the names of the columns."""
    found, names = [], None
    for line in stdout.splitlines():
        if re.match("(precision +)?mode +seq_len ", line):
            names = line.split()
        elif names and re.match("([a-z0-9]+ +)?(train|infer|decode) +[0-9]", line):
            found.append(dict(zip(names, re.split("  +", line.strip()), strict=True)))
    return found


class Caller:
    """Runs the program in a folder of its own."""

    def __init__(self, folder):
        self.folder = folder
        self.started = []

    def start(self, *args, name="tokmark", launch=(), **options):
        """In the background; ended with the test, and in any case after a while."""
        process = subprocess.Popen([*launch, program(name), *calm(args, name)], cwd=self.folder, text=True,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, **options)
        timer = threading.Timer(TIMEOUT_S, process.kill)
        timer.start()
        self.started.append((process, timer))
        return process

    def end(self):
        for process, timer in self.started:
            timer.cancel()
            if process.poll() is None:
                process.kill()
                process.wait()

    def __call__(self, *args, name="tokmark", code=None, env=None):
        done = subprocess.run([program(name), *calm(args, name)], cwd=self.folder, text=True,
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT_S,
                              check=False, env=None if env is None else {**os.environ, **env})
        if code is not None:
            assert done.returncode == code, (args, done.returncode, done.stdout, done.stderr)
        return done

    def limited(self, file_bytes_max, *args):
        """Like a call, but no file can grow past that size: a disk that is full."""
        limit = ["prlimit", f"--fsize={file_bytes_max}:{file_bytes_max}"]
        return subprocess.run([*limit, TOKMARK, *calm(args)], cwd=self.folder, text=True, capture_output=True,
                              timeout=TIMEOUT_S, check=False)

    def records(self, out="_bench"):
        return records(self.folder, out)

    def files(self):
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*"))
