"""`profile` of the engines in Python: operators by their framework's own profiler, and its trace."""
import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from jax_worker import JaxWorker
from pytorch_worker import GELU, SERVER, TorchWorker
from waiting import TIMEOUT_S
from worker_client import WorkerError, tokmark_binary

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "cli"))
from trace_events import trace_of  # noqa: E402

STEPS = 3
PLAIN = {**GELU, "dropout": 0.0, "layers_count": 1}


def profiled(worker, path, model=PLAIN, mode="train"):
    with worker() as open_worker:
        assert open_worker.hello["profiles"] is True
        open_worker.open(model, mode)
        open_worker.run(2)
        seen = open_worker.ask({"type": "profile", "steps": STEPS, "trace": str(path)})
        # the worker is still one
        assert open_worker.run(1)["nonfinite"] == 0
    assert seen["steps"] == STEPS and seen["names"] >= len(seen["operators"]) > 3
    times = [one["self_ns"] for one in seen["operators"]]
    assert times == sorted(times, reverse=True)
    assert sum(times) <= seen["operators_ns"] + len(times)
    # shares of one step: nothing is counted twice
    assert 0 < seen["operators_ns"] <= seen["window_ns"]
    assert all(one["calls"] >= STEPS for one in seen["operators"])
    return seen


@pytest.mark.parametrize("mode", ["train", "infer", "decode"])
def test_pytorch(tmp_path, mode):
    seen = profiled(TorchWorker, tmp_path / "trace.json", mode=mode)
    names = {one["name"] for one in seen["operators"]}
    assert "aten::addmm" in names and not any(name.startswith("step ") for name in names)
    assert ("Optimizer.step#AdamW.step" in names) == (mode == "train")
    assert seen["profiler"].startswith("torch.profiler") and seen["profiler"].endswith("operators on cpu")
    spans = [span for spans in trace_of(tmp_path / "trace.json").values() for span in spans]
    for one in seen["operators"]:
        count = sum(name == one["name"] for _, _, name in spans)
        # PyTorch sums an operator with one of the same name that is all it calls
        assert count >= one["calls"] and (count == one["calls"] or "mm" not in one["name"]), one
    assert [name for _, _, name in sorted(spans) if name.startswith("step ")] == [f"step {i}" for i in range(STEPS)]


@pytest.mark.parametrize("layout", ["ddp", "fsdp"])
def test_pytorch_on_two_devices_tells_what_exchanges_cost(tmp_path, layout):
    with TorchWorker() as worker:
        worker.open(PLAIN, "train", batch_size=2, device="cpu:2", threads=1, parallel=layout)
        worker.run(2)
        seen = worker.ask({"type": "profile", "steps": STEPS, "trace": str(tmp_path / "trace.json")})
        assert worker.run(1)["nonfinite"] == 0
    assert 0 < seen["exchange_ns"] <= seen["window_ns"]
    assert 0 <= seen["exchange_alone_ns"] <= seen["exchange_ns"]
    spans = [span for spans in trace_of(tmp_path / "trace.json").values() for span in spans]
    assert sum(name == "step 0" for _, _, name in spans) == 1, "of one rank"
    assert any(name.startswith("gloo:") for _, _, name in spans)


def test_the_share_of_communication_is_told(tmp_path):
    words = [tokmark_binary(), "profile", "--engine", SERVER.exec_engine("pytorch", tmp_path), "--model", "superintelligence-tiny", "--set",
             "vocab_size=97", "dim=24", "layers_count=1", "heads_count=2", "ffn_hidden=16", "experts_count=2", "rotary_dim=8",
             "--devices", "cpu:2", "--parallel", "ddp", "--mode", "train", "--precision", "fp32", "--seq", "8", "--batch", "2", "--steps", "2"]
    text, line = (
        subprocess.run([*words, "--format", form], cwd=tmp_path, capture_output=True, text=True, timeout=TIMEOUT_S, check=True).stdout
        for form in ("text", "json")
    )
    whole, alone = re.search(r"^communication: ([\d.]+) % of the time, ([\d.]+) % while nothing was computed", text, re.M).groups()
    assert 0 <= float(alone) <= float(whole) <= 100 and float(whole) > 0
    seen = json.loads(line)
    assert 0 <= seen["exchange_alone_ns"] <= seen["exchange_ns"] <= seen["window_ns"]


