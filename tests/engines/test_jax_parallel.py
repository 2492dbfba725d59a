"""The `jax` engine on several devices: two or four devices of JAX's on the CPUs, in one process. With two it is the tests'
own but where the whole program is tested, with four a worker's."""
import pytest
from safetensors.torch import load_file

from jax_worker import GELU, MOE, SERVER, JaxHere, JaxWorker, refusal
from reference_model import loss_of
from test_check_pytorch import check, verdicts
from test_pytorch_model import distance, reference_run
from test_pytorch_run import TINY, read, start
from test_pytorch_worker import Case
from worker_client import WorkerError

TOLERANCE = 1e-4
LAYOUTS = ("ddp", "fsdp", "tp", "ep")
TWO = {"device": "cpu:2", "batch_size": 4}
FOUR = {"device": "cpu:4", "batch_size": 4}
SMALL = {**MOE, "layers_count": 1, "dropout": 0.0}
# Heads and experts that divide over two.
HALVES = {"heads_count": 2, "experts_count": 4}
EVEN = {**SMALL, **HALVES, "rotary_dim": 24}


def over(layout):
    return {**(FOUR if "," in layout else TWO), "parallel": layout}


def cell_on(device):
    return JaxWorker() if device == "cpu:4" else JaxHere()


# 3 heads and 5 experts do not divide over two: fsdp divides other dimensions
@pytest.mark.parametrize(
    "spec, layout",
    [(SMALL, "fsdp"), (GELU, "fsdp"), ({**GELU, "heads_count": 2}, "tp"), (EVEN, "ddp:2,fsdp:2"), (EVEN, "fsdp:2,tp:2"), (EVEN, "fsdp:2,ep:2")],
    ids=["moe-fsdp", "tied-fsdp", "tied-tp", "moe-ddp-fsdp", "moe-fsdp-tp", "moe-fsdp-ep"],
)
def test_gradients_and_parameters_equal_the_reference(spec, layout, tmp_path):
    """After three steps."""
    case = Case({**spec, "dropout": 0.0}, tmp_path, rows=4)
    changes = over(layout)
    with cell_on(changes["device"]) as worker:
        worker.open(case.spec, "train", weights_path=str(case.weights), **changes)
        worker.check(case.inputs, case.output, 3)
    written = load_file(case.output)
    case.train_reference(3)
    wanted = reference_run(case.spec, case.reference, case.tokens)
    assert distance(written["logits"], wanted) < TOLERANCE
    assert written["loss"].item() == pytest.approx(loss_of(wanted, case.tokens).item(), rel=TOLERANCE)
    for name, param in case.reference.named_parameters():
        assert distance(written[f"grad.{name}"], param.grad) < TOLERANCE, name
    case.require_parameters(written)


@pytest.mark.parametrize("mode, layout", [("infer", "ddp"), ("decode", "fsdp"), ("decode", "tp"), ("decode", "ddp:2,tp:2"), ("decode", "fsdp:2,ep:2")])
def test_logits_of_all_rows_come_out_in_order(mode, layout, tmp_path):
    rows = 3 if layout == "tp" else 4  # which it does not divide
    case = Case({**EVEN, "is_causal": True}, tmp_path, rows=rows)
    changes = {**over(layout), "batch_size": rows}
    with cell_on(changes["device"]) as worker:
        worker.open(case.spec, mode, weights_path=str(case.weights), **changes)
        seen = worker.run(2)
        assert seen["nonfinite"] == 0 and seen["recompiles"] == 0
        worker.check(case.inputs, case.output)
    written = load_file(case.output)
    assert distance(written["logits"], reference_run(case.spec, case.reference, case.tokens)) < TOLERANCE


# --- blocks ---------------------------------------------------------------------------------------


def run_three(layout, model=SMALL, **changes):
    with cell_on(layout.get("device")) as worker:
        ready = worker.open(model, "train", **{"batch_size": 4, **layout, **changes})
        return ready, [worker.run(1) for _ in range(3)], worker.memory()


@pytest.fixture(scope="module")
def on_one():
    return run_three({}, EVEN)


@pytest.mark.parametrize("layout", [*LAYOUTS, "fsdp:2,tp:2"])
def test_steps_are_those_of_one_device(layout, on_one):
    """From the same seed: the same weights, tokens, losses and norms; a step is all rows of the cell."""
    ready, blocks, memory = run_three(over(layout), EVEN)
    one_ready, one_blocks, one_memory = on_one
    assert ready["params_total"] == one_ready["params_total"]
    for block, one in zip(blocks, one_blocks):
        assert block["loss"] == pytest.approx(one["loss"], rel=1e-5)
        assert block["grad_norm"] == pytest.approx(one["grad_norm"], rel=1e-4)
        assert block["recompiles"] == 0
    kind = layout.rpartition(",")[2].removesuffix(":2")
    divided = {"ddp": 0, "fsdp": ready["params_total"], "tp": divided_by_tp(EVEN), "ep": experts_of(EVEN)}[kind]
    wanted = (1 - divided / 2 / ready["params_total"]) / (2 if layout.startswith("fsdp:") else 1)
    for part in ("weights_bytes", "optimizer_bytes"):
        share = memory["parts"][part] / one_memory["parts"][part]
        # fsdp leaves small ones whole on both
        assert share == pytest.approx(wanted, rel=0.1 if "fsdp" in layout else 1e-3), part
    assert "rank_skew_ns" not in blocks[0]


def divided_by_tp(spec):
    dim, hidden = spec["dim"], spec["ffn_hidden"]
    return 4 * dim * dim + 3 * dim + spec["experts_count"] * (3 * dim * hidden + 2 * hidden)


