"""Starts the Python worker of the `jax` engine; what its tests share."""
import mmap
import os
import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path

from pytorch_worker import GELU, MOE, PYTHON_SOURCES, SPECS, spec_of  # noqa: F401
import kept_programs
from fork_server import ForkServer
from worker_client import REPOSITORY, Worker, open_message, with_known_keys  # noqa: F401


def knows(flag):
    """XLA ends where it does not know a flag; those that it knows are texts in its libraries."""
    for path in Path(find_spec("jaxlib").origin).parent.glob("*.so*"):
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
            if text.find(b"\0" + flag.encode() + b"\0") >= 0:  # one that is gone is still named elsewhere
                return True
    return False


QUICK = ["--xla_backend_optimization_level=0", "--xla_llvm_disable_expensive_passes=true"]
# Takes more than half of the time that compiling a step takes.
if knows("xla_cpu_use_fusion_emitters"):
    QUICK.append("--xla_cpu_use_fusion_emitters=false")
if knows("xla_cpu_parallel_codegen_split_count"):
    QUICK.append("--xla_cpu_parallel_codegen_split_count=1")  # what is shared out is begun and ended once for each part
# Of the tests' own process and of the workers: no accelerator is looked for, code is made quickly
# rather than well, and what two tests compile alike is compiled once.
FAST_COMPILING = {
    "JAX_PLATFORMS": "cpu",
    "XLA_FLAGS": " ".join(QUICK),
    "JAX_COMPILATION_CACHE_DIR": str(kept_programs.used()),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
}
os.environ.update(FAST_COMPILING)
kept_programs.fetch()
# Of the tests' own process alone: for JaxHere's cells on two devices. Settled once, before JAX begins.
HERE_DEVICES = 2
import jax  # noqa: E402  (not before its environment is there)

jax.config.update("jax_num_cpu_devices", HERE_DEVICES)


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
    *"jax optax flax.linen flax.nnx flax.training.train_state equinox haiku tokmark_worker.jax_ranks".split(),
    PYTHONPATH=str(PYTHON_SOURCES),
)


class JaxWorker(Worker):
    """`is_started`: by a start of its own, where that is what the test is about."""

    def __init__(self, folder=None, python=sys.executable, is_started=False):
        if python == sys.executable and not is_started:
            super().__init__("jax", process=SERVER.start("jax", folder))
        else:
            super().__init__("jax", command=command(folder, python))

    def open(self, model, mode="train", seq_len=40, batch_size=2, **changes):
        return super().open(model, mode, seq_len, batch_size, **changes)


class JaxHere:
    """A cell in the tests' own process, for many small models: what one compiled serves the next. On one device or two.

    Folder, module path and jax.config are as before afterwards. A folder's modules stay imported
    until another folder's turn: two tests may call theirs the same.
    """

    _modules_of = None  # the folder

    def __init__(self, folder=None):
        self._folder = folder or Path.cwd()

    def __enter__(self):
        from tokmark_worker.jax_engine import JaxEngine

        self._before = os.getcwd(), sys.path[:], dict(jax.config.values)
        os.chdir(self._folder)
        self._forget_modules()
        self._engine = JaxEngine()
        return self

    def _forget_modules(self):
        before = JaxHere._modules_of
        if before != self._folder and before not in (None, REPOSITORY):
            for name, module in list(sys.modules.items()):
                spec = getattr(module, "__spec__", None)
                if not isinstance(spec, ModuleSpec):
                    continue
                places = [spec.origin, *(spec.submodule_search_locations or ())]
                if any(place and Path(place).is_relative_to(before) for place in places):
                    del sys.modules[name]
        JaxHere._modules_of = self._folder

    def __exit__(self, *_):
        self._engine.close()
        folder, sys.path[:], settings = self._before
        os.chdir(folder)
        for name, value in jax.config.values.items():
            if value is not settings[name]:
                jax.config.update(name, settings[name])

    def open(self, model, mode="train", seq_len=40, batch_size=2, **changes):
        from tokmark_worker.cell import read_cell

        message = open_message("jax", model, mode, seq_len, batch_size, **changes)
        ready = self._engine.open(read_cell(message))
        return with_known_keys("ready", {key: value for key, value in ready.items() if value is not None})

    def run(self, steps, sync="step"):
        return with_known_keys("block", self._engine.run_block(steps, sync))

    def memory(self):
        return with_known_keys("memory", self._engine.memory())

    def check(self, inputs, output, train_steps=0):
        return with_known_keys("check", self._engine.check(str(inputs), str(output), train_steps))


def refusal(model, folder=None, mode="infer", **changes):
    """The error that this cell is answered with."""
    from tokmark_worker.errors import WorkerError

    with JaxHere(folder) as here:
        try:
            here.open(model, mode, **{"seq_len": 8, **changes})
        except WorkerError as error:
            return vars(error)
    raise AssertionError("the cell was opened")
