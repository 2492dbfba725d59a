"""Settings put where they belong: into the parameters of a call, and into a configuration of a user's
own. No framework is named here.

Whose value counts: `--set` first, then a preset that was named, then the author's own default.
tokmark chooses only what has no default (a vocabulary, a length), and a length that is less than
the cell's tokens; what it chose is said.
"""
import copy
import dataclasses
import inspect

from .call_slots import Slot, is_dataclass_type, slots_of, without_none
from .cell import hint
from .errors import model_error
from .made_config import DEFAULT, PRESET, SET, TOKMARK, Filled, is_plain, values_of
from .setting_names import match_names
from .setting_text import EMPTY, value_of
from .user_code import call_user

# --- who decides ---------------------------------------------------------------------------------
# A rule gives (value, where it is from) for a slot that --set does not name, or None: its default.


def _is_short(value, seq_len):
    return type(value) is int and 0 < value < seq_len


def rule_preset(spec):
    """A preset that was named gives every setting it has."""
    return lambda slot, key: None if key is None else (getattr(spec, key), PRESET)


def rule_published(spec):
    """The published package with its own defaults: the length is the cell's, as published."""

    def rule(slot, key):
        if key == "max_seq_len" or (key is not None and slot.is_required):
            return getattr(spec, key), TOKMARK
        return None

    return rule


def rule_config(spec, opens=("vocab_size",)):
    """A configuration of a user's own: its defaults, and a length that the tokens fit in. `opens`:
    settings of which None is no value but one that is still to be given."""

    def rule(slot, key):
        is_short = key == "max_seq_len" and _is_short(slot.default, spec.max_seq_len)
        # a vocabulary of None or -1 is one that is still to be given
        is_open = key in opens and (
            slot.default is None or (type(slot.default) is int and slot.default <= 0)
        )
        if is_short or is_open or (key is not None and slot.is_required):
            return getattr(spec, key), TOKMARK
        return None

    return rule


def rule_arguments(spec):
    """A factory's own parameters: of the settings only a vocabulary and a length are chosen."""
    inner = rule_config(spec)
    return lambda slot, key: inner(slot, key) if key in ("vocab_size", "max_seq_len") else None

def fill(slots, overrides, rule, owner, can_alias=True):
    """(Filled, the overrides that name none of the slots)"""
    names = {slot.name: slot for slot in slots}
    matched = match_names(names)
    by_key = {key: name for name, key in reversed(matched.items())} if can_alias else {}
    filled, rest, parts = Filled(), {}, {}
    for key, text in overrides.items():
        name = key if key in names else by_key.get(key)
        head, _, tail = key.partition(".")
        if name is not None:
            if name in filled.values:
                raise model_error(f"--set gives '{name}' of {owner} twice; leave one out")
            filled.put(name, set_value(owner, names[name], text), SET)
        elif tail and head in names:
            parts.setdefault(head, {})[tail] = text
        else:
            rest[key] = text
    for head, inner in parts.items():
        base = filled.values.get(head, names[head].default)
        filled.put(head, _with_parts(owner, names[head], base, inner), DEFAULT)
        filled.origins.update({f"{head}.{tail}": SET for tail in inner})
    for slot in slots:
        ruled = None if slot.name in filled.values else rule(slot, matched.get(slot.name))
        if ruled is not None:
            filled.put(slot.name, *ruled, slot.default)
        elif slot.is_required and slot.name not in filled.values:
            filled.missing.append(slot.name)
    return filled, rest


def set_value(owner, slot, text):
    try:
        return value_of(slot.name, text, slot.annotation, slot.default)
    except ValueError as error:
        raise model_error(f"{owner}: {error}") from None


