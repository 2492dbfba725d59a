"""How a cell's arrays lie on its devices: one program and one mesh of devices, of one process or a process each
(jax_ranks.py).

none  one device
ddp   every device has all weights and its own rows; XLA sums the gradients
fsdp  as ddp, and weights, gradients and optimizer state are sharded; XLA gathers a weight where it is used
tp    every device has all rows, and its own heads and columns of every layer's matrices; XLA sums what they give
ep    as ddp, but for the experts: each device has its own, and all rows come to them

A product of these, "fsdp:2,tp:2", is a mesh with an axis for each; one of them alone has one axis.

The rows of a step are those of the cell, so that a layout does the same work as one device; they must divide, but for tp.
"""
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding, SingleDeviceSharding

from .devices import factors_of, require_rows, row_shares_of
from .jax_spread import Spread, spec_of

# Smaller ones are on every device: to gather them would cost more than they take.
_SHARDED_LEAST = 4096


class Layout:
    def __init__(self, cell, devices, processes=None):
        """devices: of all processes; the first of this one's is where arrays lie that nobody places."""
        self._processes = processes
        self.rank = 0 if processes is None else processes.rank
        self.own_devices = devices if processes is None else [devices[self.rank]]
        self.device = self.own_devices[0]
        # of this host, that have a part of the cell
        self.neighbours_count = len(devices) if processes is None else processes.neighbours_count
        self.count = len(devices)
        self.factors = factors_of(cell, self.count)
        self._sum = self._gather = None
        if self.count == 1:
            self.spread = Spread()
            self.whole = self.rows = self.cache = SingleDeviceSharding(self.device)
            return
        mesh = Mesh(np.array(devices).reshape(tuple(self.factors.values())), tuple(self.factors))
        self.spread = Spread(mesh)
        require_rows(cell, row_shares_of(self.factors))
        self.whole = NamedSharding(mesh, PartitionSpec())
        self._each = NamedSharding(mesh, PartitionSpec(mesh.axis_names))
        self.rows = NamedSharding(mesh, self.spread.rows())
        self.cache = NamedSharding(mesh, self.spread.rows(2)) if "tp" in self.factors else self.rows  # of heads

    def _longest_side(self, shape, taken):
        """The longest that fsdp can divide, the first of several; None where there is none, and of what is small."""
        count = self.factors["fsdp"]
        sides = [size if size % count == 0 and side != taken else 0 for side, size in enumerate(shape)]
        if math.prod(shape) < _SHARDED_LEAST or not max(sides):
            return None
        return sides.index(max(sides))

    def weight(self, shape, name=""):
        """Where an array of this shape lies that is a weight, or what the optimizer keeps for one. name: of
        tokmark's own, as published but for the experts (jax_model)."""
        if self.count == 1:
            return self.whole
        axes = [None] * len(shape)
        own, axis = self.spread.divided(name)
        if own is not None:
            axes[own] = axis
        longest = self._longest_side(shape, own) if "fsdp" in self.factors else None
        if longest is not None:
            axes[longest] = "fsdp"
        return NamedSharding(self.spread.mesh, spec_of(axes))

    def weights(self, tree):
        """Shardings for a tree of weights."""
        return jax.tree_util.tree_map_with_path(lambda path, leaf: self.weight(leaf.shape, _name(path)), tree)

    def kept_shape(self, name, shape):
        return self.spread.kept_shape(name, shape)

    def put_weight(self, array, name=""):
        array = array.reshape(self.kept_shape(name, array.shape))
        return self.put(array, self.weight(array.shape, name))

    # --- of one process or of several ---

    def put(self, tree, places):
        """A tree of arrays where they are to lie; of arrays that every process has, each takes its own part. places: a
        sharding, or a tree of them."""
        if self._processes is None:
            return jax.device_put(tree, places)
        if isinstance(places, Sharding):
            return jax.tree_util.tree_map(lambda leaf: _part(leaf, places), tree)
        return jax.tree_util.tree_map(_part, tree, places)

    def given(self, array):
        """What a program is called with that is not laid out for it."""
        return jnp.asarray(array) if self._processes is None else self.put(array, self.whole)

    def given_all(self, tree):
        return tree if self._processes is None else self.put(tree, self.whole)

    def fetch(self, array):
        """The whole of it, on the host."""
        if self._processes is not None and not array.is_fully_replicated:
            if self._gather is None:  # one function: arrays of one form are one program

                def gathered_whole(parts):
                    return parts

                self._gather = jax.jit(gathered_whole, out_shardings=self.whole)
            array = self._gather(array)
        return np.asarray(array)

    def meet(self):
        """Returns when all processes are here."""
        if self._processes is not None:
            self._processes.meet()

    def wait_for_all(self):
        """The same, and as near to the same moment as an exchange between the devices can tell."""
        if self._processes is None:
            return
        self.meet()
        ones = self.put(np.ones(self.count, np.float32), self._each)
        if self._sum is None:
            self._sum = jax.jit(jnp.sum, out_shardings=self.whole).lower(ones).compile()
        self._sum(ones).block_until_ready()


def _part(leaf, place):
    """This process's."""
    if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
        return jax.device_put(leaf, place)
    if isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        numbers = _part(jax.random.key_data(leaf), place)
        return jax.random.wrap_key_data(numbers, impl=jax.random.key_impl(leaf))
    array = leaf if isinstance(leaf, (jax.Array, np.ndarray)) else np.asarray(jnp.asarray(leaf))
    return jax.make_array_from_callback(array.shape, place, lambda index: array[index])


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
