"""Which tokens a model knows: the rows of its token embedding."""
import re

import torch

from .errors import model_error

# Tables that are looked up by something else than a token.
_OTHER_TABLES = re.compile(
    r"(^|[._])(n_?)?(pos|wpe|rel(ative)?($|[._])|(token_?)?type|segment|time|place|rotary)"
    r"|pos(ition)?_?emb|[a-z]Pos", re.IGNORECASE
)
_TOKEN_TABLES = re.compile(r"tok|wte|word|vocab|emb|lookup", re.IGNORECASE)


def _is_table(tensor):
    """Of a shape that is known: a lazy module's is not yet."""
    is_lazy = isinstance(tensor, torch.nn.parameter.UninitializedParameter)
    return isinstance(tensor, torch.Tensor) and not is_lazy and tensor.dim() == 2


def _rows(module):
    weight = getattr(module, "weight", None)
    return weight.shape[0] if _is_table(weight) else None


def _is_a(kind, module):
    """Of PyTorch's class of that name, also where TorchScript has made another object of it."""
    if isinstance(module, torch.jit.ScriptModule):
        return module.original_name == kind
    return isinstance(module, getattr(torch.nn, kind))


def _own_answer(model):
    """Of models that say it themselves, as transformers' do."""
    method = getattr(model, "get_input_embeddings", None)
    if not callable(method):
        return None
    try:
        return _rows(method())
    except Exception:  # some have the method and nothing behind it
        return None


def _tables(model):
    """(name, rows) of what may be looked up by token, likeliest first."""
    found = [
        (name, _rows(module))
        for name, module in model.named_modules()
        if _is_a("Embedding", module) and _rows(module) is not None and not _OTHER_TABLES.search(name)
    ]
    if found:
        heads = {_rows(module) or getattr(module, "out_features", None) for module in model.modules() if _is_a("Linear", module)}
        return sorted(found, key=lambda table: table[1] not in heads)
    return [
        (name, param.shape[0])
        for name, param in model.named_parameters()
        if _is_table(param)
        and _TOKEN_TABLES.search(name)
        and not _OTHER_TABLES.search(name)
    ]


def token_vocabulary(model, said, is_set):
    """How many tokens may be drawn: `said`, what the model's configuration or arguments say (None:
    nothing), as far as its embedding has the rows. None where nothing is known.

    A table may have more rows than there are tokens (padding). One with fewer shows that the
    constructor did not do what it was told: an error where --set said it (`is_set`)."""
    own = _own_answer(model)
    tables = [("its input embedding", own)] if own is not None else _tables(model)
    if not tables:
        return said
    if said is None:
        return tables[0][1]
    name, most = max(tables, key=lambda table: table[1])
    if most >= said:
        return said
    if is_set:
        raise model_error(
            f"--set vocab_size={said} does not reach the model: {name} has {most} rows"
        )
    return most
