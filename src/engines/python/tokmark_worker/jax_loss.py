"""Whose loss a training step has: the one that the model's call gives when it is told the targets,
the one that its author put beside it, else tokmark's cross-entropy of the logits."""
import dataclasses
import functools

import jax
import jax.numpy as jnp

from .errors import WorkerError, describe_error, model_error
from .jax_call import (
    ROLES, Call, logits_of, loss_in, loss_of, numbers_without_names, parameters_of, role_of, row_losses,
)
from .jax_precision import needs


@dataclasses.dataclass
class Chosen:
    """function(params, state, tokens, targets, key, is_train) -> (loss, new state); None: the loss
    of the logits."""

    function: object = None
    source: str = "tokmark"
    notes: list = dataclasses.field(default_factory=list)
    tells_targets: bool = False

    def targets(self, tokens):
        """What the model's call is told."""
        return tokens if self.tells_targets else None


def choose_loss(found, model, params, state, tokens, key, mode):
    """Traced, never run; only in training."""
    if mode != "train":
        return Chosen()
    chosen = _choose(found, model, params, state, tokens, key)
    if chosen.source == "model" and _skips_first(chosen.function, params, state, tokens, key):
        return dataclasses.replace(
            chosen, function=_on_tokens(chosen.function),
            notes=[*chosen.notes, "the loss shifts its labels itself: they are the tokens"],
        )
    return chosen


def _choose(found, model, params, state, tokens, key):
    call = found.parts.call
    if call.takes("targets"):
        number = _number_of_targets(model, params, state, tokens, key)

        def told(params, state, tokens, targets, key, is_train):
            given = model.given(state, tokens, key, is_train, targets)
            out, state = model.run(params, state, given)
            loss = loss_in(out, number)
            return loss_of(logits_of(out, model.width), targets) if loss is None else loss, state

        if _gives_loss(model, params, state, tokens, key, number):
            return Chosen(told, "model", [f"loss of {call.what}"], True)
        _require_no_row_losses(model, params, state, tokens, key)
        if call.requires("targets"):
            return Chosen(told, "tokmark", [], True)
    if found.loss is None:
        return Chosen()
    return _beside(found, model, (params, state, tokens, tokens, key, True))


def _gives_loss(model, params, state, tokens, key, number):
    found = []

    def run(params, state, tokens, key):
        out, _ = model.run(params, state, model.given(state, tokens, key, True, tokens))
        loss = loss_in(out, number)
        found.append(loss is not None)
        return () if loss is None else loss

    jax.eval_shape(run, params, state, tokens, key)
    return found[0]


def _follow_targets(pick, model, params, state, tokens, key):
    """Whether each of the values that pick(output) gives needs the targets."""

    def run(targets, params, state, tokens, key):
        out, _ = model.run(params, state, model.given(state, tokens, key, True, targets))
        return pick(out)

    traced = jax.make_jaxpr(run)(tokens, params, state, tokens, key).jaxpr
    count = len(traced.outvars)
    return [needs(traced, [one == at for one in range(count)])[0] for at in range(count)]


def _number_of_targets(model, params, state, tokens, key):
    """Which of several numbers without names is the loss: the first that follows the targets and has a gradient, as an
    accuracy or a perplexity beside it has none; None when none does."""
    follows = _follow_targets(numbers_without_names, model, params, state, tokens, key)
    return next(
        (at for at, does in enumerate(follows) if does and _has_gradient(at, model, params, state, tokens, key)), None
    )


def _has_gradient(number, model, params, state, tokens, key):
    def run(params, state, tokens, key):
        out, _ = model.run(params, state, model.given(state, tokens, key, True, tokens))
        return numbers_without_names(out)[number].astype(jnp.float32)

    traced = jax.make_jaxpr(jax.grad(run))(params, state, tokens, key).jaxpr
    return any(needs(traced, [True] * len(traced.outvars)))


def _require_no_row_losses(model, params, state, tokens, key):
    """A loss of tokmark's in place of one of every token or row would be another."""
    shapes = []

    def pick(out):
        found = row_losses(out, tokens.shape)
        shapes.extend(tuple(value.shape) for value in found)
        return found

    follows = _follow_targets(pick, model, params, state, tokens, key)
    for shape, does in zip(shapes, follows):
        if does:
            raise model_error(f"the model gives, with targets, {shape}: a loss is one number, such as its mean")


