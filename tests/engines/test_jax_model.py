"""Our JAX model, in all its forms, against the reference in double precision."""
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from jax_worker import MOE, REPOSITORY, SPECS, spec_of
from test_pytorch_model import distance, reference_of, reference_run, tokens_of
from tokmark_worker import jax_model, jax_moe
from tokmark_worker.jax_model import Model
from tokmark_worker.jax_steps import loss_of

TOLERANCE = 2e-5
SMALL = {**MOE, "layers_count": 1}


@pytest.fixture(autouse=True)
def _fp32_matmuls():
    with jax.default_matmul_precision("highest"):
        yield


def as_torch(array):
    return torch.from_numpy(np.array(array, np.float32))


def params_of(spec, reference):
    state = {name: value.float().numpy() for name, value in reference.state_dict().items()}
    return jax_model.stacked(spec_of(spec), lambda name, shape: state[name], lambda array, _name: jnp.asarray(array))


def logits_and_gradients(model, params, tokens):
    tokens = jnp.asarray(tokens.numpy(), jnp.int32)

    def run(params):
        logits = model.forward(params, tokens)
        return loss_of(logits, tokens), logits

    (_, logits), grads = jax.jit(jax.value_and_grad(run, has_aux=True))(params)
    return as_torch(logits), dict(jax_model.published(model.spec, grads))


@pytest.mark.parametrize(
    "name, way",
    [
        ("moe", "published"),
        ("moe_causal", "ranks"),
        ("moe_part_rotary", "tiles"),
        ("gelu", "tiles"),
    ],
)
def test_logits_and_gradients_equal_the_reference(name, way):
    spec = {**SPECS[name], "layers_count": 2 if name == "gelu" else 1}
    reference = reference_of(spec)
    tokens = tokens_of(spec)
    wanted = reference_run(spec, reference, tokens)
    model = Model(spec_of(spec), jnp.float32, way)
    logits, grads = logits_and_gradients(model, params_of(spec, reference), tokens)
    assert distance(logits, wanted) < TOLERANCE
    theirs = dict(reference.named_parameters())
    assert set(grads) == set(theirs)
    for key, grad in grads.items():
        if theirs[key].grad.abs().max() >= 1e-12:  # else a part that softmax does not see
            assert distance(as_torch(grad), theirs[key].grad) < 10 * TOLERANCE, key


@pytest.mark.parametrize(
    "way, shape", [("tiles", "one_expert"), ("ranks", "one_expert"), ("ranks", "random")]
)
def test_an_uneven_gate_drops_no_token(way, shape):
    """Forward and backward with every token on the same experts, which is what capacity-limited
    dispatches get wrong."""
    gate = Gate(shape)
    assert jax_moe.rank_rows(140, 6, 70) == (72, 72, 48, 40, 32, 24)
    assert jax_moe.tile_rows(140, 6) == 8
    require_equal(gate.run(lambda *given: jax_moe.routed(*given, way)), gate.wanted())


@pytest.mark.parametrize("way", ["tiles", "ranks"])
def test_experts_in_two_places_give_what_they_give_in_one(way):
    """Each place has all tokens and three of six experts."""
    gate = Gate("random")

    def both(x, chosen, weights, params, key, rate):
        return sum(
            jax_moe.routed(
                x, chosen - first, weights, [part[first : first + 3] for part in params], key, rate, way, True
            )
            for first in (0, 3)
        )

    require_equal(gate.run(both), gate.wanted())


class Gate:
    """Experts, tokens, and which of them they go to."""

    def __init__(self, shape):
        rng = np.random.default_rng(1)
        N, D, H, E, k = 70, 8, 12, 6, 2
        self.params = [
            jnp.asarray(rng.normal(size=(E, *size)), jnp.float32)
            for size in ((H, D), (H,), (H, D), (H,), (D, H), (D,))
        ]
        self.x = jnp.asarray(rng.normal(size=(N, D)), jnp.float32)
        self.weights = jax.nn.softmax(jnp.asarray(rng.normal(size=(N, k)), jnp.float32))
        chosen = {
            "one_expert": np.tile([4, 1], (N, 1)),
            "random": np.stack([rng.permutation(E)[:k] for _ in range(N)]),
        }[shape]
        self.chosen = jnp.asarray(chosen, jnp.int32)
        self.probe = jnp.asarray(rng.normal(size=(N, D)), jnp.float32)

    def run(self, function):
        """Results and gradients."""
        def scalar(x, weights, params):
            out = function(x, self.chosen, weights, params, None, 0.0)
            return (out * self.probe).sum(), out

        run = jax.jit(jax.value_and_grad(scalar, argnums=(0, 1, 2), has_aux=True))
        (_, out), grads = run(self.x, self.weights, self.params)
        return jax.tree_util.tree_leaves((out, grads))

    def wanted(self):
        return self.run(jax_moe.every_expert)


def require_equal(found, wanted):
    for one, other in zip(wanted, found, strict=True):
        assert distance(as_torch(other), as_torch(one).double()) < 1e-5


def test_routed_gives_the_published_numbers_in_bf16():
    spec = {**SMALL, "is_causal": True}
    reference = reference_of(spec)
    params = params_of(spec, reference)
    tokens = jnp.asarray(tokens_of(spec).numpy(), jnp.int32)
    both = [
        as_torch(jax.jit(Model(spec_of(spec), jnp.bfloat16, way).forward)(params, tokens))
        for way in ("published", "tiles")
    ]
    assert distance(both[1], both[0].double()) < 2e-2


