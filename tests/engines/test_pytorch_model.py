"""Our PyTorch model, in all its forms, against the reference in double precision."""
import json

import pytest
import torch
import torch.nn.functional as F

from pytorch_worker import MOE, SPECS, REPOSITORY, spec_of
from reference_model import ReferenceModel, loss_of
from tokmark_worker import torch_model, torch_moe
from tokmark_worker.torch_model import build

CPU = torch.device("cpu")
TOLERANCE = 2e-5


def reference_of(spec, seed=11):
    """With weights that are all different from zero."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    torch.set_default_dtype(torch.float64)
    try:
        model = ReferenceModel(spec)
    finally:
        torch.set_default_dtype(torch.float32)
    with torch.no_grad():
        for param in model.parameters():
            scale = 1.5 / param.shape[1] ** 0.5 if param.dim() == 2 else 0.2
            noise = torch.randn(param.shape, generator=generator, dtype=torch.float64)
            param.copy_((param if param.dim() == 1 else 0) + scale * noise)
    return model


def ours_of(spec, reference, form="routed", dtype=torch.float32):
    model = build(spec_of({**spec, "dropout": 0.0}), form, CPU, dtype, dtype)
    model.load_state_dict(reference.state_dict())
    return model


def tokens_of(spec, rows=3, length=37, seed=5):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, spec["vocab_size"], (rows, length), generator=generator)


def reference_run(spec, reference, tokens):
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        logits = reference(tokens)
        loss_of(logits, tokens).backward()
    finally:
        torch.set_default_dtype(before)
    return logits.detach()


def distance(value, wanted):
    assert value.shape == wanted.shape
    return ((value.double() - wanted).abs().max() / (wanted.abs().max() + 1e-30)).item()


def compare(model, reference, spec, tolerance=TOLERANCE):
    tokens = tokens_of(spec)
    wanted = reference_run(spec, reference, tokens)
    logits = model(tokens)
    assert distance(logits, wanted) < tolerance
    loss_of(logits.float(), tokens).backward()
    theirs = dict(reference.named_parameters())
    assert {name for name, _ in model.named_parameters()} == set(theirs)
    for name, param in model.named_parameters():
        if theirs[name].grad.abs().max() < 1e-12:  # a part that softmax does not see
            continue
        assert distance(param.grad, theirs[name].grad) < 10 * tolerance, name


@pytest.mark.parametrize("form", ["routed", "published"])
@pytest.mark.parametrize("name", SPECS)
def test_logits_and_gradients_equal_the_reference(name, form):
    reference = reference_of(SPECS[name])
    compare(ours_of(SPECS[name], reference, form), reference, SPECS[name])


def grouped_product(rows, weights, offs):
    """What torch's grouped product does, plainly: rows behind the last end stay garbage."""
    out = torch.full((rows.shape[0], weights.shape[2]), float("nan"), dtype=rows.dtype)
    parts, begin = [], 0
    for index, end in enumerate(offs.tolist()):
        assert end > begin and (end - begin) % 8 == 0
        parts.append(rows[begin:end] @ weights[index])
        begin = end
    return torch.cat([*parts, out[begin:]])


@pytest.mark.parametrize("name", ["moe", "moe_part_rotary"])
def test_the_grouped_way_equals_the_reference(name, monkeypatch):
    monkeypatch.setattr(torch_moe, "grouped_mm", grouped_product)
    reference = reference_of(SPECS[name])
    model = ours_of(SPECS[name], reference)
    for layer in model.layers:
        assert not layer.moe.has_grouped  # a CPU has no such kernel that is worth it
        layer.moe.has_grouped = True
    compare(model, reference, SPECS[name])


