"""What a step must give, by another way than the program that is timed: the model compiled by itself, on
tokens that are opened anew, from an empty cache (docs/protocol.md, `verify`). Takes no part in any timing."""
import jax
import jax.numpy as jnp
import numpy as np

from .jax_call import logits_of, loss_of
from .logit_sample import sample
from .tokens import NumpyArrays, Tokens


def logits_seen(logits, layout):
    """What of a step's output the host compares."""
    return {
        "logits": sample(logits, lambda picked: layout.fetch(picked.astype(jnp.float32)).tolist()),
        "head_tokens": logits.shape[0] * logits.shape[1],
    }


class Verification:
    def __init__(self, cell, source, steps, state, layout):
        self._cell = cell
        self._source = source
        self._steps = steps
        self._state = state
        self._layout = layout

    def expected(self, step):
        """Fields of `verify`."""
        return {"train": self._train, "infer": self._infer, "decode": self._decode}[self._cell.mode](step)

    def _batch(self, step):
        tokens = Tokens(self._cell, self._source.vocab_size, NumpyArrays(np))
        return [self._layout.given(part[0].astype(np.int32)) for part in tokens.batches(step, 1)]

    def _train(self, step):
        """The loss alone, with the key that the step is about to take."""
        source = self._source
        _, key = jax.random.split(self._steps.state["key"])

        def loss(params, state, tokens, targets, key):
            if source.loss is not None:
                return source.loss(params, state, tokens, targets, key, True)[0].astype(jnp.float32)
            return loss_of(logits_of(source.apply(params, state, tokens, key, True)[0]), targets)

        state = self._steps.state
        return {"loss": float(jax.jit(loss)(state["params"], state["model"], *self._batch(step), key))}

    def _infer(self, step):
        def logits(params, state, tokens):
            return logits_of(self._source.apply(params, state, tokens, None, False)[0])

        return logits_seen(jax.jit(logits)(self._steps.params, self._state, self._batch(step)[0]), self._layout)

    def _decode(self, step):
        model, last = self._source.model, self._cell.seq_len - 1
        prompt, token = self._batch(0)[0][:, :-1], self._batch(step)[0][:, -1:]
        decode = jax.jit(model.decode, donate_argnums=(2,))
        self._steps.cache = None  # there may be no room for two
        cache = self._layout.given_all(model.new_cache(self._cell.batch_size, self._cell.seq_len))
        if last > 0:
            _, cache = decode(self._steps.params, prompt, cache, jnp.int32(0))
        logits, self._steps.cache = decode(self._steps.params, token, cache, jnp.int32(last))
        return logits_seen(logits, self._layout)
