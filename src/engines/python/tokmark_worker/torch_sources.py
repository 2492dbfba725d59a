"""Where a cell's model comes from.

package   `superintelligence`, found from the working directory, its parents or the Python path,
          used unchanged; a preset's figures fill its ModelConfig
builtin   our own implementation of the same architecture
factory   pkg.module:name, called with what its signature asks of (config, vocab_size, seq_len)
hf        a local transformers folder, with or without weights
"""
import contextlib
import dataclasses
import importlib
import importlib.util
import inspect
import os
import sys
import types
from pathlib import Path

import torch

from . import torch_model
from .cell import ModelSpec, nearest, parse_text
from .errors import last_line, model_error, unsupported

PACKAGE = "superintelligence"

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
_ESSENTIAL = (
    "vocab_size max_seq_len dim layers_count heads_count ffn_hidden experts_count experts_active"
).split()


@dataclasses.dataclass
class Source:
    """A model that was made, and what is known about it."""

    model: torch.nn.Module
    text: str  # for the record's model_source
    vocab_size: int
    params_active: int = None  # None = not known
    is_builtin: bool = False
    is_hf: bool = False
    notes: list = dataclasses.field(default_factory=list)


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


# --- calling a user's code -----------------------------------------------------------------------


def call_user(what, function, *args, **kwargs):
    """A user's code may raise anything, or leave: each becomes a model error with the last line."""
    try:
        return function(*args, **kwargs)
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:
        if _is_memory(error):
            raise
        import traceback

        traceback.print_exc()
        raise model_error(f"{what}: {last_line(error)}") from None


def _is_memory(error):
    text = str(error).lower()
    return isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)) or (
        isinstance(error, RuntimeError) and ("out of memory" in text or "can't allocate" in text)
    )


@contextlib.contextmanager
def _made_on(device, dtype):
    """What is made inside is made there and in that type, unless the code says otherwise."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            yield
    finally:
        torch.set_default_dtype(before)


def _make(what, function, device, dtype, args=(), kwargs=None):
    """Calls on the device first; code that cannot do that is called plainly, and moved."""
    kwargs = kwargs or {}
    notes = []

    def on_device():
        with _made_on(device, dtype):
            return function(*args, **kwargs)

    if device.type == "cpu":
        model = call_user(what, on_device)
    else:
        try:
            model = on_device()
        except Exception as error:
            if _is_memory(error):
                raise
            notes.append(f"built on the host: {last_line(error)[:80]}")
            model = call_user(what, function, *args, **kwargs)
    if not isinstance(model, torch.nn.Module):
        raise model_error(f"{what} gave a {type(model).__name__}, not a torch.nn.Module")
    return call_user(what, model.to, device=device, dtype=dtype), notes


def _import(name):
    return call_user(f"import {name}", importlib.import_module, name)


# --- the four sources ----------------------------------------------------------------------------


def find_package(name):
    """The folder that holds the package, searched from the working directory upwards, then on the
    Python path; None when there is none. Puts it on the path."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        package = folder / name
        if (package / "config.py").is_file() and (package / "model.py").is_file():
            if str(folder) not in sys.path:
                sys.path.insert(0, str(folder))
            return package
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    for place in (found.submodule_search_locations or ()) if found else ():
        if (Path(place) / "config.py").is_file() and (Path(place) / "model.py").is_file():
            return Path(place)
    return None


def _package(cell, package, device, precision):
    config_class = getattr(_import(f"{PACKAGE}.config"), "ModelConfig", None)
    if config_class is None or not dataclasses.is_dataclass(config_class):
        raise model_error(f"{package}/config.py has no dataclass ModelConfig")
    model_class = getattr(_import(f"{PACKAGE}.model"), "SuperIntelligenceModel", None)
    if model_class is None:
        raise model_error(f"{package}/model.py has no SuperIntelligenceModel")
    is_own = cell.options.figures == "own"
    config, names = fill_config(config_class, cell.model, cell.options.set, only_required=is_own)
    model, notes = _make(
        "SuperIntelligenceModel(config)", model_class, device, precision.param_dtype, (config,)
    )
    homeless = [key for key in _ESSENTIAL if key not in names]
    if homeless:
        notes.append(f"ModelConfig has no field for {', '.join(homeless)}")
    return Source(
        model=model,
        text=_shorten(f"package {PACKAGE} (", str(package), ")"),
        vocab_size=getattr(config, names.get("vocab_size", ""), cell.model.vocab_size),
        params_active=_active_of_package(cell, config, names, model),
        notes=notes,
    )


def _active_of_package(cell, config, names, model):
    """By the spec's arithmetic, where its total is what the model really has."""
    figures = {key: getattr(config, name) for key, name in names.items()}
    known = {item.name for item in dataclasses.fields(ModelSpec)}
    try:
        spec = dataclasses.replace(
            cell.model, **{key: value for key, value in figures.items() if key in known}
        )
        counted = sum(param.numel() for param in model.parameters())
        return spec.params_active() if spec.params_total() == counted else None
    except (TypeError, ValueError, ZeroDivisionError):
        return None


def builtin_spec(cell):
    """The cell's figures with --set on top."""
    spec = cell.model
    for key, text in cell.options.set.items():
        try:
            spec = spec.with_text(key, text)
        except ValueError as error:
            raise model_error(str(error)) from None
    return spec


