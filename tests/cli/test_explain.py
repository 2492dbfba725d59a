"""What `tokmark explain` says of a model that a worker opens, and what a run says of values that were chosen."""
import json

import pytest
from caller import worker

CONFIG = {
    "dim": {"value": 32, "from": "--set"},
    "vocab_size": {"value": 50257, "from": "tokmark"},
    "bias": {"value": None, "from": "default"},
    "sizes": {"value": [1, 2], "from": "file"},
}
READY = {
    "params_total": 1500000, "params_trainable": 500000, "params_active": 1200000, "dtype_param": "bf16",
    "dtype_buffers": "fp32", "dtype_compute": "bf16", "forward_call": "forward(ids, labels=targets)",
    "loss_source": "the model's own", "compiled": "by the model", "model_source": "factory mine:Tiny",
    "model_chosen": "vocab_size 50257", "model_config": CONFIG,
}


@pytest.fixture
def engine(tmp_path_factory):
    """A worker that says this of its model, by sequence length or for all."""

    def make(ready):
        path = tmp_path_factory.mktemp("ready") / "ready.json"
        path.write_text(json.dumps(ready))
        return worker(f"--step-ms 0.1 --ready {path}")

    return make


def explained(call, engine, *args):
    return call("explain", "--engine", engine({"all": READY}), *args, code=0).stdout


def test_what_would_be_measured_is_said_in_plain_text(call, engine):
    text = explained(call, engine, "--mode", "train", "--seq", "16", "--batch", "2")
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert lines[0].startswith("train fp32, 2 x 16 tokens on cpu by exec:") and lines[0].endswith("(1)")
    for line in (
        "model superintelligence-tiny",
        "parameters 1500000 (1.50 M), tied ones counted once; 1200000 work on a token; trainable 500000, frozen 1000000",
        # 2 bytes each: the weights, and of the trainable ones a gradient and two moments
        "memory at least 5.72 MiB: weights, gradients and AdamW's state",
        "source factory mine:Tiny", "parameters in bf16", "buffers in fp32", "matmuls in bf16", "kernels python",
        "forward forward(ids, labels=targets)", "loss the model's own", "compiled by the model",
        "chosen vocab_size 50257", "configuration, and where each value comes from:", "dim 32 (--set)", "vocab_size 50257 (tokmark)", "bias null (default)",
        "sizes [1, 2] (file)", "Nothing was timed or written.",
    ):
        assert line in lines, line
    assert call.files() == []
    unset = call("explain", "--engine", engine({"all": {**READY, "model_config": {}}}), "--seq", "16", code=0).stdout
    assert "  chosen " in unset and "configuration" not in unset


def test_one_cell_of_each_mode_and_precision_is_opened(call, engine):
    out = explained(call, engine, "--mode", "train", "infer", "--precision", "fp32", "bf16", "--seq", "16", "32",
                    "--batch", "1", "2", "--format", "json")
    cells = [json.loads(line) for line in out.splitlines()]
    assert [(cell["cell"]["mode"], cell["cell"]["precision"]) for cell in cells] == [
        ("train", "fp32"), ("infer", "fp32"), ("train", "bf16"), ("infer", "bf16")]
    assert {(cell["cell"]["seq_len"], cell["cell"]["batch_size"]) for cell in cells} == {(16, 1)}
    for cell in cells:
        assert cell["verdict"] == "ok" and cell["reasons"] == []
        assert {**READY, "backend": "python"}.items() <= cell["ready"].items()
    text = explained(call, engine, "--seq", "16", "32")
    assert "2 of 4 cells: the first shape of each mode and precision" in text


def test_a_model_that_does_not_open_is_said_with_its_reason(call):
    oom = worker("--oom-seq 16")
    done = call("explain", "--engine", oom, "--seq", "16", "--mode", "infer", code=4)
    assert "oom: " in done.stdout and "does not fit" in done.stdout
    done = call("explain", "--engine", oom, "--seq", "16", "--mode", "infer", "--format", "json", code=4)
    cell = json.loads(done.stdout)
    assert cell["verdict"] == "oom" and cell["ready"] is None and "does not fit" in cell["reasons"][0]["text"]
    done = call("explain", "--engine", worker("--crash-seq 16"), "--seq", "16", "--mode", "infer", code=4)
    assert "crashed" in done.stdout
    assert call.files() == []


def test_flags_are_those_of_run(call):
    assert "layers_count" in call("explain", "--set", "layer_count=2", code=2).stderr
    assert "unknown flag '--steps'" in call("explain", "--steps", "3", code=2).stderr
    text = call("explain", "--help", code=0).stdout
    assert "--set KEY=VALUE" in text and "--format FORM" in text and "--zip" not in text
    done = call("explain", "--mode", "infer", "--seq", "8", "--batch", "1", "--set", "layers_count=1", code=0)
    assert "predicted" in done.stdout and "superintelligence-tiny,layers_count=1" in done.stdout


def test_a_run_says_once_what_was_chosen(call, engine):
    """With the parameters that it comes to: a vocabulary of 50257 is most of a small model."""
    ready = {"16": READY, "32": {**READY, "model_chosen": "block_size 32 (its default is 16)", "params_total": 600},
             "64": {"params_total": 600}}
    done = call("run", "--engine", engine(ready), "--seq", "16", "32", "64", "--batch", "1", "2",
                "--mode", "infer", "--steps", "2", "--warmup", "0")
    said = [line for line in done.stdout.splitlines() if line.startswith("Chosen")]
    assert said == ["Chosen for the model (--set gives other values): vocab_size 50257: 1.50 M parameters",
                    "Chosen for the model (--set gives other values): block_size 32 (its default is 16): 600 parameters"]
    found = {record["seq_len"]: record for record in call.records()}
    assert found[16]["model_chosen"] == "vocab_size 50257" and found[16]["model_config"] == CONFIG
    assert found[64]["model_chosen"] is None
