"""How a model's forward is called, and what its output is.

Arguments are bound by name, never by position into something optional: what is known of a
parameter is what it is called (torch_signature.py).
"""
import inspect

import torch

from .errors import model_error, unsupported
from .output_parts import is_loss_name
from .torch_output import (
    cross_entropy, find_logits, find_loss, given_logits, is_choice_open, is_number, numbers_of,
    require_no_probabilities, row_losses, shifts_by_gradient,
)
from .torch_signature import TARGET_NAMES, TOKEN_NAMES, find_parameters, is_no_tensor, target_name
from .torch_steps import same_random_numbers, whole
from .user_code import require_logits

# first parameters that take something else than tokens
_OTHER_NAMES = {
    "inputs_embeds", "input_embeds", "embeds", "embeddings", "hidden_states", "hidden", "mask",
    "attention_mask", "position_ids", "positions", "start_pos", "past_key_values", "pixel_values",
    "input_features",
}


def _is_required(parameter):
    return parameter.default is parameter.empty


def _type_name(annotation):
    return getattr(annotation, "__name__", None) or str(annotation)


class Binding:
    """Which parameter gets the tokens, which the targets, and what else has to be given."""

    def __init__(self, parameters, takes_keywords):
        self._parameters = parameters
        self._takes_keywords = takes_keywords
        self.tokens = self._find_tokens()
        self.targets = self._find_targets()
        self.extras = self._find_extras()
        self.has_use_cache = takes_keywords and "use_cache" in parameters

    def _positional(self):
        only = inspect.Parameter.KEYWORD_ONLY
        return [name for name, found in self._parameters.items() if found.kind is not only]

    def _find_tokens(self):
        """The name; None where the signature says nothing, and tokens stand first."""
        if not self._parameters:
            return None
        first = next(iter(self._positional()), None)
        named = next((name for name in TOKEN_NAMES if name in self._parameters), None)
        if first in TOKEN_NAMES or named is None:
            named = first
        if named is not None and is_no_tensor(self._parameters[named].annotation):
            raise unsupported(
                f"forward takes '{named}' as {_type_name(self._parameters[named].annotation)}: tokmark "
                f"gives token ids as a tensor; a wrapper whose forward takes them would do"
            )
        if named is not first or first in TOKEN_NAMES:
            return named
        if first is None or first in _OTHER_NAMES or first in TARGET_NAMES:
            raise unsupported(
                f"forward({', '.join(self._parameters)}) has no parameter for tokens: tokmark gives "
                f"token ids, as the first parameter or under a name like {', '.join(TOKEN_NAMES[:3])}"
            )
        return first

    @property
    def is_tokens_first(self):
        return self.tokens is None or self._positional()[:1] == [self.tokens]

    def _find_targets(self):
        found = target_name(self._parameters)
        if found is None or self._takes_keywords:
            return found
        return found if self.is_targets_second(found) else None

    def is_targets_second(self, name):
        return self.is_tokens_first and self._positional()[1:2] == [name]

    def is_by_position(self, name):
        """Whether targets can only be given by their place, right behind the tokens."""
        only = inspect.Parameter.POSITIONAL_ONLY
        return not self._takes_keywords or self._parameters[name].kind is only

    def _find_extras(self):
        extras = []
        for name, parameter in self._parameters.items():
            if name in (self.tokens, self.targets) or not _is_required(parameter):
                continue
            if name not in _EXTRAS or not self._takes_keywords:
                raise unsupported(
                    f"forward requires '{name}', which tokmark has nothing for: it gives tokens, "
                    f"targets, {' and '.join(_EXTRAS)}; a default of its own would do"
                )
            extras.append(name)
        return extras

    def require_no_targets(self, mode):
        """Where targets cannot be left out, only training has them."""
        name = self.targets
        if mode != "train" and name is not None and _is_required(self._parameters[name]):
            raise unsupported(
                f"forward requires '{name}', which only training has: {mode} calls it without; a "
                f"default of None would do"
            )


def _ones(tokens):
    return torch.ones_like(tokens)


def _places(tokens):
    places = torch.arange(tokens.shape[1], dtype=torch.int64, device=tokens.device)
    return places.expand(tokens.shape).contiguous()


_EXTRAS = {"attention_mask": (_ones, "ones(B, T)"), "position_ids": (_places, "arange(T)")}


