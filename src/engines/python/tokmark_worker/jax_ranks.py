"""Ranks of JAX's, which a launcher has started: one process a device, which jax.distributed makes one program of
(docs/jax.md). Without a launcher one process has all devices of a cell.

Every process has the whole cell: the arrays of a step are JAX's own, of all rows and all weights, and each process holds
its part of them.
"""
import contextlib
import dataclasses
import functools
import importlib
import inspect
import os
import signal
import socket

import jax

from .errors import WorkerError, describe_error
from .jax_engine import JaxEngine
from .nvml import cuda_devices_count
from .ranked import RankedEngine
from .word_store import WordStore, WordStoreAt

_LARGEST_PORT = 65535
# Ranks see each other end (rank_meeting.py): JAX's own watch, which ends all processes, would only be in the way.
_HEARTBEAT_S = 30 * 24 * 3600
_SHUTDOWN_S = 5
_COORDINATOR = "coordinator"
_left = []  # what says farewell when nobody has it any more


class RankedJaxEngine(RankedEngine):
    name = JaxEngine.name
    version = JaxEngine.version
    writes_weights = True
    engine_class = JaxEngine
    has_own_rows = False

    @classmethod
    def meeting(cls, place):
        """Torchrun's agent has MASTER_PORT for itself: ranks meet at the next."""
        if place.has_agent_store:
            port = place.port + 1 if place.port < _LARGEST_PORT else place.port - 1
            place = dataclasses.replace(place, port=port, has_agent_store=False)
        return place, None, None

    @classmethod
    def make_store(cls):
        store = WordStore()
        return store, store.words()

    @classmethod
    def store_at(cls, address, words):
        return WordStoreAt(address, words)

    @classmethod
    def engine_of(cls, ranks, cell):
        return JaxEngine(Processes(ranks, cell))


class Processes:
    """This process among those of its cell."""

    def __init__(self, ranks, cell):
        self.rank, self.count, self.neighbours_count = ranks.rank, ranks.count, ranks.neighbours_count
        self._store = ranks.store
        self._address = ranks.others.address
        self._interface = ranks.interface()
        self._name = ranks.devices(cell)[self.rank]
        self._meetings = 0

    def begin(self, timeout_s=300):
        """Before JAX's client starts. Gives this process's device by name, as it sees it."""
        kind, _, index = self._name.partition(":")
        if kind == "cpu":
            self._use_gloo()
            own = [0]
        else:
            own = None if not index else [0 if cuda_devices_count() == 1 else int(index)]  # it may see its own card alone
        is_new = "jax_enable_preemption_service" in jax.config.values
        if is_new:  # it would take SIGTERM
            jax.config.update("jax_enable_preemption_service", False)
        with self._port() as port:
            self._initialize(port, own, timeout_s)
        if not is_new:
            signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))
        return kind if own is None or kind == "cpu" else f"{kind}:0"

    def _initialize(self, port, own, timeout_s):
        known = inspect.signature(jax.distributed.initialize).parameters
        more = {
            "cluster_detection_method": "deactivate", "heartbeat_timeout_seconds": _HEARTBEAT_S,
            "shutdown_timeout_seconds": _SHUTDOWN_S, "initialization_timeout": timeout_s,
            "coordinator_bind_address": f"{_any_address()}:{port}",
        }
        try:
            jax.distributed.initialize(
                f"{self._address}:{port}", self.count, self.rank, own, **{key: more[key] for key in more if key in known}
            )
        except Exception as error:  # whatever a release raises
            raise WorkerError("internal", f"jax.distributed: {describe_error(error)}") from None

    @contextlib.contextmanager
    def _port(self):
        """Of JAX's own service, on rank 0: a free one, which nobody else gets until the service has it. It can have a port
        that is bound with SO_REUSEPORT, as gRPC binds it so too; connections go to the one who listens."""
        with contextlib.ExitStack() as held:
            if self.rank == 0:
                holder = held.enter_context(socket.socket(_family()))
                holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                if holder.family == socket.AF_INET6:
                    holder.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
                holder.bind((_any_address().strip("[]"), 0))
                self._store.set(_COORDINATOR, str(holder.getsockname()[1]).encode())
            yield int(self._store.get(_COORDINATOR))

    def _use_gloo(self):
        """Numbers go where the ranks have met, unless the user says otherwise: a host's name often leads elsewhere."""
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        name = os.environ.get("GLOO_SOCKET_IFNAME") or self._interface
        for module_name in ("jaxlib._jax", "jaxlib.xla_extension"):  # since 0.6, and before
            with contextlib.suppress(ImportError, AttributeError):
                module = importlib.import_module(module_name)
                module.make_gloo_tcp_collectives = functools.partial(module.make_gloo_tcp_collectives, interface=name)
                return

    @staticmethod
    def leave():
        """JAX's farewell, at the end of the process, waits for all ranks; the others are gone by then. Nothing public
        leaves it out; where this does not either, it ends after _SHUTDOWN_S."""
        with contextlib.suppress(ImportError, AttributeError):
            from jax._src.distributed import global_state

            _left.append((global_state.client, global_state.service))
            global_state.client = global_state.service = None

    def meet(self):
        """Returns when all ranks are here. By words: JAX's exchanges do not wait long for a rank that still compiles."""
        self._meetings += 1
        go = f"meeting/{self._meetings}"
        if self.rank > 0:
            self._store.set(f"{go}/{self.rank}", b"")
            self._store.get(go)
            return
        for rank in range(1, self.count):
            self._store.get(f"{go}/{rank}")
        self._store.set(go, b"")


def _family():
    return socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET


def _any_address():
    return "[::]" if socket.has_dualstack_ipv6() else "0.0.0.0"
