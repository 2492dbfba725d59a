"""Mixture of experts in two forms that give the same numbers.

published  every expert works on every token, and a mask keeps the chosen ones' results
routed     each expert works on its own tokens only: N k rows of work instead of N E

Routed has two ways, both without atomic additions:

grouped  On CUDA in bf16 with torch's grouped matmul. Tokens are laid out by expert and the
         group ends stay on the device, so that the host never waits: a host that asks for counts
         stalls once a layer, which costs more than the matmuls at usual sizes (the naive
         dispatch measured slower than computing everything). Every expert's rows are padded to 8
         (16 bytes, what the kernel needs where groups lie along the inner dimension), every expert
         has at least 8, and the last takes all that is left over: the matmul leaves rows behind
         the last end unwritten, and 0 times such a NaN is a NaN. Padding rows repeat token 0; no
         result is read from them, so their gradients are zero.
split    Elsewhere. Counts go to the host (on a CPU that is free; in fp32 on CUDA matmuls take
         far longer than the wait), and each expert works on a slice.
"""
import functools

import torch
import torch.nn.functional as F
from torch import nn

from .torch_spread import local, own_part

ROWS_ALIGN = 8  # a power of two: sizes are rounded by its bits
COUNTED_MAX = 1 << 17  # slots: of more, or of fewer for over 64 experts, sorting takes the device less than counting

# The matmuls of all experts together, and the published parts of each, in their order.
_JOINED = {"up": ("w1", "w2"), "down": ("w3",)}


def published(name, tensor):
    """[(published name, part of the tensor)] of a parameter of Moe.join(), or of another one: itself."""
    before, _, last = name.rpartition(".moe.")
    kind, _, part = last.partition("_")
    if kind not in _JOINED or part not in ("weight", "bias"):
        return [(name, tensor)]
    return [
        (f"{before}.moe.experts.{expert}.ffn.{word}.{part}", of_word)
        for expert, of_expert in enumerate(tensor.unbind(0))
        for word, of_word in zip(_JOINED[kind], of_expert.unbind(0))
    ]


class SwiGlu(nn.Module):
    """w3(dropout(silu(w1 x) * w2 x)), all with biases."""

    def __init__(self, dim, hidden, dropout):
        super().__init__()
        self.w1 = nn.Linear(dim, hidden)
        self.w2 = nn.Linear(dim, hidden)
        self.w3 = nn.Linear(hidden, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x):
        return self.w3(self.dropout(F.silu(self.w1(x)) * self.w2(x)))


class Expert(nn.Module):
    def __init__(self, dim, hidden, dropout):
        super().__init__()
        self.ffn = SwiGlu(dim, hidden, dropout)

    def forward(self, x):
        return self.ffn(x)


