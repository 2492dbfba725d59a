"""The `pytorch` engine on several devices: two processes on the CPUs, over gloo."""
import importlib
import os
import select
import signal
import socket
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.distributed import TCPStore

from pytorch_worker import GELU, MOE, SERVER, TorchWorker
from reference_model import loss_of
from test_pytorch_model import distance, reference_run
from test_pytorch_run import SMALL_CONFIG, TINY, read, start
from test_pytorch_sources import write_package
from test_pytorch_worker import Case
from waiting import begun
from worker_client import WorkerError, release_binary

from tokmark_worker import torch_ranks
from tokmark_worker.errors import WorkerError as ToldError
from tokmark_worker.torch_layout import Layout

TOLERANCE = 1e-4
LAYOUTS = ("ddp", "fsdp", "tp", "ep")
TWO = {"device": "cpu:2", "threads": 1}
FOUR = {"device": "cpu:4", "threads": 1}


# Heads and experts that divide over two.
EVEN = {**MOE, "heads_count": 2, "rotary_dim": 24, "experts_count": 4}


def case_of(spec, folder):
    return Case(spec, folder, rows=4)


def spec_for(layout):
    return EVEN if "tp" in layout or "ep" in layout else MOE


def over(layout):
    return {**(FOUR if "," in layout else TWO), "parallel": layout}


def require_same(case, written):
    wanted = reference_run(case.spec, case.reference, case.tokens)
    assert distance(written["logits"], wanted) < TOLERANCE
    assert written["loss"].item() == pytest.approx(loss_of(wanted, case.tokens).item(), rel=TOLERANCE)
    for name, param in case.reference.named_parameters():
        assert distance(written[f"grad.{name}"], param.grad) < TOLERANCE, name


# --- the work of two is the work of one -----------------------------------------------------------


@pytest.mark.parametrize("layout", ["fsdp", "ep", "ddp:2,fsdp:2", "ddp:2,tp:2", "ddp:2,ep:2", "fsdp:2,tp:2", "fsdp:2,ep:2"])
def test_loss_logits_gradients_and_parameters_equal_the_reference(layout, tmp_path):
    spec = spec_for(layout)
    case = case_of(spec, tmp_path)
    # two steps: in a third the rounding of a layout may choose another expert
    written = case.check("train", train_steps=2, batch_size=4, **over(layout))
    require_same(case, case.second_written())
    case.train_reference(2)
    case.require_parameters(written)


@pytest.mark.parametrize("layout, heads", [("fsdp", 3), ("tp", 2), ("fsdp:2,tp:2", 2)])
def test_a_tied_head_is_one_parameter(layout, heads, tmp_path):
    case = case_of({**GELU, "heads_count": heads}, tmp_path)
    require_same(case, case.check("train", batch_size=4, **over(layout)))


@pytest.mark.parametrize("mode, layout", [
    ("infer", "ddp"), ("infer", "ep"), ("infer", "fsdp"), ("decode", "tp"), ("decode", "ep"), ("decode", "fsdp"), ("decode", "ddp:2,tp:2"),
])
def test_rows_of_all_ranks_come_out_in_order(mode, layout, tmp_path):
    spec = {**spec_for(layout), "is_causal": True}
    case = case_of(spec, tmp_path)
    written = case.check(mode, batch_size=4, **over(layout))
    assert distance(written["logits"], reference_run(spec, case.reference, case.tokens)) < TOLERANCE


# --- blocks ---------------------------------------------------------------------------------------


def run_three(layout, model=MOE, **changes):
    with TorchWorker() as worker:
        ready = worker.open({**model, "dropout": 0.0}, "train", batch_size=4, **changes, **layout)
        return ready, [worker.run(1) for _ in range(3)], worker.memory()


@pytest.fixture(scope="module")
def on_one():
    return {spec["name"]: run_three({"threads": 1}, spec) for spec in (MOE, {**EVEN, "name": "even"})}


