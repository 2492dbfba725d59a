#!/usr/bin/env python3
"""How fast is the HUD? Time from a record's write to its picture; the first picture of many records, memory and idle CPU; and what
HUDs cost a sweep's steps.

  python3 bench/hud_speed.py shown [--rounds N]      a record is appended, until it is on the terminal (target: 250 ms)
  python3 bench/hud_speed.py large [--records N]     first picture, the whole file, RSS, CPU while nothing happens (1 s, -, steady, 2 %)
  python3 bench/hud_speed.py cost [--threads N] [--browser] [--words FLAGS]   `tokmark ab` of the same cell, with HUDs beside side B (target: 0.5 %)

The terminal is a pty of this script's own.
"""
import argparse
import contextlib
import json
import os
import pty
import random
import re
import select
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
import urllib.request

import fcntl

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TOKMARK = os.path.abspath(os.environ.get("TOKMARK_BINARY", os.path.join(ROOT, "build", "tokmark")))


def cpu_s(pid):
    """Of that process, by the kernel's sums, which count every nanosecond."""
    total_ns = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/schedstat", encoding="ascii") as file:
            total_ns += int(file.read().split()[0])
    return total_ns / 1e9


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
        return cpu_s(self.pid)

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


def make_records(folder, records):
    """Of a thousand cells."""
    sandbox = os.path.join(folder, "one")
    subprocess.run([TOKMARK, "run", "--engine", "sandbox", "--mode", "infer", "--seq", "64", "--batch", "1", "--steps", "20", "--out", sandbox],
                   check=True, capture_output=True)
    with open(os.path.join(sandbox, "bench_results.jsonl"), "rb") as file:
        line = file.readline()
    many = os.path.join(folder, "many")
    os.mkdir(many)
    with open(os.path.join(many, "bench_results.jsonl"), "wb") as file:
        for i in range(records):
            cell = i % 1000
            changed = line.replace(b'"seq_len":64', b'"seq_len":%d' % (cell // 10 + 1), 1)
            file.write(changed.replace(b'"batch_size":1', b'"batch_size":%d' % (cell % 10 + 1), 1))
    return many


def measure_large(records, given):
    with tempfile.TemporaryDirectory() as folder:
        many = given or make_records(folder, records)
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


def relay(folder, words):
    """A worker between `tokmark ab` and the worker that it wants: while that is at a block, ten lines a second come into the
    folder's events.jsonl, as if a run wrote them. A run writes them between blocks: so they cost no less than there."""
    os.makedirs(folder, exist_ok=True)
    is_at_work = threading.Event()

    def write():
        number = 0
        with open(os.path.join(folder, "events.jsonl"), "a", buffering=1, encoding="utf-8") as file:
            def event(**fields):
                file.write(json.dumps({"time_ms": int(1000 * time.time()), "run_id": "r1", "cell_id": "h1", "trial": 0, **fields}) + "\n")

            cell = {"cell_id": "h1", "framework": "native", "device": "cpu", "model": "m", "precision": "fp32", "mode": "infer", "seq_len": 64,
                    "batch_size": 1, "tokens_per_step": 64}
            event(event="run", pid=os.getpid(), trials=1, cells_count=1, first_cell=0, cells=[cell])
            event(event="cell", position=0, is_sentinel=False, state="started")
            event(event="phase", phase="measure")
            while True:
                is_at_work.wait()
                number += 1
                ms = 30 + random.random()
                event(event="block", phase="measure", steps_done=number, steps=1, window_ns=int(ms * 1e6), ms_per_step=ms, samples=number, ms_p50=30.5,
                      ms_p50_low=30.4, ms_p50_high=30.6, median_samples=number, set_aside_steps=0, remaining_ms=1000.0, loss=None)
                if number % 10 == 0:
                    event(event="telemetry", rss_mb=100.0, available_mb=1000.0, power_w=100.0, null_reasons={})
                time.sleep(0.1)

    threading.Thread(target=write, daemon=True).start()
    with subprocess.Popen([TOKMARK, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as worker:
        for line in sys.stdin.buffer:
            if b'"run"' in line:
                is_at_work.set()
            worker.stdin.write(line)
            worker.stdin.flush()
            answer = worker.stdout.readline()
            is_at_work.clear()
            sys.stdout.buffer.write(answer)
            sys.stdout.buffer.flush()
            if not answer:
                break


def read_stream(address, stop):
    """As a page does."""
    with urllib.request.urlopen(address + "events") as stream:
        while not stop.is_set() and stream.readline():
            pass


def measure_cost(threads, has_browser, more):
    """`tokmark ab` of the same cell: beside side B are `tokmark hud` and `tokmark serve` with somebody who reads it."""
    with tempfile.TemporaryDirectory() as top, contextlib.ExitStack() as stack:
        for side in ("a", "b"):
            with open(os.path.join(top, side), "w", encoding="utf-8") as file:
                file.write(f'#!/bin/sh\nexec {sys.executable} {os.path.abspath(__file__)} relay --folder {top}/seen-{side} --words "$@"\n')
            os.chmod(file.name, 0o755)
        seen = os.path.join(top, "seen-b")
        os.mkdir(seen)
        terminal = Terminal("hud", seen)
        stop = threading.Event()
        server = stack.enter_context(subprocess.Popen([TOKMARK, "serve", seen, "--port", "0"], stdout=subprocess.PIPE, text=True))
        stack.callback(server.terminate)
        address = server.stdout.readline().strip()
        if has_browser:
            from playwright.sync_api import sync_playwright
            playwright = stack.enter_context(sync_playwright())
            browser = stack.enter_context(contextlib.closing(playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])))
            browser.new_page().goto(address)
        else:
            threading.Thread(target=read_stream, args=(address, stop), daemon=True).start()
        command = [TOKMARK, "ab", "--engine", "native", "--model", "superintelligence-tiny", "--mode", "infer", "--seq", "64", "--batch", "1",
                   "--threads", str(threads), "--a", f"--binary {top}/a", "--b", f"--binary {top}/b", "--foreign-load", "off", "--threshold", "0.5",
                   "--out", os.path.join(top, "ab"), *more]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        begun, before = time.monotonic(), (terminal.cpu_s(), cpu_s(server.pid))
        while process.poll() is None:
            terminal.read(0.2)
        wall_s = time.monotonic() - begun
        if "measuring" not in terminal.text:
            raise SystemExit("the HUD saw nothing")
        print(f"CPU time meanwhile: hud {100 * (terminal.cpu_s() - before[0]) / wall_s:.2f} %, serve {100 * (cpu_s(server.pid) - before[1]) / wall_s:.2f} % of a core")
        stop.set()
        terminal.end()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["shown", "large", "cost", "relay"])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--records", type=int, default=1000000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--browser", action="store_true", help="a real page beside it, of Chromium (needs playwright)")
    parser.add_argument("--folder", help="of records that are there already, for `large`")
    parser.add_argument("--words", nargs=argparse.REMAINDER, default=[], help="flags of `tokmark ab`; last")
    args = parser.parse_args()
    if args.what == "shown":
        measure_shown(args.rounds)
    elif args.what == "large":
        measure_large(args.records, args.folder)
    elif args.what == "relay":
        relay(args.folder, args.words)
    else:
        measure_cost(args.threads, args.browser, args.words)
    return 0


if __name__ == "__main__":
    sys.exit(main())
