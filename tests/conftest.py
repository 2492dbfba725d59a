"""What the machine's user has stored (a known clock, noise floors, environments) decides nothing in the tests."""
import collections
import gc
import os
import shutil
import signal
import sys
import tempfile

import pytest

import kept_programs

# They take the longest: begun last, one of them would run alone at the end of a call with several processes.
LONGEST = ["test_documented_commands", "test_jax_launched", "test_jax_parallel", "test_pytorch_compiled", "test_jax_worker", "test_forked_workers",
           "test_timed_step", "test_jax_forms", "test_pytorch_hosts", "test_peak", "test_check_pytorch", "test_pytorch_run", "test_ab", "test_check"]

# Started in the background by a shell or by nohup we ignore them, and so would every program that is tested.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# promtool and the like, which tools/setup.sh fetched.
os.environ["PATH"] += ":" + os.path.join(os.path.dirname(__file__), "..", "build", "readers")

# The threads of torch's operators wait for one another asleep: where there is more to do than there are processors, each
# would turn round on the one that the other needs.
os.environ["OMP_WAIT_POLICY"] = "passive"

# `python3`, by which the tests start some two thousand workers, is the tests' own: a version manager's is a script that
# starts several shells to find the interpreter.
os.environ["PATH"] = os.path.dirname(sys.executable) + ":" + os.environ["PATH"]


def pytest_configure(config):
    """While the tests' modules are imported there is nothing to collect, and much to look through.

    TOKMARK_TESTS_SHARED: a folder that all processes of this call have in common."""
    gc.disable()
    if "TOKMARK_TESTS_SHARED" not in os.environ:
        os.environ["TOKMARK_TESTS_SHARED"] = shared = tempfile.mkdtemp(prefix="tokmark-tests-")
        config.add_cleanup(lambda: shutil.rmtree(shared, ignore_errors=True))


def pytest_sessionfinish(session, exitstatus):
    """Of the process that began the others, where all was well and JAX was used."""
    if exitstatus == pytest.ExitCode.OK and not hasattr(session.config, "workerinput") and kept_programs.used().is_dir():
        kept_programs.keep()


def pytest_collection_finish():
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True, scope="session")
def data_folder(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))
        yield


def pytest_collection_modifyitems(items):
    """The longest files first, then those with most tests; within a file nothing moves."""
    counts = collections.Counter(item.path for item in items)
    ranks = {name: rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: (ranks.get(item.path.stem, len(ranks)), -counts[item.path], str(item.path)))
