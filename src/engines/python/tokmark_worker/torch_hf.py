"""A local transformers folder, with or without weights."""
import os
import sys
from pathlib import Path

from .cell import hint, parse_text
from .errors import model_error, unsupported
from .torch_made import Source, made_on, make_module
from .user_code import call_user, shorten


def _has_weights(folder):
    names = [name.name for name in folder.iterdir()]
    return any(
        name.endswith(".safetensors") or (name.startswith("pytorch_model") and ".bin" in name)
        for name in names
    )


def load(cell, device, precision):
    """The Source of `--model hf:DIR`."""
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
                f"{type(config).__name__} has no '{key}'; {hint(key, known)}"
            )
        value = call_user("--set", parse_text, key, text, type(getattr(config, key)))
        setattr(config, key, value)
    longest = getattr(config, "max_position_embeddings", None)
    if isinstance(longest, int) and cell.seq_len > longest:
        raise model_error(f"seq_len {cell.seq_len} is over max_position_embeddings {longest}")
    auto = transformers.AutoModelForCausalLM
    has_weights = _has_weights(folder)
    if has_weights:
        with made_on("cpu", precision.param_dtype):
            model = call_user(
                "from_pretrained", auto.from_pretrained, str(folder), config=config,
                local_files_only=True,
            )
        model = model.to(device=device, dtype=precision.param_dtype)
        notes = []
    else:
        model, notes = make_module("from_config", auto.from_config, device, precision.param_dtype,
                             (config,))
    notes.append("weights from the folder" if has_weights else "weights initialised")
    return Source(
        model=model,
        text=shorten("hf ", str(folder), ""),
        vocab_size=int(config.get_text_config().vocab_size)
        if hasattr(config, "get_text_config")
        else int(config.vocab_size),
        is_hf=True,
        notes=notes,
    )
