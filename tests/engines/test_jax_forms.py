"""The forms that people write JAX models in: each runs as what it is, or is refused by name."""
import re
import textwrap

import pytest

from jax_worker import MOE, JaxHere, JaxWorker, refusal

SPEC = {**MOE, "name": "superintelligence-tiny", "max_seq_len": 8}

FORMS = """
    import functools
    import os
    from dataclasses import dataclass
    from typing import Any, Callable, NamedTuple

    import equinox as eqx
    import flax.linen as nn
    import haiku as hk
    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax
    from flax import nnx
    from flax.training import train_state
    from jax.experimental import io_callback


    def note(*values):
        # a line of `seen` each time it really runs; 0, which the caller adds to its result
        def write(*arrays):
            with open("seen", "a") as file:
                file.write(" ".join(str(int(np.asarray(one).sum())) for one in arrays) + "\\n")
            return np.float32(0)
        return io_callback(write, jax.ShapeDtypeStruct((), jnp.float32), *values)


    def cross_entropy(logits, targets):
        return optax.softmax_cross_entropy_with_integer_labels(logits, targets).mean()


    # --- functions


    def init(key, vocab_size=30, width=6):
        first, second = jax.random.split(key)
        return {
            "table": jax.random.normal(first, (vocab_size, width)),
            "square": jax.random.normal(second, (width, width)),
            "nothing": None,
            "count": 3,
        }


    def plain(params, tokens):
        assert params["nothing"] is None
        return jnp.sin(params["table"][tokens] @ params["square"]) @ params["table"].T


    def odd_names(a, b):
        return plain(a, b)


    def turned(idx, theta):
        return plain(theta, idx)


    def star(*both):
        assert both[0]["count"] == 3  # no array, and none is made of it
        return plain(*both)


    def one_row(params, tokens, key):
        assert tokens.ndim == 1
        return plain(params, tokens) + 0 * jax.random.normal(key, ())


    @functools.partial(jax.jit, static_argnums=(2,))
    def told(params, tokens, is_training):
        return plain(params, tokens) if is_training else 2 * plain(params, tokens)


    jitted = jax.jit(odd_names, donate_argnums=(0,))
    remat = jax.checkpoint(plain)
    part = functools.partial(lambda scale, params, tokens: scale * plain(params, tokens), 1.0)
    mapped = jax.jit(jax.vmap(one_row, in_axes=(None, 0, 0)))
    filtered = eqx.filter_jit(plain)
    nested = jax.jit(jax.remat(functools.partial(turned)))


    class Called:
        def __call__(self, params, tokens):
            return plain(params, tokens)


    called = Called()


    class Owner:
        def __init__(self, vocab_size):
            self.vocab_size = vocab_size

        def init(self, key):
            return init(key, self.vocab_size)

        def forward(self, params, tokens):
            return jnp.asarray(plain(params, tokens)), {"more": tokens}


    owner = Owner(30)
    bound = owner.forward


    class Fixed:
        @staticmethod
        def init(key, vocab_size=30):
            return init(key, vocab_size)

        @staticmethod
        def apply(params, tokens):
            return plain(params, tokens)


    def with_params(key):
        return init(key, 30), plain


    def as_dict():
        return {"init": lambda rng: init(rng, 30), "apply": jax.jit(plain)}


    @dataclass(frozen=True)
    class Config:
        vocab_size: int = 30
        width: int = 6


    def config_init(rng, cfg: Config):
        return init(rng, cfg.vocab_size, cfg.width)


    @functools.partial(jax.jit, static_argnames="config")
    def config_apply(params, tokens, config):
        assert params["table"].shape == (config.vocab_size, config.width)
        return plain(params, tokens)


    # --- trees


    class Two(NamedTuple):
        table: jax.Array
        rest: list


    def named_init(key):
        return Two(init(key)["table"], [init(key)["square"], jnp.arange(4)])


    def named_apply(params, tokens):
        assert params.rest[1].dtype == jnp.int32
        return jnp.sin(params.table[tokens] @ params.rest[0]) @ params.table.T


    @jax.tree_util.register_pytree_node_class
    class Strict:
        def __init__(self, table):
            assert table.ndim == 2  # of an array, whoever makes one
            self.table = table

        def tree_flatten(self):
            return (self.table,), None

        @classmethod
        def tree_unflatten(cls, _, children):
            return cls(*children)

        def __call__(self, ids):
            return self.table[ids] @ self.table.T


    def strict(key):
        return Strict(init(key)["table"])


    # --- a loss of its own: its 100 tells it from ours


    def gives_loss(params, tokens, targets=None):
        logits = plain(params, tokens)
        return logits if targets is None else (cross_entropy(logits, targets) + 100, {"n": 1})


    def gives_dict(params, x, labels):
        logits = plain(params, x)
        return {"z": logits, "loss": cross_entropy(logits, labels) + 100}


    class WithLoss(nn.Module):
        vocab_size: int

        @nn.compact
        def __call__(self, idx, targets=None):
            logits = nn.Dense(self.vocab_size)(nn.Embed(self.vocab_size, 6)(idx))
            return logits, None if targets is None else cross_entropy(logits, targets) + 100


    def needs_labels(params, x, labels):
        logits = plain(params, x)
        return logits, cross_entropy(logits, labels) + 100


    def only_loss(params, tokens, targets):
        return gives_loss(params, tokens, targets)[0]


    class OtherNames(nn.Module):
        @nn.compact
        def __call__(self, input_ids, lm_labels=None, num_labels=2):
            assert num_labels == 2
            logits = nn.Dense(30)(nn.Embed(30, 6)(input_ids))
            if lm_labels is None:
                return {"lm_logits": logits}
            loss = cross_entropy(logits, lm_labels) + 100
            return {"lm_logits": logits, "aux_loss": jnp.mean(logits), "total_loss": loss}


    class HiddenFirst(nn.Module):
        # two arrays of three dims: the second has the embedding's rows
        @nn.compact
        def __call__(self, tokens):
            hidden = nn.Embed(30, 6)(tokens)
            return hidden, nn.Dense(30)(hidden)


    class TwoOfAKind(nn.Module):
        @nn.compact
        def __call__(self, tokens):
            hidden = nn.Embed(30, 6)(tokens)
            return hidden, nn.Dense(29)(hidden)


    # --- what really runs


    def types_seen(params, tokens):
        h = params["table"][tokens]
        out = h @ params["square"]
        with open("seen", "a") as file:  # as it is traced
            file.write(f"{h.dtype} {out.dtype}\\n")
        return plain(params, tokens)


    def seen(params, tokens, targets=None, rng=None, train=False):
        more = () if targets is None else (targets, jax.random.bits(rng))
        logits = plain(params, tokens) + note(tokens, *more)
        return logits if targets is None else cross_entropy(logits, targets)


    def counting_init(key):
        return init(key), {"count": jnp.int32(7)}


    def counting_apply(params, state, tokens):
        return plain(params, tokens) + note(state["count"]), {"count": state["count"] + 1}


    class CountingLinen(nn.Module):
        @nn.compact
        def __call__(self, x, train: bool):
            count = self.variable("batch_stats", "count", lambda: jnp.int32(7))
            h = nn.Embed(30, 6)(x) + note(count.value)
            h = nn.BatchNorm(use_running_average=not train)(h)
            self.sow("losses", "mean", h.mean())
            if train and not self.is_initializing():
                count.value += 1
            return nn.Dense(30)(h)


    class CountingNnx(nnx.Module):
        def __init__(self, vocab_size, rngs):
            self.table = nnx.Embed(vocab_size, 6, rngs=rngs)
            self.norm = nnx.BatchNorm(6, rngs=rngs)
            self.count = nnx.Variable(jnp.int32(7))
            self.drop = nnx.Dropout(0.5, rngs=rngs)
            self.head = nnx.Linear(6, vocab_size, rngs=rngs)

        def __call__(self, tokens):
            count = self.count[...]
            h = self.drop(self.norm(self.table(tokens))) + note(count)
            self.sow(nnx.Intermediate, "mean", h.mean())
            self.count[...] = count + 1
            return self.head(h)


    def counting_haiku():
        def run(x, is_training):
            count = hk.get_state("count", (), jnp.int32, init=lambda *_: jnp.int32(7))
            hk.set_state("count", count + 1)
            h = hk.Embed(30, 6)(x) + note(count)
            h = hk.BatchNorm(True, True, 0.9)(h, is_training)
            return hk.Linear(30)(h)
        return hk.transform_with_state(run)


    # --- Equinox, Haiku, Flax


    class Row(eqx.Module):
        table: eqx.nn.Embedding
        drop: eqx.nn.Dropout
        head: eqx.nn.Linear
        act: Callable
        scale: Any

        def __init__(self, vocab_size, *, key):
            self.table = eqx.nn.Embedding(vocab_size, 6, key=key)
            self.drop = eqx.nn.Dropout(0.5)
            self.head = eqx.nn.Linear(6, vocab_size, key=key)
            self.act, self.scale = jnp.tanh, np.ones(6, np.float32)

        def __call__(self, x, *, key):
            assert x.ndim == 1
            h = self.drop(self.act(jax.vmap(self.table)(x)) * self.scale, key=key)
            return jax.vmap(self.head)(h)


    class Batch(Row):
        def __call__(self, x, *, key):
            B, T = x.shape
            return jax.vmap(jax.vmap(self.head))(self.drop(self.table.weight[x], key=key))


    class Statistics(eqx.Module):
        table: eqx.nn.Embedding
        norm: eqx.nn.BatchNorm
        head: eqx.nn.Linear

        def __init__(self, vocab_size, key):
            self.table = eqx.nn.Embedding(vocab_size, 6, key=key)
            self.norm = eqx.nn.BatchNorm(6, axis_name="rows", mode="batch")
            self.head = eqx.nn.Linear(6, vocab_size, key=key)

        def __call__(self, tokens, state):
            h, state = self.norm(jax.vmap(self.table)(tokens).T, state)
            return jax.vmap(self.head)(h.T), state


    def jitted_row(vocab_size, key):
        return eqx.filter_jit(Row(vocab_size, key=key))


    @hk.transform
    def haiku(tokens, is_training):
        h = hk.Embed(30, 6)(tokens)
        return hk.Linear(30)(hk.dropout(hk.next_rng_key(), 0.5, h) if is_training else h)


    class Needs(nn.Module):
        vocab_size: int
        deterministic: bool

        @nn.compact
        def __call__(self, input_ids, attention_mask, position_ids):
            assert attention_mask.shape == position_ids.shape == input_ids.shape
            h = nn.Embed(self.vocab_size, 6)(input_ids) + nn.Embed(8, 6)(position_ids)
            h = h * attention_mask[..., None]
            h = nn.Dropout(0.5, deterministic=self.deterministic)(h)
            return {"hidden": h, "logits": nn.Dense(self.vocab_size)(h)}


    def in_train_state(vocab_size, key):
        module = WithLoss(vocab_size)
        params = module.init(key, jnp.zeros((1, 8), jnp.int32))["params"]
        return train_state.TrainState.create(
            apply_fn=module.apply, params=params, tx=optax.sgd(0.1))


    def with_variables(vocab_size, key):
        module = WithLoss(vocab_size)
        return module, module.init(key, jnp.zeros((1, 8), jnp.int32))


    def held(key):
        return jax.tree_util.Partial(plain, init(key))


    @dataclass(frozen=True)
    class Mode:
        vocab_size: int = 30
        deterministic: bool = True


    class TellsItsConfig(nn.Module):
        config: Mode

        @nn.compact
        def __call__(self, x):
            assert self.config.deterministic is not self.has_rng("dropout") or self.is_initializing()
            h = nn.Embed(self.config.vocab_size, 6)(x)
            return nn.Dense(self.config.vocab_size)(h)


    # --- refused


    def colours(params, tokens, colour):
        return plain(params, tokens)


    class Segments(nn.Module):
        vocab_size: int

        @nn.compact
        def __call__(self, x, segment_ids):
            return nn.Embed(self.vocab_size, self.vocab_size)(x)


    # --- types


    def mixed_init(key, vocab_size):
        made = init(key, vocab_size)
        return {
            "square": made["square"],
            "table": made["table"].astype(jnp.bfloat16),
            "head": made["table"].T,
            "turn": jnp.exp(1j * jnp.arange(6)),
        }


    def mixed_apply(params, tokens):
        assert params["turn"].dtype == jnp.complex64 and params["table"].dtype == jnp.bfloat16
        x = params["table"][tokens].astype(params["square"].dtype) @ params["square"]
        return (x * params["turn"].real.astype(x.dtype)) @ params["head"]


    class Norms(nn.Module):
        vocab_size: int
        dtype: Any = jnp.bfloat16
        param_dtype: Any = jnp.float32

        @nn.compact
        def __call__(self, x):
            types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
            h = nn.Embed(self.vocab_size, 6, **types)(x)
            h = nn.LayerNorm(dtype=jnp.float32, param_dtype=jnp.float32)(h).astype(self.dtype)
            return nn.Dense(self.vocab_size, **types)(h)
"""