@pytest.mark.parametrize("way", ["split", "grouped", "published"])
def test_joined_experts_equal_the_reference(way, monkeypatch):
    """As they are where a model is divided: one parameter for each matmul of all experts."""
    monkeypatch.setattr(torch_moe, "grouped_mm", grouped_product)
    reference = reference_of(MOE)
    form = "published" if way == "published" else "routed"
    model = build(spec_of({**MOE, "dropout": 0.0}), form, CPU, torch.float32, torch.float32, lambda module, is_last=False: None)
    assert len(list(model.layers[0].moe.parameters())) == 5  # the router's, and two weights and biases
    state = reference.state_dict()
    for name, param in model.named_parameters():
        for key, part in model.published(name, param.data):
            part.copy_(state.pop(key))
    assert not state
    for layer in model.layers:
        layer.moe.has_grouped = way == "grouped"
    tokens = tokens_of(MOE)
    wanted = reference_run(MOE, reference, tokens)
    logits = model(tokens)
    assert distance(logits, wanted) < TOLERANCE
    loss_of(logits, tokens).backward()
    theirs = dict(reference.named_parameters())
    for name, param in model.named_parameters():
        for key, part in model.published(name, param.grad):
            assert distance(part, theirs[key].grad) < 10 * TOLERANCE, key


@pytest.mark.skipif(not hasattr(F, "grouped_mm"), reason="a torch without grouped_mm")
def test_the_grouped_way_equals_the_reference_with_torch_s_own_product():
    reference = reference_of(MOE)
    model = ours_of(MOE, reference)
    for layer in model.layers:
        layer.moe.has_grouped = True
    compare(model, reference, MOE)


@pytest.mark.parametrize("count, active", [(1, 1), (5, 2), (64, 3), (37, 2)])
@pytest.mark.parametrize("shape", ["random", "one_expert", "empty_experts"])
@pytest.mark.parametrize("way", ["counted", "sorted"])
def test_the_grouped_layout_puts_every_slot_into_its_expert_s_rows(count, active, shape, way, monkeypatch):
    monkeypatch.setattr(torch_moe, "COUNTED_MAX", count * active - (way == "sorted"))
    torch.manual_seed(count)
    experts = 4
    chosen = torch.rand(count, experts).topk(active).indices
    if shape == "one_expert":
        chosen = torch.arange(active).expand(count, active)
    if shape == "empty_experts":
        chosen = (experts - 1 - torch.arange(active)).expand(count, active)
    source, place, ends, starts = torch_moe.grouped_layout(chosen, experts)
    assert ends[-1] == source.shape[0] and torch.equal(starts[1:], ends[:-1])
    sizes = ends - starts
    assert (sizes >= 8).all() and (sizes % 8 == 0).all()
    assert place.unique().numel() == count * active
    for slot, row in enumerate(place.tolist()):
        expert = chosen.reshape(-1)[slot]
        assert starts[expert] <= row < ends[expert]
        assert source[row] == slot // active
    assert (source >= 0).all() and (source < count).all()


def test_experts_share_one_storage_and_so_do_their_gradients():
    model = build(spec_of(MOE), "routed", CPU, torch.float32, torch.float32)
    moe = model.layers[0].moe
    weights = [expert.ffn.w3.weight for expert in moe.experts]
    assert torch_moe._are_neighbours(weights)
    loose = [torch.nn.Parameter(weight.detach().clone()) for weight in weights]
    assert not torch_moe._are_neighbours(loose)
    for params in (weights, loose):
        for dtype in (torch.float32, torch.bfloat16):
            stacked = torch_moe.stack(params, dtype)
            assert stacked.dtype == dtype
            assert torch.equal(stacked, torch.stack([param.to(dtype) for param in params]))
            stacked.backward(torch.arange(stacked.numel()).view(stacked.shape).to(dtype))
            for index, param in enumerate(params):
                wanted = torch.arange(stacked.numel()).view(stacked.shape).to(dtype)[index]
                assert torch.equal(param.grad, wanted.float())
                param.grad = None


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_routed_gives_the_published_numbers(dtype):
    spec = {**MOE, "is_causal": True}
    reference = reference_of(spec)
    tokens = tokens_of(spec)
    both = [ours_of(spec, reference, form, dtype)(tokens) for form in ("published", "routed")]
    # the same matmuls on the same rows; only the order of two additions may differ
    assert distance(both[1], both[0].double()) < (1e-6 if dtype == torch.float32 else 2e-2)


def test_routed_with_dropout_and_experts_without_tokens():
    spec = {**MOE, "dropout": 0.5, "experts_count": 8, "experts_active": 1}
    model = build(spec_of(spec), "routed", CPU, torch.float32, torch.float32)
    model.train()
    model(torch.zeros(1, 3, dtype=torch.int64)).sum().backward()
    for name, param in model.named_parameters():
        assert param.grad is not None and torch.isfinite(param.grad).all(), name
    model.eval()
    with torch.inference_mode():
        assert torch.isfinite(model(torch.zeros(1, 3, dtype=torch.int64))).all()


