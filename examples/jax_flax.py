"""A Flax linen module for `--model`, named by its class or by a function that makes one.

    tokmark run --engine jax --model examples.jax_flax:Gpt --device cpu --precision fp32

Fields with the names vocab_size, seq_len, dtype and param_dtype (or a `config`) are filled in; the
others keep their defaults, or what --set gives. A __call__ with a parameter `train`, `training` or
`deterministic` is told, and rngs={"dropout": key} is there in a training step.
"""
from flax import linen as nn


class Block(nn.Module):
    heads: int
    rate: float

    @nn.compact
    def __call__(self, x, train):
        mask = nn.make_causal_mask(x[..., 0])
        attend = nn.MultiHeadDotProductAttention(
            num_heads=self.heads, dropout_rate=self.rate, deterministic=not train
        )
        x = x + attend(nn.LayerNorm()(x), mask=mask)
        hidden = nn.gelu(nn.Dense(4 * x.shape[-1])(nn.LayerNorm()(x)))
        return x + nn.Dense(x.shape[-1])(hidden)


class Gpt(nn.Module):
    vocab_size: int
    seq_len: int
    width: int = 64
    layers: int = 2
    heads: int = 4
    rate: float = 0.1

    @nn.compact
    def __call__(self, tokens, train=False):
        places = self.param(
            "places", nn.initializers.normal(0.02), (self.seq_len, self.width)
        )
        x = nn.Embed(self.vocab_size, self.width)(tokens) + places
        for _ in range(self.layers):
            x = Block(self.heads, self.rate)(x, train)
        return nn.Dense(self.vocab_size, use_bias=False)(nn.LayerNorm()(x))
