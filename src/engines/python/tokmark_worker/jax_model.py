"""Our own JAX implementation of the architecture of DESIGN section 7, in plain jax.numpy.

Parameters are a flat dict under the published names, but for the experts of a layer, which lie in
one array a tensor (`layers.N.moe.experts.w1.weight` (E, H, D)): matmuls over all of them need no
copy, and a step has an eighth of the arguments. published() and stacked() translate. Shapes: B
rows, T tokens, D dim, H heads of size S.
"""
import functools
import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from . import jax_moe
from .cell import ModelSpec
from .jax_moe import dropout
from .jax_spread import Spread

# Attention in a training step is computed again in the backward pass where keeping its weights
# would take more than this.
_KEPT_SCORES_BYTES_MAX = 1 << 30


# --- names ---------------------------------------------------------------------------------------


def stacked_names(spec):
    """{our name: (shape, [published names])}, in the published order."""
    names = {}
    for name, shape, is_expert in spec.tensors():
        if is_expert:
            before, _, rest = name.partition(".experts.")
            expert, _, part = rest.partition(".ffn.")
            ours = f"{before}.experts.{part}"
            names.setdefault(ours, ((spec.experts_count, *shape), []))[1].append(name)
            assert int(expert) == len(names[ours][1]) - 1
        else:
            names[name] = (shape, [name])
    return names


def published(spec, params):
    """(published name, array) of every tensor of the state_dict."""
    for ours, (shape, theirs) in stacked_names(spec).items():
        whole = params[ours].reshape(shape)  # tp keeps some in another
        for index, name in enumerate(theirs):
            yield name, whole[index] if ours not in theirs else whole


def stacked(spec, read, put):
    """Our dict from read(name, shape), which gives a NumPy array; put(array, our name) moves one."""
    params = {}
    for ours, (shape, theirs) in stacked_names(spec).items():
        if ours in theirs:
            params[ours] = put(read(ours, shape), ours)
        else:
            params[ours] = put(np.stack([read(name, shape[1:]) for name in theirs]), ours)
    return params


# --- parts ---------------------------------------------------------------------------------------


@functools.partial(jax.jit, static_argnums=(1, 2, 3))
def _normal(key, shape, dtype, scale):
    return scale * jax.random.normal(key, shape, dtype)


@functools.partial(jax.jit, static_argnums=(1, 2, 3))
def _uniform(key, shape, dtype, bound):
    return jax.random.uniform(key, shape, dtype, -bound, bound)


def init(spec, key, dtype, put=lambda array, _name: array):
    """The published initialisation: Xavier-uniform matmuls, embedding N(0, 0.02). A program a
    shape, not one for all: that would take longer to compile than the model's step. put(array, name)
    gives it its place, so that no device has more than one whole tensor at a time."""
    params = {}
    for index, (name, (shape, _)) in enumerate(stacked_names(spec).items()):
        if name.endswith("bias") or name == "position_embedding":
            made = jnp.zeros(shape, dtype)
        elif "norm" in name:
            made = jnp.ones(shape, dtype)
        elif name == "token_embedding.weight":
            made = _normal(jax.random.fold_in(key, index), shape, dtype, 0.02)
        else:
            bound = math.sqrt(6 / (shape[-1] + shape[-2]))
            made = _uniform(jax.random.fold_in(key, index), shape, dtype, bound)
        params[name] = put(made, name)
    return params


class _Keys:
    """A new key at every call; None where there is no dropout."""

    def __init__(self, key):
        self._key = key
        self._count = 0

    def next(self):
        self._count += 1
        return None if self._key is None else jax.random.fold_in(self._key, self._count)


def _linear(x, params, name):
    """Over the last side of both; a weight of (3, D, D) gives (..., 3, D)."""
    weight = params[f"{name}.weight"].astype(x.dtype)
    out = lax.dot_general(x, weight, (((x.ndim - 1,), (weight.ndim - 1,)), ((), ())))
    bias = params.get(f"{name}.bias")
    return out if bias is None else out + bias.astype(x.dtype)


