"""The server of forked_worker.py, started when the first worker is asked for and ended with the tests."""
import atexit
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from waiting import TIMEOUT_S, wait_until

PROGRAM = str(Path(__file__).with_name("forked_worker.py"))


class ForkServer:
    """Its modules are imported once. `environ` is set for it and for every worker."""

    def __init__(self, *modules, **environ):
        self.modules = modules
        self.environ = environ
        self.process = None
        self.folder = None

    def _begin(self):
        self.folder = tempfile.TemporaryDirectory(prefix="tokmark-fork-")
        path = os.path.join(self.folder.name, "socket")
        self.process = subprocess.Popen(
            [sys.executable, PROGRAM, "serve", path, *self.modules],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env={**os.environ, **self.environ},
        )
        atexit.register(self._end)
        wait_until(lambda: os.path.exists(path), self.process)

    def _end(self):
        self.process.stdin.close()
        self.process.wait(TIMEOUT_S)
        self.folder.cleanup()

    def command(self, engine, folder=None):
        """The words that start a worker in `folder`."""
        if self.process is None:
            self._begin()
        path = os.path.join(self.folder.name, "socket")
        settings = [f"{name}={value}" for name, value in self.environ.items()]
        return ["env", *settings, sys.executable, "-S", "-I", PROGRAM, "start", path,
                str(folder or Path.cwd()), engine]

    def exec_engine(self, engine, folder=None):
        """The same, as a value of --engine."""
        return "exec:" + " ".join(f"'{word}'" for word in self.command(engine, folder))
