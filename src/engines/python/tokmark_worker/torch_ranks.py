"""The `pytorch` engine over however many devices a cell has: every rank opens the same cell and runs the same steps on
its own rows (torch_layout.py). Rank 0 says what to do and puts together what all have seen.

Ranks are forked when the cell opens (ranks.py), or a launcher has started them, on one host or several (launcher.py).
Words between ranks go through PyTorch's TCPStore, numbers of the model through its process group.
"""
import datetime
import itertools
import os
import pickle
import sys
import threading
import time

import torch

from . import launcher, rank_meeting
from .devices import device_of_rank, devices_of
from .errors import WorkerError, describe_error, unsupported
from .ranks import Followers
from .torch_engine import TorchEngine
from .torch_layout import Layout

_FOR_EVER = datetime.timedelta(days=30)
# A rank that failed takes others down with it, which then fail for another reason. So long for them to do that by
# themselves, and so long for the first to be known of: on a busy host it may take a while.
_GRACE_S = 3.0
_FIRST_S = 60.0
# Launchers that have lost a rank end the others soon after, and kill them a second later.
_TERMINATED_S = 0.2
_PORT_KEY = "tokmark/port"


class RankedEngine:
    """One cell at a time, on one device or on several."""

    name = TorchEngine.name
    version = TorchEngine.version
    writes_weights = True
    has_training_options = TorchEngine.has_training_options
    takes_place = True

    def __init__(self, place=None):
        self._place = place  # among ranks that a launcher has started
        self._engine = TorchEngine()
        self._ranks = None
        self.fail_at_once = None  # the worker's way to say an error while this thread waits for a rank

    @property
    def has_met(self):
        """Do the other ranks hear of it when this one ends?"""
        return self._ranks is not None

    def open(self, cell):
        devices = devices_of(cell)
        if self._place is not None:
            self._ranks = _joined_ranks(self._place, len(devices), self._fail)
        elif len(devices) > 1:
            self._ranks = _forked_ranks(devices, self._fail)
        else:
            return self._engine.open(cell)
        if self._ranks.rank > 0:
            self._ranks.follow()
        self._engine = TorchEngine(self._ranks.layout(cell))
        ready = self._on_all(_merge_ready, "open", cell)
        return {**ready, "hosts_count": self._ranks.hosts_count}

    @staticmethod
    def follow(place):
        """Another rank than 0, which a launcher has started: it ends with rank 0."""
        _joined_follower(place).follow()

    def run_block(self, steps_count, sync):
        return self._on_all(_merge_block, "run_block", steps_count, sync)

    def memory(self):
        return self._on_all(_merge_memory, "memory")

    def check(self, *args, **kwargs):
        return self._on_all(_first, "check", *args, **kwargs)

    def verify(self, step):
        return self._on_all(_merge_numbers, "verify", step)

    def profile(self, steps_count, trace_path):
        return self._on_all(_first, "profile", steps_count, trace_path)

    def close(self):
        if self._ranks is not None:
            self._ranks.end()
        self._engine.close()

    def _on_all(self, merge, method, *args, **kwargs):
        if self._ranks is None:
            return getattr(self._engine, method)(*args, **kwargs)
        return merge(self._ranks.all(self._engine, method, args, kwargs))

    def _fail(self, error):
        if self.fail_at_once is not None:
            self.fail_at_once(error)


