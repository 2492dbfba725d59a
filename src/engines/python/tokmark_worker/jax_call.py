"""How a user's JAX function is called: which of its parameters gets what, by name, and where the
logits or the loss are in what it gives.

A function that its author wrapped (jax.jit, jax.checkpoint, functools.partial, eqx.filter_jit, a
bound method) is called as what it is; only its signature is looked at.
"""
import inspect

import jax
import jax.numpy as jnp
import optax

from .errors import model_error
from .output_parts import TARGET_WORDS, loss_by_name, named, parts_of, row_shapes
from .user_code import call_parameters, pick_logits

# the first of a function's parameters with one of these names gets what stands before them
ROLES = {
    "params": "params parameters variables weights model_params theta model",
    "state": "state model_state net_state states",
    "tokens": "tokens token_ids input_ids input_tokens tokens_in inputs ids idx token toks x xs",
    "targets": "targets labels target label target_ids target_tokens tgt y",
    "logits": "logits preds predictions outputs y_pred logit",
    "batch": "batch data example examples",
    "key": "key rng rng_key prng_key dropout_key dropout_rng",
    "rngs": "rngs",
    "train": "train training is_training is_train",
    "eval": "deterministic inference",
    "attention_mask": "attention_mask padding_mask",
    "positions": "position_ids positions pos_ids",
}
_ROLE_OF = {name: role for role, names in ROLES.items() for name in names.split()}
SWITCHES = [*ROLES["train"].split(), *ROLES["eval"].split()]
# given only to a parameter without a default: a default is what the author runs with
_ONLY_REQUIRED = ("attention_mask", "positions")


def role_of(name):
    return _ROLE_OF.get(name) or ("targets" if TARGET_WORDS.fullmatch(name) else None)


def is_array(value):
    return isinstance(value, (jax.Array, jax.ShapeDtypeStruct)) or (
        hasattr(value, "shape") and hasattr(value, "dtype")
    )


def is_floating(value):
    return jnp.issubdtype(value.dtype, jnp.floating)


def parameters_of(function):
    """A call's parameters by name; {} where they cannot be seen."""
    try:
        return dict(call_parameters(function))
    except (TypeError, ValueError):
        return {}


def method_parameters(kind, name="__call__"):
    """Of a class's method, without self. The class is asked: what wraps a method may hide its
    signature once it is bound."""
    function = getattr(kind, name, None)
    if function is None:
        raise model_error(f"{kind.__name__} has no {name}: it cannot be called with tokens")
    return dict(list(parameters_of(function).items())[1:])


def takes_params(function):
    """Whether it is an apply(params, tokens) by its parameters' names."""
    roles = {role_of(name) for name in parameters_of(function)}
    return "tokens" in roles or "params" in roles


def innermost(function):
    """The function inside partials and wrappers."""
    for _ in range(20):
        inner = getattr(function, "func", None) or getattr(function, "__wrapped__", None)
        if not callable(inner):
            break
        function = inner
    return function


def _axes_of_vmap(function):
    """in_axes of a function that jax.vmap gave, wrapped or not; None for any other. What vmap maps
    it takes by position, and no further arguments."""
    while function is not None:
        inner = function
        for _ in range(2):  # JAX's own wrapper for shorter tracebacks lies around it
            code = getattr(inner, "__code__", None)
            if code is None:
                break
            held = dict(zip(code.co_freevars, inner.__closure__ or ()))
            if code.co_name == "vmap_f" and "in_axes" in held:
                return held["in_axes"].cell_contents
            inner = held["fun"].cell_contents if "fun" in held else None
        function = getattr(function, "__wrapped__", None)
    return None


def _is_required(parameter):
    return parameter.default is parameter.empty and parameter.kind not in (
        parameter.VAR_POSITIONAL,
        parameter.VAR_KEYWORD,
    )


