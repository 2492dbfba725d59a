"""What a worker in Python takes the host's memory for is what tokmark takes it for: the trees of tests/unit/test_base_sysmem.c,
which has the same figures."""
import json
import os
import sys
import types

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "src", "engines", "python"))

from tokmark_worker import cell_memory, host_memory, protocol, worker  # noqa: E402
from tokmark_worker.errors import WorkerError  # noqa: E402

MIB, GIB = 1 << 20, 1 << 30


@pytest.fixture(name="machine")
def machine_of(monkeypatch):
    """Which tree the machine's files are of."""
    real = host_memory._read

    def choose(name):
        root = os.path.join(ROOT, "tests", "golden", "sysmem", name)
        monkeypatch.setattr(host_memory, "_read", lambda path: real(root + path))
    return choose


@pytest.mark.parametrize("name, total, available", [
    ("bare", 16 * GIB, 8 * GIB), ("v2_parent", 4 * GIB, 3 * GIB + GIB // 4), ("v2_high_full", GIB, 0),
    ("v1_container", 2 * GIB, GIB), ("v1_outside", 3 * GIB, 3 * GIB),
])
def test_every_limit_counts_and_a_reserve_is_left(machine, name, total, available):
    machine(name)
    assert host_memory._limits() == (total, available)
    assert host_memory.usable_bytes() == max(0, available - min(total // 20, 512 * MIB))


@pytest.mark.parametrize("name", ["broken", "no_such_tree"])
def test_what_cannot_be_read_is_not_known(machine, name):
    machine(name)
    assert host_memory.usable_bytes() is None


def test_the_peak_of_a_process_can_be_reset():
    before = host_memory.process_rss()
    memory = bytearray(b"x" * (64 * MIB))
    now, peak = host_memory.process_rss()
    assert now >= before[0] + 60 * MIB and peak >= now
    del memory
    host_memory.reset_peak()
    assert host_memory.process_rss()[1] < peak - 32 * MIB


class Engine:
    """Its first block runs out of memory."""

    name, version = "made up", "1"

    def open(self, _cell):
        return {}

    def run_block(self, _steps, _sync):
        raise WorkerError("oom", "no memory")

    def memory(self):
        return {"allocated_bytes": 7}

    def close(self):
        pass


class Stream:
    def __init__(self, requests):
        self.requests, self.replies = list(requests), []

    def read(self):
        if not self.requests:
            raise protocol.EndOfStream
        return self.requests.pop(0)

    def write(self, message_type, fields):
        self.replies.append((message_type, fields))
        return True


def test_a_cell_s_memory_is_what_came_since_it_was_opened(monkeypatch):
    """The peak is set back before the baseline is taken; each figure is the one that its name says."""
    calls = []
    seen = iter([(100, 300), (150, 400)])
    monkeypatch.setattr(host_memory, "reset_peak", lambda: calls.append("reset"))
    monkeypatch.setattr(host_memory, "process_rss", lambda: calls.append("rss") or next(seen))
    run = {"type": "run", "steps": 1, "sync": "step"}
    replies = replies_of(monkeypatch, Engine, opened(), {"type": "memory"}, run, run)
    assert [message_type for message_type, _ in replies] == ["ready", "memory", "error", "error"], replies
    assert calls == ["reset", "rss", "rss"]
    assert replies[1][1] == {"allocated_bytes": 7, "rss_bytes": 150, "rss_peak_bytes": 400, "rss_baseline_bytes": 100}
    # a step that broke off leaves a state that nothing may be measured in
    assert [fields["kind"] for _, fields in replies[2:]] == ["oom", "internal"]
    assert replies[2][1]["scope"] == "host"


def replies_of(monkeypatch, engine, *requests):
    """Of a worker with that engine: (type, fields) of each."""
    monkeypatch.setattr(worker, "import_engine", lambda _name: engine)
    stream = Stream([{"type": "hello", "versions": [1], "host": "test"}, *requests, {"type": "close"}])
    worker.Worker("pytorch", stream).serve()
    return stream.replies[1:-1]


def opened():
    with open(os.path.join(ROOT, "tests", "protocol", "open.json"), encoding="utf-8") as file:
        return json.load(file)


def test_a_worker_that_refused_a_cell_opens_no_other(monkeypatch):
    class Refusing(Engine):
        def open(self, _cell):
            raise WorkerError("model", "no such model")

    replies = replies_of(monkeypatch, Refusing, opened(), opened(), {"type": "memory"})
    assert [fields.get("text", "")[:34] for _, fields in replies] == ["no such model", "'open' has no place here: it comes", ""]
    assert replies[2][0] == "memory"


def test_a_step_that_cannot_be_verified_is_no_error(monkeypatch):
    """What was measured stays: the host says that nothing was checked."""
    class Unsure(Engine):
        says = iter(["no way", ""])

        def verify(self, _step):
            raise WorkerError("unsupported", next(self.says))

    asked = {"type": "verify", "step": 3}
    replies = replies_of(monkeypatch, Unsure, opened(), asked, asked)
    assert replies[1:] == [("verify", {"why_not": "no way"}), ("verify", {"why_not": "unsupported"})]


@pytest.mark.parametrize("mode, accumulate, optimizer_dtype, param, compute, wanted", [
    # casts; logits: 6 rows of 8 tokens, 64 words
    ("infer", 1, "auto", "fp32", "fp32", 6 * 8 * 64 * 4),
    ("infer", 1, "auto", "fp32", "bf16", 1000 * 2 + 6 * 8 * 64 * 2),
    ("decode", 1, "auto", "fp32", "fp32", 6 * 64 * 4),
    # gradients and two moments; log-softmax and its gradient in fp32
    ("train", 1, "auto", "fp32", "fp32", 1000 * (4 + 8) + 6 * 8 * 64 * (4 + 8)),
    ("train", 3, "auto", "fp32", "fp32", 1000 * (4 + 8) + 2 * 8 * 64 * (4 + 8)),
    ("train", 1, "bf16", "fp32", "fp32", 1000 * (4 + 4) + 6 * 8 * 64 * (4 + 8)),
    ("train", 1, "auto", "bf16", "bf16", 1000 * (2 + 4) + 6 * 8 * 64 * (2 + 8)),
])
def test_what_a_cell_cannot_do_without(mode, accumulate, optimizer_dtype, param, compute, wanted):
    options = types.SimpleNamespace(accumulate=accumulate, optimizer_dtype=optimizer_dtype)
    cell = types.SimpleNamespace(mode=mode, batch_size=6, seq_len=8, options=options)
    assert cell_memory.bytes_to_come(1000, cell, 64, param, compute) == wanted
    weights = 1000 * (4 if param == "fp32" else 2)
    assert cell_memory.bytes_least(1000, cell, 64, param, compute) == weights + wanted


def test_a_cell_that_the_host_cannot_hold_is_refused_unless_it_asks_to_be_tried(machine):
    machine("v2_parent")  # 4 GiB, of which 3.25 are left, and a 20th is kept
    usable = host_memory.usable_bytes()
    cell = types.SimpleNamespace(memory_check="on")
    cell_memory.require_host(cell, "the cell", usable)
    with pytest.raises(WorkerError) as refused:
        cell_memory.require_host(cell, "the cell", usable + 1)
    error = refused.value
    assert (error.kind, error.needed_bytes, error.available_bytes, error.scope) == ("oom", usable + 1, usable, "host")
    cell_memory.require_host(types.SimpleNamespace(memory_check="off"), "the cell", usable + 1)
