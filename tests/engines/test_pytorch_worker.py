"""The `pytorch` engine's worker, spoken to as a host does."""
import importlib.util
import json
import shutil
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file, save_file

from pytorch_worker import GELU, MOE, PYTHON_SOURCES, REPOSITORY, SERVER, SPECS, TorchWorker, command
from pytorch_worker import is_slow_wanted
from reference_model import loss_of
from test_pytorch_model import distance, reference_of, reference_run, tokens_of
from worker_client import WorkerError
from waiting import TIMEOUT_S, is_alive, wait_until

TOLERANCE = 1e-4
TINY = {**MOE, "max_seq_len": 8}


def transcripts():
    path = REPOSITORY / "tests" / "protocol" / "test_transcripts.py"
    found = importlib.util.spec_from_file_location("transcripts", path)
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


TRANSCRIPTS = transcripts()


@pytest.mark.parametrize("name", TRANSCRIPTS.names())
def test_transcript(name):
    TRANSCRIPTS.run_transcript(name, SERVER.start("pytorch", is_text=False))


def test_a_forward_pass_does_without_pytorch_s_compiler(monkeypatch, capfd):
    """It takes as long to import as PyTorch itself; an optimizer does so."""
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")
    with TorchWorker(is_started=True) as worker:
        worker.open(MOE, "infer")
        worker.run(1)
    imported = {line.rpartition("|")[2].strip() for line in capfd.readouterr().err.splitlines()}
    assert "torch.nn" in imported and "torch._dynamo" not in imported


def refusal(model=TINY, **changes):
    """The error that this cell is answered with."""
    with TorchWorker() as worker:
        with pytest.raises(WorkerError) as found:
            worker.open(model, **{"mode": "infer", "seq_len": 8, **changes})
        with pytest.raises(WorkerError) as after:
            worker.run(1)
        assert after.value.reply["kind"] == "internal"
        assert worker.memory()["rss_bytes"] > 0  # it stays up
    return found.value.reply


# --- what comes out ------------------------------------------------------------------------------


class Case:
    def __init__(self, spec, folder, rows=3):
        self.spec = spec
        self.reference = reference_of(spec)
        self.tokens = tokens_of(spec, rows)
        self.weights, self.inputs, self.output = (
            folder / f"{name}.safetensors" for name in ("weights", "inputs", "output")
        )
        state = {name: value.float() for name, value in self.reference.state_dict().items()}
        save_file(state, self.weights)
        # the reference starts from the same numbers
        self.reference.load_state_dict(state)
        save_file({"tokens": self.tokens.int(), "targets": self.tokens.int()}, self.inputs)

    def check(self, mode, train_steps=0, **changes):
        with TorchWorker() as worker:
            self.ready = worker.open(self.spec, mode, weights_path=str(self.weights), **changes)
            self.reply = worker.check(self.inputs, self.output, train_steps)
            self.second = worker.check(self.inputs, self.output.with_suffix(".2"), 0)
        return load_file(self.output)

    def second_written(self):
        """From the same weights: a check leaves them as they were."""
        return load_file(self.output.with_suffix(".2"))

    def train_reference(self, steps):
        """Steps of AdamW on the case's tokens, as a check with train_steps makes them."""
        optimizer = torch.optim.AdamW(self.reference.parameters(), lr=3e-4)
        for _ in range(steps):
            optimizer.zero_grad()
            reference_run(self.spec, self.reference, self.tokens)
            optimizer.step()
        optimizer.zero_grad()

    def require_parameters(self, written):
        for name, param in self.reference.named_parameters():
            if not name.endswith("qkv_proj.bias"):  # no effect: AdamW blows rounding noise up to whole steps
                assert distance(written[f"param.{name}"], param.detach()) < TOLERANCE, name


@pytest.mark.parametrize("name", SPECS)
def test_check_of_training_equals_the_reference(name, tmp_path):
    case = Case(SPECS[name], tmp_path)
    written = case.check("train")
    wanted = reference_run(case.spec, case.reference, case.tokens)
    assert distance(written["logits"], wanted) < TOLERANCE
    assert case.reply["tensors"] == len(written)
    names = {f"grad.{name}" for name, _ in case.reference.named_parameters()}
    assert set(written) == {"logits", "loss", *names}
    for name, param in case.reference.named_parameters():
        assert distance(written[f"grad.{name}"], param.grad) < TOLERANCE, name
    loss = loss_of(wanted, case.tokens).item()
    assert written["loss"].item() == pytest.approx(loss, rel=TOLERANCE)
    assert case.reply["loss"] == pytest.approx(loss, rel=TOLERANCE)


