"""Models that are not tokmark's own: packages, factories, transformers folders, and hostile ones.
Each small model here is written for its test, in its own words."""
import textwrap
import time

import pytest
import torch
from safetensors.torch import load_file, save_file

from pytorch_worker import MOE, TorchWorker
from worker_client import WorkerError
from waiting import TIMEOUT_S

SPEC = {**MOE, "name": "superintelligence-tiny", "max_seq_len": 8}

CONFIG = """
    from dataclasses import dataclass


    @dataclass
    class ModelConfig:
        vocab_size: int = 64000
        max_position_embeddings: int = 4096
        dim: int = 2048
        n_layers: int = 24
        n_heads: int = 16
        expert_hidden: int = 8192
        n_experts: int = 8
        top_k: int = 2
        rotary_dim: int = 32
        dropout: float = 0.1
        expert_capacity: float = 1.25
"""
MODEL = """
    import torch
    from torch import nn


    class Block(nn.Module):
        def __init__(self, c):
            super().__init__()
            self.norm = nn.LayerNorm(c.dim)
            self.attn = nn.MultiheadAttention(c.dim, c.n_heads, batch_first=True)
            self.choose = nn.Linear(c.dim, c.n_experts)
            self.experts = nn.ModuleList(
                nn.Sequential(nn.Linear(c.dim, c.expert_hidden), nn.SiLU(),
                              nn.Linear(c.expert_hidden, c.dim)) for _ in range(c.n_experts))

        def forward(self, x):
            y = self.norm(x)
            x = x + self.attn(y, y, y, need_weights=False)[0]
            weights = self.choose(x).softmax(-1)
            return x + sum(weights[..., i:i + 1] * e(x) for i, e in enumerate(self.experts))


    class SuperIntelligenceModel(nn.Module):
        def __init__(self, config):
            super().__init__()
            self.config = config
            self.tokens = nn.Embedding(config.vocab_size, config.dim)
            self.places = nn.Parameter(torch.zeros(1, config.max_position_embeddings, config.dim))
            self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layers))
            self.head = nn.Linear(config.dim, config.vocab_size, bias=False)

        def forward(self, ids):
            x = self.tokens(ids) + self.places[:, : ids.shape[1]]
            for block in self.blocks:
                x = block(x)
            return self.head(x)
"""


def write(folder, name, text):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text))
    return path


def write_package(folder, config=CONFIG, model=MODEL):
    write(folder, "superintelligence/__init__.py", "")
    write(folder, "superintelligence/config.py", config)
    write(folder, "superintelligence/model.py", model)


def refusal(folder, mode="train", spec=SPEC, **changes):
    with TorchWorker(folder) as worker:
        with pytest.raises(WorkerError) as found:
            worker.open(spec, mode, 8, **changes)
    return found.value.reply


def broken_run(folder, mode="train", **changes):
    """The error of the first step of a model that opens."""
    with TorchWorker(folder) as worker:
        (folder / "opened").unlink(missing_ok=True)
        worker.open(SPEC, mode, 8, **changes)
        (folder / "opened").touch()
        with pytest.raises(WorkerError) as found:
            for _ in range(3):
                worker.run(1)
    return found.value.reply


# --- (a) the package ------------------------------------------------------------------------------


def package_params(spec):
    block = 2 * spec["dim"] + 4 * spec["dim"] * (spec["dim"] + 1)
    block += spec["experts_count"] * (spec["dim"] + 1)
    inner = spec["ffn_hidden"] * (spec["dim"] + 1) + spec["dim"] * (spec["ffn_hidden"] + 1)
    block += spec["experts_count"] * inner
    tables = (2 * spec["vocab_size"] + spec["max_seq_len"]) * spec["dim"]
    return tables + spec["layers_count"] * block


@pytest.mark.parametrize("mode", ["train", "infer"])
def test_a_package_in_the_folder_is_used_unchanged(tmp_path, mode):
    write_package(tmp_path)
    with TorchWorker(tmp_path) as worker:
        ready = worker.open(SPEC, mode, 8)
        assert ready["model_source"].startswith("package superintelligence (")
        assert ready["model_source"].endswith("/superintelligence)")
        assert ready["params_total"] == package_params(SPEC)
        assert "params_active" not in ready  # its arithmetic is its own
        block = worker.run(3)
        assert block["nonfinite"] == 0
        with pytest.raises(WorkerError, match="no place"):
            worker.open(SPEC, mode, 8)


