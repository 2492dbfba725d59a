#!/usr/bin/env python3
"""A worker for the tests of `tokmark ab`: steps of a known length, and ways to go wrong in a block.

usage: ab_worker.py [--step-ms MS] [--made-up | --said] [--exit-at N] [--hang-at N] [--nonfinite-at N]
                    [--recompile-at N] [--log FILE] [--growing] [--uneven] [--each FILE] [--dtype NAME]
                    [--open-ms MS] [--pause-ms MS] [--name WORD]

N counts `run` requests from 0. --made-up reports lengths without spending them, as a synthetic worker may; --said
spends them, and reports what it was told and not what a sleep took on this machine;
--growing makes each of the first 300 steps 2 % longer than the one before; --uneven makes all of a process's steps
longer by a share of its own, up to 4 %; --each has a factor a line, and the n-th process takes the n-th. --log appends a line for every
request: pid, kind, steps. --open-ms and --pause-ms spend time in `open` and in every `run` beside what the steps report.
"""
import argparse
import json
import os
import sys
import time

# of a width that it need not ask the terminal for: that imports what takes a sixth of a start
parser = argparse.ArgumentParser(formatter_class=lambda prog: argparse.HelpFormatter(prog, width=100))
parser.add_argument("--step-ms", type=float, default=1.0)
parser.add_argument("--made-up", action="store_true")
parser.add_argument("--said", action="store_true")
for name in ("exit", "hang", "nonfinite", "recompile"):
    parser.add_argument(f"--{name}-at", type=int, default=-1)
parser.add_argument("--growing", action="store_true")
parser.add_argument("--uneven", action="store_true")
parser.add_argument("--each")
parser.add_argument("--open-ms", type=float, default=0)
parser.add_argument("--pause-ms", type=float, default=0)
parser.add_argument("--dtype", help="what `ready` says that it computes in")
parser.add_argument("--log")
parser.add_argument("--name", default=os.getpid(), help="stands in the log for the process's id")
options = parser.parse_args()


def own_factor():
    """The processes of a side start one after the other."""
    if not options.each and not options.uneven:
        return 1.0
    if not options.each:
        import random  # which takes a quarter of a start

        return 1 + 0.04 * random.random()
    with open(options.each, encoding="ascii") as file:
        factors = file.read().split()
    with open(options.each + ".taken", "a+", encoding="ascii") as file:
        file.write("x")
        file.flush()
        return float(factors[(file.tell() - 1) % len(factors)])


step_ns = round(options.step_ms * 1e6 * own_factor())
out = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)
runs = 0
done = 0


def send(message_type, **fields):
    out.write(json.dumps({"type": message_type, **fields}) + "\n")


def steps(count):
    global done
    if options.made_up or options.said:
        done += count
        growth = 1.02 if options.growing else 1
        time.sleep(options.said * count * step_ns / 1e9)
        return [round(step_ns * growth ** min(done - count + i, 300)) for i in range(count)]
    seen = []
    for _ in range(count):
        before = time.monotonic_ns()
        time.sleep(step_ns / 1e9)
        seen.append(time.monotonic_ns() - before)
    return seen


def run(request):
    if runs == options.exit_at:
        sys.exit(7)
    if runs == options.hang_at:
        time.sleep(3600)
    time.sleep(options.pause_ms / 1000)
    seen = steps(request["steps"])
    fields = {"step_ns": seen} if request["sync"] == "step" else {}
    if runs == options.nonfinite_at:
        fields["nonfinite"] = 1
    if runs == options.recompile_at:
        fields["recompiles"] = 1
    send("block", steps=request["steps"], sync=request["sync"], window_ns=sum(seen), loss=2.5, **fields)


for line in sys.stdin:
    message = json.loads(line)
    kind = message["type"]
    if options.log:
        with open(options.log, "a", encoding="utf-8") as log:
            log.write(f"{options.name} {kind} {message.get('steps', 0)}\n")
    if kind == "hello":
        send("hello", version=1, engine="test", engine_version="1", pid=os.getpid(), synthetic=options.made_up)
    elif kind == "open":
        time.sleep(options.open_ms / 1000)
        send("ready", backend="python", dtype_compute=options.dtype)
    elif kind == "run":
        run(message)
        runs += 1
    elif kind == "close":
        send("bye")
        break
