"""Where a cell's model comes from.

package   `superintelligence`, found from the working directory, its parents or the Python path,
          used unchanged; a preset's settings fill its ModelConfig
builtin   our own implementation of the same architecture
factory   FILE.py:name or pkg.module:name, called with what its signature asks of (config, vocab_size, seq_len)
hf        a local transformers folder, with or without weights
"""
import dataclasses
import importlib.util
import os
import sys
from pathlib import Path

import torch

from . import torch_hf, torch_model
from .cell import ModelSpec
from .config_fill import make_config, rule_preset, rule_published
from .devices import require_any_model, require_own_model
from .errors import model_error, unsupported
from .made_config import PRESET, SET, Arguments, Filled, report_values, values_of
from .model_config import arguments, builtin_spec
from .setting_names import ESSENTIAL, match_names, spec_key, vocabulary_of_config
from .torch_deferred import Deferred
from .torch_layout import shard_blocks
from .torch_made import Source, make_module
from .torch_vocabulary import token_vocabulary
from .torch_weights import shard_into
from .user_code import call_user, find_target, import_module, shorten

PACKAGE = "superintelligence"


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


def _package(cell, package, device, precision, deferred):
    config_class = getattr(import_module(f"{PACKAGE}.config"), "ModelConfig", None)
    if config_class is None or not dataclasses.is_dataclass(config_class):
        raise model_error(f"{package}/config.py has no dataclass ModelConfig")
    model_class = getattr(import_module(f"{PACKAGE}.model"), "SuperIntelligenceModel", None)
    if model_class is None:
        raise model_error(f"{package}/model.py has no SuperIntelligenceModel")
    rule = rule_published if cell.options.figures == "own" else rule_preset
    config, filled = make_config(config_class, cell.options.set, rule(cell.model))
    names = {key: name for name, key in match_names(values_of(config)).items()}
    model, notes = make_module(
        "SuperIntelligenceModel(config)", model_class, device, precision.param_dtype, (config,), deferred=deferred
    )
    homeless = [key for key in ESSENTIAL if key not in names]
    if homeless:
        notes.append(f"ModelConfig has no field for {', '.join(homeless)}")
    call = Arguments("ModelConfig", [], Filled(), config=config, config_filled=filled)
    report, chosen = call.report(model)
    return Source(
        model=model,
        text=shorten(f"package {PACKAGE} (", str(package), ")"),
        vocab_size=token_vocabulary(
            model, vocabulary_of_config(config), filled.origins.get(names.get("vocab_size")) == SET
        ) or cell.model.vocab_size,
        params_active=_active_of_package(cell, config, names, model),
        notes=notes,
        config=report,
        chosen=chosen,
    )


def _active_of_package(cell, config, names, model):
    """By the spec's arithmetic, where its total is what the model really has."""
    settings = {key: getattr(config, name) for key, name in names.items()}
    known = {item.name for item in dataclasses.fields(ModelSpec)}
    try:
        spec = dataclasses.replace(
            cell.model, **{key: value for key, value in settings.items() if key in known}
        )
        counted = sum(param.numel() for param in model.parameters())
        return spec.params_active() if spec.params_total() == counted else None
    except (TypeError, ValueError, ZeroDivisionError):
        return None


def _builtin(cell, device, precision, layout):
    spec = builtin_spec(cell)
    require_own_model(cell, layout.factors, spec)
    model = torch_model.build(
        spec, cell.options.moe, device, precision.param_dtype, precision.compute_dtype, layout.place(precision)
    )
    layout.gather_ahead(list(model.layers))
    form = f" ({cell.options.moe})" if spec.ffn == "moe_swiglu" else ""
    return Source(
        model=model,
        text=f"tokmark pytorch{form}",
        vocab_size=spec.vocab_size,
        params_active=spec.params_active(),
        is_builtin=True,
        config=report_values(
            dataclasses.asdict(spec), dict.fromkeys(cell.options.set, SET), PRESET
        )[0],
    )


def _factory(cell, device, precision, deferred):
    ref = cell.model_ref
    target = find_target(ref)
    if not callable(target):
        raise model_error(f"{ref} is a {type(target).__name__}, not a class or function")
    if isinstance(target, torch.nn.Module):
        call = arguments(cell, lambda: target, ref)  # made already: nothing can be set
    else:
        call = arguments(cell, target, ref)
    model, notes = make_module(
        ref, (lambda: target) if isinstance(target, torch.nn.Module) else target,
        device, precision.param_dtype, call.args, call.kwargs, deferred,
    )
    if getattr(getattr(model, "config", None), "is_encoder_decoder", False) is True:
        raise unsupported(f"{ref} is an encoder-decoder; tokmark measures causal language models")
    said = call.vocab_size
    if said is None:
        said = vocabulary_of_config(getattr(model, "config", None))
    names = [name for name in cell.options.set if spec_key(name) == "vocab_size"]
    vocab_size = token_vocabulary(model, said, bool(names))
    report, chosen = call.report(model)
    if vocab_size is None:  # no table and no configuration: the model itself may say it
        vocab_size = call_user(ref, vocabulary_of_config, model)
    is_vocabulary_chosen = vocab_size is None
    if is_vocabulary_chosen:
        vocab_size = cell.model.vocab_size
        chosen = ", ".join(filter(None, (chosen, f"tokens of a vocabulary of {vocab_size}")))
    return Source(
        model=model,
        text=shorten("factory ", ref, ""),
        vocab_size=vocab_size,
        is_vocabulary_chosen=is_vocabulary_chosen,
        is_hf=hasattr(model, "_prepare_cache_for_generation"),
        notes=notes,
        config=report,
        chosen=chosen,
    )


def choose(cell):
    """(name of the source, package folder or None) without making anything."""
    if cell.model_ref.startswith("hf:"):
        return "hf", None
    if cell.model_ref:
        if ":" not in cell.model_ref:
            raise model_error(f"'{cell.model_ref}' is no pkg.module:factory, no FILE.py:NAME and no hf:DIR")
        return "factory", None
    if cell.model.name.startswith(PACKAGE) and cell.options.source == "auto":
        package = find_package(PACKAGE)
        if package is not None:
            return "package", package
    return "builtin", None


def seed_random(cell, rank=0):
    """PyTorch's generators. Ranks have other rows, and so other dropout."""
    torch.manual_seed((cell.seed + rank) & ((1 << 63) - 1))


def make(cell, device, precision, layout):
    """The model with its weights, on the device, in the parameters' type."""
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    name, package = choose(cell)
    seed_random(cell)
    if name == "builtin":
        return _builtin(cell, device, precision, layout)
    require_any_model(cell, layout.factors, name == "package")
    place = layout.place()
    deferred = None if place is None else Deferred(device)
    if name == "package":
        source = _package(cell, package, device, precision, deferred)
    elif name == "factory":
        source = _factory(cell, device, precision, deferred)
    else:
        source = torch_hf.load(cell, device, precision)
    if place is not None:
        shapeless = [name for name, param in source.model.named_parameters() if torch.nn.parameter.is_lazy(param)]
        if shapeless:
            layout.require_known_parameters(shapeless)
        shard_blocks(source.model, place)
        if deferred.is_made:
            deferred.fill(source.model, shard_into)
    return source
