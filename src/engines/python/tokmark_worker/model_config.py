"""What a model is made with: a preset's settings with --set on top, or the arguments of a user's
factory, found in its signature. No framework is named here.
"""
import dataclasses
import sys
import types
import typing

from .any_name_config import AnyNameConfig, AnyNameDict, make_any_name
from .call_slots import is_dataclass_type, slots_of, without_none
from .cell import hint, model_problem
from .config_fill import (
    fill, fill_attributes, make_config, rule_arguments, rule_config, set_value, unknown_setting,
)
from .errors import model_error
from .made_config import SET, Arguments, Filled, is_plain, values_of
from .setting_names import spec_key, vocabulary_of_config
from .setting_text import EMPTY, guess
from .user_code import call_user

def builtin_spec(cell):
    """The cell's settings with --set on top."""
    spec = cell.model
    for key, text in cell.options.set.items():
        try:
            spec = spec.with_text(key, text)
        except ValueError as error:
            raise model_error(str(error)) from None
    problem = model_problem(spec)
    if problem is None and cell.seq_len > spec.max_seq_len:
        problem = f"max_seq_len {spec.max_seq_len} is less than seq_len {cell.seq_len}"
    if problem:
        raise model_error(f"--set: {problem}")
    return spec

_CONFIG_NAMES = (
    "config", "cfg", "conf", "model_config", "args", "hparams", "hps", "model_args", "configuration",
)
# What classes call the method that makes their own configuration.
_DEFAULT_METHODS = ("get_default_config", "default_config", "get_default_cfg")
_ANY_OBJECT = (EMPTY, typing.Any, object, types.SimpleNamespace)


def _is_config(slot):
    if is_dataclass_type(without_none(slot.annotation)):
        return slot.is_required or slot.name in _CONFIG_NAMES or dataclasses.is_dataclass(
            slot.default
        )
    return slot.name in _CONFIG_NAMES and not is_plain(slot.default, or_none=False)


def _config_class(function, slot):
    """The class a parameter wants: its annotation, else the one *Config (for `args` *Args) of the
    module."""
    kind = without_none(slot.annotation)
    if isinstance(kind, type) and kind not in (*_ANY_OBJECT, dict) and kind.__name__ != "Namespace":
        return kind
    if kind not in _ANY_OBJECT or not slot.is_required:
        return None
    module = sys.modules.get(getattr(function, "__module__", None), types)
    ending = "Args" if slot.name == "args" else "Config"
    found = {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, type) and name.endswith(ending) and not _is_model(value)
    }
    own = found.get(f"{getattr(function, '__name__', '')}{ending}")
    if own is not None or len(found) == 1:
        return own or next(iter(found.values()))
    found = [value for value in found.values() if dataclasses.is_dataclass(value)]
    return found[0] if len(found) == 1 else None


def _is_model(kind):
    """Whether a class is one of models, whatever its name ends with."""
    return hasattr(kind, "forward") or any("__call__" in vars(one) for one in kind.__mro__)


def _default_config(function):
    """What a class gives as its own configuration (minGPT's get_default_config); None without one."""
    for name in _DEFAULT_METHODS:
        make = getattr(function, name, None)
        if callable(make) and isinstance(function, type):
            return call_user(f"{function.__name__}.{name}()", make)
    return None


def _take_config(function, slot, spec, overrides):
    """(configuration, Filled with what is left of the overrides); None: the default stays."""
    rule = rule_config(spec)
    config_class = _config_class(function, slot)
    if slot.is_required or (slot.default is None and config_class is not None):
        own = _default_config(function) if config_class is None else None
        if own is not None:
            rule = rule_config(spec, ("vocab_size", "max_seq_len"))
            return make_config(type(own), overrides, rule, base=own, takes_rest=True)
        if config_class is not None:
            return make_config(config_class, overrides, rule, takes_rest=True)
        return make_any_name(slot, spec, overrides)
    if slot.default is None:
        return None
    base = slot.default
    if isinstance(base, dict):
        config, filled = dict(base), Filled()
        filled.rest = fill_attributes(config, overrides, rule, filled, slot.name)
        return config, filled
    return make_config(type(base), overrides, rule, base=base, takes_rest=True)


def arguments(cell, function, ref, offered=None):
    """What a factory's signature asks for, as Arguments. `offered`: what an engine gives beside the
    settings, by name."""
    offered = offered or {}
    try:
        slots, takes_more = slots_of(function)
    except (TypeError, ValueError):
        raise model_error(f"{ref}: cannot see what it takes") from None
    given = {*offered, *cell.options.set}
    configs = [slot for slot in slots if _is_config(slot) and slot.name not in given][:1]
    plain = [slot for slot in slots if slot not in configs]
    filled, rest = fill(plain, cell.options.set, rule_arguments(cell.model), ref,
                         can_alias=not configs)
    call = Arguments(ref=ref, slots=plain, filled=filled)
    for slot in plain:
        if slot.name in offered and filled.origins.get(slot.name) != SET:
            filled.take_offered(slot.name, offered[slot.name])
    for slot in configs:
        taken = _take_config(function, slot, cell.model, rest)
        if taken is None:
            continue
        call.config, call.config_filled = taken
        rest = call.config_filled.rest
        filled.values[slot.name] = call.config
    if takes_more and not configs:
        _fill_inherited(function, rest, filled, ref)
        rest = {}
    if filled.missing:
        raise model_error(
            f"{ref} asks for '{filled.missing[0]}'; a factory gets "
            f"{', '.join(['config', 'vocab_size', 'seq_len', *offered])} and what --set gives"
        )
    if rest:
        raise _unknown_argument(ref, next(iter(rest)), call, slots)
    call.args = tuple(filled.values[slot.name] for slot in _leading(slots, filled))
    names = {slot.name for slot in slots if slot.is_positional}
    call.kwargs = {name: value for name, value in filled.values.items() if name not in names}
    call.vocab_size = _vocabulary_of(call)
    if isinstance(call.config, (AnyNameConfig, AnyNameDict)):
        call.config._names_read.clear()  # from here on they are the model's own looks
    return call


def _leading(slots, filled):
    """Those that can only be given by position."""
    for slot in slots:
        if not slot.is_positional or slot.name not in filled.values:
            return
        yield slot


def _fill_inherited(function, overrides, filled, ref):
    """Keywords that a call passes on: typed as its base classes have them."""
    known = {}
    for base in reversed(getattr(function, "__mro__", ())[1:]):
        if "__init__" in vars(base) and base is not object:
            try:
                known.update((slot.name, slot) for slot in slots_of(base.__init__)[0])
            except (TypeError, ValueError):
                continue
    for key, text in overrides.items():
        slot = known.get(key)
        filled.put(key, guess(text) if slot is None else set_value(ref, slot, text), SET)


def _unknown_argument(ref, key, call, slots):
    names = [slot.name for slot in slots]
    if call.config is None:
        return model_error(f"{ref} takes no '{key}'; {hint(key, names)}")
    fields = values_of(call.config)
    error = unknown_setting(type(call.config).__name__, key, call.config, [])
    if "works out" in error.text:
        return error
    return model_error(
        f"{type(call.config).__name__} has no field '{key}'; {hint(key, [*fields, *names])}"
    )

def _vocabulary_of(call):
    """The vocabulary that the call is made with; None where it says nothing of one."""
    for slot in call.slots:
        value = call.filled.values.get(slot.name, slot.default)
        if spec_key(slot.name) == "vocab_size" and type(value) is int and value > 0:
            return value
    return vocabulary_of_config(call.config)
