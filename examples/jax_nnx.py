"""A Flax nnx module for `--model`.

    tokmark run --engine jax --model examples.jax_nnx:Gpt --device cpu --precision fp32

The constructor gets what it asks for by name, rngs among it. train() and eval() are called as the
mode wants; what is no Param (dropout's counters, statistics) goes through the steps as state.
"""
import jax
from flax import nnx


class Block(nnx.Module):
    def __init__(self, width, heads, rate, rngs):
        self.norm1 = nnx.LayerNorm(width, rngs=rngs)
        self.norm2 = nnx.LayerNorm(width, rngs=rngs)
        self.attend = nnx.MultiHeadAttention(
            num_heads=heads, in_features=width, decode=False, rngs=rngs
        )
        self.dropout = nnx.Dropout(rate, rngs=rngs)
        self.fc = nnx.Linear(width, 4 * width, rngs=rngs)
        self.proj = nnx.Linear(4 * width, width, rngs=rngs)

    def __call__(self, x):
        mask = nnx.make_causal_mask(x[..., 0])
        x = x + self.dropout(self.attend(self.norm1(x), mask=mask))
        return x + self.dropout(self.proj(jax.nn.gelu(self.fc(self.norm2(x)))))


class Gpt(nnx.Module):
    def __init__(self, vocab_size, seq_len, rngs, width=64, heads=4, rate=0.1):
        self.table = nnx.Embed(vocab_size, width, rngs=rngs)
        self.places = nnx.Param(0.02 * jax.random.normal(rngs.params(), (seq_len, width)))
        self.first = Block(width, heads, rate, rngs)
        self.second = Block(width, heads, rate, rngs)
        self.norm = nnx.LayerNorm(width, rngs=rngs)
        self.head = nnx.Linear(width, vocab_size, use_bias=False, rngs=rngs)

    def __call__(self, tokens):
        x = self.table(tokens) + self.places[...]
        return self.head(self.norm(self.second(self.first(x))))
