"""Logits and loss in whatever a model's forward gives: a tensor, a tuple, a dict, an object."""
import dataclasses
import re
from collections.abc import Mapping

import torch
import torch.nn.functional as F

from .errors import model_error
from .user_code import pick_logits

# What a model with several losses calls the one that is trained.
_TOTAL_NAMES = ("total_loss", "loss_total", "combined_loss", "full_loss", "train_loss")
_LOSS_WORDS = re.compile(r"loss|nll|objective|^ce$|cross_entropy", re.IGNORECASE)
_PART_WORDS = re.compile(r"aux|balanc|router|^z_|_z_|reg|kl", re.IGNORECASE)  # beside a loss


def cross_entropy(logits, targets):
    return F.cross_entropy(logits.flatten(0, -2).float(), targets.reshape(-1))


def is_number(value):
    return torch.is_tensor(value) and value.numel() == 1


def parts_of(out, depth=2):
    """[(name, value)] of what an output holds, also inside an inner tuple or dict; the name is None
    in a plain tuple."""
    if torch.is_tensor(out) or out is None or depth == 0:
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
        inner = [] if torch.is_tensor(value) else parts_of(value, depth - 1)
        found += inner or [(name, value)]
    return found


def _named(out, name):
    return out.get(name) if isinstance(out, Mapping) else getattr(out, name, None)


# --- logits --------------------------------------------------------------------------------------


def find_logits(out, tokens_shape, vocab_size):
    """(B, T, V), or (B, 1, V) of the last position, whatever the output holds beside; as it is where
    nothing in it has such a shape."""
    logits = out if torch.is_tensor(out) else _named(out, "logits")
    if not torch.is_tensor(logits):
        parts = parts_of(out)
        fitting = [part for part in parts if _fits(part[1], tokens_shape, vocab_size)]
        fitting.sort(key=lambda part: (
            "logits" not in str(part[0]).lower(), part[1].shape[-1] != vocab_size
        ))
        wide = [value for _, value in parts if torch.is_tensor(value) and value.dim() == 3]
        if fitting:
            logits = fitting[0][1]
        else:
            logits = wide[0] if wide else pick_logits(out, torch.is_tensor)
    return _in_rows(logits, tokens_shape, vocab_size)


def _fits(value, tokens_shape, vocab_size):
    if not torch.is_tensor(value) or not value.is_floating_point() or value.dim() not in (2, 3):
        return False
    B, T = tokens_shape
    return value.shape[-1] >= vocab_size and tuple(value.shape[:-1]) in ((B, T), (B, 1), (B * T,), (B,))


def _in_rows(logits, tokens_shape, vocab_size):
    """(B T, V), as many models give it beside their loss, and (B, V) of the last position, get the
    dimension that they lack."""
    if not torch.is_tensor(logits) or logits.dim() != 2 or logits.shape[1] < vocab_size:
        return logits
    B, T = tokens_shape
    if logits.shape[0] == B * T:
        return logits.view(B, T, -1) if logits.is_contiguous() else logits.unflatten(0, (B, T))
    return logits.unsqueeze(1) if logits.shape[0] == B else logits


# --- loss ----------------------------------------------------------------------------------------


def numbers_of(out):
    """[(name, tensor)] of the numbers in an output."""
    return [(name, value) for name, value in parts_of(out) if is_number(value)]


def is_choice_open(out):
    """Whether nothing but a try tells which of the numbers is the loss: several in a tuple."""
    numbers = numbers_of(out)
    return len(numbers) > 1 and all(name is None for name, _ in numbers)


def find_loss(out, has_targets, chosen=0):
    """The loss in a model's output: alone, under its name, or the number in a tuple or dict, of
    several in a tuple the one at `chosen`; None when there is none. A number that comes without a
    name from a model that was given no targets is something else."""
    if torch.is_tensor(out):
        return out if out.numel() == 1 else None
    named = _named(out, "loss")
    if torch.is_tensor(named):
        if named.numel() != 1:
            raise model_error(f"the loss that forward gives has shape {tuple(named.shape)}")
        return named
    if not has_targets or (isinstance(out, Mapping) and "loss" in out) or hasattr(out, "loss"):
        return None  # a loss of None is none
    numbers = numbers_of(out)
    if all(name is None for name, _ in numbers):
        return numbers[chosen][1] if numbers and chosen is not None else None
    losses = {str(name): value for name, value in numbers if _LOSS_WORDS.search(str(name))}
    for name in _TOTAL_NAMES:
        if name in losses:
            return losses[name]
    if len(losses) > 1:
        raise model_error(
            f"forward gives several losses ({', '.join(losses)}), and none is called loss or "
            f"{_TOTAL_NAMES[0]}: tokmark cannot say which is to be trained"
        )
    return next((value for name, value in losses.items() if not _PART_WORDS.search(name)), None)


def shifts_by_value(loss, logits, targets):
    """Whether a model's own loss is that of logits against the next row of its labels; None where
    its value is neither that nor the loss against the labels as they are."""
    if not torch.is_tensor(logits) or logits.dim() != 3 or logits.shape[:2] != targets.shape:
        return None
    if targets.shape[1] < 2:
        return False
    plain = cross_entropy(logits, targets)
    shifted = cross_entropy(logits[:, :-1], targets[:, 1:])
    near = float(loss) * (1e-4 if loss.dtype in (torch.float32, torch.float64) else 2**-8)
    if abs(float(loss - plain)) <= 4 * near:
        return False
    return True if abs(float(loss - shifted)) <= near else None