class Caller:
    """Calls a model the way its forward wants, and finds loss and logits in what it gives.

    Targets go to a parameter that is named for them, when training; a loss that comes back is then
    the loss. A transformers model is told not to keep a cache that it would throw away.
    """

    def __init__(self, model, vocab_size, mode):
        self.model = self.plain = self.own = model  # `model` is replaced by its compiled form; `own` is the user's
        self._vocab_size = vocab_size
        self._mode = mode
        _require_forward(model)
        self._binding = Binding(*find_parameters(model))
        self._fixed = {"use_cache": False} if self._binding.has_use_cache else {}
        self._extras = {}  # shape of the tokens -> arguments that forward requires
        self.is_shifting = False  # its labels are the tokens themselves: it shifts them by one
        self.loss_source = None  # "model" or "tokmark", once a loss was seen
        self._number = 0  # which of several numbers in a tuple is the loss
        self._is_chosen = False
        self._is_settled = False
        self.left_out = []  # names of numbers beside the logits that are not in the loss

    def wrap(self, wrapped):
        """What is called in place of the model: itself, or what shares its work with other ranks."""
        self.model = self.plain = wrapped

    @property
    def tokens_name(self):
        """Of the parameter that gets the tokens; None where the signature says nothing."""
        return self._binding.tokens

    # --- calling ---

    def _call(self, tokens, targets=None):
        binding = self._binding
        kwargs = self._fixed
        if binding.extras:
            kwargs = {**kwargs, **self._extras_for(tokens)}
        if targets is not None:
            targets = tokens if self.is_shifting else targets
            if binding.is_by_position(binding.targets):
                return self.model(tokens, targets, **kwargs)
            kwargs = {**kwargs, binding.targets: targets}
        if binding.is_tokens_first:
            return self.model(tokens, **kwargs)
        return self.model(**{binding.tokens: tokens}, **kwargs)

    def _extras_for(self, tokens):
        shape = tuple(tokens.shape)
        if shape not in self._extras:
            self._extras[shape] = {
                name: _EXTRAS[name][0](tokens) for name in self._binding.extras
            }
        return self._extras[shape]

    def text(self):
        """How forward is called, for the record: "forward(idx, targets=targets)"."""
        binding = self._binding
        name = binding.tokens or "tokens"
        words = [name if binding.is_tokens_first else f"{name}=tokens"]
        if self._mode == "train" and binding.targets:
            given = name if self.is_shifting else "targets"
            by_place = binding.is_by_position(binding.targets)
            words.append(given if by_place else f"{binding.targets}={given}")
        words += [f"{extra}={_EXTRAS[extra][1]}" for extra in binding.extras]
        words += [f"{key}={value}" for key, value in self._fixed.items()]
        return f"forward({', '.join(words)})"

    def logits(self, tokens):
        self._binding.require_no_targets(self._mode)
        return self._find_logits(self._call(tokens), tokens)

    def full_logits(self, tokens, targets):
        """Of every position; without targets where forward then gives nothing but the loss."""
        if self._binding.targets is not None:
            logits = self._find_logits(self._call(tokens, targets), tokens)
            if torch.is_tensor(logits) and not is_number(logits):
                return logits
        return self._find_logits(self._call(tokens), tokens)

    def _find_logits(self, out, tokens):
        return find_logits(out, tokens.shape, self._vocab_size)

    # --- loss ---

    def loss(self, tokens, targets):
        """(loss, model's output). Cross-entropy, mean over B T, where the model gives no loss of
        its own; in fp32: F.cross_entropy under autocast on a card keeps the log-softmax in bf16."""
        out = self._call_for_loss(tokens, targets)
        own = self._own_loss(out)
        if own is None:
            return cross_entropy(self._find_logits(out, tokens), targets), out
        return own, out

    def _call_for_loss(self, tokens, targets):
        return self._call(tokens, None if self._binding.targets is None else targets)

    def _own_loss(self, out):
        return find_loss(out, self._binding.targets is not None, self._number)

    def first_loss(self, tokens, targets, watch):
        """What loss() gives, of a first call under the context `watch`, looked at: whose it is,
        whether it can be trained, whether the model shifts its labels itself. None for the last is
        not known yet: settle() tries it, once this call's memory is given back."""
        with watch:
            out = self._call_for_loss(tokens, targets)
        if not self._is_chosen and self._binding.targets is not None and is_choice_open(out):
            self._is_chosen = True
            out = None  # its memory, before others are tried
            self._number = self._number_of_targets(tokens, targets)
            out = self._call_for_loss(tokens, targets)
        own, logits = self._own_loss(out), self._find_logits(out, tokens)
        self.loss_source = "tokmark" if own is None else "model"
        if own is None:
            self.left_out = [name or "a number" for name, value in numbers_of(out) if value.requires_grad]
            self._require_no_row_losses(out, logits, tokens, targets)
            self.require_shape(logits, tokens, may_be_last=False)
            require_no_probabilities(logits)
        loss = cross_entropy(logits, targets) if own is None else own
        _require_gradient(loss, logits)
        if own is not None and self._binding.targets is not None and not self._is_settled:
            given = given_logits(out, tokens.shape, self._vocab_size)
            shifts = shifts_by_gradient(own, given, targets, self._vocab_size)
            if shifts is None and self._binding.targets == "labels" and _is_of_transformers(self.own):
                shifts = True
            self.is_shifting, self._is_settled = bool(shifts), shifts is not None
        else:
            self._is_settled = True
        return loss, out

    def settle(self, tokens, targets, autocast):
        """Whether the model shifts its labels itself, where no logits told: then the first label of a
        row changes no gradient, and the others do. Leaves no gradients."""
        if self._is_settled:
            return
        self._is_settled = True
        others = (targets + 1) % self._vocab_size
        first = torch.cat([others[:, :1], targets[:, 1:]], dim=1)
        seen = [self._gradients_seen(tokens, given, autocast) for given in (targets, first, others)]
        self.is_shifting = _are_equal(seen[1], seen[0]) and not _are_equal(seen[2], seen[0])

    def _gradients_seen(self, tokens, targets, autocast):
        """Norms of the rows and columns of every parameter's gradient, with the same random numbers each time."""
        params = [param for param in self.model.parameters() if param.requires_grad]
        with same_random_numbers(tokens.device):
            with autocast():
                loss = self._own_loss(self._call_for_loss(tokens, targets))
            loss.backward()
        seen = []
        for param in params:
            if param.grad is not None:
                dims = (0, -1) if param.dim() > 1 else ()
                norms = [torch.linalg.vector_norm(param.grad, dim=dim, dtype=torch.float32) for dim in dims]
                seen += map(whole, norms or [param.grad])
            param.grad = None
        return seen

    def _number_of_targets(self, tokens, targets):
        """Which of several numbers in a tuple is the loss: the first that follows the targets, of those with
        a gradient if any has one; None when none does, but for types too coarse to show it."""
        before, has_gradient = self._numbers(tokens, targets)
        after, _ = self._numbers(tokens, (targets + 1) % self._vocab_size)
        changed = [at for at, pair in enumerate(zip(before, after)) if not pair[0].equal(pair[1])]
        changed.sort(key=lambda at: not has_gradient[at])  # an accuracy or a perplexity beside it has none
        is_fine = all(number.dtype in (torch.float32, torch.float64) for number in before)
        return next(iter(changed), None if is_fine else 0)

    def _numbers(self, tokens, targets):
        """The numbers in the output of one more call, and whether each has a gradient, with the same random
        numbers each time and nothing kept."""
        with same_random_numbers(tokens.device):
            numbers = numbers_of(self._call_for_loss(tokens, targets))
        return [value.detach().clone() for _, value in numbers], [value.requires_grad for _, value in numbers]

    def _require_no_row_losses(self, out, logits, tokens, targets):
        """A loss of every token or row, where targets were given, is neither loss nor logits, and a loss
        of tokmark's in its place would be another."""
        if self._binding.targets is None:
            return
        found = row_losses(out, tuple(tokens.shape))
        is_loss = any(value is logits or is_loss_name(name) for name, value in found)
        if found and not is_loss:
            is_loss = self._follow_targets(tokens, targets)
        if is_loss:
            shape, dtype = tuple(found[0][1].shape), found[0][1].dtype
            raise model_error(
                f"forward gives, with targets, {shape} of {dtype}: a loss is one number, such as its mean"
            )

    def _follow_targets(self, tokens, targets):
        """Whether what an output has for every token or row is another with other targets."""
        with same_random_numbers(tokens.device):
            before = row_losses(self._call_for_loss(tokens, targets), tuple(tokens.shape))
        with same_random_numbers(tokens.device):
            others = (targets + 1) % self._vocab_size
            after = row_losses(self._call_for_loss(tokens, others), tuple(tokens.shape))
        pairs = zip(before, after)
        return len(before) != len(after) or any(not a.equal(b) for (_, a), (_, b) in pairs)

    def require_shape(self, logits, tokens, may_be_last):
        require_logits(
            logits,
            torch.is_tensor,
            torch.is_floating_point,
            tuple(tokens.shape),
            self._vocab_size,
            may_be_last,
        )


