"""A user's model made tensor by tensor, so that no device has to hold the whole of it.

Its code runs once on tensors without memory (FakeTensor), while what it does to them is noted. Done afterwards in the same
order, with the same random numbers, that gives every parameter the values that it would have had; and each is given
away after the last thing that is done to it. What is overwritten before anything reads it is not done, but for random
numbers, which are drawn into nowhere: those after them must stay as they are. Code that looks at a value cannot be
repeated so, and PyTorch says it: a fake tensor has none.
"""
import contextlib
from dataclasses import dataclass

import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

from .torch_steps import same_random_numbers

_aten = torch.ops.aten
# What these leave in their first argument depends on nothing that was in it.
_FILLS = {
    getattr(getattr(_aten, name), overload)
    for name, overload in (
        ("uniform_", "default"), ("normal_", "default"), ("zero_", "default"), ("fill_", "Scalar"), ("fill_", "Tensor"),
        ("copy_", "default"),
    )
}


class NotRepeatable(Exception):
    """The model's code did what cannot be done again later."""


@dataclass(frozen=True)
class _Part:
    """A tensor, as a view of a numbered storage."""

    storage: int
    dtype: torch.dtype
    size: tuple
    stride: tuple
    offset: int
    storage_bytes: int
    device: torch.device

    @property
    def is_whole(self):
        count = 1
        for side in self.size:
            count *= side
        return count * self.dtype.itemsize == self.storage_bytes

    def of(self, storage):
        empty = torch.empty(0, dtype=self.dtype, device=self.device)
        return empty.set_(storage, self.offset, self.size, self.stride)


@dataclass
class _Call:
    function: object
    args: tuple
    kwargs: dict
    outs: list  # parts that it gave
    made: list  # storages that came into being
    changed: list  # parts that it wrote to
    read: set  # storages

    @property
    def is_random(self):
        return torch.Tag.nondeterministic_seeded in self.function.tags

    @property
    def replaced(self):
        """Storages of which nothing that was in them before is left."""
        is_fill = self.function in _FILLS
        return {*self.made, *(part.storage for part in self.changed if is_fill and part.is_whole)}

    @property
    def written(self):
        return {*self.made, *(part.storage for part in self.changed)}


def _parts(tree):
    return [leaf for leaf in tree_flatten(tree)[0] if isinstance(leaf, _Part)]


class Recorder(TorchDispatchMode):
    """In it tensors are without memory, and what is done to them is noted."""

    def __init__(self):
        super().__init__()
        self._fake = FakeTensorMode()
        self._calls = []
        self._numbers = {}
        self._kept = []  # storages: no address comes twice

    def __enter__(self):
        self._fake.__enter__()
        return super().__enter__()

    def __exit__(self, *error):
        super().__exit__(*error)
        self._fake.__exit__(*error)

    def part_of(self, tensor):
        storage = tensor.untyped_storage()
        number = self._numbers.get(storage._cdata)
        if number is None:
            number = self._numbers[storage._cdata] = len(self._kept)
            self._kept.append(storage)
        size, stride = tuple(tensor.shape), tuple(tensor.stride())
        place = tensor.storage_offset(), storage.nbytes(), tensor.device
        return _Part(number, tensor.dtype, size, stride, *place)

    def known_part_of(self, tensor):
        known = len(self._kept)
        part = self.part_of(tensor)
        self._require_known(known)
        return part

    def _noted(self, tree):
        def note(leaf):
            return self.part_of(leaf) if isinstance(leaf, FakeTensor) else leaf

        return tree_map(note, tree)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if isinstance(kwargs.get("generator"), torch.Generator):
            raise NotRepeatable("random numbers of a generator of its own")
        known = len(self._kept)
        noted_args, noted_kwargs = self._noted(args), self._noted(kwargs)
        self._require_known(known)
        out = func(*args, **kwargs)
        outs = _parts(self._noted(out))
        changed = _changed(func, noted_args, noted_kwargs)
        made = [part.storage for part in outs if part.storage >= known]
        if not made and not changed:
            return out  # a view, or nothing of ours
        read = {part.storage for part in _parts((noted_args, noted_kwargs))}
        if func in _FILLS:
            read -= {part.storage for part in changed if part.is_whole}
        self._calls.append(_Call(func, noted_args, noted_kwargs, outs, made, changed, read))
        return out

    def _require_known(self, count):
        """No storage came from elsewhere: nothing would be known of its values."""
        if len(self._kept) > count:
            raise NotRepeatable("a tensor of unknown values")

    # --- once more, with memory ------------------------------------------------------------------

    def _needed(self, wanted):
        """For each call whether anything that is wanted depends on it."""
        live, needed = set(wanted), []
        for call in reversed(self._calls):
            is_needed = not live.isdisjoint(call.written)
            if is_needed:
                live -= call.replaced
                live |= call.read
            needed.append(is_needed)
        return needed[::-1]

    @torch.no_grad()
    def repeat(self, wanted, give):
        """wanted: {key: part}; give(key, tensor) for each of them, as soon as it is done."""
        keys = {}
        for key, part in wanted.items():
            keys.setdefault(part.storage, []).append(key)
        needed = self._needed(keys)
        last = {}
        for index, call in enumerate(self._calls):
            if needed[index]:
                last.update(dict.fromkeys(call.written | call.read, index))
        held = {}

        def tensor_of(part):
            if part.storage not in held:
                held[part.storage] = torch.UntypedStorage(part.storage_bytes, device=part.device)
            return part.of(held[part.storage])

        def end(storage):
            for key in keys.get(storage, ()):
                give(key, tensor_of(wanted[key]))
            held.pop(storage, None)

        for index, call in enumerate(self._calls):
            if needed[index] or call.is_random:
                self._do(call, tensor_of, held)
            for storage in call.written | call.read:
                if last.get(storage) == index:
                    end(storage)
                elif storage not in last or (storage in call.written and not needed[index]):
                    held.pop(storage, None)
        for storage in keys:
            if storage not in last:  # nothing is in it
                end(storage)

    @staticmethod
    def _do(call, tensor_of, held):
        def real(leaf):
            if isinstance(leaf, _Part):
                return tensor_of(leaf)
            return leaf.clone() if isinstance(leaf, torch.Tensor) else leaf  # numbers in the code

        out = call.function(*tree_map(real, call.args), **tree_map(real, call.kwargs))
        tensors = [leaf for leaf in tree_flatten(out)[0] if isinstance(leaf, torch.Tensor)]
        for part, tensor in zip(call.outs, tensors):
            if part.storage in call.made:
                held[part.storage] = tensor.untyped_storage()