def test_a_package_of_a_folder_above_is_found_and_decode_is_unsupported(tmp_path):
    write_package(tmp_path)
    inner = tmp_path / "deep" / "inside"
    inner.mkdir(parents=True)
    with TorchWorker(inner) as worker:
        assert "package" in worker.open(SPEC, "infer", 8)["model_source"]
    reply = refusal(inner, "decode")
    assert reply["kind"] == "unsupported" and "train and infer" in reply["text"]
    # another model's name has nothing to do with the package
    with TorchWorker(inner) as worker:
        ready = worker.open({**SPEC, "name": "gpt2-124m"}, "infer", 8)
        assert ready["model_source"].startswith("tokmark pytorch")
    with TorchWorker(inner) as worker:
        ready = worker.open(SPEC, "infer", 8, options={"source": "builtin"})
        assert ready["model_source"].startswith("tokmark pytorch")


def test_set_fills_a_package_s_fields_by_either_name(tmp_path):
    write_package(tmp_path)
    for name in ("n_layers", "layers_count"):
        with TorchWorker(tmp_path) as worker:
            ready = worker.open(SPEC, "infer", 8, options={"set": {name: "3", "dropout": "0"}})
            assert ready["params_total"] == package_params({**SPEC, "layers_count": 3})
    reply = refusal(tmp_path, options={"set": {"n_layer": "3"}})
    assert reply["kind"] == "model" and "did you mean 'n_layers'" in reply["text"]
    reply = refusal(tmp_path, options={"set": {"n_layers": "many"}})
    assert reply["kind"] == "model" and "n_layers must be a number" in reply["text"]


def test_a_package_s_required_field_that_nothing_fits_is_named(tmp_path):
    config = CONFIG.replace("vocab_size: int", "colour: str\n        vocab_size: int")
    write_package(tmp_path, config)
    reply = refusal(tmp_path)
    assert reply["kind"] == "model" and "colour" in reply["text"] and "--set" in reply["text"]
    with TorchWorker(tmp_path) as worker:
        worker.open(SPEC, "infer", 8, options={"set": {"colour": "red"}})


def test_a_package_that_is_not_as_published_is_said_so(tmp_path):
    write_package(tmp_path, "class ModelConfig: pass\n")
    assert "no dataclass ModelConfig" in refusal(tmp_path)["text"]
    write_package(tmp_path, CONFIG, "import torch\n")
    assert "no SuperIntelligenceModel" in refusal(tmp_path)["text"]
    write_package(tmp_path, CONFIG, "import torch_that_is_not\n")
    reply = refusal(tmp_path)
    assert reply["kind"] == "model" and "No module named 'torch_that_is_not'" in reply["text"]


def test_bf16_is_seen_inside_a_package(tmp_path):
    write_package(tmp_path, CONFIG, MODEL.replace(
        "return self.head(x)",
        "y = self.head(x)\n            print('dtypes', x.dtype, y.dtype)\n            return y"))
    for precision, param in (("bf16", "fp32"), ("bf16-pure", "bf16")):
        with TorchWorker(tmp_path) as worker:
            ready = worker.open(SPEC, "train", 8, precision=precision)
            assert ready["dtype_param"] == param and ready["dtype_compute"].startswith("bf16")
            worker.run(1)


def test_a_package_that_leaves_autocast_is_found_out(tmp_path):
    write_package(tmp_path, CONFIG, MODEL.replace(
        "def forward(self, ids):",
        "@torch.autocast('cpu', enabled=False)\n        def forward(self, ids):"))
    with TorchWorker(tmp_path) as worker:
        assert worker.open(SPEC, "infer", 8, precision="bf16")["dtype_compute"] == "fp32"