@pytest.mark.parametrize("form", ["routed", "published"])
def test_parameters_after_adamw_steps_equal_the_reference(form, tmp_path):
    case = Case(MOE, tmp_path)
    written = case.check("train", train_steps=10, options={"moe": form})
    case.train_reference(10)
    case.require_parameters(written)
    # the cell's own weights are as before: a second check starts from them again
    first = reference_of(MOE)
    assert case.second["loss"] == pytest.approx(
        loss_of(reference_run(MOE, first, case.tokens), case.tokens).item(), rel=1e-4
    )


@pytest.mark.parametrize("name", ["moe_causal", "gelu"])
def test_check_of_decoding_equals_inference(name, tmp_path):
    case = Case(SPECS[name], tmp_path)
    decoded = case.check("decode")
    inferred = case.check("infer")
    assert set(inferred) == {"logits", "loss"}
    assert distance(decoded["logits"], inferred["logits"].double()) < TOLERANCE


def test_check_names_what_is_wrong(tmp_path):
    case = Case(TINY, tmp_path)
    with TorchWorker() as worker:
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
    case = Case({**TINY, "max_seq_len": 40}, tmp_path)
    state = load_file(case.weights)
    path = tmp_path / "changed.safetensors"

    def loss_with(changed):
        save_file(changed, path)
        with TorchWorker() as worker:
            worker.open(TINY, "train", 8, weights_path=str(path))
            return worker.run(1)["loss"]

    # a longer position table serves, and so do leading ones
    loss = loss_with(state)
    state["position_embedding"] = state["position_embedding"][:8].unsqueeze(0).contiguous()
    assert loss_with(state) == loss
    odd = {**state, "norm.weight": torch.ones(47)}
    save_file(odd, path)
    assert "tensor 'norm.weight' has shape (47,)" in refusal(weights_path=str(path))["text"]
    del state["lm_head.weight"]
    save_file(state, path)
    reply = refusal(weights_path=str(path))
    assert reply["kind"] == "model" and "no tensor 'lm_head.weight'" in reply["text"]


# --- what really ran -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "precision, param, compute",
    [("fp32", "fp32", "fp32"), ("bf16", "fp32", "bf16"), ("bf16-pure", "bf16", "bf16")],
)
@pytest.mark.parametrize("mode", ["train", "infer", "decode"])
def test_precisions_are_what_they_say(precision, param, compute, mode):
    with TorchWorker() as worker:
        ready = worker.open(TINY, mode, 8, precision=precision)
        assert (ready["dtype_param"], ready["dtype_compute"]) == (param, compute)
        assert ready["dtype_accumulate"] == "fp32" and ready["tf32"] is False
        attention = "no sdpa call" if mode == "train" else "sdpa flash"  # dropout: none fused
        assert ready["backend"] == f"{attention}, experts split" and ready["threads"] == 2
        block = worker.run(2)
        assert block["nonfinite"] == 0
        if mode == "train":
            assert block["loss"] > 0 and block["grad_norm"] > 0


def test_bf16_rounds_as_bf16_does(tmp_path):
    """Not by its own word: the figures show it."""
    case = Case(TINY, tmp_path)
    case.tokens = tokens_of(TINY, length=8)
    save_file({"tokens": case.tokens.int(), "targets": case.tokens.int()}, case.inputs)
    wanted = case.check("infer", seq_len=8)["logits"].double()
    for precision in ("bf16", "bf16-pure"):
        logits = case.check("infer", seq_len=8, precision=precision)["logits"]
        assert torch.equal(logits, logits.bfloat16().float())
        assert 1e-4 < distance(logits, wanted) < 0.3


def test_what_a_cpu_cannot_do_is_unsupported_and_says_what_it_can():
    cases = [
        ({"precision": "int8"}, "bf16"),
        ({"precision": "tf32"}, "fp32"),
        ({"precision": "fp16", "mode": "train"}, "bf16"),
        ({"device": "tpu:0"}, "cpu"),
        ({"device": "cuda:x"}, "cuda:N"),
    ]
    if not torch.cuda.is_available():
        cases.append(({"device": "cuda:0"}, "sees no CUDA device"))
    for changes, words in cases:
        reply = refusal(**changes)
        assert reply["kind"] == "unsupported" and words in reply["text"], reply


