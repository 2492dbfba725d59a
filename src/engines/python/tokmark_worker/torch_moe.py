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
import torch
import torch.nn.functional as F
from torch import nn

ROWS_ALIGN = 8


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

    def _pairs(self, *names):
        return [getattr(expert.ffn, name) for expert in self.experts for name in names]

    def forward(self, x):
        flat = x.reshape(-1, x.shape[-1])
        values, chosen = self.gate(flat).topk(self.experts_active, dim=-1)
        weights = F.softmax(values, dim=-1)
        if self.form == "published":
            out = self._every_expert(flat, chosen, weights)
        elif self.has_grouped:
            out = _combine(self._grouped(flat, chosen), weights)
        else:
            out = _combine(self._split(flat, chosen), weights)
        return out.view(x.shape)

    def _every_expert(self, flat, chosen, weights):
        dense = weights.new_zeros(flat.shape[0], len(self.experts)).scatter(1, chosen, weights)
        out = None
        for index, expert in enumerate(self.experts):
            part = expert(flat) * dense[:, index : index + 1]
            out = part if out is None else out + part
        return out

    @torch.compiler.disable
    def _split(self, flat, chosen):
        """Not compiled: slices whose lengths change every step would be compiled every step."""
        slots = chosen.reshape(-1)
        order = slots.argsort(stable=True)
        counts = torch.bincount(slots, minlength=len(self.experts)).tolist()
        place = _inverse(order)
        rows = Dispatch.apply(flat.to(self.compute_dtype), order // self.experts_active, place)
        has_grad = torch.is_grad_enabled()
        # without tokens an expert still gets its gradient, zero, as in the published form
        parts = [
            expert(part)
            for expert, part in zip(self.experts, rows.split(counts))
            if has_grad or part.shape[0] > 0
        ]
        return Collect.apply(torch.cat(parts), place)

    def _grouped(self, flat, chosen):
        experts_count = len(self.experts)
        source, place, ends, starts = grouped_layout(chosen, experts_count)
        rows = Dispatch.apply(flat.to(self.compute_dtype), source, place)
        at = torch.arange(rows.shape[0], device=rows.device).unsqueeze(1)
        # whose row it is, as a matrix: a matmul adds the biases, and sums their gradients
        owner = ((at >= starts) & (at < ends)).to(self.compute_dtype)
        offsets = ends.to(torch.int32)
        up = self._product(rows, offsets, owner, self._pairs("w1", "w2"))
        gate, value = up.chunk(2, dim=-1)
        hidden = self.experts[0].ffn.dropout(F.silu(gate) * value)
        return Collect.apply(self._product(hidden, offsets, owner, self._pairs("w3")), place)

    def _product(self, rows, offsets, owner, linears):
        """rows (M, in) by groups times the experts' weights, plus biases: (M, out)."""
        experts_count = len(self.experts)
        weights = stack([linear.weight for linear in linears], self.compute_dtype)
        biases = stack([linear.bias for linear in linears], self.compute_dtype)
        weights = weights.view(experts_count, -1, weights.shape[-1])
        out = grouped_mm(rows, weights.transpose(-2, -1), offs=offsets)
        return out.addmm_(owner, biases.view(experts_count, -1))


def _combine(slots, weights):
    """slots (N k, D), weights (N, k) -> (N, D)"""
    return (slots.view(*weights.shape, -1) * weights.unsqueeze(-1)).sum(dim=1)


def _inverse(order):
    at = torch.arange(order.shape[0], device=order.device)
    return torch.empty_like(order).scatter_(0, order, at)


def grouped_layout(chosen, experts_count):
    """Where slots go when laid out by expert in padded groups; nothing here waits for the device.

    chosen (N, k) -> source (M): the token of each row; place (N k): the row of each slot;
    ends, starts (E): of each expert's rows. M depends on N alone.
    """
    active = chosen.shape[1]
    slots = chosen.reshape(-1)
    count = slots.shape[0]
    rows = (count + ROWS_ALIGN - 1) // ROWS_ALIGN * ROWS_ALIGN + experts_count * ROWS_ALIGN
    device = slots.device
    experts = torch.arange(experts_count, device=device)
    order = slots.to(torch.uint8).argsort(stable=True)  # few bits: few passes of a radix sort
    counts = (slots.unsqueeze(0) == experts.unsqueeze(1)).sum(dim=1)
    padded = ((counts + ROWS_ALIGN - 1) // ROWS_ALIGN * ROWS_ALIGN).clamp_min(ROWS_ALIGN)
    padded_ends = padded.cumsum(0)
    starts = padded_ends - padded
    shift = starts - (counts.cumsum(0) - counts)
    row_of_sorted = torch.arange(count, device=device) + shift[slots[order]]
    place = torch.empty_like(order).scatter_(0, order, row_of_sorted)
    source = order.new_zeros(rows).scatter_(0, row_of_sorted, order // active)
    ends = torch.cat([padded_ends[:-1], padded_ends.new_full((1,), rows)])
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
