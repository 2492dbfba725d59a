"""The `jax` engine's worker, spoken to as a host does."""
import json
import re
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from jax_worker import GELU, MOE, PYTHON_SOURCES, SERVER, SPECS, JaxHere, JaxWorker, refusal
from pytorch_worker import TorchWorker
from reference_model import loss_of
from test_pytorch_model import distance, reference_run
from test_pytorch_worker import TRANSCRIPTS, Case
from worker_client import WorkerError
from waiting import TIMEOUT_S

TOLERANCE = 1e-4
TINY = {**MOE, "max_seq_len": 8, "layers_count": 1}
PLAIN = {**GELU, "max_seq_len": 8, "layers_count": 1}


@pytest.mark.parametrize("name", TRANSCRIPTS.names())
def test_transcript(name):
    TRANSCRIPTS.run_transcript(name, SERVER.start("jax", is_text=False))


def test_a_refused_cell_leaves_the_worker_up():
    with JaxWorker() as worker:
        with pytest.raises(WorkerError) as found:
            worker.open(TINY, "infer", 8, precision="int8")
        assert found.value.reply["kind"] == "unsupported"
        with pytest.raises(WorkerError, match="no model is open"):
            worker.run(1)
        assert worker.memory()["rss_bytes"] > 0


# --- what comes out ------------------------------------------------------------------------------


class JaxCase(Case):
    def check(self, mode, train_steps=0, **changes):
        with JaxHere() as here:
            self.ready = here.open(self.spec, mode, weights_path=str(self.weights), **changes)
            self.block = here.run(1)
            self.reply = here.check(self.inputs, self.output, train_steps)
        return load_file(self.output)


def test_check_of_training_equals_the_reference_and_pytorch(tmp_path):
    """Every gradient, and parameters after five AdamW steps."""
    spec = {**MOE, "layers_count": 1, "dropout": 0.0}
    case = Case(spec, tmp_path)
    with JaxHere() as worker:
        worker.open(spec, "train", weights_path=str(case.weights))
        before = worker.check(case.inputs, case.output)
        written = load_file(case.output)
        worker.check(case.inputs, case.output, 5)
        trained = load_file(case.output)
        assert worker.run(2)["nonfinite"] == 0
        worker.check(case.inputs, case.output, 0)
        stepped = load_file(case.output)["loss"].item()
        assert abs(stepped - before["loss"]) > 1e-4, "it is of the weights as they are now"
    wanted = reference_run(spec, case.reference, case.tokens)
    names = {name for name, _ in case.reference.named_parameters()}
    assert set(written) == {"logits", "loss", *(f"grad.{name}" for name in names)}
    assert before["tensors"] == len(written)
    assert set(trained) == set(written) | {f"param.{name}" for name in names}
    assert distance(written["logits"], wanted) < TOLERANCE
    loss = loss_of(wanted, case.tokens).item()
    assert written["loss"].item() == pytest.approx(loss, rel=TOLERANCE)
    assert before["loss"] == pytest.approx(loss, rel=TOLERANCE)
    for name, param in case.reference.named_parameters():
        assert distance(written[f"grad.{name}"], param.grad) < TOLERANCE, name
    with TorchWorker() as worker:
        worker.open(spec, "train", weights_path=str(case.weights))
        worker.check(case.inputs, case.output, 5)
    theirs = load_file(case.output)
    assert set(theirs) == set(trained)
    for name, tensor in theirs.items():
        # where a bias has no effect AdamW blows rounding noise up to whole steps
        if not name.endswith("qkv_proj.bias"):
            assert distance(trained[name], tensor.double()) < TOLERANCE, name


COUNTED = """
import jax
import jax.numpy as jnp

traced = 0

class Model:
    def __init__(self, vocab_size):
        self.vocab_size = vocab_size

    def init(self, key):
        return {"table": jax.random.normal(key, (self.vocab_size, 8))}

    def apply(self, params, tokens):
        global traced
        traced += 1
        return params["table"][tokens] @ params["table"].T
"""


