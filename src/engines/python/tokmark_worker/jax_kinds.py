"""A user's model as parameters, state and a function of both, for every library that JAX has.

Each function here gives Parts. `tree` may be any tree that JAX knows: its floating-point arrays
are trained, its other arrays are carried along, and what is no array stays as it is.
"""
import contextlib
import dataclasses
import sys

import jax
import jax.numpy as jnp

from .errors import model_error
from .jax_call import (
    SWITCHES,
    Call,
    logits_of,
    loss_in,
    method_parameters,
    parameters_of,
    role_of,
)
from .user_code import call_user


@dataclasses.dataclass
class Parts:
    """run(tree, state, given) -> (what the model gives, new state); given: a value for each role
    (jax_call.ROLES) that has one in this mode."""

    kind: str  # for a note
    tree: object
    state: object
    run: object
    call: Call  # how `run` calls the model
    is_state: object = None  # (path) -> whether a floating-point leaf of the tree is not trained
    has_numpy_constants: bool = False  # NumPy arrays are no parameters in this library
    call_note: str = ""  # what the record says of a call beside its arguments
    rebuilt: object = None  # (tree, state, given) -> the model itself, for a loss that takes it
    notes: list = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Context:
    """What making a model may use."""

    key: object
    sample: object  # tokens (1, T)
    is_train: bool  # the cell's mode

    def given(self, is_train):
        """As a step gives it."""
        return {
            "tokens": self.sample,
            "spare_key": self.key,
            **({"key": self.key} if is_train else {}),
            **switches(is_train),
        }


def switches(is_train):
    return {"train": is_train, "eval": not is_train}


def is_of(value, module_name, class_name="Module"):
    """Whether it is one of a library's modules, without importing a library nobody has."""
    library = sys.modules.get(module_name)
    return library is not None and isinstance(value, getattr(library, class_name, ()))


def is_class_of(value, module_name):
    library = sys.modules.get(module_name)
    base = getattr(library, "Module", None)
    return isinstance(value, type) and isinstance(base, type) and issubclass(value, base)


def take_apart(model, context, known):
    """Parts of a model that is its own object; None where it is none of these kinds.

    `known`: what its call may ask for by other names (jax_factory.Known).
    """
    if is_of(model, "flax.linen"):
        return from_linen(model, context, known)
    if is_of(model, "flax.nnx"):
        return from_nnx(model, context, known)
    wrapped = getattr(model, "__wrapped__", None)
    if is_of(model, "equinox") and is_of(wrapped, "equinox"):
        import equinox as eqx

        return from_equinox(wrapped, context, known, wrap=eqx.filter_jit)  # eqx.filter_jit(model)
    if is_of(model, "equinox") and not callable(wrapped):
        return from_equinox(model, context, known)
    return None


# --- Flax linen ----------------------------------------------------------------------------------


def _switched(module, call, is_train):
    """With the mode in its fields, or in its configuration's, where the call does not take it."""
    if call.takes("train") or call.takes("eval"):
        return module
    changes = _switch_fields(module, is_train)
    config = getattr(module, "config", None)
    inner = _switch_fields(config, is_train)
    if inner:
        changes["config"] = dataclasses.replace(config, **inner)
    return module.clone(**changes) if changes else module


def _switch_fields(holder, is_train):
    if not dataclasses.is_dataclass(holder):
        return {}
    values = switches(is_train)
    return {
        item.name: values[role_of(item.name)]
        for item in dataclasses.fields(holder)
        if item.name in SWITCHES and item.init
    }


def _changes_of(apply, state):
    """The collections that a call changes in place; those that it makes larger (what is sown) are
    nobody's state."""
    out = jax.eval_shape(apply, state)
    kept = {}
    for name, before in state.items():
        after = out.get(name, before)
        if _shapes(after) == _shapes(before):
            kept[name] = before
    return kept


def _shapes(tree):
    leaves, treedef = jax.tree_util.tree_flatten(tree)
    return treedef, [(jnp.shape(leaf), jnp.result_type(leaf)) for leaf in leaves]