def test_an_exchange_is_hidden_as_far_as_something_is_computed():
    from tokmark_worker.torch_profile import _exchanges

    def event(name, begin_us, end_us, device="CPU", children=(), is_note=False):
        span = SimpleNamespace(start=begin_us, end=end_us)
        kind = getattr(torch.autograd.DeviceType, device)
        return SimpleNamespace(name=name, time_range=span, device_type=kind, cpu_children=list(children), is_user_annotation=is_note)

    on_cpu = [
        event("aten::linear", 0, 100, children=["aten::addmm"]), event("aten::addmm", 10, 30), event("aten::mm", 50, 60),
        event("gloo:all_reduce", 20, 40), event("gloo:all_reduce", 35, 55), event("gloo:all_gather", 90, 95), event("step 0", 0, 100),
    ]
    # 20 to 55 and 90 to 95; computed are 20 to 30 and 50 to 55 of it
    assert _exchanges(on_cpu, False) == {"exchange_ns": 40_000, "exchange_alone_ns": 25_000}
    on_device = [
        event("aten::mm", 0, 100), event("gemm", 0, 10, "CUDA"), event("gemm", 12, 20, "CUDA"), event("nccl:all_reduce", 5, 15, "CUDA", is_note=True),
        event("ncclDevKernel_AllReduce_Sum_f32_RING_LL", 5, 15, "CUDA"), event("step 0", 0, 20, "CUDA", is_note=True),
    ]
    assert _exchanges(on_device, True) == {"exchange_ns": 10_000, "exchange_alone_ns": 2_000}
    assert _exchanges(on_device[:2], True) == {"exchange_ns": 0, "exchange_alone_ns": 0}


def test_work_of_pytorch_is_what_its_own_counter_counts(tmp_path):
    """Matmuls and attention, of the forward and the backward pass, by shape."""
    seen = profiled(TorchWorker, tmp_path / "trace.json")
    counted = sum(one["flops"] for one in seen["operators"] if one.get("flops"))
    batch, tokens, dim, hidden, heads = 2, 40, PLAIN["dim"], PLAIN["ffn_hidden"], PLAIN["heads_count"]
    x = torch.randn(batch * tokens, dim, requires_grad=True)
    weights = [torch.randn(size, requires_grad=True) for size in ((dim, 3 * dim), (dim, dim), (dim, hidden), (hidden, dim), (dim, PLAIN["vocab_size"]))]
    with FlopCounterMode(display=False) as counter:
        for weight in weights:
            rows = x if weight.shape[0] == dim else torch.randn(batch * tokens, hidden, requires_grad=True)
            (rows @ weight).sum().backward()
    q = (batch, heads, tokens, dim // heads)
    attention = sdpa_flop_count(q, q, q) + sdpa_backward_flop_count(q, q, q, q)
    assert counted / STEPS == pytest.approx(counter.get_total_flops() + attention, rel=0.01)


@pytest.mark.parametrize("mode", ["train", "infer"])
def test_jax(tmp_path, mode):
    seen = profiled(JaxWorker, tmp_path / "trace.json", mode=mode)
    assert seen["profiler"].startswith("jax.profiler") and "cpu" in seen["profiler"]
    assert any("dot" in one["name"] for one in seen["operators"])
    spans = [span for spans in trace_of(tmp_path / "trace.json").values() for span in spans]
    assert [name for _, _, name in sorted(spans) if name.startswith("step ")] == [f"step {i}" for i in range(STEPS)]


def test_instants_of_nested_and_of_parallel_instructions_count_once():
    from tokmark_worker.jax_profile import _times, innermost

    nested = [(0, 10, "while"), (2, 5, "dot"), (5, 6, "add"), (12, 13, "dot")]
    assert innermost(nested) == [(0, 2, "while"), (2, 5, "dot"), (5, 6, "add"), (6, 10, "while"), (12, 13, "dot")]
    events = [
        {"ph": "X", "pid": 1, "tid": tid, "ts": begin, "dur": end - begin, "args": {"hlo_op": name}}
        for tid, begin, end, name in [(1, 0, 4, "dot"), (2, 2, 6, "add"), (1, 8, 9, "dot")]
    ]
    assert _times(events) == {"dot": [2, pytest.approx(4)], "add": [1, pytest.approx(3)]}


def test_a_trace_that_cannot_be_written_is_an_error(tmp_path):
    for worker in (TorchWorker, JaxWorker):
        with worker() as open_worker:
            open_worker.open(PLAIN, "infer")
            with pytest.raises(WorkerError):
                open_worker.ask({"type": "profile", "steps": 1, "trace": str(tmp_path / "none" / "trace.json")})
