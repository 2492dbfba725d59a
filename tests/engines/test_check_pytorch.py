"""`tokmark check` between the native engine and PyTorch, and the weights that it makes."""
import json
import math
import subprocess

import numpy
import pytest
import torch
from safetensors.torch import load_file, save_file

from pytorch_worker import GELU, MOE, SERVER, TorchWorker, spec_of
from worker_client import Worker, release_binary, tokmark_binary
from waiting import TIMEOUT_S

SMALL = {"dim": 48, "layers_count": 2, "heads_count": 3, "ffn_hidden": 80, "vocab_size": 211,
         "experts_count": 5, "rotary_dim": 6}
NAME = "layers.1.moe.experts.3.ffn.w2.weight"


def pytorch():
    return SERVER.exec_engine("pytorch")


def check(folder, *args, small=SMALL, engines=None, code=0, binary=tokmark_binary()):
    engines = engines or ["native", pytorch()]
    settings = [word for key, value in small.items() for word in ("--set", f"{key}={value}")]
    done = subprocess.run([binary, "check", "--engines", *engines, *settings, *args], cwd=folder,
                          text=True, capture_output=True, check=False, timeout=TIMEOUT_S)
    assert done.returncode == code, done.stdout + done.stderr
    text = (folder / "_bench" / "checks.jsonl").read_text(encoding="utf-8")
    return done, [json.loads(line) for line in text.splitlines()]


def verdicts(lines):
    return {(line["worker"], line["precision"]): line["verdict"] for line in lines}


def test_native_and_pytorch_agree_on_the_preset(tmp_path):
    """Of 30 million parameters: without sanitizers, which smaller models have here."""
    _, lines = check(tmp_path, "--precision", "fp32", "bf16", "--seq", "8", "--python", SERVER.python("pytorch"), small={},
                     engines=["native,pytorch"], binary=release_binary())
    assert [line["model"] for line in lines] == ["superintelligence-tiny"] * 4
    assert verdicts(lines) == {("native", "fp32"): "ok", ("native", "bf16"): "unsupported",
                               ("pytorch", "fp32"): "ok", ("pytorch", "bf16"): "ok"}
    fp32, bf16 = lines[2], lines[3]
    assert fp32["reference"]["engine"] == "native" and bf16["reference"]["engine"] == "pytorch"
    assert fp32["kinds"]["weights"]["error"] == 0 == bf16["kinds"]["weights"]["error"]
    assert 0 < fp32["kinds"]["gradients"]["error"] < 1e-4
    assert fp32["kinds"]["gradients"]["tensors"] == fp32["kinds"]["weights"]["tensors"] == 224
    assert bf16["dtype_compute"].startswith("bf16")
    assert 1e-3 < bf16["kinds"]["logits"]["error"] < 0.0625  # it was bf16 in fact


def test_parameters_after_steps_and_pure_bf16(tmp_path):
    _, lines = check(tmp_path, "--precision", "fp32", "bf16", "bf16-pure", "--train-steps", "3", "--seq", "40")
    wanted = {("native", "fp32"): "ok", ("pytorch", "fp32"): "ok", ("pytorch", "bf16"): "ok",
              ("pytorch", "bf16-pure"): "ok"}
    assert wanted.items() <= verdicts(lines).items()
    pure = lines[-1]["kinds"]
    assert 0 < pure["weights"]["error"] <= 2**-8
    parameters = lines[3]["kinds"]["parameters"]
    assert parameters["tensors"] > 50 and 0 < parameters["error"] < 1e-4


@pytest.mark.parametrize("args, small", [
    (["--model", "superintelligence-tiny-causal", "--mode", "decode"], SMALL),
    (["--mode", "infer", "--precision", "fp32", "bf16", "fp16"], SMALL),
    (["--model", "gpt2-124m"], {"layers_count": 2, "dim": 48, "heads_count": 3, "ffn_hidden": 96, "vocab_size": 211}),
    ([], {**SMALL, "experts_active": 1}),
    ([], {**SMALL, "experts_active": 5}),
    ([], {**SMALL, "rotary_dim": 0}),
])
def test_other_modes_and_models_agree(args, small, tmp_path):
    _, lines = check(tmp_path, *args, small=small)
    assert all(verdict == "ok" for key, verdict in verdicts(lines).items() if key[0] == "pytorch")
    assert lines[-1]["kinds"]["logits"]["error"] > 0  # not the same program twice


@pytest.mark.parametrize("device, layout", [("cpu:2", "fsdp"), ("cpu:2", "ep"), ("cpu:4", "ddp:2,tp:2")])
def test_a_layout_over_several_devices_equals_an_engine_on_one(device, layout, tmp_path):
    small = {**SMALL, "heads_count": 2, "experts_count": 4}
    _, lines = check(tmp_path, "--device", f"{pytorch()}={device}", "--parallel", layout, "--train-steps", "2", "--batch", "4", small=small)
    assert verdicts(lines) == {("native", "fp32"): "ok", ("pytorch", "fp32"): "ok"}
    line = lines[-1]
    assert (line["device"], line["reference"]["device"]) == (f"{device} {layout}", "cpu")
    assert line["kinds"]["weights"]["error"] == 0
    assert 0 < line["kinds"]["gradients"]["error"] < 1e-4
    assert line["kinds"]["gradients"]["tensors"] == line["kinds"]["parameters"]["tensors"] == line["kinds"]["weights"]["tensors"] > 50


def test_a_layout_needs_an_engine_on_several_devices(tmp_path):
    done = subprocess.run([tokmark_binary(), "check", "--engines", "native,pytorch", "--parallel", "fsdp"],
                          cwd=tmp_path, text=True, capture_output=True, check=False)
    assert done.returncode == 2 and "--device pytorch=cpu:2" in done.stderr


