"""What lies between the first stamp of a block and the last, with a made-up clock and steps that finish late."""
import contextlib
import gc
import os
import threading
import types

import pytest

from pytorch_worker import PYTHON_SOURCES  # noqa: F401

from tokmark_worker import blocks, logit_sample, peak, protocol

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
        log = self.seen.append
        engine._memory = types.SimpleNamespace(begin_steps=lambda: log(("peak", "begins")), end_of_steps=lambda: log(("peak", "ends")))
        engine._steps_done = 0
        engine._compilations = types.SimpleNamespace(count=0)
        engine._device_batches = lambda first, count: (self.seen.append(("batches", first)), ([0] * count,) * 2)[1]
        engine._look = lambda block: (log(("look", gc.isenabled())), {"loss": 1.0})[1]
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
    parts = Bare(engine)
    engine._layout = types.SimpleNamespace(wait_for_all=lambda: parts.seen.append(("ranks", "wait")))
    return module, engine, parts


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


@pytest.mark.parametrize("name", ["torch", "jax"])
def test_ranks_wait_for_one_another_when_their_batches_are_there(name):
    """Else the first step of one would be timed while another still prepares."""
    pytest.importorskip(name)
    _, engine, parts = bare(name)
    engine._run_block(2, "block")
    assert [what for what, _ in parts.seen if what in ("batches", "ranks", "gc")] == ["batches", "ranks", "gc", "gc"]


def test_the_peak_of_a_card_is_read_before_the_block_is_looked_at():
    pytest.importorskip("torch")
    _, engine, parts = bare("torch")
    engine._run_block(1, "block")
    found = [value if what == "peak" else what for what, value in parts.seen if what in ("peak", "batches", "gc", "look")]
    assert found == ["begins", "batches", "gc", "ends", "look"]


@pytest.mark.parametrize("name, step_bytes", [("torch", 2 * 8 * 4), ("jax", 2 * 4 * 4)])
def test_a_card_s_batches_are_few_beside_its_weights_and_its_clock_is_read(name, step_bytes, monkeypatch):
    pytest.importorskip(name)
    module, engine, parts = bare(name)
    weights = types.SimpleNamespace(numel=lambda: 100, element_size=lambda: 2 * step_bytes)
    engine._device = types.SimpleNamespace(type="cuda", platform="gpu")
    if name == "torch":
        monkeypatch.setattr(module, "_EventTimer", lambda: LateEngine(monkeypatch))
        engine._source = types.SimpleNamespace(model=types.SimpleNamespace(parameters=lambda: [weights, weights]))
    else:
        monkeypatch.setattr(module, "tree_bytes", lambda tree: {"of weights": 400 * step_bytes}[tree])
        parts.parts = lambda: {"weights": "of weights", "optimizer": "of others"}
    found = engine._run_block(5, "block")
    # a 200th of the weights is two steps' batches
    assert [value for what, value in parts.seen if what == "batches"] == [0, 2, 4]
    assert found["device_ns"] == (3 * TIMER_NS if name == "torch" else None)


@pytest.mark.parametrize("kind, waited_for", [("TrainSteps", ("left", "given")), ("DecodeSteps", ("left", "given")), ("InferSteps", "given")])
def test_all_that_a_step_of_jax_leaves_is_waited_for(kind, waited_for, monkeypatch):
    """The weights or the cache of the next step, too: else a step would end before its work does."""
    jax = pytest.importorskip("jax")
    from tokmark_worker import jax_engine, jax_steps

    waited = []
    monkeypatch.setattr(jax, "block_until_ready", waited.append)
    engine = object.__new__(jax_engine.JaxEngine)
    engine._steps = object.__new__(getattr(jax_steps, kind))
    if kind != "InferSteps":
        setattr(engine._steps, {"TrainSteps": "state", "DecodeSteps": "cache"}[kind], "left")
    engine._wait("given")
    assert waited == [waited_for]


@pytest.mark.parametrize("mode, columns", [("train", [0, 1, 2, 3]), ("decode", [3])])
def test_batches_of_jax_are_on_the_device_before_a_step(mode, columns, monkeypatch):
    jax = pytest.importorskip("jax")
    import numpy
    from tokmark_worker import jax_engine

    waited = []
    monkeypatch.setattr(jax, "block_until_ready", waited.append)
    engine = object.__new__(jax_engine.JaxEngine)
    engine._cell = types.SimpleNamespace(mode=mode)
    engine._layout = types.SimpleNamespace(rows="rows", put=lambda array, where: (where, str(array.dtype), array.tolist()))
    tokens = numpy.arange(4).reshape(1, 1, 4)
    engine._tokens = types.SimpleNamespace(batches=lambda first, count: (tokens + first, tokens + count))
    made = engine._device_batches(20, 10)
    assert made == tuple([("rows", "int32", [[first + at for at in columns]])] for first in (20, 10))
    assert waited == [made]


