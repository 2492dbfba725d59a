"""--recompute: what a training step keeps of its forward pass, and what it computes again."""
import functools

from torch.utils.checkpoint import checkpoint

from .errors import unsupported
from .torch_layout import blocks_of, own_class


def recompute_blocks(source):
    """Each block keeps its input alone and is computed again, with the same random numbers, when its backward pass
    comes (PyTorch's checkpoint). The modules stay as they are: their names, parameters and hooks. What was done."""
    blocks = list(source.model.layers if source.is_builtin else blocks_of(source.model))
    if not blocks:
        raise unsupported(
            "--recompute full: the model has no blocks, modules of one class that stand in a ModuleList or Sequential; "
            "the nearest is --recompute off"
        )
    for block in blocks:
        block.forward = functools.partial(checkpoint, block.forward, use_reentrant=False)
    return f"{len(blocks)} blocks of {own_class(blocks[0]).__name__} are computed again"
