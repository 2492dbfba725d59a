"""The native engine against PyTorch in double precision, through the worker protocol."""

import copy

import pytest
import torch
from safetensors.torch import load_file, save_file

from reference_model import ReferenceModel, loss_of
from worker_client import Worker, WorkerError, release_binary

TOLERANCE = 1e-4
BATCH, LENGTH = 3, 37

MOE = {
    "name": "moe",
    "vocab_size": 211,
    "max_seq_len": 40,
    "dim": 48,
    "layers_count": 2,
    "heads_count": 3,
    "ffn": "moe_swiglu",
    "ffn_hidden": 80,
    "experts_count": 5,
    "experts_active": 2,
    "rotary_dim": 16,
    "rotary_base": 10000.0,
    "dropout": 0.1,
    "norm": "rms",
    "norm_eps": 1e-6,
    "is_causal": False,
    "is_head_tied": False,
}
GELU = {
    **MOE,
    "name": "gelu",
    "ffn": "gelu",
    "experts_count": 1,
    "experts_active": 1,
    "rotary_dim": 0,
    "norm": "layer",
    "norm_eps": 1e-5,
    "is_causal": True,
    "is_head_tied": True,
}
SPECS = {
    "moe": MOE,
    "moe_causal": {**MOE, "is_causal": True},
    "moe_part_rotary": {**MOE, "rotary_dim": 6, "experts_active": 3},
    "moe_one_expert": {**MOE, "experts_active": 1},
    "gelu": GELU,
    "gelu_untied": {**GELU, "is_head_tied": False, "is_causal": False},
}


class Case:
    """A model with weights that are all different from zero, in double, and as a file in single."""

    def __init__(self, spec, folder):
        generator = torch.Generator().manual_seed(11)
        torch.set_default_dtype(torch.float64)
        self.spec = spec
        self.model = ReferenceModel(spec)
        with torch.no_grad():
            for parameter in self.model.parameters():
                noise = torch.randn(parameter.shape, generator=generator)
                is_matrix = parameter.dim() == 2
                scale = 1.5 / parameter.shape[1] ** 0.5 if is_matrix else 0.2
                base = parameter if not is_matrix and bool((parameter == 1).all()) else 0
                # as single precision holds it, so that both start from the same numbers
                parameter.copy_((base + scale * noise).float().double())
        self.tokens = torch.randint(0, spec["vocab_size"], (BATCH, LENGTH), generator=generator)
        self.targets = torch.randint(0, spec["vocab_size"], (BATCH, LENGTH), generator=generator)
        self.weights = folder / "weights.safetensors"
        self.inputs = folder / "inputs.safetensors"
        self.output = folder / "output.safetensors"
        state = {name: p.detach().float() for name, p in self.model.named_parameters()}
        save_file(state, self.weights)
        save_file(
            {"tokens": self.tokens.int(), "targets": self.targets.int()},
            self.inputs,
        )

    def check(self, mode, train_steps=0, **changes):
        """What the engine writes for this case."""
        spec = {**self.spec, "max_seq_len": 40}
        with Worker("native") as worker:
            worker.open(spec, mode, 40, 2, weights_path=str(self.weights), **changes)
            self.reply = worker.check(self.inputs, self.output, train_steps)
        return load_file(self.output)


@pytest.fixture(params=SPECS, name="case")
def case_fixture(request, tmp_path):
    return Case(SPECS[request.param], tmp_path)


def distance(value, reference):
    """Largest difference over the largest reference value; where that is zero, as for the gate of a
    single expert, the difference itself."""
    assert value.shape == reference.shape
    difference = (value.double() - reference).abs().max().item()
    return difference / (reference.abs().max().item() or 1.0)


def test_logits_and_loss_equal_the_reference(case):
    written = case.check("infer")
    logits = case.model(case.tokens)
    assert distance(written["logits"], logits) < TOLERANCE
    loss = loss_of(logits, case.targets)
    assert distance(written["loss"], loss.reshape(1)) < TOLERANCE
    assert abs(case.reply["loss"] - loss.item()) < TOLERANCE * loss.item()
    assert set(written) == {"logits", "loss"}


def test_every_gradient_equals_the_reference(case):
    written = case.check("train")
    logits = case.model(case.tokens)
    loss = loss_of(logits, case.targets)
    loss.backward()
    assert distance(written["logits"], logits) < TOLERANCE
    assert distance(written["loss"], loss.reshape(1)) < TOLERANCE
    names = [name for name, _ in case.model.named_parameters()]
    assert set(written) == {"logits", "loss", *("grad." + name for name in names)}
    far = {
        name: distance(written["grad." + name], parameter.grad)
        for name, parameter in case.model.named_parameters()
    }
    assert all(value < TOLERANCE for value in far.values()), far