def from_linen(module, context, known, variables=None):
    from flax.linen import meta

    call = Call(type(module).__name__, method_parameters(type(module)), ["tokens"], known)
    names = ("params", "dropout")

    def init(key):
        args, kwargs = call.bind(context.given(False))
        rngs = dict(zip(names, jax.random.split(key)))
        return _switched(module, call, False).init(rngs, *args, **kwargs)

    if variables is None:
        variables = call_user("init", jax.jit(init), context.key)
    variables = dict(meta.unbox(variables))
    params = variables.pop("params", {})

    def applied(params, state, given, mutable):
        args, kwargs = call.bind(given)
        key = given.get("key")
        rngs = None if key is None else dict(zip(names, jax.random.split(key)))
        return _switched(module, call, given["train"]).apply(
            {"params": params, **state}, *args, rngs=rngs, mutable=mutable, **kwargs
        )

    def changed(state):
        return dict(applied(params, state, context.given(context.is_train), list(state))[1])

    sown = []
    if variables:
        kept = call_user(call.what, _changes_of, changed, variables)
        sown = [name for name in variables if name not in kept]
        variables = kept

    def run(params, state, given):
        if not state:
            return applied(params, state, given, False), state
        if given["train"]:
            out, changes = applied(params, state, given, list(state))
            return out, {**state, **dict(changes)}
        return applied(params, state, given, False), state

    notes = [f"not kept from step to step: {', '.join(sown)}"] if sown else []
    return Parts("Flax linen", params, variables, run, call, notes=notes)


# --- Flax nnx ------------------------------------------------------------------------------------


def from_nnx(model, context, known, call=None, function=None):
    """`function`: called with the model first, in place of the model itself."""
    from flax import nnx

    del context
    if call is None:
        call = Call(type(model).__name__, method_parameters(type(model)), ["tokens"], known)
    graphs = {}
    for is_train in (False, True):
        for name in ("train", "eval"):
            if (name == "train") == is_train and callable(getattr(model, name, None)):
                getattr(model, name)()
        graphs[is_train], params, state = nnx.split(model, nnx.Param, ...)

    def rebuilt(params, state, given):
        # made anew here: nnx lets nobody change a variable of an outer trace
        state = jax.tree_util.tree_map(lambda leaf: leaf, state)
        return nnx.merge(graphs[given["train"]], params, state)

    def run(params, state, given):
        merged = rebuilt(params, state, given)
        key = given.get("key", given.get("spare_key"))
        rngs = nnx.Rngs(key) if call.takes("rngs") else None
        args, kwargs = call.bind({**given, "rngs": rngs, "params": merged})
        out = (merged if function is None else function)(*args, **kwargs)
        with contextlib.suppress(ValueError):
            nnx.pop(merged, nnx.Intermediate)  # what was sown
        return out, nnx.split(merged, nnx.Param, ...)[2]

    return Parts("Flax nnx", params, state, run, call, rebuilt=rebuilt)


# --- Equinox -------------------------------------------------------------------------------------


def _axis_name(model):
    """Of the batch, as a BatchNorm inside wants it."""
    import equinox as eqx

    def has_name(node):
        return isinstance(node, eqx.Module) and isinstance(
            getattr(node, "axis_name", None), (str, tuple)
        )

    for leaf in jax.tree_util.tree_leaves(model, is_leaf=has_name):
        if has_name(leaf):
            name = leaf.axis_name
            return name if isinstance(name, str) else name[0]
    return None


