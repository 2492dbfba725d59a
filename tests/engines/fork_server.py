"""The servers of forked_worker.py: each is started when the first worker is asked for, serves all processes of one
call of the tests, and ends with them."""
import atexit
import fcntl
import os
import socket
import subprocess
import sys
import zlib
from pathlib import Path

import forked_worker
from waiting import TIMEOUT_S

PROGRAM = forked_worker.__file__
SHARED = Path(os.environ["TOKMARK_TESTS_SHARED"])
SERVERS = []
# PACKAGE IN,OUT and what is wanted. A sweep's own server of workers would be the parent of none.
NO_SERVER = """serve) echo '{"type":"refused","text":"the tests have one"}' >"/proc/self/fd/${2#*,}" ;;"""
AS_PYTHON = """#!/bin/sh
case "$3" in
{engine}) exec {words} "$PWD" {engine} "$2" ;;
{server}
*) exec '{python}' "$@" ;;
esac
"""


@atexit.register
def leave():
    """First all of them: of two test processes each may wait for the server that the other keeps."""
    for server in SERVERS:
        server.keeper.close()
    for server in SERVERS:
        if server.process is not None:
            server.process.wait(TIMEOUT_S)


class ForkedProcess:
    """A worker, with what subprocess.Popen has."""

    def __init__(self, name, folder, engine, environ, is_text):
        theirs_in, ours_in = os.pipe()
        ours_out, theirs_out = os.pipe()
        self._server = forked_worker.ask(name, folder, [engine], environ, [theirs_in, theirs_out, 2])
        for fd in (theirs_in, theirs_out):
            os.close(fd)
        self.stdin = open(ours_in, "w" if is_text else "wb", buffering=-1 if is_text else 0)
        self.stdout = open(ours_out, "r" if is_text else "rb", buffering=-1 if is_text else 0)
        self.returncode = None

    def _hear(self):
        self.returncode = forked_worker.exit_code(self._server.recv(4))
        self._server.close()
        return self.returncode

    def poll(self):
        if self.returncode is not None:
            return self.returncode
        self._server.setblocking(False)
        try:
            return self._hear()
        except BlockingIOError:
            return None

    def wait(self, timeout=TIMEOUT_S):
        if self.returncode is None:
            self._server.settimeout(timeout)
            self._hear()
        return self.returncode

    def kill(self):
        """It ends with the connection; the server says so."""
        if self.poll() is None:
            self._server.shutdown(socket.SHUT_WR)


class ForkServer:
    """Its modules are imported once. `environ` is set for it and for every worker."""

    def __init__(self, *modules, **environ):
        self.modules = modules
        self.environ = environ
        self.process = None  # of the one who started it
        self.keeper = None
        # of no file, so that nothing is left of it
        self.socket = f"{SHARED.name}-{zlib.crc32(repr((modules, environ)).encode())}"

    def _begin(self):
        with open(SHARED / "servers", "w", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                self.keeper = forked_worker.connect(self.socket)
            except ConnectionRefusedError:
                self._start()
        SERVERS.append(self)

    def _start(self):
        self.process = subprocess.Popen(
            [sys.executable, PROGRAM, "serve", self.socket, *self.modules],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, **self.environ},
        )
        self.keeper = self.process.stdin
        if b"serving\n" not in self.process.stdout:
            raise RuntimeError("the server of forked workers did not start")

    def start(self, engine, folder=None, is_text=True):
        """A worker in `folder`."""
        if self.keeper is None:
            self._begin()
        return ForkedProcess(self.socket, str(folder or Path.cwd()), engine, {**os.environ, **self.environ}, is_text)

    def command(self, engine, folder=None):
        """The words that start a worker in `folder`, for a program that does."""
        if self.keeper is None:
            self._begin()
        settings = [f"{name}={value}" for name, value in self.environ.items()]
        return ["env", *settings, sys.executable, "-S", "-I", PROGRAM, "start", self.socket,
                str(folder or Path.cwd()), engine]

    def module(self, module):
        """The words that stand for `python -m MODULE` where that imports the framework; the folder is the caller's."""
        if self.keeper is None:
            self._begin()
        return [sys.executable, "-S", "-I", PROGRAM, "module", self.socket, module]

    def exec_engine(self, engine, folder=None):
        """The same, as a value of --engine."""
        return "exec:" + " ".join(f"'{word}'" for word in self.command(engine, folder))

    def python(self, engine, has_server=False):
        """A program for TOKMARK_PYTHON: where a worker is to be started it is a forked one. `has_server`: a sweep's own server
        of workers is started, by Python itself."""
        words = " ".join(f"'{word}'" for word in self.command(engine)[:-2])
        path = SHARED / f"python-{engine}{'-serves' if has_server else ''}"
        if not path.exists():
            own = path.with_name(f"{path.name}-{os.getpid()}")
            own.write_text(AS_PYTHON.format(words=words, engine=engine, python=sys.executable, server="" if has_server else NO_SERVER))
            own.chmod(0o755)
            own.rename(path)
        return str(path)
