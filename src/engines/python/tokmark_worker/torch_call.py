"""How a model's forward is called, and what its output is.

Arguments are bound by name, never by position into something optional: what is known of a
parameter is what it is called. Wrappers (torch.compile, DataParallel, a forward(*args, **kwargs)
around another module) are looked through.
"""
import inspect

import torch
import torch.nn.functional as F

from .errors import model_error, unsupported
from .user_code import pick_logits, require_logits

TOKEN_NAMES = (
    "input_ids", "idx", "tokens", "token_ids", "input_tokens", "ids", "inputs", "input", "x",
)
TARGET_NAMES = (
    "targets", "labels", "target", "label", "target_ids", "label_ids", "target_tokens",
    "next_tokens", "y_true", "y",
)
# first parameters that take something else than tokens
_OTHER_NAMES = {
    "inputs_embeds", "input_embeds", "embeds", "embeddings", "hidden_states", "hidden", "mask",
    "attention_mask", "position_ids", "positions", "start_pos", "past_key_values", "pixel_values",
    "input_features",
}
_INNER_NAMES = ("_orig_mod", "module", "_forward_module", "_fsdp_wrapped_module")


# --- the signature -------------------------------------------------------------------------------


def _schema_parameters(schema):
    """TorchScript says what a forward takes in its own way."""
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    found = {}
    for argument in schema.arguments[1:]:
        default = argument.default_value if argument.has_default_value() else inspect._empty
        found[argument.name] = inspect.Parameter(argument.name, kind, default=default)
    return found


def _own_parameters(module):
    schema = getattr(module.forward, "schema", None)
    if schema is not None and hasattr(schema, "arguments"):
        return _schema_parameters(schema)
    try:
        return dict(inspect.signature(module.forward).parameters)
    except (TypeError, ValueError):
        return {}


def _is_passed_on(parameter):
    return parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)


def _inner(module):
    """The module that a wrapper passes its arguments on to; None when it is not clear."""
    for name in _INNER_NAMES:
        found = getattr(module, name, None)
        if isinstance(found, torch.nn.Module):
            return found
    children = list(module.children())
    return children[0] if len(children) == 1 else None


def find_parameters(module):
    """(parameters by name, whether others reach it by keyword) of what a call of the module comes
    to, looked up through wrappers that only pass arguments on."""
    takes_keywords = True
    for _ in range(16):
        parameters = _own_parameters(module)
        kinds = {parameter.kind for parameter in parameters.values()}
        named = [name for name, found in parameters.items() if not _is_passed_on(found)]
        if named or inspect.Parameter.VAR_POSITIONAL not in kinds:
            return _with_passed_on(module, parameters), takes_keywords
        takes_keywords = takes_keywords and inspect.Parameter.VAR_KEYWORD in kinds
        inner = _inner(module)
        if inner is None:
            return {}, takes_keywords
        module = inner
    return {}, takes_keywords


def _with_passed_on(module, parameters):
    """forward(tokens, **kwargs) around another module: what that one takes by keyword, too."""
    kinds = {parameter.kind for parameter in parameters.values()}
    inner = _inner(module) if inspect.Parameter.VAR_KEYWORD in kinds else None
    parameters = {name: found for name, found in parameters.items() if not _is_passed_on(found)}
    if inner is None or any(name in parameters for name in TARGET_NAMES):
        return parameters
    for name, found in find_parameters(inner)[0].items():
        if name in TARGET_NAMES or name == "use_cache":
            parameters.setdefault(
                name, found.replace(kind=inspect.Parameter.KEYWORD_ONLY, default=None)
            )
    return parameters


# --- the call ------------------------------------------------------------------------------------


