"""Starts the Python worker of the `jax` engine; what its tests share."""
import os
import sys
from pathlib import Path

from pytorch_worker import GELU, MOE, PYTHON_SOURCES, SPECS, spec_of  # noqa: F401
from worker_client import REPOSITORY, Worker  # noqa: F401

# of the tests' own process: no accelerator is looked for
os.environ.setdefault("JAX_PLATFORMS", "cpu")


def command(folder=None, python=sys.executable):
    """The worker's words, started in `folder`."""
    return [
        "env",
        "-C",
        str(folder or Path.cwd()),
        f"PYTHONPATH={PYTHON_SOURCES}",
        python,
        "-m",
        "tokmark_worker",
        "jax",
    ]


class JaxWorker(Worker):
    def __init__(self, folder=None, python=sys.executable):
        super().__init__("jax", command=command(folder, python))

    def open(self, model, mode="train", seq_len=40, batch_size=2, **changes):
        return super().open(model, mode, seq_len, batch_size, **changes)