@pytest.mark.parametrize("mode, is_in_order", [("infer", True), ("train", False), ("decode", False)])
def test_inference_steps_of_jax_run_one_after_the_other(mode, is_in_order, monkeypatch):
    """On a CPU they may not: to wait for the last would not be to wait for all."""
    jax = pytest.importorskip("jax")
    from tokmark_worker.jax_engine import run_in_order

    updates = []
    monkeypatch.setattr(type(jax.config), "update", lambda _config, *words: updates.append(words))
    run_in_order(types.SimpleNamespace(mode=mode))
    assert updates == ([("jax_cpu_enable_async_dispatch", False)] if is_in_order else [])


@pytest.mark.parametrize("count, neighbours, used, told", [(0, 1, 8, None), (0, 2, 4, "4"), (3, 2, 3, "3"), (0, 20, 1, "1")])
def test_ranks_of_jax_share_the_processors_of_their_host(count, neighbours, used, told, monkeypatch):
    pytest.importorskip("jax")
    from tokmark_worker import jax_engine

    monkeypatch.setattr(jax_engine.os, "sched_getaffinity", lambda _pid: set(range(8)))
    monkeypatch.setattr(jax_engine.os, "environ", {})
    assert jax_engine.use_threads(count, neighbours) == used
    assert jax_engine.os.environ.get("NPROC") == told


class Scaler:
    """Of gradients, by 8."""

    def __init__(self):
        self.log = []

    def scale(self, loss):
        self.log.append("scale")
        return 8 * loss

    def step(self, optimizer):
        self.log.append(optimizer)

    def update(self):
        self.log.append("update")


@pytest.mark.parametrize("has_scaler", [True, False])
@pytest.mark.parametrize("copies", [True, False])
def test_a_step_gives_its_loss_and_scales_the_gradients_alone(has_scaler, copies):
    torch = pytest.importorskip("torch")
    from tokmark_worker.torch_steps import TrainSteps

    model = torch.nn.Linear(1, 1, bias=False)
    losses = []

    def loss(tokens, _targets):
        losses.append(3 * model(tokens).sum())
        return losses[-1], None

    options = types.SimpleNamespace(accumulate=1, optimizer_dtype="auto", lr="1e-3")
    precision = types.SimpleNamespace(has_scaler=False, autocast=contextlib.nullcontext)
    layout = types.SimpleNamespace(exchange=lambda _is_last: contextlib.nullcontext())
    caller = types.SimpleNamespace(model=model, loss=loss)
    steps = TrainSteps(caller, precision, types.SimpleNamespace(options=options), torch.device("cpu"), layout)
    steps._scaler, steps.copies_loss = Scaler() if has_scaler else None, copies
    before = model.weight.item()
    given = steps.step(torch.ones(1, 1), torch.ones(1, 1))
    assert given.item() == pytest.approx(3 * before) and not given.requires_grad
    # where the next step overwrites what this one gave, it is a copy
    assert (given.data_ptr() == losses[0].data_ptr()) != copies
    assert model.weight.grad.item() == (24 if has_scaler else 3)
    if has_scaler:
        assert steps._scaler.log == ["scale", steps.optimizer, "update"] and model.weight.item() == before
        assert steps.grad_norm() is None  # of scaled gradients, that may overflow: no defect
    else:
        assert model.weight.item() != before and steps.grad_norm() == 3


@pytest.mark.parametrize("has_scaler, norm, nonfinite", [(True, None, 0), (False, float("inf"), 1)])
def test_a_gradient_that_overflows_under_a_scaler_of_jax_is_no_defect(has_scaler, norm, nonfinite):
    pytest.importorskip("jax")
    _, engine, _ = bare("jax")
    del engine._look
    engine._cell.mode = "train"
    engine._precision = types.SimpleNamespace(has_scaler=has_scaler)
    block = types.SimpleNamespace(results=[(1.0, 2.0), (3.0, float("inf"))])
    assert engine._look(block) == {"loss": 3.0, "grad_norm": norm, "nonfinite": nonfinite}


