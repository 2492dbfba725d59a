"""One token a row at position seq_len - 1 with everything before it cached.

Every step costs the same and, where the cache allows it, does the same: after a step the cache is put
back to the depth before it. That means rebinding what a step replaced, never a copy of a cached
tensor. What a cache changes in place stays changed, and costs the same either way:
- the recurrent and convolution states of linear attention (mamba, qwen3-next) have no length; they go
  on from token to token;
- a preallocated (static) cache has the step's keys and values overwritten by the next step's; once a
  preallocated window is full, its contents move on by a token while position and length stay.
"""
import collections
import inspect

import torch

from .errors import WorkerError, describe_error, is_memory_error, unsupported
from .user_code import pick_logits

_STATES = ("recurrent_states", "ssm_states", "conv_states")
_CACHE_NAMES = ("cache", "past_key_values", "cache_params")


class DecodeSteps:
    """The steps of one cell (docs/metrics.md)."""

    def __init__(self, caller, precision, source, cell, prompt):
        """prompt (B, seq_len - 1): what the cache is filled with."""
        self._precision = precision
        self._position = cell.seq_len - 1
        self._caller = caller
        self._is_builtin = source.is_builtin
        self._hf = None
        if source.is_builtin:
            self.cache = self._fill_builtin(cell, prompt)
        elif source.is_hf:
            self._hf = HfCache(source.model, cell, prompt, precision)
            source.notes += self._hf.notes
        else:
            raise unsupported(
                "decode needs a key and value cache: tokmark's own models and transformers' have "
                "one that is understood; this model can be measured with train and infer"
            )

    def _fill_builtin(self, cell, prompt):
        model = self._caller.model
        cache = model.new_cache(cell.batch_size, cell.seq_len)
        if self._position > 0:
            with self._precision.without_gradients(), self._precision.autocast():
                model(prompt, cache, 0)
        return cache

    def step(self, tokens, _targets):
        token = tokens[:, -1:]
        with self._precision.without_gradients(), self._precision.autocast():
            if self._is_builtin:
                return self._caller.model(token, self.cache, self._position)
            out = self._caller.model(token, **self._hf.arguments)
            self._hf.put_back()
        return pick_logits(out, torch.is_tensor)

    @property
    def cache_tokens(self):
        """Tokens of a row before the step's own; None where the cache counts otherwise."""
        return self._position if self._is_builtin else None

    def first_call(self, tokens, targets, watch, _watch_backward):
        """A step under the context `watch`; its logits. Recurrent states are as before after it."""
        states = [] if self._hf is None else self._hf.states()
        with watch:
            logits = self.step(tokens, targets)
        with self._precision.without_gradients():
            for tensor, value in states:
                tensor.copy_(value)
        return logits

    def call_text(self):
        """How forward is called, for the record."""
        if self._is_builtin:
            return f"forward(token, cache, position={self._position})"
        words = [f"{key}={value if value is True else 'cache'}"
                 for key, value in self._hf.arguments.items()]
        return f"forward(token, {', '.join(words)})"

    def cache_tensors(self):
        """What the cache holds, for counting its bytes."""
        if self._is_builtin:
            return [tensor for pair in self.cache for tensor in pair]
        return self._hf.tensors()


class HfCache:
    """The cache that a transformers model's own `generate` would use, filled to one depth.

    arguments: what a call gets beside its token. put_back(): the cache as it was before the call.
    A cache that cannot be made, filled or used is `unsupported`, whatever it raises.
    """

    def __init__(self, model, cell, prompt, precision):
        self.notes = []
        self._changes = _Changes()
        try:
            with precision.without_gradients(), precision.autocast():
                self._make(model, cell, prompt)
        except (WorkerError, KeyboardInterrupt, GeneratorExit):
            raise
        except Exception as error:
            if is_memory_error(error):
                raise
            raise unsupported(
                f"decode: the cache of {type(model).__name__}: {describe_error(error)}"
            ) from error

    def _make(self, model, cell, prompt):
        parameters = inspect.signature(model.forward).parameters
        if getattr(getattr(model, "generation_config", None), "use_cache", True) is False:
            raise unsupported("decode: the folder's generation_config says use_cache false")
        name, cache = _as_generate(model, cell)
        name = name or next((one for one in _CACHE_NAMES if one in parameters), None)
        if name is None:
            raise unsupported(
                f"decode: the forward of {type(model).__name__} takes no cache (past_key_values); "
                f"it can be measured with train and infer"
            )
        self.arguments = {"use_cache": True}
        if cache is not None:
            self.arguments[name] = cache
        length = prompt.shape[1]
        if length > 0:
            out = model(prompt, **self.arguments)
            if cache is None:
                cache = next((out[one] for one in _CACHE_NAMES if _get(out, one) is not None), None)
                if cache is None:
                    raise unsupported(
                        f"decode: {type(model).__name__} gives no cache (past_key_values) with "
                        f"its logits; it can be measured with train and infer"
                    )
                self.arguments[name] = cache
        self.cache = cache
        _compact(cache)
        self._require_length(model, length)
        # one step, to see what it changes; here even the states are put back after it
        states = self.states()
        self._changes.before(cache)
        token = torch.zeros_like(prompt[:, :1]) if length else prompt.new_zeros((cell.batch_size, 1))
        model(token, **self.arguments)
        self._changes.after(cache)
        self.put_back()
        for tensor, value in states:
            tensor.copy_(value)
        if cache is not None and not isinstance(cache, tuple) and not self._changes.has_any:
            raise unsupported(f"decode: {type(model).__name__} leaves its cache as it is")
        self._require_length(model, length)
        self.notes.append(f"decode with {_describe(cache)}")

    def put_back(self):
        self._changes.undo()

    def states(self):
        """(tensor, its value) of everything that goes on from step to step."""
        return [(tensor, tensor.clone()) for tensor in _tensors(self.cache, _STATES)]

    def _require_length(self, model, length):
        if _recurrent(self.cache) and not _tensors(self.cache, ("keys", "key_cache")):
            return  # states have no length
        count = getattr(self.cache, "get_seq_length", lambda: length)()
        if int(count) != length:
            raise unsupported(
                f"decode: the cache of {type(model).__name__} holds {int(count)} tokens where "
                f"{length} were given"
            )

    def tensors(self):
        names = ("keys", "values", "key_cache", "value_cache", "indexer_keys", *_STATES)
        if isinstance(self.cache, tuple):
            return list(_inner(self.cache))
        return _tensors(self.cache, names)