@pytest.mark.parametrize("layout", [*LAYOUTS, "ddp:2,tp:2", "fsdp:2,ep:2"])
def test_steps_are_those_of_one_device(layout, on_one):
    """From the same seed: the same weights, tokens, losses and norms; a step is all rows of the cell."""
    ready, blocks, memory = run_three(over(layout), spec_for(layout))
    one_ready, one_blocks, one_memory = on_one["even" if spec_for(layout) is EVEN else "moe"]
    assert ready["params_total"] == one_ready["params_total"]
    for block, one in zip(blocks, one_blocks):
        assert block["loss"] == pytest.approx(one["loss"], rel=1e-5)
        assert block["grad_norm"] == pytest.approx(one["grad_norm"], rel=1e-4)
        assert block["window_ns"] >= max(block["step_ns"])
        assert block["rank_skew_ns"] >= 0
        assert "rank_skew_ns" not in one
    share = memory["parts"]["optimizer_bytes"] / one_memory["parts"]["optimizer_bytes"]
    wanted = {"ddp": 1.0, "fsdp": 0.5}.get(layout)
    assert share == pytest.approx(wanted, rel=0.02) if wanted else 0.5 < share * (2 if "fsdp" in layout else 1) < 0.85


# --- a user's model: divided while it is made ------------------------------------------------------

XAVIER = "nn.init.xavier_uniform_"
OWN = """
import torch
from torch import nn

@torch.no_grad()
def drawn_again(weight):
    # until none is too large: what is drawn next is only known with values
    weight.normal_()
    while (large := weight.abs() > 2).any():
        weight[large] = torch.randn(int(large.sum()))

class Model(nn.Module):
    # its head is its table; its own values are over those that PyTorch gives

    def __init__(self, vocab_size):
        super().__init__()
        self.embed = nn.Embedding(vocab_size, 8)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(8, 9), nn.ReLU(), nn.Linear(9, 8)) for _ in range(2))
        self.head = nn.Linear(8, vocab_size, bias=False)
        self.head.weight = self.embed.weight
        for block in self.blocks:
            {init}(block[0].weight)

    def forward(self, tokens):
        x = self.embed(tokens)
        for block in self.blocks:
            x = x + block(x)
        return self.head(x)
"""


def weights_of(folder, init, **changes):
    """(ready, the weights that the model was made with)"""
    (folder / "own.py").write_text(OWN.replace("{init}", init))
    inputs, output = folder / "inputs.safetensors", folder / "output.safetensors"
    tokens = torch.zeros(4, 40, dtype=torch.int32)
    save_file({"tokens": tokens, "targets": tokens.clone()}, inputs)
    with TorchWorker(folder=folder) as worker:
        ready = worker.open(MOE, "train", batch_size=4, model_ref=f"{folder}/own.py:Model", model_source="factory", **changes)
        worker.ask({"type": "check", "inputs": str(inputs), "output": str(output), "train_steps": 0, "weights": True})
    return ready, {name: value for name, value in load_file(output).items() if name.startswith("weight.")}


@pytest.mark.parametrize("init, precision, layout", [
    (XAVIER, "bf16", "fsdp"), (XAVIER, "bf16-pure", "ddp:2,fsdp:2"), ("drawn_again", "fp32", "fsdp"),
])
def test_a_model_that_is_divided_while_it_is_made_has_the_weights_of_one_device(init, precision, layout, tmp_path):
    ready, found = weights_of(tmp_path, init, precision=precision, **over(layout))
    _, wanted = weights_of(tmp_path, init, threads=1, precision=precision)
    assert found.keys() == wanted.keys() and len(found) == 9
    for name, value in found.items():
        assert torch.equal(value, wanted[name]), name
    assert ("made whole on every device first" in ready["notes"]) == (init == "drawn_again")


# a layer that takes time before rows is looked for by a call before the first step; a parameter that is one number,
# which nothing divides; and a layer that has no part in a step
MORE = (
    "        self.mix = nn.MultiheadAttention(8, 1)\n        self.scale = nn.Parameter(torch.tensor(2.0))\n"
    "        self.spare = nn.Linear(8, 8)\n        self.blocks =",
    "        turned = x.transpose(0, 1)\n        x = self.scale * x + self.mix(turned, turned, turned)[0].transpose(0, 1)\n        return",
)


@pytest.mark.parametrize("layout", ["ddp", "fsdp", "ddp:2,fsdp:2"])
def test_steps_of_a_user_s_model_are_those_of_one_device(layout, tmp_path):
    """All of its parameters are trained, those too that stand in no block or are one number, whatever tokmark has looked
    at before; one without a gradient holds nobody up."""
    (tmp_path / "own.py").write_text(OWN.replace("{init}", XAVIER).replace("        self.blocks =", MORE[0]).replace("        return", MORE[1]))
    own = {"model_ref": f"{tmp_path}/own.py:Model", "model_source": "factory"}
    ready, blocks, memory = run_three(over(layout), **own, options={"recompute": "full"})
    one_ready, one_blocks, one_memory = run_three({"threads": 1}, **own, options={"recompute": "full"})
    assert "first call" not in ready["notes"]
    assert ready["notes"] == one_ready["notes"]
    for block, one in zip(blocks, one_blocks):
        assert block["loss"] == pytest.approx(one["loss"], rel=1e-5)
        assert block["grad_norm"] == pytest.approx(one["grad_norm"], rel=1e-4)
    share = memory["parts"]["optimizer_bytes"] / one_memory["parts"]["optimizer_bytes"]
    assert share == pytest.approx(0.5 if "fsdp" in layout else 1, rel=0.05)


