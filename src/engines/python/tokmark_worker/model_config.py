"""A model's figures under the names that other people give them: dataclasses filled, and the
arguments of a user's factory found in its signature. No framework is named here."""
import contextlib
import dataclasses
import sys
import types

from .cell import nearest, parse_text
from .errors import model_error
from .user_code import call_parameters, call_user

# What dataclasses call the fields of a model, compared in lower case and without underscores. A
# name in two rows belongs to the first whose figure has no other home.
ALIASES = {
    "vocab_size": "vocab_size n_vocab vocab num_embeddings vocabulary_size",
    "max_seq_len": "max_seq_len max_seq_length max_sequence_length max_len max_length seq_len "
    "seq_length sequence_length block_size context_length context_len context_size n_ctx "
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


# --- dataclasses ---------------------------------------------------------------------------------


def match_fields(config_class):
    """{dataclass field name: spec key}"""
    matched = {}
    for item in dataclasses.fields(config_class):
        key = spec_key(item.name)
        if item.init and key is not None:
            matched[item.name] = key
    if "dim" not in matched.values():
        # `hidden_dim` is the model's own width where no other name is, and the experts' is there
        rivals = [name for name, key in matched.items() if key == "ffn_hidden"]
        if len(rivals) > 1 and "hidden_dim" in rivals:
            matched["hidden_dim"] = "dim"
    return matched


def _default(item):
    if item.default is not dataclasses.MISSING:
        return item.default
    if item.default_factory is not dataclasses.MISSING:
        return item.default_factory()
    return dataclasses.MISSING


def _field_kind(item):
    """The type of a field's values, as far as its default or a plain annotation says."""
    default = _default(item)
    if default is not dataclasses.MISSING and default is not None:
        return type(default)
    words = {"int": int, "float": float, "bool": bool, "str": str}
    return words.get(item.type, item.type) if item.type in (*words, *words.values()) else str


def _overrides(config_class, overrides, matched):
    """--set key=value: a field's own name, or what the spec calls it."""
    items = {item.name: item for item in dataclasses.fields(config_class) if item.init}
    by_key = {key: name for name, key in matched.items()}
    values = {}
    for key, text in overrides.items():
        name = key if key in items else by_key.get(key)
        if name is None:
            raise model_error(
                f"{config_class.__name__} has no field '{key}'; did you mean "
                f"'{nearest(key, items)}'?"
            )
        try:
            values[name] = parse_text(name, text, _field_kind(items[name]))
        except ValueError as error:
            raise model_error(f"{config_class.__name__}: {error}") from None
    return values


def fill_config(config_class, spec, overrides, only_required):
    """An instance filled from a preset's figures. `only_required`: fields with a default of their
    own keep it, but for the sequence length. Gives (config, {spec key: its field's name})."""
    matched = match_fields(config_class)
    values = {}
    missing = []
    for item in dataclasses.fields(config_class):
        if not item.init:
            continue
        key = matched.get(item.name)
        has_default = _default(item) is not dataclasses.MISSING
        if key is None:
            if not has_default:
                missing.append(item.name)
        elif not (only_required and has_default) or key == "max_seq_len":
            values[item.name] = getattr(spec, key)
    values.update(_overrides(config_class, overrides, matched))
    missing = [name for name in missing if name not in values]
    if missing:
        raise model_error(
            f"{config_class.__name__} has fields without a default that no preset's figure fits: "
            f"{', '.join(missing)}; give them with --set NAME=VALUE"
        )
    config = call_user(f"{config_class.__name__}()", config_class, **values)
    return config, {key: name for name, key in matched.items()}


# --- what a call gets ---------------------------------------------------------------------------


def builtin_spec(cell):
    """The cell's figures with --set on top."""
    spec = cell.model
    for key, text in cell.options.set.items():
        try:
            spec = spec.with_text(key, text)
        except ValueError as error:
            raise model_error(str(error)) from None
    return spec


def _config_class(function, parameter):
    """The dataclass a parameter wants: its annotation, else the one *Config of the module."""
    annotation = parameter.annotation
    if isinstance(annotation, str):
        annotation = getattr(sys.modules.get(function.__module__), annotation, None)
    if isinstance(annotation, type) and dataclasses.is_dataclass(annotation):
        return annotation
    module = sys.modules.get(function.__module__)
    found = [
        value
        for name, value in vars(module).items()
        if isinstance(value, type) and dataclasses.is_dataclass(value) and name.endswith("Config")
    ]
    return found[0] if len(found) == 1 else None


def _namespace(spec, overrides):
    """Every figure under every name people use, where no dataclass says which it wants."""
    values = {}
    for key, names in ALIASES.items():
        values.update({name: getattr(spec, key) for name in names.split() if len(name) > 1})
    values.update({item.name: getattr(spec, item.name) for item in dataclasses.fields(spec)})
    for key, text in overrides.items():
        kind = type(values[key]) if key in values else str
        value = parse_text(key, text, kind)
        same = ALIASES.get(spec_key(key) or "", key).split()
        values.update({name: value for name in {*same, key}})
    return types.SimpleNamespace(**values)


_CONFIG_NAMES = ("config", "cfg", "conf", "model_config", "args")


def arguments(cell, function, ref, offered=None):
    """What a factory's signature asks for; (kwargs, config or None, vocabulary or None). `offered`:
    what an engine gives beside the figures, by name."""
    offered = offered or {}
    try:
        parameters = call_parameters(function)
    except (TypeError, ValueError):
        raise model_error(f"{ref}: cannot see what it takes") from None
    kwargs, config, vocab_size = {}, None, None
    spec = cell.model
    rest = dict(cell.options.set)
    for name, parameter in parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        key = spec_key(name)
        if name in _CONFIG_NAMES:
            config_class = _config_class(function, parameter)
            if config_class is None:
                config = call_user("--set", _namespace, spec, rest)
            else:
                config, _ = fill_config(config_class, spec, rest, only_required=True)
            kwargs[name] = config
            rest = {}
        elif name in rest:
            kind = type(parameter.default)
            plain_kind = kind in (int, float, bool, str)
            kwargs[name] = call_user("--set", parse_text, name, rest.pop(name), kind) if (
                plain_kind
            ) else _guess(rest.pop(name))
        elif name in offered:
            kwargs[name] = offered[name]
        elif key in ("vocab_size", "max_seq_len"):
            kwargs[name] = getattr(spec, key)
        elif parameter.default is parameter.empty:
            raise model_error(
                f"{ref} asks for '{name}'; a factory gets "
                f"{', '.join(['config', 'vocab_size', 'seq_len', *offered])} and what --set gives"
            )
        if key == "vocab_size":
            vocab_size = kwargs[name]
    if rest:
        raise model_error(f"{ref} takes no '{next(iter(rest))}'; it takes {', '.join(parameters)}")
    return kwargs, config, vocab_size


def _guess(text):
    """A value of a parameter that has no default to tell its type."""
    for kind in (int, float):
        with contextlib.suppress(TypeError, ValueError):
            return kind(text)
    return text
