"""A model's settings under the names that other people give them: configurations filled, and the
arguments of a user's factory found in its signature. No framework is named here.

Whose value counts: `--set` first, then a preset that was named, then the author's own default.
tokmark chooses only what has no default (a vocabulary, a length), and a length that is less than
the cell's tokens; what it chose is said.
"""
import copy
import dataclasses
import inspect
import sys
import types
import typing

from .cell import hint, model_problem
from .errors import model_error
from .made_config import DEFAULT, PRESET, SET, TOKMARK, Arguments, Filled, is_plain, values_of
from .setting_text import EMPTY, guess, value_of
from .user_code import call_parameters, call_user

# What dataclasses call the fields of a model, compared in lower case and without underscores. A
# name in two rows belongs to the first whose setting has no other home.
ALIASES = {
    "vocab_size": "vocab_size n_vocab vocab num_embeddings vocabulary_size num_tokens n_tokens ntoken "
    "ntokens n_token num_vocab voc_size vocab_len vocabulary",
    "max_seq_len": "max_seq_len max_seq_length max_sequence_length max_len max_length seq_len "
    "seq_length sequence_length sequence_len seqlen max_seqlen maxlen max_sequence_len block_size "
    "context_length context_len context_size context max_context_length ctx_len ctx_length n_ctx max_t "
    "n_positions max_positions max_position max_position_embeddings",
    "dim": "dim d_model n_embd hidden_size embed_dim embedding_dim emb_dim model_dim width",
    "layers_count": "layers_count n_layers num_layers n_layer layers num_hidden_layers depth",
    "heads_count": "heads_count n_heads num_heads n_head heads num_attention_heads",
    "ffn_hidden": "ffn_hidden ffn_hidden_dim ffn_hidden_size ffn_dim hidden_dim expert_hidden "
    "expert_hidden_dim expert_hidden_size expert_dim expert_ffn_dim moe_hidden moe_hidden_dim "
    "d_ff ff_dim intermediate_size mlp_dim mlp_hidden feed_forward_dim hidden",
    "experts_count": "experts_count n_experts num_experts experts num_local_experts moe_experts "
    "moe_num_experts n_routed_experts",
    "experts_active": "experts_active top_k topk k moe_top_k experts_top_k expert_top_k "
    "num_experts_per_tok experts_per_token n_active_experts num_active_experts",
    "rotary_dim": "rotary_dim rotary_dims rope_dim rot_dim rotary_embedding_dim",
    "rotary_base": "rotary_base rope_base rope_theta rotary_theta",
    "dropout": "dropout dropout_p dropout_rate drop_rate p_dropout attn_dropout "
    "attention_dropout resid_dropout residual_dropout ffn_dropout expert_dropout",
    "norm_eps": "norm_eps rms_norm_eps rms_eps layer_norm_eps eps",
    "is_head_tied": "is_head_tied tie_weights tie_word_embeddings tie_embeddings tied",
}
ESSENTIAL = (
    "vocab_size max_seq_len dim layers_count heads_count ffn_hidden experts_count experts_active"
).split()


def plain(name):
    return name.lower().replace("_", "")


def spec_key(name):
    """The spec's field that a dataclass's field `name` is; None when it is none."""
    for key, names in ALIASES.items():
        if plain(name) in map(plain, names.split()):
            return key
    return None


# --- what a call takes ---------------------------------------------------------------------------


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


def _without_none(annotation):
    """X of Optional[X]."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        rest = [one for one in typing.get_args(annotation) if one is not types.NoneType]
        return rest[0] if len(rest) == 1 else annotation
    return annotation


def _is_dataclass_type(kind):
    return isinstance(kind, type) and dataclasses.is_dataclass(kind)


def match_names(names):
    """{name: spec key} of those that people use for a setting."""
    matched = {name: spec_key(name) for name in names if spec_key(name) is not None}
    if "dim" not in matched.values():
        # `hidden_dim` is the model's own width where no other name is, and the experts' is there
        rivals = [name for name, key in matched.items() if key == "ffn_hidden"]
        if len(rivals) > 1 and "hidden_dim" in rivals:
            matched["hidden_dim"] = "dim"
    return matched


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


def _rule_arguments(spec):
    """A factory's own parameters: of the settings only a vocabulary and a length are chosen."""
    inner = rule_config(spec)
    return lambda slot, key: inner(slot, key) if key in ("vocab_size", "max_seq_len") else None


def _fill(slots, overrides, rule, owner, can_alias=True):
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
            filled.put(name, _set_value(owner, names[name], text), SET)
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


