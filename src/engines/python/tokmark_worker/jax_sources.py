"""Where a cell's model comes from, as functions of its parameters.

builtin   our own implementation (jax_model); a package `superintelligence` is PyTorch's and is not
          looked for
factory   pkg.module:name, which is, or gives when called with what its signature asks for, one of:
            a pair init(key, ...) -> params, apply(params, tokens) -> logits (an object or module
            with these two, or a tuple of them; or `apply` itself, where `init` stands beside it)
            a Flax linen Module, a Flax nnx Module, an Equinox Module
"""
import dataclasses
import inspect
import sys

import jax
import jax.numpy as jnp

from . import jax_model
from .errors import model_error, unsupported
from .made_config import PRESET, SET, report_values
from .model_config import arguments, builtin_spec, vocabulary_of_config
from .user_code import call_parameters, call_user, find_target, pick_logits, shorten

_KEY_NAMES = ("key", "rng", "rng_key", "prng_key", "dropout_key")
_TRAIN_NAMES = ("train", "training", "is_training", "is_train")
_EVAL_NAMES = ("deterministic", "inference")


@dataclasses.dataclass
class Source:
    """apply(params, state, tokens, key, is_train) -> (what the model gives, new state).

    params: what is trained, a tree of arrays; state: what else the model carries. Both are made
    already for a user's model; ours is made by make() once it is known to fit, and until then they
    are descriptions of arrays.
    """

    apply: object
    params: object
    state: object
    text: str  # for the record's model_source
    vocab_size: int
    params_active: int = None  # None = not known
    model: object = None  # ours, else None
    make: object = None
    notes: list = dataclasses.field(default_factory=list)
    config: dict = None  # every value it was made with, and where it is from (made_config.py)
    chosen: str = None  # what nobody gave and tokmark had to choose

    def named(self, tree):
        """(name, array) of a tree like params."""
        if self.model is not None:
            return list(jax_model.published(self.model.spec, tree))
        return [(path_name(path), leaf) for path, leaf in leaves_with_path(tree)]


def leaves_with_path(tree):
    return jax.tree_util.tree_flatten_with_path(tree)[0]


def path_name(path):
    """"layers.0.weight" of a leaf's path in a tree."""
    parts = []
    for item in path:
        for kind in ("key", "name", "idx"):
            if hasattr(item, kind):
                parts.append(str(getattr(item, kind)))
                break
    if parts and parts[-1] in ("value", "raw_value") and len(parts) > 1:
        parts.pop()  # what nnx wraps a parameter in
    return ".".join(parts).lstrip(".")


def is_array(value):
    return isinstance(value, (jax.Array, jax.ShapeDtypeStruct)) or (
        hasattr(value, "shape") and hasattr(value, "dtype")
    )


def is_floating(value):
    return jnp.issubdtype(value.dtype, jnp.floating)


def logits_of(out):
    return pick_logits(out, is_array)


# --- ours ----------------------------------------------------------------------------------------


def _builtin(cell, device, precision, key):
    spec = builtin_spec(cell)
    way = "published"
    if cell.options.moe == "routed":
        way = "tiles" if device.platform == "cpu" else "ranks"
    has_dropout = cell.mode == "train" and spec.dropout > 0
    attention = "xla"
    if not has_dropout and cudnn_attention_works(device, precision.compute_dtype, spec):
        attention = "cudnn"
    model = jax_model.Model(spec, precision.compute_dtype, way, attention)

    def apply(params, state, tokens, key, is_train):
        return model.forward(params, tokens, key if is_train else None), state

    def make():
        return jax_model.init(spec, key, precision.param_dtype), ()

    params = {
        name: jax.ShapeDtypeStruct(shape, precision.param_dtype)
        for name, (shape, _) in jax_model.stacked_names(spec).items()
    }
    form = f" ({cell.options.moe})" if spec.ffn == "moe_swiglu" else ""
    return Source(
        apply=apply,
        params=params,
        state=(),
        text=f"tokmark jax{form}",
        vocab_size=spec.vocab_size,
        params_active=spec.params_active(),
        model=model,
        make=make,
        config=report_values(
            dataclasses.asdict(spec), dict.fromkeys(cell.options.set, SET), PRESET
        )[0],
    )


def cudnn_attention_works(device, dtype, spec):
    """Tried on a small case rather than looked up: it depends on the release, on cuDNN and on the
    device."""
    if device.platform != "gpu" or jnp.dtype(dtype).itemsize != 2:
        return False
    try:
        part = jnp.ones((1, 64, spec.heads_count, spec.head_dim), dtype)
        out = jax.nn.dot_product_attention(
            part, part, part, is_causal=spec.is_causal, implementation="cudnn"
        )
        return bool((out == 1).all())
    except Exception:  # whatever a release raises for what it cannot do
        return False