def test_weights_travel_into_a_package_and_out(tmp_path):
    write_package(tmp_path)
    inputs, output, weights = (tmp_path / f"{name}.safetensors" for name in "iow")
    tokens = torch.randint(0, 211, (2, 8), dtype=torch.int32)
    save_file({"tokens": tokens, "targets": tokens.clone()}, inputs)
    with TorchWorker(tmp_path) as worker:
        worker.open(SPEC, "train", 8)
        worker.check(inputs, output, 1)
        first = load_file(output)
    params = {name[6:]: value for name, value in first.items() if name.startswith("param.")}
    save_file(params, weights)
    with TorchWorker(tmp_path) as worker:
        worker.open(SPEC, "train", 8, weights_path=str(weights), seed="9")
        worker.check(inputs, output, 0)
    second = load_file(output)
    assert torch.allclose(first["logits"], second["logits"], atol=1e-6)
    assert torch.allclose(first["grad.head.weight"], second["grad.head.weight"], atol=1e-6)


# --- (c) factories --------------------------------------------------------------------------------

FACTORIES = """
    import types
    from dataclasses import dataclass

    import torch
    from torch import nn


    class Plain(nn.Module):
        def __init__(self, vocab_size, seq_len, width=24, bias=True):
            super().__init__()
            self.seen = (vocab_size, seq_len, width, bias)
            self.table = nn.Embedding(vocab_size, width)
            self.places = nn.Parameter(torch.zeros(seq_len, width))
            self.head = nn.Linear(width, vocab_size, bias=bias)

        def forward(self, x):
            return self.head(self.table(x) + self.places[: x.shape[1]])


    def as_tuple(vocab_size):
        class Tuple(Plain):
            def forward(self, x):
                return super().forward(x), None
        return Tuple(vocab_size, 8)


    @dataclass
    class GPTConfig:
        block_size: int = 1024
        vocab_size: int = 300
        n_layer: int = 1
        n_embd: int = 16
        bias: bool = True


    class GPT(nn.Module):
        def __init__(self, config):
            super().__init__()
            self.config = config
            self.body = Plain(config.vocab_size, config.block_size, config.n_embd, config.bias)

        def forward(self, idx, targets=None):
            if targets is None:
                return self.body(idx)[:, [-1], :], None
            logits = self.body(idx)
            loss = nn.functional.cross_entropy(logits.flatten(0, 1), targets.reshape(-1))
            return logits, loss


    nested = types.SimpleNamespace(make=lambda vocab_size, seq_len: Plain(vocab_size, seq_len))
    number = 3


    def not_a_model(vocab_size):
        return vocab_size


    def wants_more(vocab_size, colour):
        return Plain(vocab_size, 8)
"""


LOOSE = """
    import types

    from mine.models import Plain


    def as_object(config):
        class Object(Plain):
            def forward(self, input_ids, use_cache=True):
                assert not use_cache
                return types.SimpleNamespace(logits=super().forward(input_ids))
        return Object(config.vocab_size, config.block_size, config.n_embd)
"""


def plain_params(vocab, length, width, bias=True):
    return vocab * width + length * width + vocab * width + (vocab if bias else 0)


@pytest.mark.parametrize(
    "name, mode, overrides, params",
    [
        ("models:Plain", "train", {}, plain_params(211, 8, 24)),
        ("models:Plain", "infer", {"width": "12", "bias": "false"},
         plain_params(211, 8, 12, False)),
        ("models:as_tuple", "train", {}, plain_params(211, 8, 24)),
        ("loose:as_object", "train", {}, plain_params(211, 8, 48)),
        ("loose:as_object", "infer", {"dim": "20"}, plain_params(211, 8, 20)),
        ("models:nested.make", "infer", {}, plain_params(211, 8, 24)),
        ("models:GPT", "train", {}, plain_params(300, 1024, 16)),
        ("models:GPT", "infer", {"n_embd": "20", "vocab_size": "100", "block_size": "8"},
         plain_params(100, 8, 20)),
    ],
)
def test_factories_get_what_their_signature_asks_for(tmp_path, name, mode, overrides, params):
    write(tmp_path, "mine/models.py", FACTORIES)
    write(tmp_path, "mine/loose.py", LOOSE)
    with TorchWorker(tmp_path) as worker:
        ready = worker.open(
            SPEC, mode, 8, model_ref=f"mine.{name}", options={"set": overrides}
        )
        assert ready["model_source"] == f"factory mine.{name}"
        assert ready["params_total"] == params
        assert worker.run(2)["nonfinite"] == 0
        if name.endswith("GPT"):
            assert ("last position only" in ready.get("notes", "")) == (mode == "infer")


