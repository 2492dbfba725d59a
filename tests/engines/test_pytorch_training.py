"""How a step is trained: --recompute, --accumulate and --optimizer-dtype, on one device and on two processes."""
import copy

import pytest
import torch

from pytorch_worker import GELU, MOE, TorchWorker, spec_of
from reference_model import loss_of
from test_pytorch_model import CPU, distance, reference_run
from test_pytorch_run import TINY, read, start
from test_pytorch_worker import Case
from tokmark_worker.torch_adamw import AdamW
from tokmark_worker.torch_made import Source
from tokmark_worker.torch_model import build
from tokmark_worker.torch_recompute import recompute_blocks
from worker_client import WorkerError

TOLERANCE = 1e-4
ONE = {"threads": 1}
TWO = {"device": "cpu:2", "threads": 1}
FULL = {"recompute": "full"}


def run_two(options, model=MOE, **changes):
    """Ready, two blocks of a step, memory."""
    with TorchWorker() as worker:
        ready = worker.open(model, "train", batch_size=4, options=options, **{**ONE, **changes})
        return ready, [worker.run(1) for _ in range(2)], worker.memory()


@pytest.fixture(scope="module")
def plain():
    return run_two({})


def require_same_steps(blocks, wanted):
    for block, one in zip(blocks, wanted):
        assert block["loss"] == pytest.approx(one["loss"], rel=1e-5)
        assert block["grad_norm"] == pytest.approx(one["grad_norm"], rel=1e-4)


# --- the same training ----------------------------------------------------------------------------


@pytest.mark.parametrize("spec", [MOE, GELU], ids=["moe", "gelu"])
@pytest.mark.parametrize("options", [{"accumulate": 2}, {"accumulate": 4, **FULL}], ids=["two parts", "four, recomputed"])
def test_loss_logits_and_gradients_equal_the_reference(options, spec, tmp_path):
    case = Case(spec, tmp_path, rows=4)
    written = case.check("train", options=options, batch_size=4)
    wanted = reference_run(spec, case.reference, case.tokens)
    assert distance(written["logits"], wanted) < TOLERANCE
    assert written["loss"].item() == pytest.approx(loss_of(wanted, case.tokens).item(), rel=TOLERANCE)
    for name, param in case.reference.named_parameters():
        assert distance(written[f"grad.{name}"], param.grad) < TOLERANCE, name


def test_what_is_computed_again_has_the_same_dropout(plain):
    """Random numbers are part of the step: not one bit may change."""
    ready, blocks, _ = run_two(FULL)
    assert "2 blocks of Layer are computed again" in ready["notes"]
    for block, one in zip(blocks, plain[1]):
        assert (block["loss"], block["grad_norm"]) == (one["loss"], one["grad_norm"])


@pytest.mark.parametrize("layout", ["ddp", "fsdp"])
def test_parts_on_two_ranks_are_the_step_of_one(layout):
    model = {**MOE, "dropout": 0.0}
    _, wanted, _ = run_two({}, model)
    _, blocks, _ = run_two({"accumulate": 2, **FULL}, model, parallel=layout, **TWO)
    require_same_steps(blocks, wanted)


def test_a_timed_step_is_that_of_its_parts():
    """Dropout draws its numbers part by part, where the step is checked too."""
    with TorchWorker() as worker:
        worker.open(MOE, "train", batch_size=4, options={"accumulate": 2}, **ONE)
        expected = worker.ask({"type": "verify", "step": 0})
        block = worker.run(1)
    assert block["loss"] == pytest.approx(expected["loss"], rel=1e-6)
    assert block["grad_norm"] == pytest.approx(expected["grad_norm"], rel=1e-5)


def test_work_is_that_of_all_parts(plain):
    ready, _, _ = run_two({"accumulate": 4})
    assert ready["counted_flops"] == pytest.approx(plain[0]["counted_flops"], rel=1e-6)


# --- what it saves --------------------------------------------------------------------------------


def kept_bytes(parts_count, recomputes):
    """Of the tensors that autograd keeps for the backward pass of one part: counted, not timed."""
    model = build(spec_of(MOE), "routed", CPU, torch.float32, torch.float32)
    model.train()
    if recomputes:
        recompute_blocks(Source(model, "", MOE["vocab_size"], is_builtin=True))
    tokens = torch.arange(160).reshape(4, 40).chunk(parts_count)[0]
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        held.append(tensor)
        return tensor

    held = []
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = loss_of(model(tokens), tokens)
    loss.backward()
    weights = {param.untyped_storage().data_ptr() for param in model.parameters()}
    return sum(size for at, size in kept.items() if at not in weights)


def test_less_is_kept_for_the_backward_pass():
    whole = kept_bytes(1, False)
    assert kept_bytes(1, True) < 0.4 * whole
    assert kept_bytes(4, False) < 0.3 * whole


# --- the optimizer --------------------------------------------------------------------------------