@pytest.mark.parametrize("mode, own", [("decode", False), ("infer", True)])
def test_what_a_forward_pass_gathers_it_can_gather_again(mode, own, tmp_path):
    """And it is no parameter that the pass, or the prompt's, makes."""
    (tmp_path / "own.py").write_text(OWN.replace("{init}", XAVIER))
    source = {"model_ref": f"{tmp_path}/own.py:Model", "model_source": "factory"} if own else {}
    with TorchWorker() as worker:
        assert "first call" not in worker.open(MOE, mode, batch_size=4, **source, **over("fsdp")).get("notes", "")
        timed, expected = worker.run(2), worker.ask({"type": "verify", "step": 1})
        assert timed["logits"] == pytest.approx(expected["logits"], rel=1e-4)


SEES_WEIGHTS = """
import torch.nn.functional as F

plain = F.embedding


def embedding(tokens, weight, *others, **named):
    with open("types", "a") as file:
        print(weight.dtype, file=file)
    return plain(tokens, weight, *others, **named)


F.embedding = embedding
"""


@pytest.mark.parametrize("own, seen", [(True, "torch.bfloat16"), (False, "torch.float32")])
def test_a_user_s_model_sees_its_weights_in_the_type_that_autocast_leaves_them(own, seen, tmp_path, monkeypatch):
    """Gathered in bf16, what autocast computes in fp32 would be computed with rounded weights; tokmark's own model is."""
    (tmp_path / "sees_weights.py").write_text(SEES_WEIGHTS)
    (tmp_path / "own.py").write_text(OWN.replace("{init}", XAVIER))
    monkeypatch.setenv("TOKMARK_TEST_IMPORT", "sees_weights")
    source = {} if own else {"model_ref": f"{tmp_path}/own.py:Model", "model_source": "factory"}
    with TorchWorker(folder=tmp_path) as worker:
        worker.open(MOE, "train", batch_size=4, precision="bf16", **source, **over("fsdp"))
        worker.run(1)
    assert set((tmp_path / "types").read_text().split()) == {seen}


# --- what cannot be -------------------------------------------------------------------------------


def test_rows_that_do_not_divide_name_the_nearest_batch():
    with TorchWorker() as worker, pytest.raises(WorkerError) as found:
        worker.open(MOE, "train", batch_size=5, parallel="ddp", **TWO)
    assert found.value.reply["kind"] == "unsupported"
    assert "--batch 4" in str(found.value)


@pytest.mark.parametrize("layout, model, said", [
    ("tp", MOE, "3 heads do not divide over 2 devices; the nearest is one device"),
    ("ep", MOE, "5 experts do not divide over 2 devices; the nearest is one device"),
    ("ep", GELU, "the nearest is --parallel ddp"),
    ("fsdp:2,tp:2", MOE, "3 heads do not divide over 2 devices; the nearest is --parallel fsdp"),
    ("fsdp:2,ep:2", GELU, "the nearest is --parallel fsdp"),
    ("fsdp:2,tp:3", MOE, "'fsdp:2,tp:3' is no layout over 4 devices"),
])
def test_a_model_that_does_not_divide_is_unsupported(layout, model, said):
    with TorchWorker() as worker, pytest.raises(WorkerError) as found:
        worker.open(model, "train", batch_size=4, **over(layout))
    assert found.value.reply["kind"] == "unsupported"
    assert said in str(found.value)


MAKES = "self.made = getattr(self, 'made', None) or nn.Parameter(torch.ones(1))"