def test_a_check_of_training_has_the_model_once_in_its_program(tmp_path):
    """Its logits and its loss are of the same forward."""
    (tmp_path / "counted.py").write_text(COUNTED)
    tokens = torch.arange(16, dtype=torch.int32).reshape(2, 8)
    save_file({"tokens": tokens, "targets": tokens.clone()}, tmp_path / "inputs")
    with JaxHere(tmp_path) as here:
        here.open(TINY, "train", 8, model_ref="counted:Model", model_source="factory")
        counted = sys.modules["counted"]
        before = counted.traced
        reply = here.check(tmp_path / "inputs", tmp_path / "output", 2)
        assert counted.traced - before == 1
    written = load_file(tmp_path / "output")
    wanted = loss_of(written["logits"].double(), tokens.long()).item()
    assert written["loss"].item() == pytest.approx(wanted, rel=TOLERANCE) == reply["loss"]


def test_adamw_on_equal_gradients_equals_torch_s(tmp_path):
    """Ten steps of the worker's own loop, on the tokens of a cell, against torch.optim.AdamW."""
    spec = {**PLAIN, "dropout": 0.0}
    case = Case(spec, tmp_path)
    losses = {}
    for worker_class in (JaxHere, TorchWorker):
        with worker_class() as worker:
            worker.open(spec, "train", 8, weights_path=str(case.weights))
            blocks = [worker.run(steps) for steps in (1, 9)]
            losses[worker_class] = [
                (block["loss"], block["grad_norm"]) for block in blocks
            ]
    for ours, theirs in zip(losses[JaxHere], losses[TorchWorker]):
        assert ours == pytest.approx(theirs, rel=TOLERANCE)


@pytest.mark.parametrize("name", ["moe_causal"])
def test_check_of_decoding_equals_inference_and_the_reference(name, tmp_path):
    case = JaxCase({**SPECS[name], "layers_count": 1}, tmp_path)
    decoded = case.check("decode")
    inferred = case.check("infer", options={"moe": "published"})
    wanted = reference_run(case.spec, case.reference, case.tokens)
    assert set(inferred) == set(decoded) == {"logits", "loss"}
    assert distance(decoded["logits"], wanted) < TOLERANCE
    assert distance(inferred["logits"], wanted) < TOLERANCE


def test_check_names_what_is_wrong(tmp_path):
    case = Case(TINY, tmp_path)
    with JaxWorker() as worker:
        worker.open(TINY, "infer", 8, weights_path=str(case.weights))
        save_file({"tokens": torch.full((1, 8), 211), "targets": torch.zeros(1, 8)}, case.inputs)
        with pytest.raises(WorkerError, match="tokens holds 211; the vocabulary has 211"):
            worker.check(case.inputs, case.output)
        zeros = torch.zeros(1, 9, dtype=torch.int32)
        save_file({"tokens": zeros, "targets": zeros.clone()}, case.inputs)
        with pytest.raises(WorkerError, match="the most is 8"):
            worker.check(case.inputs, case.output)
        save_file({"tokens": zeros}, case.inputs)
        with pytest.raises(WorkerError, match="no tensor 'targets'"):
            worker.check(case.inputs, case.output)
        assert worker.run(1)["steps"] == 1