def _set_value(owner, slot, text):
    try:
        return value_of(slot.name, text, slot.annotation, slot.default)
    except ValueError as error:
        raise model_error(f"{owner}: {error}") from None


def _with_parts(owner, slot, base, overrides):
    """`--set part.name=value`: a configuration inside a configuration."""
    kind = _without_none(slot.annotation)
    owner = f"{owner}.{slot.name}"
    if isinstance(base, dict):
        return {**base, **{
            key: _set_value(owner, Slot(key, EMPTY, base.get(key, EMPTY)), text)
            for key, text in overrides.items()
        }}
    has_base = dataclasses.is_dataclass(base) and not isinstance(base, type)
    if not has_base and not _is_dataclass_type(kind):
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
    filled, rest = _fill(slots, overrides, rule, owner)
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
        rest = _fill_attributes(config, rest, rule, filled, owner)
    _require_taken(config, filled, owner)
    if rest and not takes_rest:
        raise _unknown_setting(owner, next(iter(rest)), config, slots)
    filled.rest = rest
    return config, filled


def _fill_attributes(config, overrides, rule, filled, owner):
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
    later, rest = _fill(slots, overrides, rule, owner)
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


def _unknown_setting(owner, key, config, slots):
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


# --- what a call gets ----------------------------------------------------------------------------


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
    if _is_dataclass_type(_without_none(slot.annotation)):
        return slot.is_required or slot.name in _CONFIG_NAMES or dataclasses.is_dataclass(
            slot.default
        )
    return slot.name in _CONFIG_NAMES and not is_plain(slot.default, or_none=False)


def _config_class(function, slot):
    """The class a parameter wants: its annotation, else the one *Config (for `args` *Args) of the
    module."""
    kind = _without_none(slot.annotation)
    if isinstance(kind, type) and kind not in (*_ANY_OBJECT, dict) and kind.__name__ != "Namespace":
        return kind
    if kind not in _ANY_OBJECT or not slot.is_required:
        return None
    module = sys.modules.get(getattr(function, "__module__", None), types)
    ending = "Args" if slot.name == "args" else "Config"
    found = {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, type) and name.endswith(ending)
    }
    own = found.get(f"{getattr(function, '__name__', '')}{ending}")
    if own is not None or len(found) == 1:
        return own or next(iter(found.values()))
    found = [value for value in found.values() if dataclasses.is_dataclass(value)]
    return found[0] if len(found) == 1 else None


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


def _same_names(key):
    return {*ALIASES.get(spec_key(key) or "", key).split(), spec_key(key) or key, key}


def _figures(spec, overrides):
    """(values by name, origins)"""
    values = {}
    for key, names in ALIASES.items():
        values.update({name: getattr(spec, key) for name in names.split() if len(name) > 1})
    values.update({item.name: getattr(spec, item.name) for item in dataclasses.fields(spec)})
    origins = dict.fromkeys(values, TOKMARK)
    for key, text in overrides.items():
        value = _set_value("--set", Slot(key, EMPTY, values.get(key, EMPTY)), text)
        for name in _same_names(key):
            values[name], origins[name] = value, SET
    return values, origins


def _make_figures(slot, spec, overrides):
    values, origins = _figures(spec, overrides)
    is_dict = _without_none(slot.annotation) is dict
    filled = Filled(values=dict(values), origins=origins)
    filled.is_guessed = True
    filled.same_names = {key: _same_names(key) for key in overrides}
    return (AnyNameDict(values) if is_dict else AnyNameConfig(**values)), filled


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
        return _make_figures(slot, spec, overrides)
    if slot.default is None:
        return None
    base = slot.default
    if isinstance(base, dict):
        config, filled = dict(base), Filled()
        filled.rest = _fill_attributes(config, overrides, rule, filled, slot.name)
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
    filled, rest = _fill(plain, cell.options.set, _rule_arguments(cell.model), ref,
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
        filled.put(key, guess(text) if slot is None else _set_value(ref, slot, text), SET)


def _unknown_argument(ref, key, call, slots):
    names = [slot.name for slot in slots]
    if call.config is None:
        return model_error(f"{ref} takes no '{key}'; {hint(key, names)}")
    fields = values_of(call.config)
    error = _unknown_setting(type(call.config).__name__, key, call.config, [])
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


def vocabulary_of_config(config):
    """Of a configuration under any of its names; None where it has none."""
    if config is None:
        return None
    names = list(config) if isinstance(config, dict) else dir(config)
    for name in sorted(names, key=lambda name: name != "vocab_size"):
        if not name.startswith("_") and spec_key(name) == "vocab_size":
            value = config[name] if isinstance(config, dict) else getattr(config, name, None)
            if type(value) is int and value > 0:
                return value
    return None
