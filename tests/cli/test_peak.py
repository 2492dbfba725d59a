"""tokmark peak: what it measures is kept, and records are judged by it."""
import json
import os
import subprocess
import sys

import pytest

from caller import ROOT, THIN, TOKMARK, Caller

sys.path.insert(0, os.path.join(ROOT, "tests", "engines"))
from pytorch_worker import SERVER
from waiting import TIMEOUT_S

CELL = ["run", "--engine", "native", *THIN, "--mode", "infer", "decode", "--seq", "16", "--batch", "1", "--steps", "5", "--warmup", "1"]
FIELDS = ("mfu_percent", "mfu_causal_percent", "hfu_percent", "peak_flops")


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A folder in whose data folder the peaks of this CPU are, and what the command printed."""
    folder = tmp_path_factory.mktemp("peak")
    # Sanitizers would make its largest product last for seconds.
    plain = os.path.abspath(os.environ.get("TOKMARK_RELEASE_BINARY", TOKMARK))
    done = subprocess.run([plain, "peak", "--format", "json"], cwd=folder, env={**os.environ, "XDG_DATA_HOME": str(folder / "data")},
                          capture_output=True, check=True, timeout=TIMEOUT_S)
    return folder, json.loads(done.stdout)["peaks"]


def run(folder, *more, data="data", code=0):
    call = Caller(folder)
    call(*CELL, *more, env={"XDG_DATA_HOME": str(folder / data)}, code=code)
    return call.records()[-2:]


def test_rates_are_of_this_machine_and_kept(measured):
    folder, peaks = measured
    (peak,) = peaks
    assert (peak["device"], peak["engine"], peak["precision"]) == ("cpu", "native", "fp32")
    assert 0 < peak["matmul_flops"] and 0 < peak["fma_flops"]
    assert all(peak[name] > 0 for name in ("read_bytes", "write_bytes", "triad_bytes", "launch_ns"))
    shown = Caller(folder)("peak", "--show", "--format", "json", env={"XDG_DATA_HOME": str(folder / "data")}, code=0)
    assert json.loads(shown.stdout)["peaks"] == peaks
    text = Caller(folder)("peak", "--show", env={"XDG_DATA_HOME": str(folder / "data")}, code=0).stdout
    assert "cpu by native" in text and "fp32 matmul" in text


def test_records_say_how_near_they_came(measured):
    folder, (peak,) = measured
    infer, decode = run(folder)
    assert infer["peak_flops"] == peak["matmul_flops"]
    assert infer["mfu_percent"] == pytest.approx(100 * infer["step_flops"] / infer["ms_per_step"] * 1e3 / peak["matmul_flops"])
    assert infer["hfu_percent"] == infer["mfu_percent"], "the engine computes the chosen experts only"
    assert infer["null_reasons"]["bandwidth_percent"] == "not_decode"
    assert infer["null_reasons"]["mfu_datasheet_percent"] == infer["null_reasons"]["datasheet_flops"] == "on_cpu"
    assert decode["bandwidth_percent"] > 0 and decode["peak_bytes_per_sec"] == peak["read_bytes"]


def test_a_profile_s_share_of_peak_is_of_what_was_measured_here(measured, tmp_path):
    folder, (peak,) = measured
    words = ["profile", *THIN, "--seq", "16", "--batch", "2", "--mode", "infer", "--format", "json"]
    before = json.loads(Caller(tmp_path)(*words, env={"XDG_DATA_HOME": str(tmp_path / "data")}, code=0).stdout)
    assert before["peak_flops"] is None
    assert {one["peak_percent_null"] for one in before["operators"] if one["flops"]} == {"run_tokmark_peak"}
    found = json.loads(Caller(tmp_path)(*words, env={"XDG_DATA_HOME": str(folder / "data")}, code=0).stdout)
    assert found["peak_flops"] == peak["matmul_flops"]
    for one in found["operators"]:
        if one["flops"]:
            assert one["peak_percent"] == pytest.approx(100 * one["flops"] / one["self_ns"] * 1e9 / found["peak_flops"])


def test_without_a_peak_the_reason_says_how_to_get_one(tmp_path):
    infer, decode = run(tmp_path)
    assert {infer["null_reasons"][field] for field in FIELDS} == {"run_tokmark_peak"}
    assert decode["null_reasons"]["bandwidth_percent"] == "run_tokmark_peak"
    assert infer["verdict"] != "invalid"
    assert "Nothing was measured" in Caller(tmp_path)("peak", "--show", env={"XDG_DATA_HOME": str(tmp_path)}, code=0).stdout


def test_more_than_the_machine_can_do_is_invalid(measured):
    folder, (peak,) = measured
    slow = {**peak, "schema": "tokmark.machine/1", "what": "peak", "matmul_flops": 1000.0, "fma_flops": 2000.0}
    os.makedirs(folder / "slow" / "tokmark", exist_ok=True)
    (folder / "slow" / "tokmark" / "machine.jsonl").write_text(json.dumps(slow) + "\n", encoding="utf-8")
    infer, _decode = run(folder, data="slow", code=3)
    assert infer["verdict"] == "invalid"
    reason = infer["reasons"][0]
    assert reason["code"] == "over_peak" and "2000" in reason["text"], "the most that was seen of either decides"


@pytest.mark.parametrize("args, part", [
    (["--engine", "null"], "measures no peaks"), (["--engine", "native", "--device", "cuda:0"], "runs on the CPU"),
    (["--device", "cuda:99999"], "largest is 1023")])
def test_what_cannot_be_measured_is_refused(call, args, part):
    assert part in call("peak", *args, code=2).stderr


def test_an_engine_that_is_not_there_says_so(call):
    done = call("peak", "--engine", "pytorch", "--python", "/nowhere", code=4)
    assert "/nowhere" in done.stderr


def test_what_pytorch_runs_is_what_the_formula_counts(call):
    """The worker counts the operations of what ran; the formula those of the preset: within 2 %."""
    call("run", "--engine", "pytorch", "--python", SERVER.python("pytorch"), "--model", "gpt2-124m", "--set", "layers_count=2", "dim=128", "heads_count=4",
         "ffn_hidden=512", "vocab_size=512", "--mode", "train", "infer", "--seq", "64", "--batch", "2", "--steps", "3", "--warmup", "1", code=0)
    for record in call.records():
        assert record["counted_flops"] == pytest.approx(record["step_flops"], rel=0.02), record["mode"]
