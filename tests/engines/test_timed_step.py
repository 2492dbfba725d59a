"""An engine whose timed step is not the model that was asked for is `invalid`, and a sound one is checked."""
import json
import os
import subprocess

import pytest

import jax_worker
import pytorch_worker
from worker_client import release_binary
from waiting import TIMEOUT_S

SERVERS = {"pytorch": pytorch_worker.SERVER, "jax": jax_worker.SERVER}
MODEL = ["--model", "superintelligence-tiny", "--set", "vocab_size=97", "dim=24", "layers_count=2", "heads_count=2",
         "ffn_hidden=16", "experts_count=2", "rotary_dim=8"]
SHORT = ["--device", "cpu", "--seq", "8", "--batch", "4", "--steps", "2", "--warmup", "1", "--threads", "1",
         "--precision", "fp32", "--foreign-load", "off", "--drift", "off", "--pace", "off", "--history", "off"]


def run(folder, engine, mode, fault=None):
    """The record of one cell by a worker with that fault."""
    fault_env = {"TOKMARK_TEST_FAULT": fault} if fault else {}
    env = {**os.environ, "OMP_NUM_THREADS": "1", **fault_env}
    subprocess.run([release_binary(), "run", "--engine", SERVERS[engine].exec_engine(engine, folder), *MODEL, *SHORT, "--mode", mode, "--out",
                    str(folder)], env=env, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    (record,) = [json.loads(line) for line in (folder / "bench_results.jsonl").read_text().splitlines()]
    return record


@pytest.mark.parametrize("mode", ["train", "infer", "decode"])
@pytest.mark.parametrize("engine", SERVERS)
def test_a_sound_step_is_the_same(tmp_path, engine, mode):
    record = run(tmp_path, engine, mode)
    assert record["verdict"] == "ok", record["reasons"]
    assert record["step_check"] == "same"
    assert 0 <= record["step_difference"] < 1e-5
    assert record["head_tokens"] == {"train": None, "infer": 32, "decode": 4}[mode]
    assert record["cache_tokens"] == (7 if mode == "decode" else None)


FAULTS = [
    ("infer", "head"), ("infer", "layer"), ("infer", "half"), ("infer", "seed"), ("infer", "same tokens"),
    ("train", "layer"), ("train", "half"), ("train", "seed"),
    ("decode", "layer"), ("decode", "prefill"), ("decode", "position"), ("decode", "same tokens"),
]


@pytest.mark.parametrize("mode,fault", [*FAULTS, ("infer", "last token")])
def test_a_faulty_step_of_pytorch_is_invalid(tmp_path, mode, fault):
    require_invalid(run(tmp_path, "pytorch", mode, fault))


@pytest.mark.parametrize("mode,fault", FAULTS)
def test_a_faulty_step_of_jax_is_invalid(tmp_path, mode, fault):
    require_invalid(run(tmp_path, "jax", mode, fault))


def require_invalid(record):
    assert record["verdict"] == "invalid", record["reasons"]
    assert record["reasons"][0]["code"] == "step_differs"
    assert record["step_check"] == "differs"
