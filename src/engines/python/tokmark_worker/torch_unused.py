"""Parameters that have no part in a step. DistributedDataParallel waits for the gradient of each, unless it is told to
find out in every step which will come."""
import contextlib

import torch

from .errors import unsupported
from .torch_observe import Observer


def may_leave_out(model, caller, tokens, targets, precision):
    """Tried once, as a step goes: did a parameter get no gradient? Or does the model look at values, after which
    another step may go another way? What fails here fails in the first call, which says why."""
    trained = [param for param in model.parameters() if param.requires_grad]
    observer = Observer()
    try:
        with precision.autocast():
            loss = caller.first_loss(tokens, targets, contextlib.nullcontext())[0]
        loss.backward()
        # not before: a model's own compiler does not meet an observer
        with torch.no_grad(), precision.autocast(), observer:
            caller.loss(tokens, targets)
        return observer.looks_at_values or any(param.grad is None for param in trained)
    except Exception:
        return True
    finally:
        for param in trained:
            param.grad = None


def unused_refusal(error):
    """Of a step that left out what the first ones had; None for other errors."""
    if isinstance(error, RuntimeError) and "Expected to have finished reduction" in str(error):
        return unsupported(
            "--parallel ddp: a step of the model gave no gradient to parameters that had one in the first, and "
            "DistributedDataParallel waits for it; the nearest is one device"
        )
    return None
