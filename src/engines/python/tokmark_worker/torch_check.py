"""The check request: on given tokens, without dropout, what comes out as safetensors, for a
comparison between engines (struct proto_check). Takes no part in any timing."""
import dataclasses

import torch
import torch.nn.functional as F

from . import torch_tensors
from .cell import learning_rate
from .check_inputs import read_inputs
from .errors import model_error
from .torch_decode import DecodeSteps
from .torch_made import switch_mode
from .torch_steps import groups_of, make_optimizer, whole


def _as_whole(tensor):
    return None if tensor.is_floating_point() else tensor.to(torch.int64)


class Check:
    """One request against an open cell; the cell's weights are as before when it is done."""

    def __init__(self, cell, source, caller, steps, precision, device, layout):
        self._cell = cell
        self._source = source
        self._model = source.model  # never the compiled one
        self._layout = layout
        self._caller = caller
        self._steps = steps
        self._precision = precision
        self._device = device

    def run(self, inputs_path, output_path, train_steps, with_weights):
        longest = self._cell.model.max_seq_len if self._source.is_builtin else None
        file = torch_tensors.SafetensorsFile(inputs_path)
        both = read_inputs(file, _as_whole, self._source.vocab_size, longest)
        tokens, targets = (self._layout.own_rows(tensor).to(self._device) for tensor in both)
        was_training = self._model.training
        gradients = [(param, param.grad) for param in self._model.parameters()]
        saved = None
        compiled, self._caller.model = self._caller.model, self._caller.plain
        try:
            switch_mode(self._model, False)  # no dropout; gradients flow as ever
            if self._cell.mode != "train":
                tensors, loss = self._forward_only(tokens, targets)
            else:
                if train_steps > 0:
                    saved = [param.detach().clone() for param in self._model.parameters()]
                tensors, loss = self._train(tokens, targets, train_steps)
            if with_weights:
                tensors += self._weights(saved)
            if self._layout.rank == 0:
                torch_tensors.write(output_path, tensors)
        finally:
            self._caller.model = compiled
            switch_mode(self._model, was_training)
            if saved is not None:
                with torch.no_grad():
                    for param, value in zip(self._model.parameters(), saved):
                        param.copy_(value)
            for param, gradient in gradients:
                param.grad = gradient
        return {"loss": loss, "tensors": len(tensors)}

    def _weights(self, saved):
        """The parameters as they were before any step."""
        named = list(self._model.named_parameters())
        values = saved if saved is not None else [param for _, param in named]
        return [
            (f"weight.{part_name}", part)
            for (name, _), value in zip(named, values)
            for part_name, part in self._published(name, value)
        ]

    def _published(self, name, tensor):
        """(name, values in fp32) of the tensors of a checkpoint that a parameter, or its gradient, is."""
        values = whole(tensor.detach()).float()
        return self._model.published(name, values) if self._source.is_builtin else [(name, values)]

    def _forward_only(self, tokens, targets):
        if self._cell.mode == "decode":
            if not self._source.is_builtin:
                raise model_error("check: decode is checked for tokmark's own models only")
            logits = self._decode_logits(tokens)
        else:
            logits = self._steps.step(tokens, targets)
            if torch.is_tensor(logits) and logits.shape[1:2] != tokens.shape[1:]:
                with self._precision.without_gradients(), self._precision.autocast():
                    logits = self._caller.full_logits(tokens, targets)
        self._caller.require_shape(logits, tokens, may_be_last=False)
        loss = F.cross_entropy(logits.flatten(0, -2).float(), targets.reshape(-1))
        return self._outputs(logits, loss)

    def _decode_logits(self, tokens):
        """T single-token steps from an empty cache, of which the last is the step that is timed."""
        B, T = tokens.shape
        with self._precision.without_gradients(), self._precision.autocast():
            cache = self._model.new_cache(B, T)
            parts = [self._model(tokens[:, at : at + 1], cache, at) for at in range(T - 1)]
        cell = dataclasses.replace(self._cell, batch_size=B, seq_len=T)
        timed = DecodeSteps(self._caller, self._precision, self._source, cell, tokens[:, :-1])
        return torch.cat([*parts, timed.step(tokens, None)], dim=1)

    def _train(self, tokens, targets, train_steps):
        params = list(self._model.parameters())
        dtype = self._cell.options.optimizer_dtype
        if dtype == "auto":
            optimizer = torch.optim.AdamW(groups_of(params), lr=learning_rate(self._cell))
        else:
            optimizer, _ = make_optimizer(params, learning_rate(self._cell), self._device, dtype)
        for _ in range(train_steps):
            self._gradients(tokens, targets)
            optimizer.step()
        logits, loss = self._gradients(tokens, targets)
        tensors, loss = self._outputs(logits, loss)
        for name, param in self._model.named_parameters():
            gradient = torch.zeros_like(param) if param.grad is None else param.grad
            tensors += [(f"grad.{key}", part) for key, part in self._published(name, gradient)]
        if train_steps > 0:
            for name, param in self._model.named_parameters():
                tensors += [(f"param.{key}", part) for key, part in self._published(name, param)]
        return tensors, loss

    def _gradients(self, tokens, targets):
        if self._source.is_builtin and not self._precision.has_scaler:
            outputs = []
            loss, _ = self._steps.gradients(tokens, targets, lambda output: outputs.append(output.detach()))
            return torch.cat(outputs), loss.detach()
        self._model.zero_grad(set_to_none=True)
        with self._layout.exchange(is_last=True):
            with self._precision.autocast():
                logits = self._caller.full_logits(tokens, targets)
                self._caller.require_shape(logits, tokens, may_be_last=False)
                loss = F.cross_entropy(logits.flatten(0, -2).float(), targets.reshape(-1))
            loss.backward()
        return logits.detach(), loss.detach()

    def _outputs(self, logits, loss):
        """(tensors, loss) of all rows."""
        logits, loss = self._layout.all_rows(logits.float()), self._layout.mean(loss.float())
        return [("logits", logits), ("loss", loss.reshape(1))], float(loss)