SHARED = "import forms\nfrom forms import cross_entropy, init, plain\n\n"
BESIDE = {
    "unsaid": """
        from forms import needs_labels, only_loss

        def init(key):
            return forms.init(key)
    """,
    "of_batch": """
        def apply(params, tokens):
            return plain(params, tokens)

        def loss_fn(params, batch, key=None):
            return cross_entropy(apply(params, batch["inputs"]), batch["labels"]) + 100, 3
    """,
    "of_shifted": """
        def apply(params, tokens):
            return plain(params, tokens)

        def loss(params, batch):
            return cross_entropy(apply(params, batch[:, :-1]), batch[:, 1:]) + 100
    """,
    "of_logits": """
        def apply(params, tokens):
            return plain(params, tokens)

        def loss(logits, targets):
            return cross_entropy(logits, targets) + 100
    """,
    "of_model": """
        class apply(forms.Row):
            pass

        def loss_fn(model, x, y, key):
            keys = forms.jax.random.split(key, len(x))
            rows = forms.jax.vmap(lambda row, key: model(row, key=key))(x, keys)
            return cross_entropy(rows, y) + 100
    """,
    "strange": """
        def apply(params, tokens):
            return plain(params, tokens)

        def loss(params, tokens, targets, teacher):
            return 100
    """,
}