@pytest.mark.parametrize(
    "ref, words",
    [
        ("mine.models:Plane", "did you mean 'Plain'"),
        ("mine.modles:Plain", "No module named 'mine.modles'"),
        ("mine.models", "no pkg.module:factory"),
        ("mine.models:number", "not a class or function"),
        ("mine.models:not_a_model", "gave a int, not a torch.nn.Module"),
        ("mine.models:wants_more", "asks for 'colour'"),
    ],
)
def test_factories_that_are_none_are_said_so(tmp_path, ref, words):
    write(tmp_path, "mine/models.py", FACTORIES)
    reply = refusal(tmp_path, model_ref=ref)
    assert reply["kind"] == "model" and words in reply["text"], reply


def test_set_that_a_factory_does_not_take_is_refused(tmp_path):
    write(tmp_path, "mine/models.py", FACTORIES)
    reply = refusal(tmp_path, model_ref="mine.models:Plain", options={"set": {"depth": "3"}})
    assert reply["kind"] == "model" and "takes no 'depth'" in reply["text"]


# --- (d) transformers -----------------------------------------------------------------------------


def test_without_transformers_it_says_so(tmp_path):
    # the package of the tests' environment is hidden behind one that is not there
    write(tmp_path, "transformers.py", "raise ModuleNotFoundError(\"No module named 'transformers'\", name='transformers')")
    write(tmp_path, "config.json", "{}")
    reply = refusal(tmp_path, model_ref=f"hf:{tmp_path}")
    assert reply["kind"] == "unsupported" and "needs transformers" in reply["text"]


# --- hostile ones ---------------------------------------------------------------------------------

HOSTILE = """
    import os
    import sys
    import threading
    import time

    import torch
    from torch import nn

    print("a print at import")
    os.write(1, b"raw bytes at import\\n")


    def is_opened():  # opening calls a model as often as it likes
        return os.path.exists("opened")


    class Base(nn.Module):
        def __init__(self, vocab_size):
            super().__init__()
            self.table = nn.Embedding(vocab_size, 8)
            self.head = nn.Linear(8, vocab_size)

        def forward(self, x):
            return self.work(self.head(self.table(x)))

        def work(self, logits):
            return logits


    class RaisesInInit(Base):
        def __init__(self, vocab_size):
            raise ValueError("no such colour\\nand a second line")


    class LeavesInInit(Base):
        def __init__(self, vocab_size):
            sys.exit(3)


    class Raises(Base):
        def work(self, logits):
            raise KeyError("lost")


    class RaisesLater(Base):
        def work(self, logits):
            if is_opened():
                raise RuntimeError("tired")
            return logits


    class Prints(Base):
        def work(self, logits):
            print("{}", flush=True)
            os.write(1, b'{"type":"bye"}\\n')
            os.system("echo from a child")
            return logits


    class Leaves(Base):
        def work(self, logits):
            os._exit(0)


    class GivesNan(Base):
        def work(self, logits):
            return logits * float("nan")


    class WrongShape(Base):
        def work(self, logits):
            return logits[:, :, :100]


    class WrongRows(Base):
        def work(self, logits):
            return logits.flatten(0, 1)[1:]


    class WrongType(Base):
        def work(self, logits):
            return {"predictions": logits.tolist()}


    class WrongDtype(Base):
        def work(self, logits):
            return logits.argmax(-1, keepdim=True).expand_as(logits)


    class ShrinksLater(Base):
        def work(self, logits):
            return logits[:, :1, :7] if is_opened() else logits


    class Frozen(Base):
        def __init__(self, vocab_size):
            super().__init__(vocab_size)
            self.requires_grad_(False)


    class Hungry(Base):
        def work(self, logits):
            return logits + torch.empty(1 << 48).sum()


    class Threads(Base):
        def __init__(self, vocab_size):
            super().__init__(vocab_size)
            threading.Thread(target=time.sleep, args=(600,)).start()


    class Hangs(Base):
        def work(self, logits):
            if is_opened():
                time.sleep(600)
            return logits
"""


@pytest.fixture(name="folder")
def folder_fixture(tmp_path):
    write(tmp_path, "hostile.py", HOSTILE)
    return tmp_path