def _changed(func, args, kwargs):
    """Parts that a call writes to, by its schema."""
    given = {argument.name: value for argument, value in zip(func._schema.arguments, args)}
    given.update(kwargs)
    written = [
        given.get(argument.name)
        for argument in func._schema.arguments
        if argument.alias_info is not None and argument.alias_info.is_write
    ]
    return _parts(written)


@contextlib.contextmanager
def _watched_random(device):
    """A seed that is set here would be another when all is done again."""
    def states():
        found = [torch.get_rng_state()]
        if device.type == "cuda":
            found.append(torch.cuda.get_rng_state(device))
        return found

    with same_random_numbers(device):
        before = states()
        yield
        if not all(map(torch.equal, before, states())):
            raise NotRepeatable("a seed that it sets")


def _holds_tensors(value):
    return any(isinstance(leaf, FakeTensor) for leaf in tree_flatten(value)[0])


def _without_device(model):
    """Parameters and buffers as tensors of the same shapes on no device, as they can be divided; those that are one
    stay one."""
    made = {}
    for module in model.modules():
        for tensors in (module._parameters, module._buffers):
            for name, tensor in tensors.items():
                if tensor is not None:
                    if id(tensor) not in made:
                        made[id(tensor)] = tensor, _meta_of(tensor)
                    tensors[name] = made[id(tensor)][1]


@contextlib.contextmanager
def _swapping():
    """Parameters that several modules have stay one when a model is moved."""
    before = torch.__future__.get_swap_module_params_on_conversion()
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        yield
    finally:
        torch.__future__.set_swap_module_params_on_conversion(before)


def _buffers(model):
    return dict(model.named_buffers(remove_duplicate=False))


def _meta_of(tensor):
    made = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")
    return torch.nn.Parameter(made, tensor.requires_grad) if isinstance(tensor, torch.nn.Parameter) else made


class Deferred:
    """A model without memory yet, and how its tensors are made."""

    def __init__(self, device):
        self._device = torch.empty(0, device=device).device  # with its number
        self._recorder = Recorder()
        self._wanted = {}
        self.is_made = False

    def make(self, function):
        """What function() gives; anything it may raise, or NotRepeatable."""
        with _watched_random(self._device), self._recorder, torch.device(self._device):
            plain = vars(torch.nn.Parameter(torch.empty(0))).keys()
            model = function()
        tensors = {**dict(model.named_parameters()), **_buffers(model)}
        for name, tensor in tensors.items():
            if type(tensor) is not FakeTensor or tensor.device != self._device:
                raise NotRepeatable(f"{name} is made elsewhere")
            if vars(tensor).keys() - plain or tensor._backward_hooks:
                raise NotRepeatable(f"{name} has attributes or hooks of its own")
            self._wanted[name] = self._recorder.known_part_of(tensor)
        for name, module in model.named_modules():
            for key, value in vars(module).items():
                if key not in ("_parameters", "_buffers") and _holds_tensors(value):
                    raise NotRepeatable(f"{name}.{key} is no parameter or buffer".lstrip("."))
        _without_device(model)
        self.is_made = True
        return model

    def fill(self, model, put):
        """Everything as on one device, after the model has been divided; put(param, values) takes a device's part."""
        with _swapping():
            model.to_empty(device=self._device)
        params, buffers = dict(model.named_parameters()), _buffers(model)

        def give(name, values):
            if name in params:
                put(params[name], values)
            else:
                buffers[name].copy_(values)

        self._recorder.repeat(self._wanted, give)
        self._recorder = None