def test_weights_are_read_by_name_and_shape(tmp_path):
    case = Case({**PLAIN, "max_seq_len": 40}, tmp_path)
    state = load_file(case.weights)
    path = tmp_path / "changed.safetensors"
    # a longer position table serves, and so do leading ones
    state["position_embedding"] = state["position_embedding"].unsqueeze(0)
    save_file(state, path)
    with JaxHere() as worker:
        worker.open(PLAIN, "infer", 8, weights_path=str(path))
    state["norm.weight"] = torch.ones(47)
    save_file(state, path)
    text = refusal(PLAIN, weights_path=str(path))["text"]
    assert "tensor 'norm.weight' has shape (47,)" in text
    save_file({**state, "norm.weight": torch.ones(48), "norm.scale": torch.ones(48)}, path)
    assert "1 tensors that the model has not: 'norm.scale'" in refusal(PLAIN, weights_path=str(path))["text"]
    del state["norm.weight"]
    save_file(state, path)
    reply = refusal(PLAIN, weights_path=str(path))
    assert reply["kind"] == "model" and "no tensor 'norm.weight'" in reply["text"]


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module._orig_mod."])
def test_weights_of_a_wrapped_model_are_the_same_weights(prefix, tmp_path):
    case = Case({**PLAIN, "max_seq_len": 40}, tmp_path)
    path = tmp_path / "wrapped.safetensors"
    save_file({prefix + name: tensor for name, tensor in load_file(case.weights).items()}, path)
    wanted = tmp_path / "wanted"
    for weights, output in ((case.weights, wanted), (path, case.output)):
        with JaxHere() as here:
            ready = here.open(case.spec, "infer", 8, weights_path=str(weights))
            here.check(case.inputs, output)
    assert f"weights by other prefixes: {prefix}" in ready["notes"]
    assert torch.equal(load_file(wanted)["logits"], load_file(case.output)["logits"])


# --- what really ran -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "precision, mode, param, compute",
    [
        ("fp32", "train", "fp32", "fp32"),
        ("bf16", "train", "fp32", "bf16"),
        ("bf16-pure", "decode", "bf16", "bf16"),
        ("fp16", "infer", "fp32", "fp16"),
    ],
)
def test_precisions_are_what_they_say(precision, mode, param, compute):
    with JaxHere() as worker:
        ready = worker.open(PLAIN, mode, 8, precision=precision)
        assert ready["dtype_param"] == param
        assert ready["dtype_compute"].split(",")[0].split(" ")[0] == compute
        assert ready["dtype_accumulate"] == "fp32" and ready["tf32"] is False
        assert re.match(r"xla cpu, \w.* matmuls", ready["backend"]) and ready["threads"] == 2
        matmul = "highest" if precision == "fp32" else "default"
        assert f"matmul precision {matmul}" in ready["notes"]
        block = worker.run(2)
        assert block["nonfinite"] == 0
        if mode == "train":
            assert block["loss"] > 0 and block["grad_norm"] > 0


def test_bf16_rounds_as_bf16_does(tmp_path):
    """Not by its own word: the figures show it."""
    case = JaxCase({**SPECS["gelu"], "layers_count": 1}, tmp_path)
    wanted = reference_run(case.spec, case.reference, case.tokens)
    logits = case.check("infer", precision="bf16")["logits"]
    assert torch.equal(logits, logits.bfloat16().float())
    assert 1e-4 < distance(logits, wanted) < 0.1


def test_what_a_cpu_cannot_do_is_unsupported_and_says_what_it_can():
    cases = [
        ({"precision": "int8"}, "bf16"),
        ({"precision": "tf32"}, "fp32"),
        ({"precision": "fp16", "mode": "train"}, "bf16"),
        ({"device": "vulkan"}, "devices are cpu, gpu, cuda, cuda:N, tpu"),
        ({"device": "cuda:x"}, "cuda:N"),
        ({"device": "cpu:7"}, "the nearest is cpu"),
        ({"model_ref": "hf:/tmp"}, "pkg.module:factory"),
        ({"options": {"compile": "max-autotune"}}, "jax always compiles"),
    ]
    if not torch.cuda.is_available():
        cases += [({"device": name}, "the nearest is cpu") for name in ("cuda:1", "tpu")]
    for changes, words in cases:
        reply = refusal(TINY, **changes)
        assert reply["kind"] == "unsupported" and words in reply["text"], reply


def test_platforms_that_hide_a_device_are_named():
    """JAX_PLATFORMS=cpu is this process's."""
    for name, first in (("gpu", "cuda"), ("tpu:1", "tpu")):
        text = refusal(TINY, device=name)["text"]
        assert f"JAX_PLATFORMS=cpu lets it look for cpu only; unset it, or set it to {first}" in text


