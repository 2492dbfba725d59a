"""A configuration for code that does not say which it wants: every setting under every name."""
import dataclasses
import types

from .call_slots import Slot, without_none
from .config_fill import set_value
from .made_config import SET, TOKMARK, Filled
from .setting_names import ALIASES, spec_key
from .setting_text import EMPTY

class AnyNameConfig(types.SimpleNamespace):
    """Every setting under every name people use, if no class says which it wants. Knows which
    were read, so that only those are said to have been chosen."""

    __slots__ = ("_names_read",)

    def __init__(self, **values):
        super().__init__(**values)
        self._names_read = set()

    def __getattribute__(self, name):
        if not name.startswith("_"):
            read = getattr(self, "_names_read", None)
            if read is not None:
                read.add(name)
        return super().__getattribute__(name)

    def __getitem__(self, name):
        """As code has it that takes its configuration for a dict."""
        try:
            return getattr(self, name)
        except AttributeError:
            raise KeyError(name) from None

    def __contains__(self, name):
        return hasattr(self, name)

    def get(self, name, default=None):
        return getattr(self, name, default)


class AnyNameDict(dict):
    """The same for code that asks for a dict."""

    def __init__(self, values):
        super().__init__(values)
        self._names_read = set()

    def __getitem__(self, name):
        self._names_read.add(name)
        return super().__getitem__(name)

    def get(self, name, default=None):
        self._names_read.add(name)
        return super().get(name, default)


def same_names(key):
    return {*ALIASES.get(spec_key(key) or "", key).split(), spec_key(key) or key, key}


def _settings_by_name(spec, overrides):
    """(values by name, origins)"""
    values = {}
    for key, names in ALIASES.items():
        values.update({name: getattr(spec, key) for name in names.split() if len(name) > 1})
    values.update({item.name: getattr(spec, item.name) for item in dataclasses.fields(spec)})
    origins = dict.fromkeys(values, TOKMARK)
    for key, text in overrides.items():
        value = set_value("--set", Slot(key, EMPTY, values.get(key, EMPTY)), text)
        for name in same_names(key):
            values[name], origins[name] = value, SET
    return values, origins


def make_any_name(slot, spec, overrides):
    values, origins = _settings_by_name(spec, overrides)
    is_dict = without_none(slot.annotation) is dict
    filled = Filled(values=dict(values), origins=origins)
    filled.is_guessed = True
    filled.same_names = {key: same_names(key) for key in overrides}
    return (AnyNameDict(values) if is_dict else AnyNameConfig(**values)), filled
