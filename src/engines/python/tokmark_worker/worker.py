"""The state machine around one engine: the same as src/engines/worker.c.

The framework is imported at hello, so that its libraries are no part of what a model takes.

An engine is an object with `name`, `version`, and
  open(cell) -> fields of `ready`            close()
  run_block(steps, sync) -> fields of `block`
  memory() -> fields of `memory`             check(inputs, output, train_steps) -> fields of `check`
  verify(step) -> fields of `verify`       profile(steps, trace) -> fields of `profile`
An engine with `writes_weights = True` also takes check(..., with_weights=True).
All but close() may raise WorkerError. An engine never sees the host.
"""
import atexit
import ctypes
import gc
import importlib
import os
import re
import signal
import sys
import traceback

from . import host_memory, launcher, protocol, rank_meeting
from .cell import read_cell
from .errors import WorkerError, describe_error

_PR_SET_PDEATHSIG = 1
ENGINES = ("pytorch", "jax")


def die_with_parent():
    """Asks the kernel to be killed with the parent; False when it is already gone."""
    parent = os.getppid()
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    except (OSError, AttributeError):
        pass
    return os.getppid() == parent


def import_engine(name):
    """The engine's class, or the error that every `open` is then answered with. No device is touched."""
    # Importing makes millions of objects and hardly any garbage: to look through them again and again takes a sixth of it.
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        engine = _import(name)
    finally:
        if was_enabled:
            gc.enable()
    # What is there now is there for good: no later collection need look at it.
    gc.collect()
    gc.freeze()
    return engine


def _import(name):
    """A framework is imported for its own engine only."""
    if name == "pytorch":
        _require(name, "PyTorch", "torch", (2, 2))
        from . import torch_ranks

        return torch_ranks.RankedTorchEngine
    if name == "jax":
        # memory taken all at once says nothing about a cell; read when the first device is used
        os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
        os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.95")
        _require(name, "JAX", "jax", (0, 4, 30))
        _require(name, "optax", "optax", (0, 1))
        from . import jax_ranks

        return jax_ranks.RankedJaxEngine
    raise WorkerError("unsupported", f"this worker has no engine '{name}'")


def _require(engine, title, module_name, least):
    """A package in a version that serves, or an error that says how to come by it."""
    how = f'install it there, or call with --python "$(tokmark setup {engine})"'
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        why = "" if error.name == module_name else f" ({describe_error(error)})"
        raise WorkerError("unsupported", f"no {title} in {sys.executable}{why}; {how}") from None
    numbers = re.findall(r"\d+", module.__version__.split("+")[0])
    if tuple(int(part) for part in numbers[: len(least)]) < least:
        wanted = ".".join(map(str, least))
        old = f"{title} {module.__version__} in {sys.executable} is older than {wanted}"
        raise WorkerError("unsupported", f"{old}; {how}")


