"""Why a model may have failed at its first call, where the cell or what tokmark chose may be to blame."""
import re

import torch

from .torch_signature import TOKEN_NAMES

_POSITIONS = re.compile(r"(^|[._])(pos|wpe)|pos(ition)?s?_?emb", re.IGNORECASE)
_TYPES = re.compile(r"\blong( int)?\b", re.IGNORECASE)
_INDICES = re.compile(r"index|out of (range|bounds)|class", re.IGNORECASE)
_NO_TENSOR = re.compile(r"batch|data|sample|example|features?|item", re.IGNORECASE)


def why_not_called(error, source, caller, tokens):
    """One sentence, or None. error: of the user's code, or of PyTorch's below it."""
    if not isinstance(error, (LookupError, RuntimeError, TypeError, ValueError)):
        return None
    table = _short_table(source.model, tokens.shape[1])
    if table is not None:
        name, rows = table
        return f"'{name}' has {rows} positions: seq_len may be at most {rows}, or a setting of the model's (--set) be larger"
    name = caller.tokens_name
    if name is not None and name not in TOKEN_NAMES and _NO_TENSOR.fullmatch(name):
        return f"tokmark gives '{name}' token ids, a tensor (B, T): a wrapper whose forward takes them would do"
    if _TYPES.search(str(error)):
        return "tokmark gives token ids (int64): a model of images or of other numbers is none that it measures"
    if source.is_vocabulary_chosen and _INDICES.search(str(error)):
        return (
            f"tokens are below {source.vocab_size}, since nothing says the model's vocabulary: an argument, a config or "
            f"an attribute called vocab_size would"
        )
    return None


def _short_table(model, seq_len):
    """(name, rows) of a table of positions that has less than seq_len."""
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Embedding) and _POSITIONS.search(name):
            if module.num_embeddings < seq_len:
                return name, module.num_embeddings
    for name, param in [*model.named_parameters(), *model.named_buffers()]:
        if _POSITIONS.search(name) and param.dim() in (2, 3) and 1 < param.shape[-2] < seq_len:
            return name, param.shape[-2]
    return None
