"""The text of `--set NAME=TEXT` as a value of the type that its field or parameter has."""
import collections.abc
import contextlib
import dataclasses
import enum
import inspect
import json
import pathlib
import re
import sys
import types
import typing

EMPTY = inspect.Parameter.empty
NONE_WORDS = ("none", "null")
_TRUTHS = {"true": True, "1": True, "false": False, "0": False}
_LISTS = {
    list: list, tuple: tuple, set: set, frozenset: frozenset,
    collections.abc.Sequence: list, collections.abc.Iterable: list,
}
# Of a union's members the strictest is tried first: every text is a str.
_RANK = {bool: 0, int: 1, float: 2, str: 9}


def value_of(name, text, annotation=EMPTY, default=EMPTY):
    """The value that `text` stands for; a JSON value that is no text is taken as it is. ValueError
    says in one sentence why it stands for none."""
    if not isinstance(text, str):
        return float(text) if default.__class__ is float and type(text) is int else text
    if default is None and text.lower() in NONE_WORDS:
        return None
    has_default = default is not EMPTY and default is not None
    if annotation in (EMPTY, typing.Any, object):
        return _read(name, text, _kind_of(default)) if has_default else guess(text)
    if has_default and annotation in _RANK and type(default) in _RANK:
        # `x: int = 0.5`: the author's words do not agree, so either will do
        with contextlib.suppress(ValueError):
            return _read(name, text, annotation)
        return _read(name, text, type(default))
    return _read(name, text, annotation)


def guess(text):
    """A value where nothing tells its type: a number, a truth value, None, a JSON list or object,
    else the text itself."""
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            if any(char.isdigit() for char in text):
                return kind(text)
    word = text.lower()
    if word in ("true", "false"):
        return word == "true"
    if word in NONE_WORDS:
        return None
    if text[:1] in ("[", "{"):
        with contextlib.suppress(ValueError):
            return json.loads(text)
    return text


def _kind_of(default):
    if isinstance(default, (list, tuple)) and default:
        kinds = {type(item) for item in default}
        inner = kinds.pop() if len(kinds) == 1 else typing.Any
        return tuple[inner, ...] if isinstance(default, tuple) else list[inner]
    return type(default)


def _read(name, text, kind):
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return _read(name, text, inner[0])
    if isinstance(kind, dataclasses.InitVar):
        return _read(name, text, kind.type)
    if isinstance(kind, typing.NewType):
        return _read(name, text, kind.__supertype__)
    if isinstance(kind, typing.TypeVar) or kind in (typing.Any, object):
        return guess(text)
    if kind in (None, types.NoneType):
        return _read_none(name, text)
    if origin in (typing.Union, types.UnionType):
        return _read_union(name, text, inner)
    if origin is typing.Literal:
        return _read_word(name, text, {str(value): value for value in inner})
    if (origin or kind) in _LISTS:
        return _read_list(name, text, origin or kind, inner)
    if (origin or kind) in (dict, collections.abc.Mapping):
        return _read_object(name, text)
    if isinstance(kind, type):
        return _read_plain(name, text, kind)
    raise ValueError(f"{name} takes a {kind}, which no text can say")


def _read_none(name, text):
    if text.lower() not in NONE_WORDS:
        raise ValueError(f"{name} can only be none, not '{text}'")


def _read_union(name, text, members):
    if types.NoneType in members and text.lower() in NONE_WORDS:
        return None
    members = sorted(
        (kind for kind in members if kind is not types.NoneType),
        key=lambda kind: _RANK.get(kind, 5),
    )
    for kind in members[:-1]:
        with contextlib.suppress(ValueError):
            return _read(name, text, kind)
    return _read(name, text, members[-1])


def _read_word(name, text, values):
    if text not in values:
        raise ValueError(f"{name} must be one of {', '.join(values)}, not '{text}'")
    return values[text]


def _read_list(name, text, kind, inner):
    """A JSON list, or items between commas; parentheses around them do no harm."""
    items = None
    if text.startswith("["):
        with contextlib.suppress(ValueError):
            items = json.loads(text)
    if not isinstance(items, list):
        stripped = text.strip("()[] ")
        items = [item.strip() for item in stripped.split(",")] if stripped else []
        if items and not items[-1]:
            items.pop()  # as in "(4,)"
    is_fixed = kind is tuple and inner and inner[-1] is not Ellipsis
    if is_fixed and len(items) != len(inner):
        raise ValueError(f"{name} takes {len(inner)} values, not {len(items)} ('{text}')")
    kinds = inner if is_fixed else [inner[0] if inner else typing.Any] * len(items)
    values = [
        _read(name, item if isinstance(item, str) else json.dumps(item), one)
        for item, one in zip(items, kinds)
    ]
    return _LISTS[kind](values)


def _read_object(name, text):
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise ValueError(f"{name} must be a JSON object, not '{text}'")
    return value


def _read_plain(name, text, kind):
    if kind is bool:
        if text.lower() not in _TRUTHS:
            raise ValueError(f"{name} must be true or false, not '{text}'")
        return _TRUTHS[text.lower()]
    if kind in (int, float):
        return _read_number(name, text, kind)
    if kind is str:
        return text
    if issubclass(kind, enum.Enum):
        words = {str(item.value): item for item in kind}
        words.update({item.name.lower(): item for item in kind})
        words.update({item.name: item for item in kind})
        found = words.get(text, words.get(text.lower()))
        return found if found is not None else _read_word(
            name, text, {item.name: item for item in kind}
        )
    if issubclass(kind, pathlib.PurePath):
        return kind(text)
    # such as torch.dtype: a name in the type's own module
    word = text.rpartition(".")[2]
    found = getattr(sys.modules.get(kind.__module__), word, None)
    if isinstance(found, kind):
        return found
    raise ValueError(f"{name} takes a {kind.__module__}.{kind.__qualname__}; '{text}' names none")


def _read_number(name, text, kind):
    with contextlib.suppress(ValueError):
        return kind(text)
    if kind is int and _is_number(text) and re.match("-?[0-9]", text):
        number = float(text)
        if number.is_integer():  # 1e6, 2.0
            return int(number)
    what = "whole number" if kind is int and _is_number(text) else "number"
    raise ValueError(f"{name} must be a {what}, not '{text}'")


def _is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True
