"""What the machine's user has stored (a known pace, noise floors, environments) decides nothing in the tests."""
import signal

import pytest

# Started in the background by a shell or by nohup we ignore them, and so would every program that is tested.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(autouse=True, scope="session")
def data_folder(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))
        yield
