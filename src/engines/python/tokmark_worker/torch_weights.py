"""Weights read into a model from safetensors: one file, an index of several, or a folder."""
import torch

from .errors import model_error
from .safetensors import fitting_shape
from .torch_model import Transformer
from .torch_spread import is_part
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
        for at, part_name in enumerate(_published_names(model, name, param)):
            names.setdefault((id(param), at), []).append(part_name)
    wanted = {same[0]: same for same in names.values()}
    buffers = dict(model.named_buffers())
    ignored = getattr(model, "_keys_to_ignore_on_load_unexpected", None) or ()
    found, kept, notes = match_names(file.path, file.names(), wanted, buffers, ignored)
    with torch.no_grad():
        for name, param in model.named_parameters():
            values = torch.empty(param.shape, dtype=param.dtype) if is_part(param) else param
            for part_name, part in _published(model, name, values):
                given = file.tensor(found[part_name])
                if not given.is_floating_point():
                    raise model_error(f"'{file.path}': tensor '{found[part_name]}' is {given.dtype}")
                _copy(file.path, part_name, given, part)
            if values is not param:
                shard_into(param, values)
        for name, other in kept.items():
            given = file.tensor(other)
            if given.shape == buffers[name].shape:  # a mask or table of another length is the model's
                buffers[name].copy_(given)
    _require_equal(file, wanted)
    return notes


def _copy(path, name, given, tensor):
    shape = fitting_shape(path, name, given.shape, tensor.shape)
    rows = given.reshape(shape)[: tensor.shape[0]] if tensor.dim() else given.reshape(shape)
    tensor.copy_(rows.reshape(tensor.shape))


def _published(model, name, tensor):
    """[(name in a file, part)] of a parameter: tokmark's own may be several tensors of a checkpoint."""
    return model.published(name, tensor) if isinstance(model, Transformer) else [(name, tensor)]


def _published_names(model, name, param):
    if not isinstance(model, Transformer):
        return [name]
    return [part_name for part_name, _ in model.published(name, torch.empty(param.shape, device="meta"))]


def shard_into(param, values):
    """Every rank has read the file, and keeps its part."""
    if not is_part(param):
        param.copy_(values)
        return
    from torch.distributed.tensor import distribute_tensor  # since 2.4; models on one device need it not

    param.copy_(distribute_tensor(values.to(param.device), param.device_mesh, param.placements))


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