def from_equinox(model, context, known, state=None, wrap=None):
    import equinox as eqx

    roles = ["tokens"] if state is None else ["tokens", "state"]
    call = Call(type(model).__name__, method_parameters(type(model)), roles, known)
    axis_name = _axis_name(model)

    def called(model, state, given):
        args, kwargs = call.bind({**given, "state": state})
        out = (model if wrap is None else wrap(model))(*args, **kwargs)
        return out if state is not None else (out, None)

    def of_rows(model, state, given):
        rows = {name: given[name] for name in ("tokens", "targets") if name in given}
        rest = {name: value for name, value in given.items() if name not in rows}
        keys = {
            name: jax.random.split(rest.pop(name), given["tokens"].shape[0])
            for name in ("key", "spare_key")
            if rest.get(name) is not None
        }

        def one(state, rows, keys):
            return called(model, state, {**rest, **rows, **keys})

        axes = {"in_axes": (None, 0, 0), "out_axes": (0, None), "axis_name": axis_name}
        out, state = jax.vmap(one, **axes)(state, rows, keys)
        loss = None if "targets" not in given else _mean_loss(out)
        return (out if loss is None else {"loss": loss, "logits": _of_batch(out)}), state

    def logits_dims(given):
        whole = eqx.nn.inference_mode(model, value=not given["train"])
        rest = {name: value for name, value in given.items() if name != "tokens"}
        out = eqx.filter_eval_shape(
            lambda tokens: called(whole, state, {**rest, "tokens": tokens}), given["tokens"]
        )
        return len(_of_batch(out[0]).shape)

    has_rows = axis_name is not None or _takes_rows(logits_dims, context)
    run_batch = of_rows if has_rows else called

    def rebuilt(tree, state, given):
        del state
        return eqx.nn.inference_mode(tree, value=not given["train"])

    def run(tree, state, given):
        return run_batch(rebuilt(tree, state, given), state, given)

    return Parts("Equinox", model, state, run, call, has_numpy_constants=True, rebuilt=rebuilt,
                 call_note=", a row each by jax.vmap" if has_rows else "")


def _takes_rows(logits_dims, context):
    """Equinox's way is one row of tokens, and then logits have two dims; a model on a batch gives
    three. Where neither can be traced the fault is the author's, and is said of rows."""
    given = context.given(context.is_train)
    try:
        if logits_dims({**given, "tokens": given["tokens"][0]}) == 2:
            return True
    except Exception as error:
        said = error
    else:
        said = None
    try:
        return logits_dims(given) != 3
    except Exception:
        # only a model on a batch unpacks two dims
        return said is None or "unpack" not in str(said)


def _of_batch(out):
    found = logits_of(out)
    if type(out) in (tuple, list) and not hasattr(found, "shape"):
        found = next((one for one in out if hasattr(one, "shape") and len(one.shape) > 1), found)
    return found


def _mean_loss(out):
    """Of the losses of rows."""
    return loss_in(
        jax.tree_util.tree_map(lambda leaf: leaf.mean() if leaf.ndim == 1 else leaf, out)
    )


# --- functions -----------------------------------------------------------------------------------


def from_functions(tree, apply, what, context, known, state=None):
    """apply(params, tokens, ...) with parameters that are there already."""
    roles = ["params", "tokens"] if state is None else ["params", "state", "tokens"]
    call = Call(what, parameters_of(apply), roles, known, apply)
    if is_of(tree, "flax.nnx"):
        return from_nnx(tree, context, known, call, apply)
    is_equinox = is_of(tree, "equinox")

    def rebuilt(tree, state, given):
        del state
        if not is_equinox:
            return tree
        import equinox as eqx

        return eqx.nn.inference_mode(tree, value=not given["train"])

    def run(tree, state, given):
        args, kwargs = call.bind({**given, "params": rebuilt(tree, state, given), "state": state})
        out = apply(*args, **kwargs)
        if state is None:
            return out, state
        if type(out) is not tuple or len(out) != 2:
            raise model_error(f"{what} takes a state, and does not give (output, new state)")
        return out

    return Parts("function", tree, state, run, call, _is_other_collection(tree),
                 has_numpy_constants=is_equinox, rebuilt=rebuilt)


def _is_other_collection(tree):
    """Flax's variables as a whole: what stands beside "params" is not trained."""
    try:
        names = set(tree.keys())
    except (AttributeError, TypeError):
        return None
    others = {"batch_stats", "constants", "cache", "intermediates", "buffers"}
    if "params" not in names or not names - {"params"} <= others or len(names) == 1:
        return None
    return lambda path: str(getattr(path[0], "key", "")) != "params"


def from_callable_tree(model, context, known):
    """An object that JAX takes apart by itself and that can be called with tokens."""
    del context
    call = Call(type(model).__name__, method_parameters(type(model)), ["tokens"], known)
    if isinstance(model, jax.tree_util.Partial):
        call = Call("Partial", parameters_of(model), ["tokens"], known, model)

    def run(tree, state, given):
        args, kwargs = call.bind(given)
        return tree(*args, **kwargs), state

    return Parts("callable tree", model, None, run, call, rebuilt=lambda tree, *_: tree)