class Worker:
    """Reads, does, answers, until close, the end of the stream or a line it cannot understand."""

    def __init__(self, engine_name, stream, place=None):
        self._stream = stream
        self._place = place  # among ranks that a launcher has started; None = the only one
        self._engine = None
        self._engine_name = engine_name
        self._state = "new"  # new, greeted, open, failed
        self._rss_baseline = None
        self._is_done = False
        self.exit_code = 0

    def is_done(self):
        return self._is_done

    def serve(self):
        handlers = {
            "hello": self._hello,
            "open": self._open,
            "run": self._run,
            "memory": self._memory,
            "check": self._check,
            "verify": self._verify,
            "profile": self._profile,
            "close": self._close,
        }
        while not self._is_done:
            try:
                message = self._stream.read()
                handlers[message["type"]](message)
            except protocol.EndOfStream:
                break
            except protocol.ProtocolError as error:
                self._send_error(WorkerError("internal", str(error)))
                self._is_done = True
                self.exit_code = 1
            except WorkerError as error:
                self._send_error(error)
            except Exception as error:  # whatever went wrong, the host is told
                traceback.print_exc()
                self._send_error(WorkerError("internal", describe_error(error)))

    def _send(self, message_type, fields):
        if not self._stream.write(message_type, fields):
            self._is_done = True  # a host that no longer reads is gone

    def _send_error(self, error):
        has_bytes = error.needed_bytes is not None and error.available_bytes is not None
        fields = {
            "kind": error.kind,
            "text": protocol.cut(error.text, protocol.ERROR_BYTES_MAX) or error.kind,
            "needed_bytes": error.needed_bytes if has_bytes else None,
            "available_bytes": error.available_bytes if has_bytes else None,
            "scope": error.scope or ("host" if error.kind == "oom" else None),
        }
        self._send("error", fields)

    def _require(self, state, request, why):
        if self._state != state:
            raise WorkerError("internal", f"'{request}' has no place here: {why}")

    def _hello(self, message):
        versions = protocol.hello_versions(message)
        self._require("new", "hello", "it comes once, first of all")
        self._state = "failed"
        if protocol.VERSION not in versions:
            raise WorkerError(
                "unsupported", f"this worker speaks protocol version {protocol.VERSION} only"
            )
        engine = import_engine(self._engine_name)
        self._engine = engine(self._place) if hasattr(engine, "takes_place") else engine()
        if hasattr(self._engine, "fail_at_once"):
            self._engine.fail_at_once = self._send_error
        self._state = "greeted"
        self._send(
            "hello",
            {
                "version": protocol.VERSION,
                "engine": self._engine.name,
                "engine_version": protocol.cut(self._engine.version, protocol.WORD_BYTES_MAX),
                "pid": os.getpid(),
                "synthetic": False,
                "verifies": True,
                "profiles": True,
            },
        )

    def _open(self, message):
        cell = read_cell(message)
        self._require("greeted", "open", "it comes once, after hello")
        self._state = "failed"
        # From here on the peak is the model's: the framework's own libraries are in already.
        host_memory.reset_peak()
        rss = host_memory.process_rss()
        self._rss_baseline = rss[0] if rss else None
        _require_options(self._engine, cell)
        if self._place is not None and not hasattr(self._engine, "takes_place"):
            raise launcher.refusal(self._place, self._engine.name)
        ready = self._engine.open(cell)
        self._state = "open"
        protocol.cut_texts("ready", ready)
        self._send("ready", ready)

    def _run(self, message):
        steps = protocol.whole_number(message, "steps", 1, protocol.BLOCK_STEPS_MAX)
        sync = message.get("sync")
        if sync not in ("step", "block"):
            raise protocol.ProtocolError('message \'run\': \'sync\' must be "step" or "block"')
        self._require("open", "run", "no model is open")
        try:
            block = self._engine.run_block(steps, sync)
        except WorkerError as error:
            # a step that broke off leaves a state that nothing may be measured in
            self._state = "failed" if error.kind in ("oom", "model") else self._state
            raise
        self._send("block", {"steps": steps, "sync": sync, **block})

    def _memory(self, _message):
        fields = self._engine.memory() if self._state == "open" else {}
        rss = host_memory.process_rss() if self._rss_baseline is not None else None
        if rss is not None:
            fields["rss_bytes"], fields["rss_peak_bytes"] = rss
            fields["rss_baseline_bytes"] = self._rss_baseline
        self._send("memory", fields)

    def _check(self, message):
        inputs = protocol.path(protocol.string(message, "inputs", 1023))
        output = protocol.path(protocol.string(message, "output", 1023))
        train_steps = protocol.whole_number(message, "train_steps", 0, 1000000, default=0)
        wants_weights = protocol.flag(message, "weights")
        self._require("open", "check", "no model is open")
        asked = {}
        if wants_weights and getattr(self._engine, "writes_weights", False):
            asked["with_weights"] = True
        self._send("check", self._engine.check(inputs, output, train_steps, **asked))

    def _verify(self, message):
        step = protocol.whole_number(message, "step", 0, 1 << 60)
        self._require("open", "verify", "no model is open")
        try:
            fields = self._engine.verify(step)
        except WorkerError as error:  # no fault of what has been measured already
            fields = {"why_not": protocol.cut(error.text, protocol.TEXT_BYTES_MAX) or error.kind}
        self._send("verify", fields)

    def _profile(self, message):
        steps = protocol.whole_number(message, "steps", 1, protocol.PROFILE_STEPS_MAX)
        trace = protocol.path(protocol.string(message, "trace", 1023))
        self._require("open", "profile", "no model is open")
        self._send("profile", {"steps": steps, **self._engine.profile(steps, trace)})

    def _close(self, _message):
        self.close_engine()
        self._is_done = True
        self._send("bye", {})

    def close_engine(self):
        if self._place is not None and not getattr(self._engine, "has_met", False):
            self.exit_code = 1  # nobody tells the other ranks: their launcher is to end them
        self._place = None
        if self._engine is not None:
            try:
                self._engine.close()
            except Exception:
                traceback.print_exc()
            self._engine = None


def _require_options(engine, cell):
    """How a step is trained is never passed over."""
    options = cell.options
    asked = {
        "--recompute": options.recompute != "off",
        "--accumulate": options.accumulate > 1,
        "--optimizer-dtype": options.optimizer_dtype != "auto",
    }
    words = [word for word in asked if asked[word]]
    if words and not getattr(engine, "has_training_options", False):
        raise WorkerError("unsupported", f"{engine.name} has no {' and no '.join(words)}; pytorch has")


def _follow(engine_name, place):
    """Another rank than 0. What is written on its standard streams is its launcher's to hand on."""
    protocol.close_streams()
    try:
        engine = import_engine(engine_name)
        if hasattr(engine, "takes_place"):
            engine.follow(place)
        return 0
    except WorkerError as error:
        print(f"tokmark: rank {place.rank}: {error.text}", file=sys.stderr, flush=True)
        if error.kind == "unsupported":
            rank_meeting.complain(place, error.text)
        return 1


def _leave(exit_code):
    """Ends the process even where a user's threads would keep it."""
    try:
        atexit._run_exitfuncs()
    except BaseException:
        traceback.print_exc()
    for file in (sys.stdout, sys.stderr):
        try:
            file.flush()
        except Exception:
            pass
    os._exit(exit_code)


def main(arguments, stream):
    if len(arguments) != 1 or arguments[0] not in ENGINES:
        print(f"usage: python -m tokmark_worker {' | '.join(ENGINES)}", file=sys.stderr)
        return _leave(2)
    # as in a C worker: the host decides what an interrupt means
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if not die_with_parent():
        return _leave(0)
    place = launcher.find_place()
    worker = Worker(arguments[0], stream, place)
    try:
        if place is not None and place.rank > 0:
            return _leave(_follow(arguments[0], place))
        if place is not None:
            rank_meeting.leave_with_host(stream.in_fd, worker.is_done)
        worker.serve()
        worker.close_engine()
    except BaseException:
        traceback.print_exc()
        worker.exit_code = 1
    return _leave(worker.exit_code)