def test_dropout_zeroes_its_share_and_differs_by_key():
    spec = spec_of({**SMALL, "dropout": 0.5})
    model = Model(spec, jnp.float32, "published")
    params = jax_model.init(spec, jax.random.key(1), jnp.float32)
    tokens = jnp.asarray(tokens_of(MOE).numpy(), jnp.int32)
    run = jax.jit(jax.value_and_grad(lambda p, key: loss_of(model.forward(p, tokens, key), tokens)))
    results = [run(params, jax.random.key(seed, impl="rbg")) for seed in (0, 0, 1)]
    losses = [float(loss) for loss, _ in results]
    assert losses[0] == losses[1] != losses[2]
    for grad in jax.tree_util.tree_leaves(results[0][1]):
        assert bool(jnp.isfinite(grad).all())
    key = jax.random.key(3)
    kept = jax_moe.dropout(jnp.ones(100000), key, 0.1)
    assert float((kept == 0).mean()) == pytest.approx(0.1, abs=0.005)
    assert float(kept.mean()) == pytest.approx(1.0, abs=0.01)
    assert jax_moe.dropout(kept, None, 0.1) is kept


@pytest.mark.parametrize("way", ["tiles", "ranks"])
def test_dropout_s_backward_is_of_the_same_mask(way):
    """By finite differences: a backward pass with another mask would be far off."""
    spec = spec_of({**SMALL, "dropout": 0.4, "vocab_size": 50})
    model = Model(spec, jnp.float32, way)
    params = jax_model.init(spec, jax.random.key(1), jnp.float32)
    tokens = jnp.asarray(np.arange(40).reshape(1, 40), jnp.int32)
    name = "layers.0.moe.experts.w3.weight"
    turn = jax.random.normal(jax.random.key(9), params[name].shape)

    def loss(step):
        changed = {**params, name: params[name] + step * turn}
        return loss_of(model.forward(changed, tokens, jax.random.key(4)), tokens)

    run = jax.jit(jax.value_and_grad(loss))
    slope = float(run(0.0)[1])
    measured = (float(run(0.005)[0]) - float(run(-0.005)[0])) / 0.01
    assert slope == pytest.approx(measured, rel=0.02)


@pytest.mark.parametrize("name", ["moe_causal", "gelu"])
def test_decoding_with_a_cache_equals_the_forward(name):
    spec = {**SPECS[name], "layers_count": 1}
    reference = reference_of(spec)
    params = params_of(spec, reference)
    model = Model(spec_of(spec), jnp.float32)
    tokens = jnp.asarray(tokens_of(spec, length=12).numpy(), jnp.int32)
    wanted = as_torch(jax.jit(model.forward)(params, tokens)).double()
    decode = jax.jit(model.decode)
    cache = model.new_cache(3, 16)
    parts = []
    for at in range(12):
        logits, cache = decode(params, tokens[:, at : at + 1], cache, jnp.int32(at))
        parts.append(logits)
    assert distance(as_torch(jnp.concatenate(parts, 1)), wanted) < TOLERANCE
    _, cache = decode(params, tokens[:, :11], model.new_cache(3, 16), jnp.int32(0))
    last, _ = decode(params, tokens[:, 11:], cache, jnp.int32(11))
    assert distance(as_torch(last), wanted[:, 11:]) < TOLERANCE


@pytest.mark.parametrize("file", sorted((REPOSITORY / "models").glob("*.json")))
def test_presets_have_the_published_names_and_shapes(file):
    preset = json.loads(file.read_text())
    del preset["summary"]
    spec = spec_of({**preset, "name": file.stem, "max_seq_len": 16})
    wanted = {name: shape for name, shape, _ in spec.tensors()}
    shapes = jax.eval_shape(lambda key: jax_model.init(spec, key, jnp.float32), jax.random.key(0))
    found = {}
    for name, (shape, theirs) in jax_model.stacked_names(spec).items():
        assert shapes[name].shape == tuple(shape)
        parts = [shape] if theirs == [name] else [shape[1:]] * len(theirs)
        found.update(zip(theirs, parts))
    assert found == wanted and list(shapes) == sorted(jax_model.stacked_names(spec))


def test_names_translate_both_ways():
    spec = spec_of(MOE)
    rng = np.random.default_rng(2)
    state = {name: rng.normal(size=shape) for name, shape, _ in spec.tensors()}
    params = jax_model.stacked(spec, lambda name, shape: state[name], lambda array, _name: array)
    back = dict(jax_model.published(spec, params))
    assert set(back) == set(state)
    assert all(np.array_equal(value, state[name]) for name, value in back.items())


def test_initial_weights_are_the_published_distributions():
    spec = spec_of({**SMALL, "dim": 96, "vocab_size": 500, "ffn_hidden": 120})
    params = jax_model.init(spec, jax.random.key(1), jnp.float32)
    assert params["token_embedding.weight"].std() == pytest.approx(0.02, rel=0.02)
    for name, value in jax_model.published(spec, params):
        if name.endswith("bias") or name == "position_embedding":
            assert not value.any(), name
        elif "norm" in name:
            assert (value == 1).all(), name
        elif name != "token_embedding.weight":
            bound = (6 / sum(value.shape)) ** 0.5
            assert 0.9 * bound < abs(value).max() <= bound, name
            assert value.std() == pytest.approx(bound / 3**0.5, rel=0.1), name