def _get(out, name):
    return out.get(name) if isinstance(out, dict) else None


def _as_generate(model, cell):
    """(argument's name, cache) as `generate` makes it; (None, None) where the model makes its own."""
    prepare = getattr(model, "_prepare_cache_for_generation", None)
    if prepare is None:
        return None, None
    kwargs = {}
    values = {
        "generation_config": _generation_config(model),
        "model_kwargs": kwargs,
        "batch_size": cell.batch_size,
        "max_cache_length": cell.seq_len,
        "device": model.device,
    }
    names = inspect.signature(prepare).parameters
    prepare(**{name: values.get(name) for name in names})
    return next(((name, cache) for name, cache in kwargs.items() if cache is not None), (None, None))


def _generation_config(model):
    """With the defaults in it that `generate` puts there."""
    prepare = getattr(model, "_prepare_generation_config", None)
    made = prepare(None) if prepare is not None else model.generation_config
    return made[0] if isinstance(made, tuple) else made


def _holders(cache):
    """The cache and its layers: objects whose attributes a step may replace."""
    parts = [cache, *(getattr(cache, "layers", None) or ())]
    return [part for part in parts if hasattr(part, "__dict__")]


def _compact(cache):
    """A window's keys are a view of the whole prompt's, which `generate` lets go with its next token
    and a cache that is put back would keep."""
    for part in _holders(cache):
        for name, value in vars(part).items():
            if isinstance(value, torch.Tensor) and value.dim() > 0:
                if value.untyped_storage().nbytes() > value.numel() * value.element_size():
                    setattr(part, name, value.clone(memory_format=torch.contiguous_format))


def _describe(cache):
    """"DynamicCache (1 DynamicLayer, 1 DynamicSlidingWindowLayer)", and what is not put back."""
    kinds = collections.Counter(type(layer).__name__ for layer in getattr(cache, "layers", ()))
    text = type(cache).__name__
    if kinds:
        text += " (" + ", ".join(f"{count} {name}" for name, count in kinds.items()) + ")"
    return text + ("; recurrent states go on from step to step" if _recurrent(cache) else "")


def _recurrent(cache):
    return bool(_tensors(cache, _STATES))


def _tensors(cache, names):
    return [
        tensor
        for part in _holders(cache)
        for name in names
        for tensor in _inner(vars(part).get(name))
    ]


def _inner(value):
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from _inner(one)
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from _inner(one)


class _Changes:
    """What a step replaces in a cache: found once, by a step, and put back after every step."""

    def __init__(self):
        self._attributes = []  # (the object's __dict__, name, value)
        self._items = []  # (list or dict, its contents)
        self._lengths = []  # (whole-number scalar that is changed in place, its value)
        self.has_any = False
        self._seen = []

    def before(self, cache):
        for part in _holders(cache):
            for name, value in vars(part).items():
                if name == "layers":
                    self._seen.append((vars(part), name, value, list(value), None))
                elif isinstance(value, (list, dict)):
                    self._seen.append((vars(part), name, value, value.copy(), None))
                elif _is_length(value):
                    self._seen.append((vars(part), name, value, None, value.clone()))
                else:
                    self._seen.append((vars(part), name, value, None, None))
        self._has_states = _recurrent(cache)

    def after(self, cache):
        for holder, name, value, contents, length in self._seen:
            if holder.get(name) is not value:
                self._attributes.append((holder, name, value))
            elif contents is not None and not _is_same(value, contents):
                self._items.append((value, contents))
            elif length is not None and not torch.equal(value, length):
                self._lengths.append((value, length))
        self._seen = []
        self.has_any = bool(
            self._attributes or self._items or self._lengths or self._has_states
        )

    def undo(self):
        for holder, name, value in self._attributes:
            holder[name] = value
        for value, contents in self._items:
            value.clear()
            if isinstance(value, dict):
                value.update(contents)
            else:
                value.extend(contents)
        for value, length in self._lengths:
            value.copy_(length)


def _is_length(value):
    return isinstance(value, torch.Tensor) and value.dim() == 0 and not value.is_floating_point()


def _is_same(value, contents):
    if len(value) != len(contents):
        return False
    if isinstance(value, dict):
        return all(key in value and value[key] is contents[key] for key in contents)
    return all(one is other for one, other in zip(value, contents))
