"""One record, field by field: what the worker said, what follows from its steps by arithmetic of this file's own,
and what was asked for. Ids: what changes them."""
import json
import math
import os
import re
import statistics
import sys

import pytest

from caller import records

WORKER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "scripted_worker.py")
MIB = 1 << 20
READY = {
    "notes": "one remark", "load_ns": 11_000_000, "compile_ns": 12_000_000, "trace_ns": 13_000_000,
    "model_source": "factory x", "params_total": 1_234_567, "params_active": 234_567, "params_trainable": 34_567,
    "tokens_data": "text novel.txt", "dtype_param": "bf16", "dtype_compute": "fp32", "dtype_accumulate": "fp64",
    "tf32": False, "backend": "kernels", "threads": 3, "compiler_flops": 77.5, "model_chosen": "width 3",
    "model_config": {"a": {"value": 1, "from": "default"}}, "forward_call": "forward(ids)", "loss_source": "model",
    "compiled": "no", "dtype_buffers": "fp16", "dtype_kept": "norms", "framework_settings": "none",
    "device_name": "Card 5", "memory_predicted": {"total_bytes": 21 * MIB},
}
PARTS = {name: (index + 1) * MIB for index, name in enumerate(
    ["weights", "gradients", "optimizer", "activations", "kv_cache", "workspace", "other"])}
MEMORY = {
    "allocated_bytes": 31 * MIB, "reserved_bytes": 32 * MIB, "device_used_bytes": 34 * MIB,
    "device_total_bytes": 35 * MIB, "rss_bytes": 44 * MIB, "rss_baseline_bytes": 41 * MIB, "rss_peak_bytes": 46 * MIB,
    "parts": {**{f"{name}_bytes": value for name, value in PARTS.items()}, "total_bytes": 50 * MIB},
}


def block(at):
    return {"loss": 9 - at / 8, "grad_norm": 2 + at / 16, "nonfinite": 0, "device_ns": 1000 + at, "prepare_ns": 100 + at,
            "observe_ns": 200 + at, "head_tokens": 60 + at, "cache_tokens": 7, "recompiles": 0,
            "expert_tokens": [10 + at, 20 + at, 60 + at]}


SCRIPT = {"ready": READY, "memory": MEMORY, "step_ns": [200_000, 900_000], "blocks": [block(at) for at in range(4000)]}
STEPS, WARMUP, SEQ, BATCH = 3000, 7, 8, 3


@pytest.fixture(scope="module", name="run")
def run_once(tmp_path_factory):
    """(record, the worker's blocks, lines of raw samples)"""
    from caller import Caller

    call = Caller(tmp_path_factory.mktemp("whole"))
    (call.folder / "script").write_text(json.dumps(SCRIPT))
    engine = f"exec:{sys.executable} '{WORKER}' script said"
    call("run", "--engine", engine, "--model", "superintelligence-tiny", "--mode", "train", "--seq", str(SEQ), "--batch",
         str(BATCH), "--steps", str(STEPS), "--warmup", str(WARMUP), "--seed", "9", "--precision", "fp32", "--threads",
         "3", code=3)
    (record,) = records(call.folder, "_bench")
    said = [json.loads(line) for line in (call.folder / "said").read_text().splitlines()]
    (samples,) = (call.folder / "_bench" / "samples").iterdir()
    lines = [json.loads(line) for line in samples.read_text().splitlines()]
    return record, [reply for reply in said if reply["type"] == "block"], lines


def measured(run):
    _, blocks, lines = run
    assert [line["ns"] for line in lines] == [reply["step_ns"] for reply in blocks]
    return [reply for reply, line in zip(blocks, lines) if line["phase"] == "steady"]


def test_what_the_worker_said(run):
    record, blocks, _ = run
    steady = measured(run)
    wanted = {key: value for key, value in READY.items() if key in record and key != "notes"}
    assert {key: record[key] for key in wanted} == wanted
    assert record["notes"].startswith("one remark")
    assert (record["load_ms"], record["compile_ms"], record["trace_ms"]) == (11, 12, 13)
    assert record["params_millions"] == pytest.approx(1.234567)
    assert record["mem_predicted_mb"] == 21
    assert record["mem_parts_mb"] == {name: value / MIB for name, value in PARTS.items()}
    names = ["mem_alloc_mb", "mem_reserved_mb", "mem_device_used_mb", "mem_device_total_mb", "rss_peak_mb", "peak_mem_mb"]
    assert [record[name] for name in names] == [31, 32, 34, 35, 5, 5]
    assert record["engine_version"] == "3.1" and record["synthetic"] is False
    first, last = steady[0], steady[-1]
    assert record["loss_first"] == first["loss"] and record["loss_last"] == last["loss"]
    assert record["grad_norm_last"] == last["grad_norm"]
    assert (record["head_tokens"], record["cache_tokens"]) == (last["head_tokens"], last["cache_tokens"])
    assert record["expert_tokens"] == last["expert_tokens"]
    assert record["expert_imbalance"] == pytest.approx(max(last["expert_tokens"]) * 3 / sum(last["expert_tokens"]))
    assert record["nonfinite"] == 0
    assert record["prepare_ms"] == pytest.approx(sum(reply["prepare_ns"] for reply in steady) / 1e6)
    assert record["observe_ms"] == pytest.approx(sum(reply["observe_ns"] for reply in steady) / 1e6)
    assert record["device_ms_per_step"] == pytest.approx(sum(reply["device_ns"] for reply in steady) / STEPS / 1e6)
    assert record["step_check"] == "unchecked" and record["step_difference"] is None
    assert record["worker_exit"] == "exit 0" and record["log_tail"] is None
    assert len(blocks) > 3


