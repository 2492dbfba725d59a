"""The fixture of the command line's tests."""
import pytest

from caller import Caller


@pytest.fixture
def call(tmp_path):
    caller = Caller(tmp_path)
    yield caller
    caller.end()