@pytest.mark.parametrize("layout, nearest, line, other", [
    ("tp", "fsdp", "", ""), ("ddp:2,ep:2", "ddp:2,fsdp:2", "", ""),
    # what is there, or has a shape, only after a first call
    ("fsdp", "ddp", "nn.Linear", "nn.LazyLinear"), ("fsdp", "ddp", "self.calls += 1", MAKES + "; self.calls += 1"),
])
def test_a_model_of_the_user_is_not_taken_apart(layout, nearest, line, other, tmp_path):
    (tmp_path / "own.py").write_text(FAULTY.format(fault="pass").replace(line, other))
    own = {"model_ref": f"{tmp_path}/own.py:Model", "model_source": "factory"}
    with TorchWorker(folder=tmp_path) as worker, pytest.raises(WorkerError) as found:
        worker.open(MOE, "train", batch_size=4, **own, **over(layout))
    assert found.value.reply["kind"] == "unsupported"
    assert str(found.value).endswith(f"the nearest is --parallel {nearest}")


@pytest.mark.parametrize("layout, place, name", [
    ("fsdp", "fsdp", "fully_shard"), ("tp", "tensor", "DTensor"), ("ep", "tensor", "DTensor"), ("ddp:2,tp:2", "tensor", "DTensor"),
])
def test_a_release_of_pytorch_without_what_a_layout_needs_is_told(layout, place, name, monkeypatch):
    module = importlib.import_module(f"torch.distributed.{place}")
    monkeypatch.delattr(module, name)
    cell = SimpleNamespace(parallel=layout, mode="train")
    found = Layout(cell, ["cpu"] * (4 if "," in layout else 2))
    with pytest.raises(ToldError, match=f"needs torch.distributed.{place}.{name}, which PyTorch .* lacks .*the nearest is --parallel ddp") as told:
        found.begin(torch.device("cpu"))
    assert told.value.kind == "unsupported"


def test_a_release_whose_fully_shard_needs_cards_is_told(monkeypatch):
    """PyTorch 2.6: its streams of a CPU have no events."""
    monkeypatch.delattr(torch.cpu.Stream, "record_event")
    found = Layout(SimpleNamespace(parallel="fsdp", mode="train"), ["cpu"] * 2)
    with pytest.raises(ToldError, match="works on cards alone; the nearest on CPUs is --parallel ddp") as told:
        found.begin(torch.device("cpu"))
    assert told.value.kind == "unsupported"


def test_a_store_that_cannot_be_asked_without_waiting_is_asked_all_the_same(monkeypatch):
    class Old:
        """PyTorch 2.2's: it has no check()."""

        def __init__(self, *args, **named):
            self._store = TCPStore(*args, **named)
            self.port, self.set, self.wait = self._store.port, self._store.set, self._store.wait

    monkeypatch.setattr(torch.distributed, "TCPStore", Old)
    store = torch_ranks._store_at("127.0.0.1")
    assert not store.check(["word"])
    store.set("word", "said")
    assert store.check(["word"])


def test_a_package_can_be_left_for_the_model_that_can_be_laid_out_so(tmp_path):
    write_package(tmp_path, config=SMALL_CONFIG)
    named = {**EVEN, "name": "superintelligence-tiny"}
    with TorchWorker(folder=tmp_path) as worker, pytest.raises(WorkerError) as found:
        worker.open(named, "train", batch_size=4, **over("tp"))
    assert found.value.reply["kind"] == "unsupported"
    assert "the nearest is --model-source builtin, or --parallel fsdp" in str(found.value)


# --- ranks that fail: a model of the user's that does it on the last rank ----------------------------

FAULTY = """
import os, signal
import torch
from torch import distributed, nn

class Model(nn.Module):
    def __init__(self, vocab_size):
        super().__init__()
        self.embed = nn.Embedding(vocab_size, 8)
        self.head = nn.Linear(8, vocab_size)
        self.calls = 0

    def forward(self, tokens):
        self.calls += 1
        if self.calls > 7 and distributed.get_rank() == distributed.get_world_size() - 1:
            print("rank", distributed.get_rank(), "speaks", flush=True)
            {fault}
        return self.head(self.embed(tokens))
"""


def run_faulty(tmp_path, fault, mode="train"):
    (tmp_path / "faulty.py").write_text(FAULTY.format(fault=fault))
    worker = TorchWorker(folder=tmp_path)
    worker.open(MOE, mode, batch_size=4, parallel="ddp", model_ref=f"{tmp_path}/faulty.py:Model", model_source="factory", **TWO)
    return worker


def children_of(pid):
    found = []
    for name in os.listdir("/proc"):
        try:
            with open(f"/proc/{name}/stat", encoding="ascii") as file:
                if name.isdigit() and int(file.read().rsplit(")", 1)[1].split()[1]) == pid:
                    found.append(int(name))
        except OSError:
            pass
    return found


def wait_until_gone(pids):
    for pid in pids:
        try:
            end = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        select.select([end], [], [])
        os.close(end)


