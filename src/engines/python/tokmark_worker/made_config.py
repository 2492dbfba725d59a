"""What a model was made with, read back from what was made: each value, and where it comes from."""
import dataclasses
import enum
import json
import math
import os
import re

from .errors import model_error
from .protocol import Verbatim

DEFAULT, SET, PRESET, TOKMARK, FILE = "default", "--set", "preset", "tokmark", "file"
PRECISION = "--precision"
CONFIG_BYTES_MAX = 64 * 1024
CHOSEN_CHARACTERS_MAX = 200
TYPE_ARGUMENTS = ("dtype", "param_dtype")  # of a constructor; --precision decides
_TEXT_CHARACTERS_MAX = 100
_WHOLE_MAX = 1 << 63
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")  # another in each process


def is_plain(value, or_none=True):
    """A number, a truth value or a text: what can be compared with what was given."""
    return type(value) in (bool, int, float, str) or (or_none and value is None)


@dataclasses.dataclass
class Filled:
    """Values for a call or an object, by name, and where each comes from."""

    values: dict = dataclasses.field(default_factory=dict)
    origins: dict = dataclasses.field(default_factory=dict)
    defaults: dict = dataclasses.field(default_factory=dict)  # of what tokmark chose instead
    missing: list = dataclasses.field(default_factory=list)
    rest: dict = dataclasses.field(default_factory=dict)  # overrides that had no place
    offered: set = dataclasses.field(default_factory=set)  # given by an engine, not a setting
    same_names: dict = dataclasses.field(default_factory=dict)  # of a --set: all names it has
    is_guessed: bool = False  # every setting under every name: unread ones do not count

    def put(self, name, value, origin, default=None):
        self.values[name], self.origins[name] = value, origin
        if origin == TOKMARK and type(default) is int:
            self.defaults[name] = default

    def take_offered(self, name, value):
        origin = PRECISION if name in TYPE_ARGUMENTS else TOKMARK
        self.values[name], self.origins[name] = value, origin
        self.offered.add(name)
        if name in self.missing:
            self.missing.remove(name)

    def add(self, other):
        self.values.update(other.values)
        self.origins.update(other.origins)
        self.defaults.update(other.defaults)

    def chosen(self, name, value):
        """"block_size 512 (its default is 128)" """
        own = f" (its default is {self.defaults[name]})" if name in self.defaults else ""
        return f"{name} {value}{own}"


@dataclasses.dataclass
class Arguments:
    """What a factory is called with: function(*args, **kwargs)."""

    ref: str
    slots: list  # its parameters, but for the configuration
    filled: Filled
    args: tuple = ()
    kwargs: dict = dataclasses.field(default_factory=dict)
    config: object = None  # the configuration among them
    config_filled: Filled = None
    vocab_size: int = None  # None = it says nothing of one

    def is_set(self, *names):
        """Does --set give one of these?"""
        all_filled = [self.filled, self.config_filled or Filled()]
        return any(part.origins.get(name) == SET for part in all_filled for name in names)

    def report(self, model=None):
        """(model_config, model_chosen) of the `ready` message, read back from the objects."""
        report = Report()
        if self.config is not None:
            self._add_config(report, model)
        for slot in self.slots:
            given = self.filled.values.get(slot.name, slot.default)
            origin = self.filled.origins.get(slot.name, DEFAULT)
            if origin == PRECISION:
                report.add(slot.name, getattr(given, "__name__", given), origin)
            if slot.name in self.filled.offered:
                continue
            self._add_argument(report, model, slot.name, given, origin)
        known = {slot.name for slot in self.slots}
        for name, value in self.filled.values.items():  # keywords passed on
            if name not in known and value is not self.config:
                self._add_argument(report, model, name, value, SET)
        return report.fields()

    def _add_argument(self, report, model, name, given, origin):
        found = getattr(model, name, None)
        is_other = is_plain(found, or_none=False) and type(found) is type(given) and found != given
        report.add(name, found if is_other else given, origin)
        if origin == TOKMARK:
            report.choose(self.filled.chosen(name, given))
        elif origin == SET and is_other:
            report.choose(f"{name} is {found} in the model, --set gave {given}")

    def _add_config(self, report, model):
        filled = self.config_filled
        read = set(getattr(self.config, "_names_read", ()))
        names = values_of(self.config)
        if filled.is_guessed and (read or not isinstance(self.config, dict)):
            self._require_read(read, model)
            names = {name: value for name, value in names.items() if name in read}
        for name, value in names.items():
            origin = filled.origins.get(name, DEFAULT)
            report.add(name, value, origin, filled.origins)
            if origin == TOKMARK:
                report.choose(filled.chosen(name, value))
            elif origin == SET and type(value) is type(filled.values[name]) and is_plain(value):
                given = filled.values[name]
                if value != given and given == given:
                    report.choose(f"{name} is {value} in the model, --set gave {given}")

        for name, value in filled.values.items():
            if filled.origins.get(name) == SET and name not in names and not filled.is_guessed:
                report.add(name, value, SET)  # what only the constructor saw

    def _require_read(self, read, model):
        """A setting that the model has not looked at, and cannot any more, was dropped."""
        held = getattr(model, "__dict__", {}).values()
        is_kept = model is None or any(value is self.config for value in held)
        for key, names in self.config_filled.same_names.items():
            if not is_kept and not read & names:
                raise model_error(f"{self.ref} never reads '{key}' of its configuration: --set "
                                  f"does not reach the model")


