"""An engine over the ranks of a cell: every rank opens the same cell and runs the same steps. Rank 0 says what to do and
puts together what all have seen.

Ranks are forked when the cell opens (ranks.py), or a launcher has started them, on one host or several (launcher.py).
Which of the two, and by what the framework's own numbers go, is the framework's (torch_ranks.py, jax_ranks.py); words
between ranks go through a store, which has set(key, bytes), get(key), which waits, and check([key]).
"""
import itertools
import os
import pickle
import sys
import threading
import time

from . import launcher, rank_meeting
from .devices import device_of_rank, devices_of, listed
from .errors import WorkerError, describe_error, unsupported

# A rank that failed takes others down with it, which then fail for another reason. So long for them to do that by
# themselves, and so long for the first to be known of: on a busy host it may take a while.
_GRACE_S = 3.0
_FIRST_S = 60.0
# Launchers that have lost a rank end the others soon after, and kill them a second later.
_TERMINATED_S = 0.2


class RankedEngine:
    """One cell at a time, on one device or on several. A framework's own class says what an engine of one rank is, and
    has what is left open here."""

    engine_class = None  # without arguments of the only rank
    has_own_rows = True  # what a rank says of a step is said of its rows; else of all rows
    takes_place = True

    def __init__(self, place=None):
        self._place = place  # among ranks that a launcher has started
        self._engine = self.engine_class()
        self._ranks = None
        self.fail_at_once = None  # the worker's way to say an error while this thread waits for a rank

    # --- the framework's own ---

    @classmethod
    def require(cls):
        """Raises where this framework has no ranks."""

    @classmethod
    def meeting(cls, place):
        """(place, publish, look_up): where ranks meet. Where the others cannot know the port, rank 0's publish(port) tells
        it to their look_up(); else None."""
        return place, None, None

    @classmethod
    def make_store(cls):
        """Rank 0's: (store, words to the others from which they make theirs)."""
        raise NotImplementedError

    @classmethod
    def store_at(cls, address, words):
        raise NotImplementedError

    @classmethod
    def engine_of(cls, ranks, cell):
        """Of this rank."""
        raise NotImplementedError

    @classmethod
    def another_store(cls, store):
        """The same words, for other threads than the one that waits for a word. Of PyTorch's store that one holds the
        connection: nobody else could say that the word will never come. (Releases before clone() have one.)"""
        return store.clone() if hasattr(store, "clone") else store

    def fork(self, devices):
        """Ranks of one host, or None: one process has all of these devices."""
        return None

    # --- what the worker asks for ---

    @property
    def has_met(self):
        """Do the other ranks hear of it when this one ends?"""
        return self._ranks is not None

    def open(self, cell):
        devices = devices_of(cell)
        if self._place is not None:
            self._ranks = self._join(len(devices))
        elif len(devices) > 1:
            self._ranks = self.fork(devices)
        if self._ranks is None:
            return self._engine.open(cell)
        if self._ranks.rank > 0:
            self._ranks.follow()
        self._engine = self.engine_of(self._ranks, cell)
        ready = self._on_all(_merge_ready, "open", cell)
        return {**ready, "hosts_count": self._ranks.hosts_count}

    def _join(self, devices_count):
        """As rank 0. All others have come when it is known that they are too many or too few: so each hears of it."""
        self.require()
        place, publish, _ = self.meeting(self._place)
        _require_address(place)
        joined = rank_meeting.Joined(place)
        joined.gather(publish)
        if devices_count != place.count:
            error = unsupported(
                f"the cell is for {devices_count} device{'s' if devices_count > 1 else ''} (--devices, --parallel), and the launcher "
                f"started {place.count_text()}; the nearest is --devices with {place.count}, or a launcher that starts {devices_count}"
            )
            joined.refuse(error.text)
            raise error
        store, words = self.make_store()
        joined.welcome(words)
        ranks = Ranks(self, 0, store, joined)
        rank_meeting.on_terminate(ranks.on_terminate)
        return ranks

    @classmethod
    def follow(cls, place):
        """Another rank than 0, which a launcher has started: it ends with rank 0."""
        cls.require()
        place, _, look_up = cls.meeting(launcher.with_known_host(place))
        _require_address(place)
        seat = rank_meeting.join(place, look_up() if look_up else place.port)
        rank_meeting.leave_with(seat.end)
        Ranks(cls, place.rank, cls.store_at(place.address, seat.words), seat).follow()

    def run_block(self, steps_count, sync):
        return self._on_all(self._merge_block, "run_block", steps_count, sync)

    def memory(self):
        return self._on_all(_merge_memory, "memory")

    def check(self, *args, **kwargs):
        return self._on_all(_first, "check", *args, **kwargs)

    def verify(self, step):
        return self._on_all(self._merge_numbers, "verify", step)

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

    def _merge_numbers(self, answers):
        return _merge_numbers(answers, self.has_own_rows)

    def _merge_block(self, answers):
        return _merge_block(answers, self.has_own_rows)

    def fail(self, error):
        if self.fail_at_once is not None:
            self.fail_at_once(error)


