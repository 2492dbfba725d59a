#!/usr/bin/env python3
"""A worker that says what it is told to, and writes down what it has said: `scripted_worker.py SCRIPT SAID`.

SCRIPT: JSON {ready, memory: fields of the reply; blocks: fields of each block in turn, the last for all that follow; twin (optional): those of
a training from nudged weights; step_ns: the range that steps are drawn from}. It sleeps as long as it says that opening and its steps took.
Instead of fields a block may be "dies", or the number of a signal that whoever started the worker gets, and no answer.
"""
import json
import os
import random
import signal
import sys
import time

script = json.load(open(sys.argv[1], encoding="utf-8"))
said = open(sys.argv[2], "w", encoding="utf-8")
out = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)
random.seed(7)
blocks = list(script["blocks"])


def send(message_type, **fields):
    line = json.dumps({"type": message_type, **fields})
    said.write(line + "\n")
    said.flush()
    out.write(line + "\n")


for line in sys.stdin:
    message = json.loads(line)
    kind = message["type"]
    if kind == "hello":
        send("hello", version=1, engine="scripted", engine_version="3.1", pid=os.getpid(), synthetic=False)
    elif kind == "open":
        if "twin" in script and "/twin" in message["weights_path"]:
            blocks = list(script["twin"])
        time.sleep(sum(script["ready"].get(name, 0) for name in ("load_ns", "compile_ns", "trace_ns")) / 1e9)
        send("ready", **script["ready"])
    elif kind == "run":
        step_ns = [random.randint(*script["step_ns"]) for _ in range(message["steps"])]
        window_ns = sum(step_ns)
        block = blocks.pop(0) if len(blocks) > 1 else blocks[0]
        if block == "dies":
            sys.exit(1)
        if isinstance(block, int):
            os.kill(os.getppid(), block)
            signal.pause()
        time.sleep(window_ns / 1e9)
        each = {"step_ns": step_ns} if message["sync"] == "step" else {}
        send("block", steps=message["steps"], sync=message["sync"], window_ns=window_ns, **each, **block)
    elif kind == "memory":
        send("memory", **script["memory"])
    elif kind == "close":
        send("bye")
        break