class Report:
    """Collects the values of one model."""

    def __init__(self):
        self._values = Verbatim()
        self._chosen = []
        self._bytes = 2
        self._left_out = 0

    def add(self, name, value, origin, origins=None):
        if dataclasses.is_dataclass(value) and not isinstance(value, type) and origins is not None:
            for inner, part in values_of(value).items():
                key = f"{name}.{inner}"
                self.add(key, part, origins.get(key, origin), origins)
            return
        entry = {"value": json_value(value), "from": origin}
        size = len(json.dumps({name: entry})) + 1
        if self._bytes + size > CONFIG_BYTES_MAX - 100:
            self._left_out += 1
            return
        self._bytes += size
        self._values[name] = entry

    def choose(self, text):
        if text not in self._chosen:
            self._chosen.append(text)

    def fields(self):
        if self._left_out:
            self._values["..."] = {"value": f"{self._left_out} more", "from": DEFAULT}
        chosen = ", ".join(self._chosen)
        if len(chosen) > CHOSEN_CHARACTERS_MAX:
            chosen = chosen[: CHOSEN_CHARACTERS_MAX - 3] + "..."
        return self._values or None, chosen or None


def values_of(config):
    """The values of a configuration by name, whatever it is; methods and private names are none."""
    if isinstance(config, dict):
        return dict(config)
    if dataclasses.is_dataclass(config):
        names = [item.name for item in dataclasses.fields(config)]
    elif hasattr(config, "_fields"):  # a named tuple
        names = list(config._fields)
    else:
        kinds = [vars(part) for part in reversed(type(config).__mro__[:-1])]
        names = [
            name for part in kinds for name, value in part.items()
            if not callable(value) and not hasattr(value, "__get__")
        ]
        names += list(getattr(config, "__dict__", ()))
    values = {}
    for name in dict.fromkeys(names):
        if isinstance(name, str) and not name.startswith("_"):
            values[name] = getattr(config, name, None)
    return values


def report_values(values, origins, default_origin=DEFAULT):
    """The same report for settings that are known by name."""
    report = Report()
    for name, value in values.items():
        report.add(name, value, origins.get(name, default_origin))
        if origins.get(name) == TOKMARK:
            report.choose(f"{name} {value}")
    return report.fields()


def json_value(value):
    """A value as JSON has it, else the start of its repr."""
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if value is None or isinstance(value, bool):
        return value
    if type(value) is int and -_WHOLE_MAX <= value < _WHOLE_MAX:
        return value
    if type(value) is float and math.isfinite(value):
        return value
    if isinstance(value, str):
        return _short(value.encode("utf-8", "replace").decode("utf-8").replace("\0", " "))
    if isinstance(value, (list, tuple)) and len(value) <= _TEXT_CHARACTERS_MAX:
        parts = [json_value(item) for item in value]
        if len(json.dumps(parts)) <= _TEXT_CHARACTERS_MAX:
            return parts
    try:
        return json_value(_ADDRESS.sub("", repr(value)))
    except Exception:  # a user's own
        return f"a {type(value).__name__}"


def _short(text):
    most = _TEXT_CHARACTERS_MAX
    return text if len(text) <= most else text[: most - 3] + "..."