def _with_parts(owner, slot, base, overrides):
    """`--set part.name=value`: a configuration inside a configuration."""
    kind = without_none(slot.annotation)
    owner = f"{owner}.{slot.name}"
    if isinstance(base, dict):
        return {**base, **{
            key: set_value(owner, Slot(key, EMPTY, base.get(key, EMPTY)), text)
            for key, text in overrides.items()
        }}
    has_base = dataclasses.is_dataclass(base) and not isinstance(base, type)
    if not has_base and not is_dataclass_type(kind):
        raise model_error(f"{owner} has no parts of its own that --set could name")
    config_class = type(base) if has_base else kind
    config, _ = make_config(config_class, overrides, lambda slot, key: None,
                            base=base if has_base else None)
    return config

# --- configurations ------------------------------------------------------------------------------


def make_config(config_class, overrides, rule, base=None, takes_rest=False):
    """An instance of a class of configurations, and its Filled. `base`: an instance whose values
    are the defaults. Overrides that it has no place for are an error, or left in `Filled.rest`."""
    owner = config_class.__name__
    try:
        slots, _ = slots_of(config_class)
    except (TypeError, ValueError):
        slots = []
    if base is not None:
        slots = [
            dataclasses.replace(slot, default=getattr(base, slot.name, slot.default))
            for slot in slots
        ]
    filled, rest = fill(slots, overrides, rule, owner)
    if filled.missing:
        raise model_error(
            f"{owner} has fields without a default that no preset's setting fits: "
            f"{', '.join(filled.missing)}; give them with --set NAME=VALUE"
        )
    is_dataclass = dataclasses.is_dataclass(config_class)
    if base is None:
        config = call_user(f"{owner}()", config_class, **filled.values)
    elif is_dataclass:
        config = base
        if filled.values:
            config = call_user(f"{owner}()", dataclasses.replace, base, **filled.values)
    else:
        config, rest = copy.copy(base), dict(overrides)
        filled = Filled()
    if not is_dataclass:
        rest = fill_attributes(config, rest, rule, filled, owner)
    _require_taken(config, filled, owner)
    if rest and not takes_rest:
        raise unknown_setting(owner, next(iter(rest)), config, slots)
    filled.rest = rest
    return config, filled


def fill_attributes(config, overrides, rule, filled, owner):
    """Values of an object or dict that is there already; gives the overrides it has no place for."""
    is_dict = isinstance(config, dict)
    names = list(config) if is_dict else [
        name for name in dir(config) if not name.startswith("_") and _is_value(config, name)
    ]
    slots = [
        Slot(name, EMPTY, config[name] if is_dict else getattr(config, name))
        for name in names
        if name not in filled.values
    ]
    later, rest = fill(slots, overrides, rule, owner)
    for name, value in later.values.items():
        if is_dict:
            config[name] = value
        else:
            call_user(f"{owner}.{name}", setattr, config, name, value)
    filled.add(later)
    return rest


def _is_value(config, name):
    """Not a method and not what the class works out itself."""
    if isinstance(inspect.getattr_static(config, name, None), property):
        return False
    value = getattr(config, name, None)
    return not callable(value) or isinstance(value, type)


def _require_taken(config, filled, owner):
    """What --set gave is what the object has; a class may work on its values as it is made."""
    found_values = values_of(config)
    for name, origin in filled.origins.items():
        # what only the constructor sees (an InitVar) is no value of the object
        if origin != SET or name not in filled.values or name not in found_values:
            continue
        given = filled.values[name]
        found = found_values[name]
        if is_plain(found) and type(found) is type(given) and found != given and given == given:
            raise model_error(
                f"{owner} made {name} {found!r} of --set {name}={given}; ask for a value that it "
                f"takes, or leave it out"
            )


def unknown_setting(owner, key, config, slots):
    is_computed = hasattr(type(config), key) and isinstance(
        inspect.getattr_static(type(config), key), property
    )
    if dataclasses.is_dataclass(config):
        is_computed |= any(
            item.name == key and not item.init for item in dataclasses.fields(config)
        )
    if is_computed:
        return model_error(f"{owner} works out '{key}' itself: --set cannot give it")
    names = dict.fromkeys([slot.name for slot in slots] + list(values_of(config)))
    return model_error(f"{owner} has no field '{key}'; {hint(key, names)}")
