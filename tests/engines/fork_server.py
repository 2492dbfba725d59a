"""The server of forked_worker.py, started when the first worker is asked for and ended with the tests."""
import atexit
import os
import subprocess
import sys
from pathlib import Path

from waiting import TIMEOUT_S

PROGRAM = str(Path(__file__).with_name("forked_worker.py"))


class ForkServer:
    """Its modules are imported once. `environ` is set for it and for every worker."""

    def __init__(self, *modules, **environ):
        self.modules = modules
        self.environ = environ
        self.process = None
        # of no file, so that nothing is left of it
        self.socket = f"tokmark-fork-{os.getpid()}-{id(self)}"

    def _begin(self):
        self.process = subprocess.Popen(
            [sys.executable, PROGRAM, "serve", self.socket, *self.modules],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, **self.environ},
        )
        atexit.register(self._end)
        if b"serving\n" not in self.process.stdout:
            raise RuntimeError("the server of forked workers did not start")

    def _end(self):
        self.process.stdin.close()
        self.process.wait(TIMEOUT_S)

    def command(self, engine, folder=None):
        """The words that start a worker in `folder`."""
        if self.process is None:
            self._begin()
        settings = [f"{name}={value}" for name, value in self.environ.items()]
        return ["env", *settings, sys.executable, "-S", "-I", PROGRAM, "start", self.socket,
                str(folder or Path.cwd()), engine]

    def exec_engine(self, engine, folder=None):
        """The same, as a value of --engine."""
        return "exec:" + " ".join(f"'{word}'" for word in self.command(engine, folder))