def test_ready_says_which_model_and_which_tokens(tmp_path):
    data = tmp_path / "data.txt"
    data.write_bytes(bytes(range(100)))
    with TorchWorker() as worker:
        ready = worker.open(TINY, "train", 8, data="auto", data_path=str(data))
        assert ready["model_source"] == "tokmark pytorch (routed)"
        assert ready["tokens_data"] == f"text {data} (100 tokens)"
        assert "AdamW" in ready["notes"] and ready["load_ns"] > 0
        assert 0 < ready["params_active"] < ready["params_total"]
        assert "compile_ns" not in ready
        assert worker.run(3)["nonfinite"] == 0
    with TorchWorker() as worker:
        ready = worker.open({**GELU, "max_seq_len": 8}, "infer", 8, options={"moe": "published"})
        assert ready["model_source"] == "tokmark pytorch"
        assert ready["params_active"] == ready["params_total"]
    reply = refusal(data="auto", data_path=str(data), model={**TINY, "vocab_size": 50})
    assert reply["kind"] == "model" and "token 50 is 50" in reply["text"]


def test_the_same_seed_gives_the_same_losses_however_blocks_are_cut():
    losses = []
    for blocks in ([1] * 6, [6], [2, 4]):
        with TorchWorker() as worker:
            worker.open({**TINY, "dropout": 0.0}, "train", 8, threads=1)
            losses.append([worker.run(steps)["loss"] for steps in blocks][-1])
    assert losses[0] == losses[1] == losses[2]


def test_options_are_checked_and_reach_the_model():
    with TorchWorker() as worker:
        ready = worker.open(
            TINY, "infer", 8, options={"moe": "published", "set": {"dim": "96"}, "x_new": 1}
        )
        assert ready["model_source"] == "tokmark pytorch (published)"
        assert "every expert" in ready["backend"]
    wide = ready["params_total"]
    with TorchWorker() as worker:
        assert worker.open(TINY, "infer", 8)["params_total"] < wide
    reply = refusal(options={"set": {"dims": "96"}})
    assert reply["kind"] == "model" and "did you mean 'dim'" in reply["text"]
    reply = refusal(options={"set": {"dim": "wide"}})
    assert reply["kind"] == "model" and "dim must be a number" in reply["text"]


def test_a_step_of_training_is_verified_by_its_loss_and_its_gradients():
    with TorchWorker() as worker:
        worker.open(TINY, "train", 8)
        wanted, block = worker.ask({"type": "verify", "step": 0}), worker.run(1)
    assert wanted["loss"] == pytest.approx(block["loss"], rel=1e-4)
    assert wanted["grad_norm"] == pytest.approx(block["grad_norm"], rel=1e-3)


# --- time and memory -----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["train", "infer", "decode"])
def test_times_add_up_and_lie_within_the_request(mode):
    with TorchWorker() as worker:
        worker.open(TINY, mode, 8)
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


def test_memory_figures_hold_what_they_must():
    spec = {**MOE, "vocab_size": 20000, "dim": 192, "heads_count": 4, "ffn_hidden": 512}
    with TorchWorker(is_started=True) as worker:
        ready = worker.open(spec, "train")
        worker.run(2)
        trained = worker.memory()
    parts = trained["parts"]
    weights = 4 * ready["params_total"]
    assert parts["weights_bytes"] == parts["gradients_bytes"] == weights
    assert parts["optimizer_bytes"] == 2 * weights
    grown = trained["rss_peak_bytes"] - trained["rss_baseline_bytes"]
    assert 4 * weights < grown < 4 * weights + (600 << 20)
    assert trained["rss_bytes"] <= trained["rss_peak_bytes"]
    assert "allocated_bytes" not in trained  # a CPU has no allocator that could say
    with TorchWorker(is_started=True) as worker:
        worker.open(spec, "infer")
        worker.run(2)
        inferred = worker.memory()
    assert inferred["parts"]["total_bytes"] == inferred["parts"]["weights_bytes"] == weights
    assert inferred["rss_peak_bytes"] - inferred["rss_baseline_bytes"] < grown - 2 * weights
    with TorchWorker() as worker:
        worker.open(spec, "decode")
        cache = worker.memory()["parts"]["kv_cache_bytes"]
    assert cache == 2 * 2 * 2 * 40 * 192 * 4  # k and v, layers, rows, positions, dim, fp32


