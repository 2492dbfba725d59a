"""Ranks that Open MPI's own mpirun starts."""
import os
import re
import shutil
import subprocess

import pytest

import jax_worker
import pytorch_worker
import test_jax_launched
import test_pytorch_parallel
from ports import free_port
from test_pytorch_hosts import KILLED, sweep, text_of

# On a machine of one processor, too.
START = "mpirun --allow-run-as-root --oversubscribe --bind-to none -n 2 -x MASTER_PORT="


def why_no_mpirun():
    if shutil.which("mpirun") is None:
        return "no mpirun here (Debian: openmpi-bin)"
    said = subprocess.run(["mpirun", "--version"], capture_output=True, text=True, check=False).stdout
    return None if "Open MPI" in said else "mpirun here is not Open MPI's"


@pytest.mark.parametrize("engine, workers, models", [
    ("pytorch", pytorch_worker, test_pytorch_parallel), ("jax", jax_worker, test_jax_launched),
], ids=["pytorch", "jax"])
def test_mpirun_starts_the_ranks(engine, workers, models, tmp_path):
    """Of one that is lost it ends the other, rank 0, which may have no time to say so: then mpirun does."""
    why = why_no_mpirun()
    if why is not None:
        pytest.skip(why)
    killed, good = sweep(
        tmp_path, {17: KILLED}, START + str(free_port()), "--devices", "cpu:2", "--parallel", "ddp", "--seq", "17", "19",
        engine=engine, model=models.FAULTY, python=workers.SERVER.python(engine),
    )
    assert re.search(rf"rank 1 on {os.uname().nodename}: its process has ended|process rank 1|Process name: \[\[\d+,\d+\],1\]", text_of(killed))
    assert good["verdict"] in ("ok", "unsteady"), good["reasons"]
    assert (good["devices_count"], good["hosts_count"], good["parallel"]) == (2, 1, "ddp")