def _norm(spec, x, params, name):
    """In fp32, whatever x is in."""
    wide = x.astype(jnp.float32)
    if spec.norm == "layer":
        wide = wide - wide.mean(-1, keepdims=True)
    wide = wide * lax.rsqrt((wide * wide).mean(-1, keepdims=True) + spec.norm_eps)
    wide = wide * params[f"{name}.weight"].astype(jnp.float32)
    if spec.norm == "layer":
        wide = wide + params[f"{name}.bias"].astype(jnp.float32)
    return wide.astype(x.dtype)


def rotary_table(spec):
    """cosines, sines (positions, rotary_dim / 2); angles in double."""
    half = np.arange(0, spec.rotary_dim, 2, dtype=np.float64)
    angles = np.outer(np.arange(spec.max_seq_len), spec.rotary_base ** (-half / spec.rotary_dim))
    return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)


def _rotate(x, cosines, sines):
    """The first dims of every head turned as pairs (x[i], x[i + half]); x (B, T, 2, H, S)."""
    half = cosines.shape[-1]
    first, second = x[..., :half], x[..., half : 2 * half]
    return jnp.concatenate(
        [first * cosines - second * sines, second * cosines + first * sines, x[..., 2 * half :]],
        axis=-1,
    )


def _attend(drop_key, query, key, value, allowed, rate):
    """query (B, T, H, S), key and value (B, L, H, S), allowed (T, L) or None -> (B, T, H, S).
    Scores and softmax in fp32."""
    scores = jnp.einsum("bthd,blhd->bhtl", query, key, preferred_element_type=jnp.float32)
    scores = scores * query.shape[-1] ** -0.5
    if allowed is not None:
        scores = jnp.where(allowed, scores, -jnp.inf)
    weights = dropout(jax.nn.softmax(scores, axis=-1).astype(value.dtype), drop_key, rate)
    return jnp.einsum("bhtl,blhd->bthd", weights, value)


def _attend_by_cudnn(_drop_key, query, key, value, _allowed, is_causal):
    return jax.nn.dot_product_attention(
        query, key, value, is_causal=is_causal, implementation="cudnn"
    )


def _causal(first, queries_count, keys_count):
    return jnp.arange(keys_count) <= first + jnp.arange(queries_count)[:, None]


