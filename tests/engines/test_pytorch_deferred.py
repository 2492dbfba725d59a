"""A user's model made tensor by tensor, beside the same model made at once."""
import weakref

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import pytorch_worker  # noqa: F401  the worker's folder on the path
from tokmark_worker.torch_deferred import Deferred, NotRepeatable, Recorder

CPU = torch.device("cpu")


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, 3 * width)
        self.drop = nn.Dropout(0.1)
        self.down = nn.Linear(3 * width, width, bias=False)
        self.gain = nn.Parameter(torch.randn(width) * torch.tensor([0.1]) + 1)
        self.register_buffer("table", torch.outer(torch.arange(5.0), 2.0 ** -torch.arange(3.0)).cos())


class Model(nn.Module):
    """Default initialisations, others over them, parts of tensors, tied ones, and tables."""

    def __init__(self, width=16):
        super().__init__()
        self.embed = nn.Embedding(40, width, padding_idx=3)
        self.blocks = nn.ModuleList(Block(width) for _ in range(3))
        self.attn = nn.MultiheadAttention(width, 2)
        self.head = nn.Linear(width, 40, bias=False)
        self.head.weight = self.embed.weight
        self.apply(self._init)

    def _init(self, module):
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
                with torch.no_grad():
                    module.bias[:2] = 0.5
        if isinstance(module, nn.LayerNorm):
            nn.init.normal_(module.weight, 1.0, 0.1)


def seeded(make, dtype=torch.float32):
    torch.manual_seed(7)
    model = make()
    for param in model.parameters():
        param.data = param.data.to(dtype)
    return model


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_tensor_has_the_values_that_it_would_have(dtype):
    whole = seeded(Model, dtype).state_dict()
    torch.manual_seed(7)
    deferred = Deferred(CPU)
    model = deferred.make(lambda: _cast(Model(), dtype))
    assert all(param.is_meta for param in model.parameters())
    deferred.fill(model, lambda param, values: param.data.copy_(values))
    assert model.state_dict().keys() == whole.keys()
    for name, value in model.state_dict().items():
        assert value.dtype is whole[name].dtype and torch.equal(value, whole[name]), name
    after = torch.rand(4)
    seeded(Model, dtype)
    assert torch.equal(after, torch.rand(4))  # and random numbers go on as after it


def _cast(model, dtype):
    for param in model.parameters():
        param.data = param.data.to(dtype)
    return model


class Watch(TorchDispatchMode):
    """The most bytes that tensors had at a time."""

    def __init__(self):
        super().__init__()
        self.most = 0
        self._seen = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves((args, out)):
            if isinstance(leaf, torch.Tensor):
                storage = leaf.untyped_storage()
                self._seen[storage._cdata] = weakref.ref(storage), storage.nbytes()
        self.most = max(self.most, sum(size for storage, size in self._seen.values() if storage() is not None))
        return out


def test_no_more_than_one_of_them_is_there_at_a_time():
    recorder = Recorder()
    with recorder:
        model = Model(width=64)
    wanted = {name: recorder.known_part_of(param) for name, param in model.named_parameters()}
    given = []
    with Watch() as watch:
        recorder.repeat(wanted, lambda name, _values: given.append(name))
    assert sorted(given) == sorted(wanted)
    sizes = sorted(4 * param.numel() for param in model.parameters())
    assert sizes[-1] <= watch.most < 2.5 * sizes[-1] < sum(sizes) / 3


class Redraws(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(20, 20))
        with torch.no_grad():  # as trunc_normal_ of PyTorch 2.13 does
            while (large := self.weight.normal_().abs() > 3).any():
                self.weight[large] = 0


class Attribute(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(2, 2)
        self.masks = [torch.ones(2)]


class Marked(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(2, 2)
        self.linear.weight.is_expert = True


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(2, 2)  # it has a list of its own parameters


class Reads(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(2, 2)
        if self.linear.weight.sum() > 0:
            self.other = nn.Linear(2, 2)


class Seeds(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.linear = nn.Linear(2, 2)


MADE = nn.Linear(2, 2)


class Elsewhere(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = MADE


class Draws(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(2, 2)
        self.scale = float(torch.rand(1, device="cpu"))


class Generator(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(2))
        nn.init.normal_(self.weight, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("kind", [Redraws, Attribute, Marked, Recurrent, Reads, Seeds, Elsewhere, Draws, Generator])
def test_what_cannot_be_done_again_is_refused_and_leaves_random_numbers_alone(kind):
    torch.manual_seed(7)
    with pytest.raises((NotRepeatable, RuntimeError, TypeError)):
        Deferred(CPU).make(kind)
    found = torch.rand(2)
    torch.manual_seed(7)
    assert torch.equal(found, torch.rand(2))