@pytest.fixture(name="folder", scope="module")
def folder_fixture(tmp_path_factory):
    folder = tmp_path_factory.mktemp("forms")
    (folder / "forms.py").write_text(textwrap.dedent(FORMS))
    for name, text in BESIDE.items():
        (folder / f"{name}.py").write_text(SHARED + textwrap.dedent(text))
    renamed = {"named": "named", "configured": "config", "counting": "counting", "mixed": "mixed"}
    for name, form in renamed.items():
        text = f"from forms import {form}_init as init, {form}_apply as apply\n"
        (folder / f"{name}.py").write_text(text)
    return folder


def opened(folder, ref, mode="train", **changes):
    """(ready, losses of three steps, lines of `seen`)"""
    (folder / "seen").write_text("")
    options = {"set": changes.pop("set", {})}
    with JaxHere(folder) as worker:
        ready = worker.open(SPEC, mode, 8, model_ref=ref, options=options, **changes)
        (folder / "seen").write_text("")
        blocks = [worker.run(1) for _ in range(3 if mode == "train" else 2)]
    assert all(block["recompiles"] == block["nonfinite"] == 0 for block in blocks)
    lines = (folder / "seen").read_text().splitlines()
    return ready, [block.get("loss") for block in blocks], lines


# --- functions and trees: one model, however it is written -------------------------------------------


