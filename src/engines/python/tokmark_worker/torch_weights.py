"""Weights read into a model from safetensors: one file, an index of several, or a folder."""
import torch

from .errors import model_error
from .safetensors import fitting_shape
from .torch_tensors import SafetensorsFile
from .weight_names import match_names


def load_weights(path, model):
    """Copies a file's tensors into the model's parameters and buffers; notes on how names were read.

    Every parameter must be there, under any of its names where it has several (tied ones), with its
    shape (leading dimensions of 1 are taken as absent). A buffer is taken where the file has it. A
    longer position table gives its first rows, so that one checkpoint serves every seq_len.
    """
    file = SafetensorsFile(path)
    names = {}
    for name, param in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(param), []).append(name)
    wanted = {same[0]: same for same in names.values()}
    buffers = dict(model.named_buffers())
    ignored = getattr(model, "_keys_to_ignore_on_load_unexpected", None) or ()
    found, kept, notes = match_names(file.path, file.names(), wanted, buffers, ignored)
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            given = file.tensor(found[name])
            if not given.is_floating_point():
                raise model_error(f"'{file.path}': tensor '{found[name]}' is {given.dtype}")
            _copy(file.path, name, given, tensor)
        for name, other in kept.items():
            given = file.tensor(other)
            if given.shape == buffers[name].shape:  # a mask or table of another length is the model's
                buffers[name].copy_(given)
    _require_equal(file, wanted)
    return notes


def _copy(path, name, given, tensor):
    shape = fitting_shape(path, name, given.shape, tensor.shape)
    rows = given.reshape(shape)[: tensor.shape[0]] if tensor.dim() else given.reshape(shape)
    rows = rows.reshape(tensor.shape)
    if hasattr(tensor, "device_mesh"):  # sharded: every rank has read the file, and keeps its part
        from torch.distributed.tensor import distribute_tensor  # since 2.4; models on one device need it not

        rows = distribute_tensor(rows.to(tensor.device), tensor.device_mesh, tensor.placements)
    tensor.copy_(rows)


def _require_equal(file, wanted):
    """A file that has a tied tensor several times must say the same each time."""
    there = set(file.names())
    for names in wanted.values():
        first, *others = [name for name in names if name in there] or [None]
        for other in others:
            if not torch.equal(file.tensor(first), file.tensor(other)):
                raise model_error(
                    f"'{file.path}': '{first}' and '{other}' differ, and the model has one tensor "
                    f"for both"
                )
