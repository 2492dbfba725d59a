"""`tokmark profile` of the engine in C: what it says of a step's operators, and the trace. Other engines: tests/engines/test_profile_engines.py."""
import json

import pytest

from caller import THIN, Caller, worker
from trace_events import trace_of

SMALL = [*THIN, "--seq", "16", "--batch", "2"]
STEPS = 3
# What a step of ours consists of (docs/profile.md).
FORWARD = {"embedding", "norm", "linear", "rotary", "attention", "residual", "router", "gather", "experts", "swiglu", "combine", "head"}
BACKWARD = {f"{name} backward" for name in FORWARD} | {"cross-entropy", "zero", "optimizer"}
NAMES = {
    "infer": FORWARD,
    "train": FORWARD | BACKWARD,
    "decode": (FORWARD - {"attention"}) | {"attention cached", "cache write"},
}


def profiled(call, *args, code=0):
    done = call("profile", *SMALL, "--steps", str(STEPS), "--format", "json", *args, code=code)
    return json.loads(done.stdout)


@pytest.fixture(params=sorted(NAMES), name="seen", scope="module")
def seen_fixture(tmp_path_factory, request):
    return profiled(Caller(tmp_path_factory.mktemp(request.param)), "--mode", request.param)


def test_every_operator_of_the_step_is_named_and_they_fit_into_it(seen):
    names = NAMES[seen["cell"]["mode"]] - ({"residual backward"} if seen["cell"]["mode"] == "train" else set())
    assert {one["name"] for one in seen["operators"]} - {"residual backward"} == names
    assert seen["verdict"] == "ok" and seen["steps"] == STEPS and seen["names"] == len(seen["operators"])
    times = [one["self_ns"] for one in seen["operators"]]
    assert times == sorted(times, reverse=True) and sum(times) == seen["operators_ns"] <= seen["window_ns"]
    assert sum(one["share_percent"] for one in seen["operators"]) == pytest.approx(100 * seen["operators_ns"] / seen["window_ns"])
    # whatever else the steps do, it is little beside them
    assert seen["operators_ns"] > 0.5 * seen["window_ns"]
    assert all(one["calls"] % STEPS == 0 for one in seen["operators"])


def test_the_trace_is_one_and_has_every_call(seen):
    threads = trace_of(seen["trace"])
    assert len(threads) == 1
    spans = next(iter(threads.values()))
    steps = [span for span in spans if span[2].startswith("step ")]
    assert [name for _, _, name in steps] == [f"step {i}" for i in range(STEPS)]
    assert sum(end - begin for begin, end, _ in steps) == pytest.approx(seen["window_ns"] / 1e3)
    for one in seen["operators"]:
        found = [end - begin for begin, end, name in spans if name == one["name"]]
        assert len(found) == one["calls"] and sum(found) == pytest.approx(one["self_ns"] / 1e3)
    assert len(spans) == STEPS + sum(one["calls"] for one in seen["operators"])


def test_work_is_that_of_the_record(call):
    """Of a forward pass all that `step_flops` counts, by another formula: that of the whole model."""
    seen = profiled(call, "--mode", "infer")
    call("run", "--mode", "infer", *SMALL, "--steps", "3", "--warmup", "1", "--out", "timed", code=0)
    record = call.records("timed")[-1]
    assert sum(one["flops"] or 0 for one in seen["operators"]) / STEPS == pytest.approx(record["step_flops"])
    assert record["cell_id"] == seen["cell_id"]
    unknown = {one["name"]: one["peak_percent_null"] for one in seen["operators"] if one["flops"] is None}
    assert set(unknown.values()) == {"flops_not_known"} and "norm" in unknown


def test_people_get_ten_operators_and_a_warning_and_no_record(call):
    done = call("profile", *SMALL, "--mode", "train", "--steps", "2", code=0)
    lines = done.stdout.splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("operator "))
    rows = lines[first + 1: lines.index("", first)]
    assert len(rows) == 12 and rows[10].startswith("(") and "others)" in rows[10] and rows[11].startswith("(outside of operators)")
    assert sum(float(row.split(" %")[0].split()[-1]) for row in rows) == pytest.approx(100, abs=0.7)
    assert "Times under a profiler are longer than those of `tokmark run`" in done.stdout
    path = next(line for line in lines if line.startswith("trace: ")).split()[1]
    assert trace_of(path)
    assert [name for name in call.files() if "bench_results" in name or "events" in name] == []


def test_what_is_no_profile_is_said(call):
    done = call("profile", "--mode", "train", "infer", *SMALL, code=2)
    assert "2 cells" in done.stderr and "--mode" in done.stderr
    assert call.files() == []
    done = call("profile", "--engine", worker(), "--mode", "infer", "--seq", "16", code=4)
    assert "unsupported: unsupported: the worker has no profiler" in done.stdout
    done = call("profile", *SMALL, "--mode", "infer", "--precision", "bf16", code=4)
    assert "unsupported: unsupported: native runs fp32" in done.stdout
    call("profile", *SMALL, "--mode", "infer", "--steps", "1001", code=2)
