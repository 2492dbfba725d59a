"""Ranks of PyTorch's: words between them go through its TCPStore, numbers of the model through its process group, each
rank's rows and part of the model are its own (torch_layout.py)."""
import datetime
import os

import torch

from .errors import unsupported
from .ranked import RankedEngine, Ranks
from .ranks import Followers
from .torch_engine import TorchEngine
from .torch_layout import Layout

_FOR_EVER = datetime.timedelta(days=30)
_AT_ONCE = datetime.timedelta(milliseconds=10)
_PORT_KEY = "tokmark/port"


class RankedTorchEngine(RankedEngine):
    name = TorchEngine.name
    version = TorchEngine.version
    writes_weights = True
    has_training_options = TorchEngine.has_training_options
    engine_class = TorchEngine

    @classmethod
    def require(cls):
        from torch import distributed

        if not distributed.is_available():
            raise unsupported("this PyTorch is built without torch.distributed; the nearest is one device")

    @classmethod
    def meeting(cls, place):
        """Torchrun's own store has MASTER_PORT: through it the others hear where rank 0 listens."""
        if not place.has_agent_store:
            return place, None, None
        agent = _store_at(place.address, place.port, datetime.timedelta(seconds=place.join_s))
        return place, lambda port: agent.set(_PORT_KEY, str(port)), lambda: int(agent.get(_PORT_KEY))

    @classmethod
    def make_store(cls):
        store = _store_at("127.0.0.1")
        return store, {"port": store.port}

    @classmethod
    def store_at(cls, address, words):
        return _store_at(address, words["port"])

    @classmethod
    def engine_of(cls, ranks, cell):
        """Numbers of the model go where the ranks have met, unless the user says otherwise: a host's name often leads
        elsewhere."""
        name = ranks.interface()
        if name is not None:
            os.environ.setdefault("GLOO_SOCKET_IFNAME", name)
        devices = ranks.devices(cell)
        if ranks.others.local_ranks is not None and devices[ranks.rank] != "cpu" and torch.cuda.device_count() == 1:
            devices[ranks.rank] = "cuda:0"  # the launcher gives each rank the sight of its own card alone
        return cls.engine_class(Layout(cell, devices, ranks.rank, ranks.store, ranks.neighbours_count))

    def fork(self, devices):
        self.require()
        _require_cards(devices)
        others = Followers()
        # the store takes a free port when it is made, after the fork: the others hear of it by a pipe
        port_read, port_write = os.pipe()
        rank = others.fork(len(devices) - 1)
        if rank == 0:
            store = _store_at("127.0.0.1")
            os.write(port_write, store.port.to_bytes(4, "little") * (len(devices) - 1))
        else:
            store = _store_at("127.0.0.1", int.from_bytes(os.read(port_read, 4), "little"))
        os.close(port_read)
        os.close(port_write)
        return Ranks(self, rank, store, others)


def _store_at(address, port=None, timeout=_FOR_EVER):
    """Without a port one of its own, at a free one."""
    return _store_class()(address, port or 0, None, port is None, timeout=timeout, wait_for_workers=False)


def _store_class():
    from torch.distributed import TCPStore

    if hasattr(TCPStore, "check"):
        return TCPStore

    class Store(TCPStore):
        """Of releases such as PyTorch 2.2, where nobody can ask without waiting."""

        def check(self, keys):
            try:
                self.wait(keys, _AT_ONCE)
            except RuntimeError:
                return False
            return True

    return Store


def _require_cards(devices):
    """As far as can be told without a touch of the devices, which processes that are forked could not use any more."""
    if devices[0] == "cpu":
        return
    count = 0
    if torch.version.cuda is not None:
        by_nvml = getattr(torch.cuda, "_device_count_nvml", None)
        count = by_nvml() if by_nvml is not None else -1
    needed = 1 + int(devices[-1].partition(":")[2])
    if 0 <= count < needed:
        nearest = f"--devices {count}" if count > 1 else "--device cuda:0" if count == 1 else "cpu"
        raise unsupported(
            f"devices {devices[0]} to {devices[-1]}: PyTorch {torch.__version__} sees {count} CUDA devices; the nearest is {nearest}"
        )