@pytest.fixture(name="plain_losses", scope="module")
def plain_losses_fixture(folder):
    return opened(folder, "forms:plain")[1]


@pytest.mark.parametrize(
    "ref, call",
    [
        ("forms:jitted", "jitted(a, b)"),
        ("forms:turned", "turned(idx, theta)"),
        ("forms:star", "star(params, tokens)"),
        ("forms:told", "told(params, tokens, is_training=True)"),
        ("forms:remat", "remat(params, tokens)"),
        ("forms:part", "part(params, tokens)"),
        ("forms:mapped", "mapped(params, tokens, key)"),
        ("forms:filtered", "filtered(params, tokens)"),
        ("forms:nested", "nested(idx, theta)"),
        ("forms:called", "called(params, tokens)"),
        ("forms:owner", "forward(params, tokens)"),
        ("forms:bound", "forward(params, tokens)"),
        ("forms:owner.forward", "forward(params, tokens)"),
        ("forms:Fixed.apply", "apply(params, tokens)"),
        ("forms:with_params", "plain(params, tokens)"),
        ("forms:as_dict", "plain(params, tokens)"),
        ("configured:apply", "apply(params, tokens, config)"),
        ("named:apply", "apply(params, tokens)"),
    ],
)
def test_a_function_runs_as_what_it_is(folder, plain_losses, ref, call):
    ready, losses, _ = opened(folder, ref)
    if ref == "forms:with_params":  # the key is the factory's
        assert losses[0] == pytest.approx(plain_losses[0], rel=0.5)
    else:
        assert losses == pytest.approx(plain_losses, rel=1e-5)
    assert ready["forward_call"] == call
    assert ready["params_total"] == ready["params_trainable"] == 30 * 6 + 6 * 6
    assert ready["loss_source"] == "tokmark" and ready["compiled"] == "by tokmark (jit)"


