"""What a model's output holds, and which of its numbers is the loss; no framework is named here."""
import dataclasses
import re
from collections.abc import Mapping

from .errors import model_error

# What a model with several losses calls the one that is trained.
_TOTAL_NAMES = ("total_loss", "loss_total", "combined_loss", "full_loss", "train_loss")
_LOSS_WORDS = re.compile(r"loss|nll|objective|^ce$|cross_entropy", re.IGNORECASE)
_PART_WORDS = re.compile(r"aux|balanc|router|^z_|_z_|reg|kl", re.IGNORECASE)  # beside a loss
# Parameters that take targets, beside the usual names: lm_labels, shifted_targets, target_seq, tgt.
TARGET_WORDS = re.compile(
    r"((causal_)?lm|next(_token)?|shift(ed)?|tokens?|text|output|train|true|gold|y)?_?"
    r"(targets?|labels?|targs?|tgts?|trg|ground_truth|golds?|next_tokens?)"
    r"(_ids?|_idx|_tokens?|_seq|_sequence)?",
    re.IGNORECASE,
)


def parts_of(out, is_array, depth=2):
    """[(name, value)] of what an output holds, also inside an inner tuple or dict; the name is None
    in a plain tuple."""
    if is_array(out) or out is None or depth == 0:
        return []
    if isinstance(out, Mapping):
        items = list(out.items())
    elif isinstance(out, (tuple, list)):
        items = list(zip(getattr(out, "_fields", None) or [None] * len(out), out))
    elif dataclasses.is_dataclass(out):
        items = [(item.name, getattr(out, item.name, None)) for item in dataclasses.fields(out)]
    else:
        items = list(getattr(out, "__dict__", {}).items())
    found = []
    for name, value in items:
        inner = [] if is_array(value) else parts_of(value, is_array, depth - 1)
        found += inner or [(name, value)]
    return found


def named(out, name):
    return out.get(name) if isinstance(out, Mapping) else getattr(out, name, None)


def row_shapes(tokens_shape):
    """Shapes of a loss of every token, or of every row. A model that shifts its labels has one token less."""
    B, T = tokens_shape
    return (B, T), (B * T,), (B, T - 1), (B * (T - 1),), (B,)


def is_loss_name(name):
    return name is not None and _LOSS_WORDS.search(str(name)) is not None


def loss_by_name(numbers):
    """Of numbers with names, none of them `loss`: the total, or the only loss; None where there is
    none."""
    losses = {str(name): value for name, value in numbers if _LOSS_WORDS.search(str(name))}
    for name in _TOTAL_NAMES:
        if name in losses:
            return losses[name]
    if len(losses) > 1:
        raise model_error(
            f"the model gives several losses ({', '.join(losses)}), and none is called loss or "
            f"{_TOTAL_NAMES[0]}: tokmark cannot say which is to be trained"
        )
    return next((value for name, value in losses.items() if not _PART_WORDS.search(name)), None)
