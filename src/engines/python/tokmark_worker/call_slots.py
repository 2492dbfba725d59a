"""What a call takes: the parameters of a function or class, with their types and defaults."""
import dataclasses
import sys
import types
import typing

from .setting_text import EMPTY
from .user_code import call_parameters, call_user

@dataclasses.dataclass(frozen=True)
class Slot:
    """A parameter or a dataclass's field: EMPTY where there is no annotation or default."""

    name: str
    annotation: object
    default: object
    is_positional: bool = False

    @property
    def is_required(self):
        return self.default is EMPTY


def slots_of(function):
    """(slots, whether it takes any other keyword too) of a call. TypeError or ValueError where a
    signature cannot be seen."""
    parameters = call_parameters(function)
    hints = _hints(function)
    factories = {}
    if isinstance(function, type) and dataclasses.is_dataclass(function):
        factories = {
            item.name: item.default_factory
            for item in dataclasses.fields(function)
            if item.default_factory is not dataclasses.MISSING
        }
    slots, takes_more = [], False
    for name, item in parameters.items():
        if item.kind in (item.VAR_POSITIONAL, item.VAR_KEYWORD):
            takes_more |= item.kind is item.VAR_KEYWORD
            continue
        default = item.default
        if name in factories and default is not EMPTY:
            default = call_user(f"{function.__name__}.{name}", factories[name])
        annotation = hints.get(name, item.annotation)
        slots.append(Slot(name, annotation, default, item.kind is item.POSITIONAL_ONLY))
    return slots, takes_more


def _hints(function):
    """Annotations as types; one that cannot be resolved is left out."""
    function = getattr(function, "func", function)  # a partial
    whose = [function]
    if isinstance(function, type) and not dataclasses.is_dataclass(function):
        whose = [function.__init__]
    hints = {}
    for source in whose:
        try:
            hints.update(typing.get_type_hints(source))
        except Exception:  # a name that is not there, or anything that an annotation may do
            raw = {}
            for part in reversed(getattr(source, "__mro__", (source,))):
                raw.update(getattr(part, "__annotations__", {}))
            names = vars(sys.modules.get(getattr(source, "__module__", ""), types))
            hints.update((key, _resolved(text, names)) for key, text in raw.items())
    return hints


def _resolved(annotation, names):
    if not isinstance(annotation, str):
        return annotation
    try:
        return eval(annotation, dict(names))  # the author's own words, as Python itself reads them
    except Exception:
        return EMPTY


def without_none(annotation):
    """X of Optional[X]."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        rest = [one for one in typing.get_args(annotation) if one is not types.NoneType]
        return rest[0] if len(rest) == 1 else annotation
    return annotation


def is_dataclass_type(kind):
    return isinstance(kind, type) and dataclasses.is_dataclass(kind)