def experts_of(spec):
    dim, hidden = spec["dim"], spec["ffn_hidden"]
    return spec["experts_count"] * (3 * dim * hidden + 2 * hidden + dim)


USERS = """
import jax
import jax.numpy as jnp


class Model:
    '''Width 64, so that its matrices are worth cutting.'''

    def __init__(self, vocab_size):
        self.vocab_size = vocab_size

    def init(self, key):
        first, second = jax.random.split(key)
        return {"table": jax.random.normal(first, (self.vocab_size, 64)) * 0.02,
                "head": jax.random.normal(second, (64, self.vocab_size)) * 0.02}

    def apply(self, params, tokens):
        return jnp.tanh(params["table"][tokens]) @ params["head"]
"""


def test_a_users_model_runs_unchanged(tmp_path):
    (tmp_path / "users.py").write_text(USERS)
    own = {"model": {**SMALL, "vocab_size": 128}, "model_ref": f"{tmp_path}/users.py:Model", "model_source": "factory"}
    one = run_three({}, **own)
    two = run_three({"device": "cpu:2", "parallel": "fsdp"}, **own)
    for block, other in zip(two[1], one[1]):
        assert block["loss"] == pytest.approx(other["loss"], rel=1e-5)
    assert two[2]["parts"]["weights_bytes"] == one[2]["parts"]["weights_bytes"] / 2
    for layout in ("tp", "ep"):
        said = refused({"device": "cpu:2", "parallel": layout, "batch_size": 4, **own})
        assert said.endswith("whose matrices and experts are known; the nearest is --parallel fsdp")


# --- what cannot be -------------------------------------------------------------------------------


def refused(changes):
    changes = {"model": SMALL, "mode": "train", "seq_len": 40, **changes}
    if changes["device"] == "cpu:4":
        with JaxWorker() as worker, pytest.raises(WorkerError) as found:
            worker.open(**changes)
        reply = found.value.reply
    else:
        reply = refusal(**changes)
    assert reply["kind"] == "unsupported"
    return reply["text"]


@pytest.mark.parametrize("changes, said", [
    ({"device": "cpu:2", "parallel": "ddp", "batch_size": 5}, "the nearest is --batch 4"),
    ({"device": "cpu:2", "parallel": "ep", "batch_size": 5, "model": EVEN}, "the nearest is --batch 4"),
    ({"device": "cuda:0-1", "parallel": "ddp", "batch_size": 4}, " sees none"),
    ({**TWO, "parallel": "tp"}, "3 heads do not divide over 2 devices; the nearest is one device"),
    ({**TWO, "parallel": "tp", "model": {**EVEN, "ffn_hidden": 81}}, "81 columns of a feed-forward do not divide"),
    ({**TWO, "parallel": "ep"}, "5 experts do not divide over 2 devices; the nearest is one device"),
    ({**TWO, "parallel": "ep", "model": GELU}, "the nearest is --parallel ddp"),
    ({**FOUR, "parallel": "ddp:2,tp:2"}, "3 heads do not divide over 2 devices; the nearest is --parallel ddp"),
    ({**TWO, "parallel": "ep", "model": EVEN, "options": {"moe": "published"}}, "the nearest is --parallel ddp"),
])
def test_what_a_layout_cannot_have_names_what_it_can(changes, said):
    assert said in refused(changes)


# --- through the whole program --------------------------------------------------------------------


def test_a_sweep_over_layouts(tmp_path):
    """With dropout, which the check of the timed step must draw alike."""
    layouts = ("tp", "ep")  # whose keys differ by device, as those of ddp, fsdp and products do
    start(tmp_path, "run", "--engine", "jax", "--mode", "train", "--model", "superintelligence-tiny", *TINY, "--set", "dropout=0.1", "--seq", "16", "--batch", "2",
          "--warmup", "1", "--steps", "3", "--devices", "cpu:2", "--parallel", *layouts, python=SERVER.python("jax"))
    for record, layout in zip(read(tmp_path), layouts, strict=True):
        assert record["verdict"] == "ok", record["reasons"]
        assert (record["device"], record["parallel"], record["devices_count"]) == (f"cpu:2 {layout}", layout, 2)
        assert record["tokens_per_step"] == 32
        assert record["tokens_per_sec_per_device"] == pytest.approx(record["tokens_per_sec"] / 2)
        assert record["step_check"] == "same"
        assert record["null_reasons"]["rank_skew_ms"] == "not_reported"
        assert record["mem_predicted_mb"] > 0


@pytest.mark.parametrize("layout", ["tp", "ep"])
def test_check_compares_a_layout_with_an_engine_on_one_device(layout, tmp_path):
    jax = SERVER.exec_engine("jax")
    small = {"dim": 48, "layers_count": 1, "ffn_hidden": 80, "vocab_size": 211, "rotary_dim": 6, **HALVES}
    _, lines = check(tmp_path, "--device", f"{jax}=cpu:2", "--parallel", layout, "--precision", "fp32", "bf16",
                     "--seq", "16", small=small, engines=["native", jax])
    assert verdicts(lines) == {("native", "fp32"): "ok", ("native", "bf16"): "unsupported",
                               ("jax", "fp32"): "ok", ("jax", "bf16"): "ok"}
    fp32, bf16 = lines[2:]
    assert (fp32["device"], fp32["reference"]["device"]) == (f"cpu:2 {layout}", "cpu")
    assert fp32["kinds"]["weights"]["error"] == 0 == bf16["kinds"]["weights"]["error"]
    assert 0 < fp32["kinds"]["gradients"]["error"] < 1e-4
    assert bf16["kinds"]["logits"]["error"] > 1e-4  # it was bf16 in fact
    assert fp32["kinds"]["gradients"]["tensors"] == fp32["kinds"]["weights"]["tensors"] > 25
