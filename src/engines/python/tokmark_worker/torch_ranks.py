"""The `pytorch` engine over however many devices a cell has (ranks.py): every rank opens the same cell and
runs the same steps on its own rows (torch_layout.py). Rank 0 says what to do and puts together what all have seen.

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

from .devices import devices_of
from .errors import WorkerError, describe_error, unsupported
from .ranks import Followers
from .torch_engine import TorchEngine
from .torch_layout import Layout

_FOR_EVER = datetime.timedelta(days=30)
# A rank that failed takes others down with it, which then fail for another reason. So long for them to do that by
# themselves, and so long for the first to be known of: on a busy host it may take a while.
_GRACE_S = 3.0
_FIRST_S = 60.0


class RankedEngine:
    """One cell at a time, on one device or on several."""

    name = TorchEngine.name
    version = TorchEngine.version
    writes_weights = True
    has_training_options = TorchEngine.has_training_options

    def __init__(self):
        self._engine = TorchEngine()
        self._ranks = None
        self.fail_at_once = None  # the worker's way to say an error while this thread waits for a rank

    def open(self, cell):
        devices = devices_of(cell)
        if len(devices) == 1:
            return self._engine.open(cell)
        self._ranks = Ranks(devices, self._fail)
        self._engine = TorchEngine(self._ranks.layout(cell))
        if self._ranks.rank > 0:
            self._ranks.follow(self._engine)
        return self._on_all(_merge_ready, "open", cell)

    def run_block(self, steps_count, sync):
        return self._on_all(_merge_block, "run_block", steps_count, sync)

    def memory(self):
        return self._on_all(_merge_memory, "memory")

    def check(self, *args, **kwargs):
        return self._on_all(_first, "check", *args, **kwargs)

    def verify(self, step):
        return self._on_all(_merge_numbers, "verify", step)

    def profile(self, steps_count, trace_path):
        if self._ranks is not None:
            raise unsupported("a profile is of one device; the nearest is --device with one of them")
        return self._engine.profile(steps_count, trace_path)

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

    def __init__(self, devices, fail):
        from torch import distributed

        if not distributed.is_available():
            raise unsupported("this PyTorch is built without torch.distributed; the nearest is one device")
        _require_cards(devices)
        self._devices = devices
        self._fail = fail
        self._calls = 0
        self._is_waiting = False
        self._followers = Followers()
        # the store takes a free port when it is made, after the fork: the others hear of it by a pipe
        port_read, port_write = os.pipe()
        self.rank = self._followers.fork(len(devices) - 1)
        if self.rank == 0:
            self._store = distributed.TCPStore("127.0.0.1", 0, None, True, timeout=_FOR_EVER, wait_for_workers=False)
            os.write(port_write, self._store.port.to_bytes(4, "little") * (len(devices) - 1))
            self._followers.watch(self._on_end)
        else:
            port = int.from_bytes(os.read(port_read, 4), "little")
            self._store = distributed.TCPStore("127.0.0.1", port, None, False, timeout=_FOR_EVER, wait_for_workers=False)
        os.close(port_read)
        os.close(port_write)

    def layout(self, cell):
        return Layout(cell, self._devices, self.rank, self._store)

    # --- rank 0 ---

    def all(self, engine, method, args, kwargs):
        """What the method gives on every rank, in their order."""
        self._calls += 1
        self._is_waiting = True
        try:
            return self._all(engine, method, args, kwargs)
        finally:
            self._is_waiting = False

    def _all(self, engine, method, args, kwargs):
        self._store.set(f"call/{self._calls}", pickle.dumps((method, args, kwargs)))
        try:
            answers = [getattr(engine, method)(*args, **kwargs)]
        except Exception as error:
            raise self._first_failure(error) from None
        for rank in range(1, len(self._devices)):
            failure, answer = pickle.loads(self._store.get(self._answer_key(rank)))
            if failure is not None:
                raise _error_of(rank, failure)
            answers.append(answer)
        return answers

    def _answer_key(self, rank):
        return f"answer/{self._calls}/{rank}"

    def _first_failure(self, own):
        """Where a rank has failed, the others are cut off in the middle of an exchange: not their own fault."""
        if isinstance(own, WorkerError) and own.kind in ("oom", "unsupported"):
            return own
        until = time.monotonic() + (_FIRST_S if _is_cut_off(str(own)) else 0)
        while True:
            for rank in range(1, len(self._devices)):
                if self._store.check([self._answer_key(rank)]):
                    failure, _ = pickle.loads(self._store.get(self._answer_key(rank)))
                    if failure is not None and failure[1] != str(own):
                        return _error_of(rank, failure)
            if time.monotonic() >= until:
                return own
            time.sleep(0.05)

    def _on_end(self, rank, how):
        """In a thread: a rank is gone. The main thread may wait for it for ever."""
        lost = "internal", f"its process {how}", None, None, None
        key = self._answer_key(rank)
        if not self._store.check([key]):
            self._store.set(key, pickle.dumps((lost, None)))
        time.sleep(_GRACE_S + 1)
        if self._is_waiting:
            failure, _ = pickle.loads(self._store.get(key))
            self._followers.end()
            self._fail(_error_of(rank, failure or lost))
            os._exit(1)

    def end(self):
        self._followers.end()

    # --- the others ---

    def follow(self, engine):
        """Does what rank 0 does, until it is killed with it."""
        try:
            while True:
                self._calls += 1
                method, args, kwargs = pickle.loads(self._store.get(f"call/{self._calls}"))
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


def _error_of(rank, failure):
    kind, text, needed, available, scope = failure
    return WorkerError(kind, f"rank {rank}: {text}", needed, available, scope)


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
