"""Workers without the seconds that importing a framework takes (docs/protocol.md, "Forked workers").

The server imports the engine's framework and forks a worker for every request. It touches no device, runs
no thread and imports nothing of a user's. A request is one byte on a socket with three descriptors: what a
worker of its own has as standard input, output and error. The worker is forked twice, so that it is nobody's
child but the host's, which waits for it, watches it and ends it; it does not need the server any more.

Where training imports much more, workers that train are forked by a server that the first one forks for them, so
that the others hold no more than they would by themselves.
"""
import ctypes
import importlib
import json
import os
import socket
import sys
import warnings

from . import own_pages
from .errors import WorkerError, describe_error
from .worker import die_with_parent, import_engine

_FDS = 3
_INT_BYTES = 4
_MESSAGE_BYTES = 1 << 16
_TRAINING = b"t"  # a request's byte
# An optimizer imports PyTorch's compiler, which takes as long as PyTorch itself.
_FOR_TRAINING = {"pytorch": ["torch._dynamo"]}


class _Refused(Exception):
    """Workers are to be started by themselves."""


def _fork():
    with warnings.catch_warnings():
        # jax warns of its threads at every fork: none of them runs before there is a device
        warnings.simplefilter("ignore")
        return os.fork()


def _threads():
    return len(os.listdir("/proc/self/task"))


def _import(engine):
    try:
        import_engine(engine)
    except WorkerError as error:
        raise _Refused(error.text) from None


def _import_more(modules):
    """As a worker's own step comes to it, with its collections."""
    for module in modules:
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise _Refused(describe_error(error)) from None


def _require_one_thread():
    """A fork has the forking thread only; locks that others hold would be held for ever. OpenBLAS ends its
    own threads at the first fork, and starts them again when they are needed."""
    pid = _fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    if _threads() > 1:
        raise _Refused(f"{_threads() - 1} threads run as soon as the framework is imported")


def _close(fds):
    for fd in fds:
        os.close(fd)


def _flush():
    """What is buffered would come out again in each worker."""
    for file in (sys.stdout, sys.stderr):
        file.flush()
    ctypes.CDLL(None).fflush(None)


def _printed():
    """What importing printed: it belongs into every worker's log."""
    _flush()
    try:
        return os.pread(2, os.fstat(2).st_size, 0)
    except OSError:
        return b""  # no file to read it from


class _Server:
    def __init__(self, in_fd, out_fd, engine):
        self._host = os.getppid()
        self._socket = socket.socket(fileno=in_fd)
        self._out_fd = out_fd
        self._engine = engine
        self._for_training = _FOR_TRAINING.get(engine, ())  # what this one's workers import when they train
        self._trainer = None  # a socket to the server that has imported it
        self._printed = b""
        self._pages = []

    def say(self, message_type, **fields):
        line = json.dumps({"type": message_type, **fields}) + "\n"
        os.write(self._out_fd, line.encode("ascii"))

    def prepare(self):
        _import(self._engine)
        self._be_ready()

    def _be_ready(self):
        _require_one_thread()
        self._printed = _printed()
        self._pages = own_pages.resident()

    def serve(self):
        """Returns in each worker, with its descriptors of requests and replies."""
        while True:
            kind, fds, _, _ = socket.recv_fds(self._socket, 1, _FDS)
            if not kind:
                os._exit(0)  # the host is gone, or needs no more
            if len(fds) != _FDS:
                raise _Refused(f"a request came with {len(fds)} descriptors")
            if kind != _TRAINING or not self._for_training:
                ends = self._fork_worker(fds)
                if ends is not None:
                    return ends
            elif self._trainer is None and self._fork_trainer():
                _close(fds)  # they come again, as its own first request
            else:
                self._pass_on(fds)

    def _fork_trainer(self):
        """True in the trainer, to which this server is what the host is to this one."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        parent = os.getpid()
        _flush()
        if _fork() != 0:
            theirs.close()
            self._trainer = ours
            return False
        if not die_with_parent() or os.getppid() != parent:
            os._exit(0)
        ours.close()
        self._socket.close()
        os.close(self._out_fd)
        self._socket, self._out_fd = theirs, os.dup(theirs.fileno())
        modules, self._for_training = self._for_training, ()
        pages = self._pages
        _import_more(modules)
        self._be_ready()
        self._pages = pages + self._pages  # of files none is mapped here that was mapped there
        return True

    def _pass_on(self, fds):
        try:
            socket.send_fds(self._trainer, [_TRAINING], fds)
            reply = self._trainer.recv(_MESSAGE_BYTES)
        except OSError:
            reply = b""
        _close(fds)
        if not reply:
            raise _Refused("the process that had imported what training needs ended")
        os.write(self._out_fd, reply)
        if json.loads(reply)["type"] == "refused":
            os._exit(0)

    def _fork_worker(self, fds):
        """In the worker, its descriptors of requests and replies."""
        _flush()
        # the worker goes on when it reads the end of this pipe; it says its id on the other
        go_read, go_write = os.pipe()
        pid_read, pid_write = os.pipe()
        middle = _fork()
        if middle == 0:
            worker = _fork()
            if worker != 0:
                os.setpgid(worker, worker)
                os.write(pid_write, worker.to_bytes(_INT_BYTES, "little"))
                os._exit(0)
            _close((go_write, pid_read, pid_write))
            return self._become_worker(go_read, fds)
        _close((*fds, go_read, pid_write))
        pid = int.from_bytes(os.read(pid_read, _INT_BYTES), "little")
        os.waitpid(middle, 0)
        _close((go_write, pid_read))
        if pid == 0:
            raise _Refused("a process could not be forked twice")
        self.say("forked", pid=pid)
        return None

    def _become_worker(self, go_read, fds):
        os.setpgid(0, 0)
        os.read(go_read, 1)
        os.close(go_read)
        # from here on the host is the parent, or it is gone
        if os.getppid() != self._host or not die_with_parent():
            os._exit(0)
        self._socket.close()
        os.close(self._out_fd)
        if self._trainer is not None:
            self._trainer.close()
        in_fd, out_fd, log_fd = fds
        for fd in (1, 2):
            os.dup2(log_fd, fd)
        os.close(log_fd)
        os.write(2, self._printed)
        own_pages.take(self._pages)
        if "numpy.random" in sys.modules:  # the generator that is seeded at import and not again after a fork
            sys.modules["numpy.random"].seed()
        return in_fd, out_fd


def serve(in_fd, out_fd):
    """Ends the process, but in the workers, where it returns the descriptors of requests and replies."""
    if not die_with_parent():
        os._exit(0)
    del sys.argv[1]
    server = _Server(in_fd, out_fd, sys.argv[1])
    try:
        server.prepare()
        server.say("serving")
        return server.serve()
    except _Refused as refusal:
        server.say("refused", text=str(refusal))
        os._exit(0)
