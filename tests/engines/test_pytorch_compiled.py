"""Models that their author compiled: what is timed is what runs without tokmark. Each model here counts, in a file,
how often its part ran as plain Python and how often as a graph."""
import json
import shutil

import pytest
import torch

from pytorch_worker import MOE, TorchWorker
from test_pytorch_sources import write
from tokmark_worker.cell import read_cell
from tokmark_worker.torch_engine import TorchEngine
from worker_client import WorkerError, open_message

SPEC = {**MOE, "name": "superintelligence-tiny", "max_seq_len": 8, "vocab_size": 50}

MODELS = """
    import json

    import torch
    from torch import nn

    COUNTS = {"graph": 0, "python": 0}


    def count(value):
        COUNTS["graph" if value == 1 else "python"] += 1
        with open("counts.json", "w") as file:
            json.dump(COUNTS, file)


    def part(h):
        # a number that is fixed while the graph is made
        return torch.tanh(h), h.new_full((), 1.0 if torch.compiler.is_compiling() else 2.0)


    class Base(nn.Module):
        fullgraph = False

        def __init__(self, vocab_size):
            super().__init__()
            self.table = nn.Embedding(vocab_size, 8)
            self.head = nn.Linear(8, vocab_size)
            self.make()

        def make(self):
            self.part = torch.compile(part, backend="eager", fullgraph=self.fullgraph)

        def forward(self, x):
            h, mark = self.part(self.table(x))
            count(float(mark))
            return self.head(h)


    class Part(Base):
        pass


    class InOnePiece(Base):
        fullgraph = True


    class Plain(Base):
        def make(self):
            self.part = part


    class Later(Base):
        def make(self):
            super().make()
            self.calls = 0

        def forward(self, x):
            self.calls += 1
            if self.calls > 1:
                return super().forward(x)
            return self.head(part(self.table(x))[0])


    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(8, 8)
            self.register_buffer("mark", torch.zeros(()), persistent=False)

        def forward(self, h):
            self.mark.fill_(1.0 if torch.compiler.is_compiling() else 2.0)
            return h + self.linear(h).relu()


    class Layers(nn.Module):
        # one by one, in place
        def __init__(self, vocab_size):
            super().__init__()
            self.table = nn.Embedding(vocab_size, 8)
            self.layers = nn.ModuleList(Layer() for _ in range(3))
            self.head = nn.Linear(8, vocab_size)
            for layer in self.layers:
                layer.compile(backend="eager", fullgraph=True)

        def forward(self, x):
            h = self.table(x)
            for layer in self.layers:
                h = layer(h)
            count(float(max(layer.mark for layer in self.layers)))
            return self.head(h)


    class Inner(nn.Module):
        def __init__(self, vocab_size):
            super().__init__()
            self.table = nn.Embedding(vocab_size, 8)
            self.head = nn.Linear(8, vocab_size)
            self.register_buffer("mark", torch.zeros(()), persistent=False)

        def forward(self, x):
            self.mark.fill_(1.0 if torch.compiler.is_compiling() else 2.0)
            return self.head(self.table(x))


    def whole(vocab_size):
        model = torch.compile(Inner(vocab_size), backend="eager")
        model.register_forward_hook(lambda module, args, out: count(float(module.mark)))
        return model


    class ByLength(Base):
        # another graph for every tenth call
        def make(self):
            super().make()
            self.calls = 0

        def forward(self, x):
            self.calls += 1
            if self.calls > 4:
                self.part(x.new_zeros(1, self.calls, self.calls % 7 + 1, dtype=torch.float32))
            return super().forward(x)


    class Broken(Base):
        def make(self):
            def broken(h):
                torch._dynamo.graph_break()
                return h, h
            self.part = torch.compile(broken, backend="eager", fullgraph=True)


    @torch.jit.script
    def squared(x):
        return torch.relu(x) * x


    class ScriptedPart(nn.Module):
        # a function, of which no module tells
        def __init__(self, vocab_size):
            super().__init__()
            self.table = nn.Embedding(vocab_size, 8)
            self.head = nn.Linear(8, vocab_size)

        def forward(self, idx):
            return self.head(squared(self.table(idx)))


    def traced(vocab_size):
        class Small(nn.Module):
            def __init__(self):
                super().__init__()
                self.table = nn.Embedding(vocab_size, 8)
                self.head = nn.Linear(8, vocab_size)

            def forward(self, x):
                return self.head(self.table(x))
        return torch.jit.trace(Small(), torch.zeros(2, 8, dtype=torch.int64))


    class Flexible(nn.Module):
        def __init__(self, vocab_size):
            super().__init__()
            self.table = nn.Embedding(vocab_size, 16)
            self.head = nn.Linear(16, vocab_size)

        def forward(self, x):
            from torch.nn.attention.flex_attention import flex_attention
            h = self.table(x).unsqueeze(1)
            return self.head(flex_attention(h, h, h).squeeze(1))
"""


