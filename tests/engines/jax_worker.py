"""Starts the Python worker of the `jax` engine; what its tests share."""
import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path

from pytorch_worker import GELU, MOE, PYTHON_SOURCES, SPECS, spec_of  # noqa: F401
from fork_server import ForkServer
from worker_client import REPOSITORY, Worker, open_message  # noqa: F401

# Of the tests' own process and of the workers: no accelerator is looked for, code is made quickly
# rather than well, and what two tests compile alike is compiled once.
FAST_COMPILING = {
    "JAX_PLATFORMS": "cpu",
    "XLA_FLAGS": "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true",
    "JAX_COMPILATION_CACHE_DIR": tempfile.gettempdir() + f"/tokmark-jax-tests-{os.getpid()}",
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
}
os.environ.update(FAST_COMPILING)
atexit.register(shutil.rmtree, FAST_COMPILING["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)


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


# with the libraries of users' models: importing them takes longer than any of those models
SERVER = ForkServer(
    *"jax optax flax.linen flax.nnx flax.training.train_state equinox haiku".split(),
    PYTHONPATH=str(PYTHON_SOURCES),
)


class JaxWorker(Worker):
    """`is_started`: by a start of its own, where that is what the test is about."""

    def __init__(self, folder=None, python=sys.executable, is_started=False):
        is_forked = python == sys.executable and not is_started
        words = SERVER.command("jax", folder) if is_forked else command(folder, python)
        super().__init__("jax", command=words)

    def open(self, model, mode="train", seq_len=40, batch_size=2, **changes):
        return super().open(model, mode, seq_len, batch_size, **changes)


def refusal(model, folder=None, mode="infer", **changes):
    """The error that this cell is answered with; here, without the start of a worker for each."""
    import jax
    from tokmark_worker.cell import read_cell
    from tokmark_worker.errors import WorkerError
    from tokmark_worker.jax_engine import JaxEngine

    message = open_message("jax", model, mode, **{"seq_len": 8, "batch_size": 2, **changes})
    before = os.getcwd()
    matmul = jax.config.jax_default_matmul_precision
    os.chdir(folder or before)
    try:
        JaxEngine().open(read_cell(message))
    except WorkerError as error:
        return vars(error)
    finally:
        os.chdir(before)
        jax.config.update("jax_default_matmul_precision", matmul)
    raise AssertionError("the cell was opened")