class Ranks:
    """This process among the ranks of its cell."""

    def __init__(self, rank, count, store, others, fail):
        self.rank = rank
        self._count = count
        self._store = store
        self._others = others  # Followers, or rank_meeting's Joined
        self._fail = fail
        self._calls = 0
        self._turn = threading.Lock()  # who answers the host
        self._is_waiting = False
        self._lost = {}  # rank -> failure of one that is gone without a word, the first of them first
        if rank == 0:
            others.watch(self._on_end)

    @property
    def hosts_count(self):
        return len(set(self._others.hosts))

    def layout(self, cell):
        hosts, local_ranks = self._others.hosts, self._others.local_ranks
        devices = devices_of(cell)
        if local_ranks is not None:
            devices = [device_of_rank(devices, local_rank) for local_rank in local_ranks]
            if devices[self.rank] != "cpu" and torch.cuda.device_count() == 1:
                devices[self.rank] = "cuda:0"  # the launcher gives each rank the sight of its own card alone
        return Layout(cell, devices, self.rank, self._store, hosts.count(hosts[self.rank]))

    # --- rank 0 ---

    def all(self, engine, method, args, kwargs):
        """What the method gives on every rank, in their order."""
        self._calls += 1
        with self._turn:
            self._is_waiting = True
        try:
            return self._all(engine, method, args, kwargs)
        finally:
            with self._turn:
                self._is_waiting = False

    def _all(self, engine, method, args, kwargs):
        if self._lost:
            raise self._error_of_lost()
        self._store.set(f"call/{self._calls}", pickle.dumps((method, args, kwargs)))
        try:
            answers = [getattr(engine, method)(*args, **kwargs)]
        except Exception as error:
            raise self._first_failure(error) from None
        for rank in range(1, self._count):
            failure, answer = pickle.loads(self._store.get(self._answer_key(rank)))
            if failure is not None:
                raise self._error_of_lost() if rank in self._lost else self._error_of(rank, failure)
            answers.append(answer)
        return answers

    def _answer_key(self, rank):
        return f"answer/{self._calls}/{rank}"

    def _error_of(self, rank, failure):
        kind, text, needed, available, scope = failure
        return WorkerError(kind, f"{self._others.name(rank)}: {text}", needed, available, scope)

    def _error_of_lost(self):
        return self._error_of(*next(iter(self._lost.items())))

    def _first_failure(self, own):
        """Where a rank has failed, the others are cut off in the middle of an exchange: not their own fault."""
        if isinstance(own, WorkerError) and own.kind in ("oom", "unsupported"):
            return own
        until = time.monotonic() + (_FIRST_S if _is_cut_off(str(own)) else 0)
        while True:
            found = self._failure_of_others(own)
            if found is not None or time.monotonic() >= until:
                return found or own
            time.sleep(0.05)

    def _failure_of_others(self, own=None):
        """What a rank has said; else which is gone. None where there is nothing of the kind yet."""
        for rank in range(1, self._count):
            if rank not in self._lost and self._store.check([self._answer_key(rank)]):
                failure, _ = pickle.loads(self._store.get(self._answer_key(rank)))
                if failure is not None and failure[1] != str(own):
                    return self._error_of(rank, failure)
        return self._error_of_lost() if self._lost else None

    def _on_end(self, rank, how):
        """In a thread: a rank is gone. The main thread may wait for it for ever."""
        key = self._answer_key(rank)
        if not self._store.check([key]):
            self._lost[rank] = "internal", how, None, None, None
            self._store.set(key, pickle.dumps((self._lost[rank], None)))
        later = threading.Timer(_GRACE_S + 1, self._speak_for_main)
        later.daemon = True
        later.start()

    def _on_terminate(self):
        """In a thread: the launcher ends this rank, mostly for what has become of another."""
        time.sleep(_TERMINATED_S)
        self._lost[0] = "internal", "its launcher ended it (SIGTERM)", None, None, None
        self._speak_for_main()

    def _speak_for_main(self):
        """Ends the worker with what is known, if the host waits for an answer; else the next one says it."""
        with self._turn:
            error = self._failure_of_others() if self._is_waiting else None
            if error is not None:
                self._fail(error)
                self._others.end()
                os._exit(1)

    def end(self):
        self._others.end()

    # --- the others ---

    def follow(self):
        """Does what rank 0 does, until it is ended with it."""
        engine = None
        try:
            while True:
                self._calls += 1
                method, args, kwargs = pickle.loads(self._store.get(f"call/{self._calls}"))
                engine = engine or TorchEngine(self.layout(*args))  # the first is `open`
                self._follow_once(engine, method, args, kwargs)
        except BaseException as error:
            print(f"tokmark: rank {self.rank}: {describe_error(error)}", file=sys.stderr, flush=True)
        os._exit(1)

    def _follow_once(self, engine, method, args, kwargs):
        key = self._answer_key(self.rank)
        try:
            answer = getattr(engine, method)(*args, **kwargs)
        except WorkerError as error:
            failure = error.kind, error.text, error.needed_bytes, error.available_bytes, error.scope
        except Exception as error:
            failure = "internal", describe_error(error), None, None, None
        else:
            self._store.set(key, pickle.dumps((None, answer)))
            return
        # when rank 0 fails too, it speaks for itself; this one is not needed any more
        if not _is_cut_off(failure[1]):
            self._store.set(key, pickle.dumps((failure, None)))
            os._exit(1)
        threading.Event().wait()


# --- how ranks come to be -------------------------------------------------------------------------


def _require_distributed():
    from torch import distributed

    if not distributed.is_available():
        raise unsupported("this PyTorch is built without torch.distributed; the nearest is one device")


def _store_at(address, port=None, timeout=_FOR_EVER):
    """Without a port one of its own, at a free one."""
    from torch.distributed import TCPStore

    return TCPStore(address, port or 0, None, port is None, timeout=timeout, wait_for_workers=False)


def _forked_ranks(devices, fail):
    _require_distributed()
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
    return Ranks(rank, len(devices), store, others, fail)


