"""Logits and loss in whatever a model's forward gives: a tensor, a tuple, a dict, an object."""
from collections.abc import Mapping

import torch
import torch.nn.functional as F

from .errors import model_error
from .output_parts import loss_by_name, named, parts_of, row_shapes
from .user_code import pick_logits

_SUM_NOISE = 0.02  # of probabilities in bf16


def cross_entropy(logits, targets):
    return F.cross_entropy(logits.flatten(0, -2).float(), targets.reshape(-1))


def is_number(value):
    return torch.is_tensor(value) and value.numel() == 1


# --- logits --------------------------------------------------------------------------------------


def find_logits(out, tokens_shape, vocab_size):
    """(B, T, V), or (B, 1, V) of the last position, whatever the output holds beside; as it is where
    nothing in it has such a shape."""
    return _in_rows(given_logits(out, tokens_shape, vocab_size), tokens_shape, vocab_size)


def given_logits(out, tokens_shape, vocab_size):
    """The same in whatever shape forward gave it."""
    logits = out if torch.is_tensor(out) else named(out, "logits")
    if torch.is_tensor(logits):
        return logits
    parts = parts_of(out, torch.is_tensor)
    fitting = [part for part in parts if _fits(part[1], tokens_shape, vocab_size)]
    fitting.sort(key=lambda part: (
        "logits" not in str(part[0]).lower(), part[1].shape[-1] != vocab_size
    ))
    if fitting:
        return fitting[0][1]
    wide = [value for _, value in parts if torch.is_tensor(value) and value.dim() == 3]
    return wide[0] if wide else pick_logits(out, torch.is_tensor)


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
    return [(name, value) for name, value in parts_of(out, torch.is_tensor) if is_number(value)]


def row_losses(out, tokens_shape):
    """[(name, tensor)] of what in an output may be a loss of every token, or of every row, as far as
    gradients go through it."""
    shapes = row_shapes(tokens_shape)
    parts = [(None, out)] if torch.is_tensor(out) else parts_of(out, torch.is_tensor)
    return [
        (name, value) for name, value in parts
        if torch.is_tensor(value) and value.requires_grad and not is_number(value)
        and tuple(value.shape) in shapes
    ]


def require_no_probabilities(logits):
    """Cross-entropy takes logits, or their log-softmax: of probabilities it is another number."""
    row = logits.detach()[0].float()
    if bool((row >= 0).all()) and bool(((row.sum(-1) - 1).abs() < _SUM_NOISE).all()):
        raise model_error(
            "forward gives probabilities (each position's sum is 1), of which cross-entropy is no loss: "
            "it must give logits, or with targets its own loss"
        )


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
    own = named(out, "loss")
    if torch.is_tensor(own):
        if own.numel() != 1:
            raise model_error(f"the loss that forward gives has shape {tuple(own.shape)}")
        return own
    if not has_targets or (isinstance(out, Mapping) and "loss" in out) or hasattr(out, "loss"):
        return None  # a loss of None is none
    numbers = numbers_of(out)
    if all(name is None for name, _ in numbers):
        return numbers[chosen][1] if numbers and chosen is not None else None
    return loss_by_name(numbers)


def shifts_by_gradient(loss, logits, targets, vocab_size):
    """Whether a model's own loss sets logits (B, T, V) against the next of its labels: by which label's
    logit it wants larger, theirs or the next, whatever else is in the loss; None where the loss does
    not come out of these logits, or the two are alike."""
    if not torch.is_tensor(logits) or not logits.requires_grad or not loss.requires_grad:
        return None
    if targets.shape[1] < 2:
        return False
    try:
        (found,) = torch.autograd.grad(loss, logits, retain_graph=True, allow_unused=True)
    except RuntimeError:  # a part that can be walked only once, or only as a whole
        return None
    rows = None if found is None else _in_rows(found, targets.shape, vocab_size)
    if rows is None or rows.dim() != 3 or rows.shape[:2] != targets.shape or rows.shape[2] < vocab_size:
        return None
    rows = rows[:, :-1]
    own, following = (
        float(rows.gather(-1, part.unsqueeze(-1)).sum(dtype=torch.float32))
        for part in (targets[:, :-1], targets[:, 1:])
    )
    return None if own == following else following < own
