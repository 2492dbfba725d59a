"""The `jax` engine as ranks that a launcher has started: processes that jax.distributed makes one program of."""
import os
import socket
import threading
from types import SimpleNamespace

import pytest
from safetensors.torch import load_file

from jax_worker import SERVER, JaxHere
from reference_model import loss_of
from test_jax_parallel import EVEN, SMALL, TOLERANCE, TWO, USERS, run_three
from test_launched_ranks import HERE, Launched, block_fails, said
from test_pytorch_hosts import hosts, require_good, sweep, sweep_hosts, text_of  # noqa: F401
from test_pytorch_model import distance, reference_run
from test_pytorch_worker import Case
from tokmark_worker.jax_ranks import Processes
from tokmark_worker.word_store import WordStore
from waiting import TIMEOUT_S
from worker_client import REPOSITORY, WorkerError

# With a callback in a step that each process makes for its own rows.
FAULTY = """
import os, signal
import numpy as np
import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec

try:
    from jax import shard_map
except ImportError:
    from jax.experimental.shard_map import shard_map

calls = 0

def look(tokens):
    global calls
    calls += 1
    if calls > 1 and jax.process_index() == jax.process_count() - 1:
        print("rank", jax.process_index(), "speaks", flush=True)
        {fault}
    return np.zeros((1,), np.float32)

class Model:
    def __init__(self, vocab_size):
        self.vocab_size = vocab_size

    def init(self, key):
        return {{"table": jax.random.normal(key, (self.vocab_size, 64)) * 0.02}}

    def apply(self, params, tokens):
        mesh = Mesh(np.array(sorted(jax.devices(), key=lambda one: one.process_index)), ("ddp",))
        each = lambda rows: jax.pure_callback(look, jax.ShapeDtypeStruct((1,), jnp.float32), rows)
        looked = shard_map(each, mesh=mesh, in_specs=PartitionSpec("ddp"), out_specs=PartitionSpec("ddp"))(tokens)
        return jnp.tanh(params["table"][tokens]) @ params["table"].T + looked.sum()
"""
KILLED = "os.kill(os.getpid(), signal.SIGKILL)"


class LaunchedJax(Launched):
    engine, server, layout = "jax", SERVER, "ddp"


def launched(tmp_path, count=2, family="Slurm", **environ):
    return LaunchedJax(tmp_path, [said(family, rank, count) for rank in range(count)], **environ)


def launched_and_looked_at(tmp_path):
    """XLA says of rank 1 what it compiles."""
    flags = f"{os.environ['XLA_FLAGS']} --xla_dump_to={tmp_path}/compiled --xla_dump_hlo_as_text"
    return LaunchedJax(tmp_path, [said("Slurm", 0, 2), {**said("Slurm", 1, 2), "XLA_FLAGS": flags}])


def compiled(tmp_path, name):
    """How many programs of this function rank 1 has compiled."""
    return len(list((tmp_path / "compiled").glob(f"module_*.jit_{name}.*before_optimizations.txt")))