@pytest.fixture(name="folder", scope="module")
def folder_fixture(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compiled")
    write(folder, "authors.py", MODELS)
    return folder


def opened(worker, name, mode, **options):
    options = {"set": {"vocab_size": "50"}, **options}
    return worker.open(SPEC, mode, 8, model_ref=f"authors:{name}", options=options)


def counts(folder):
    return json.loads((folder / "counts.json").read_text())


@pytest.mark.parametrize("mode", ["train", "infer"])
@pytest.mark.parametrize("name", ["Part", "InOnePiece", "Later", "Layers", "whole"])
def test_what_is_timed_is_compiled_as_its_author_said(folder, name, mode):
    with TorchWorker(folder) as worker:
        ready = opened(worker, name, mode)
        assert ready["compiled"] == "by the model" and ready["compile_ns"] > 0
        assert "compiled" in ready["backend"] and ready["dtype_compute"] == "fp32"
        before = counts(folder)
        block = worker.run(4)
        after = counts(folder)
    assert block["recompiles"] == 0
    assert (after["graph"] - before["graph"], after["python"] - before["python"]) == (4, 0)
    assert after["python"] == 0


def test_a_plain_model_is_not_called_compiled(folder):
    with TorchWorker(folder) as worker:
        ready = opened(worker, "Plain", "infer")
        assert ready["compiled"] == "no" and "compile_ns" not in ready and "compiled" not in ready["backend"]
        assert worker.run(2)["recompiles"] == 0
        assert counts(folder)["graph"] == 0


def test_a_part_that_a_transformers_model_compiles_is_compiled_in_decode(tmp_path, monkeypatch):
    """Swapped before the worker begins, as an author's own class would be."""
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(vocab_size=50, n_embd=16, n_layer=1, n_head=2, n_positions=16)
    config.architectures = ["GPT2LMHeadModel"]
    config.save_pretrained(tmp_path)
    write(tmp_path, "transformers_patch.py", """
        import json
        import torch
        from torch import nn
        from transformers.models.gpt2 import modeling_gpt2

        COUNTS = {"graph": 0, "python": 0}
        plain = modeling_gpt2.GPT2MLP.forward


        def body(self, h):
            return plain(self, h), h.new_full((), 1.0 if torch.compiler.is_compiling() else 2.0)


        fast = torch.compile(body, backend="eager")


        def forward(self, h):
            out, mark = fast(self, h)
            COUNTS["graph" if float(mark) == 1 else "python"] += 1
            with open("counts.json", "w") as file:
                json.dump(COUNTS, file)
            return out


        modeling_gpt2.GPT2MLP.forward = forward
    """)
    monkeypatch.setenv("TOKMARK_TEST_IMPORT", "transformers_patch")
    with TorchWorker(tmp_path) as worker:
        ready = worker.open(SPEC, "decode", 8, 2, model_ref=f"hf:{tmp_path}")
        assert ready["compiled"] == "by the model"
        before = counts(tmp_path)
        assert worker.run(4)["recompiles"] == 0
        after = counts(tmp_path)
    assert after["graph"] - before["graph"] == 4 and after["python"] == 0


def test_compilations_inside_blocks_are_counted_for_an_author_s_compiler_too(folder):
    with TorchWorker(folder) as worker:
        opened(worker, "ByLength", "infer")
        assert worker.run(6)["recompiles"] > 0


def test_tokmark_s_own_compilation_is_said_apart(folder, monkeypatch):
    if shutil.which("g++") is None:
        pytest.skip("compiling for a CPU needs a C++ compiler")
    # else a program is compiled and run that shows whether the processor's vectors work
    monkeypatch.setenv("TORCHINDUCTOR_VEC_ISA_OK", "1")
    # else all of PyTorch's headers are compiled ahead, for a clone's first and only such program
    monkeypatch.setenv("TORCHINDUCTOR_CPP_CACHE_PRECOMPILE_HEADERS", "0")
    with TorchWorker(folder) as worker:
        ready = opened(worker, "Plain", "infer", compile="default")
        assert ready["compiled"] == "by tokmark (default)" and ready["compile_ns"] > 0


def test_the_experts_of_tokmark_s_own_model_are_left_uncompiled(monkeypatch):
    """How many rows each of them has changes with every step."""
    plainly, before = torch.compile, torch.get_num_threads()
    monkeypatch.setattr(torch, "compile", lambda model, mode, dynamic: plainly(model, backend="eager", dynamic=dynamic))
    engine = TorchEngine()
    try:
        engine.open(read_cell(open_message("pytorch", SPEC, "infer", 8, 2, options={"compile": "default"})))
        assert [engine.run_block(2, "step")["recompiles"] for _ in range(3)] == [0, 0, 0]
    finally:
        engine.close()
        torch.set_num_threads(before)


def test_what_cannot_be_compiled_whole_is_the_author_s_error(folder):
    with TorchWorker(folder) as worker:
        with pytest.raises(WorkerError, match="graph_break|Unsupported"):
            opened(worker, "Broken", "infer")


def test_torchscript_and_flex_attention_run_and_are_seen(folder):
    with TorchWorker(folder) as worker:
        ready = opened(worker, "traced", "train")
        assert ready["compiled"] == "by the model" and "TorchScript" in ready["notes"]
        assert ready["dtype_compute"] == "fp32" and worker.run(2)["nonfinite"] == 0
    with TorchWorker(folder) as worker:
        ready = opened(worker, "ScriptedPart", "infer")
        assert ready["compiled"] == "by the model" and "TorchScript" in ready["notes"]
    with TorchWorker(folder) as worker:
        ready = opened(worker, "Flexible", "infer")
        assert ready["compiled"] == "no"  # PyTorch's own use of its compiler is not the author's
        assert worker.run(2)["recompiles"] == 0