@pytest.mark.parametrize(
    "name, words",
    [
        ("RaisesInInit", "ValueError: no such colour and a second line (hostile.py:"),
        ("LeavesInInit", "SystemExit: 3"),
        ("Raises", "KeyError: 'lost'"),
        ("WrongShape", "shape (2, 8, 100)"),
        ("WrongRows", "shape (15, 211)"),
        ("WrongType", "wanted are logits"),
        ("WrongDtype", "torch.int64"),
        ("Frozen", "no parameters to train"),
    ],
)
def test_broken_models_are_model_errors_at_open(folder, name, words):
    for mode in ("train", "infer") if name.startswith("Wrong") else ("train",):
        reply = refusal(folder, mode, model_ref=f"hostile:{name}")
        assert reply["kind"] == "model" and words in reply["text"], reply
    if name.startswith("Raises"):
        assert "hostile.py:" in reply["text"]  # where


def test_models_that_break_later_are_model_errors_of_that_block(folder):
    reply = broken_run(folder, model_ref="hostile:RaisesLater")
    assert reply["kind"] == "model" and "RuntimeError: tired" in reply["text"]
    reply = broken_run(folder, "infer", model_ref="hostile:ShrinksLater")
    assert reply["kind"] == "model" and "shape (2, 1, 7)" in reply["text"]
    assert broken_run(folder, "train", model_ref="hostile:ShrinksLater")["kind"] == "model"


def test_running_out_of_host_memory_is_oom(folder):
    reply = refusal(folder, model_ref="hostile:Hungry")
    assert reply["kind"] == "oom" and reply["scope"] == "host"
    assert reply["needed_bytes"] == 4 << 48 and reply["available_bytes"] > 0


def test_prints_do_not_touch_the_protocol(folder):
    with TorchWorker(folder) as worker:
        worker.open(SPEC, "train", 8, model_ref="hostile:Prints")
        assert worker.run(2)["steps"] == 2
        assert worker.memory()["type"] == "memory"


def test_nan_is_counted(folder):
    for mode, counted in (("train", 4), ("infer", 1)):
        with TorchWorker(folder) as worker:
            worker.open(SPEC, mode, 8, model_ref="hostile:GivesNan")
            block = worker.run(3)
            assert block["nonfinite"] == counted  # three losses and a norm; the last logits
            assert "loss" not in block and "grad_norm" not in block


def test_a_model_that_leaves_ends_the_worker(folder):
    with TorchWorker(folder) as worker:
        with pytest.raises(RuntimeError, match="the worker is gone, exit code 0"):
            worker.open(SPEC, "train", 8, model_ref="hostile:Leaves")


def test_a_model_s_threads_do_not_keep_the_worker(folder):
    with TorchWorker(folder) as worker:
        worker.open(SPEC, "train", 8, model_ref="hostile:Threads")
        assert worker.ask({"type": "close"})["type"] == "bye"
        assert worker.process.wait(TIMEOUT_S) == 0


def test_a_model_that_hangs_can_be_ended(folder):
    worker = TorchWorker(folder, is_started=True)
    worker.open(SPEC, "infer", 8, model_ref="hostile:Hangs")
    (folder / "opened").touch()
    worker.process.stdin.write('{"type":"run","steps":1,"sync":"step"}\n')
    worker.process.stdin.flush()
    time.sleep(1)
    assert worker.process.poll() is None
    worker.process.terminate()
    assert worker.process.wait(TIMEOUT_S) == -15
    worker.process.stdin.close()
    worker.process.stdout.close()


def test_the_output_lives_to_the_end_of_a_training_step(tmp_path):
    """As in a loop that gives it a name: it is part of the peak of memory."""
    write(tmp_path, "watched.py", """
        import weakref
        import torch
        from torch import nn


        class Watched(nn.Module):
            def __init__(self, vocab_size):
                super().__init__()
                self.table = nn.Embedding(vocab_size, 4)
                self.head = nn.Linear(4, vocab_size)
                self.table.weight.register_post_accumulate_grad_hook(self.look)

            def forward(self, ids):
                out = self.head(self.table(ids))
                self.output = weakref.ref(out)
                return out

            def look(self, _parameter):
                if self.output() is None:
                    raise RuntimeError("the output is gone")
    """)
    with TorchWorker(tmp_path) as worker:
        worker.open(SPEC, "train", 8, model_ref="watched:Watched")
        assert worker.run(2)["nonfinite"] == 0
