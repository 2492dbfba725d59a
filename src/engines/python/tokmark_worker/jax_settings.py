"""JAX's own switches, from the environment or set by a user's code.

A user's model runs under them as its author meant, and the record says which are not JAX's
defaults. tokmark's own code (loss, optimizer, batches) runs under JAX's default rules, so that a
rule which is there to find faults in a model is not broken by us.
"""
import contextlib
import os
import threading

import jax

_GUARDS = [
    f"jax_transfer_guard_{way}"
    for way in ("host_to_device", "device_to_device", "device_to_host")
]
_RANKS, _TYPES = "jax_numpy_rank_promotion", "jax_numpy_dtype_promotion"
_DEFAULTS = {
    "jax_enable_x64": False,
    "jax_disable_jit": False,
    "jax_debug_nans": False,
    "jax_debug_infs": False,
    "jax_check_tracer_leaks": False,
    "jax_enable_checks": False,
    _RANKS: "allow",
    _TYPES: "standard",
    **dict.fromkeys(_GUARDS, "allow"),
    "jax_default_prng_impl": "threefry2x32",
    "jax_disable_most_optimizations": False,
}


@contextlib.contextmanager
def _rules(ranks, types, guards):
    with contextlib.ExitStack() as stack:
        stack.enter_context(jax.numpy_rank_promotion(ranks))
        stack.enter_context(jax.numpy_dtype_promotion(types))
        for name, value in guards.items():
            stack.enter_context(getattr(jax, name.removeprefix("jax_"))(value))
        yield


def own_rules():
    return _rules("allow", "standard", dict.fromkeys(_GUARDS, "allow"))


class Settings:
    """The switches as they are set for the whole process, whatever own_rules() says here. Made
    after a user's code was imported and called."""

    def __init__(self):
        self._values = {}
        # a thread of its own: contexts are a thread's
        reader = threading.Thread(target=self._read)
        reader.start()
        reader.join()

    def _read(self):
        for name, default in _DEFAULTS.items():
            value = getattr(jax.config, name, default)
            self._values[name] = default if value is None else getattr(value, "value", value)

    def author_rules(self):
        guards = {name: self._values[name] for name in _GUARDS}
        return _rules(self._values[_RANKS], self._values[_TYPES], guards)

    @property
    def is_jit_off(self):
        return self._values["jax_disable_jit"]

    def text(self, matmul_asked):
        """"jax_enable_x64=True, ..." of those that are not JAX's defaults; None without one.
        matmul_asked: the matmul precision that the cell's precision means."""
        values = dict(self._values)
        guards = {values[name] for name in _GUARDS}
        if len(guards) == 1:  # as they are set together
            values = {name: value for name, value in values.items() if name not in _GUARDS}
            values["jax_transfer_guard"] = guards.pop()
        words = [
            f"{name}={value}"
            for name, value in values.items()
            if value != _DEFAULTS.get(name, "allow")
        ]
        matmul = jax.config.jax_default_matmul_precision
        if matmul != matmul_asked:
            words.append(f"jax_default_matmul_precision={matmul}")
        if os.environ.get("JAX_PLATFORMS"):
            words.append(f"JAX_PLATFORMS={os.environ['JAX_PLATFORMS']}")
        return ", ".join(words) or None
