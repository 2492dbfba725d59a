"""An Equinox module for `--model`.

    tokmark run --engine jax --model examples.jax_equinox:Gpt --device cpu --precision fp32

The constructor gets what it asks for by name, key among it. A module that takes one row of tokens,
as is usual in Equinox, is mapped over the batch; `key` is there in a training step where __call__
has such a parameter; inference mode is set as the mode wants.
"""
import equinox as eqx
import jax
import jax.numpy as jnp


class Block(eqx.Module):
    norm1: eqx.nn.LayerNorm
    norm2: eqx.nn.LayerNorm
    attend: eqx.nn.MultiheadAttention
    mlp: eqx.nn.MLP

    def __init__(self, width, heads, rate, key):
        first, second = jax.random.split(key)
        self.norm1, self.norm2 = eqx.nn.LayerNorm(width), eqx.nn.LayerNorm(width)
        self.attend = eqx.nn.MultiheadAttention(heads, width, dropout_p=rate, key=first)
        self.mlp = eqx.nn.MLP(width, width, 4 * width, 1, jax.nn.gelu, key=second)

    def __call__(self, x, key):
        y = jax.vmap(self.norm1)(x)
        causal = jnp.tril(jnp.ones((x.shape[0], x.shape[0]), bool))
        x = x + self.attend(y, y, y, mask=causal, key=key)
        return x + jax.vmap(self.mlp)(jax.vmap(self.norm2)(x))


class Gpt(eqx.Module):
    table: eqx.nn.Embedding
    places: jax.Array
    blocks: list
    head: eqx.nn.Linear

    def __init__(self, vocab_size, seq_len, key, width=64, layers=2, heads=4, rate=0.1):
        keys = jax.random.split(key, layers + 3)
        self.table = eqx.nn.Embedding(vocab_size, width, key=keys[0])
        self.places = 0.02 * jax.random.normal(keys[1], (seq_len, width))
        self.blocks = [Block(width, heads, rate, part) for part in keys[3:]]
        self.head = eqx.nn.Linear(width, vocab_size, use_bias=False, key=keys[2])

    def __call__(self, tokens, key=None):
        """tokens (T,) -> logits (T, vocabulary)"""
        x = jax.vmap(self.table)(tokens) + self.places
        for index, block in enumerate(self.blocks):
            x = block(x, None if key is None else jax.random.fold_in(key, index))
        return jax.vmap(self.head)(x)
