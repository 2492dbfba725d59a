"""A model that `--model pkg.module:name` names, for the jax engine: what the name means, which init
belongs to it, and what its parameters and its call become."""
import dataclasses
import inspect
import types

import jax
import jax.numpy as jnp

from .errors import model_error
from .jax_call import (
    ROLES,
    is_array,
    method_parameters,
    parameters_of,
    role_of,
    takes_params,
)
from .jax_kinds import (
    Context,
    from_callable_tree,
    from_equinox,
    from_functions,
    from_linen,
    is_class_of,
    is_of,
    take_apart,
)
from .model_config import arguments
from .protocol import Verbatim
from .setting_names import spec_key, vocabulary_of_config
from .setting_text import value_of
from .user_code import call_user, find_target

_APPLY_NAMES = "apply forward apply_fn apply_fun __call__".split()
_INIT_NAMES = (
    "init init_params init_fn init_fun initialize init_model init_weights init_parameters "
    "create_params make_params initialize_params"
).split()
_LOSS_NAMES = "loss loss_fn compute_loss loss_function".split()
_CONFIG_NAMES = "config cfg conf model_config args hparams".split()


class Known:
    """What a model was made with, for a call that asks for it again: apply(params, tokens,
    config)."""

    def __init__(self, cell):
        self._values = {}
        self._set = {}
        self.cell = cell

    def add(self, kwargs, config):
        self._values.update(kwargs)
        if config is not None:
            self._values.update((name, config) for name in _CONFIG_NAMES)

    def take_set(self, apply, init):
        """--set of what only apply has."""
        others = parameters_of(init)
        mine = parameters_of(apply)
        has_more = any(item.kind is item.VAR_KEYWORD for item in others.values())
        rest = dict(self.cell.options.set)
        for name in list(rest):
            if name in mine and name not in others and role_of(name) is None and not has_more:
                item = mine[name]
                given = (name, rest.pop(name), item.annotation, item.default)
                self._set[name] = call_user("--set", value_of, *given)
        options = dataclasses.replace(self.cell.options, set=rest)
        self.cell = dataclasses.replace(self.cell, options=options)

    def value(self, name, is_required):
        """(whether it is known, the value). A default of the author's stays unless --set says
        otherwise."""
        if name in self._set:
            return True, self._set[name]
        is_wanted = is_required or name in self.cell.options.set
        return is_wanted and name in self._values, self._values.get(name)


@dataclasses.dataclass
class Found:
    """A model that was made: its Parts, its vocabulary where it says one, the loss beside it."""

    parts: object
    vocab_size: int  # None = it says none
    config: dict  # as Source has them
    chosen: str
    loss: object
    loss_name: str


