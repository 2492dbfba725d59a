"""The check request: on given tokens, without dropout, what comes out as safetensors, for a
comparison between engines (struct proto_check). Takes no part in any timing."""
import jax
import jax.numpy as jnp
import numpy as np

from . import jax_tensors
from .check_inputs import read_inputs
from .jax_call import is_array, is_floating, logits_of, loss_of
from .safetensors import listed
from .user_code import require_logits
from .weight_names import match_names


def load_weights(path, source, precision, layout):
    """(parameters from a file's tensors by name, notes on how names were read). Every one of the
    model must be there with its shape; tensors that the model has not are an error. What is in a
    user's state is made by the model, and not read."""
    from . import jax_model

    file = jax_tensors.SafetensorsFile(path)
    wanted = {name: [name] for name in source.weight_names()}
    found, kept, notes = match_names(file.path, file.names(), wanted, source.state_names)
    if kept:
        notes.append(f"not read from the weights: {listed(kept, 3)}")

    def read(name, shape):
        return file.weight(found[name], shape, name)

    def put(array, name="", dtype=precision.param_dtype):
        return layout.put_weight(np.asarray(array).astype(dtype), name)

    if source.model is not None:
        return jax_model.stacked(source.model.spec, read, put), notes
    leaves = [put(read(name, leaf.shape), dtype=leaf.dtype) for name, leaf in source.named(source.params)]
    return leaves, notes


def _as_whole(array):
    return array if array.dtype.kind in "iu" else None


class Check:
    """One request against an open cell, whose weights it leaves as they are."""

    def __init__(self, cell, source, steps, state, layout):
        self._cell = cell
        self._source = source
        self._steps = steps
        self._layout = layout
        self._params = steps.params
        self._state = state

    def run(self, inputs_path, output_path, train_steps, with_weights):
        layout = self._layout
        spec = None if self._source.model is None else self._source.model.spec
        longest = None if spec is None else spec.max_seq_len
        file = jax_tensors.SafetensorsFile(inputs_path)
        both = read_inputs(file, _as_whole, self._source.vocab_size, longest)
        tokens, targets = (layout.given(array.astype(np.int32)) for array in both)
        if self._cell.mode == "train":
            tensors, loss = self._train(tokens, targets, train_steps)
        else:
            tensors, loss = self._forward_only(tokens, targets)
        if with_weights:
            named = self._source.named(self._params)
            tensors += [(f"weight.{name}", self._fp32(param)) for name, param in named]
        if layout.rank == 0:
            jax_tensors.write(output_path, tensors)
        return {"loss": loss, "tensors": len(tensors)}

    def _logits(self, params, tokens):
        out, _ = self._source.apply(params, self._state, tokens, None, False)
        return self._required(logits_of(out), tokens)

    def _required(self, logits, tokens):
        require_logits(
            logits, is_array, is_floating, tokens.shape, self._source.vocab_size, False
        )
        return logits

    def _forward_only(self, tokens, targets):
        if self._cell.mode == "decode":
            logits = self._decode_logits(tokens)
        else:
            logits = self._infer_logits(tokens)
        return self._outputs(logits, loss_of(logits, targets))

    def _is_timed_shape(self, tokens):
        return tokens.shape == (self._cell.batch_size, self._cell.seq_len)

    def _placed(self, tokens):
        return self._layout.put(tokens, self._layout.rows)

    def _infer_logits(self, tokens):
        """Of the program that is timed, where it takes such a batch."""
        if self._is_timed_shape(tokens):
            logits = self._steps.step(self._placed(tokens), None)
            if logits.shape[1] == tokens.shape[1]:
                return logits
        return jax.jit(self._logits)(self._params, tokens)

    def _decode_logits(self, tokens):
        """T single-token steps from an empty cache."""
        model = self._source.model
        cache = model.new_cache(*tokens.shape)
        places = None
        if tokens.shape[0] == self._cell.batch_size:  # they divide; where each step leaves it, so that all are one program
            places = self._layout.rows, self._layout.cache
            cache = self._steps.placed(cache)
        else:
            cache = self._layout.given_all(cache)
        step = jax.jit(model.decode, donate_argnums=(2,), out_shardings=places)
        parts = []
        for at in range(tokens.shape[1]):
            logits, cache = step(self._params, tokens[:, at : at + 1], cache, jnp.int32(at))
            parts.append(logits)
        if self._is_timed_shape(tokens):  # the last one by the program that is timed
            held, self._steps.cache = self._steps.cache, cache
            parts[-1] = self._steps.step(self._placed(tokens[:, -1:]), None)
            self._steps.cache = held
        return jnp.concatenate(parts, axis=1)

    def _train(self, tokens, targets, train_steps):
        def loss_and_logits(params):
            loss, _, logits = self._steps.loss(params, self._state, tokens, targets, None, False)
            if logits is None:
                return loss, self._logits(params, tokens)
            return loss, self._required(logits, tokens)

        both = jax.jit(jax.value_and_grad(loss_and_logits, has_aux=True))
        params = self._params
        if train_steps > 0:
            # each lies where the timed step has it: what one step gives is what the next was compiled for
            places = self._steps.places["params"], self._steps.places["optimizer"]
            update = jax.jit(self._steps.update, out_shardings=places)
            moments = self._steps.new_moments(params)
            for _ in range(train_steps):
                _, grads = both(params)
                params, moments = update(grads, moments, params)
        (loss, logits), grads = both(params)
        tensors, loss = self._outputs(logits, loss)
        named = self._source.named
        tensors += [(f"grad.{name}", self._fp32(grad)) for name, grad in named(grads)]
        if train_steps > 0:
            tensors += [(f"param.{name}", self._fp32(param)) for name, param in named(params)]
        return tensors, loss

    def _fp32(self, array):
        return self._layout.fetch(array.astype(jnp.float32))

    def _outputs(self, logits, loss):
        return [("logits", self._fp32(logits)), ("loss", self._fp32(loss).reshape(1))], float(loss)
