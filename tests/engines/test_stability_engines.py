"""`tokmark stability`: the engines train alike, at whatever learning rate."""
import json
import subprocess

import pytest

import jax_worker
import pytorch_worker
from worker_client import tokmark_binary
from waiting import TIMEOUT_S

SMALL = {"dim": 32, "layers_count": 2, "heads_count": 2, "ffn_hidden": 48, "vocab_size": 256, "experts_count": 4,
         "rotary_dim": 8}


def train(folder, *args):
    settings = [word for key, value in SMALL.items() for word in ("--set", f"{key}={value}")]
    done = subprocess.run([tokmark_binary(), "stability", "--engines", "native", pytorch_worker.SERVER.exec_engine("pytorch"), jax_worker.SERVER.exec_engine("jax"),
                           "--threads", "1", "--seq", "16", *settings, *args], cwd=folder, text=True,
                          capture_output=True, check=False, timeout=TIMEOUT_S)
    assert done.returncode == 0, done.stdout + done.stderr
    text = (folder / "_bench" / "stability.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


# a rate that an engine does not take makes its course that of 3e-4
@pytest.mark.parametrize("rate", ["3e-4", "1e-2"])
def test_engines_train_alike(tmp_path, rate):
    lines = train(tmp_path, "--lr", rate, "--steps", "40")
    assert [(line["worker"], line["verdict"]) for line in lines] == [
        ("native", "ok"), ("pytorch", "ok"), ("jax", "ok")]
    native, *others = lines
    assert native["loss_end"] < native["loss_first"] - (1 if rate == "1e-2" else 0.1)
    for other in others:
        assert other["loss_difference"] < 1e-4 and other["grad_norm_difference"] < 1e-2
        assert len(other["losses"]) == 40 and other["learning_rate"] == float(rate)