def test_ready_says_which_model_tokens_and_costs(tmp_path):
    data = tmp_path / "data.txt"
    data.write_bytes(bytes(range(100)))
    with JaxHere() as worker:
        ready = worker.open(
            TINY, "train", 8, data="auto", data_path=str(data),
            options={"set": {"ffn_hidden": "96"}, "x_new": 1},
        )
        assert ready["model_source"] == "tokmark jax (routed)"
        assert ready["tokens_data"] == f"text {data} (100 tokens)"
        assert "optax adamw" in ready["notes"] and "experts tiles" in ready["backend"]
        for name in ("load_ns", "compile_ns", "trace_ns", "compiler_flops"):
            assert ready[name] > 0, name
        assert 0 < ready["params_active"] < ready["params_total"]
        assert ready["params_total"] > 3 * 5 * 96 * 48
        predicted = ready["memory_predicted"]["total_bytes"]
        assert predicted > 3 * 4 * ready["params_total"]  # weights and two moments
        assert worker.run(3)["nonfinite"] == 0
    reply = refusal(TINY, options={"set": {"dims": "96"}})
    assert reply["kind"] == "model" and "did you mean 'dim'" in reply["text"]


def test_published_computes_every_expert_and_costs_more():
    """XLA's own count, of programs that differ in the form only; tiles lie in a loop, whose body it
    counts once, so the comparison is between numbers of experts."""
    flops = []
    for count in (2, 4):
        with JaxHere() as worker:
            spec = {**TINY, "experts_count": count}
            ready = worker.open(spec, "infer", 8, options={"moe": "published"})
            assert "every expert" in ready["backend"]
            flops.append(ready["compiler_flops"])
    hidden = 2 * 2 * 16 * 3 * 48 * 80  # of two experts more: 16 tokens, three matmuls
    assert flops[1] - flops[0] == pytest.approx(hidden, rel=0.1)


def test_work_grows_with_the_cell_so_nothing_is_folded_away():
    flops = {}
    for rows in (1, 8):
        with JaxHere() as worker:
            ready = worker.open(PLAIN, "infer", 8, rows)
            flops[rows] = ready["compiler_flops"]
            tokens, weights = 4 * rows * 8, 4 * ready["params_total"]
            held = ready["memory_predicted"]["other_bytes"]
            assert tokens + weights <= held < tokens + weights + 4096  # the arguments, all of them
    assert flops[8] == pytest.approx(8 * flops[1], rel=0.02)


def test_the_same_seed_gives_the_same_losses_however_blocks_are_cut():
    losses = []
    for blocks in ([1] * 6, [2, 4]):
        with JaxHere() as worker:
            worker.open({**PLAIN, "dropout": 0.3}, "train", 8, threads=1)
            losses.append([worker.run(steps)["loss"] for steps in blocks][-1])
    assert losses[0] == losses[1]


# --- time and memory -----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["train", "decode"])
def test_times_add_up_and_lie_within_the_request(mode):
    with JaxWorker() as worker:
        worker.open(PLAIN, mode, 8)
        before = time.monotonic_ns()
        block = worker.run(20)
        between = time.monotonic_ns() - before
        assert sum(block["step_ns"]) == block["window_ns"] <= between
        apart = block["prepare_ns"], block["observe_ns"]
        assert min(apart) > 0 and sum(apart) + block["window_ns"] <= between
        assert len(block["step_ns"]) == 20 and min(block["step_ns"]) > 0
        assert "device_ns" not in block and block["recompiles"] == 0
        block = worker.run(20, "block")
        assert "step_ns" not in block and 0 < block["window_ns"]
        assert block["recompiles"] == 0
        if mode == "decode":  # k and v, rows, positions, dim, fp32
            assert worker.memory()["parts"]["kv_cache_bytes"] == 2 * 2 * 8 * 48 * 4


