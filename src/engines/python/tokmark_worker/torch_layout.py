"""How a cell lies on its devices: which rows and which part of the weights each rank has.

none  one device
ddp   every rank has the whole model and its own rows; gradients are averaged (DistributedDataParallel)
fsdp  as ddp, and parameters, gradients and optimizer state are sharded, layer by layer (fully_shard, FSDP2)
tp    every rank has all rows, and its own heads and columns of every layer's matrices (tensor parallel)
ep    as ddp, but for the experts: each rank has its own, and rows go to them and come back (expert parallel)

A product of these, "fsdp:2,tp:2", is a mesh with a side for each; one of them alone has one side. Every kind works within
the ranks of its side. Who averages which gradient over whom:

with ddp or ep    DistributedDataParallel what no kind divides, over all ranks that have rows of their own
with fsdp         fully_shard everything, over its side and that of ddp
what is left      _averaged(): parts of tp and ep over ddp; with fsdp and ep what is no expert over ep; with fsdp single
                  numbers, which it does not divide

The rows of a step are those of the cell, so that a layout does the same work as one device; they must divide, but for tp.
"""
import contextlib
import dataclasses
import datetime
import functools
import importlib
import inspect
import os
import sys

import torch
from torch import distributed

from .devices import factors_of, row_shares_of
from .errors import unsupported
from .safetensors import listed
from .torch_spread import Shares, is_divided, is_part, local

# kind: (module, names, the release they came with)
_NEEDS = {
    "fsdp": ("torch.distributed.fsdp", ("fully_shard", "MixedPrecisionPolicy"), "2.6"),
    "tp": ("torch.distributed.tensor", ("DTensor",), "2.5"),
    "ep": ("torch.distributed.tensor", ("DTensor",), "2.5"),
}
_GROUP_TIMEOUT = datetime.timedelta(days=1)  # the host has deadlines of its own


