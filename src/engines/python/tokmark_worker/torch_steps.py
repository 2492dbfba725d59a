"""One step of each mode, and what a model's output is.

The steps do what a plain training or inference loop does and nothing else: no item(), no copy to
the host, no look at a value.
"""
import torch

from .cell import learning_rate
from .errors import model_error, unsupported
from .torch_adamw import AdamW

_MOMENTS = {"fp32": torch.float32, "bf16": torch.bfloat16}


def whole(tensor):
    """The values of a tensor that may be sharded, on every rank."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def global_norm(tensors):
    """L2 norm of them all, as a tensor."""
    norms = [whole(torch.linalg.vector_norm(tensor, dtype=torch.float32)) for tensor in tensors]
    return torch.linalg.vector_norm(torch.stack(norms))


def parts_of(tokens, targets, count):
    """The rows in `count` parts of as many rows each, in their order."""
    if tokens.shape[0] % count != 0:
        raise unsupported(f"{tokens.shape[0]} rows do not divide into {count} parts")
    return list(zip(tokens.chunk(count), targets.chunk(count)))


def same_random_numbers(device):
    """A context after which random numbers go on as if nothing had been drawn in it."""
    return torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])


def groups_of(params):
    """Parameter groups: no kernel takes parameters that are a rank's part together with others."""
    kinds = {}
    for param in params:
        kinds.setdefault(getattr(param, "device_mesh", None), []).append(param)
    return [{"params": kind} for kind in kinds.values()]


def make_optimizer(params, rate, device, dtype="auto"):
    """(AdamW, what it is): fused where it exists, else foreach, with PyTorch's other defaults; where its moments
    have a type of their own, our own."""
    params = list(params)
    if dtype != "auto":
        return AdamW(groups_of(params), rate, _MOMENTS[dtype]), f"AdamW with moments in {dtype}"
    try:
        optimizer = torch.optim.AdamW(groups_of(params), lr=rate, fused=True)
        # older releases take the flag and refuse at the first step
        probe = torch.nn.Parameter(torch.zeros(8, device=device, dtype=params[0].dtype))
        probe.grad = torch.zeros_like(probe)
        torch.optim.AdamW([probe], lr=rate, fused=True).step()
        return optimizer, "AdamW fused"
    except (RuntimeError, TypeError, ValueError):
        # groups of its own: the one that was refused has written fused=True into those that it was given
        return torch.optim.AdamW(groups_of(params), lr=rate, foreach=True), "AdamW foreach"


class TrainSteps:
    """zero_grad, forward, loss, backward, AdamW. Gradients stay until the next step begins. With --accumulate the rows
    go through forward and backward in parts, whose gradients are summed."""

    def __init__(self, caller, precision, cell, device, layout):
        self._caller = caller
        self._precision = precision
        self._layout = layout
        self._parts_count = cell.options.accumulate
        self.copies_loss = False  # where the next step overwrites what this one gave
        self.without_gradient = []  # names of parameters that the first step did not reach
        self.params = [param for param in caller.model.parameters() if param.requires_grad]
        if not self.params:
            raise model_error("the model has no parameters to train")
        self.optimizer, self.optimizer_name = make_optimizer(
            self.params, learning_rate(cell), device, cell.options.optimizer_dtype
        )
        self._scaler = None
        if precision.has_scaler:
            if hasattr(torch.amp, "GradScaler"):  # since 2.3
                self._scaler = torch.amp.GradScaler(device.type)
            else:
                self._scaler = torch.cuda.amp.GradScaler()

    def step(self, tokens, targets):
        """The loss, on the device."""
        loss, _output = self.gradients(tokens, targets)
        if self._scaler is None:
            self.optimizer.step()
        else:
            self._scaler.step(self.optimizer)
            self._scaler.update()
        return loss.detach().clone() if self.copies_loss else loss.detach()

    def gradients(self, tokens, targets, keep=None):
        """(loss, output), with the gradients in the parameters: scaled under a scaler. The output lives
        as long as in a loop written by hand, where it has a name: to the end of the step, through the
        peak of memory. It is that of the last part; `keep` is given each part's."""
        self.optimizer.zero_grad(set_to_none=True)
        total, last = 0.0, self._parts_count - 1
        for at, part in enumerate(parts_of(tokens, targets, self._parts_count)):
            with self._layout.exchange(at == last):
                with self._precision.autocast():
                    loss, output = self._caller.loss(*part)
                if keep is not None:
                    keep(output)
                if last > 0:
                    loss = loss / self._parts_count
                (loss if self._scaler is None else self._scaler.scale(loss)).backward()
            if last > 0:
                loss = total = total + loss.detach()
        return loss, output

    def first_call(self, tokens, targets, watch, watch_backward):
        """Forward of the first part, under the context `watch`, and backward, under the other, without
        touching the weights."""
        tokens, targets = parts_of(tokens, targets, self._parts_count)[0]
        with self._precision.autocast():
            loss, _output = self._caller.first_loss(tokens, targets, watch)
        with watch_backward:
            loss.backward()
        self.without_gradient = [
            name for name, param in self._caller.own.named_parameters()
            if param.requires_grad and param.grad is None
        ]
        if all(param.grad is None for param in self.params):
            raise model_error(
                "no parameter got a gradient: the loss depends on none that is trained, so that a step would "
                "change nothing"
            )
        self.optimizer.zero_grad(set_to_none=True)
        del loss, _output
        self._caller.settle(tokens, targets, self._precision.autocast)

    def grad_norm(self):
        """Global L2 norm of the last step's gradients; None under a scaler, which skips steps whose
        gradients overflow: no defect."""
        grads = [param.grad for param in self.params if param.grad is not None]
        if self._scaler is not None or not grads:
            return None
        return float(global_norm(grads))


class InferSteps:
    """Forward over every token. The output of a step is dropped before the next begins."""

    def __init__(self, caller, precision):
        self._caller = caller
        self._precision = precision

    def step(self, tokens, _targets):
        with self._precision.without_gradients(), self._precision.autocast():
            return self._caller.logits(tokens)

    def first_call(self, tokens, targets, watch, _watch_backward):
        """A step under the context `watch`; its logits."""
        with watch:
            return self.step(tokens, targets)