def test_nodes_of_an_author_s_class_hold_arrays_only(folder):
    ready, losses, _ = opened(folder, "forms:strict")
    assert ready["params_total"] == 30 * 6 and ready["forward_call"] == "Strict(ids)"
    assert losses[1] != losses[0]


def test_defaults_of_init_stay_and_set_reaches_apply(folder):
    with JaxHere(folder) as here:
        ready = here.open(SPEC, "infer", 8, model_ref="configured:apply",
                          options={"set": {"width": "4"}})
    assert ready["params_total"] == 30 * 4 + 4 * 4
    assert ready["model_config"]["vocab_size"] == {"value": 30, "from": "default"}
    assert ready["model_config"]["width"] == {"value": 4, "from": "--set"}
    assert "model_chosen" not in ready


def test_a_vocabulary_that_had_to_be_chosen_is_said(folder):
    ready, _, _ = opened(folder, "forms:Row", "infer")
    assert ready["model_chosen"] == "vocab_size 211"
    assert ready["model_config"]["vocab_size"] == {"value": 211, "from": "tokmark"}


@pytest.mark.parametrize(
    "name, chosen", [("needs_labels", None), ("only_loss", "vocab_size 211 (of the tokens)")]
)
def test_a_vocabulary_that_nobody_states(folder, name, chosen):
    """It is the logits' width; where a model gives nothing but a loss, it had to be chosen."""
    with JaxHere(folder) as here:
        ready = here.open(SPEC, "train", 8, model_ref=f"unsaid:{name}")
        nonfinite = here.run(1)["nonfinite"]
    assert ready["loss_source"] == "model" and ready.get("model_chosen") == chosen
    assert ("vocabulary 30 from the model" in ready["notes"]) is (chosen is None)
    assert (nonfinite > 0) is (chosen is not None)  # 211 tokens in a table of 30


# --- libraries ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, mode, call",
    [
        ("Row", "train", "Row(x, key), a row each by jax.vmap"),
        ("Row", "infer", "Row(x, key), a row each by jax.vmap"),
        ("Batch", "train", "Batch(x, key)"),
        ("Statistics", "train", "Statistics(tokens, state), a row each by jax.vmap"),
        ("jitted_row", "train", "Row(x, key), a row each by jax.vmap"),
        ("haiku", "train", "apply_fn(params, rng, tokens, is_training=True)"),
        ("haiku", "infer", "apply_fn(params, rng, tokens, is_training=False)"),
        ("Needs", "train", "Needs(input_ids, attention_mask, position_ids)"),
        ("TellsItsConfig", "train", "TellsItsConfig(x)"),
        ("TellsItsConfig", "infer", "TellsItsConfig(x)"),
        ("in_train_state", "infer", "WithLoss(idx)"),
        ("with_variables", "infer", "WithLoss(idx)"),
        ("held", "infer", "Partial(tokens)"),
    ],
)
def test_modules_of_every_library(folder, name, mode, call):
    assert opened(folder, f"forms:{name}", mode)[0]["forward_call"] == call


# --- whose loss --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ref, whose",
    [
        ("forms:gives_loss", "loss of gives_loss"),
        ("forms:gives_dict", "loss of gives_dict"),
        ("forms:WithLoss", "loss of WithLoss"),
        ("forms:OtherNames", "loss of OtherNames"),
        ("of_batch:apply", "loss of loss_fn"),
        ("of_shifted:apply", "loss of loss"),
        ("of_logits:apply", "loss of loss"),
        ("of_model:apply", "loss of loss_fn"),
    ],
)
def test_a_loss_of_the_author_s_is_the_loss(folder, ref, whose):
    ready, losses, _ = opened(folder, ref)
    assert min(losses) > 100 and ready["loss_source"] == "model" and whose in ready["notes"]


