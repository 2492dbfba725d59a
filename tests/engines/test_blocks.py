"""What lies between the first stamp of a block and the last, with a made-up clock and steps that finish late."""
import gc
import os
import threading
import types

import pytest

from pytorch_worker import PYTHON_SOURCES  # noqa: F401

from tokmark_worker import blocks, logit_sample, protocol

STEP_NS, PREPARE_NS, TIMER_NS = 1000, 50_000, 700


class LateEngine:
    """Starting a step takes 1 ns; waiting for it takes the rest. Time passes only where it says so."""

    def __init__(self, monkeypatch):
        self.now = 10
        self.started = 0
        self.log = []
        monkeypatch.setattr(blocks.time, "perf_counter_ns", self.clock)

    def clock(self):
        self.log.append("stamp")
        return self.now

    def step(self, tokens, _targets):
        self.log.append("step")
        self.now += 1
        self.started += 1
        return tokens

    def wait(self, _result):
        self.log.append("wait")
        self.now += self.started * (STEP_NS - 1)
        self.started = 0

    def make(self):
        self.now += PREPARE_NS
        return [1, 2, 3], [4, 5, 6]

    def look(self, _block):
        self.now += 5
        return {}

    # as a timer
    def start(self):
        self.log.append("start")

    def stop(self):
        self.log.append("stop")

    def elapsed_ns(self):
        return TIMER_NS


@pytest.fixture(name="engine")
def make_engine(monkeypatch):
    return LateEngine(monkeypatch)


def run(engine, sync, timer=None, parts=1):
    block = blocks.Block(sync, False, engine.wait, timer)
    for _ in range(parts):
        block.run(engine.step, *block.prepare(engine.make))
    block.observe(engine.look)
    return block


def test_a_step_is_stamped_when_it_is_complete(engine):
    fields = run(engine, "step").fields()
    assert fields["step_ns"] == [STEP_NS] * 3
    assert fields["window_ns"] == 3 * STEP_NS
    assert (fields["prepare_ns"], fields["observe_ns"]) == (PREPARE_NS, 5)


def test_a_block_ends_when_all_of_it_is_complete(engine):
    fields = run(engine, "block").fields()
    assert fields["step_ns"] is None
    assert fields["window_ns"] == 3 * STEP_NS
    waits = [at for at, what in enumerate(engine.log) if what == "wait"]
    steps = [at for at, what in enumerate(engine.log) if what == "step"]
    assert not [at for at in waits if steps[0] < at < steps[-1]], "nothing waits inside"


def test_what_is_under_way_before_it_is_not_the_blocks(engine):
    engine.step(None, None)
    assert run(engine, "block").fields()["window_ns"] == 3 * STEP_NS


@pytest.mark.parametrize("sync", ["step", "block"])
@pytest.mark.parametrize("keeps_all, kept", [(True, [1, 2, 3]), (False, [3])])
def test_losses_are_kept_of_every_step_and_outputs_of_the_last(engine, sync, keeps_all, kept):
    block = blocks.Block(sync, keeps_all, engine.wait)
    block.run(engine.step, *engine.make())
    assert block.results == kept


