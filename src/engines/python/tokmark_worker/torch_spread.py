"""What tokmark's own model needs to lie on several devices by its matrices (tp) or its experts (ep), beside PyTorch's
DTensor, which says what part of a parameter a rank has: the exchanges of a forward pass, and their backward.
"""
import torch
from torch import distributed


def own_part(param, mesh, dim):
    """A parameter of which each rank keeps its own part along a dimension; the whole one is given back."""
    from torch.distributed.tensor import DTensor, Shard

    with torch.no_grad():
        part = param.detach().chunk(mesh.size(), dim)[mesh.get_local_rank()].contiguous().clone()
    return torch.nn.Parameter(DTensor.from_local(part, mesh, [Shard(dim)], run_check=False))


def is_part(param):
    """Has this rank a part of it only (a DTensor)?"""
    return hasattr(param, "device_mesh")


def is_divided(param, kind):
    """Does a layout's kind, tp or ep, divide it?"""
    return is_part(param) and kind in param.device_mesh.mesh_dim_names


def local(param):
    """This rank's part, to compute with."""
    return param.to_local() if is_part(param) else param


class _Enter(torch.autograd.Function):
    """What every rank has goes into its part of the work: gradients from all parts are summed."""

    @staticmethod
    def forward(ctx, tensor, group):
        ctx.group = group
        return tensor.view_as(tensor)

    @staticmethod
    def backward(ctx, grad):
        grad = grad.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(grad, group=ctx.group)
        return grad, None


class _Leave(torch.autograd.Function):
    """The parts' results are summed: every rank has the whole."""

    @staticmethod
    def forward(_ctx, tensor, group):
        tensor = tensor.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(tensor, group=group)
        return tensor

    @staticmethod
    def backward(_ctx, grad):
        return grad, None


class _Exchange(torch.autograd.Function):
    """Rows to the ranks that they belong to: `send` and `receive` say how many to and from each."""

    @staticmethod
    def forward(ctx, rows, send, receive, group):
        ctx.back = send, receive, group
        return _all_to_all(rows, send, receive, group)

    @staticmethod
    def backward(ctx, grad):
        send, receive, group = ctx.back
        return _all_to_all(grad, receive, send, group), None, None, None


def _all_to_all(rows, send, receive, group):
    out = rows.new_empty(sum(receive), *rows.shape[1:])
    distributed.all_to_all_single(out, rows.contiguous(), receive, send, group=group)
    return out


class Shares:
    """A layer's work over the ranks of a mesh of one dimension."""

    def __init__(self, mesh):
        self.mesh = mesh
        self.count = mesh.size()
        self._group = mesh.get_group()

    def enter(self, tensor):
        return _Enter.apply(tensor, self._group)

    def leave(self, tensor):
        return _Leave.apply(tensor, self._group)

    def exchange(self, rows, send, receive):
        return _Exchange.apply(rows, send, receive, self._group)

    def counts_of_others(self, counts):
        """counts (ranks, n): what this rank has for each -> (ranks, n): what each has for this one."""
        found = torch.empty_like(counts)
        distributed.all_to_all_single(found, counts.contiguous(), group=self._group)
        return found