# --- a user's ------------------------------------------------------------------------------------


def _class_in(value, module_name, class_name="Module"):
    """Whether it is one of a library's modules, without importing a library nobody has."""
    library = sys.modules.get(module_name)
    return library is not None and isinstance(value, getattr(library, class_name, ()))


def _pair(value):
    """(init, apply) of an object, module or tuple that has them; None when it has not."""
    if isinstance(value, tuple) and len(value) == 2 and all(map(callable, value)):
        return value
    init, apply = getattr(value, "init", None), getattr(value, "apply", None)
    return (init, apply) if callable(init) and callable(apply) else None


def _parameters(function):
    try:
        return call_parameters(function)
    except (TypeError, ValueError):
        return {}


def _switches(function, is_train):
    """A call's arguments that say whether it trains, as far as its signature has them."""
    names = _parameters(function)
    switches = {name: is_train for name in _TRAIN_NAMES if name in names}
    return {**switches, **{name: not is_train for name in _EVAL_NAMES if name in names}}


def _key_argument(function, key):
    names = [name for name in _KEY_NAMES if name in _parameters(function)]
    return {names[0]: key} if names and key is not None else {}


def _offered(function, cell, precision, key):
    """What an engine gives a factory beside the figures, made only where it is asked for."""
    names = _parameters(function)
    offered = {name: key for name in _KEY_NAMES if name in names}
    offered.update(
        (name, value)
        for name, value in (
            ("seed", cell.seed & 0x7FFFFFFF),
            ("dtype", precision.compute_dtype),
            ("param_dtype", precision.param_dtype),
        )
        if name in names
    )
    if "rngs" in names:
        from flax import nnx

        offered["rngs"] = nnx.Rngs(cell.seed & 0x7FFFFFFF)
    return offered


def _target(cell, precision, key):
    """(a model of one of the kinds, its vocabulary or None, the call that made it or None)"""
    ref = cell.model_ref
    target = find_target(ref)
    if inspect.isfunction(target) and next(iter(_parameters(target)), "") == "params":
        init = getattr(sys.modules.get(target.__module__), "init", None)
        if not callable(init):
            raise model_error(
                f"{ref} takes params: its module needs a function init(key, ...) that makes them"
            )
        return (init, target), None, None
    is_model = not isinstance(target, type) and (
        _pair(target) is not None
        or _class_in(target, "flax.nnx")
        or _class_in(target, "equinox")
    )
    if is_model:
        return target, None, None
    if not callable(target):
        raise model_error(
            f"{ref} is a {type(target).__name__}, not a class, a function or a pair of init and "
            f"apply"
        )
    offered = _offered(target, cell, precision, key)
    call = arguments(cell, target, ref, offered)
    model = call_user(ref, target, *call.args, **call.kwargs)
    vocab_size = call.vocab_size
    if vocab_size is None:
        vocab_size = vocabulary_of_config(getattr(model, "config", None))
    return model, vocab_size, call


def _from_pair(pair, cell, precision, key, sample):
    del sample
    init, apply = pair
    offered = _offered(init, cell, precision, key)
    kwargs = arguments(cell, init, "init", offered).kwargs
    names = list(_parameters(init))
    if names and names[0] not in kwargs:
        kwargs[names[0]] = key
    params = call_user("init", init, **kwargs)

    def run(params, state, tokens, key, is_train):
        switches = _switches(apply, is_train)
        return apply(params, tokens, **switches, **_key_argument(apply, key)), state

    return params, (), run


def _from_linen(module, cell, precision, key, sample):
    from flax.linen import meta

    switches = _switches(type(module).__call__, False)
    rngs = dict(zip(("params", "dropout"), jax.random.split(key)))
    init = jax.jit(lambda rngs, tokens: module.init(rngs, tokens, **switches))
    variables = dict(meta.unbox(call_user("init", init, rngs, sample)))
    params = variables.pop("params", {})

    def run(params, state, tokens, key, is_train):
        rngs = {"dropout": key} if is_train and key is not None else None
        switches = _switches(type(module).__call__, is_train)
        changes = list(state) if is_train and state else False
        out = module.apply(
            {"params": params, **state}, tokens, rngs=rngs, mutable=changes, **switches
        )
        return (out[0], dict(out[1])) if changes else (out, state)

    return params, variables, run