def test_what_follows_from_the_steps(run):
    record, blocks, lines = run
    steady = measured(run)
    before = [reply for reply, line in zip(blocks, lines) if line["phase"] == "warmup"]
    steps = [ns / 1e6 for reply in steady for ns in reply["step_ns"]]
    window_ms = sum(reply["window_ns"] for reply in steady) / 1e6
    ordered = sorted(steps)
    assert record["steps"] == record["samples"] == len(steps) == STEPS
    assert record["ms_per_step"] == pytest.approx(window_ms / STEPS)
    assert record["tokens_per_step"] == SEQ * BATCH
    rate = SEQ * BATCH * STEPS / (window_ms / 1000)
    assert record["tokens_per_sec"] == pytest.approx(rate)
    assert record["ms_p50"] == pytest.approx(statistics.median(steps))
    assert record["median_tokens_per_sec"] == pytest.approx(SEQ * BATCH * 1000 / statistics.median(steps))
    for name, share in (("ms_p90", 0.9), ("ms_p95", 0.95), ("ms_p99", 0.99), ("ms_p999", 0.999)):
        assert record[name] == pytest.approx(ordered[math.ceil(share * STEPS - 1e-9) - 1]), name
        assert record[name] < record[f"{name}_upper"] if record[f"{name}_upper"] else name == "ms_p999"
    assert (record["ms_min"], record["ms_max"]) == (pytest.approx(ordered[0]), pytest.approx(ordered[-1]))
    assert record["ms_stddev"] == pytest.approx(statistics.stdev(steps))
    assert record["ms_p50_low"] < record["ms_p50"] < record["ms_p50_high"]
    assert record["ms_mean_low"] < record["ms_per_step"] < record["ms_mean_high"]
    assert record["tokens_per_sec_low"] < rate < record["tokens_per_sec_high"]
    assert record["tokens_per_sec_low"] == pytest.approx(SEQ * BATCH * 1000 / record["ms_mean_high"], rel=1e-3)
    mean = statistics.fmean(steps)
    products = [(a - mean) * (b - mean) for a, b in zip(steps, steps[1:])]
    assert record["lag1"] == pytest.approx(sum(products) / sum((a - mean) ** 2 for a in steps), abs=1e-3)
    assert 0 < record["samples_effective"] <= STEPS
    half = STEPS // 2
    change = statistics.median(steps[-half:]) / statistics.median(steps[:half]) - 1
    assert record["drift_percent"] == pytest.approx(100 * change, abs=0.02)
    assert record["drift_percent_low"] < record["drift_percent"] < record["drift_percent_high"]
    assert record["outliers"] == 0
    warm = [ns / 1e6 for reply in before for ns in reply["step_ns"]]
    assert record["warmup_steps"] == len(warm)
    assert record["warmup_ms"] == pytest.approx(sum(warm))
    assert record["first_step_ms"] == pytest.approx(warm[0])
    assert record["warmup_steady"] is None
    assert record["harness_inside_ms"] == pytest.approx(0, abs=1e-6)
    assert record["harness_outside_ms"] > 0 and record["harness_ms"] > 0
    outside = 100 * (record["harness_outside_ms"] + record["harness_inside_ms"]) / window_ms
    assert record["harness_percent"] == pytest.approx(outside)


def test_what_was_asked_for(run):
    record, _, lines = run
    wanted = {"device": "cpu", "precision": "fp32", "mode": "train", "seq_len": SEQ, "batch_size": BATCH, "seed": 9,
              "trial": 0, "schema": 1, "sync": "step", "model": "superintelligence-tiny", "data_hash": None,
              "weights_hash": None, "sweep_position": 0, "start": "fresh"}
    assert {key: record[key] for key in wanted} == wanted
    assert {line["run_id"] for line in lines} == {record["run_id"]}
    assert record["command"][1] == "run" and "--seed" in record["command"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", record["started_at"])
    # a preset has as many parameters as it has, whatever the worker says
    assert record["verdict"] == "invalid"
    assert [reason["code"] for reason in record["reasons"]] == ["params_mismatch", "precision_not_as_asked"]