def _joined_ranks(place, devices_count, fail):
    """Rank 0's. All others have come when it is known that they are too many or too few: so each hears of it."""
    _require_distributed()
    _require_address(place)
    joined = rank_meeting.Joined(place)
    publish = None
    if place.has_agent_store:
        agent = _agent_store(place)
        publish = lambda port: agent.set(_PORT_KEY, str(port))
    joined.gather(publish)
    if devices_count != place.count:
        error = unsupported(
            f"the cell is for {devices_count} device{'s' if devices_count > 1 else ''} (--devices, --parallel), and the launcher "
            f"started {place.count_text()}; the nearest is --devices with {place.count}, or a launcher that starts {devices_count}"
        )
        joined.refuse(error.text)
        raise error
    store = _store_at("127.0.0.1")
    joined.welcome({"port": store.port})
    _use_interface(joined.any_end())
    ranks = Ranks(0, place.count, store, joined, fail)
    rank_meeting.on_terminate(ranks._on_terminate)
    return ranks


def _joined_follower(place):
    _require_distributed()
    _require_address(place)
    port = int(_agent_store(place).get(_PORT_KEY)) if place.has_agent_store else place.port
    joined = rank_meeting.join(place, port)
    _use_interface(joined.end)
    rank_meeting.leave_with(joined.end)
    return Ranks(place.rank, place.count, _store_at(place.address, joined.words["port"]), joined, None)


def _require_address(place):
    if place.address is None:
        raise WorkerError(
            "internal", f"the host of rank 0 is not known to the {place.count_text()}: MASTER_ADDR must name it (mpirun -x MASTER_ADDR=HOST)"
        )


def _agent_store(place):
    """Torchrun's own, which has MASTER_PORT: through it the others hear where rank 0 listens."""
    return _store_at(place.address, place.port, datetime.timedelta(seconds=place.join_s))


def _use_interface(end):
    """Numbers of the model go where the ranks have met, unless the user says otherwise: a host's name often leads elsewhere."""
    name = rank_meeting.interface_of(end)
    if name is not None:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", name)


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


def _is_cut_off(text):
    return any(word in text for word in ("gloo", "Gloo", "NCCL", "nccl", "Connection closed", "Connection reset", "Broken pipe"))


# --- what all ranks have seen ---------------------------------------------------------------------


def _most(answers, key):
    values = [answer[key] for answer in answers if answer.get(key) is not None]
    return max(values) if values else None


def _first(answers):
    return answers[0]


def _merge_ready(answers):
    """Of rank 0, whose model is the others' too; it took as long as the slowest."""
    ready = dict(answers[0])
    for key in ("load_ns", "compile_ns"):
        ready[key] = _most(answers, key)
    return ready


def _merge_numbers(answers):
    """Of one step: every rank has as many rows, so that the mean of the ranks' losses is the loss."""
    merged = dict(answers[0])
    losses = [answer["loss"] for answer in answers if answer.get("loss") is not None]
    if losses:
        merged["loss"] = sum(losses) / len(losses)
    if merged.get("nonfinite") is not None:
        merged["nonfinite"] = _most(answers, "nonfinite")
    if merged.get("head_tokens") is not None:
        merged["head_tokens"] = sum(answer["head_tokens"] for answer in answers)
    norms = [answer.get("grad_norm") for answer in answers]
    if None not in norms and max(norms) - min(norms) > 1e-4 * abs(max(norms)):
        raise WorkerError(
            "model", f"the ranks' gradients differ: norms from {min(norms):.6g} to {max(norms):.6g}; they are not in step"
        )
    return merged


def _merge_block(answers):
    """A block takes as long as on the slowest rank."""
    merged = _merge_numbers(answers)
    for key in ("window_ns", "device_ns", "prepare_ns", "observe_ns", "recompiles"):
        merged[key] = _most(answers, key)
    if merged.get("step_ns") is not None:
        merged["step_ns"] = _steps_of_all([answer["step_ns"] for answer in answers])
    windows = [answer["window_ns"] for answer in answers]
    merged["rank_skew_ns"] = max(windows) - min(windows)
    return merged


def _steps_of_all(steps_ns):
    """Ranks begin a block together; a step is over when the last of them has ended it."""
    ends = [max(of_ranks) for of_ranks in zip(*map(itertools.accumulate, steps_ns))]
    return [end - before for before, end in zip([0, *ends], ends)]


def _merge_memory(answers):
    """Of the rank that holds most; the least beside it."""
    merged = dict(max(answers, key=lambda answer: answer.get("peak_bytes") or 0))
    if merged.get("peak_bytes") is not None:
        merged["peak_bytes_least"] = min(answer["peak_bytes"] for answer in answers)
    return merged
