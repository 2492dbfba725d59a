#!/usr/bin/env python3
"""A complete tokmark worker in one page: protocol version 1 (docs/protocol.md), Python alone.

    tokmark run --engine "exec:python3 examples/exec_worker.py" --model superintelligence-tiny \\
                --device cpu --precision fp32 --mode infer

Its "model" adds up random numbers, so it measures Python. To make it measure something real, fill
in class Model; the rest is the protocol.
"""
import array
import json
import os
import random
import sys
import time

# First act: take fd 0 and 1 away from everybody else, so that no library's print can break the
# stream.
requests = os.fdopen(os.dup(0), "rb")  # os.dup gives close-on-exec descriptors
replies = os.fdopen(os.dup(1), "wb")
null = os.open(os.devnull, os.O_RDONLY)
os.dup2(null, 0)
os.dup2(2, 1)

LINE_BYTES_MAX = 1 << 20
STEPS_MAX = 10000


class Unsupported(Exception):
    """The cell asks for something that this worker cannot do. Never run something else instead."""


class Model:
    """All of an engine: open, step, facts."""

    def __init__(self, cell):
        if cell["device"] != "cpu":
            raise Unsupported(f"no device '{cell['device']}'; the nearest is 'cpu'")
        if cell["precision"] != "fp32":
            raise Unsupported(f"no precision '{cell['precision']}'; the nearest is 'fp32'")
        started = time.monotonic_ns()
        source = random.Random(int(cell["seed"]))  # a decimal text
        tokens = cell["batch_size"] * (1 if cell["mode"] == "decode" else cell["seq_len"])
        self.numbers = array.array("f", (source.random() for _ in range(tokens)))
        self.total = array.array("f", [0.0])
        self.load_ns = time.monotonic_ns() - started
        self.loss = None

    def step(self):
        """Exactly one step. Timed: no output, nothing that could wait until after the block."""
        total = self.total
        total[0] = 0.0
        for number in self.numbers:
            total[0] += number  # fp32 was asked for: what is stored here is rounded to that
        self.loss = total[0]

    def synchronize(self):
        """For devices that queue work: return when all of it is done."""


def run(model, steps, sync):
    """One block. The host decides about warm-up, repetition and statistics: just run and stamp."""
    stamps = [0] * (steps + 1)  # allocated before any stamp is taken
    stamps[0] = time.monotonic_ns()
    for i in range(steps):
        model.step()
        if sync == "step":
            model.synchronize()
            stamps[i + 1] = time.monotonic_ns()
    if sync == "block":
        model.synchronize()
        stamps[steps] = time.monotonic_ns()
    block = {"type": "block", "steps": steps, "sync": sync, "window_ns": stamps[steps] - stamps[0]}
    if sync == "step":
        block["step_ns"] = [stamps[i + 1] - stamps[i] for i in range(steps)]
    return dict(block, loss=model.loss, nonfinite=0)


def error(kind, text):
    return {"type": "error", "kind": kind, "text": text}


def answer(request, state):
    """The reply to one request. KeyError, TypeError, ValueError: it broke the protocol."""
    kind = request["type"]
    model = state.get("model")
    if kind == "hello" and state["stage"] == "new":
        if 1 not in request["versions"]:
            return error("unsupported", "this worker speaks version 1 only")
        state["stage"] = "greeted"
        return {"type": "hello", "version": 1, "engine": "example", "engine_version": "1",
                "pid": os.getpid()}
    if kind == "open" and state["stage"] == "greeted":
        state["stage"] = "opened"
        try:
            state["model"] = model = Model(request)
        except Unsupported as why:
            return error("unsupported", str(why))
        except MemoryError:
            return error("oom", "no memory for the model")
        # Say what really runs; leave out what is not known.
        return {"type": "ready", "dtype_param": "fp32", "dtype_compute": "fp32",
                "dtype_accumulate": "fp32", "threads": 1, "backend": "python",
                "load_ns": model.load_ns, "tokens_data": "none"}
    if kind == "run":
        steps, sync = request["steps"], request["sync"]
        if type(steps) is not int or not 1 <= steps <= STEPS_MAX or sync not in ("step", "block"):
            raise ValueError("run: steps or sync out of range")
        if model is not None:
            return run(model, steps, sync)
    if kind == "memory":
        return {"type": "memory"}
    if kind == "check":
        return error("unsupported", "computes nothing that could be checked")
    if kind == "close":
        return {"type": "bye"}
    if kind in ("hello", "open", "run"):
        return error("internal", f"'{kind}' has no place here")
    raise ValueError(f"unknown type {kind!r}")


def main():
    state = {"stage": "new"}
    while True:
        line = requests.readline(LINE_BYTES_MAX + 2)
        if not line:
            return 0  # the end of input: the host is gone
        try:
            if not line.endswith(b"\n"):
                raise ValueError("a line that is too long, or cut off")
            reply = answer(json.loads(line), state)
        except (KeyError, TypeError, ValueError) as why:
            reply = error("internal", f"bad request: {why!r}")
            state["exit"] = 1
        replies.write(json.dumps(reply, allow_nan=False).encode() + b"\n")
        replies.flush()
        if reply["type"] == "bye" or "exit" in state:
            return state.get("exit", 0)


sys.exit(main())
