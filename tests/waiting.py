"""Waiting for what must come: only what never comes meets the deadline, however busy the machine."""
import contextlib
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

TIMEOUT_S = 300


def wait_until(is_so, process=None, pause_s=0.01):
    """Until `is_so()`. The process that is to bring it about, if given, must be running."""
    end = time.monotonic() + TIMEOUT_S
    while not is_so():
        assert process is None or process.poll() is None, f"ended with {process.returncode} before it came to be"
        assert time.monotonic() < end, "it never came to be"
        time.sleep(pause_s)


def is_wanted(fixture, request):
    """Whether a test that is to run, of the file that asks, has the fixture: what waits long is begun before the file's first
    test then, and waits beside the others. The fixture that begins it is another one, as every test has that."""
    return any(fixture in item.fixturenames for item in request.session.items if item.path == request.path)


@contextlib.contextmanager
def begun(fixture, request, work, *args):
    """What a thread begins of `work(*args)`, a Future; None if the fixture is not wanted."""
    with ThreadPoolExecutor() as pool:
        yield pool.submit(work, *args) if is_wanted(fixture, request) else None


def state_of(pid):
    """The letter of proc(5), such as S for one that waits; Z also for a process that is not there."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "Z"


def is_alive(pid):
    return state_of(pid) != "Z"