def test_an_engine_alone_in_a_lower_precision(tmp_path):
    _, lines = check(tmp_path, "--precision", "bf16", engines=[pytorch()])
    assert [(line["precision"], line["verdict"]) for line in lines] == [("fp32", "ok"), ("bf16", "ok")]
    assert lines[0]["reference"] is None


def test_no_interpreter_is_nothing_compared(tmp_path):
    done = subprocess.run([tokmark_binary(), "check", "--engines", "native,pytorch", "--python", "/nonexistent"],
                          cwd=tmp_path, text=True, capture_output=True, check=False)
    assert done.returncode == 4 and done.stderr.count("\n") == 1 and "/nonexistent" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("is_element", [False, True], ids=["a tensor", "one element"])
def test_a_weight_that_is_one_percent_off_is_named(is_element, tmp_path):
    check(tmp_path, "--keep", engines=["native", "null"], code=4)
    (folder,) = (tmp_path / "_bench").glob("check.*")
    weights = load_file(folder / "weights.safetensors")
    if is_element:
        weights[NAME].view(-1)[17] *= 1.01
    else:
        weights[NAME] *= 1.01
    changed = tmp_path / "changed.safetensors"
    save_file(weights, changed)
    done, lines = check(tmp_path, "--weights", str(folder / "weights.safetensors"),
                        f"{pytorch()}={changed}", code=1)
    kinds = lines[-1]["kinds"]
    assert lines[-1]["verdict"] == "invalid"
    assert [item["tensor"] for item in kinds["weights"]["over_tensors"]] == [NAME]
    assert f"{NAME}: 1.0e-02" in done.stdout
    if not is_element:
        assert kinds["logits"]["over"] == 1
        assert kinds["gradients"]["over"] > 0


@pytest.mark.parametrize("worker_of", [lambda: Worker("native"), TorchWorker], ids=["native", "pytorch"])
def test_weights_in_use_are_those_before_any_step(worker_of, tmp_path):
    weights = {name: torch.from_numpy(value.astype(numpy.float32)) for name, value in made(MOE, 1)}
    inputs, output, path = (tmp_path / name for name in ("inputs", "output", "weights"))
    tokens = torch.arange(80, dtype=torch.int32).reshape(2, 40)
    save_file({"tokens": tokens, "targets": tokens.flip(0).contiguous()}, inputs)
    save_file(weights, path)
    request = {"type": "check", "inputs": str(inputs), "output": str(output)}
    with worker_of() as worker:
        worker.open(MOE, "train", 40, 2, weights_path=str(path))
        for asked in ({"train_steps": 2, "weights": True}, {"weights": True}, {"train_steps": 2}):
            reply = worker.ask({**request, **asked})
            written = load_file(output)
            assert reply["tensors"] == len(written)
            found = {name for name in written if name.startswith("weight.")}
            assert len(found) == (len(weights) if asked.get("weights") else 0)
            for name in found:
                assert torch.equal(written[name], weights[name.removeprefix("weight.")]), name


# --- the weights, by the formula of src/data/check_files.h in NumPy ---

U64 = numpy.uint64


def random_at(key, counter):
    with numpy.errstate(over="ignore"):
        z = U64(key) + (numpy.asarray(counter, dtype=U64) + U64(1)) * U64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> U64(30))) * U64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> U64(27))) * U64(0x94D049BB133111EB)
    return z ^ (z >> U64(31))


def random_key(parent, index):
    return random_at(U64(parent) ^ U64(0xD1B54A32D192ED03), index)


def made(spec, seed):
    """Name and values of every tensor, in double."""
    stream = random_key(seed, 0x636865636B000000)
    experts, active = spec["experts_count"], spec["experts_active"]
    has_choice = spec["ffn"] == "moe_swiglu" and active < experts
    size = math.sqrt(3 / spec["dim"]) if spec["is_head_tied"] else 1.0
    for index, (name, shape, _) in enumerate(spec_of(spec).tensors()):
        count = math.prod(shape)
        unit = (random_at(random_key(stream, index), numpy.arange(count)) >> U64(11)) * 2.0**-53
        r = (2 * unit - 1).reshape(shape)
        if name == "token_embedding.weight":
            value = size * r
            if has_choice:
                far = (numpy.arange(experts)[None, :] - numpy.arange(shape[0])[:, None]) % experts
                value[:, :experts] += (far < active) * 4 * math.sqrt(spec["layers_count"])
        elif name == "position_embedding":
            value = size / 2 * r
        elif name.endswith("bias"):
            value = 0.1 * r
        elif len(shape) == 1:
            value = 1 + 0.1 * r
        else:
            value = math.sqrt(6 / sum(shape)) * r
            if has_choice and name.endswith(".gate.weight"):
                value[range(experts), range(experts)] += 2
        yield name, value


@pytest.mark.parametrize("model, spec", [("superintelligence-tiny", MOE), ("gpt2-124m", GELU)])
def test_the_weights_are_those_of_the_formula(model, spec, tmp_path):
    keys = ["dim", "layers_count", "heads_count", "ffn_hidden", "vocab_size"]
    keys += ["experts_count", "experts_active", "rotary_dim"] if spec is MOE else []
    check(tmp_path, "--keep", "--model", model, "--seed", "9", "--seq", "40", engines=["native", "null"],
          small={key: spec[key] for key in keys}, code=4)
    (folder,) = (tmp_path / "_bench").glob("check.*")
    weights = load_file(folder / "weights.safetensors")
    wanted = dict(made(spec, 9))
    assert list(wanted) and set(weights) == set(wanted)
    for name, value in wanted.items():
        assert torch.equal(weights[name], torch.from_numpy(value.astype(numpy.float32))), name