class _Maker:
    def __init__(self, cell, precision, key):
        self._precision = precision
        self._key = key
        self._ref = cell.model_ref
        self._known = Known(cell)
        self._vocab_size = None
        self._config = self._chosen = None
        self._beside = {}  # the names of the module
        self._what = "apply"
        sample = jnp.zeros((1, cell.seq_len), jnp.int32)
        self._context = Context(key, sample, cell.mode == "train")

    # --- what the name means ---------------------------------------------------------------------

    def find(self):
        module_ref, colon, name = self._ref.rpartition(":")
        target = find_target(self._ref)
        if colon:
            self._beside = find_target(f"{module_ref}:__dict__")
        path, _, last = name.rpartition(".")
        self._what = last
        if inspect.ismethod(target) and not inspect.isclass(target.__self__):
            target = self._of_holder(target.__self__, target, target.__name__)
        elif path:
            target = self._of_holder(find_target(f"{module_ref}:{path}"), target, last)
        parts = None if inspect.isclass(target) else self._parts(target)
        holder = target
        if parts is None:
            if not callable(target):
                raise model_error(
                    f"{self._ref} is a {type(target).__name__}, not a class, a function or a pair "
                    f"of init and apply"
                )
            holder = self._call_factory(target)
            if path and inspect.isclass(target) and not self._is_library_class(target):
                holder = self._method_pair(holder, last)
            parts = self._parts(holder)
        if parts is None:
            raise model_error(
                f"{self._ref} gave a {type(holder).__name__}; wanted are a Flax or Equinox module, "
                f"a pair of init and apply, or parameters with the function that takes them"
            )
        loss = self._loss_beside(holder, target)
        return Found(parts, self._vocab_size, self._config, self._chosen, *loss)

    def _is_library_class(self, target):
        return any(is_class_of(target, name) for name in ("flax.linen", "flax.nnx", "equinox"))

    def _of_holder(self, holder, target, name):
        """An attribute of a class or of an object: the object is the model, or has the init."""
        if inspect.isclass(holder):
            found = inspect.getattr_static(holder, name)
            is_static = isinstance(found, (staticmethod, classmethod))
            if not is_static or self._is_library_class(holder):
                return holder
            return self._method_pair(holder, name)
        if inspect.ismodule(holder):
            self._beside = vars(holder)
            return target
        if any(is_of(holder, library) for library in ("flax.linen", "flax.nnx", "equinox")):
            return holder
        return self._method_pair(holder, name)

    def _method_pair(self, holder, name):
        init = _first(lambda one: getattr(holder, one, None), _INIT_NAMES)
        apply = getattr(holder, name)
        if init is None:
            return apply
        loss = {one: getattr(holder, one) for one in _LOSS_NAMES if hasattr(holder, one)}
        return types.SimpleNamespace(init=init, apply=apply, **loss)

    def _parts(self, value):
        """None where it is no model, but may be what makes one."""
        library = take_apart(value, self._context, self._known)
        if library is not None:
            return library
        if isinstance(value, dict) and callable(value.get("init")):
            value = types.SimpleNamespace(**value)
        pair = _pair(value)
        if pair is not None:
            return self._from_pair(*pair)
        if type(value) in (tuple, list):
            return self._of_items(value)
        if callable(getattr(value, "apply_fn", None)) and hasattr(value, "params"):
            return self._from_train_state(value)
        if not callable(value):
            return None
        if _is_tree(value):
            return from_callable_tree(value, self._context, self._known)
        if takes_params(value) or (self._init() is not None and self._wants_two(value)):
            return self._from_apply(value)
        return None

    def _wants_two(self, function):
        """Whether it asks for parameters and tokens under names of its own: for two things, none of
        which a factory is given."""
        wanted = [
            name
            for name, item in parameters_of(function).items()
            if item.default is item.empty
            and item.kind not in (item.VAR_POSITIONAL, item.VAR_KEYWORD)
        ]
        if not wanted and not inspect.isclass(function):
            kinds = [item.kind for item in parameters_of(function).values()]
            return inspect.Parameter.VAR_POSITIONAL in kinds[:1]
        given = {*self._known.cell.options.set, *_CONFIG_NAMES, "seed", "dtype", "param_dtype"}
        return len(wanted) > 1 and not any(
            name in given or role_of(name) or spec_key(name) for name in wanted
        )

    def _init(self):
        name = self._what
        others = [name.replace(word, "init") for word in ("apply", "forward") if word in name]
        return _first(self._beside.get, [*others, *_INIT_NAMES])

    def _from_apply(self, apply):
        init = self._init()
        if init is not None:
            return self._from_pair(init, apply)
        params = self._beside.get("params")
        if params is not None and not callable(params):
            return from_functions(params, apply, self._what, self._context, self._known)
        raise model_error(
            f"{self._ref} takes params: its module needs a function init(key, ...) that makes them"
        )

    def _of_items(self, items):
        """(model, params), (params, apply), (module, state), (graphdef, state)"""
        if len(items) != 2:
            return None
        for model, rest in (items, items[::-1]):
            if is_of(model, "flax.linen"):
                known = rest if "params" in rest else {"params": rest}
                return from_linen(model, self._context, self._known, known)
            if is_of(model, "equinox") and is_of(rest, "equinox.nn", "State"):
                return from_equinox(model, self._context, self._known, state=rest)
            if is_of(model, "flax.nnx", "GraphDef"):
                from flax import nnx

                return self._parts(nnx.merge(model, rest))
            if callable(model) and not callable(rest) and _is_tree(rest):
                return from_functions(rest, model, _name_of(model), self._context, self._known)
        return None

    def _from_train_state(self, state):
        module = getattr(state.apply_fn, "__self__", None)
        if is_of(module, "flax.linen"):
            more = {
                name: getattr(state, name) for name in ("batch_stats",) if hasattr(state, name)
            }
            return from_linen(module, self._context, self._known, {"params": state.params, **more})
        return from_functions(state.params, state.apply_fn, "apply_fn", self._context, self._known)

    # --- making ----------------------------------------------------------------------------------

    def _offered(self, function, is_train):
        """What a factory gets besides the settings, made only if it is asked for."""
        parameters = parameters_of(function)
        given = self._context.given(is_train)
        offered = {}
        for name, parameter in parameters.items():
            role = role_of(name)
            is_required = parameter.default is parameter.empty
            if name in ROLES["key"].split():
                offered[name] = self._key
            elif role == "rngs":
                from flax import nnx

                offered[name] = nnx.Rngs(self._known.cell.seed & 0x7FFFFFFF)
            elif role in ("tokens", "train", "eval") and is_required:
                offered[name] = given[role]
        plain = {
            "seed": self._known.cell.seed & 0x7FFFFFFF,
            "dtype": self._precision.compute_dtype,
            "param_dtype": self._precision.param_dtype,
        }
        return {**offered, **{name: plain[name] for name in plain if name in parameters}}

    def _call_factory(self, target):
        function = target
        if is_class_of(target, "equinox") and "state" in method_parameters(target):
            import equinox as eqx

            function = eqx.nn.make_with_state(target)
        offered = self._offered(target, self._context.is_train)
        model = self._call(self._ref, target, offered, function)
        if self._vocab_size is None:
            self._vocab_size = vocabulary_of_config(getattr(model, "config", None))
        options = dataclasses.replace(self._known.cell.options, set={})
        self._known.cell = dataclasses.replace(self._known.cell, options=options)
        return model

    def _call(self, what, target, offered, function=None):
        call = arguments(self._known.cell, target, what, offered)
        self._known.add(call.kwargs, call.config)
        if call.vocab_size is not None:
            self._vocab_size = call.vocab_size
        made = call_user(what, function or target, *call.args, **call.kwargs)
        config, chosen = call.report(made if hasattr(made, "__dict__") else None)
        if is_of(made, "flax.linen"):  # every module has these fields
            config = {name: one for name, one in config.items() if name not in ("parent", "name")}
        self._config = Verbatim({**(self._config or {}), **(config or {})}) or None
        self._chosen = ", ".join(filter(None, (self._chosen, chosen))) or None
        return made

    def _from_pair(self, init, apply):
        if _is_apply_first(init, apply):
            init, apply = apply, init
        offered = self._offered(init, True)  # what training needs is made: statistics among it
        names = [name for name, item in parameters_of(init).items()
                 if item.default is item.empty and item.kind is not item.VAR_KEYWORD]
        if names and names[0] not in offered and role_of(names[0]) is None:
            if names[0] not in _CONFIG_NAMES and spec_key(names[0]) is None:
                offered[names[0]] = self._key
        self._known.take_set(apply, init)
        made = self._call("init", init, offered)
        state = None
        parameters = parameters_of(apply)
        takes_state = any(
            role_of(name) == "state" and item.default is item.empty
            for name, item in parameters.items()
        )
        if takes_state:
            if type(made) not in (tuple, list) or len(made) != 2:
                raise model_error(
                    f"{self._what} takes a state: init has to give (params, state), and gave a "
                    f"{type(made).__name__}"
                )
            made, state = made
        is_named = self._beside.get(self._what) is apply
        what = self._what if is_named else _name_of(apply)
        return from_functions(made, apply, what, self._context, self._known, state)

    # --- a loss of its own -----------------------------------------------------------------------

    def _loss_beside(self, holder, target):
        """(loss function, its name) of the object, or beside a function in its module."""
        places = []
        if not inspect.ismodule(holder) and not _is_tree(holder):
            places.append(lambda name: getattr(holder, name, None))
        places.append(self._beside.get)
        for place in places:
            for name in _LOSS_NAMES:
                loss = place(name)
                if callable(loss) and loss is not target and not inspect.isclass(loss):
                    return loss, name
        return None, ""


