"""A plain JAX function for `--model`: parameters made by init(), logits by apply().

    tokmark run --engine jax --model examples.jax_function:apply --device cpu --precision fp32

What is named is apply; init stands beside it. init() gets what its parameters ask for by name: key,
vocab_size, seq_len, config, dtype, param_dtype, and whatever --set names (here width). The
parameters may be any tree of arrays. Nothing else is needed: loss, gradients, AdamW, compiling
and timing are tokmark's.
"""
import jax
import jax.numpy as jnp


def init(key, vocab_size, seq_len, width=64):
    table, places, mix, head = jax.random.split(key, 4)
    return {
        "table": 0.02 * jax.random.normal(table, (vocab_size, width)),
        "places": 0.02 * jax.random.normal(places, (seq_len, width)),
        "mix": jax.random.normal(mix, (width, width)) / width**0.5,
        "head": jax.random.normal(head, (width, vocab_size)) / width**0.5,
    }


def apply(params, tokens):
    """tokens (B, T) -> logits (B, T, vocabulary)"""
    x = params["table"][tokens] + params["places"][: tokens.shape[1]]
    past = jnp.cumsum(x, axis=1) / jnp.arange(1, x.shape[1] + 1, dtype=x.dtype)[:, None]
    x = x + jax.nn.gelu(past @ params["mix"])
    return x @ params["head"]
