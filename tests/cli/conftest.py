"""The fixture of the command line's tests."""
import pytest

from caller import Caller


@pytest.fixture
def call(tmp_path):
    return Caller(tmp_path)
