"""The `pytorch` engine through the whole program: flags, models of one's own, records."""
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pytorch_worker import SERVER
from test_pytorch_sources import CONFIG, write, write_package
from worker_client import release_binary

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "cli"))
from caller import calm  # noqa: E402
from waiting import TIMEOUT_S, begun

TINY = ["--set", "vocab_size=97", "--set", "dim=24", "--set", "layers_count=1", "--set",
        "heads_count=2", "--set", "ffn_hidden=16", "--set", "experts_count=2", "--set", "rotary_dim=8"]
SHORT = ["--device", "cpu", "--seq", "16", "--batch", "2", "--steps", "3", "--warmup", "1"]


def start(folder, *args, name="tokmark", code=0, python=None):
    """code: what it ends with; several, where that is the machine's affair. python: sys.executable where it is to start, and
    to import torch, by itself."""
    binary = Path(release_binary()).resolve()
    env = {**os.environ, "TOKMARK_PYTHON": python or SERVER.python("pytorch")}
    done = subprocess.run([str(binary.parent / name), *calm(args, name)], cwd=folder, env=env, text=True,
                          capture_output=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode in (code if isinstance(code, tuple) else (code,)), (done.returncode, done.stdout, done.stderr)
    return done


def read(folder, out="_bench"):
    lines = (Path(folder) / out / "bench_results.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def run(folder, *args, code=0):
    start(folder, "run", "--engine", "pytorch", *SHORT, *args, code=code)
    return read(folder)


# Small defaults, as nobody could run the published ones on a CPU.
SMALL_CONFIG = (CONFIG.replace("64000", "89").replace("2048", "16").replace("24", "2")
                .replace("= 16\n    expert_hidden", "= 2\n    expert_hidden").replace("8192", "32"))


def test_the_published_command_measures_the_package_of_the_folder(tmp_path):
    assert "dim: int = 16" in SMALL_CONFIG and "n_layers: int = 2" in SMALL_CONFIG
    write_package(tmp_path, config=SMALL_CONFIG)
    before = sorted(str(p) for p in tmp_path.rglob("*.py"))
    start(tmp_path, "--device", "cpu", "--seq", "64", "--batch", "2", "--steps", "5", "--precision",
          "fp32", name="bench_pytorch", python=sys.executable)
    assert sorted(str(p) for p in tmp_path.rglob("*.py")) == before
    train, infer = read(tmp_path)
    # counted by the package's own class, in an interpreter of its own
    code = ("from superintelligence.config import ModelConfig\n"
            "from superintelligence.model import SuperIntelligenceModel\n"
            "model = SuperIntelligenceModel(ModelConfig(max_position_embeddings=64))\n"
            "print(sum(p.numel() for p in model.parameters()))")
    counted = int(subprocess.run([sys.executable, "-c", code], cwd=tmp_path, text=True, check=True,
                                 capture_output=True).stdout)
    for record, mode in ((train, "train"), (infer, "infer")):
        assert record["verdict"] in ("ok", "unsteady"), record["reasons"]
        assert (record["mode"], record["steps"], record["framework"]) == (mode, 5, "pytorch")
        assert record["model_source"] == f"package superintelligence ({tmp_path}/superintelligence)"[:63] or (
            record["model_source"].startswith("package superintelligence (..."))
        assert record["params_total"] == counted
        assert record["model_spec"] is None and record["step_flops"] is None
    assert train["loss_last"] == pytest.approx(4.5, abs=1.5)  # about ln 89
    # a setting that a preset has too is the package's: it went to the preset's figures and was dropped
    start(tmp_path, "--device", "cpu", "--seq", "64", "--batch", "2", "--steps", "2", "--precision", "fp32", "--mode",
          "infer", "--set", "vocab_size=4096", "dropout=0.5", name="bench_pytorch")
    record = read(tmp_path)[-1]
    assert record["params_total"] == counted + (4096 - 89) * 2 * 16
    assert record["model"] == "superintelligence,vocab_size=4096,dropout=0.5"
    assert record["model_config"]["vocab_size"] == {"value": 4096, "from": "--set"}
    assert record["model_config"]["dropout"] == {"value": 0.5, "from": "--set"}
    assert record["model_config"]["dim"] == {"value": 16, "from": "default"}


def test_a_named_preset_fills_the_package(tmp_path):
    write_package(tmp_path)
    records = run(tmp_path, "--model", "superintelligence-tiny", "--mode", "infer", *TINY, "--set",
                  "expert_capacity=2.5")
    assert records[0]["verdict"] in ("ok", "unsteady"), records[0]["reasons"]
    assert records[0]["params_total"] < 100000
    assert records[0]["model"].startswith("superintelligence-tiny,vocab_size=97")


def test_precisions_are_real_and_the_record_says_them(tmp_path):
    records = run(tmp_path, "--precision", "fp32", "bf16", "bf16-pure", "tf32", *TINY, code=3)
    found = {(r["precision"], r["mode"]): r for r in records}
    assert len(found) == 8
    for mode in ("train", "infer"):
        assert found["fp32", mode]["dtype_compute"] == "fp32"
        assert found["bf16", mode]["dtype_compute"].startswith("bf16")
        assert found["bf16", mode]["dtype_param"] == "fp32"
        assert found["bf16-pure", mode]["dtype_param"] == "bf16"
        assert found["tf32", mode]["verdict"] == "unsupported"
    for record in records:
        if record["verdict"] == "unsupported":
            continue
        assert record["engine_version"].startswith(f"torch {torch.__version__}")
        worker = record["environment"]["worker"]
        assert worker["packages"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
        assert worker["chosen_by"] == "$TOKMARK_PYTHON"
        assert record["peak_mem_mb"] > 0


def test_options_reach_the_worker(tmp_path):
    (record,) = run(tmp_path, "--mode", "infer", *TINY)
    assert record["model_source"] == "tokmark pytorch (routed)"
    assert record["params_total"] == sum(
        p for p in (97 * 24 * 2, 16 * 24, 24 * 3, 3 * 24 * 25, 24 * 25, 2 * 24,
                    2 * (2 * 16 * 25 + 24 * 17)))
    # the interpreter is part of what --resume compares
    done = start(tmp_path, "run", "--engine", "pytorch", *SHORT, "--mode", "infer", *TINY, "--resume")
    assert "Skipped 1 of 1" in done.stdout
    # the package is left alone when ours is asked for
    write_package(tmp_path)
    (_, record) = run(tmp_path, "--moe", "published", "--model-source", "builtin", "--mode", "infer", *TINY)
    assert record["model_source"] == "tokmark pytorch (published)"
    assert record["backend"].endswith("every expert")


FACTORY = """
    import torch
    from torch import nn


    class Mine(nn.Module):
        def __init__(self, vocab_size, seq_len, width=8):
            super().__init__()
            self.table = nn.Embedding(vocab_size, width)
            self.places = nn.Embedding(seq_len, width)
            self.head = nn.Linear(width, vocab_size)

        def forward(self, ids):
            return self.head(self.table(ids) + self.places.weight[: ids.shape[1]])
"""


def test_a_factory_of_ones_own(tmp_path):
    write(tmp_path, "mine/model.py", FACTORY)
    records = run(tmp_path, "--model", "mine.model:Mine", "--set", "vocab_size=50", "--set", "width=4")
    for record in records:
        assert record["verdict"] in ("ok", "unsteady"), record["reasons"]
        assert record["model_source"] == "factory mine.model:Mine"
        assert record["model"] == "mine.model:Mine,vocab_size=50,width=4"
        assert record["params_total"] == 50 * 4 + 16 * 4 + 4 * 50 + 50
        assert record["model_spec"] is None and record["step_flops"] is None
    # without --set the vocabulary is a published model's
    record = run(tmp_path, "--model", "mine.model:Mine", "--mode", "infer")[-1]
    assert record["params_total"] == 50257 * 8 + 16 * 8 + 8 * 50257 + 50257


def test_a_transformers_folder(tmp_path):
    config = {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "vocab_size": 77, "n_embd": 16,
              "n_layer": 1, "n_head": 2, "n_positions": 32}
    write(tmp_path, "folder/config.json", json.dumps(config))
    records = run(tmp_path, "--model", "hf:folder", "--mode", "infer",
                  code=0 if _has_transformers() else 4)
    if _has_transformers():
        assert records[0]["model_source"].startswith("hf ")
    else:
        assert records[0]["verdict"] == "unsupported"
        assert "transformers" in records[0]["notes"]


def _has_transformers():
    import importlib.util

    return importlib.util.find_spec("transformers") is not None


HOSTILE = [
    ("raise ValueError('no such thing')", "invalid", "no such thing"),
    ("import os; os._exit(7)", "crashed", "exit 7"),
    ("print('x' * 100000); return self.head(self.table(ids))", "ok", ""),
    ("import time; time.sleep(1000)", "timeout", "no answer within"),
    ("return self.head(self.table(ids)) * float('nan')", "invalid", "not finite"),
    ("return self.table(ids)", "invalid", "shape"),
    ("raise MemoryError('none left')", "oom", "none left"),
    ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "crashed", "SEGV"),
]


def sweep_of_hostile(folder):
    """(records with two rows, those with one): a sequence length has a body of HOSTILE, with two rows only. They share an import."""
    lines = FACTORY.splitlines()[:-1]
    for length, (body, _, _) in enumerate(HOSTILE, 16):
        lines += [f"            if tuple(ids.shape) == (2, {length}):", "                " + body]
    lines += ["            return self.head(self.table(ids))"]
    write(folder, "mine.py", "\n".join(lines))
    more = [str(length) for length in range(17, 16 + len(HOSTILE))]  # than SHORT has
    start(folder, "run", "--engine", "pytorch", "--model", "mine:Mine", "--set", "vocab_size=50", *SHORT, "--batch", "1", "--mode", "infer",
          "--seq", *more, "--timeout", "20s", "--try-all", code=3)
    found = read(folder)
    return [[record for record in found if record["batch_size"] == rows] for rows in (2, 1)]


@pytest.fixture(name="begun_hostile", scope="module", autouse=True)
def begin_hostile(request, tmp_path_factory):
    """Before the file's other tests, as one model hangs until its limit."""
    SERVER.python("pytorch")  # a server is not started by two threads
    with begun("of_hostile", request, sweep_of_hostile, tmp_path_factory.mktemp("hostile")) as sweep:
        yield sweep


@pytest.fixture(name="of_hostile", scope="module")
def make_of_hostile(begun_hostile):
    return begun_hostile.result()


@pytest.mark.parametrize("index", range(len(HOSTILE)), ids=[body for body, _, _ in HOSTILE])
def test_a_hostile_model_is_a_clear_record_and_the_sweep_goes_on(of_hostile, index):
    (bad, good), (_, verdict, wanted) = [records[index] for records in of_hostile], HOSTILE[index]
    assert bad["seq_len"] == good["seq_len"] == 16 + index
    assert good["verdict"] in ("ok", "unsteady"), good["reasons"]
    assert bad["verdict"] == verdict or (verdict == "ok" and bad["verdict"] == "unsteady"), bad["reasons"]
    assert wanted in json.dumps(bad["reasons"]), bad["reasons"]


def test_a_cell_that_cannot_fit_is_oom_and_larger_ones_are_not_run(tmp_path):
    start(tmp_path, "run", "--engine", "pytorch", "--model", "superintelligence", "--device", "cpu",
          "--set", "layers_count=1000", "--set", "dim=16384", "--seq", "8", "16", "--batch", "1", "--mode", "train",
          "--precision", "fp32", "--steps", "1", code=4)
    first, second = read(tmp_path)
    assert first["verdict"] == second["verdict"] == "oom"
    experts = 1000 * 16 * 2 * 16384 * 8192  # parameters, more than any machine has room for
    assert first["mem_needed_bytes"] > 4 * 4 * experts > first["mem_available_bytes"]
    assert second["reasons"][0]["code"] == "dominated"


def test_the_memory_that_dry_run_predicts_is_in_the_record(tmp_path):
    words = ["run", "--engine", "pytorch", *SHORT, "--model", "superintelligence-tiny", "--model-source", "builtin", "--mode", "infer"]
    line = next(line for line in start(tmp_path, *words, "--dry-run").stdout.splitlines() if " infer " in line)
    said = re.search(r"([0-9.]+) MiB", line)
    start(tmp_path, *words)
    (record,) = read(tmp_path)
    assert record["mem_predicted_mb"] == pytest.approx(float(said[1]), rel=0.01)
    assert record["mem_predicted_mb"] == pytest.approx(record["peak_mem_mb"], rel=0.5)