def _builtin(cell, device, precision):
    spec = builtin_spec(cell)
    model = torch_model.build(
        spec, cell.options.moe, device, precision.param_dtype, precision.compute_dtype
    )
    form = f" ({cell.options.moe})" if spec.ffn == "moe_swiglu" else ""
    return Source(
        model=model,
        text=f"tokmark pytorch{form}",
        vocab_size=spec.vocab_size,
        params_active=spec.params_active(),
        is_builtin=True,
    )


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


def _arguments(cell, function, ref):
    """What a factory's signature asks for; (kwargs, config or None, vocabulary or None)."""
    try:
        parameters = inspect.signature(function).parameters
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
        elif key in ("vocab_size", "max_seq_len"):
            kwargs[name] = getattr(spec, key)
        elif parameter.default is parameter.empty:
            raise model_error(
                f"{ref} asks for '{name}'; a factory gets config, vocab_size and seq_len, "
                f"and what --set gives"
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


def _factory(cell, device, precision):
    ref = cell.model_ref
    module_name, _, name = ref.partition(":")
    target = _import(module_name)
    for part in name.split("."):
        if not hasattr(target, part):
            raise model_error(
                f"module {module_name} has no '{name}'; did you mean "
                f"'{nearest(part, [n for n in dir(target) if not n.startswith('_')])}'?"
            )
        target = getattr(target, part)
    if not callable(target):
        raise model_error(f"{ref} is a {type(target).__name__}, not a class or function")
    kwargs, config, vocab_size = _arguments(cell, target, ref)
    model, notes = _make(ref, target, device, precision.param_dtype, (), kwargs)
    for holder in (config, getattr(model, "config", None)):
        if vocab_size is None and isinstance(getattr(holder, "vocab_size", None), int):
            vocab_size = holder.vocab_size
    return Source(
        model=model,
        text=_shorten("factory ", ref, ""),
        vocab_size=cell.model.vocab_size if vocab_size is None else vocab_size,
        notes=notes,
    )


def _has_weights(folder):
    names = [name.name for name in folder.iterdir()]
    return any(
        name.endswith(".safetensors") or (name.startswith("pytorch_model") and ".bin" in name)
        for name in names
    )


def _hf(cell, device, precision):
    folder = Path(cell.model_ref[len("hf:") :]).expanduser()
    if not (folder / "config.json").is_file():
        raise model_error(f"'{folder}' has no config.json of a transformers model")
    # nothing is ever asked of a network
    os.environ["HF_HUB_OFFLINE"] = os.environ["TRANSFORMERS_OFFLINE"] = "1"
    try:
        import transformers
    except ImportError as error:
        raise unsupported(
            f"a model 'hf:' needs transformers, which {sys.executable} has not: {error}"
        ) from None
    config = call_user(
        "AutoConfig", transformers.AutoConfig.from_pretrained, str(folder), local_files_only=True
    )
    for key, text in cell.options.set.items():
        if not hasattr(config, key):
            known = [name for name in vars(config) if not name.startswith("_")]
            raise model_error(
                f"{type(config).__name__} has no '{key}'; did you mean '{nearest(key, known)}'?"
            )
        value = call_user("--set", parse_text, key, text, type(getattr(config, key)))
        setattr(config, key, value)
    longest = getattr(config, "max_position_embeddings", None)
    if isinstance(longest, int) and cell.seq_len > longest:
        raise model_error(f"seq_len {cell.seq_len} is over max_position_embeddings {longest}")
    auto = transformers.AutoModelForCausalLM
    has_weights = _has_weights(folder)
    if has_weights:
        with _made_on("cpu", precision.param_dtype):
            model = call_user(
                "from_pretrained", auto.from_pretrained, str(folder), config=config,
                local_files_only=True,
            )
        model = model.to(device=device, dtype=precision.param_dtype)
        notes = []
    else:
        model, notes = _make("from_config", auto.from_config, device, precision.param_dtype,
                             (config,))
    notes.append("weights from the folder" if has_weights else "weights initialised")
    return Source(
        model=model,
        text=_shorten("hf ", str(folder), ""),
        vocab_size=int(config.get_text_config().vocab_size)
        if hasattr(config, "get_text_config")
        else int(config.vocab_size),
        is_hf=True,
        notes=notes,
    )


def _shorten(before, middle, after):
    """At most 63 bytes; the end of a path says more than its beginning."""
    room = 63 - len(before.encode()) - len(after.encode())
    data = middle.encode("utf-8", "replace")
    if len(data) > room:
        middle = "..." + data[len(data) - room + 3 :].decode("utf-8", "ignore")
    return before + middle + after


def choose(cell):
    """(name of the source, package folder or None) without making anything."""
    if cell.model_ref.startswith("hf:"):
        return "hf", None
    if cell.model_ref:
        if ":" not in cell.model_ref:
            raise model_error(f"'{cell.model_ref}' is no pkg.module:factory and no hf:DIR")
        return "factory", None
    if cell.model.name.startswith(PACKAGE) and cell.options.source == "auto":
        package = find_package(PACKAGE)
        if package is not None:
            return "package", package
    return "builtin", None


def make(cell, device, precision):
    """The model with its weights, on the device, in the parameters' type."""
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    name, package = choose(cell)
    torch.manual_seed(cell.seed & ((1 << 63) - 1))
    if name == "package":
        return _package(cell, package, device, precision)
    if name == "factory":
        return _factory(cell, device, precision)
    if name == "hf":
        return _hf(cell, device, precision)
    return _builtin(cell, device, precision)
