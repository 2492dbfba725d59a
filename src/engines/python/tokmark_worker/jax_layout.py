"""How a cell's arrays lie on its devices: one process, one program, one mesh of devices.

none  one device
ddp   every device has all weights and its own rows; XLA sums the gradients
fsdp  as ddp, and weights, gradients and optimizer state are sharded; XLA gathers a weight where it is used

The rows of a step are those of the cell, so that a layout does the same work as one device; they must divide.
"""
import math

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding

from .devices import require_rows
from .errors import unsupported

AXIS = "devices"
# Smaller ones are on every device: to gather them would cost more than they take.
_SHARDED_LEAST = 4096


class Layout:
    def __init__(self, cell, devices):
        self.devices = devices
        self.device = devices[0]
        self.count = len(devices)
        self._is_sharded = cell.parallel == "fsdp" and self.count > 1
        if cell.parallel not in ("none", "ddp", "fsdp"):
            raise unsupported(f"jax has no --parallel {cell.parallel}; the nearest is --parallel fsdp")
        if self.count == 1:
            self.mesh = None
            self.whole = self.rows = SingleDeviceSharding(self.device)
            return
        require_rows(cell, self.count)
        self.mesh = Mesh(devices, (AXIS,))
        self.whole = NamedSharding(self.mesh, PartitionSpec())
        self.rows = NamedSharding(self.mesh, PartitionSpec(AXIS))

    def weight(self, shape):
        """Where an array of this shape lies that is a weight, or what the optimizer keeps for one: its longest
        side that divides is cut, the first of several."""
        sides = [side if side % self.count == 0 else 0 for side in shape]
        if not self._is_sharded or math.prod(shape) < _SHARDED_LEAST or not max(sides):
            return self.whole
        spec = [None] * len(shape)
        spec[sides.index(max(sides))] = AXIS
        return NamedSharding(self.mesh, PartitionSpec(*spec))

    def weights(self, tree):
        """Shardings for a tree of weights."""
        return jax.tree_util.tree_map(lambda leaf: self.weight(leaf.shape), tree)

    def put_weight(self, array):
        return jax.device_put(array, self.weight(array.shape))


def described(tree, places):
    """Descriptions of a tree's arrays where they will lie; places: a sharding, or a tree of them."""
    if isinstance(places, jax.sharding.Sharding):
        places = jax.tree_util.tree_map(lambda _: places, tree)
    return jax.tree_util.tree_map(
        lambda leaf, place: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place), tree, places
    )


def on_own_rows(function, mesh):
    """function(rows, key, *rest) -> rows, as every device runs it on its own rows (N / devices, ...), with a key
    of its own (or None) and the whole of everything else."""
    spec, whole = PartitionSpec(AXIS), PartitionSpec()

    def on_one(rows, key, *rest):
        own = None if key is None else jax.random.fold_in(key, jax.lax.axis_index(AXIS))
        return function(rows, own, *rest)

    def run(rows, key, *rest):
        specs = (spec, whole, *(whole for _ in rest))
        return _shard_map(on_one, mesh, specs, spec)(rows, key, *rest)

    return run


def _shard_map(function, mesh, in_specs, out_specs):
    """What a custom gradient says of its arguments' places is not looked at: it says nothing."""
    if hasattr(jax, "shard_map"):  # since 0.6
        return jax.shard_map(function, mesh=mesh, in_specs=in_specs, out_specs=out_specs, check_vma=False)
    from jax.experimental.shard_map import shard_map

    return shard_map(function, mesh=mesh, in_specs=in_specs, out_specs=out_specs, check_rep=False)
