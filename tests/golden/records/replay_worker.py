#!/usr/bin/env python3
"""A worker that answers from a transcript: the records of its cell are the same on every machine.

usage: replay_worker.py TRANSCRIPT

TRANSCRIPT is a JSON object: `hello`, `ready`, `memory` hold the keys of those replies; `blocks` is a
list of keys for one block after another, the last for all that follow; `step_ns` the durations of
steps, taken in turn. A reply that is not there is an `error` of kind `internal`, and a `pid` is added.
"""
import itertools
import json
import os
import sys

with open(sys.argv[1], encoding="utf-8") as file:
    transcript = json.load(file)
out = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)
durations = itertools.cycle(transcript.get("step_ns", [1000]))
blocks = list(transcript.get("blocks", [{}]))


def send(kind, fields):
    reply = {"type": kind, **fields} if fields is not None else {
        "type": "error", "kind": "internal", "text": "not in the transcript"}
    out.write(json.dumps(reply) + "\n")


for line in sys.stdin:
    request = json.loads(line)
    kind = request["type"]
    if kind == "hello":
        send("hello", {"version": 1, "engine": "replay", "engine_version": "1", "pid": os.getpid(),
                       **transcript.get("hello", {})})
    elif kind == "open":
        send("ready", transcript.get("ready"))
    elif kind == "run":
        step_ns = [next(durations) for _ in range(request["steps"])]
        steps = {"step_ns": step_ns} if request["sync"] == "step" else {}
        more = blocks.pop(0) if len(blocks) > 1 else blocks[0]
        send("block", {"steps": request["steps"], "sync": request["sync"],
                       "window_ns": sum(step_ns), **steps, **more})
    elif kind == "memory":
        send("memory", transcript.get("memory"))
    else:
        send("bye", {})
        break