def test_rank_0_chooses_the_port_of_jax_s_service_and_holds_it():
    """Where it is free: on another host, or for another rank, it need not be. Nobody else gets it until the service has it."""
    store, set_by, ports, refused = WordStore(), [], [], []

    def choose(rank):
        def put(key, value):
            set_by.append(rank)
            store.set(key, value)

        ranks = SimpleNamespace(
            rank=rank, count=3, neighbours_count=3, store=SimpleNamespace(set=put, get=store.get), interface=lambda: None,
            others=SimpleNamespace(address="127.0.0.1"), devices=lambda _: ["cpu"] * 3)
        with Processes(ranks, None)._port() as port:
            ports.append(port)
            if rank == 0:
                for address in ("127.0.0.1", "0.0.0.0"):
                    with socket.socket() as other, pytest.raises(OSError, match="in use"):
                        other.bind((address, port))
                    refused.append(address)

    threads = [threading.Thread(target=choose, args=(rank,), daemon=True) for rank in (1, 2, 0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT_S)
    assert set_by == [0] and len(ports) == 3 and len(set(ports)) == 1 and len(refused) == 2


@pytest.fixture(scope="module")
def on_one():
    return run_three({}, EVEN)


# rows of its own, and all rows; how a layout divides a model is one program's test (test_jax_parallel.py)
@pytest.mark.parametrize("layout", ["fsdp", "tp"])
def test_steps_are_those_of_one_device(layout, on_one, tmp_path):
    with launched(tmp_path) as ranks:
        ready = ranks.worker.open(EVEN, "train", 40, parallel=layout, **TWO)
        blocks = [ranks.worker.run(1) for _ in range(3)]
        verified = ranks.worker.ask({"type": "verify", "step": 3})
        blocks.append(ranks.worker.run(1))
        memory = ranks.worker.memory()
    assert ready["hosts_count"] == 1
    one_ready, one_blocks, one_memory = on_one
    assert ready["params_total"] == one_ready["params_total"]
    for block, one in zip(blocks, one_blocks):
        assert block["loss"] == pytest.approx(one["loss"], rel=1e-5)
        assert block["grad_norm"] == pytest.approx(one["grad_norm"], rel=1e-4)
        assert block["rank_skew_ns"] >= 0 and block["recompiles"] == 0
    assert verified["loss"] == pytest.approx(blocks[3]["loss"], rel=1e-5)
    share = memory["parts"]["weights_bytes"] / one_memory["parts"]["weights_bytes"]
    assert share < 0.8
    assert ranks.codes() == [0]


def test_gradients_and_parameters_equal_the_reference(tmp_path):
    """After two steps."""
    case = Case({**SMALL, "dropout": 0.0}, tmp_path, rows=4)
    with launched_and_looked_at(tmp_path) as ranks:
        ranks.worker.open(case.spec, "train", 40, parallel="fsdp", weights_path=str(case.weights), **TWO)
        ranks.worker.check(case.inputs, case.output, 2)
    written = load_file(case.output)
    case.train_reference(2)
    wanted = reference_run(case.spec, case.reference, case.tokens)
    assert written["loss"].item() == pytest.approx(loss_of(wanted, case.tokens).item(), rel=TOLERANCE)
    for name, param in case.reference.named_parameters():
        assert distance(written[f"grad.{name}"], param.grad) < TOLERANCE, name
    case.require_parameters(written)
    # every step is one program, and so is what gathers the parts of tensors of one form
    forms = {value.shape for value in written.values()}
    assert compiled(tmp_path, "loss_and_logits") == compiled(tmp_path, "update") == 1
    assert 0 < compiled(tmp_path, "gathered_whole") <= len(forms)


@pytest.mark.parametrize("mode", ["infer", "decode"])
def test_logits_of_all_rows_come_out_in_order(mode, tmp_path):
    case = Case({**EVEN, "is_causal": True}, tmp_path, rows=4)
    with launched_and_looked_at(tmp_path) as ranks:
        ranks.worker.open(case.spec, mode, 40, parallel="fsdp", weights_path=str(case.weights), **TWO)
        seen = ranks.worker.run(2)
        expected = ranks.worker.ask({"type": "verify", "step": 1})
        ranks.worker.check(case.inputs, case.output)
    # the prompt's, the timed step's, both again to verify it; and all steps of a check are one
    assert compiled(tmp_path, "decode") == (5 if mode == "decode" else 0)
    assert seen["nonfinite"] == 0 and seen["recompiles"] == 0
    assert seen["logits"] == pytest.approx(expected["logits"], rel=1e-4, abs=1e-5)
    assert seen["head_tokens"] == expected["head_tokens"] == (160 if mode == "infer" else 4)
    written = load_file(case.output)
    assert distance(written["logits"], reference_run(case.spec, case.reference, case.tokens)) < TOLERANCE


@pytest.mark.parametrize("kind", ["function", "flax", "equinox"])
def test_a_users_model_runs_unchanged(kind, tmp_path):
    """Dropout draws the same numbers on one device and on two."""
    (tmp_path / "users.py").write_text(USERS)
    ref = f"{tmp_path}/users.py:Model" if kind == "function" else f"{REPOSITORY}/examples/jax_{kind}.py:Gpt"
    own = {"model_ref": ref, "model_source": "factory"}
    if kind != "function":
        own["options"] = {"set": {"layers": "1"}}
    spec = {**SMALL, "vocab_size": 128}
    with JaxHere() as here:
        here.open(spec, "train", 40, 4, **own)
        one = [here.run(1)["loss"] for _ in range(2)]
        one_memory = here.memory()
    with launched(tmp_path) as ranks:
        ranks.worker.open(spec, "train", 40, parallel="fsdp", **TWO, **own)
        two = [ranks.worker.run(1)["loss"] for _ in range(2)]
        memory = ranks.worker.memory()
    assert two == pytest.approx(one, rel=1e-4)
    assert memory["parts"]["weights_bytes"] < 0.8 * one_memory["parts"]["weights_bytes"]
    assert ranks.codes() == [0]


# --- ranks that fail ------------------------------------------------------------------------------


def run_faulty(tmp_path, fault):
    (tmp_path / "faulty.py").write_text(FAULTY.format(fault=fault))
    ranks = launched(tmp_path)
    ranks.open(model_ref=f"{tmp_path}/faulty.py:Model", model_source="factory")
    return ranks


@pytest.mark.parametrize("fault, kind, wanted", [
    ('raise ValueError("no such expert")', "model", "no such expert"),
    ("os._exit(7)", "internal", "its process has ended"),
    (KILLED, "internal", "its process has ended"),
])
def test_a_rank_that_fails_is_told_with_its_host(fault, kind, wanted, tmp_path):
    with run_faulty(tmp_path, fault) as ranks:
        found, text = block_fails(ranks)
    assert found == kind
    assert text.startswith(f"rank 1 on {HERE}: ") and wanted in text
    assert ranks.codes()[0] != 0
    assert "rank 1 speaks" in ranks.log(1)


def test_rank_0_says_that_its_launcher_ends_it(tmp_path):
    """In the middle of a step that never ends. JAX has a use of its own for SIGTERM."""
    with run_faulty(tmp_path, "os.kill(int(open('pid').read()), signal.SIGTERM); signal.pause()") as ranks:
        (tmp_path / "pid").write_text(str(ranks.worker.hello["pid"]))
        assert block_fails(ranks) == ("internal", f"rank 0 on {HERE}: its launcher ended it (SIGTERM)")
    assert ranks.codes() == [0]


def test_a_rank_that_cannot_open_the_model(tmp_path):
    (tmp_path / "users.py").write_text(USERS + '    if jax.process_index() == 1:\n        raise ValueError("no disk")\n')
    with launched(tmp_path) as ranks, pytest.raises(WorkerError) as found:
        ranks.open(model_ref=f"{tmp_path}/users.py:Model", model_source="factory")
    assert str(found.value).startswith(f"rank 1 on {HERE}: ") and "no disk" in str(found.value)
    assert ranks.codes() == [1]


def test_another_number_than_the_cell_has_is_refused_with_both(tmp_path):
    with launched(tmp_path) as ranks, pytest.raises(WorkerError) as found:
        ranks.open(device="cpu:3", batch_size=3)
    assert found.value.reply["kind"] == "unsupported"
    assert "the cell is for 3 devices" in str(found.value) and "the launcher started 2 ranks" in str(found.value)
    assert ranks.codes() == [1]


# --- hosts ----------------------------------------------------------------------------------------

CUT = 'import subprocess; subprocess.run(["ip", "link", "set", "eth0", "down"], check=True); signal.pause()'


def test_what_is_lost_on_hosts_is_a_record_and_the_sweep_goes_on(hosts, tmp_path):  # noqa: F811
    cut, good = sweep_hosts(
        tmp_path, hosts, {16: CUT}, "leave", "--seq", "16", "19", engine="jax", model=FAULTY, server=SERVER
    )
    assert "rank 2 on host2: its host does not answer" in text_of(cut)
    require_good(good)
    assert good["step_check"] == "same" and good["peak_mem_mb"] > 0
