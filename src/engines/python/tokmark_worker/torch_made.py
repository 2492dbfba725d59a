"""A module made on its device and in its parameters' type, and what is known about it."""
import contextlib
import dataclasses

import torch

from .errors import is_memory_error, describe_error, model_error
from .user_code import call_user


@dataclasses.dataclass
class Source:
    """A model that was made, and what is known about it."""

    model: torch.nn.Module
    text: str  # for the record's model_source
    vocab_size: int
    params_active: int = None  # None = not known
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


def make_module(what, function, device, dtype, args=(), kwargs=None):
    """Calls on the device first; code that cannot do that is called plainly, and moved."""
    kwargs = kwargs or {}
    notes = []

    def on_device():
        with made_on(device, dtype):
            return function(*args, **kwargs)

    if device.type == "cpu":
        model = call_user(what, on_device)
    else:
        try:
            model = on_device()
        except Exception as error:
            if is_memory_error(error):
                raise
            notes.append(f"built on the host: {describe_error(error)[:80]}")
            model = call_user(what, function, *args, **kwargs)
    if not isinstance(model, torch.nn.Module):
        raise model_error(f"{what} gave a {type(model).__name__}, not a torch.nn.Module")
    return call_user(what, model.to, device=device, dtype=dtype), notes
