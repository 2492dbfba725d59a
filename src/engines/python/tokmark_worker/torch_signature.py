"""What a module's forward takes, looked up through wrappers and decorators, and which of its
parameters mean tokens and targets."""
import collections.abc
import dataclasses
import inspect
import typing

import torch

from .errors import unsupported
from .output_parts import TARGET_WORDS

TOKEN_NAMES = (
    "input_ids", "idx", "tokens", "token_ids", "input_tokens", "ids", "inputs", "input", "x",
)
TARGET_NAMES = (
    "targets", "labels", "target", "label", "target_ids", "label_ids", "target_tokens",
    "next_tokens", "y_true", "y",
)
_INNER_NAMES = ("_orig_mod", "module", "_forward_module", "_fsdp_wrapped_module")
_WRAPPED_NAMES = ("base_model", "model")  # of wrappers that reach it by a method of theirs
_DEPTH_MAX = 16


def target_name(parameters):
    """The parameter that takes targets; None where there is none. One whose default is a number, a
    truth value or a text takes something else."""
    may_be = [
        name for name, found in parameters.items()
        if not isinstance(found.default, (bool, int, float, str))
    ]
    named = next((name for name in TARGET_NAMES if name in may_be), None)
    if named is not None or {"src", "source"} & set(parameters):
        return named
    return next((name for name in may_be if TARGET_WORDS.fullmatch(name)), None)


def is_no_tensor(annotation):
    """Whether a parameter's annotation says that it takes a dict, a list or an object."""
    kind = typing.get_origin(annotation) or annotation
    if not isinstance(kind, type) or issubclass(kind, torch.Tensor):
        return False
    is_plain = issubclass(kind, (collections.abc.Mapping, list, tuple, str, int, float))
    return is_plain or typing.is_typeddict(kind) or dataclasses.is_dataclass(kind)


# --- one forward ---------------------------------------------------------------------------------


def _schema_parameters(schema):
    """TorchScript says what a forward takes in its own way."""
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    found = {}
    for argument in schema.arguments[1:]:
        default = argument.default_value if argument.has_default_value() else inspect._empty
        found[argument.name] = inspect.Parameter(argument.name, kind, default=default)
    return found


def _decorated(function):
    """The functions that a decorator's wrapper has closed over, when it says nothing of what it
    wraps (no functools.wraps)."""
    found = []
    for cell in getattr(function, "__closure__", None) or ():
        try:
            inner = cell.cell_contents
        except ValueError:  # not there yet
            continue
        if inspect.isfunction(inner):
            found.append(inner)
    return found


def _own_function(module):
    """The function behind module.forward: below its decorators."""
    function = inspect.unwrap(getattr(module.forward, "__func__", module.forward))
    for _ in range(_DEPTH_MAX):
        try:
            kinds = {item.kind for item in inspect.signature(function).parameters.values()}
        except (TypeError, ValueError):
            break
        inner = _decorated(function) if inspect.Parameter.VAR_POSITIONAL in kinds else []
        named = [one for one in inner if one.__name__ == "forward"] or inner
        if len(named) != 1:
            break
        function = inspect.unwrap(named[0])
    return function


def _own_parameters(module):
    schema = getattr(module.forward, "schema", None)
    if schema is not None and hasattr(schema, "arguments"):
        return _schema_parameters(schema)
    try:
        function = _own_function(module)
        parameters = dict(inspect.signature(function).parameters)
        first = next(iter(parameters), None)
        is_bound = function is getattr(module.forward, "__func__", None) or first == "self"
        if is_bound and not inspect.ismethod(function):
            del parameters[first]
    except (TypeError, ValueError):
        return {}
    return _with_types(function, parameters)


def _with_types(function, parameters):
    """Annotations that are texts as what they mean, where that can be found."""
    try:
        hints = typing.get_type_hints(function)
    except Exception:  # a name that is not there, or anything that an annotation may do
        return parameters
    return {
        name: found.replace(annotation=hints.get(name, found.annotation))
        for name, found in parameters.items()
    }


# --- wrappers ------------------------------------------------------------------------------------


def _is_passed_on(parameter):
    return parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)


def _inner(module):
    """The module that a wrapper passes its arguments on to; None when it is not clear."""
    for name in _INNER_NAMES:
        found = getattr(module, name, None)
        if isinstance(found, torch.nn.Module):
            return found
    children = dict(module.named_children())
    code = getattr(_own_function(module), "__code__", None)
    called = [children[name] for name in getattr(code, "co_names", ()) if name in children]
    if len(called) == 1:
        return called[0]
    if len(children) == 1:
        return next(iter(children.values()))
    return next((children[name] for name in _WRAPPED_NAMES if name in children), None)


def find_parameters(module):
    """(parameters by name, whether others reach it by keyword) of what a call of the module comes
    to, looked up through wrappers that only pass arguments on."""
    takes_keywords = True
    is_keyword_only = False
    for _ in range(_DEPTH_MAX):
        parameters = _own_parameters(module)
        kinds = {parameter.kind for parameter in parameters.values()}
        named = [name for name, found in parameters.items() if not _is_passed_on(found)]
        if named or not kinds:
            parameters = _with_passed_on(module, parameters)
            return (_by_keyword(parameters) if is_keyword_only else parameters), takes_keywords
        takes_keywords = takes_keywords and inspect.Parameter.VAR_KEYWORD in kinds
        is_keyword_only = is_keyword_only or inspect.Parameter.VAR_POSITIONAL not in kinds
        inner = _inner(module)
        if inner is None:
            break
        module = inner
    if is_keyword_only:
        raise unsupported(
            "forward takes any keyword and names none: tokmark cannot say under which it wants tokens"
        )
    return {}, takes_keywords


def _by_keyword(parameters):
    only = inspect.Parameter.KEYWORD_ONLY
    return {name: found.replace(kind=only) for name, found in parameters.items()}


def _with_passed_on(module, parameters):
    """forward(tokens, **kwargs) around another module: what that one takes by keyword, too. Around one that would keep
    a cache, as the config says, forward(tokens, labels, **kwargs) passes `use_cache` on."""
    kinds = {parameter.kind for parameter in parameters.values()}
    inner = _inner(module) if inspect.Parameter.VAR_KEYWORD in kinds else None
    parameters = {name: found for name, found in parameters.items() if not _is_passed_on(found)}
    has_targets = target_name(parameters) is not None
    keeps_cache = getattr(getattr(module, "config", None), "use_cache", False) is True
    if inner is None or has_targets and not keeps_cache:
        return parameters
    further = find_parameters(inner)[0]
    wanted = {"use_cache"} if has_targets else {target_name(further), "use_cache"}
    for name in wanted & set(further):
        parameters.setdefault(
            name, further[name].replace(kind=inspect.Parameter.KEYWORD_ONLY, default=None)
        )
    return parameters
