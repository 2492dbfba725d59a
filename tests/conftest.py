"""What the machine's user has stored (a known pace, noise floors, environments) decides nothing in the tests."""
import pytest


@pytest.fixture(autouse=True, scope="session")
def data_folder(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))
        yield