def test_what_a_rank_prints_goes_to_the_log(tmp_path):
    with run_faulty(tmp_path, "pass") as worker:
        assert worker.run(8)["steps"] == 8


def test_an_exception_on_rank_1_is_told_with_its_rank(tmp_path):
    with run_faulty(tmp_path, 'raise ValueError("no such expert")') as worker:
        ranks = children_of(worker.hello["pid"])
        assert len(ranks) == 1
        with pytest.raises(WorkerError) as found:
            worker.run(8)
        assert found.value.reply["kind"] == "model"
        assert "rank 1" in str(found.value) and "no such expert" in str(found.value)
    wait_until_gone(ranks)


def test_memory_that_runs_out_on_rank_1_is_oom(tmp_path):
    with run_faulty(tmp_path, "torch.empty(1 << 60)") as worker:
        with pytest.raises(WorkerError) as found:
            worker.run(8)
    assert found.value.reply["kind"] == "oom"
    assert "rank 1" in str(found.value)


def test_a_later_step_that_reaches_less_than_the_first_is_refused(tmp_path):
    with run_faulty(tmp_path, "return self.embed(tokens).repeat(1, 1, 27)[..., :211]") as worker, pytest.raises(WorkerError) as found:
        worker.run(8)
    assert found.value.reply["kind"] == "unsupported"
    assert str(found.value).endswith("DistributedDataParallel waits for it; the nearest is one device")


@pytest.mark.parametrize("mode, fault, said", [
    ("train", "os._exit(7)", "rank 1: its process exited with code 7"),
    # nothing is exchanged: rank 0 has done its own work, and waits for an answer
    ("infer", "os.kill(os.getpid(), signal.SIGKILL)", "rank 1: its process was killed by SIGKILL"),
])
def test_a_rank_that_is_gone_is_told(mode, fault, said, tmp_path):
    with run_faulty(tmp_path, fault, mode) as worker, pytest.raises(WorkerError) as found:
        worker.run(8)
    assert (found.value.reply["kind"], found.value.reply["text"]) == ("internal", said)


def test_no_rank_outlives_the_worker(tmp_path):
    worker = run_faulty(tmp_path, "pass")
    ranks = children_of(worker.hello["pid"])
    os.kill(worker.hello["pid"], signal.SIGKILL)
    wait_until_gone(ranks)
    worker.process.wait()


