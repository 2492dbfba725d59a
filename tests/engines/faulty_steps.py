"""Puts a fault into the step that a Python worker times, and into nothing else (forked_worker.py does it where
TOKMARK_TEST_FAULT names one): what `run` must find."""
import dataclasses


def _torch_faults():
    import torch

    from tokmark_worker import torch_decode, torch_engine, torch_steps

    infer, train, decode = torch_steps.InferSteps, torch_steps.TrainSteps, torch_decode.DecodeSteps

    def around(kind, name, change):
        whole = getattr(kind, name)
        setattr(kind, name, lambda self, *args: change(whole, self, *args))

    def both(change):
        around(infer, "step", change)
        around(train, "step", change)

    def fewer_layers(whole, steps, *args):
        model = getattr(steps._caller.model, "_orig_mod", steps._caller.model)
        layers = model.layers
        model.layers = layers[:-1]
        try:
            return whole(steps, *args)
        finally:
            model.layers = layers

    def half(whole, steps, tokens, targets):
        return whole(steps, *(torch.cat([part[: len(part) // 2]] * 2) for part in (tokens, targets)))

    return {
        "head": lambda: around(infer, "step", lambda whole, steps, *args: torch.zeros_like(whole(steps, *args))),
        "last token": lambda: around(infer, "step", lambda whole, steps, *args: whole(steps, *args)[:, -1:]),
        "layer": lambda: (both(fewer_layers), around(decode, "step", fewer_layers)),
        "half": lambda: both(half),
        "prefill": lambda: around(
            decode, "_fill_builtin",
            lambda _, steps, cell, prompt: steps._caller.model.new_cache(cell.batch_size, cell.seq_len)),
        "position": lambda: around(
            decode, "__init__", lambda whole, steps, *args: (whole(steps, *args), setattr(steps, "_position", 0))[0]),
        "seed": lambda: _other_tokens(torch_engine.TorchEngine),
        "same tokens": lambda: _same_tokens(torch_engine.TorchEngine),
    }


def _other_tokens(engine):
    whole = engine._device_batches

    def of_another_seed(self, *args):
        from tokmark_worker.tokens import Tokens

        tokens = self._tokens
        cell = dataclasses.replace(self._cell, seed=self._cell.seed + 1)
        self._tokens = Tokens(cell, tokens._vocab_size, tokens._arrays)
        try:
            return whole(self, *args)
        finally:
            self._tokens = tokens

    engine._device_batches = of_another_seed


def _same_tokens(engine):
    whole = engine._device_batches
    engine._device_batches = lambda self, _first, count: whole(self, 0, count)


def _jax_faults():
    import jax
    import jax.numpy as jnp

    from tokmark_worker import jax_engine, jax_steps

    infer, train, decode = jax_steps.InferSteps, jax_steps.TrainSteps, jax_steps.DecodeSteps

    def run_with(kind, change):
        """Of the step that is compiled."""
        compile_step = kind._compile

        def compile_changed(self, function, *rest):
            return compile_step(self, lambda *args: change(self, function, *args), *rest)

        kind._compile = compile_changed

    def fewer_layers(self, function, state, *rest):
        """A layer of zeros adds nothing to what goes round it."""
        last = f"layers.{self._source.model.spec.layers_count - 1}."
        params = state["params"] if "params" in state else state
        without = {name: jnp.zeros_like(value) if last in name else value for name, value in params.items()}
        return function({**state, "params": without} if "params" in state else without, *rest)

    def half(_self, function, state, *rest):
        *others, tokens, targets = rest if len(rest) == 2 and "params" in state else (*rest, None)
        cut = [None if part is None else jnp.concatenate([part[: len(part) // 2]] * 2) for part in (tokens, targets)]
        return function(state, *others, *(part for part in cut if part is not None))

    def nothing(_self, function, *args):
        return jax.tree_util.tree_map(jnp.zeros_like, function(*args))

    def no_prefill(self, prompt):
        jax.block_until_ready(self.cache)

    def at_0(whole):
        def begin(self, *args):
            whole(self, *args)
            self._place = jax.device_put(jnp.int32(0), self._layout.whole)

        return begin

    return {
        "head": lambda: run_with(infer, nothing),
        "layer": lambda: [run_with(kind, fewer_layers) for kind in (infer, train, decode)],
        "half": lambda: [run_with(kind, half) for kind in (infer, train)],
        "prefill": lambda: setattr(decode, "fill", no_prefill),
        "position": lambda: setattr(decode, "begin", at_0(decode.begin)),
        "seed": lambda: _other_tokens(jax_engine.JaxEngine),
        "same tokens": lambda: _same_tokens(jax_engine.JaxEngine),
    }


def put_in(engine, fault):
    {"pytorch": _torch_faults, "jax": _jax_faults}[engine]()[fault]()
