"""Which types a user's parameters are kept and multiplied in.

Parameters follow --precision. Those that their author keeps in another type than the model's own
(norms in fp32 in a bf16 model, one table in bf16) stay as they are, and so does what is no
parameter: statistics, rotary tables, integers.
"""
import collections

import jax
import jax.numpy as jnp

from .jax_precision import type_name


class Types:
    """Of a list of parameters with their names; kept_in: the type of each."""

    def __init__(self, names, params, precision):
        base = _own_type(params)
        self._names = names
        self._precision = precision
        self._is_kept = [leaf.dtype != base for leaf in params]
        self.kept_in = [
            leaf.dtype if is_kept else jnp.dtype(precision.param_dtype)
            for leaf, is_kept in zip(params, self._is_kept)
        ]

    def for_matmuls(self, params):
        """As the model's code sees them."""
        dtype = self._precision.compute_dtype
        if dtype == self._precision.param_dtype:
            return params
        return [
            leaf if is_kept else leaf.astype(dtype)
            for leaf, is_kept in zip(params, self._is_kept)
        ]

    def kept_text(self):
        """"fp32: norm.scale, norm.bias and 4 more"; None where all follow the precision."""
        wanted = {jnp.dtype(self._precision.param_dtype), jnp.dtype(self._precision.compute_dtype)}
        found = collections.defaultdict(list)
        for name, dtype, is_kept in zip(self._names, self.kept_in, self._is_kept):
            if is_kept and {dtype} != wanted:
                found[type_name(dtype)].append(name)
        texts = []
        for kind, names in found.items():
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            texts.append(f"{kind}: {', '.join(names[:3])}{more}")
        return "; ".join(texts) or None

    @staticmethod
    def buffers_text(tree):
        """"fp32+int32", most numbers first, of what is no parameter; None without any."""
        sizes = collections.Counter()
        for leaf in jax.tree_util.tree_leaves(tree):
            if not jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
                sizes[type_name(leaf.dtype)] += leaf.size
        return "+".join(name for name, _ in sizes.most_common()) or None


def _own_type(params):
    """The type that most of the matrices are in: a model's norms may be in another one. fp32, which
    is JAX's own, where as many are in it as in any."""
    matrices = [leaf for leaf in params if leaf.ndim > 1] or params
    counts = collections.Counter(leaf.dtype for leaf in matrices)
    most = max(counts.values(), default=0)
    fp32 = jnp.dtype(jnp.float32)
    if counts[fp32] == most:
        return fp32
    return counts.most_common(1)[0][0]
