#!/usr/bin/env python3
"""A worker for the command line's tests: steps of a chosen length, cells that fail on purpose.

usage: worker.py [--step-ms MS] [--oom-seq N] [--crash-seq N] [--device-ns NS] [--stubborn]
"""
import argparse
import json
import os
import signal
import sys
import time

parser = argparse.ArgumentParser()
parser.add_argument("--step-ms", type=float, default=1.0)
parser.add_argument("--oom-seq", type=int, default=0)
parser.add_argument("--crash-seq", type=int, default=0)
parser.add_argument("--device-ns", type=int, default=0, help="per step, by a device of its own")
parser.add_argument("--stubborn", action="store_true", help="does not end on SIGTERM")
options = parser.parse_args()

out = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)
if options.stubborn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def send(message_type, **fields):
    out.write(json.dumps({"type": message_type, **fields}) + "\n")


def run(request):
    begin = time.monotonic_ns()
    step_ns = []
    for _ in range(request["steps"]):
        before = time.monotonic_ns()
        time.sleep(options.step_ms / 1000)
        step_ns.append(time.monotonic_ns() - before)
    fields = {"step_ns": step_ns} if request["sync"] == "step" else {}
    if options.device_ns:
        fields["device_ns"] = options.device_ns * request["steps"]
    send("block", steps=request["steps"], sync=request["sync"],
         window_ns=time.monotonic_ns() - begin, loss=2.5, **fields)


for line in sys.stdin:
    message = json.loads(line)
    kind = message["type"]
    if kind == "hello":
        send("hello", version=1, engine="test", engine_version="1", pid=os.getpid(), synthetic=False)
    elif kind == "open" and message["seq_len"] == options.oom_seq:
        send("error", kind="oom", text="does not fit", needed_bytes=2000, available_bytes=1000,
             scope="host")
    elif kind == "open" and message["seq_len"] == options.crash_seq:
        sys.stderr.write("last words of the worker\n")
        sys.stderr.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    elif kind == "open":
        send("ready", tokens_data="text novel.txt (1234 tokens)", backend="python")
    elif kind == "run":
        run(message)
    elif kind == "memory":
        device = {"device_used_bytes": 3 << 20, "device_total_bytes": 8 << 20}
        send("memory", **(device if options.device_ns else {}))
    elif kind == "close":
        send("bye")
        break
