"""How a cell's arrays lie on its devices: one process, one program, one mesh of devices.

none  one device
ddp   every device has all weights and its own rows; XLA sums the gradients
fsdp  as ddp, and weights, gradients and optimizer state are sharded; XLA gathers a weight where it is used
tp    every device has all rows, and its own heads and columns of every layer's matrices; XLA sums what they give
ep    as ddp, but for the experts: each device has its own, and all rows come to them

The rows of a step are those of the cell, so that a layout does the same work as one device; they must divide, but for tp.
"""
import math

import jax
from jax.sharding import Mesh, NamedSharding, SingleDeviceSharding

from .devices import require_rows
from .jax_spread import AXIS, Spread, at_side, divided_side, kept_shape

# Smaller ones are on every device: to gather them would cost more than they take.
_SHARDED_LEAST = 4096


class Layout:
    def __init__(self, cell, devices):
        self.devices = devices
        self.device = devices[0]
        self.count = len(devices)
        if self.count == 1:
            self.spread = Spread()
            self.whole = self.rows = self.cache = SingleDeviceSharding(self.device)
            return
        self.spread = Spread(cell.parallel, Mesh(devices, (AXIS,)))
        self.whole = self.rows = self._at(None)
        if cell.parallel == "tp":
            self.cache = self._at(2)  # heads
        else:
            require_rows(cell, self.count)
            self.rows = self.cache = self._at(0)

    def _at(self, side):
        return NamedSharding(self.spread.mesh, at_side(side))

    def _longest_side(self, shape):
        """The longest that divides, the first of several; None where none does, and of what is small."""
        sides = [side if side % self.count == 0 else 0 for side in shape]
        if math.prod(shape) < _SHARDED_LEAST or not max(sides):
            return None
        return sides.index(max(sides))

    def weight(self, shape, name=""):
        """Where an array of this shape lies that is a weight, or what the optimizer keeps for one. name: of
        tokmark's own, as published but for the experts (jax_model)."""
        if self.count == 1:
            return self.whole
        kind = self.spread.kind
        return self._at(self._longest_side(shape) if kind == "fsdp" else divided_side(kind, name))

    def weights(self, tree):
        """Shardings for a tree of weights."""
        return jax.tree_util.tree_map_with_path(lambda path, leaf: self.weight(leaf.shape, _name(path)), tree)

    def kept_shape(self, name, shape):
        return kept_shape(self.spread.kind, name, shape)

    def put_weight(self, array, name=""):
        array = array.reshape(self.kept_shape(name, array.shape))
        return jax.device_put(array, self.weight(array.shape, name))


def _name(path):
    """The key of a leaf in a dict."""
    return str(getattr(path[-1], "key", "")) if path else ""


def described(tree, places):
    """Descriptions of a tree's arrays where they will lie; places: a sharding, or a tree of them."""
    if isinstance(places, jax.sharding.Sharding):
        places = jax.tree_util.tree_map(lambda _: places, tree)
    return jax.tree_util.tree_map(
        lambda leaf, place: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place), tree, places
    )
