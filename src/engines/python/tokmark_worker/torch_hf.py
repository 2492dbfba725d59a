"""A local transformers folder, with or without weights, made as its config says or refused by name.

What is asked of transformers is what a user's own script asks: a config from the folder, a causal
language model from it, weights from the files beside it. Nothing is downloaded, no weight is made up
where the folder has weights, and code that lies in the folder runs only where that was allowed.
"""
import json
import os
import sys
from pathlib import Path

import torch

from . import file_formats, safetensors
from .cell import hint
from .errors import describe_error, is_memory_error, model_error, unsupported
from .made_config import FILE, SET, report_values
from .setting_text import value_of
from .torch_made import Source, made_on, make_module, place
from .user_code import call_user, shorten

_MEASURES = "tokmark measures causal language models"
_CODE_KEYS = ("AutoConfig", "AutoModelForCausalLM")
# What the file of weights is called that transformers reads, with the index of several.
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_OTHER_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".h5", ".msgpack", ".gguf", ".ckpt")
_NO_WEIGHTS = ("training_args.bin", "optimizer.pt", "scheduler.pt", "optimizer.bin", "scheduler.bin")
# Which list of transformers a model type is in, and what such a model is.
_KINDS = (
    ("MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES", "an encoder-decoder"),
    ("MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES", "a speech model"),
    ("MODEL_FOR_CTC_MAPPING_NAMES", "a speech model"),
    ("MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES", "an image model"),
    ("MODEL_FOR_MASKED_LM_MAPPING_NAMES", "an encoder"),
    ("MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES", "a model of images and text"),
)


def load(cell, device, precision):
    """The Source of `--model hf:DIR`."""
    folder = Path(cell.model_ref[len("hf:") :]).expanduser()
    if not (folder / "config.json").is_file():
        raise model_error(f"'{folder}' has no config.json of a transformers model")
    given = _read_json(folder / "config.json")
    transformers = _import_transformers()
    trusts = cell.options.trust_remote_code == "yes"
    notes = _require_known(transformers, folder, given, trusts)
    config = _make_config(folder, given, cell.options.set, trusts)
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    if not notes:
        _require_causal(given, config, text)
    _require_length(cell, config, text)
    files = None if cell.weights_path else _weights_files(folder)
    notes += _settle_quantization(folder, config, bool(files), precision)
    auto = transformers.AutoModelForCausalLM
    if files:
        model = _from_weights(auto, folder, config, device, precision, trusts)
        notes.append("weights from the folder")
    else:
        def from_config():
            return auto.from_config(
                config, **_dtype_argument(transformers, torch.get_default_dtype()),
                trust_remote_code=trusts,
            )

        model, more = make_module(
            "AutoModelForCausalLM.from_config", from_config, device, precision.param_dtype
        )
        notes += more + ([] if cell.weights_path else ["weights initialised"])
    _take_generation_config(transformers, folder, model)
    return Source(
        model=model,
        text=shorten("hf ", str(folder), ""),
        vocab_size=int(text.vocab_size),
        is_hf=True,
        notes=notes,
        config=report_values(
            {name: value for name, value in vars(text).items() if name[0] != "_"},
            {key.rpartition(".")[2]: SET for key in cell.options.set},
            FILE,
        )[0],
    )


def _import_transformers():
    # nothing is ever asked of a network
    os.environ["HF_HUB_OFFLINE"] = os.environ["TRANSFORMERS_OFFLINE"] = "1"
    try:
        import transformers
    except ImportError as error:
        raise unsupported(
            f"a model 'hf:' needs transformers, which {sys.executable} has not: {error}"
        ) from None
    return transformers


def _dtype_argument(transformers, dtype):
    numbers = tuple(int(part) for part in transformers.__version__.split(".")[:2])
    return {"dtype" if numbers >= (4, 56) else "torch_dtype": dtype}


# --- what the folder says ------------------------------------------------------------------------


def _read_json(path):
    """The object of a JSON file; a model error with the file and the line."""
    try:
        data = path.read_bytes()
        what = file_formats.describe_other(data[:512], path) if data[:1] != b"{" else None
        if what:
            raise model_error(f"'{path}' {what}")
        value = json.loads(data.decode("utf-8"))
    except OSError as error:
        raise model_error(f"cannot read '{path}': {error.strerror or error}") from None
    except json.JSONDecodeError as error:
        raise model_error(
            f"'{path}' is no JSON: {error.msg}, line {error.lineno} column {error.colno}"
        ) from None
    except (ValueError, RecursionError) as error:
        raise model_error(f"'{path}' is no JSON: {error}") from None
    if not isinstance(value, dict):
        raise model_error(f"'{path}' is no JSON object")
    return value