@pytest.mark.parametrize("again, is_same", [
    ({"loss": 2.0, "logits": [1.0, -1.0]}, True), ({"loss": 2.0 + 1e-5, "logits": [1.0, -1.0 - 1e-5]}, True),
    ({"loss": 2.001, "logits": [1.0, -1.0]}, False), ({"loss": 2.0, "logits": [-1.0, 1.0]}, False),
    ({"loss": None, "logits": [1.0, -1.0]}, False),
])
def test_a_model_of_a_user_s_must_repeat_itself(again, is_same):
    """Else a step could not be told from another one by its numbers."""
    pytest.importorskip("torch")
    from tokmark_worker.errors import WorkerError
    from tokmark_worker.torch_verify import Verification

    found = {"loss": 2.0, "logits": [1.0, -1.0]}
    for is_builtin in (True, False):
        gives = iter([found, again])
        source = types.SimpleNamespace(is_builtin=is_builtin)
        verification = Verification(types.SimpleNamespace(mode="infer"), source, None, None, None, None, None)
        verification._infer = lambda _step, gives=gives: next(gives)
        if is_same or is_builtin:
            assert verification.expected(3) == found
        else:
            with pytest.raises(WorkerError, match="other numbers each time"):
                verification.expected(3)


def test_a_device_s_best_is_of_complete_work_after_its_clocks_came_up(monkeypatch):
    now, started = 0.0, 0

    def call():
        nonlocal now, started
        now, started = now + 1e-4, started + 1

    def wait():
        nonlocal now, started
        is_too_good = 0.05 < now < 0.45  # all of it before the warm-up ends
        now, started = now + started * (1e-3 if is_too_good else 4.9e-3), 0

    monkeypatch.setattr(peak.time, "perf_counter", lambda: now)
    assert peak.best_seconds(call, wait) == pytest.approx(5e-3)
    assert now == pytest.approx(peak.WARM_S + peak.MEASURE_S, abs=0.05)


def test_a_device_s_rates_are_of_the_work_that_was_done(monkeypatch):
    monkeypatch.setattr(peak, "best_seconds", lambda call, _wait: call())
    framework = types.SimpleNamespace(
        version="1", device_name=None, is_host=True, wait=None, precisions=lambda: ["fp32"], product=lambda _name, size: lambda: size / 1024,
        streams=lambda count: {"read_bytes": (lambda: 4.0, 4 * count)}, launch=lambda: lambda: 3e-6)
    assert peak.measure(framework) == {
        "engine_version": "1", "device_name": None, "matmul_flops": {"fp32": 2 * 2048**3 / 2}, "read_bytes": (1 << 28) / 4,
        "launch_ns": pytest.approx(3000)}


@pytest.mark.parametrize("name", ["torch", "jax"])
def test_a_device_s_streams_move_what_they_say(name):
    pytest.importorskip(name)
    streams = {"torch": peak.Torch, "jax": peak.Jax}[name]("cpu").streams(8)
    assert {name: moved for name, (_, moved) in streams.items() if name != "write_bytes"} == {"read_bytes": 4 * 8, "triad_bytes": 12 * 8}
    assert streams.get("write_bytes", (None, 4 * 8))[1] == 4 * 8


@pytest.mark.parametrize("mode", ["train", "infer"])
def test_first_calls_take_no_random_numbers_and_all_but_one_are_not_looked_at(mode):
    """The first timed step has those of a bare script."""
    torch = pytest.importorskip("torch")
    _, engine, parts = bare("torch")
    looked_at = []

    def call(_tokens, _targets, watch, _backward):
        looked_at.append(not isinstance(watch, contextlib.nullcontext))
        with watch:
            torch.rand(3)

    tokens = torch.zeros(1, 4, dtype=torch.int64)
    options = types.SimpleNamespace(compile="off", attention="auto")
    engine._cell, engine._device = types.SimpleNamespace(mode=mode, options=options), torch.device("cpu")
    engine._source = types.SimpleNamespace(model=torch.nn.Linear(1, 1))
    engine._observer = engine._backward = None
    parts.without_gradient = []
    stubs = {"_first_call": call, "_device_batches": lambda *_: ([tokens], [tokens]), "_forward_text": lambda: "forward",
             "_guard": lambda _what, function, *words: function(*words), "_require_output": lambda *_: None,
             "_require_all_tokens": lambda *_: None}
    for name, stub in stubs.items():
        setattr(engine, name, stub)
    before = torch.get_rng_state()
    assert engine._call_first(0) > 0
    assert torch.equal(torch.get_rng_state(), before)
    assert looked_at == [False, True]