def test_memory_figures_hold_what_they_must():
    spec = {**GELU, "vocab_size": 60000, "dim": 96, "heads_count": 4, "layers_count": 1}
    with JaxWorker(is_started=True) as worker:
        ready = worker.open(spec, "train", 8)
        worker.run(2)
        memory = worker.memory()
        weights = 4 * ready["params_total"]
    assert memory["parts"]["weights_bytes"] == weights
    assert memory["parts"]["optimizer_bytes"] == 2 * weights + 4  # and the count of steps
    grown = memory["rss_peak_bytes"] - memory["rss_baseline_bytes"]
    assert 3 * weights < grown < 4 * weights + (800 << 20)
    assert "allocated_bytes" not in memory  # a CPU has no allocator that could say


def test_a_cell_that_cannot_fit_is_refused_before_anything_is_allocated():
    huge = {**MOE, "dim": 8192, "heads_count": 8, "ffn_hidden": 65536, "layers_count": 96}
    reply = refusal(huge, mode="train", seq_len=40)
    assert reply["kind"] == "oom" and reply["scope"] == "host"
    assert reply["needed_bytes"] > 16 * 96 * 5 * 3 * 8192 * 65536 > reply["available_bytes"]


def test_activations_that_cannot_fit_are_refused_by_xla_s_plan():
    """Weights and logits are small here: the scores of attention are not."""
    long = {**PLAIN, "max_seq_len": 1 << 14, "vocab_size": 16, "dim": 1024, "heads_count": 1024}
    reply = refusal(long, mode="train", seq_len=1 << 14, batch_size=8)
    assert reply["kind"] == "oom" and reply["scope"] == "host", reply
    assert reply["needed_bytes"] > 4 * 8 * 1024 * (1 << 28) > reply["available_bytes"]


# --- the process ---------------------------------------------------------------------------------


def ask_alone(setup, tmp_path):
    """Replies of a worker whose interpreter runs `setup` first."""
    run = subprocess.run(
        [sys.executable, "-c",
         f"import sys; sys.path.insert(0, {str(PYTHON_SOURCES)!r}); sys.argv[1:] = ['jax']\n"
         f"{setup}\nimport runpy; runpy.run_module('tokmark_worker', run_name='__main__')"],
        input=b'{"type":"hello","versions":[1]}\n{"type":"close"}\n',
        capture_output=True, cwd=tmp_path, timeout=TIMEOUT_S, check=False,
    )
    return [json.loads(line) for line in run.stdout.splitlines()], run


@pytest.mark.parametrize(
    "setup, words",
    [
        ("sys.modules['jax'] = None", "no JAX in "),
        ("sys.modules['optax'] = None", "no optax in "),
        ("import types; old = types.ModuleType('jax'); old.__version__ = '0.4.29.dev1'; "
         "sys.modules['jax'] = old", "JAX 0.4.29.dev1 in "),
    ],
)
def test_without_jax_there_is_one_clear_line(setup, words, tmp_path):
    replies, run = ask_alone(setup, tmp_path)
    assert [reply["type"] for reply in replies] == ["error", "bye"] and run.returncode == 0
    assert replies[0]["kind"] == "unsupported" and replies[0]["text"].startswith(words)
    assert 'call with --python "$(tokmark setup jax)"' in replies[0]["text"]


def test_neither_engine_imports_the_other_s_framework():
    script = (
        "import sys; sys.path.insert(0, {sources!r})\n"
        "from tokmark_worker import worker\n"
        "worker.import_engine({engine!r})\n"
        "print(*sorted({{'torch', 'jax', 'flax', 'equinox'}} & set(sys.modules)))"
    )
    for engine, wanted in (("jax", "jax"), ("pytorch", "torch")):
        code = script.format(sources=str(PYTHON_SOURCES), engine=engine)
        run = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        assert run.stdout.split() == [wanted]


def test_it_runs_as_an_archive(tmp_path):
    archive = tmp_path / "worker.pyz"
    subprocess.run(
        [sys.executable, "-m", "zipapp", str(PYTHON_SOURCES), "-o", str(archive)], check=True
    )
    # as the program starts it: its streams are elsewhere by then
    script = 'exec "$0" "$1" 3,4 jax 3<&0 4>&1 0</dev/null 1>&2'
    words = ["env", "-C", str(tmp_path), "sh", "-c", script, sys.executable, str(archive)]
    TRANSCRIPTS.run_transcript("whole_life", words)