# --- what is looked at once -----------------------------------------------------------------------


def _require_forward(model):
    function = getattr(model.forward, "__func__", model.forward)
    name = getattr(function, "__qualname__", "")
    if name in ("_forward_unimplemented", "LightningModule.forward"):
        beside = ", and training_step is never called" if hasattr(model, "training_step") else ""
        raise unsupported(
            f"{type(model).__name__} has no forward of its own: tokmark calls forward(tokens){beside}"
        )


def _require_gradient(loss, logits):
    if loss.requires_grad:
        return
    if torch.is_inference_mode_enabled():
        raise model_error(
            "the whole process is in inference mode: the model's code entered torch.inference_mode and "
            "did not leave it; train needs gradients"
        )
    if not torch.is_grad_enabled():
        raise model_error(
            "gradients are off for the whole process: the model's code called "
            "torch.set_grad_enabled(False); train needs them on"
        )
    if torch.is_tensor(logits) and logits.requires_grad:
        raise model_error(
            "the loss that forward gives has no gradient: it does not depend on the parameters"
        )
    raise model_error(
        "forward runs without gradients (torch.inference_mode, torch.no_grad or a detach in it): "
        "it cannot be trained"
    )


def _are_equal(some, others):
    return all(map(torch.equal, some, others))


def _is_of_transformers(model):
    """Whether it is one of transformers' own causal language models. Most shift their labels, a few (bart's)
    do not: it decides where the loss's gradient does not tell."""
    kind = type(model)
    is_causal = kind.__name__.endswith(("ForCausalLM", "LMHeadModel", "CausalLM"))
    return is_causal and kind.__module__.split(".")[0] == "transformers"