def test_a_cell_that_cannot_fit_is_refused_before_anything_is_allocated():
    huge = {**MOE, "dim": 8192, "heads_count": 8, "ffn_hidden": 65536, "layers_count": 96}
    with TorchWorker() as worker:
        with pytest.raises(WorkerError) as found:
            worker.open(huge, "train")
        assert worker.memory()["rss_peak_bytes"] < (2 << 30)
    reply = found.value.reply
    assert reply["kind"] == "oom" and reply["scope"] == "host"
    assert reply["needed_bytes"] > 16 * 96 * 5 * 3 * 8192 * 65536 > reply["available_bytes"]


def test_logits_alone_can_be_too_many():
    wide = {**TINY, "vocab_size": 1 << 24, "dim": 2, "heads_count": 1, "rotary_dim": 2}
    reply = refusal({**wide, "max_seq_len": 65536}, seq_len=65536, mode="train")
    assert reply["kind"] == "oom" and reply["needed_bytes"] > (1 << 24) * 65536 * 2 * 12


# --- the process ---------------------------------------------------------------------------------


def test_without_torch_there_is_one_clear_line(tmp_path):
    run = subprocess.run(
        [sys.executable, "-S", "-I", "-c",
         f"import sys; sys.path.insert(0, {str(PYTHON_SOURCES)!r}); sys.argv[1:] = ['pytorch']\n"
         "import runpy; runpy.run_module('tokmark_worker', run_name='__main__')"],
        input=b'{"type":"hello","versions":[1]}\n{"type":"close"}\n',
        capture_output=True, cwd=tmp_path, timeout=TIMEOUT_S, check=False,
    )
    replies = [json.loads(line) for line in run.stdout.splitlines()]
    assert [reply["type"] for reply in replies] == ["error", "bye"] and run.returncode == 0
    assert replies[0]["kind"] == "unsupported"
    assert replies[0]["text"].startswith(f"no PyTorch in {sys.executable}")


def test_it_runs_as_an_archive(tmp_path):
    archive = tmp_path / "worker.pyz"
    subprocess.run(
        [sys.executable, "-m", "zipapp", str(PYTHON_SOURCES), "-o", str(archive)], check=True
    )
    # as the program starts it: its streams are elsewhere by then
    script = 'exec "$0" "$1" 3,4 pytorch 3<&0 4>&1 0</dev/null 1>&2'
    words = ["env", "-C", str(tmp_path), "sh", "-c", script, sys.executable, str(archive)]
    TRANSCRIPTS.run_transcript("whole_life", words)


def test_a_worker_dies_with_its_parent():
    script = (
        "import subprocess, sys\n"
        f"worker = subprocess.Popen({command()!r}, stdin=subprocess.PIPE, stdout=subprocess.PIPE)\n"
        "worker.stdin.write(b'{\"type\":\"hello\",\"versions\":[1]}\\n')\n"
        "worker.stdin.flush()\n"
        "worker.stdout.readline()\n"
        "print(worker.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    wait_until(lambda: not is_alive(pid))
    parent.stdin.close()
    parent.stdout.close()


@pytest.mark.skipif(
    not is_slow_wanted() or shutil.which("g++") is None,
    reason="slow: set TOKMARK_TEST_SLOW; needs a C++ compiler",
)
@pytest.mark.parametrize("mode", ["train", "infer"])
def test_compiled_blocks_count_recompilations(mode, tmp_path):
    (tmp_path / "restless.py").write_text(
        "import torch\n"
        "class Restless(torch.nn.Module):\n"
        "    def __init__(self, vocab_size):\n"
        "        super().__init__()\n"
        "        self.table = torch.nn.Embedding(vocab_size, 8)\n"
        "        self.head = torch.nn.Linear(8, vocab_size)\n"
        "        self.calls = 0\n"
        "    def forward(self, x):\n"
        "        if not torch.compiler.is_compiling():\n"
        "            self.calls = 5\n"
        "        self.calls += 1\n"
        "        return self.head(self.table(x)) * (1 if self.calls < 9 else 2)\n"
    )
    with TorchWorker() as worker:
        ready = worker.open({**GELU, "max_seq_len": 8}, mode, 8, options={"compile": "default"})
        assert ready["compile_ns"] > 0 and "compiled" in ready["backend"]
        assert worker.run(3)["recompiles"] == 0
        assert worker.run(3)["recompiles"] == 0
        assert worker.run(1)["nonfinite"] == 0
    with TorchWorker(tmp_path) as worker:
        worker.open(TINY, mode, 8, options={"compile": "default"}, model_ref="restless:Restless")
        assert sum(worker.run(4)["recompiles"] for _ in range(3)) > 0
