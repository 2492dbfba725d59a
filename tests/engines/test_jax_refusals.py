"""JAX models whose figures would be of something else than what was asked."""
import math

import pytest

from jax_worker import MOE, JaxHere, refusal
from test_pytorch_sources import write

T, V = 8, 30
SPEC = {**MOE, "name": "superintelligence-tiny", "max_seq_len": T}
MODELS = """
    import flax.linen as nn
    import jax
    import jax.numpy as jnp
    import optax


    def init(key):
        first, second = jax.random.split(key)
        return {"table": jax.random.normal(first, (30, 6)) * 0.1, "head": jax.random.normal(second, (6, 30))}


    def out(params, tokens):
        return params["table"][tokens] @ params["head"]


    def of_tokens(logits, targets):
        return optax.softmax_cross_entropy_with_integer_labels(logits, targets)


    def loss_last(params, tokens, targets=None):
        logits = out(params, tokens)
        if targets is None:
            return logits, jnp.mean(logits ** 2), None
        return logits, jnp.mean(logits ** 2), of_tokens(logits, targets).mean() + 100


    loss_last_jitted = jax.jit(loss_last)


    def accuracy_first(params, tokens, targets=None):
        logits = out(params, tokens)
        if targets is None:
            return logits
        is_right = logits.argmax(-1) == targets
        return logits, is_right.mean(dtype=jnp.float32), of_tokens(logits, targets).mean() + 100


    def perplexity_first(params, tokens, targets=None):
        logits = out(params, tokens)
        if targets is None:
            return logits
        loss = of_tokens(logits, targets).mean()
        return jax.lax.stop_gradient(jnp.exp(loss)), loss + 100, logits


    def accuracy_alone(params, tokens, targets=None):
        logits = out(params, tokens)
        return logits if targets is None else (logits, (logits.argmax(-1) == targets).mean(dtype=jnp.float32))


    def tokens_beside(params, tokens, targets=None):
        logits = out(params, tokens)
        return logits if targets is None else (logits, of_tokens(logits, targets))


    def rows_alone(params, tokens, targets=None):
        logits = out(params, tokens)
        return logits if targets is None else of_tokens(logits, targets).mean(1)


    def values_beside(params, tokens, targets=None):
        logits = out(params, tokens)
        return logits, logits.mean(-1)


    def probabilities(params, tokens):
        return jax.nn.softmax(out(params, tokens))


    def by_hand(params, tokens):
        exponentials = jnp.exp(out(params, tokens))
        return {"logits": exponentials / exponentials.sum(-1, keepdims=True)}


    def log_probabilities(params, tokens):
        return jax.nn.log_softmax(out(params, tokens))


    def over_time(params, tokens):
        "(T, B)"
        _, sums = jax.lax.scan(lambda sum, x: (0.9 * sum + x,) * 2, jnp.zeros((tokens.shape[1], 6)), params["table"][tokens])
        return sums @ params["head"]


    def sums_over_time(params, tokens):
        return jnp.cumsum(params["table"][tokens], axis=0) @ params["head"]


    def turned(params, tokens):
        return over_time(params, tokens.T).transpose(1, 0, 2)


    def row_by_row(params, tokens):
        return jax.lax.map(lambda row: out(params, row), tokens)


    def halves(params, tokens):
        "as many parts as rows"
        h = params["table"][tokens].reshape(2, 2, 4, 6).swapaxes(0, 1)
        _, sums = jax.lax.scan(lambda sum, x: (sum + x.sum(1),) * 2, jnp.zeros((2, 6)), h)
        return params["table"][tokens] @ params["head"] + (sums.sum(0) @ params["head"])[:, None]


    class FewPlaces(nn.Module):
        @nn.compact
        def __call__(self, tokens):
            places = self.param("places", nn.initializers.normal(), (5, 6))
            return nn.Dense(30)(nn.Embed(30, 6)(tokens) + places[jnp.arange(tokens.shape[1])])


    class FewPlacesInTable(nn.Module):
        @nn.compact
        def __call__(self, tokens):
            return nn.Dense(30)(nn.Embed(30, 6)(tokens) + nn.Embed(5, 6)(jnp.arange(tokens.shape[1])[None]))


    class Clipped(nn.Module):
        @nn.compact
        def __call__(self, tokens):
            return nn.Dense(30)(nn.Embed(30, 6)(tokens) + nn.Embed(5, 6)(jnp.minimum(jnp.arange(tokens.shape[1]), 4)))


    class WideHead(nn.Module):
        vocab_size: int = 64

        @nn.compact
        def __call__(self, tokens):
            return nn.Dense(self.vocab_size)(nn.Embed(30, 6)(tokens))


    class Keeps(nn.Module):
        @nn.compact
        def __call__(self, tokens):
            h = nn.Embed(30, 6)(tokens)
            self.variable("cache", "kept", lambda: jnp.zeros((1, 1))).value = h
            return nn.Dense(30)(h)
"""


