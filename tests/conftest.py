"""What the machine's user has stored (a known clock, noise floors, environments) decides nothing in the tests."""
import collections
import os
import signal

import pytest

# They take the longest: begun last, one of them would run alone at the end of a call with several processes.
LONGEST = ["test_documented_commands", "test_pytorch_compiled", "test_jax_worker", "test_native_reference",
           "test_jax_forms", "test_ab", "test_check"]

# Started in the background by a shell or by nohup we ignore them, and so would every program that is tested.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# promtool and the like, which tools/setup.sh fetched.
os.environ["PATH"] += ":" + os.path.join(os.path.dirname(__file__), "..", "build", "readers", "usr", "bin")


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
