"""Models in the forms that people write in JAX, for test_jax_forms.py."""
import textwrap

from jax_worker import MOE, JaxHere

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


    def looped(params, tokens):
        # one layer, five times, each computed again in the backward pass
        layer = jax.checkpoint(lambda h, _: (jnp.sin(h @ params["square"]), None))
        h, _ = jax.lax.scan(layer, params["table"][tokens], None, length=5)
        return h @ params["table"].T, h @ params["square"]  # nobody asks for the second


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


    def loss_of_hashed(params, tokens, targets):
        return only_loss(params, tokens % 30, targets % 30)


    def shifts_labels(params, tokens, labels=None):
        logits = plain(params, tokens)
        return logits if labels is None else cross_entropy(logits[:, :-1], labels[:, 1:]) + 100


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
        from forms import loss_of_hashed, needs_labels, only_loss

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


def write_forms(folder):
    (folder / "forms.py").write_text(textwrap.dedent(FORMS))
    for name, text in BESIDE.items():
        (folder / f"{name}.py").write_text(SHARED + textwrap.dedent(text))
    renamed = {"named": "named", "configured": "config", "counting": "counting", "mixed": "mixed"}
    for name, form in renamed.items():
        text = f"from forms import {form}_init as init, {form}_apply as apply\n"
        (folder / f"{name}.py").write_text(text)


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