# --- the model -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Model:
    """forward() and decode() are pure functions of the parameters.

    compute_dtype is what matmuls and the residual stream run in; parameters are cast where they
    are used. experts_way: published, tiles or ranks. attention: xla, or cudnn. spread: how several
    devices share the work.
    """

    spec: ModelSpec
    compute_dtype: object
    experts_way: str = "tiles"
    attention: str = "xla"
    spread: Spread = Spread()

    def forward(self, params, tokens, key=None):
        """tokens (B, T) -> logits (B, T, vocabulary). key: for dropout; None = without."""
        return self._run(params, tokens, 0, None, key)[0]

    def decode(self, params, tokens, cache, position):
        """The same for tokens at `position` ..., with a cache (new_cache()) that is filled before
        them; (logits, cache with them). A token sees what is before it, and itself."""
        return self._run(params, tokens, position, cache, None)

    def new_cache(self, rows_count, positions_count):
        """Per layer (keys, values), zero."""
        spec = self.spec
        shape = (rows_count, positions_count, spec.heads_count, spec.head_dim)
        return [
            tuple(jnp.zeros(shape, self.compute_dtype) for _ in "kv")
            for _ in range(spec.layers_count)
        ]

    def remakes_attention(self, rows_count, tokens_count):
        spec = self.spec
        heads_count = -(-rows_count * spec.heads_count // self.spread.count)
        scores = spec.layers_count * heads_count * tokens_count**2
        return self.attention == "xla" and 4 * scores > _KEPT_SCORES_BYTES_MAX

    def _run(self, params, tokens, position, cache, key):
        spec, dtype = self.spec, self.compute_dtype
        T = tokens.shape[1]
        keys = _Keys(key if spec.dropout > 0 else None)
        table = params["token_embedding.weight"]
        places = lax.dynamic_slice_in_dim(params["position_embedding"], position, T)
        x = (table[tokens].astype(dtype)) + places.astype(dtype)
        x = dropout(x, keys.next(), spec.dropout)
        rotary = None
        if spec.rotary_dim > 0:
            rotary = [
                lax.dynamic_slice_in_dim(jnp.asarray(part), position, T)[:, None, None]
                for part in rotary_table(spec)
            ]
        new_cache = []
        for index in range(spec.layers_count):
            layer = {
                name.removeprefix(f"layers.{index}."): value
                for name, value in params.items()
                if name.startswith(f"layers.{index}.")
            }
            held = None if cache is None else cache[index]
            x, held = self._layer(layer, x, rotary, held, position, keys)
            new_cache.append(held)
        x = _norm(spec, x, params, "norm")
        head = table if spec.is_head_tied else params["lm_head.weight"]
        return _linear(x, {"head.weight": head}, "head"), new_cache

    def _layer(self, params, x, rotary, cache, position, keys):
        spec = self.spec
        out, cache = self._attention(
            params, _norm(spec, x, params, "norm1"), rotary, cache, position, keys
        )
        x = x + out
        normed = _norm(spec, x, params, "norm2")
        if spec.ffn == "gelu":
            hidden = jax.nn.gelu(_linear(normed, params, "mlp.fc"), approximate=True)
            hidden = self.spread.divide(hidden, 2)
            out = self.spread.divide(_linear(hidden, params, "mlp.proj"), None)
            return x + dropout(out, keys.next(), spec.dropout), cache
        return x + self._moe(params, normed, keys), cache

    def _moe(self, params, x, keys):
        spec = self.spec
        flat = x.reshape(-1, x.shape[-1])
        chosen, weights = jax_moe.route(flat, params["moe.gate.weight"], spec.experts_active)
        experts = [params[f"moe.experts.{name}"] for name in jax_moe.NAMES]
        run = self.spread.experts(self._experts, flat.shape[0])
        return run(keys.next(), (flat, chosen, weights), *experts).reshape(x.shape)

    def _experts(self, key, rows, *experts, is_part=False):
        if self.experts_way == "published":
            return jax_moe.every_expert(*rows, experts, key, self.spec.dropout)
        return jax_moe.routed(*rows, experts, key, self.spec.dropout, self.experts_way, is_part)

    def _attention(self, params, x, rotary, cache, position, keys):
        spec = self.spec
        B, T, D = x.shape
        qkv = _linear(x, params, "attn.qkv_proj").reshape(B, T, 3, spec.heads_count, spec.head_dim)
        qkv = self.spread.divide(qkv, 3)
        query_key, value = qkv[:, :, :2], qkv[:, :, 2]
        if rotary is not None:
            query_key = _rotate(query_key, *[part.astype(x.dtype) for part in rotary])
        query, key = query_key[:, :, 0], query_key[:, :, 1]
        allowed = _causal(0, T, T) if spec.is_causal and cache is None else None
        if cache is not None:
            key, value = (
                lax.dynamic_update_slice_in_dim(held, new, position, 1)
                for held, new in zip(cache, (key, value))
            )
            cache = (key, value)
            allowed = _causal(position, T, key.shape[1])
        drop_key = keys.next()
        if self.attention == "cudnn" and cache is None and drop_key is None:
            attend = functools.partial(_attend_by_cudnn, is_causal=spec.is_causal)
        else:
            attend = functools.partial(_attend, rate=spec.dropout)
            if drop_key is not None and self.remakes_attention(B, T):
                attend = jax.checkpoint(attend)
        out = self.spread.heads(attend)(drop_key, query, key, value, allowed)
        out = _linear(self.spread.divide(out.reshape(B, T, D), 2), params, "attn.out_proj")
        return dropout(self.spread.divide(out, None), keys.next(), spec.dropout), cache