class Ranks:
    """This process among the ranks of its cell."""

    def __init__(self, framework, rank, store, others):
        """framework: a RankedEngine, of the others its class; others: Followers, or rank_meeting's Joined or Seat."""
        self.rank = rank
        self.store = store
        self._heard = framework.another_store(store) if rank == 0 else store  # of all threads
        self.others = others
        self.count = len(others.hosts)
        self._framework = framework
        self._calls = 0
        self._turn = threading.Lock()  # who answers the host
        self._is_waiting = False
        self._lost = {}  # rank -> failure of one that is gone and said nothing, the first of them first
        if rank == 0:
            others.watch(self._on_end)

    @property
    def hosts_count(self):
        return len(set(self.others.hosts))

    @property
    def neighbours_count(self):
        """Ranks of this host."""
        return self.others.hosts.count(self.others.hosts[self.rank])

    def devices(self, cell):
        """The devices' names, a rank each."""
        names, local_ranks = devices_of(cell), self.others.local_ranks
        return names if local_ranks is None else [device_of_rank(names, local_rank) for local_rank in local_ranks]

    def interface(self):
        """Of the network over which the ranks have met; None where it is not known, or no network."""
        end = self.others.any_end()
        return None if end is None else rank_meeting.interface_of(end)

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
        self.store.set(f"call/{self._calls}", pickle.dumps((method, args, kwargs)))
        try:
            answers = [getattr(engine, method)(*args, **kwargs)]
        except Exception as error:
            raise self._first_failure(error) from None
        for rank in range(1, self.count):
            failure, answer = pickle.loads(self.store.get(self._answer_key(rank)))
            if failure is not None:
                raise self._error_of_lost() if rank in self._lost else self._error_of(rank, failure)
            answers.append(answer)
        return answers

    def _answer_key(self, rank):
        return f"answer/{self._calls}/{rank}"

    def _error_of(self, rank, failure):
        kind, text, needed, available, scope = failure
        return WorkerError(kind, f"{self.others.name(rank)}: {text}", needed, available, scope)

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
        for rank in range(1, self.count):
            if rank not in self._lost and self._heard.check([self._answer_key(rank)]):
                failure, _ = pickle.loads(self._heard.get(self._answer_key(rank)))
                if failure is not None and failure[1] != str(own):
                    return self._error_of(rank, failure)
        return self._error_of_lost() if self._lost else None

    def _on_end(self, rank, how):
        """In a thread: a rank is gone. The main thread may wait for it for ever."""
        key = self._answer_key(rank)
        if not self._heard.check([key]):
            self._lost[rank] = "internal", how, None, None, None
            self._heard.set(key, pickle.dumps((self._lost[rank], None)))
        later = threading.Timer(_GRACE_S + 1, self._speak_for_main)
        later.daemon = True
        later.start()

    def on_terminate(self):
        """In a thread: the launcher ends this rank, mostly for what has become of another."""
        time.sleep(_TERMINATED_S)
        self._lost[0] = "internal", "its launcher ended it (SIGTERM)", None, None, None
        self._speak_for_main()

    def _speak_for_main(self):
        """Ends the worker with what is known, if the host waits for an answer; else the next one says it."""
        with self._turn:
            error = self._failure_of_others() if self._is_waiting else None
            if error is not None:
                self._framework.fail(error)
                self.others.end()
                os._exit(1)

    def end(self):
        self.others.end()

    # --- the others ---

    def follow(self):
        """Does what rank 0 does, until it is ended with it."""
        engine = None
        try:
            while True:
                self._calls += 1
                method, args, kwargs = pickle.loads(self.store.get(f"call/{self._calls}"))
                engine = engine or self._framework.engine_of(self, *args)  # the first is `open`
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
            self.store.set(key, pickle.dumps((None, answer)))
            return
        # when rank 0 fails too, it speaks for itself; this one is not needed any more
        if not _is_cut_off(failure[1]):
            self.store.set(key, pickle.dumps((failure, None)))
            os._exit(1)
        threading.Event().wait()