def _first(get, names):
    return next((found for found in map(get, names) if callable(found)), None)


def _pair(value):
    """(init, apply) of an object, module or tuple that has them; None when it has not."""
    if type(value) in (tuple, list) and len(value) in (2, 3) and all(map(callable, value)):
        return tuple(value[:2])
    init = _first(lambda name: getattr(value, name, None), _INIT_NAMES)
    apply = _first(lambda name: getattr(value, name, None), _APPLY_NAMES)
    is_function = inspect.isroutine(value) or hasattr(value, "__wrapped__")
    return (init, apply) if init and apply and not is_function else None


def _is_apply_first(init, apply):
    """(apply, init) in place of (init, apply)."""
    first = {role_of(name) for name in parameters_of(init)}
    second = {role_of(name) for name in parameters_of(apply)}
    return "params" in first and "params" not in second and "tokens" not in second


def _is_tree(value):
    """Whether JAX takes it apart, and finds arrays."""
    leaves = jax.tree_util.tree_leaves(value)
    return not (len(leaves) == 1 and leaves[0] is value) and any(map(is_array, leaves))


def _name_of(function):
    inner = function
    for _ in range(20):
        name = getattr(inner, "__name__", None)
        if name:
            return name
        inner = getattr(inner, "func", None)
    return type(function).__name__


def find(cell, precision, key):
    """The model as Found."""
    return _Maker(cell, precision, key).find()