# --- labels that are shifted inside ---


def _on_tokens(function):
    return lambda params, state, tokens, _targets, *rest: function(params, state, tokens, tokens, *rest)


def _skips_first(function, params, state, tokens, key):
    """Whether the loss has no use for a row's first label: it sets each position against the next one."""
    if tokens.shape[1] < 3:
        return False

    def loss_of_targets(targets, params, state, tokens, key):
        return function(params, state, tokens, targets, key, True)[0]

    traced = jax.make_jaxpr(loss_of_targets)(tokens, params, state, tokens, key).jaxpr
    return _is_cut(traced, traced.invars[0])


def _is_cut(traced, value):
    """Whether all that is done with the value is to take it from its second column on."""
    uses = [(one, at) for one in traced.eqns for at, given in enumerate(one.invars) if given is value]
    return bool(uses) and value not in traced.outvars and all(_cuts(one, at) for one, at in uses)


def _cuts(operation, at):
    if operation.primitive.name == "slice":
        width = operation.invars[0].aval.shape[-1]
        given = operation.params
        return given["start_indices"][-1] == 1 and given["limit_indices"][-1] == width
    inner = operation.params.get("jaxpr") or operation.params.get("call_jaxpr")
    inner = getattr(inner, "jaxpr", inner)  # what is closed over its constants
    invars = getattr(inner, "invars", ())
    return len(invars) == len(operation.invars) and _is_cut(inner, invars[at])


# --- a function beside the model -----------------------------------------------------------------


def _batches(tokens, targets):
    """The forms that people give a batch, until one is taken."""
    named = {}
    for role, value in (("tokens", tokens), ("targets", targets)):
        named.update((name, value) for name in ROLES[role].split())
    yield named
    yield tokens, targets
    yield jnp.concatenate([tokens, targets[:, -1:]], axis=1)


def _beside(found, model, arguments):
    name = found.loss_name
    parameters = parameters_of(found.loss)
    roles = {role_of(one) for one in parameters}
    leading = [role for role in ("params", "state", "logits", "batch") if role in roles]
    try:
        if not roles & {"params", "logits"}:
            raise model_error("it takes neither parameters nor logits by a name that is known")
        if "params" in roles and found.parts.rebuilt is None:
            raise model_error(f"it takes parameters of a {found.parts.kind} model")
        call = Call(name, parameters, leading, None, found.loss)
    except WorkerError as error:
        return Chosen(notes=[f"{name} beside the model is not used: {error.text}"])
    said = "no form of a batch fits"
    for form in range(3 if "batch" in roles else 1):
        function = _loss_function(found, model, call, form)
        try:
            loss, _ = jax.eval_shape(functools.partial(function, is_train=True), *arguments[:-1])
        except WorkerError as error:
            said = error.text
        except Exception as error:
            said = describe_error(error)
        else:
            if loss.shape == ():
                return Chosen(function, "model", [f"loss of {name}"])
    return Chosen(notes=[f"{name} beside the model is not used: {said}"])


def _loss_function(found, model, call, form):
    """`form`: which of _batches."""

    def function(params, state, tokens, targets, key, is_train):
        given = {**model.given(state, tokens, key, is_train, targets), "state": state["own"]}
        given["batch"] = list(_batches(tokens, targets))[form]
        if call.takes("params"):
            given["params"] = found.parts.rebuilt(model.tree(params, state), state["own"], given)
        else:
            out, state = model.apply(params, state, tokens, key, is_train)
            given["logits"] = logits_of(out)
        args, kwargs = call.bind(given)
        with model.author_rules():
            out = found.loss(*args, **kwargs)
        loss = loss_in(out)
        if loss is None:
            raise model_error(f"{call.what} gives no scalar")
        return loss, _new_state(out, state)

    return function


def _new_state(out, state):
    """The state among what a loss gives, known by its structure; else the one from before."""
    own = state["own"]
    treedef = jax.tree_util.tree_structure(own)
    if treedef.num_leaves == 0 or not isinstance(out, tuple):
        return state
    for item in out[1:]:
        for one in (item, *(item if isinstance(item, (tuple, list)) else ())):
            if jax.tree_util.tree_structure(one) == treedef:
                return {**state, "own": one}
    return state