class Moe(nn.Module):
    """`form`: published or routed. `compute_dtype` is what matmuls run in (autocast's type)."""

    def __init__(self, spec, form):
        super().__init__()
        self.form = form
        self.experts_active = spec.experts_active
        self.experts_count = spec.experts_count
        self.dropout_rate = spec.dropout
        self.own_count = spec.experts_count  # experts that this rank has
        self.shares = None  # with whom, where their matrices or they are spread over ranks
        self.compute_dtype = torch.float32
        self.has_grouped = False
        self.gate = nn.Linear(spec.dim, spec.experts_count, bias=False)
        self.experts = nn.ModuleList(
            Expert(spec.dim, spec.ffn_hidden, spec.dropout) for _ in range(spec.experts_count)
        )

    def allocate(self, device, dtype):
        """Gives the experts' parameters one storage for each matmul, in the order of Stack, so
        that one kernel can cast all of them, and none is needed where there is nothing to cast."""
        for linears in (self._pairs("w1", "w2"), self._pairs("w3")):
            for name in ("weight", "bias"):
                shape = getattr(linears[0], name).shape
                flat = torch.empty(len(linears), *shape, device=device, dtype=dtype)
                for linear, part in zip(linears, flat.unbind(0)):
                    setattr(linear, name, nn.Parameter(part))

    def join(self):
        """The experts' parameters, which lie one behind the other already, as one for each matmul: what is sharded,
        gathered and updated is then a few large tensors, not some dozens of small ones, and no copy stacks them.
        Their published names: published()."""
        with torch.no_grad():
            for name, kinds in _JOINED.items():
                for part in ("weight", "bias"):
                    params = [getattr(linear, part) for linear in self._pairs(*kinds)]
                    joined = Stack.apply(params[0].dtype, *params)
                    joined = joined.view(self.experts_count, len(kinds), *joined.shape[1:])
                    setattr(self, f"{name}_{part}", nn.Parameter(joined))
        del self.experts

    def spread_experts(self, shares):
        """Each rank keeps its own experts; tokens go to them and come back."""
        self.shares = shares
        self.own_count = self.experts_count // shares.count
        for name in _JOINED:
            for part in ("weight", "bias"):
                setattr(self, f"{name}_{part}", own_part(getattr(self, f"{name}_{part}"), shares.mesh, 0))

    def spread_matrices(self, shares):
        """Each rank keeps its own part of every expert's hidden dimension."""
        self.shares = shares
        self.up_weight = own_part(self.up_weight, shares.mesh, 2)
        self.up_bias = own_part(self.up_bias, shares.mesh, 2)
        self.down_weight = own_part(self.down_weight, shares.mesh, 3)

    def is_aligned(self, spec):
        """Whether this rank's part of the hidden dimension is one that the grouped matmul takes."""
        return not self._has_late_bias or spec.ffn_hidden // self.shares.count % ROWS_ALIGN == 0

    @property
    def is_spread(self):
        """Are there experts elsewhere?"""
        return self.own_count < self.experts_count

    @property
    def _has_late_bias(self):
        """Is the second bias added once all ranks' parts are summed?"""
        return self.shares is not None and not self.is_spread

    @property
    def is_joined(self):
        return not hasattr(self, "experts")

    def _pairs(self, *names):
        return [getattr(expert.ffn, name) for expert in self.experts for name in names]

    def _weights(self, name):
        """(weights, biases) of all experts for one matmul: (experts, out, in), (experts, out), to compute with."""
        parts = "weight", "bias"
        if self.is_joined:
            found = [self._own(f"{name}_{part}").to(self.compute_dtype) for part in parts]
        else:
            linears = self._pairs(*_JOINED[name])
            found = [stack([getattr(linear, part) for linear in linears], self.compute_dtype) for part in parts]
        weights, biases = found
        return weights.reshape(self.own_count, -1, weights.shape[-1]), biases.reshape(self.own_count, -1)

    def _own(self, name):
        """This rank's part of a joined parameter. An expert that all ranks' tokens come to has the sum of their
        gradients, where others have the mean."""
        found = local(getattr(self, name))
        if self.is_spread and found.requires_grad:
            found.register_hook(lambda grad: grad / self.shares.count)
        return found

    def _each(self):
        """A callable an expert."""
        if not self.is_joined:
            return self.experts
        parts = [part.unbind(0) for name in _JOINED for part in self._weights(name)]
        return [functools.partial(self._one, *of_expert) for of_expert in zip(*parts)]

    def _one(self, up, up_bias, down, down_bias, x):
        gate, value = F.linear(x, up, up_bias).chunk(2, dim=-1)
        hidden = self._drop(F.silu(gate) * value)
        return F.linear(hidden, down, None if self._has_late_bias else down_bias)

    def _drop(self, hidden):
        return F.dropout(hidden, self.dropout_rate, self.training)

    def forward(self, x):
        flat = x.reshape(-1, x.shape[-1])
        values, chosen = self.gate(flat).topk(self.experts_active, dim=-1)
        weights = F.softmax(values, dim=-1)
        if self._has_late_bias:
            return self._by_matrices(flat, chosen, weights).view(x.shape)
        if self.form == "published":
            out = self._every_expert(flat, chosen, weights)
        elif self.is_spread:
            out = _combine(self._elsewhere(flat, chosen), weights)
        else:
            out = _combine(self._slots(flat, chosen), weights)
        return out.view(x.shape)

    def _slots(self, flat, chosen):
        """(N k, D): what each token's experts give."""
        return self._grouped(flat, chosen) if self.has_grouped else self._split(flat, chosen)

    def _by_matrices(self, flat, chosen, weights):
        """Each rank computes with its part of the hidden dimension; what comes out is summed before the bias."""
        entered = self.shares.enter(flat)
        if self.form == "published":
            out = self._every_expert(entered, chosen, self.shares.enter(weights))
        else:
            out = _combine(self._slots(entered, chosen), self.shares.enter(weights))
        biases = F.embedding(chosen, self.down_bias.reshape(self.experts_count, -1))
        return self.shares.leave(out) + (biases.to(out.dtype) * weights.unsqueeze(-1)).sum(dim=1)

    def _elsewhere(self, flat, chosen):
        """Tokens to the ranks that have their experts, and back (all_to_all)."""
        slots = chosen.reshape(-1)
        order = slots.argsort(stable=True)
        place = _inverse(order)
        counts = torch.bincount(slots, minlength=self.experts_count).view(self.shares.count, -1)
        theirs = self.shares.counts_of_others(counts)
        send, receive = counts.sum(1).tolist(), theirs.sum(1).tolist()
        rows = Dispatch.apply(flat.to(self.compute_dtype), order // chosen.shape[1], place)
        here = self.shares.exchange(rows, send, receive)
        count = here.shape[0]
        experts = torch.arange(self.own_count, device=here.device).repeat(self.shares.count)
        experts = experts.repeat_interleave(theirs.reshape(-1))
        if count == 0:  # experts without tokens have their gradients all the same
            here, experts = F.pad(here, (0, 0, 0, 1)), experts.new_zeros(1)
        done = self._slots(here, experts.unsqueeze(1))[:count]
        return Collect.apply(self.shares.exchange(done, receive, send), place)

    def _every_expert(self, flat, chosen, weights):
        dense = weights.new_zeros(flat.shape[0], self.experts_count).scatter(1, chosen, weights)
        out = None
        for index, expert in enumerate(self._each()):
            part = expert(flat) * dense[:, index : index + 1]
            out = part if out is None else out + part
        return out

    def _split(self, flat, chosen):
        slots = chosen.reshape(-1)
        order = slots.argsort(stable=True)
        counts = torch.bincount(slots, minlength=self.own_count).tolist()
        place = _inverse(order)
        rows = Dispatch.apply(flat.to(self.compute_dtype), order // chosen.shape[1], place)
        has_grad = torch.is_grad_enabled()
        # without tokens an expert still gets its gradient, zero, as in the published form
        parts = [
            expert(part)
            for expert, part in zip(self._each(), rows.split(counts))
            if has_grad or part.shape[0] > 0
        ]
        return Collect.apply(torch.cat(parts), place)

    def _grouped(self, flat, chosen):
        source, place, ends, starts = grouped_layout(chosen, self.own_count)
        rows = Dispatch.apply(flat.to(self.compute_dtype), source, place)
        at = torch.arange(rows.shape[0], device=rows.device).unsqueeze(1)
        # whose row it is, as a matrix: a matmul adds the biases, and sums their gradients
        owner = ((at >= starts) & (at < ends)).to(self.compute_dtype)
        offsets = ends.to(torch.int32)
        gate, value = self._product(rows, offsets, owner, "up").chunk(2, dim=-1)
        hidden = self._drop(F.silu(gate) * value)
        return Collect.apply(self._product(hidden, offsets, owner, "down"), place)

    def _product(self, rows, offsets, owner, name):
        """rows (M, in) by groups times the experts' weights, plus biases: (M, out)."""
        weights, biases = self._weights(name)
        out = grouped_mm(rows, weights.transpose(-2, -1), offs=offsets)
        return out if name == "down" and self._has_late_bias else out.addmm_(owner, biases)


def _combine(slots, weights):
    """slots (N k, D), weights (N, k) -> (N, D)"""
    return (slots.view(*weights.shape, -1) * weights.unsqueeze(-1)).sum(dim=1)


def _inverse(order):
    at = torch.arange(order.shape[0], device=order.device)
    return torch.empty_like(order).scatter_(0, order, at)


def _counted(slots, experts_count):
    """counts (E): of each expert's slots; nth (N k): which of its expert's slots this one is, from 1. In few kernels, as
    small steps wait for the host."""
    experts = torch.arange(experts_count, device=slots.device).unsqueeze(1)
    nth = (slots == experts).cumsum(1, dtype=torch.int32)
    return nth[:, -1], nth.gather(0, slots.unsqueeze(0))[0]


def _sorted(slots, experts_count):
    """The same, in time and memory that hardly grow with the experts."""
    order = slots.argsort(stable=True)
    ends = torch.searchsorted(slots[order], torch.arange(experts_count, device=slots.device), right=True)
    counts = ends.diff(prepend=ends.new_zeros(1))
    return counts, _inverse(order).sub_((ends - counts - 1)[slots])


def grouped_layout(chosen, experts_count):
    """Where slots go when laid out by expert in padded groups; nothing here waits for the device.

    chosen (N, k) -> source (M): the token of each row; place (N k): the row of each slot;
    ends, starts (E): of each expert's rows. M depends on N alone.
    """
    count, device = chosen.numel(), chosen.device
    rows = (count + ROWS_ALIGN - 1) // ROWS_ALIGN * ROWS_ALIGN + experts_count * ROWS_ALIGN
    slots = chosen.reshape(-1)
    counts, nth = (_counted if count * max(1, experts_count / 64) <= COUNTED_MAX else _sorted)(slots, experts_count)
    sizes = counts.add(ROWS_ALIGN - 1).bitwise_and_(-ROWS_ALIGN).clamp_min_(ROWS_ALIGN)
    ends = sizes.cumsum(0)
    starts = ends - sizes
    place = starts[slots].add_(nth).sub_(1)
    tokens = torch.arange(chosen.shape[0], device=device).unsqueeze(1).expand_as(chosen).reshape(-1)
    source = tokens.new_zeros(rows).scatter_(0, place, tokens)
    ends[-1:].fill_(rows)
    return source, place, ends, starts


class Dispatch(torch.autograd.Function):
    """tokens (N, D) -> rows (M, D) = tokens[source]. Backward gathers each token's k rows, where
    indexing's own backward would scatter with atomic additions. Rows at no place get no reader."""

    @staticmethod
    def forward(ctx, tokens, source, place):
        ctx.save_for_backward(place)
        ctx.tokens_count = tokens.shape[0]
        return tokens.index_select(0, source)

    @staticmethod
    def backward(ctx, grad):
        (place,) = ctx.saved_tensors
        slots = grad.index_select(0, place)
        return slots.view(ctx.tokens_count, -1, grad.shape[-1]).sum(dim=1), None, None


class Collect(torch.autograd.Function):
    """rows (M, D) -> slots (N k, D) = rows[place]; every place is taken once."""

    @staticmethod
    def forward(ctx, rows, place):
        ctx.save_for_backward(place)
        ctx.rows_count = rows.shape[0]
        return rows.index_select(0, place)

    @staticmethod
    def backward(ctx, grad):
        (place,) = ctx.saved_tensors
        if ctx.rows_count == grad.shape[0]:  # no padding: every row is written
            rows = grad.new_empty(ctx.rows_count, grad.shape[-1])
        else:
            rows = grad.new_zeros(ctx.rows_count, grad.shape[-1])
        return rows.index_copy_(0, place, grad), None


class Stack(torch.autograd.Function):
    """Parameters of one shape -> one tensor (count, ...) in `dtype`: one kernel at most."""

    @staticmethod
    def forward(ctx, dtype, *params):
        ctx.param_dtype = params[0].dtype
        first = params[0].detach()
        shape = (len(params), *first.shape)
        if _are_neighbours(params):
            flat = first.as_strided(shape, (first.numel(), *first.stride()))
            return flat.to(dtype) if dtype != first.dtype else flat.view_as(flat)
        out = torch.empty(shape, dtype=dtype, device=first.device)
        torch._foreach_copy_(list(out.unbind(0)), [param.detach() for param in params])
        return out

    @staticmethod
    def backward(ctx, grad):
        return (None, *grad.to(ctx.param_dtype).unbind(0))


def _are_neighbours(params):
    """Whether they lie in one storage one behind the other, as Moe.allocate() made them."""
    first = params[0]
    step = first.numel() * first.element_size()
    return all(
        param.is_contiguous()
        and param.data_ptr() == first.data_ptr() + index * step
        and param.untyped_storage().data_ptr() == first.untyped_storage().data_ptr()
        for index, param in enumerate(params)
    )


def leave_uncompiled():
    """To be called before a model is compiled: slices whose lengths change every step would be compiled every step.
    As a decorator torch.compiler.disable would import the compiler at every start, which takes as long as PyTorch itself."""
    for name in ("_elsewhere", "_split"):
        setattr(Moe, name, torch.compiler.disable(getattr(Moe, name)))


def _is_compiling():
    if hasattr(torch.compiler, "is_compiling"):  # since 2.3
        return torch.compiler.is_compiling()
    return torch._dynamo.is_compiling()


def stack(params, dtype):
    if _is_compiling():  # a compiler fuses the casts into the copy by itself
        return torch.stack([param.to(dtype) for param in params])
    return Stack.apply(dtype, *params)


grouped_mm = getattr(F, "grouped_mm", None) or getattr(torch, "_grouped_mm", None)


def grouped_mm_works(device, dtype, spec):
    """Tried, forward and backward, rather than looked up: it came in steps over many releases."""
    if grouped_mm is None or device.type != "cuda" or dtype != torch.bfloat16:
        return False
    if spec.dim % ROWS_ALIGN != 0 or spec.ffn_hidden % ROWS_ALIGN != 0:
        return False
    if torch.cuda.get_device_capability(device) < (9, 0):
        return False
    try:
        rows = torch.ones(24, 16, device=device, dtype=dtype, requires_grad=True)
        weights = torch.ones(2, 32, 16, device=device, dtype=dtype, requires_grad=True)
        ends = torch.tensor([8, 24], device=device, dtype=torch.int32)
        out = grouped_mm(rows, weights.transpose(-2, -1), offs=ends)
        out.backward(torch.ones_like(out))  # not sum(): its gradient has strides of 0
        wanted = torch.tensor([8.0, 16.0], device=device)
        return bool(
            (out == 16).all() and (rows.grad == 32).all()
            and (weights.grad[:, 0, 0].float() == wanted).all()
        )
    except (RuntimeError, NotImplementedError, TypeError):
        return False
