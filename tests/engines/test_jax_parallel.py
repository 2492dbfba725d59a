"""The `jax` engine on several devices: two devices of JAX's on the CPUs, in one process."""
import pytest
import torch
from safetensors.torch import load_file

from jax_worker import GELU, MOE, JaxWorker
from reference_model import loss_of
from test_pytorch_model import distance, reference_run
from test_pytorch_run import TINY, read, start
from test_pytorch_worker import Case
from worker_client import WorkerError

TOLERANCE = 1e-4
LAYOUTS = ("ddp", "fsdp")
TWO = {"device": "cpu:2", "batch_size": 4}
SMALL = {**MOE, "layers_count": 1, "dropout": 0.0}




@pytest.mark.parametrize("spec, layout", [(SMALL, "ddp"), (SMALL, "fsdp"), (GELU, "fsdp")], ids=["moe-ddp", "moe-fsdp", "tied-fsdp"])
def test_gradients_and_parameters_equal_the_reference(spec, layout, tmp_path):
    case = Case({**spec, "dropout": 0.0}, tmp_path, rows=4)
    with JaxWorker() as worker:
        worker.open(case.spec, "train", weights_path=str(case.weights), parallel=layout, **TWO)
        worker.check(case.inputs, case.output, 0)
        written = load_file(case.output)
        worker.check(case.inputs, case.output, 3)
        trained = load_file(case.output)
    wanted = reference_run(case.spec, case.reference, case.tokens)
    assert distance(written["logits"], wanted) < TOLERANCE
    assert written["loss"].item() == pytest.approx(loss_of(wanted, case.tokens).item(), rel=TOLERANCE)
    for name, param in case.reference.named_parameters():
        assert distance(written[f"grad.{name}"], param.grad) < TOLERANCE, name
    optimizer = torch.optim.AdamW(case.reference.parameters(), lr=3e-4)
    for _ in range(3):
        optimizer.zero_grad()
        reference_run(case.spec, case.reference, case.tokens)
        optimizer.step()
    for name, param in case.reference.named_parameters():
        if not name.endswith("qkv_proj.bias"):  # no effect: AdamW blows rounding noise up to whole steps
            assert distance(trained[f"param.{name}"], param.detach()) < TOLERANCE, name


@pytest.mark.parametrize("mode, layout", [("infer", "ddp"), ("decode", "fsdp")])
def test_logits_of_all_rows_come_out_in_order(mode, layout, tmp_path):
    case = Case({**SMALL, "is_causal": True}, tmp_path, rows=4)
    with JaxWorker() as worker:
        worker.open(case.spec, mode, weights_path=str(case.weights), parallel=layout, **TWO)
        seen = worker.run(2)
        assert seen["nonfinite"] == 0 and seen["recompiles"] == 0
        worker.check(case.inputs, case.output)
    written = load_file(case.output)
    assert distance(written["logits"], reference_run(case.spec, case.reference, case.tokens)) < TOLERANCE


# --- blocks ---------------------------------------------------------------------------------------


def run_three(layout, model=SMALL, **changes):
    with JaxWorker() as worker:
        ready = worker.open(model, "train", batch_size=4, **layout, **changes)
        return ready, [worker.run(1) for _ in range(3)], worker.memory()


@pytest.fixture(scope="module")
def on_one():
    return run_three({})


@pytest.mark.parametrize("layout", LAYOUTS)
def test_steps_are_those_of_one_device(layout, on_one):
    """From the same seed: the same weights, tokens, losses and norms; a step is all rows of the cell."""
    ready, blocks, memory = run_three({"device": "cpu:2", "parallel": layout})
    one_ready, one_blocks, one_memory = on_one
    assert ready["params_total"] == one_ready["params_total"]
    for block, one in zip(blocks, one_blocks):
        assert block["loss"] == pytest.approx(one["loss"], rel=1e-5)
        assert block["grad_norm"] == pytest.approx(one["grad_norm"], rel=1e-4)
        assert block["recompiles"] == 0
    for part in ("weights_bytes", "optimizer_bytes"):
        share = memory["parts"][part] / one_memory["parts"][part]
        assert share == pytest.approx(0.5 if layout == "fsdp" else 1.0, rel=0.1), part  # small ones lie whole on both
    assert "rank_skew_ns" not in blocks[0]


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


# --- what cannot be -------------------------------------------------------------------------------


@pytest.mark.parametrize("changes, said", [
    ({"device": "cpu:2", "parallel": "ddp", "batch_size": 5}, "the nearest is --batch 4"),
    ({"device": "cuda:0-1", "parallel": "ddp", "batch_size": 4}, "JAX .* sees none"),
])
def test_what_a_layout_cannot_have_names_what_it_can(changes, said):
    with JaxWorker() as worker, pytest.raises(WorkerError, match=said) as found:
        worker.open(SMALL, "train", **changes)
    assert found.value.reply["kind"] == "unsupported"


# --- through the whole program --------------------------------------------------------------------


def test_a_sweep_over_layouts(tmp_path):
    """With dropout, which the check of the timed step must draw alike."""
    start(tmp_path, "run", "--engine", "jax", "--mode", "train", "--model", "superintelligence-tiny", *TINY, "--set", "dropout=0.1", "--seq", "16", "--batch", "2",
          "--warmup", "1", "--steps", "3", "--devices", "cpu:2", "--parallel", "ddp", "fsdp")
    for record, layout in zip(read(tmp_path), LAYOUTS, strict=True):
        assert record["verdict"] == "ok", record["reasons"]
        assert (record["device"], record["parallel"], record["devices_count"]) == (f"cpu:2 {layout}", layout, 2)
        assert record["tokens_per_step"] == 32
        assert record["tokens_per_sec_per_device"] == pytest.approx(record["tokens_per_sec"] / 2)
        assert record["step_check"] == "same"
        assert record["null_reasons"]["rank_skew_ms"] == "not_reported"
