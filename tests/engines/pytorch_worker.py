"""Starts the Python worker of the `pytorch` engine; what its tests share."""
import os
import sys
from pathlib import Path

from fork_server import ForkServer
from worker_client import REPOSITORY, Worker

PYTHON_SOURCES = REPOSITORY / "src" / "engines" / "python"
if str(PYTHON_SOURCES) not in sys.path:
    sys.path.insert(0, str(PYTHON_SOURCES))

MOE = {
    "name": "moe",
    "vocab_size": 211,
    "max_seq_len": 40,
    "dim": 48,
    "layers_count": 2,
    "heads_count": 3,
    "ffn": "moe_swiglu",
    "ffn_hidden": 80,
    "experts_count": 5,
    "experts_active": 2,
    "rotary_dim": 16,
    "rotary_base": 10000.0,
    "dropout": 0.1,
    "norm": "rms",
    "norm_eps": 1e-6,
    "is_causal": False,
    "is_head_tied": False,
}
GELU = {
    **MOE,
    "name": "gelu",
    "ffn": "gelu",
    "experts_count": 1,
    "experts_active": 1,
    "rotary_dim": 0,
    "norm": "layer",
    "norm_eps": 1e-5,
    "is_causal": True,
    "is_head_tied": True,
}
SPECS = {
    "moe": MOE,
    "moe_causal": {**MOE, "is_causal": True},
    "moe_part_rotary": {**MOE, "rotary_dim": 6, "experts_active": 3},
    "gelu": GELU,
    "gelu_untied": {**GELU, "is_head_tied": False, "is_causal": False},
}


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
        "pytorch",
    ]


# The worker's own modules are imported with torch, as its own server does it; and what every compilation imports.
SERVER = ForkServer("torch", "torch._dynamo", "torch._dynamo.backends.common", "tokmark_worker.torch_ranks", PYTHONPATH=str(PYTHON_SOURCES))


class TorchWorker(Worker):
    """`is_started`: by a start of its own, where that is what the test is about."""

    def __init__(self, folder=None, python=sys.executable, is_started=False):
        if python == sys.executable and not is_started:
            super().__init__("pytorch", process=SERVER.start("pytorch", folder))
        else:
            super().__init__("pytorch", command=command(folder, python))

    def open(self, model, mode="train", seq_len=40, batch_size=2, **changes):
        return super().open(model, mode, seq_len, batch_size, **changes)


def spec_of(model):
    """The worker's ModelSpec of a model's dict."""
    from tokmark_worker.cell import ModelSpec

    return ModelSpec(**model)


def is_slow_wanted():
    return "TOKMARK_TEST_SLOW" in os.environ
