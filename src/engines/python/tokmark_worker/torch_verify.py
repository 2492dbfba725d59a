"""What a step must give, by another way than the one that is timed: straight through the model, on tokens
that are opened anew, from an empty cache (docs/protocol.md, `verify`). Takes no part in any timing."""
import torch
import torch.nn.functional as F

from .errors import unsupported
from .logit_sample import sample
from .tokens import Tokens, TorchArrays
from .torch_steps import global_norm, parts_of, same_random_numbers


_NOISE = 1e-4


def logits_seen(logits, layout):
    """What of a step's output the host compares."""
    return {
        "logits": sample(logits, lambda picked: picked.float().tolist()),
        "head_tokens": layout.counted(logits.shape[0] * logits.shape[1]),
    }


def _repeats(again, found):
    """But for what the order of sums changes."""
    for key, value in found.items():
        values = value if isinstance(value, list) else [value]
        others = again[key] if isinstance(value, list) else [again[key]]
        if None in values or None in others:
            if values != others:
                return False
            continue
        apart = sum(abs(a - b) for a, b in zip(values, others))
        if apart > _NOISE * sum(abs(a) for a in values):
            return False
    return True


class Verification:
    def __init__(self, cell, source, caller, steps, precision, device, layout):
        self._cell = cell
        self._source = source
        self._caller = caller
        self._steps = steps
        self._precision = precision
        self._device = device
        self._layout = layout

    def expected(self, step):
        """Fields of `verify`. The model of a user must first show that it repeats itself."""
        give = {"train": self._train, "infer": self._infer, "decode": self._decode}[self._cell.mode]
        found = give(step)
        if not self._source.is_builtin and not _repeats(give(step), found):
            raise unsupported("the model gives other numbers each time it is called")
        return found

    def _batch(self, step):
        tokens = Tokens(self._cell, self._source.vocab_size, TorchArrays(torch))
        inputs, targets = map(self._layout.own_rows, tokens.batches(step, 1))
        return inputs[0].contiguous().to(self._device), targets[0].contiguous().to(self._device)

    def _train(self, step):
        """With the random numbers that the step is about to draw. A compiled model draws its own, so it
        stays compiled here."""
        inputs, targets = self._batch(step)
        params = [param for param in self._source.model.parameters() if param.requires_grad]
        self._clear(params)
        with same_random_numbers(self._device):
            loss, parts = 0.0, parts_of(inputs, targets, self._cell.options.accumulate)
            for at, part in enumerate(parts):
                with self._layout.exchange(at == len(parts) - 1):
                    with self._precision.autocast():
                        one = self._loss(*part) / len(parts)
                    one.backward()
                loss += float(one.detach())
        grads = [param.grad for param in params if param.grad is not None]
        norm = global_norm(grads) if grads else None
        self._clear(params)
        has_norm = norm is not None and not self._precision.has_scaler
        return {"loss": loss, "grad_norm": float(norm) if has_norm else None}

    def _loss(self, inputs, targets):
        if self._source.is_builtin:
            logits = self._caller.full_logits(inputs, targets)
            return F.cross_entropy(logits.flatten(0, -2).float(), targets.reshape(-1))
        return self._caller.loss(inputs, targets)[0]

    @staticmethod
    def _clear(params):
        for param in params:
            param.grad = None

    def _infer(self, step):
        inputs, _ = self._batch(step)
        compiled, self._caller.model = self._caller.model, self._caller.plain
        try:
            with self._precision.without_gradients(), self._precision.autocast():
                logits = self._source.model(inputs) if self._source.is_builtin else None
                logits = self._caller.logits(inputs) if logits is None else logits
        finally:
            self._caller.model = compiled
        return logits_seen(logits, self._layout)

    def _decode(self, step):
        if not self._source.is_builtin:
            raise unsupported("a cache of transformers has no second way yet")
        model, last = self._source.model, self._cell.seq_len - 1
        prompt, token = self._batch(0)[0][:, :-1], self._batch(step)[0][:, -1:]
        with self._precision.without_gradients(), self._precision.autocast():
            for pair in self._steps.cache:  # there may be no room for another
                for tensor in pair:
                    tensor.zero_()
            if last > 0:
                model(prompt, self._steps.cache, 0)
            return logits_seen(model(token, self._steps.cache, last), self._layout)
