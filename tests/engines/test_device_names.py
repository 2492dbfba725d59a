"""What a worker says of a card, where there is none: by a driver and a framework that are made up."""
import os
import re
import subprocess
import sys

import pytest
from pytorch_worker import PYTHON_SOURCES

DRIVER = "int cuDriverGetVersion(int *version) { *version = %d; return %d; }"
ASK = """
import sys
sys.path.insert(0, sys.argv[1])
from tokmark_worker import nvml
print(nvml.cuda_driver_version())
"""
NAME = """
import sys, types
sys.path.insert(0, sys.argv[1])
import torch
from tokmark_worker.torch_engine import TorchEngine
torch.cuda.get_device_name = lambda device: f"Card of {device}"
for device in sys.argv[2:]:
    print(TorchEngine._device_name(types.SimpleNamespace(_device=torch.device(device))))
"""


def ask(program, words, folder):
    done = subprocess.run([sys.executable, "-c", program, PYTHON_SOURCES, *words], capture_output=True, text=True, check=True,
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
    assert ask(ASK, [], driver(version, code)) == says


def test_no_driver_is_no_version(tmp_path):
    assert ask(ASK, [], tmp_path) == "None"


def test_a_card_is_named_with_its_driver_and_without(driver, tmp_path):
    assert ask(NAME, ["cuda:0", "cpu"], tmp_path) == "Card of cuda:0\nNone"
    assert ask(NAME, ["cuda:0"], driver(12080, 0)) == "Card of cuda:0, driver for CUDA 12.8"


def test_no_binding_of_pytorch_s_own_is_called():
    """They change from release to release: one that was gone stopped every GPU cell."""
    folder = os.path.join(PYTHON_SOURCES, "tokmark_worker")
    for name in sorted(os.listdir(folder)):
        if name.endswith(".py"):
            with open(os.path.join(folder, name), encoding="utf-8") as file:
                assert not re.search(r"\btorch\._C\b", file.read()), name