def test_provenance_is_of_the_program_not_of_the_request():
    import jax
    import jax.numpy as jnp
    from tokmark_worker.jax_precision import Executable, Provenance, uses

    def mixed(x, y):
        def body(carry, _):
            return carry @ y, None

        wide = jax.lax.scan(body, x, None, length=3)[0]
        return wide + (x.astype(jnp.bfloat16) @ y.astype(jnp.bfloat16)).astype(x.dtype)

    x = jnp.ones((8, 8))
    for precision, name in (("highest", "fp32"), ("tensorfloat32", "tf32"), (None, "tf32")):
        with jax.default_matmul_precision(precision) if precision else jax.disable_jit(False):
            jaxpr = jax.make_jaxpr(mixed)(x, x).jaxpr
        found = Provenance(jaxpr, "cuda")
        assert found.compute_name() == f"{name} 75 %, bf16 25 %"
        assert found.tf32 == (name == "tf32") and found.multiplications == 4 * 8**3
        assert Provenance(jaxpr, "cpu").compute_name() == "fp32 75 %, bf16 25 %"
    one = jax.make_jaxpr(lambda x, y: x * 2)(x, x).jaxpr
    assert uses(one, one.invars[0]) and not uses(one, one.invars[1])
    text = """ENTRY %main {
  %p0 = bf16[8,4]{1,0} parameter(0)
  %p1 = f32[8,4]{1,0} parameter(1)
  %d = f32[8,8]{1,0} dot(%p1, %p1), lhs_contracting_dims={1}
  %d2 = f32[8,8]{1,0} dot(f32[8,4]{1,0} %p1, f32[8,4]{1,0} %p1), lhs_contracting_dims={1}
  ROOT %g = (bf16[8,8]{1,0}, s8[9]{0}) custom-call(%p0, %p0), custom_call_target="__cublas$gemm"
}"""
    assert Executable(text).types == {"fp32": 2, "bf16": 1}
    assert Executable(text).text() == "fp32+bf16"


@pytest.mark.parametrize("traced, made, said", [
    ("bf16", {"fp32": 2}, "bf16, run as fp32"), ("bf16", {"bf16": 1, "fp32": 2}, "bf16"), ("fp16", {}, "fp16"), ("fp32", {"bf16": 1}, "fp32"),
])
def test_what_the_compiler_made_of_a_precision_is_said(traced, made, said):
    from tokmark_worker.jax_engine import JaxEngine

    executable = SimpleNamespace(types=made, text=lambda: "+".join(made))
    program = SimpleNamespace(provenance=SimpleNamespace(compute_name=lambda: traced), executable=executable)
    assert JaxEngine._compute_name(None, program) == said


def test_memory_that_ran_out_is_told_from_other_errors():
    from tokmark_worker.jax_memory import oom_error

    said = "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 17179869184 bytes."
    found = oom_error(RuntimeError(said), None)
    assert (found.kind, found.needed_bytes, found.scope) == ("oom", 1 << 34, "host")
    assert oom_error(RuntimeError("INTERNAL: CUDA_ERROR_OUT_OF_MEMORY: out of memory"), None)
    assert oom_error(RuntimeError("INTERNAL: an illegal instruction"), None) is None
    assert oom_error(ValueError("out of memory"), None) is None


def test_tensors_travel_as_the_package_writes_them(tmp_path):
    from tokmark_worker import jax_tensors

    path = tmp_path / "a.safetensors"
    wanted = {"a": torch.randn(3, 5), "b": torch.randn(4).bfloat16(), "c": torch.arange(6)}
    save_file(wanted, path)
    file = jax_tensors.SafetensorsFile(str(path))
    arrays = [(name, file.tensor(name)) for name in wanted]
    for name, array in arrays:
        assert np.array_equal(array.astype(np.float64), wanted[name].double().numpy())
    jax_tensors.write(str(path), arrays)
    found = load_file(path)
    for name, tensor in wanted.items():
        assert found[name].dtype == tensor.dtype and torch.equal(found[name], tensor)