class Call:
    """A function's parameters, and what each gets.

    `leading`: roles that come first and have their place by position where no name says which
    they are ("params", "tokens"). `known`: what else there is by a parameter's name.
    """

    def __init__(self, what, parameters, leading, known=None, function=None):
        self.what = what
        self._axes = _axes_of_vmap(function)
        self._items = []  # (name, kind, role or None, value, is required)
        self._rest = []  # roles for *args
        self._defaults = {}
        found = self._named_roles(parameters, leading)
        self._place_leading(parameters, leading, found)
        for name, parameter in parameters.items():
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                continue
            is_required = _is_required(parameter)
            is_known, value = known.value(name, is_required) if known else (False, None)
            if name in found:
                self._items.append((name, parameter.kind, found[name], None, is_required))
            elif is_known:
                self._items.append((name, parameter.kind, None, value, True))
            elif is_required:
                raise model_error(
                    f"{what} asks for '{name}'; it gets params, tokens, targets, key, train, "
                    f"attention_mask and position_ids by name, and what init or --set gives"
                )
            else:
                self._items.append((name, parameter.kind, None, None, False))
            self._defaults[name] = parameter.default
        if isinstance(self._axes, (tuple, list)):
            self._items = self._items[: len(self._axes)]

    def _named_roles(self, parameters, leading):
        found, taken = {}, set()
        for name, parameter in parameters.items():
            role = role_of(name)
            is_meant = role in leading or role not in ("params", "state", "logits", "batch")
            if role and is_meant and role not in taken and (
                role not in _ONLY_REQUIRED or _is_required(parameter)
            ):
                found[name] = role
                taken.add(role)
        return found

    def _place_leading(self, parameters, leading, found):
        """By position what no name told."""
        missing = [role for role in leading if role not in found.values()]
        for name, parameter in parameters.items():
            if parameter.kind is parameter.VAR_POSITIONAL:
                self._rest, missing = missing, []
            if not missing:
                break
            may_be = parameter.kind in (
                parameter.POSITIONAL_ONLY,
                parameter.POSITIONAL_OR_KEYWORD,
            )
            if may_be and name not in found and _is_required(parameter):
                found[name] = missing.pop(0)
        if missing and not parameters:
            self._rest, missing = missing, []
        if missing:
            raise model_error(
                f"{self.what} takes {', '.join(parameters) or 'nothing'}, and none of it is "
                f"{missing[0]}"
            )

    def takes(self, role):
        return any(item[2] == role for item in self._items)

    def requires(self, role):
        return any(item[2] == role and item[4] for item in self._items)

    def bind(self, given):
        """(args, kwargs) for what is there; a role without a value keeps the author's default."""
        args, kwargs = [], {}
        is_positional = True
        tokens = given.get("tokens")
        for at, (name, kind, role, value, is_required) in enumerate(self._items):
            if role is not None:
                value = given.get(role)
                if role in ("train", "eval") and value is self._defaults[name]:
                    value = None  # the author's default says it: a wrapper may take no more
                if value is None and is_required:
                    value = self._made(role, given, tokens)
                    if value is None:
                        raise model_error(
                            f"{self.what} asks for '{name}', which only training has; give it a "
                            f"default, or measure train"
                        )
                if role == "key" and self._is_mapped(at) and value is not None:
                    value = jax.random.split(value, tokens.shape[0])
            if value is None and not (role is None and is_required):
                is_positional = False
                continue
            if is_positional and kind is not inspect.Parameter.KEYWORD_ONLY:
                args.append(value)
            else:
                kwargs[name] = value
        args += [given.get(role) for role in self._rest]
        return args, kwargs

    def _is_mapped(self, at):
        return isinstance(self._axes, (tuple, list)) and self._axes[at] is not None

    def _made(self, role, given, tokens):
        """What only a parameter without a default gets."""
        if role == "attention_mask":
            return jnp.ones(tokens.shape, jnp.int32)
        if role == "positions":
            places = jnp.arange(tokens.shape[-1], dtype=jnp.int32)
            return jnp.broadcast_to(places, tokens.shape)
        if role == "key":
            return given.get("spare_key")
        return None

    def text(self, given):
        """"apply(params, tokens, train=True)"; given: the roles that have a value, as in bind."""
        words = []
        for name, _, role, value, is_required in self._items:
            if role in ("train", "eval"):
                if role in given and given[role] is not self._defaults[name]:
                    words.append(f"{name}={given[role]}")
            elif (role in given or is_required) and (role or value is not None):
                words.append(name)
        return f"{self.what}({', '.join([*words, *self._rest])})"


# --- what comes out ------------------------------------------------------------------------------


def _is_loss(value):
    return is_array(value) and tuple(value.shape) == () and is_floating(value)


def wide_parts(out):
    """[(name, array)] of what may be logits in an output of several: floating point, three dims."""
    return [
        (name, value) for name, value in parts_of(out, is_array)
        if is_array(value) and len(value.shape) == 3 and is_floating(value)
    ]


def logits_of(out, width=None):
    """Logits; or, of a tuple, an object or a dict, what is called so, or the first array of three
    dims. `width`: the vocabulary, where it is known."""
    if is_array(out) or is_array(named(out, "logits")):
        return pick_logits(out, is_array)
    parts = wide_parts(out)
    parts.sort(key=lambda part: ("logits" not in str(part[0]), part[1].shape[-1] != width))
    return parts[0][1] if parts else pick_logits(out, is_array)


def loss_of(logits, targets):
    """Cross-entropy, mean over B T, in fp32."""
    return optax.softmax_cross_entropy_with_integer_labels(
        logits.astype(jnp.float32), targets
    ).mean()


def numbers_without_names(out):
    """Of an output in several parts: which of them is the loss, no name says."""
    if is_array(out) or named(out, "loss") is not None:
        return []
    return [value for name, value in parts_of(out, is_array)
            if name is None and is_array(value) and _is_loss(value)]


def row_losses(out, tokens_shape):
    """What in an output may be a loss of every token, or of every row."""
    shapes = row_shapes(tokens_shape)
    parts = [(None, out)] if is_array(out) else parts_of(out, is_array)
    return [value for _, value in parts if is_array(value) and is_floating(value) and tuple(value.shape) in shapes]


def loss_in(out, number=0):
    """The loss in what a call with targets gave, of several numbers without names the one at `number`; None where
    there is none."""
    if _is_loss(out):
        return out
    if is_array(out):
        return None
    found = named(out, "loss")
    if found is not None:
        return found if is_array(found) and _is_loss(found) else None
    numbers = [(name, value) for name, value in parts_of(out, is_array)
               if is_array(value) and _is_loss(value)]
    unnamed = numbers_without_names(out)
    if unnamed:
        return None if number is None else unnamed[number]
    return loss_by_name(numbers)