def test_a_port_that_is_taken_is_no_matter(tmp_path):
    """Ranks meet at a port of their own, whatever a launcher's variables say."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(taken.getsockname()[1]))
        try:
            with run_faulty(tmp_path, "pass") as worker:
                assert worker.run(2)["steps"] == 2
        finally:
            del os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"]


# --- through the whole program --------------------------------------------------------------------

SHORT = ["run", "--engine", "pytorch", "--seq", "16", "--batch", "2", "--warmup", "1", "--mode", "train"]


def test_a_sweep_over_layouts_with_the_published_package_unchanged(tmp_path):
    write_package(tmp_path, config=SMALL_CONFIG)
    done = start(tmp_path, *SHORT, "--model", "superintelligence-tiny", *TINY, "--steps", "3", "--devices", "cpu:2", "--parallel", "ddp", "fsdp")
    assert [line.split()[0] for line in done.stdout.splitlines() if line.startswith(("ddp ", "fsdp "))] == ["ddp", "fsdp"]
    start(tmp_path, *SHORT, "--model", "superintelligence-tiny", *TINY, "--steps", "3", "--out", "one")
    ddp, fsdp = read(tmp_path)
    (one,) = read(tmp_path, "one")
    assert one["parallel"] == "none" and one["devices_count"] == 1 and one["rank_skew_ms"] is None
    assert one["null_reasons"]["rank_skew_ms"] == "one_device"
    for record, layout in ((ddp, "ddp"), (fsdp, "fsdp")):
        assert record["verdict"] == "ok", record["reasons"]
        assert (record["device"], record["parallel"], record["devices_count"]) == (f"cpu:2 {layout}", layout, 2)
        assert record["model_source"].startswith("package superintelligence")
        assert record["tokens_per_step"] == 32
        assert record["tokens_per_sec_per_device"] == pytest.approx(record["tokens_per_sec"] / 2)
        assert record["rank_skew_ms"] >= 0
        assert record["params_total"] == one["params_total"]
        assert record["step_check"] == "same"
        # its dropout draws other numbers; at the start every loss is near that of a guess
        assert record["loss_last"] == pytest.approx(one["loss_last"], rel=0.05)
    assert len({record["cell_id"] for record in (one, ddp, fsdp)}) == 3


@pytest.mark.parametrize("words, said", [
    (["--devices", "cpu:2"], "--devices cpu:2 needs --parallel"),
    (["--parallel", "ddp"], "--parallel needs --devices"),
    (["--devices", "cpu:2", "--parallel", "none", "ddp"], "needs --parallel"),
    (["--devices", "cpu:1", "--parallel", "ddp"], "no list of several devices"),
    (["--devices", "cuda:3-1", "--parallel", "ddp"], "no list of several devices"),
    (["--devices", "cuda:0", "--parallel", "ddp"], "no list of several devices"),
    (["--devices", "cpu:2", "--device", "cpu", "--parallel", "ddp"], "exclude each other"),
    (["--engine", "native", "--devices", "cpu:2", "--parallel", "ddp"], "--devices is for --engine pytorch"),
    (["--devices", "cpu:2", "--parallel", "ddp,fsdp:2,tp:2"], "over how many devices each divides: ddp:2"),
    (["--devices", "cpu:2", "--parallel", "ddp", "fsdp:2,tp:2"], "'fsdp:2,tp:2' is for 4 devices, and there are 2; the nearest is tp"),
])
def test_what_makes_no_layout_is_refused(words, said, tmp_path):
    assert said in start(tmp_path, *SHORT, *words, code=2).stderr


def test_cards_that_are_not_there_are_a_record(tmp_path):
    start(tmp_path, *SHORT, "--model", "superintelligence-tiny", *TINY, "--steps", "1", "--devices", "900", "--parallel", "fsdp", code=4)
    (record,) = read(tmp_path)
    assert record["verdict"] == "unsupported"
    assert record["device"] == "cuda:0-899 fsdp"


def write_faulty(tmp_path, fault):
    (tmp_path / "faulty.py").write_text(FAULTY.format(fault=fault))
    return [*SHORT, "--model", f"{tmp_path}/faulty.py:Model", "--devices", "cpu:2", "--parallel", "ddp"]


def sweep_of_hanging(folder):
    words = write_faulty(folder, "signal.pause() if tokens.shape[1] == 16 else None")
    start(folder, *words, "--seq", "16", "24", "--steps", "9", "--timeout", "30s", code=3)
    return read(folder)


@pytest.fixture(name="begun_hanging", scope="module", autouse=True)
def begin_hanging(request, tmp_path_factory):
    """Before the file's other tests, as a rank hangs until its limit."""
    SERVER.python("pytorch")  # a server is not started by two threads
    with begun("of_hanging", request, sweep_of_hanging, tmp_path_factory.mktemp("hanging")) as sweep:
        yield sweep


@pytest.fixture(name="of_hanging")
def make_of_hanging(begun_hanging):
    return begun_hanging.result()


def test_a_rank_that_hangs_ends_as_timeout_and_the_next_cell_goes_on(of_hanging):
    hanging, good = of_hanging
    assert hanging["verdict"] == "timeout"
    assert good["verdict"] == "ok", good["reasons"]


def test_a_rank_that_is_killed_is_named_in_the_record(tmp_path):
    words = write_faulty(tmp_path, "os.kill(os.getpid(), signal.SIGKILL)")
    start(tmp_path, *words, "--steps", "9", code=(3, 4))  # whether a block of the steps before it was measured
    (record,) = read(tmp_path)
    assert record["verdict"] == "crashed"
    assert "rank 1: its process was killed by SIGKILL" in record["reasons"][0]["text"]


def test_kill_9_of_tokmark_leaves_no_rank_alive(tmp_path):
    pids = tmp_path / "pids"
    os.mkfifo(pids)
    words = write_faulty(
        tmp_path, 'open(os.environ["TOKMARK_TEST_PIDS"], "w").write(f"{os.getppid()} {os.getpid()}"); signal.pause()'
    )
    env = {**os.environ, "TOKMARK_PYTHON": sys.executable, "TOKMARK_TEST_PIDS": str(pids)}
    told = os.open(pids, os.O_RDONLY | os.O_NONBLOCK)
    tokmark = subprocess.Popen([release_binary(), *words], cwd=tmp_path, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    ended = os.pidfd_open(tokmark.pid)
    assert select.select([told, ended], [], [])[0] == [told]
    ranks = [int(pid) for pid in os.read(told, 100).split()]
    tokmark.kill()
    tokmark.wait()
    wait_until_gone(ranks)
    os.close(told)
    os.close(ended)
