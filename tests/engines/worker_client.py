"""A host of the worker protocol, as small as can be: one line out, one line back."""

import functools
import json
import os
import subprocess
from pathlib import Path

from waiting import TIMEOUT_S

REPOSITORY = Path(__file__).resolve().parents[2]


def tokmark_binary():
    return os.environ.get("TOKMARK_BINARY", str(REPOSITORY / "build" / "tokmark"))


def release_binary():
    """Without sanitizers, whose own memory would be measured."""
    return os.environ.get("TOKMARK_RELEASE_BINARY", tokmark_binary())


# What the protocol itself needs, beside the values that records take from replies.
OWN_KEYS = {
    "hello": {"version", "engine", "engine_version", "pid", "synthetic", "verifies", "profiles"},
    "ready": {"memory_predicted"},
    "block": {"steps", "sync", "window_ns", "step_ns", "recompiles", "expert_tokens", "logits"},
    "memory": {"parts", "rss_bytes", "rss_baseline_bytes", "rss_peak_bytes"},
    "check": {"loss", "tensors"},
    "profile": {"profiler", "steps", "window_ns", "operators_ns", "names", "exchange_ns", "exchange_alone_ns", "operators"},
    "verify": {"loss", "grad_norm", "logits", "head_tokens", "why_not"},
    "bye": set(),
}


@functools.cache
def keys_of(reply):
    """Every key that a reply may have: the table of facts says which values records take."""
    out = subprocess.run([tokmark_binary(), "fields", "--from", reply, "--format", "json"],
                         capture_output=True, text=True, check=True).stdout if reply in ("ready", "block", "memory") else ""
    given = {json.loads(line).get("key") for line in out.splitlines()}
    return {"type"} | OWN_KEYS[reply] | (given - {None})


def with_known_keys(reply, fields):
    unknown = set(fields) - keys_of(reply)
    assert not unknown, f"{unknown} of {reply} are no keys: a row of src/spec/facts.def is missing"
    return fields


class WorkerError(Exception):
    """The worker answered `error`; `reply` is the whole message."""

    def __init__(self, reply):
        super().__init__(reply.get("text", ""))
        self.reply = reply


def open_message(engine, model, mode, seq_len, batch_size, **changes):
    message = {
        "type": "open",
        "engine": engine,
        "framework": engine,
        "model": model,
        "model_source": "preset",
        "device": "cpu",
        "precision": "fp32",
        "mode": mode,
        "seq_len": seq_len,
        "batch_size": batch_size,
        "threads": 2,
        "seed": "1",
        "data": "synthetic",
        "data_hash": "",
        "weights_hash": "",
        "data_path": "",
        "weights_path": "",
    }
    return {**message, **changes}


class Worker:
    """`with Worker("native") as worker: worker.open(...)`. `process`: one that has been started."""

    def __init__(self, engine, binary=None, command=None, process=None):
        self.process = process or subprocess.Popen(
            command or [binary or tokmark_binary(), "worker", engine],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.engine = engine
        self.hello = self.ask({"type": "hello", "versions": [1], "host": "tests"})

    def ask(self, message):
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the worker is gone, exit code {self.process.wait()}")
        reply = json.loads(line)
        if reply["type"] == "error":
            raise WorkerError(reply)
        return with_known_keys(reply["type"], reply)

    def open(self, model, mode, seq_len, batch_size, **changes):
        return self.ask(open_message(self.engine, model, mode, seq_len, batch_size, **changes))

    def run(self, steps, sync="step"):
        return self.ask({"type": "run", "steps": steps, "sync": sync})

    def memory(self):
        return self.ask({"type": "memory"})

    def check(self, inputs, output, train_steps=0):
        return self.ask(
            {
                "type": "check",
                "inputs": str(inputs),
                "output": str(output),
                "train_steps": train_steps,
            }
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            try:
                self.ask({"type": "close"})
            except (RuntimeError, BrokenPipeError, WorkerError):
                pass
        self.process.stdin.close()
        self.process.wait(timeout=TIMEOUT_S)
        self.process.stdout.close()