def steps_of(optimizer, params, after=lambda: None):
    generator = torch.Generator().manual_seed(3)
    for _ in range(5):
        for param in params:
            param.grad = torch.randn(param.shape, generator=generator).to(param.dtype)
        optimizer.step()
        after()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_moments_of_another_type_are_pytorch_s_rounded(dtype, monkeypatch):
    """PyTorch's own AdamW, its moments rounded after each step, is the reference."""
    monkeypatch.setattr("tokmark_worker.torch_adamw._PART", 50)  # the tensors are taken apart
    torch.manual_seed(1)
    ours = [torch.nn.Parameter(torch.randn(shape)) for shape in ((7, 9), (64,), (3, 4, 5), (1,))]
    theirs = copy.deepcopy(ours)
    reference = torch.optim.AdamW(theirs, lr=1e-2)

    def round_moments():
        for state in reference.state.values():
            for name in ("exp_avg", "exp_avg_sq"):
                state[name] = state[name].to(dtype).float()

    steps_of(AdamW(ours, 1e-2, dtype), ours)
    steps_of(reference, theirs, round_moments)
    for a, b in zip(ours, theirs):
        assert torch.allclose(a, b, rtol=1e-5, atol=1e-7)


def test_moments_in_bf16_take_half(plain):
    ready, _, memory = run_two({"optimizer_dtype": "bf16"})
    assert "AdamW with moments in bf16" in ready["notes"]
    share = memory["parts"]["optimizer_bytes"] / plain[2]["parts"]["optimizer_bytes"]
    assert share == pytest.approx(0.5, rel=1e-3)


def test_moments_in_fp32_beside_parameters_in_bf16():
    _, blocks, memory = run_two({"optimizer_dtype": "fp32"}, precision="bf16-pure")
    assert memory["parts"]["optimizer_bytes"] == pytest.approx(4 * memory["parts"]["weights_bytes"], rel=1e-3)
    assert blocks[1]["loss"] > 0


def test_sharded_moments_in_bf16(tmp_path):
    case = Case(MOE, tmp_path, rows=4)
    one = case.check("train", train_steps=2, options={"optimizer_dtype": "bf16"}, batch_size=4)
    two = case.check("train", train_steps=2, options={"optimizer_dtype": "bf16"}, batch_size=4, parallel="fsdp", **TWO)
    for name, value in one.items():
        if not name.endswith("qkv_proj.bias"):  # no effect: AdamW blows rounding noise up to whole steps
            assert distance(two[name], value.double()) < TOLERANCE, name


# --- what cannot be -------------------------------------------------------------------------------


@pytest.mark.parametrize("batch, changes, said", [
    (5, ONE, "5 rows do not divide into 2 parts; the nearest is --batch 4"),
    (1, ONE, "the nearest is --batch 2"),
    (6, {**TWO, "parallel": "ddp"}, "6 rows do not divide over 2 devices into 2 parts; the nearest is --batch 8"),
])
def test_rows_that_do_not_divide_name_the_nearest_batch(batch, changes, said):
    with TorchWorker() as worker, pytest.raises(WorkerError) as found:
        worker.open(MOE, "train", batch_size=batch, options={"accumulate": 2}, **changes)
    assert found.value.reply["kind"] == "unsupported"
    assert said in str(found.value)


def test_a_model_without_blocks_has_nothing_to_compute_again(tmp_path):
    (tmp_path / "flat.py").write_text(
        "from torch import nn\n"
        "class Model(nn.Sequential):\n"
        "    def __init__(self, vocab_size):\n"
        "        super().__init__(nn.Embedding(vocab_size, 8), nn.Linear(8, vocab_size))\n"
    )
    with TorchWorker(folder=tmp_path) as worker, pytest.raises(WorkerError) as found:
        worker.open(MOE, "train", model_ref=f"{tmp_path}/flat.py:Model", model_source="factory", options=FULL, **ONE)
    assert found.value.reply["kind"] == "unsupported"
    assert "the model has no blocks" in str(found.value)


# --- through the whole program --------------------------------------------------------------------

SHORT = ["run", "--engine", "pytorch", "--model", "superintelligence-tiny", *TINY, "--model-source", "builtin",
         "--seq", "16", "--batch", "4", "--warmup", "1", "--steps", "3"]
FLAGS = ["--recompute", "full", "--accumulate", "2", "--optimizer-dtype", "bf16"]


def test_records_and_ids_say_how_it_was_trained(tmp_path):
    start(tmp_path, *SHORT, *FLAGS)
    start(tmp_path, *SHORT, "--out", "plain")
    train, infer = read(tmp_path)
    plain_train, plain_infer = read(tmp_path, "plain")
    assert train["verdict"] == "ok", train["reasons"]
    assert (train["recompute"], train["accumulate"], train["optimizer_dtype"]) == ("full", 2, "bf16")
    assert (plain_train["recompute"], plain_train["accumulate"], plain_train["optimizer_dtype"]) == ("off", 1, "fp32")
    assert train["tokens_per_step"] == plain_train["tokens_per_step"] == 64
    assert train["step_check"] == "same"
    assert train["cell_id"] != plain_train["cell_id"]
    # a forward pass alone has none of them
    assert infer["cell_id"] == plain_infer["cell_id"]
    assert infer["recompute"] is None and infer["null_reasons"]["accumulate"] == "not_train"


def test_a_dry_run_says_how_it_would_be_trained(tmp_path):
    done = start(tmp_path, *SHORT, *FLAGS, "--dry-run")
    assert "recompute full; a step in 2 parts; moments in bf16; stop after" in done.stdout


@pytest.mark.parametrize("flag, value", [("--recompute", "full"), ("--accumulate", "2"), ("--optimizer-dtype", "bf16")])
def test_other_engines_refuse(flag, value, tmp_path):
    words = ["run", "--engine", "native", flag, value, "--mode", "train", "--steps", "1"]
    assert f"{flag} is for --engine pytorch" in start(tmp_path, *words, code=2).stderr
