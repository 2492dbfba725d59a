"""AdamW whose two moments have a type of their own: PyTorch's keep that of the parameters.

Every step reads the moments, computes in fp32 and stores them rounded to the nearest. In bf16 the second moment,
which changes by a thousandth a step, no longer follows small changes of the gradients: that is what such a
training does, and not mended here.
"""
import torch

from .torch_spread import local

# Values that are computed at once, so that their copies in fp32 do not show in a device's peak.
_PART = 1 << 24


class AdamW(torch.optim.Optimizer):
    """PyTorch's AdamW and its defaults, but for the type of the moments."""

    def __init__(self, params, lr, dtype, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2):
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})
        self._dtype = dtype
        self._steps_count = 0

    @torch.no_grad()
    def step(self, closure=None):
        self._steps_count += 1
        for group in self.param_groups:
            for part in _parts(self._tensors_of(group)):
                self._update(group, *part)
        return None if closure is None else closure()

    def _tensors_of(self, group):
        """(parameter, gradient, first moment, second moment), each flat; of sharded ones this rank's part."""
        for param in group["params"]:
            if param.grad is None:
                continue
            own = local(param)
            state = self.state[param]
            if not state:
                for name in ("exp_avg", "exp_avg_sq"):
                    state[name] = torch.zeros_like(own, dtype=self._dtype, memory_format=torch.contiguous_format)
            if own.is_contiguous():
                flat = own.view(-1), local(param.grad).reshape(-1)
                yield *flat, state["exp_avg"].view(-1), state["exp_avg_sq"].view(-1)
            else:
                yield own, local(param.grad), state["exp_avg"], state["exp_avg_sq"]

    def _update(self, group, params, grads, firsts, seconds):
        """Lists of tensors; the formula of Loshchilov and Hutter, "Decoupled Weight Decay Regularization"."""
        (beta1, beta2), lr = group["betas"], group["lr"]
        grads, m, v, p = (_wide(tensors) for tensors in (grads, firsts, seconds, params))
        torch._foreach_lerp_(m, grads, 1 - beta1)
        torch._foreach_mul_(v, beta2)
        torch._foreach_addcmul_(v, grads, grads, 1 - beta2)
        _store(firsts, m)
        _store(seconds, v)
        root = torch._foreach_sqrt(v)
        torch._foreach_div_(root, (1 - beta2**self._steps_count) ** 0.5)
        torch._foreach_add_(root, group["eps"])
        torch._foreach_mul_(p, 1 - lr * group["weight_decay"])
        torch._foreach_addcdiv_(p, m, root, -lr / (1 - beta1**self._steps_count))
        _store(params, p)


def _wide(tensors):
    return [tensor.float() for tensor in tensors]  # those of fp32 are themselves


def _store(tensors, wide):
    for tensor, value in zip(tensors, wide):
        if tensor is not value:
            tensor.copy_(value)


def _parts(rows):
    """Lists of parameters, gradients and moments, of about _PART values together."""
    part, count = [], 0
    for row in rows:
        size = row[0].numel()
        if row[0].dim() == 1:
            pieces = [tuple(tensor[at : at + _PART] for tensor in row) for at in range(0, size, _PART)]
        else:
            pieces = [row]
        for piece in pieces:
            part.append(piece)
            count += piece[0].numel()
            if count >= _PART:
                yield tuple(map(list, zip(*part)))
                part, count = [], 0
    if part:
        yield tuple(map(list, zip(*part)))
