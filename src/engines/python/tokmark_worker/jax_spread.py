"""How tokmark's own model is computed by several devices: which sides of its tensors are divided, and the parts of a
step that each device runs by itself, with a key of its own. What goes between them elsewhere XLA puts in.
"""
import math
from dataclasses import dataclass

import jax
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from .jax_moe import NAMES

_WHOLE = PartitionSpec()
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


def spec_of(axes):
    """axes: a name, names or nothing for each side. One place has one spelling: another would be compiled again."""
    axes = [axis[0] if isinstance(axis, tuple) and len(axis) == 1 else axis or None for axis in axes]
    while axes and axes[-1] is None:
        axes.pop()
    return PartitionSpec(*axes)


def _at_side(side, axis):
    return _WHOLE if side is None else spec_of([None] * side + [axis])


@dataclass(frozen=True)
class Spread:
    """mesh: with an axis for each of the kinds that --parallel names; None on one device."""

    mesh: Mesh = None

    @property
    def count(self):
        return 1 if self.mesh is None else self.mesh.size

    def has(self, kind):
        return self.mesh is not None and kind in self.mesh.axis_names

    @property
    def _row_axes(self):
        """Over which rows are divided: with all but tp."""
        return tuple(axis for axis in self.mesh.axis_names if axis != "tp")

    def rows(self, side=None):
        """Rows of its own on the first side; with tp this side divided too."""
        others = [] if side is None else [None] * (side - 1) + ["tp"]
        return spec_of([self._row_axes, *others])

    def divided(self, name):
        """(side, axis) of this parameter that tp or ep divides; (None, None) where every device has the whole."""
        part = _in_layer(name)
        if self.has("ep") and part.startswith(_EXPERTS):
            return 0, "ep"
        if self.has("tp") and part in _MATRIX_SIDES:
            return _MATRIX_SIDES[part], "tp"
        return None, None

    def kept_shape(self, name, shape):
        """A device has queries, keys and values of its heads: with tp these stand apart."""
        if not self.has("tp") or not _in_layer(name).startswith(_QKV):
            return shape
        return (3, shape[0] // 3, *shape[1:])

    def divide(self, x, side):
        """Of tp: each device has its part of this side of its rows; None: it has the whole of them."""
        if not self.has("tp"):
            return x
        return lax.with_sharding_constraint(x, NamedSharding(self.mesh, self.rows(side)))

    def heads(self, function):
        """function(key, query, key, value, allowed), rows (B, T, heads, S), where heads are divided: each device
        computes its own."""
        if not self.has("tp"):
            return function
        heads = self.rows(2)
        return self._on_each(function, (heads, heads, heads, _WHOLE), heads)

    def experts(self, function, rows_count):
        """function(key, rows, *experts, is_part), rows: (x, chosen, weights) of N tokens each, gives (N, D)."""
        if self.mesh is None or rows_count % math.prod(self.mesh.shape[axis] for axis in self._row_axes) != 0:
            return function
        rows = self.rows()
        sides = [_at_side(*self.divided(f"layers.0.{_EXPERTS}{name}")) for name in NAMES]
        if self.has("tp"):
            function = _of_columns(function)
        elif self.has("ep"):
            function = _of_own(function)
        each = self._on_each(function, (rows, *sides), rows)
        if not (self.has("ddp") or self.has("fsdp")):
            return each

        def cast_first(key, rows, *experts):
            """Weights travel in the type in which they are used."""
            return each(key, rows, *[part.astype(rows[0].dtype) for part in experts])

        return cast_first

    def _on_each(self, function, in_specs, out_specs):
        """function(key, *arguments) on every device, with its part of each, and a key of its own or None."""

        def on_one(key, *arguments):
            own = None if key is None else jax.random.fold_in(key, lax.axis_index(self.mesh.axis_names))
            return function(own, *arguments)

        return _shard_map(on_one, self.mesh, (_WHOLE, *in_specs), out_specs)


def _of_columns(function):
    """Every device has all tokens, and its columns of every expert; the last bias is added once."""

    def run(key, rows, *experts):
        *matrices, bias = experts
        bias = bias * (lax.axis_index("tp") == 0).astype(bias.dtype)
        return lax.psum(function(key, rows, *matrices, bias), "tp")

    return run


def _of_own(function):
    """Tokens go to all devices with other experts, each computes what its own experts give, and the sums come back by
    rows. How many of them an expert gets is not known when a program is compiled, and to all of them fixed shapes do."""

    def run(key, rows, *experts):
        x, chosen, weights = (lax.all_gather(part, "ep", tiled=True) for part in rows)
        chosen -= lax.axis_index("ep") * experts[0].shape[0]
        out = function(key, (x, chosen, weights), *experts, is_part=True)
        return lax.psum_scatter(out, "ep", scatter_dimension=0, tiled=True)

    return run


def _shard_map(function, mesh, in_specs, out_specs):
    """What a custom gradient says of its arguments' places is not looked at: it says nothing."""
    if hasattr(jax, "shard_map"):  # since 0.6
        return jax.shard_map(function, mesh=mesh, in_specs=in_specs, out_specs=out_specs, check_vma=False)
    from jax.experimental.shard_map import shard_map

    return shard_map(function, mesh=mesh, in_specs=in_specs, out_specs=out_specs, check_rep=False)