def _require_address(place):
    if place.address is None:
        raise WorkerError(
            "internal", f"the host of rank 0 is not known to the {place.count_text()}: MASTER_ADDR must name it (mpirun -x MASTER_ADDR=HOST)"
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
    ready["device_bus"] = listed([answer.get("device_bus") for answer in answers])
    return ready


def _merge_numbers(answers, has_own_rows):
    """Of one step: every rank has as many rows, so that the mean of the ranks' losses is the loss."""
    merged = dict(answers[0])
    losses = [answer["loss"] for answer in answers if answer.get("loss") is not None]
    if losses and has_own_rows:
        merged["loss"] = sum(losses) / len(losses)
    elif losses:
        _require_equal("losses", losses)
    if merged.get("nonfinite") is not None:
        merged["nonfinite"] = _most(answers, "nonfinite")
    if merged.get("head_tokens") is not None and has_own_rows:
        merged["head_tokens"] = sum(answer["head_tokens"] for answer in answers)
    norms = [answer.get("grad_norm") for answer in answers]
    if None not in norms:
        _require_equal("gradients", norms, "norms ")
    return merged


def _require_equal(what, values, of_what=""):
    if max(values) - min(values) > 1e-4 * abs(max(values)):
        raise WorkerError(
            "model", f"the ranks' {what} differ: {of_what}from {min(values):.6g} to {max(values):.6g}; they are not in step"
        )


def _merge_block(answers, has_own_rows):
    """A block takes as long as on the slowest rank."""
    merged = _merge_numbers(answers, has_own_rows)
    for key in ("window_ns", "device_ns", "prepare_ns", "observe_ns", "recompiles"):
        merged[key] = _most(answers, key)
    if merged.get("step_ns") is not None:
        merged["step_ns"] = steps_of_all([answer["step_ns"] for answer in answers])
    windows = [answer["window_ns"] for answer in answers]
    merged["rank_skew_ns"] = max(windows) - min(windows)
    return merged


def steps_of_all(steps_ns):
    """Ranks begin a block together; a step is over when the last of them has ended it."""
    ends = [max(of_ranks) for of_ranks in zip(*map(itertools.accumulate, steps_ns))]
    return [end - before for before, end in zip([0, *ends], ends)]


def _merge_memory(answers):
    """Of the rank that holds most; the least beside it."""
    merged = dict(max(answers, key=lambda answer: answer.get("peak_bytes") or 0))
    if merged.get("peak_bytes") is not None:
        merged["peak_bytes_least"] = min(answer["peak_bytes"] for answer in answers)
    return merged