def _architectures(given):
    names = given.get("architectures")
    return [str(name) for name in names] if isinstance(names, list) else []


def _require_known(transformers, folder, given, trusts):
    """Notes on code of the folder's own; a refusal of what transformers does not know."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    kind = given.get("model_type")
    code = given.get("auto_map")
    code = [str(code[key]) for key in _CODE_KEYS if key in code] if isinstance(code, dict) else []
    files = ", ".join(sorted({name.split("--")[-1].split(".")[0] + ".py" for name in code}))
    if code and trusts:
        return [f"runs code of the folder ({files})"]
    if kind in CONFIG_MAPPING:
        return []
    if code:
        raise unsupported(
            f"model type {kind} is code in the folder '{folder}' ({files}), not part of "
            f"transformers {transformers.__version__}: --trust-remote-code runs it"
        )
    if not kind:
        raise model_error(f"'{folder}/config.json' has no model_type")
    saved_by = given.get("transformers_version")
    by = f" (saved by transformers {saved_by})" if saved_by else ""
    raise unsupported(
        f"model type {kind}{by} is not known to transformers {transformers.__version__}: a newer "
        f"transformers may know it"
    )


def _require_causal(given, config, text):
    """A model that does not continue a text is refused by what it is."""
    from transformers.models.auto import modeling_auto

    kind = config.model_type

    def holds(name, model_type):
        return model_type in (getattr(modeling_auto, name, None) or {})

    words = [what for name, what in _KINDS if holds(name, kind)]
    names = _architectures(given)
    said = f"Model type {kind}" + (f" ({names[0]})" if names else "")
    if getattr(config, "is_encoder_decoder", False):
        raise unsupported(f"{said} is an encoder-decoder; {_MEASURES}")
    if not holds("MODEL_FOR_CAUSAL_LM_MAPPING_NAMES", kind):
        what = words[0] if words else "no causal language model"
        raise unsupported(f"{said} is {what}; {_MEASURES}")
    if "an encoder" in words and not getattr(text, "is_decoder", False):
        raise unsupported(f"{said} is an encoder: a masked language model; {_MEASURES}")
    tasks = [name for name in names if "For" in name]
    if tasks and not any(
        name.endswith(("ForCausalLM", "ForConditionalGeneration")) for name in tasks
    ):
        raise unsupported(f"{said} is a model for another task; {_MEASURES}")


def _require_length(cell, config, text):
    for holder in (text, config):
        longest = getattr(holder, "max_position_embeddings", None)
        if isinstance(longest, int) and cell.seq_len > longest > 0:
            raise model_error(
                f"seq_len {cell.seq_len} is over the model's max_position_embeddings {longest}"
            )


# --- settings ------------------------------------------------------------------------------------


def _make_config(folder, given, overrides, trusts):
    """The config with --set in it before it is made, so that what follows from a setting follows."""
    import transformers

    def read():
        return transformers.AutoConfig.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=trusts
        )

    config = call_user("AutoConfig", read)
    if not overrides:
        return config
    merged = json.loads(json.dumps(given))
    wanted = {}
    for key, text in overrides.items():
        part, holder, name = _holder(config, merged, key)
        value = call_user("--set", value_of, key, text, default=getattr(part, name))
        holder[name] = wanted[key] = value
    config = call_user("--set", type(config).from_dict, merged)
    for key, value in wanted.items():
        part, _, name = _holder(config, merged, key)
        if getattr(part, name) != value:
            raise model_error(
                f"--set {key}: {type(part).__name__} has {getattr(part, name)} where "
                f"{value} was given"
            )
    return config


def _holder(config, merged, key):
    """(config or its part that has the setting, the same of the JSON object, the setting's name).
    `text_config.NAME` names a part; NAME alone is looked for in the text part too."""
    part, holder, name = config, merged, key
    while "." in name:
        first, _, name = name.partition(".")
        part, holder = getattr(part, first, None), holder.setdefault(first, {})
    if part is not None and "." not in key and not _has(part, name):
        inner = getattr(config, "text_config", None)
        if inner is not None and _has(inner, name):
            part, holder = inner, merged.setdefault("text_config", {})
    if part is None or not _has(part, name):
        known = [one for one in vars(part if part is not None else config) if one[0] != "_"]
        raise model_error(
            f"{type(config).__name__} has no '{key}'; {hint(key, known)}"
        )
    return part, holder, getattr(type(part), "attribute_map", {}).get(name, name)


def _has(config, name):
    """Of its own: a part of a config may answer for the whole."""
    names = {*vars(config), *getattr(type(config), "attribute_map", {})}
    return name in names or (hasattr(config, name) and not hasattr(config, "text_config"))


# --- weights -------------------------------------------------------------------------------------


def _weights_files(folder):
    """The files of the folder's weights, all there; empty where it has none. A model error where some
    are missing, or are something else: then nothing may be made up."""
    for name in _WEIGHTS:
        index = folder / f"{name}.index.json"
        if not (folder / name).exists() and index.is_file():
            by_file = safetensors.read_index(str(index))
            safetensors.require_shards(str(index), by_file)
            return _checked(folder / file for file in by_file)
        if (folder / name).exists():
            return _checked([folder / name])
    if (folder / "adapter_config.json").is_file():
        raise unsupported(
            f"'{folder}' holds an adapter: merge it into its base model, and measure that folder"
        )
    others = sorted(
        path.name for path in folder.iterdir()
        if path.name.endswith(_OTHER_WEIGHTS) and path.name not in _NO_WEIGHTS
    )
    if others:
        raise model_error(
            f"'{folder}' has {safetensors.listed(others)}, but no {_WEIGHTS[0]} or {_WEIGHTS[1]} "
            f"and no index of either: transformers would not read them; give them with --weights, "
            f"or take them away to measure initialised weights"
        )
    return []


def _checked(paths):
    paths = list(paths)
    for path in paths:
        if path.suffix == ".safetensors":
            safetensors.require_format(str(path))
        else:
            with open(path, "rb") as file:
                start = file.read(512)
            if start.startswith(file_formats.LFS):
                raise model_error(f"'{path}' {file_formats.describe_other(start, path)}")
    return paths


def _settle_quantization(folder, config, has_weights, precision):
    """Notes; a refusal of quantized weights, which no --precision is."""
    found = getattr(config, "quantization_config", None)
    if found is None:
        return []
    method = found.get("quant_method") if isinstance(found, dict) else found.quant_method
    method = getattr(method, "value", method)
    if has_weights:
        raise unsupported(
            f"the weights in '{folder}' are quantized ({method}), which is none of the precisions "
            f"that are measured: dequantize them, or give a folder with config.json alone"
        )
    del config.quantization_config
    return [f"quantization_config ({method}) left out: the parameters are {precision.name}"]


def _from_weights(auto, folder, config, device, precision, trusts):
    import transformers

    def read():
        with made_on("cpu", precision.param_dtype):
            return auto.from_pretrained(
                str(folder), config=config, local_files_only=True, output_loading_info=True,
                trust_remote_code=trusts,
                ignore_mismatched_sizes=True,  # told below, each by its name
                **_dtype_argument(transformers, precision.param_dtype),
            )

    try:
        model, info = read()
    except Exception as error:
        if is_memory_error(error):
            raise
        raise model_error(f"weights of '{folder}': {describe_error(error)}") from error
    names = {key: sorted(map(str, info.get(key) or ())) for key in
             ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs")}
    if names["missing_keys"]:
        raise model_error(
            f"the weights in '{folder}' have no tensor {safetensors.listed(names['missing_keys'])}, "
            f"which transformers would make up"
        )
    for key, what in (
        ("mismatched_keys", "have tensors of other shapes than the config says"),
        ("unexpected_keys", "have tensors that the config's model has not"),
        ("error_msgs", "could not be read"),
    ):
        if names[key]:
            raise model_error(
                f"the weights in '{folder}' {what}: {safetensors.listed(names[key])}"
            )
    return call_user("to", place, model, device, precision.param_dtype)


def _take_generation_config(transformers, folder, model):
    """What `generate` would do with the folder: which cache it would use, above all."""
    path = folder / "generation_config.json"
    if not path.is_file() or not hasattr(model, "generation_config"):
        return
    given = _read_json(path)
    model.generation_config = call_user(
        "generation_config.json", transformers.GenerationConfig.from_dict, given
    )