def test_logits_are_told_from_other_arrays(folder):
    ready, _, _ = opened(folder, "forms:HiddenFirst", "infer")
    assert "vocabulary 30 from the model" in ready["notes"]
    reply = refusal(SPEC, folder, "infer", model_ref="forms:TwoOfAKind")
    assert reply["kind"] == "model" and "6, 29 wide" in reply["text"] and "none is called logits" in reply["text"]


def test_a_loss_that_cannot_be_called_is_named(folder, plain_losses):
    ready, losses, _ = opened(folder, "strange:apply")
    assert losses == pytest.approx(plain_losses, rel=1e-5) and ready["loss_source"] == "tokmark"
    assert "loss beside the model is not used: loss asks for 'teacher'" in ready["notes"]


@pytest.mark.parametrize(
    "name, words",
    [
        ("colours", "colours asks for 'colour'"),
        ("Segments", "Segments asks for 'segment_ids'"),
        ("gives_dict", "asks for 'labels', which only training has"),
    ],
)
def test_arguments_that_nobody_has_are_named(folder, name, words):
    reply = refusal(SPEC, folder, "infer", model_ref=f"forms:{name}")
    assert reply["kind"] == "model" and words in reply["text"], reply


# --- what is timed is what the function does ---------------------------------------------------------


@pytest.mark.parametrize("mode, kinds", [("train", 3), ("infer", 1)])
def test_a_step_runs_the_function_once_on_new_tokens(folder, mode, kinds):
    """Tokens, targets and dropout's key."""
    _, _, lines = opened(folder, "forms:seen", mode)
    columns = list(zip(*(line.split() for line in lines)))
    assert len(lines) == len(set(columns[0])) and len(columns) == kinds
    assert all(len(set(column)) == len(lines) > 1 for column in columns)


@pytest.mark.parametrize(
    "ref", ["counting:apply", "forms:CountingLinen", "forms:CountingNnx", "forms:counting_haiku"]
)
def test_state_goes_from_step_to_step(folder, ref):
    assert opened(folder, ref)[2] == ["7", "8", "9"]


# --- types -------------------------------------------------------------------------------------------


def test_a_type_that_the_author_keeps_is_kept_and_said(folder):
    ready, _, _ = opened(folder, "mixed:apply", precision="bf16-pure")
    assert ready["dtype_param"] == "bf16" and ready["dtype_buffers"] == "complex64"
    ready, _, _ = opened(folder, "mixed:apply")
    assert ready["dtype_kept"] == "bf16: table" and ready["dtype_param"] == "fp32+bf16"


def test_norms_in_fp32_of_a_bf16_model_stay(folder):
    ready, _, _ = opened(folder, "forms:Norms", precision="bf16-pure")
    assert ready["dtype_kept"] == "fp32: LayerNorm_0.bias, LayerNorm_0.scale"
    assert ready["dtype_param"] == "bf16+fp32"
    assert ready["model_config"]["dtype"] == {"value": "bfloat16", "from": "--precision"}
    ready = opened(folder, "forms:Norms", "infer")[0]
    assert "dtype_kept" not in ready and ready["dtype_compute"] == "fp32"
    for name in ("dtype", "param_dtype"):  # its author has bf16
        assert ready["model_config"][name] == {"value": "float32", "from": "--precision"}


def test_bf16_of_an_fp32_model_is_what_its_code_sees(folder):
    (folder / "seen").write_text("")
    with JaxHere(folder) as here:
        ready = here.open(SPEC, "train", 8, model_ref="forms:types_seen", precision="bf16")
    assert set((folder / "seen").read_text().splitlines()) == {"bfloat16 bfloat16"}
    assert ready["dtype_compute"].startswith("bf16") and ready["dtype_param"] == "fp32"


# --- JAX's own switches ------------------------------------------------------------------------------

STRICT = {
    "numpy_rank_promotion": "raise",
    "numpy_dtype_promotion": "strict",
    "transfer_guard": "disallow",
    "check_tracer_leaks": True,
    "debug_nans": True,
}


