"""A module made on its device, its parameters in the type that was asked for.

Only parameters follow --precision: a buffer keeps the type that its author gave it, and so does a
parameter whose type was chosen on purpose.
"""
import contextlib
import dataclasses
import inspect
import re

import torch
from torch._subclasses.fake_tensor import FakeTensor

from .errors import describe_error, is_memory_error, model_error
from .torch_precision import NAMES
from .user_code import call_user


@dataclasses.dataclass
class Source:
    """A model that was made, and what is known about it."""

    model: torch.nn.Module
    text: str  # for the record's model_source
    vocab_size: int
    params_active: int = None  # None = not known
    is_vocabulary_chosen: bool = False  # by tokmark, since nothing says it
    is_builtin: bool = False
    is_hf: bool = False
    notes: list = dataclasses.field(default_factory=list)
    config: dict = None  # every value it was made with, and where it is from (made_config.py)
    chosen: str = None  # what nobody gave and tokmark had to choose


@contextlib.contextmanager
def made_on(device, dtype):
    """What is made inside is made there and in that type, unless the code says otherwise."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            yield
    finally:
        torch.set_default_dtype(before)


def make_module(what, function, device, dtype, args=(), kwargs=None, deferred=None):
    """Calls on the device first; code that cannot do that is called plainly, and moved. It is made
    under the author's default type, so that tables get the values and types that they have without
    tokmark; its parameters then become `dtype`. deferred: what makes it without memory for now, if
    it can be."""
    kwargs = kwargs or {}
    notes = []
    default = torch.get_default_dtype()
    kept = set()
    if dtype is not default:
        kept = _kept_under(dtype, lambda: function(*args, **kwargs))

    def on_device():
        with made_on(device, default):
            return function(*args, **kwargs)

    def in_its_type():
        notes.append(f"made in {str(dtype).split('.')[-1]}: too large for its own default type")
        with made_on(device, dtype):
            return function(*args, **kwargs)

    def without_memory():
        return _typed(on_device(), dtype, default, kept)

    if deferred is not None:
        try:
            return deferred.make(without_memory), notes
        except Exception as error:  # whatever its code raises for tensors without values
            notes.append(f"made whole on every device first: {describe_error(error)[:80]}")
    if device.type == "cpu":
        model = call_user(what, on_device)
    else:
        try:
            model = _first_that_fits(on_device, in_its_type if dtype is not default else None)
        except Exception as error:
            if is_memory_error(error):
                raise
            notes.append(f"built on the host: {describe_error(error)[:80]}")
            model = call_user(what, function, *args, **kwargs)
    if not isinstance(model, torch.nn.Module):
        raise model_error(f"{what} gave a {type(model).__name__}{_beside_text(model)}")
    return call_user(what, place, model, device, dtype, default, kept), notes


def _beside_text(given):
    """Of what a factory gave in place of a model: what is in it, and what to do where a model is."""
    parts = list(given.values()) if isinstance(given, dict) else given
    if not isinstance(parts, (tuple, list)) or not any(isinstance(part, torch.nn.Module) for part in parts):
        return ", not a torch.nn.Module"
    kinds = ", ".join(type(part).__name__ for part in parts[:6])
    return f" of {kinds}, not a torch.nn.Module: a function that returns the model alone would do"


def _first_that_fits(first, second):
    try:
        return first()
    except Exception as error:
        if second is None or not is_memory_error(error):
            raise
    return second()


def switch_mode(model, is_train):
    """Training or evaluation mode. A model may have a `train` of its own that does something else."""
    try:
        found = next(iter(inspect.signature(model.train).parameters.values()), None)
    except (TypeError, ValueError):
        found = None
    is_mode = found is not None and (
        found.name == "mode" or type(found.default) is bool or found.kind is found.VAR_POSITIONAL
    )
    if is_mode:
        model.train(is_train)
    else:
        torch.nn.Module.train(model, is_train)


# --- types ---------------------------------------------------------------------------------------


def place(model, device, dtype, default=None, kept=frozenset()):
    """The model on the device, its parameters in `dtype` but for those that keep their own:
    quantized and complex ones, what transformers keeps in fp32, the names in `kept`, and those that
    are not of the type `default` in a model that was made under it."""
    moved = model.to(device)
    # an own `to` may forget to return
    return _typed(moved if isinstance(moved, torch.nn.Module) else model, dtype, default, kept)


def _typed(model, dtype, default, kept):
    if has_lazy(model):
        return model  # its first call comes in the author's types
    in_fp32, of_transformers = _kept_by_transformers(model)
    own = {
        name: param for name, param in _castable(model).items() if name not in of_transformers
    }
    kept = {*kept, *_odd_ones(own, default)} - of_transformers
    with torch.no_grad():
        for name, param in _castable(model).items():
            wanted = torch.float32 if name in in_fp32 else dtype
            if name not in kept and param.dtype is not wanted:
                param.data = param.data.to(wanted)
    for module in model.modules():
        if isinstance(module, torch.nn.RNNBase):
            module.flatten_parameters()
    return model


def has_lazy(model):
    """Whether a parameter or buffer has no shape until the model is called."""
    lazy = torch.nn.parameter.UninitializedTensorMixin
    return any(isinstance(tensor, lazy) for tensor in [*model.parameters(), *model.buffers()])


def _castable(model):
    """The parameters that a precision can be given to, by name."""
    return {
        name: param
        for name, param in model.named_parameters()
        if type(param.data) in (torch.Tensor, FakeTensor)
        and param.is_floating_point()
        and param.element_size() >= 2
    }


def _odd_ones(params, default):
    """Names of those that are not of the type that most of the model has: the default, or where no
    parameter is of that, the commonest."""
    counts = {}
    for param in params.values():
        counts[param.dtype] = counts.get(param.dtype, 0) + param.numel()
    if len(counts) < 2:
        return set()
    common = default if default in counts else max(counts, key=counts.get)
    return {name for name, param in params.items() if param.dtype is not common}


def _kept_under(dtype, make):
    """Names of the parameters that would not be of the type `dtype` if it were the default: their
    author named another. Made without memory; empty where a model cannot be made so."""
    try:
        with torch.random.fork_rng(devices=[]), made_on("meta", dtype):
            model = make()
        return _odd_ones(_castable(model), dtype)
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException:
        return set()  # what is wrong with it, the real call says


def _kept_by_transformers(model):
    """(names of the parameters that transformers keeps in fp32, names of all that are its)."""
    kept, known = set(), set()
    for prefix, module in model.named_modules():
        if not hasattr(module, "_keep_in_fp32_modules"):
            continue
        parts = {*(module._keep_in_fp32_modules or ())}
        parts |= {*(getattr(module, "_keep_in_fp32_modules_strict", None) or ())}
        patterns = [re.compile(rf"(^|\.){part}($|\.)") for part in parts]
        for name, _ in module.named_parameters(prefix=prefix):
            known.add(name)
            if any(pattern.search(name) for pattern in patterns):
                kept.add(name)
    return kept, known


def types_text(tensors, first=None):
    """"fp32+bf16": the types by the elements they have, the type `first` before all; None where
    there are no tensors."""
    counts = {}
    for tensor in tensors:
        counts[tensor.dtype] = counts.get(tensor.dtype, 0) + tensor.numel()
    names = sorted(counts, key=lambda dtype: (dtype is not first, -counts[dtype]))
    return "+".join(NAMES.get(dtype, str(dtype).split(".")[-1]) for dtype in names) or None


def kept_text(model, dtype):
    """"fp32: 2 of 26 parameters (a.weight, b.weight)": those of another type than asked for, which
    keep it on purpose; None where there are none."""
    named = list(model.named_parameters())
    others = {}
    for name, param in named:
        if param.dtype is not dtype:
            others.setdefault(param.dtype, []).append(name)
    said = []
    for other, names in others.items():
        more = ", ..." if len(names) > 3 else ""
        said.append(
            f"{NAMES.get(other, str(other).split('.')[-1])}: {len(names)} of {len(named)} "
            f"parameters ({', '.join(names[:3])}{more})"
        )
    return "; ".join(said) or None
