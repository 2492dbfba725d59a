#!/usr/bin/env python3
"""How fast is the HUD? Time from a record's write to its picture; the first picture of many records, memory and idle CPU; and what
HUDs cost a sweep's steps.

  python3 bench/hud_speed.py shown [--rounds N]      a record is appended, until it is on the terminal (target: 250 ms)
  python3 bench/hud_speed.py large [--records N]     first picture, the whole file, RSS, CPU while nothing happens (1 s, -, steady, 2 %)
  python3 bench/hud_speed.py cost [--rounds N]       steps of a sweep with and without a HUD beside it, interleaved (target: 0.5 %)

The terminal is a pty of this script's own.
"""
import argparse
import json
import os
import pty
import random
import re
import select
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time

import fcntl

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TOKMARK = os.path.abspath(os.environ.get("TOKMARK_BINARY", os.path.join(ROOT, "build", "tokmark")))


class Terminal:
    """A HUD on a pty; what it writes is kept without escape sequences."""

    def __init__(self, *words, rows=24, columns=80):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ.update(TERM="xterm-256color", LC_ALL="C.UTF-8")
            os.execv(TOKMARK, [TOKMARK, *words])
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.text = ""

    def read(self, timeout_s):
        if select.select([self.fd], [], [], timeout_s)[0]:
            try:
                self.text += re.sub(r"\x1b(\[[0-9;?]*[A-Za-z]|\(B)", "", os.read(self.fd, 65536).decode(errors="replace"))
            except OSError:
                return False
        return True

    def wait(self, pattern, timeout_s=60):
        end = time.monotonic() + timeout_s
        while not re.search(pattern, self.text):
            if time.monotonic() > end or not self.read(0.5):
                raise SystemExit(f"'{pattern}' never came: {self.text[-2000:]}")
        return time.monotonic()

    def cpu_s(self):
        with open(f"/proc/{self.pid}/stat", encoding="ascii") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rss_mib(self):
        with open(f"/proc/{self.pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

    def end(self):
        os.write(self.fd, b"q")
        while self.read(1):
            pass
        os.waitpid(self.pid, 0)
        os.close(self.fd)


def published(seq, batch, ms=10.0, engine="pytorch"):
    return json.dumps({"framework": engine, "device": "cuda", "precision": "fp32", "mode": "train", "seq_len": seq, "batch_size": batch, "steps": 50,
                       "tokens_per_step": seq * batch, "ms_per_step": ms, "tokens_per_sec": seq * batch * 1000 / ms, "mem_alloc_mb": 1.5,
                       "mem_reserved_mb": 2.0, "peak_mem_mb": 3.0, "params_millions": 31.5, "notes": ""}) + "\n"


def measure_shown(rounds):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "bench_results.jsonl")
        with open(path, "w", encoding="utf-8") as file:
            file.write(published(1, 1))
        terminal = Terminal("hud", folder)
        terminal.wait("1 records")
        times = []
        for i in range(rounds):
            time.sleep(0.1 + 0.0137 * (i % 23))  # at any time between two pictures
            terminal.read(0)
            terminal.text = ""
            # Only differences are written: a word that has no letter in common with what was there.
            word = "".join(random.sample("abcdefghijkl" if i % 2 else "mnopqrstuvwx", 8))
            with open(path, "a", encoding="utf-8") as file:
                file.write(published(i + 2, 1, engine=word))
                file.flush()
                begin = time.monotonic()
            times.append(1000 * (terminal.wait(word) - begin))
        terminal.end()
    times.sort()
    print(f"record to terminal, {rounds} rounds: median {statistics.median(times):.1f} ms, largest {times[-1]:.1f} ms")


def measure_large(records):
    with tempfile.TemporaryDirectory() as folder:
        sandbox = os.path.join(folder, "one")
        subprocess.run([TOKMARK, "run", "--engine", "sandbox", "--mode", "infer", "--seq", "64", "--batch", "1", "--steps", "20", "--out", sandbox],
                       check=True, capture_output=True)
        with open(os.path.join(sandbox, "bench_results.jsonl"), "rb") as file:
            line = file.readline()
        many = os.path.join(folder, "many")
        os.mkdir(many)
        with open(os.path.join(many, "bench_results.jsonl"), "wb") as file:
            for i in range(records):  # a thousand cells
                cell = i % 1000
                changed = line.replace(b'"seq_len":64', b'"seq_len":%d' % (cell // 10 + 1), 1)
                file.write(changed.replace(b'"batch_size":1', b'"batch_size":%d' % (cell % 10 + 1), 1))
        size = os.path.getsize(os.path.join(many, "bench_results.jsonl"))
        begin = time.monotonic()
        terminal = Terminal("hud", many)
        first = terminal.wait("records") - begin
        whole = terminal.wait(f"{records} records|records.*STALE|newest.*ago", 600) - begin
        while True:  # until it is quiet
            before = terminal.cpu_s()
            time.sleep(1)
            terminal.read(0)
            if terminal.cpu_s() - before < 0.1:
                break
        whole = time.monotonic() - begin - 1
        rss, cpu = terminal.rss_mib(), terminal.cpu_s()
        idle_s = 20
        end = time.monotonic() + idle_s
        while time.monotonic() < end:
            terminal.read(0.5)
        used = 100 * (terminal.cpu_s() - cpu) / idle_s
        print(f"{records} records, {size / 1e9:.2f} GB: first picture {first:.2f} s, whole about {whole:.1f} s, RSS {rss:.0f} MiB, "
              f"after {idle_s} s {terminal.rss_mib():.0f} MiB, idle {used:.2f} % of a core")
        terminal.end()


def measure_cost(rounds):
    """Medians of the same cell, alternately with a HUD beside it and without."""
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        def run(name):
            out = os.path.join(folder, name)
            os.mkdir(out)
            terminal = Terminal("hud", out) if name.startswith("with") else None
            process = subprocess.Popen([TOKMARK, "run", "--engine", "native", "--model", "superintelligence-tiny", "--mode", "infer", "--seq", "64",
                                        "--batch", "1", "--steps", "200", "--threads", "1", "--foreign-load", "off", "--history", "off", "--pace", "off",
                                        "--out", out], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            while process.poll() is None:
                if terminal is not None:
                    terminal.read(0.2)
                else:
                    time.sleep(0.2)
            if terminal is not None:
                terminal.end()
            with open(os.path.join(out, "bench_results.jsonl"), encoding="utf-8") as file:
                return json.loads(file.readline())["ms_p50"]

        for i in range(rounds):
            order = ("with", "without") if i % 2 else ("without", "with")
            medians = {name: run(f"{name}-{i}") for name in order}
            ratios.append(medians["with"] / medians["without"])
    ratios.sort()
    print(f"median step with a HUD / without, {rounds} rounds: {statistics.median(ratios):.4f} [{ratios[0]:.4f}, {ratios[-1]:.4f}]")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["shown", "large", "cost"])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--records", type=int, default=1000000)
    args = parser.parse_args()
    if args.what == "shown":
        measure_shown(args.rounds)
    elif args.what == "large":
        measure_large(args.records)
    else:
        measure_cost(args.rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
