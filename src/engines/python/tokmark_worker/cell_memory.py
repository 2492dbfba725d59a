"""What must fit before anything is allocated: arithmetic, the same for every framework."""
from . import host_memory
from .errors import host_oom

_ITEM_BYTES = {"fp32": 4, "bf16": 2, "fp16": 2}


def bytes_least(params_count, cell, vocab_size, param_type, compute_type):
    """What a cell whose parameters are all trained cannot do without: weights and bytes_to_come().
    Activations come on top: a cell this lets through may still not fit."""
    weights = params_count * _ITEM_BYTES[param_type]
    return weights + bytes_to_come(params_count, cell, vocab_size, param_type, compute_type)


def bytes_to_come(trainable_count, cell, vocab_size, param_type, compute_type):
    """What a cell cannot do without once its weights are made: their casts during a step, for
    training gradients and AdamW's two moments, and the logits with, for training, their log-softmax
    and gradient. Of parameters only those that are trained count: others have neither gradients nor
    moments, may be cast piece by piece, and may never be touched at all."""
    item = _ITEM_BYTES[param_type]
    compute_item = _ITEM_BYTES[compute_type]
    total = trainable_count * compute_item if compute_type != param_type else 0
    if cell.mode == "train":
        total += trainable_count * (item + 2 * _ITEM_BYTES.get(cell.options.optimizer_dtype, item))
    rows = cell.batch_size // cell.options.accumulate * (1 if cell.mode == "decode" else cell.seq_len)
    return total + rows * vocab_size * (compute_item + (8 if cell.mode == "train" else 0))


def require_host(cell, what, needed_bytes):
    """Raises oom when the host cannot give so much: the kernel would kill the process instead. A
    cell may ask to be tried all the same."""
    if cell.memory_check == "off":
        return
    usable = host_memory.usable_bytes()
    if usable is not None and needed_bytes > usable:
        raise host_oom(what, needed_bytes, usable)


def describe_cell(cell, params_count):
    return f"the cell ({params_count / 1e6:.0f} M parameters, {cell.mode})"