def test_samples_of_logits_are_of_every_part_of_the_batch():
    rows, positions, columns = logit_sample.places((8, 5, 64))
    part = 8 * 5 * 64 // logit_sample.COUNT
    found = [(row * 5 + position) * 64 + column for row, position, column in zip(rows, positions, columns)]
    assert [at // part for at in found] == list(range(logit_sample.COUNT))
    assert logit_sample.places((1, 1, logit_sample.COUNT - 1)) is None


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_a_line_that_is_too_long_is_refused(end):
    read_fd, write_fd = os.pipe()
    with open(write_fd, "wb") as to_worker, open(read_fd, "rb") as from_host:
        stream = protocol.Stream(from_host.fileno(), -1)
        writer = threading.Thread(target=lambda: (to_worker.write(b"x" * (protocol.LINE_BYTES_MAX + 1) + end), to_worker.close()))
        writer.start()
        with pytest.raises(protocol.ProtocolError, match="more than 1048576 bytes"):
            stream.read()
        from_host.read()
        writer.join()


@pytest.mark.parametrize("sync", ["step", "block"])
def test_parts_are_prepared_outside_of_the_windows(engine, sync):
    block = run(engine, sync, parts=2)
    fields = block.fields()
    assert block.steps_done == 6
    assert fields["window_ns"] == 6 * STEP_NS
    assert fields["prepare_ns"] == 2 * PREPARE_NS


@pytest.mark.parametrize("sync", ["step", "block"])
def test_the_devices_clock_runs_from_before_the_steps_to_after_them(engine, sync):
    fields = run(engine, sync, timer=engine).fields()
    assert fields["device_ns"] == TIMER_NS
    found = [what for what in engine.log if what in ("start", "step", "stop")]
    assert found == ["start", "step", "step", "step", "stop"]
    assert fields["window_ns"] == 3 * STEP_NS


def test_parts_of_batches_are_bounded():
    cell = types.SimpleNamespace(batch_size=4, seq_len=1024)
    assert blocks.part_steps(cell) == (64 << 20) // (2 * 8 * 4 * 1024)
    assert blocks.part_steps(cell, 200 * 2 * 8 * 4 * 1024 * 3) == 3
    assert blocks.part_steps(cell, 0) == 1


class Bare:
    """What _run_block asks of an engine's parts, and nothing more."""

    def __init__(self, engine):
        self.seen = []
        engine._cell = types.SimpleNamespace(mode="infer", batch_size=1, seq_len=4)
        engine._device = types.SimpleNamespace(type="cpu", platform="cpu")
        engine._steps = self
        engine._memory = types.SimpleNamespace(begin_steps=lambda: None, end_of_steps=lambda: None)
        engine._steps_done = 0
        engine._compilations = types.SimpleNamespace(count=0)
        engine._device_batches = lambda first, count: (self.seen.append(("batches", first)), ([0] * count,) * 2)[1]
        engine._look = lambda block: {"loss": 1.0}
        engine._wait = lambda result: None
        self.engine = engine

    def step(self, tokens, targets):
        self.seen.append(("gc", gc.isenabled()))
        self.engine._compilations.count += 1
        return tokens


def bare(name):
    module = pytest.importorskip(f"tokmark_worker.{name}_engine")
    kind = {"torch": "TorchEngine", "jax": "JaxEngine"}[name]
    engine = object.__new__(getattr(module, kind))
    engine._layout = types.SimpleNamespace(wait_for_all=lambda: None)
    return module, engine, Bare(engine)


@pytest.mark.parametrize("name", ["torch", "jax"])
def test_no_collection_falls_into_a_block(name):
    pytest.importorskip(name)
    _, engine, parts = bare(name)
    engine._run_block(2, "block")
    assert [value for what, value in parts.seen if what == "gc"] == [False, False]
    assert gc.isenabled(), "and it is on again"


@pytest.mark.parametrize("name", ["torch", "jax"])
def test_every_block_goes_on_where_the_last_one_ended(name):
    pytest.importorskip(name)
    _, engine, parts = bare(name)
    engine._run_block(2, "block")
    engine._run_block(3, "step")
    assert [value for what, value in parts.seen if what == "batches"] == [0, 2]


def test_compilations_inside_a_block_are_counted(monkeypatch):
    pytest.importorskip("torch")
    module, engine, _ = bare("torch")
    counts = iter([5, 7])
    monkeypatch.setattr(module, "frames_compiled", lambda: next(counts))
    assert engine._run_block(2, "block")["recompiles"] == 2


def test_compilations_of_jax_inside_a_block_are_counted():
    pytest.importorskip("jax")
    _, engine, _ = bare("jax")
    assert engine._run_block(2, "block")["recompiles"] == 2