def _is_required(parameter):
    return parameter.default is parameter.empty


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
        if first in TOKEN_NAMES:
            return first
        named = next((name for name in TOKEN_NAMES if name in self._parameters), None)
        if named is not None:
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
        found = next((name for name in TARGET_NAMES if name in self._parameters), None)
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
        self.model = model  # replaced by its compiled form
        self._vocab_size = vocab_size
        self._mode = mode
        self._binding = Binding(*find_parameters(model))
        self._fixed = {"use_cache": False} if self._binding.has_use_cache else {}
        self._extras = {}  # shape of the tokens -> arguments that forward requires
        # its labels are the tokens themselves: it shifts them by one
        self.is_shifting = self._binding.targets == "labels" and _is_transformers(model)
        self.loss_source = None  # "model" or "tokmark", once a loss was seen

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
        return _logits_of(self._call(tokens))

    def full_logits(self, tokens, targets):
        """Of every position; without targets where forward then gives nothing but the loss."""
        if self._binding.targets is not None:
            logits = _logits_of(self._call(tokens, targets))
            if not _is_scalar(logits):
                return logits
        return _logits_of(self._call(tokens))

    # --- loss ---

    def loss(self, tokens, targets):
        """(loss, model's output). Cross-entropy, mean over B T, where the model gives no loss of
        its own; in fp32, as autocast does it on CUDA."""
        out = self._call_for_loss(tokens, targets)
        own = self._own_loss(out)
        return (_cross_entropy(_logits_of(out), targets) if own is None else own), out

    def _call_for_loss(self, tokens, targets):
        return self._call(tokens, None if self._binding.targets is None else targets)

    def _own_loss(self, out):
        return _loss_of(out, self._binding.targets is not None)

    def first_loss(self, tokens, targets, watch):
        """What loss() gives, of a first call under the context `watch`, looked at: whose it is,
        whether it can be trained, whether the model shifts its labels itself."""
        with watch:
            out = self._call_for_loss(tokens, targets)
        own, logits = self._own_loss(out), _logits_of(out)
        self.loss_source = "tokmark" if own is None else "model"
        if own is None or not _is_scalar(logits):
            self.require_shape(logits, tokens, may_be_last=False)
        loss = _cross_entropy(logits, targets) if own is None else own
        _require_gradient(loss, logits)
        if own is not None and self._binding.targets is not None and not self.is_shifting:
            self.is_shifting = _shifts_itself(own, logits, targets)
        return loss, out

    def require_shape(self, logits, tokens, may_be_last):
        require_logits(
            logits,
            torch.is_tensor,
            torch.is_floating_point,
            tuple(tokens.shape),
            self._vocab_size,
            may_be_last,
        )


# --- the output ----------------------------------------------------------------------------------


def _cross_entropy(logits, targets):
    return F.cross_entropy(logits.flatten(0, -2).float(), targets.reshape(-1))


def _is_scalar(value):
    return torch.is_tensor(value) and value.numel() == 1


def _logits_of(out):
    """A tuple's first tensor of three dimensions; else what pick_logits() finds."""
    if isinstance(out, (tuple, list)) and not hasattr(out, "logits"):
        for part in out:
            if torch.is_tensor(part) and part.dim() == 3:
                return part
    return pick_logits(out, torch.is_tensor)


def _loss_of(out, has_targets):
    """The loss in a model's output: alone, under its name, or the number in a tuple; None when there
    is none. A number in the tuple of a model that was given no targets is something else."""
    if torch.is_tensor(out):
        return out if out.numel() == 1 else None
    named = out.get("loss") if isinstance(out, dict) else getattr(out, "loss", None)
    if torch.is_tensor(named):
        if named.numel() != 1:
            raise model_error(f"the loss that forward gives has shape {tuple(named.shape)}")
        return named
    if has_targets and isinstance(out, (tuple, list)):
        return next((part for part in out if _is_scalar(part)), None)
    return None


def _require_gradient(loss, logits):
    if loss.requires_grad:
        return
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


def _is_transformers(model):
    """Whether a transformers causal language model is behind the wrappers."""
    for module in model.modules():
        names = {base.__name__ for base in type(module).__mro__}
        if "PreTrainedModel" in names:
            return type(module).__name__.endswith(("ForCausalLM", "LMHeadModel", "CausalLM"))
    return False


@torch.no_grad()
def _shifts_itself(loss, logits, targets):
    """Whether a model's own loss is that of logits against the next row of its labels, and not that
    against the labels as they are."""
    if not torch.is_tensor(logits) or logits.dim() != 3 or logits.shape[:2] != targets.shape:
        return False
    if targets.shape[1] < 2:
        return False
    plain = _cross_entropy(logits, targets)
    shifted = _cross_entropy(logits[:, :-1], targets[:, 1:])
    near = float(loss) * (1e-4 if loss.dtype in (torch.float32, torch.float64) else 2**-8)
    return abs(float(loss - shifted)) <= near and abs(float(loss - plain)) > 4 * near