@pytest.fixture(name="folder", scope="module")
def folder_fixture(tmp_path_factory):
    folder = tmp_path_factory.mktemp("jax_refusals")
    write(folder, "unlike_jax.py", MODELS)
    return folder


def opened(folder, name, mode="train", **changes):
    with JaxHere(folder) as here:
        ready = here.open(SPEC, mode, T, model_ref=f"unlike_jax:{name}", **changes)
        return ready, here.run(1)


@pytest.mark.parametrize("name, mode, words", [
    ("tokens_beside", "train", "(2, 8): a loss is one number"),
    ("rows_alone", "train", "(2,): a loss is one number"),
    ("probabilities", "train", "the model gives probabilities"),
    ("by_hand", "train", "the model gives probabilities"),
    ("over_time", "train", "the model takes tokens (T, B)"),
    ("over_time", "infer", "the model takes tokens (T, B)"),
    ("sums_over_time", "infer", "the model takes tokens (T, B)"),
    ("FewPlaces", "infer", "row 7 of a table of 5 rows, where JAX silently takes another row, or NaN: seq_len may be at most 5"),
    ("FewPlacesInTable", "train", "row 7 of a table of 5 rows"),
    ("Keeps", "train", "the model's state 'cache.kept' goes into a step as float32[1, 8, 6], and comes out as float32[2, 8, 6]"),
])
def test_what_would_be_measured_as_something_else_is_refused(folder, name, mode, words):
    assert words in refusal(SPEC, folder, mode, model_ref=f"unlike_jax:{name}")["text"]


@pytest.mark.parametrize("name, mode", [
    ("values_beside", "train"), ("probabilities", "infer"), ("log_probabilities", "train"), ("turned", "infer"),
    ("accuracy_alone", "train"), ("row_by_row", "infer"), ("halves", "infer"), ("Clipped", "infer"), ("rows_alone", "infer"),
])
def test_what_only_looks_like_it_is_measured(folder, name, mode):
    _, block = opened(folder, name, mode)
    assert block["nonfinite"] == 0 and (mode == "infer" or block["loss"] == pytest.approx(math.log(V), abs=1))


@pytest.mark.parametrize("name", ["loss_last", "loss_last_jitted", "accuracy_first", "perplexity_first"])
def test_of_several_numbers_the_one_that_follows_the_targets_is_the_loss(folder, name):
    ready, block = opened(folder, name)
    assert ready["loss_source"] == "model" and block["loss"] == pytest.approx(100 + math.log(V), abs=1)


def test_tokens_are_drawn_from_the_rows_of_the_table(folder):
    ready, block = opened(folder, "WideHead")
    assert "vocabulary 30 from the model" in ready["notes"] and block["nonfinite"] == 0
    found = refusal(SPEC, folder, "train", model_ref="unlike_jax:WideHead", options={"set": {"vocab_size": "64"}})
    assert "--set vocab_size=64 does not reach the model: tokens are looked up in a table of 30 rows" in found["text"]
