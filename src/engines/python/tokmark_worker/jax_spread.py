"""How tokmark's own model is computed by several devices: which sides of its tensors are divided, and the parts of a
step that each device runs by itself, with a key of its own. What goes between them elsewhere XLA puts in.
"""
from dataclasses import dataclass

import jax
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from .jax_moe import NAMES

AXIS = "devices"

_WHOLE, _ROWS, _HEADS = PartitionSpec(), PartitionSpec(AXIS), PartitionSpec(None, None, AXIS)
_QKV = "attn.qkv_proj."
_EXPERTS = "moe.experts."

# Of a layer's tensors: the side of the heads, and that of a feed-forward's columns.
_MATRIX_SIDES = {
    f"{_QKV}weight": 1,
    f"{_QKV}bias": 1,
    "attn.out_proj.weight": 1,
    "mlp.fc.weight": 0,
    "mlp.fc.bias": 0,
    "mlp.proj.weight": 1,
    **{f"{_EXPERTS}{name}": 1 for name in NAMES if name != "w3.bias"},
    f"{_EXPERTS}w3.weight": 2,
}


def _in_layer(name):
    """"attn.out_proj.weight" of "layers.3.attn.out_proj.weight"; "" of what is in no layer."""
    return name.split(".", 2)[2] if name.startswith("layers.") else ""


def divided_side(kind, name):
    """Which side of this parameter tp or ep divides; None where every device has the whole."""
    part = _in_layer(name)
    if kind == "ep":
        return 0 if part.startswith(_EXPERTS) else None
    return _MATRIX_SIDES.get(part) if kind == "tp" else None


def kept_shape(kind, name, shape):
    """A device has queries, keys and values of its heads: with tp these stand apart."""
    if kind != "tp" or not _in_layer(name).startswith(_QKV):
        return shape
    return (3, shape[0] // 3, *shape[1:])


def at_side(side):
    return _WHOLE if side is None else PartitionSpec(*[None] * side, AXIS)


@dataclass(frozen=True)
class Spread:
    """kind: as --parallel; mesh: None on one device."""

    kind: str = "none"
    mesh: Mesh = None

    @property
    def count(self):
        return 1 if self.mesh is None else self.mesh.size

    def divide(self, x, side):
        """Of tp: each device has its part of this side; None: each has the whole."""
        if self.kind != "tp":
            return x
        return lax.with_sharding_constraint(x, NamedSharding(self.mesh, at_side(side)))

    def heads(self, function):
        """function(key, query, key, value, allowed), rows (B, T, heads, S), where heads are divided: each device
        computes its own."""
        if self.kind != "tp":
            return function
        return self._on_each(function, (_HEADS, _HEADS, _HEADS, _WHOLE), _HEADS)

    def experts(self, function, rows_count):
        """function(key, rows, *experts, is_part), rows: (x, chosen, weights) of N tokens each, gives (N, D)."""
        if self.kind == "tp":
            sides = [at_side(_MATRIX_SIDES.get(_EXPERTS + name)) for name in NAMES]
            return self._on_each(_of_columns(function), (_WHOLE, *sides), _WHOLE)
        if self.mesh is None or rows_count % self.count != 0:
            return function
        if self.kind == "ep":
            return self._on_each(_of_own(function), (_ROWS, *[_ROWS for _ in NAMES]), _ROWS)
        each = self._on_each(function, (_ROWS, *[_WHOLE for _ in NAMES]), _ROWS)

        def cast_first(key, rows, *experts):
            """Weights travel in the type in which they are used."""
            return each(key, rows, *[part.astype(rows[0].dtype) for part in experts])

        return cast_first

    def _on_each(self, function, in_specs, out_specs):
        """function(key, *arguments) on every device, with its part of each, and a key of its own or None."""

        def on_one(key, *arguments):
            own = None if key is None else jax.random.fold_in(key, lax.axis_index(AXIS))
            return function(own, *arguments)

        return _shard_map(on_one, self.mesh, (_WHOLE, *in_specs), out_specs)


def _of_columns(function):
    """Every device has all tokens, and its columns of every expert; the last bias is added once."""

    def run(key, rows, *experts):
        *matrices, bias = experts
        bias = bias * (lax.axis_index(AXIS) == 0).astype(bias.dtype)
        return lax.psum(function(key, rows, *matrices, bias), AXIS)

    return run


def _of_own(function):
    """Tokens go to all devices, each computes what its own experts give, and the sums come back by rows. How many
    of them an expert gets is not known when a program is compiled, and to all of them fixed shapes do."""

    def run(key, rows, *experts):
        x, chosen, weights = (lax.all_gather(part, AXIS, tiled=True) for part in rows)
        chosen -= lax.axis_index(AXIS) * experts[0].shape[0]
        out = function(key, (x, chosen, weights), *experts, is_part=True)
        return lax.psum_scatter(out, AXIS, scatter_dimension=0, tiled=True)

    return run


def _shard_map(function, mesh, in_specs, out_specs):
    """What a custom gradient says of its arguments' places is not looked at: it says nothing."""
    if hasattr(jax, "shard_map"):  # since 0.6
        return jax.shard_map(function, mesh=mesh, in_specs=in_specs, out_specs=out_specs, check_vma=False)
    from jax.experimental.shard_map import shard_map

    return shard_map(function, mesh=mesh, in_specs=in_specs, out_specs=out_specs, check_rep=False)
