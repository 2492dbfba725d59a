"""The fixtures of the command line's tests."""
import os
import subprocess
import sys

import pytest

from caller import Caller


@pytest.fixture(autouse=True)
def no_flags_of_xla(monkeypatch):
    """Those that make JAX's tests quick lower its speed: tokmark warns of them, in every record."""
    monkeypatch.delenv("XLA_FLAGS", raising=False)


@pytest.fixture
def call(tmp_path):
    caller = Caller(tmp_path)
    yield caller
    caller.end()


@pytest.fixture(name="busy_cpu")
def make_busy_cpu():
    """A processor on which another process never rests."""
    cpu = max(os.sched_getaffinity(0))
    code = f"import os\nos.setsid()\nos.sched_setaffinity(0, [{cpu}])\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", code]) as busy:
        yield cpu
        busy.kill()