class Layout:
    """Of one rank; without arguments of the only one."""

    def __init__(self, cell=None, devices=(), rank=0, store=None, neighbours_count=1):
        self._cell = cell
        self._devices = list(devices)
        self._store = store
        self._neighbours_count = neighbours_count  # ranks of this host
        self.rank = rank
        self.count = max(1, len(self._devices))
        self.factors = factors_of(cell, self.count) if cell else {}
        # how many ranks have rows of their own, and which of the parts this one has; neighbours have the same
        self.row_shares = row_shares_of(self.factors)
        self._same_rows_count = self.count // self.row_shares
        self.row_rank = rank // self._same_rows_count
        self._mesh = None
        self._ddp = None
        self._late = []  # (parameters, group): gradients to be averaged after a backward pass

    def device(self, name):
        """This rank's, for the cell's."""
        return self._devices[self.rank] if self.count > 1 else name

    def begin(self, device):
        """The process group; before anything is made on the device."""
        if self.count == 1:
            return
        from torch.distributed.device_mesh import init_device_mesh

        for kind in self.factors.keys() & _NEEDS.keys():
            _needed(kind)
        if "fsdp" in self.factors and device.type == "cpu" and not hasattr(torch.cpu.Stream, "record_event"):
            raise unsupported(
                f"--parallel fsdp: fully_shard of PyTorch {torch.__version__} works on cards alone; the nearest on CPUs is "
                "--parallel ddp, or a later release"
            )
        if device.type == "cpu":
            torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // self._neighbours_count))
        backend = "gloo" if device.type == "cpu" else "cpu:gloo,cuda:nccl"
        distributed.init_process_group(
            backend,
            store=distributed.PrefixStore("group", self._store),
            rank=self.rank,
            world_size=self.count,
            timeout=_GROUP_TIMEOUT,
        )
        self._mesh = init_device_mesh(
            device.type, tuple(self.factors.values()), mesh_dim_names=tuple(self.factors)
        )

    def own_rows(self, rows):
        """This rank's of (..., rows, tokens)."""
        if rows.shape[-2] % self.row_shares != 0:
            raise unsupported(f"{rows.shape[-2]} rows do not divide over {self.row_shares} devices")
        part = rows.shape[-2] // self.row_shares
        return rows[..., self.row_rank * part : (self.row_rank + 1) * part, :]

    def own_cell(self, cell):
        """The cell with this rank's rows."""
        return dataclasses.replace(cell, batch_size=cell.batch_size // self.row_shares)

    def counted(self, rows_count):
        """Of rows that several ranks have, those of the first alone: the ranks' counts are summed."""
        return rows_count if self.rank % self._same_rows_count == 0 else 0

    # --- the model ---

    def place(self, precision=None):
        """None, or what lays out a block that has just been made (`is_last`: of them all), and at the end the model.
        fsdp gathers weights in what the precision's matmuls run in; without one in their own type, as whoever calls
        fully_shard on a model and runs it under autocast does."""
        ways = []
        if "ep" in self.factors:
            experts = Shares(self._mesh["ep"])
            ways.append(lambda module, **_: hasattr(module, "moe") and module.moe.spread_experts(experts))
        if "tp" in self.factors:
            ways.append(functools.partial(_spread_matrices, Shares(self._mesh["tp"])))
        if "fsdp" in self.factors:
            ways.append(self._place_sharded(precision))

        def place(module, **where):
            for way in ways:
                way(module, **where)

        return place if ways else None

    def _place_sharded(self, precision):
        fully_shard, policy_class = _needed("fsdp")
        mesh = self._mesh["ddp", "fsdp"] if "ddp" in self.factors else self._mesh["fsdp"]
        policy = policy_class()
        if precision is not None and precision.param_dtype is not precision.compute_dtype:
            policy = policy_class(
                param_dtype=precision.compute_dtype, reduce_dtype=precision.param_dtype, cast_forward_inputs=False
            )

        def shard(module, is_last=False):
            # what the backward pass begins with is not given back before it
            keeps = {"reshard_after_forward": False} if is_last and self._cell.mode == "train" else {}
            numbers = {param for param in module.parameters() if param.dim() == 0}
            if numbers:  # there is nothing to divide: each rank has them
                if "ignored_params" not in inspect.signature(fully_shard).parameters:
                    raise unsupported(
                        f"--parallel fsdp: fully_shard of PyTorch {torch.__version__} takes no parameters that are single "
                        "numbers, as the model has; the nearest is --parallel ddp, or a later release"
                    )
                keeps["ignored_params"] = numbers
            fully_shard(module, mesh=mesh, mp_policy=policy, shard_placement_fn=self._divided, **keeps)

        return shard

    def _divided(self, param):
        """Along which dimension, where not the first (None): few experts may not divide over the devices, and what tp
        or ep has divided is better left."""
        from torch.distributed.tensor import Shard

        count = self.factors["fsdp"]
        taken = {place.dim for place in getattr(param, "placements", ()) if place.is_shard()}
        if 0 not in taken and (param.dim() < 3 or param.shape[0] % count == 0):
            return None
        sizes = enumerate(param.shape)
        return next((Shard(dim) for dim, size in sizes if dim not in taken and size % count == 0), None)

    def require_known_parameters(self, made):
        """Those that a first call makes, fully_shard has not divided."""
        if "fsdp" in self.factors:
            raise unsupported(
                f"--parallel fsdp divides parameters before the first call, which makes {listed(made)} or gives it its shape; "
                "the nearest is --parallel ddp"
            )

    def gather_ahead(self, blocks):
        """Sharded blocks are gathered while the one before them computes, however late the host is."""
        if "fsdp" in self.factors:
            for block, following in zip(blocks, blocks[1:]):
                block.set_modules_to_forward_prefetch([following])

    def give_back(self, model):
        """What a forward pass that no backward pass follows has left gathered: until then a module's parameters are
        other tensors than those that are trained."""
        if "fsdp" in self.factors:
            from torch.distributed.fsdp import FSDPModule

            for module in model.modules():
                if isinstance(module, FSDPModule):
                    module.reshard()

    @property
    def waits_for_each_gradient(self):
        """As DistributedDataParallel does."""
        is_trained = self._cell is not None and self._cell.mode == "train"
        return is_trained and "fsdp" not in self.factors and bool({"ddp", "ep"} & self.factors.keys())

    def is_any(self, is_here, device):
        """On any rank?"""
        return bool(self.mean(torch.tensor(float(is_here), device=device)))

    def wrap(self, model, device, finds_unused):
        """What is called in place of the model; without gradients there is nothing to exchange."""
        if self._cell is None or self._cell.mode != "train":
            return model
        self._late = self._averaged(model)
        if not self.waits_for_each_gradient:
            return model
        ddp = torch.nn.parallel.DistributedDataParallel
        own = [name for name, param in model.named_parameters() if is_part(param)]
        ddp._set_params_and_buffers_to_ignore_for_model(model, own)
        self._ddp = ddp(
            model,
            device_ids=None if device.type == "cpu" else [device],
            gradient_as_bucket_view=True,
            find_unused_parameters=finds_unused,
            process_group=self._mesh["ddp"].get_group() if "tp" in self.factors else None,
        )
        return self._ddp

    def _averaged(self, model):
        """[(parameters, group)]: what neither DistributedDataParallel nor fully_shard averages over the group."""
        params = list(model.parameters())
        if "fsdp" not in self.factors and "ddp" in self.factors:
            found, side = [param for param in params if is_part(param)], "ddp"
        elif {"fsdp", "ep"} <= self.factors.keys():
            found, side = [param for param in params if not is_divided(param, "ep")], "ep"
        elif "fsdp" in self.factors and "tp" not in self.factors:
            found, side = [param for param in params if not is_part(param)], None
        else:
            found, side = [], None
        group = distributed.group.WORLD if side is None else self._mesh[side].get_group()
        return [(found, group)] if found else []

    @contextlib.contextmanager
    def exchange(self, is_last):
        """Around one part of a step's rows. ddp exchanges gradients in the last alone; fsdp in each, so that no
        device ever holds the gradient of the whole model."""
        with contextlib.nullcontext() if is_last or self._ddp is None else self._ddp.no_sync():
            yield
        if is_last:
            self._average()

    @torch.no_grad()
    def _average(self):
        for params, group in self._late:
            grads = [local(param.grad) for param in params if param.grad is not None]
            for work in [distributed.all_reduce(grad, group=group, async_op=True) for grad in grads]:
                work.wait()
            torch._foreach_div_(grads, group.size())

    def wait_for_all(self):
        if self.count > 1:
            distributed.barrier()

    def all_rows(self, tensor):
        """The rows of all ranks, in the order of the cell's; on every rank."""
        if self.row_shares == 1:
            return tensor
        parts = [torch.empty_like(tensor) for _ in range(self.count)]
        distributed.all_gather(parts, tensor.contiguous())
        return torch.cat(parts[:: self._same_rows_count])

    def mean(self, number):
        if self.count == 1:
            return number
        number = number.detach().clone()
        distributed.all_reduce(number)
        return number / self.count

    def end(self):
        if self.count > 1 and distributed.is_initialized():
            with contextlib.suppress(Exception):
                distributed.destroy_process_group()


def _spread_matrices(shares, module, **_):
    if hasattr(module, "attn"):
        module.attn.spread_heads(shares)
        (module.moe if hasattr(module, "moe") else module.mlp).spread_matrices(shares)


def shard_blocks(model, shard):
    """Each block by itself, then what is left: only one block is ever whole at a time. Blocks are what stands
    several times, as one class, in a ModuleList or Sequential that is in no other block."""
    for block in blocks_of(model):
        shard(block)
    shard(model)


def blocks_of(module):
    """The repeated blocks of a model, in its order."""
    for child in module.children():
        members = list(child.children())
        kinds = {type(member) for member in members}
        is_list = isinstance(child, (torch.nn.ModuleList, torch.nn.Sequential))
        if is_list and len(members) > 1 and len(kinds) == 1 and any(True for _ in members[0].parameters()):
            yield from members
        else:
            yield from blocks_of(child)


def own_class(module):
    """As its author wrote it: fully_shard puts one of its own before it."""
    added = getattr(sys.modules.get("torch.distributed.fsdp"), "FSDPModule", ())
    return next(kind for kind in type(module).__mro__ if not issubclass(kind, added))


def _needed(kind):
    """What a kind of layout takes from PyTorch."""
    place, names, since = _NEEDS[kind]
    try:
        module = importlib.import_module(place)
        return [getattr(module, name) for name in names]
    except (ImportError, AttributeError):
        raise unsupported(
            f"--parallel {kind} needs {place}.{names[0]}, which PyTorch {torch.__version__} lacks (it came with {since}); "
            "the nearest is --parallel ddp"
        ) from None
