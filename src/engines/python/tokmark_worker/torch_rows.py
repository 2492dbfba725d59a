"""Whether a model works on every token of every row that it is given: else tokens a second would be of
tokens that it has never seen."""
import torch

from .errors import model_error

_CORNER = 64
_MIXED, _UNMIXED = 1e-3, 1e-6  # of the largest logit: changed by what was put in, or by the order of sums at most
_TIME_FIRST = (torch.nn.RNNBase, torch.nn.MultiheadAttention)


def require_rows_first(model, call, tokens):
    """PyTorch's own layers take (T, B, ...) unless they are told otherwise: given (B, T, ...) they mix
    rows, and say nothing. call(tokens): forward, once, of rows of tokens."""
    layers = [
        (name, module) for name, module in model.named_modules()
        if isinstance(module, _TIME_FIRST) and not module.batch_first
    ]
    if not layers or tokens.shape[1] < 2:
        return
    if tokens.shape[0] == tokens.shape[1]:
        tokens = tokens[:1]  # else the two cannot be told apart
    mixing = []

    def look(name, args, kwargs):
        given = next(iter([*args, *kwargs.values()]), None)
        if torch.is_tensor(given) and given.dim() == 3 and given.shape[:2] == tokens.shape:
            mixing.append(name)

    hooks = [
        module.register_forward_pre_hook(
            lambda _, args, kwargs, name=name: look(name, args, kwargs), with_kwargs=True
        )
        for name, module in layers
    ]
    try:
        call(tokens)
    except Exception:
        return  # what is wrong with it, the first call says
    finally:
        for hook in hooks:
            hook.remove()
    if mixing:
        kind = type(model.get_submodule(mixing[0])).__name__
        raise model_error(
            f"the model takes tokens (T, B): its {kind} '{mixing[0]}' has batch_first=False and is given "
            f"(B {tokens.shape[0]}, T {tokens.shape[1]}, ...), which mixes rows; batch_first=True, or a "
            f"wrapper whose forward turns both, would do"
        )


def require_all_tokens(looked_up, call, tokens, vocab_size):
    """looked_up: indices of the largest look-up that a call made. Where it is less than the tokens, those
    at one end may have been cut off: then others in their place change nothing."""
    B, T = tokens.shape
    kept = looked_up // B
    if not 0 < kept < T:
        return
    before = call(tokens)
    for part in (slice(0, T - kept), slice(kept, T)):
        others = tokens.clone()
        others[:, part] = (others[:, part] + 1) % vocab_size
        if torch.equal(call(others), before):
            raise model_error(
                f"the model cuts rows of {T} tokens to {kept} and never sees the rest: seq_len may be at "
                f"most {kept}"
            )


def require_same_work(observer, call, tokens, flops):
    """flops: of the last call that was seen. A model that keeps what it was given does more at every call, by
    the same amount: then a step is none, and its time says nothing. Chance (layers that are dropped) does not
    grow like that."""
    counts = [flops]
    while len(counts) < 4 and (len(counts) < 2 or counts[-1] > counts[-2] > 0):
        with observer() as seen:
            call(tokens)
        counts.append(seen.flops())
    growth = {after - before for before, after in zip(counts[1:], counts[2:])}
    if len(counts) == 4 and len(growth) == 1 and counts[1] < counts[2]:
        raise model_error(
            f"every call does more work than the one before (by {growth.pop():.3g} FLOPs): the model keeps what it was "
            f"given, as a cache does; it must start anew, or have an argument use_cache that is off when False"
        )


def require_no_time_first(model, logits_of, tokens, vocab_size):
    """A model of its own loop over time, given (B, T), may take rows for time steps: then a row changes others, and a
    column none. Statistics of a batch may do the same. logits_of(tokens): of one call, (B, T, V)."""
    has_statistics = any(isinstance(module, torch.nn.modules.batchnorm._BatchNorm) for module in model.modules())
    if min(tokens.shape) < 2 or has_statistics:
        return
    before = _corner(logits_of(tokens))
    if before is None:
        return

    def changes(part, seen):
        others = tokens.clone()
        others[part] = (others[part] + 1) % vocab_size
        after = _corner(logits_of(others))
        if after is None:
            return 0.0
        return float((after[seen] - before[seen]).abs().max() / before.abs().max().clamp_min(1e-30))

    everything = slice(None)
    is_row_seen = changes((0,), (slice(1, None),)) > _MIXED
    if is_row_seen and changes((everything, 0), (everything, slice(1, None))) < _UNMIXED:
        B, T = tokens.shape
        raise model_error(
            f"the model takes tokens (T, B): given (B {B}, T {T}), a row changes others, and a token none of its own "
            f"row; a wrapper whose forward turns both would do"
        )


def _corner(logits):
    """Of two rows and some tokens, which is enough to tell; None of what are no logits of every token."""
    if not torch.is_tensor(logits) or logits.dim() != 3 or logits.shape[1] < 2:
        return None
    return logits[:2, :_CORNER, :_CORNER].float().clone()