def _from_nnx(model, cell, precision, key, sample):
    from flax import nnx

    graphs = {}
    for is_train in (False, True):
        (model.train if is_train else model.eval)()
        graphs[is_train], params, state = nnx.split(model, nnx.Param, ...)

    def run(params, state, tokens, key, is_train):
        # made anew here: nnx lets nobody change a variable of an outer trace
        state = jax.tree_util.tree_map(lambda leaf: leaf, state)
        merged = nnx.merge(graphs[is_train], params, state)
        out = merged(tokens, **_switches(type(model).__call__, is_train))
        return out, nnx.split(merged, nnx.Param, ...)[2]

    return params, state, run


def _from_equinox(model, cell, precision, key, sample):
    import equinox as eqx

    params, rest = eqx.partition(model, eqx.is_inexact_array)
    state, static = eqx.partition(rest, eqx.is_array)

    def call(model, tokens, key):
        return model(tokens, **_key_argument(type(model).__call__, key))

    def of_rows(model, tokens, key):
        keys = None if key is None else jax.random.split(key, tokens.shape[0])
        return jax.vmap(lambda row, key: call(model, row, key))(tokens, keys)

    def takes_batches():
        """Most Equinox models take one row; one that takes a batch gives logits of three dims."""
        try:
            out = jax.eval_shape(lambda tokens: logits_of(call(model, tokens, None)), sample)
            return len(out.shape) == 3
        except Exception:
            return False

    run_batch = call if takes_batches() else of_rows

    def run(params, state, tokens, key, is_train):
        whole = eqx.combine(params, state, static)
        whole = eqx.nn.inference_mode(whole, value=not is_train)
        return run_batch(whole, tokens, key if is_train else None), state

    return params, state, run


def _make_kind(model, ref):
    """(the words for a note, the function that takes it apart)"""
    if _class_in(model, "flax.linen"):
        return "Flax linen", _from_linen
    if _class_in(model, "flax.nnx"):
        return "Flax nnx", _from_nnx
    if _class_in(model, "equinox"):
        return "Equinox", _from_equinox
    pair = _pair(model)
    if pair is None:
        raise model_error(
            f"{ref} gave a {type(model).__name__}; wanted are a Flax or Equinox module, or a pair "
            f"of init and apply"
        )
    return "function", lambda _, *rest: _from_pair(pair, *rest)


def _factory(cell, device, precision, key):
    model, vocab_size, call = _target(cell, precision, key)
    report, chosen = (None, None) if call is None else call.report(model)
    if call is not None:
        options = dataclasses.replace(cell.options, set={})
        cell = dataclasses.replace(cell, options=options)
    vocab_size = cell.model.vocab_size if vocab_size is None else vocab_size
    kind, take_apart = _make_kind(model, cell.model_ref)
    sample = jnp.zeros((1, cell.seq_len), jnp.int32)
    params, state, run = call_user(
        cell.model_ref, take_apart, model, cell, precision, key, sample
    )
    if any(not is_array(leaf) for leaf in jax.tree_util.tree_leaves(params)):
        params = jax.tree_util.tree_map(jnp.asarray, params)
    params, fixed = _trained(params)
    # copies: a step gives its arguments away, and two names may mean one array
    params = jax.tree_util.tree_map(
        lambda leaf: jax.device_put(jnp.array(leaf, precision.param_dtype), device), params
    )

    def apply(params, state, tokens, key, is_train):
        cast = _joined(precision.cast(params), state["fixed"])
        out, own = run(cast, state["own"], tokens, key, is_train)
        return out, {**state, "own": own}

    return Source(
        apply=apply,
        params=params,
        state=jax.device_put({"own": state, "fixed": fixed}, device),
        text=shorten("factory ", cell.model_ref, ""),
        vocab_size=vocab_size,
        notes=[f"{kind} model"],
        config=report,
        chosen=chosen,
    )


def _trained(params):
    """(floating-point leaves, all others): what AdamW can work on, and what it cannot."""

    def pick(is_wanted):
        return jax.tree_util.tree_map(
            lambda leaf: leaf if is_floating(leaf) == is_wanted else None, params
        )

    return pick(True), pick(False)


def _joined(params, fixed):
    return jax.tree_util.tree_map(
        lambda one, other: other if one is None else one,
        params,
        fixed,
        is_leaf=lambda leaf: leaf is None,
    )


def make(cell, device, precision, key):
    """The model; a user's with its weights, on the device, in the parameters' type."""
    if cell.model_ref.startswith("hf:"):
        raise unsupported(
            "jax runs no transformers folder: its JAX models were taken out of transformers; "
            "pytorch does, and jax takes pkg.module:factory"
        )
    if cell.model_ref:
        return _factory(cell, device, precision, key)
    return _builtin(cell, device, precision, key)