def switched(folder, name, **values):
    lines = [f"forms.jax.config.update('jax_{key}', {value!r})" for key, value in values.items()]
    (folder / f"{name}.py").write_text(SHARED + "\n".join([
        *lines, "", "def apply(params, tokens):", "    return plain(params, tokens)", "",
        "def adds(params, tokens):", "    return plain(params, tokens) + params['table'][:, 0]",
    ]))


@pytest.mark.parametrize("mode", ["train", "infer"])
def test_strict_rules_of_a_user_do_not_break_our_own_code(folder, plain_losses, mode):
    switched(folder, f"strict_{mode}", **STRICT)
    ready, losses, _ = opened(folder, f"strict_{mode}:apply", mode)
    assert mode == "infer" or losses == pytest.approx(plain_losses, rel=1e-5)
    for key, value in STRICT.items():
        assert f"jax_{key}={value}" in ready["framework_settings"]


def test_strict_rules_hold_for_the_user_s_code(folder):
    switched(folder, "strict", **STRICT)
    text = refusal(SPEC, folder, "infer", model_ref="strict:adds")["text"]
    assert "strict.py" in text and "rank_promotion" in text.lower()


def test_the_environment_s_rules_do_not_break_our_own_model(tmp_path, monkeypatch):
    for key, value in STRICT.items():
        monkeypatch.setenv(f"JAX_{key.upper()}", str(value))
    with JaxWorker(tmp_path, is_started=True) as worker:
        ready = worker.open({**SPEC, "layers_count": 1}, "train", 8)
        assert worker.run(2)["nonfinite"] == 0
    assert "jax_transfer_guard=disallow" in ready["framework_settings"]


def test_without_jit_a_step_is_not_compiled_and_says_so(folder, plain_losses):
    switched(folder, "unjitted", disable_jit=True)
    with JaxHere(folder) as worker:
        ready = worker.open(SPEC, "train", 8, model_ref="unjitted:apply")
        losses = [worker.run(1)["loss"] for _ in range(3)]
        assert worker.run(2)["recompiles"] == 0  # each operation was, in the first steps
    assert ready["compiled"] == "no (JAX_DISABLE_JIT)" and "compiler_flops" not in ready
    assert losses == pytest.approx(plain_losses, rel=1e-5)


def test_64_bits_leave_the_precision_as_asked(folder):
    switched(folder, "wide", enable_x64=True)
    ready, _, _ = opened(folder, "wide:apply")
    assert ready["dtype_param"] == ready["dtype_compute"] == "fp32"
    assert "jax_enable_x64=True" in ready["framework_settings"]


# --- faults of the author's --------------------------------------------------------------------------

FAULTS = """
    import jax
    import jax.numpy as jnp
    import numpy as np


    def init(key, vocab_size):
        return {"table": jax.random.normal(key, (vocab_size, 4))}


    def length(params, tokens):
        return params["table"][: int(tokens.sum())]  # length


    def through_numpy(params, tokens):
        return np.tanh(params["table"][tokens])  # numpy


    def chooses(params, tokens):
        while tokens[0, 0] < 3:  # chooses
            tokens = tokens + 1
        return params["table"][tokens]


    def shapes(params, tokens):
        return jax.jit(lambda one, two: one @ two)(params["table"], params["table"])  # shapes
"""


@pytest.mark.parametrize(
    "name, mark, words",
    [
        ("length", "# length", "ConcretizationTypeError"),
        ("through_numpy", "# numpy", "TracerArrayConversionError"),
        ("chooses", "# chooses", "TracerBoolConversionError"),
        ("shapes", "# shapes", "dot_general requires contracting dimensions"),
    ],
)
def test_faults_are_named_with_the_author_s_line(tmp_path, name, mark, words):
    text = textwrap.dedent(FAULTS)
    (tmp_path / f"faults_{name}.py").write_text(text)
    line = next(at for at, one in enumerate(text.splitlines(), 1) if mark in one)
    reply = refusal(SPEC, tmp_path, "infer", model_ref=f"faults_{name}:{name}")["text"]
    assert words in reply and re.search(rf"faults_{name}\.py:{line}\b", reply), reply
    assert not re.search("For simplicity|See https|jax_steps", reply)
    assert len(reply.encode()) <= 511  # all that a record's reason takes: the place is its end