def is_key_bias_without_effect(spec, name):
    """Of a bias of q, k and v the part of k that no rotation reaches has a gradient of exactly zero
    (softmax does not see a constant): AdamW blows its rounding noise up to whole steps, in every
    framework. A mask of the elements that can be compared."""
    if not name.endswith("qkv_proj.bias"):
        return None
    dim, heads = spec["dim"], spec["heads_count"]
    keep = torch.ones(3, heads, dim // heads, dtype=torch.bool)
    keep[1, :, spec["rotary_dim"] :] = False
    return keep.flatten()


def test_parameters_after_twenty_adamw_steps_equal_the_reference(case):
    written = case.check("train", train_steps=20)
    model = copy.deepcopy(case.model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)
    for _ in range(20):
        optimizer.zero_grad()
        loss_of(model(case.tokens), case.targets).backward()
        optimizer.step()
    far = {}
    for name, parameter in model.named_parameters():
        value, reference = written["param." + name], parameter.detach()
        keep = is_key_bias_without_effect(case.spec, name)
        if keep is not None:
            value, reference = value[keep], reference[keep]
        far[name] = distance(value, reference)
    assert all(value < TOLERANCE for value in far.values()), far
    after = loss_of(model(case.tokens), case.targets).item()
    assert abs(case.reply["loss"] - after) < TOLERANCE * after


@pytest.mark.parametrize("name", ["moe_causal", "gelu"])
def test_decode_equals_infer_position_by_position(name, tmp_path):
    case = Case(SPECS[name], tmp_path)
    decoded = case.check("decode")["logits"]
    inferred = case.check("infer")["logits"].double()
    for position in range(LENGTH):
        assert distance(decoded[:, position], inferred[:, position]) < TOLERANCE, position
    assert distance(decoded, case.model(case.tokens)) < TOLERANCE


def test_a_decode_cell_of_a_model_without_a_mask_says_so(tmp_path):
    case = Case(MOE, tmp_path)
    with Worker("native") as worker:
        ready = worker.open(MOE, "decode", 40, 2, weights_path=str(case.weights))
        assert "past only" in ready["notes"]
        assert ready["dtype_compute"] == "fp32"


def test_a_weights_file_that_does_not_fit_names_the_tensor(tmp_path):
    case = Case(MOE, tmp_path)
    state = load_file(case.weights)
    gone = dict(state)
    del gone["layers.1.moe.experts.3.ffn.w2.bias"]
    save_file(gone, case.weights)
    with Worker("native") as worker, pytest.raises(WorkerError, match=r"experts\.3\.ffn\.w2\.bias"):
        worker.open(MOE, "infer", 40, 2, weights_path=str(case.weights))
    bent = dict(state)
    bent["norm.weight"] = bent["norm.weight"][:-1].clone()
    save_file(bent, case.weights)
    with Worker("native") as worker, pytest.raises(WorkerError, match=r"norm\.weight.*\[48\]"):
        worker.open(MOE, "infer", 40, 2, weights_path=str(case.weights))


def test_a_checkpoint_with_more_positions_serves_a_shorter_cell(tmp_path):
    case = Case(MOE, tmp_path)
    with Worker("native") as worker:
        worker.open({**MOE, "max_seq_len": 37}, "infer", 37, 2, weights_path=str(case.weights))
        worker.check(case.inputs, case.output)
    assert distance(load_file(case.output)["logits"], case.model(case.tokens)) < TOLERANCE


def test_what_it_cannot_do_is_unsupported():
    for change in ({"precision": "bf16"}, {"device": "cuda:0"}, {"threads": 100000}):
        with Worker("native") as worker, pytest.raises(WorkerError) as caught:
            worker.open(MOE, "infer", 16, 1, **change)
        assert caught.value.reply["kind"] == "unsupported"


def test_a_model_that_does_not_fit_is_refused_at_once():
    vast = {**MOE, "dim": 8192, "heads_count": 64, "ffn_hidden": 32768, "layers_count": 96}
    with Worker("native") as worker, pytest.raises(WorkerError) as caught:
        worker.open(vast, "train", 40, 64)
    assert caught.value.reply["kind"] == "oom"
    assert caught.value.reply["needed_bytes"] > caught.value.reply["available_bytes"] > 0


TINY = {
    **MOE,
    "name": "superintelligence-tiny",
    "vocab_size": 8192,
    "max_seq_len": 256,
    "dim": 256,
    "layers_count": 4,
    "heads_count": 8,
    "ffn_hidden": 1024,
    "experts_count": 8,
    "rotary_dim": 32,
}


@pytest.mark.parametrize("mode", ["train", "infer", "decode"])
@pytest.mark.parametrize("seq_len, batch_size", [(16, 1), (256, 8)])
def test_memory_grows_by_what_was_predicted(mode, seq_len, batch_size):
    spec = {**TINY, "max_seq_len": seq_len}
    with Worker("native", release_binary()) as worker:
        ready = worker.open(spec, mode, seq_len, batch_size)
        worker.run(2)
        memory = worker.memory()
    grown = memory["rss_peak_bytes"] - memory["rss_baseline_bytes"]
    predicted = ready["memory_predicted"]["total_bytes"]
    assert abs(grown - predicted) < 0.05 * predicted, (grown, predicted)


def test_a_weights_file_is_not_held_beside_the_weights(tmp_path):
    spec = {**TINY, "max_seq_len": 16}
    torch.set_default_dtype(torch.float32)
    path = tmp_path / "weights.safetensors"
    save_file({k: v.detach() for k, v in ReferenceModel(spec).named_parameters()}, path)
    with Worker("native", release_binary()) as worker:
        ready = worker.open(spec, "infer", 16, 1, weights_path=str(path))
        memory = worker.memory()
    grown = memory["rss_peak_bytes"] - memory["rss_baseline_bytes"]
    predicted = ready["memory_predicted"]["total_bytes"]
    assert abs(grown - predicted) < 0.05 * predicted, (grown, predicted)
    assert ready["model_source"] == "weights file"


def test_training_lowers_the_loss_and_reports_what_it_sees():
    spec = {**MOE, "vocab_size": 16, "dropout": 0.1}
    with Worker("native") as worker:
        worker.open(spec, "train", 32, 8)
        first = worker.run(1)
        last = worker.run(20, sync="block")
    seen, end = first, last
    assert end["loss"] < seen["loss"]
    assert seen["grad_norm"] > 0
    assert end["nonfinite"] == 0
    # every token goes to experts_active experts in every layer of every step
    assert sum(end["expert_tokens"]) == 21 * 8 * 32 * 2 * 2
