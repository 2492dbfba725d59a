"""What a worker says of a card, where there is none: by a driver and a framework that are made up."""
import os
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest
from pytorch_worker import PYTHON_SOURCES

DRIVER = "int cuDriverGetVersion(int *version) { *version = %d; return %d; }"
ASK = """
import sys
sys.path.insert(0, sys.argv[1])
from tokmark_worker import nvml
print(nvml.cuda_driver_version())
"""


def driver_said(folder):
    done = subprocess.run([sys.executable, "-c", ASK, PYTHON_SOURCES], capture_output=True, text=True, check=True,
                          env={**os.environ, "LD_LIBRARY_PATH": str(folder)})
    return done.stdout.strip()


@pytest.fixture(name="driver")
def make_driver(tmp_path):
    def make(version, code):
        (tmp_path / "driver.c").write_text(DRIVER % (version, code))
        subprocess.run(["gcc", "-shared", "-fPIC", "-o", tmp_path / "libcuda.so.1", tmp_path / "driver.c"], check=True)
        return tmp_path
    return make


@pytest.mark.parametrize("version, code, says", [(12080, 0, "12.8"), (13000, 0, "13.0"), (0, 3, "None")])
def test_the_driver_tells_its_version(driver, version, code, says):
    assert driver_said(driver(version, code)) == says


def test_no_driver_is_no_version(tmp_path):
    assert driver_said(tmp_path) == "None"


@pytest.mark.parametrize("device, version, name", [
    ("cuda:0", None, "Card of cuda:0"), ("cuda:0", "12.8", "Card of cuda:0, driver for CUDA 12.8"), ("cpu", "12.8", None),
])
def test_a_card_is_named_with_its_driver_and_without(device, version, name, monkeypatch):
    import torch
    from tokmark_worker import nvml
    from tokmark_worker.torch_engine import TorchEngine

    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"Card of {device}")
    monkeypatch.setattr(nvml, "cuda_driver_version", lambda: version)
    assert TorchEngine._device_name(SimpleNamespace(_device=torch.device(device))) == name


def test_no_binding_of_pytorch_s_own_is_called():
    """They change from release to release: one that was gone stopped every GPU cell."""
    folder = os.path.join(PYTHON_SOURCES, "tokmark_worker")
    for name in sorted(os.listdir(folder)):
        if name.endswith(".py"):
            with open(os.path.join(folder, name), encoding="utf-8") as file:
                assert not re.search(r"\btorch\._C\b", file.read()), name