@pytest.mark.parametrize("is_causal", [False, True])
def test_plain_attention_equals_torch_s(is_causal):
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 2, 4, 9, 8, dtype=torch.float64)
    wanted = F.scaled_dot_product_attention(query, key, value, is_causal=is_causal)
    found = torch_model._attend_plainly(query, key, value, 1e-12, is_causal)
    assert distance(found, wanted) < 1e-9
    heavy = torch_model._attend_plainly(query, key, torch.ones_like(value), 0.5, is_causal)
    assert heavy.mean().item() == pytest.approx(1.0, abs=0.2) and heavy.std() > 0.1


@pytest.mark.parametrize("name", ["moe_causal", "gelu"])
def test_decoding_with_a_cache_equals_the_forward(name):
    spec = SPECS[name]
    model = ours_of(spec, reference_of(spec)).eval()
    tokens = tokens_of(spec, length=12)
    with torch.inference_mode():
        wanted = model(tokens)
        single = model.new_cache(3, 12)
        steps = [model(tokens[:, at : at + 1], single, at) for at in range(12)]
        assert distance(torch.cat(steps, dim=1), wanted.double()) < TOLERANCE
        filled = model.new_cache(3, 12)
        model(tokens[:, :11], filled, 0)
        last = model(tokens[:, 11:], filled, 11)
        assert distance(last, wanted[:, 11:].double()) < TOLERANCE


@pytest.mark.parametrize("file", sorted((REPOSITORY / "models").glob("*.json")))
def test_presets_have_the_parameters_that_the_spec_counts(file):
    preset = json.loads(file.read_text())
    del preset["summary"]
    spec = spec_of({**preset, "name": file.stem, "max_seq_len": 16})
    model = build(spec, "routed", torch.device("meta"), torch.float32, torch.float32)
    shapes = {name: tuple(param.shape) for name, param in model.named_parameters()}
    assert shapes == {name: shape for name, shape, _ in spec.tensors()}
    assert spec.params_total() == sum(param.numel() for param in model.parameters())
    # as published: GPT-2's own count; the others in millions at the length they were counted at
    known = {
        "gpt2-124m": (1024, 124.439808, 1e-6),
        "superintelligence": (128, 10333, 0.5),
        "superintelligence-1b": (512, 971, 0.5),
    }
    if file.stem in known:
        length, millions, tolerance = known[file.stem]
        full = spec_of({**preset, "name": file.stem, "max_seq_len": length})
        assert full.params_total() / 1e6 == pytest.approx(millions, abs=tolerance)


def test_initial_weights_are_the_published_distributions():
    spec = spec_of({**MOE, "dim": 96, "vocab_size": 500, "ffn_hidden": 120})
    torch.manual_seed(1)
    state = build(spec, "routed", CPU, torch.float32, torch.float32).state_dict()
    assert state["token_embedding.weight"].std().item() == pytest.approx(0.02, rel=0.02)
    for name, value in state.items():
        if name.endswith("bias") or name == "position_embedding":
            assert not value.any(), name
        elif "norm" in name:
            assert (value == 1).all(), name
        elif name != "token_embedding.weight":
            bound = (6 / sum(value.shape)) ** 0.5
            assert value.abs().max() <= bound and value.abs().max() > 0.9 * bound, name
            assert value.std().item() == pytest.approx(bound / 3**0.5, rel=0.1), name


@pytest.mark.parametrize("name", ["moe", "gelu"])
def test_training_updates_every_parameter(name):
    model = build(spec_of(SPECS[name]), "routed", CPU, torch.float32, torch.float32)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)
    tokens = tokens_of(SPECS[name])
    for _ in range(2):
        optimizer.zero_grad()
        loss_of(model(tokens), tokens).backward()
        optimizer.step()
    changed = {key for key, value in model.state_dict().items() if not value.equal(before[key])}
    positions_used = tokens.shape[1]
    assert changed == set(before)
    assert model.position_embedding[positions_used:].abs().max() == 0
