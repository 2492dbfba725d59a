"""Models whose figures would be of something else than what was asked, and sentences that say what to do. In this
process."""
import contextlib

import pytest
import torch

from pytorch_worker import MOE
from test_pytorch_sources import write
from tokmark_worker import host_memory
from tokmark_worker.cell import read_cell
from tokmark_worker.errors import WorkerError
from tokmark_worker.torch_engine import TorchEngine
from worker_client import open_message

T = 8
MODELS = """
    import torch
    import torch.nn.functional as F
    from torch import nn


    class Base(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(50, 8)
            self.head = nn.Linear(8, 50)

        def out(self, x):
            return self.head(self.table(x))

        def forward(self, x):
            return self.out(x)


    def of_tokens(logits, targets):
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view_as(targets)


    class TokensBeside(Base):
        def forward(self, x, targets=None):
            logits = self.out(x)
            return logits, None if targets is None else of_tokens(logits, targets)


    class RowsInDict(Base):
        def forward(self, x, targets=None):
            logits = self.out(x)
            return {"logits": logits, "nll": None if targets is None else of_tokens(logits, targets).mean(1)}


    class ShiftedBeside(Base):
        def forward(self, x, labels=None):
            logits = self.out(x)
            return (logits,) if labels is None else (of_tokens(logits[:, :-1], labels[:, 1:]), logits)


    class ValuesBeside(Base):
        "a number for each token that is no loss"

        def forward(self, x, targets=None):
            logits = self.out(x)
            return logits, logits.mean(-1)


    class Probabilities(Base):
        def forward(self, x):
            return self.out(x).softmax(-1)


    class FlatProbabilities(Base):
        def forward(self, x, targets=None):
            return {"logits": self.out(x).softmax(-1).flatten(0, 1)}


    class LogProbabilities(Base):
        def forward(self, x):
            return self.out(x).log_softmax(-1)


    class Grows(Base):
        def __init__(self):
            super().__init__()
            self.kept = []

        def forward(self, x):
            h = self.table(x)
            self.kept.append(h.detach())
            keys = torch.cat(self.kept, 1)
            return self.head((h @ keys.transpose(1, 2)).softmax(-1) @ keys)


    class GrowsUnlessTold(Grows):
        def forward(self, x, use_cache=True):
            return super().forward(x) if use_cache else self.out(x)


    class Drops(Base):
        "does a layer or not, by chance"

        def forward(self, x):
            h = self.table(x)
            return self.head(h if torch.rand(()) < 0.5 else h @ h.transpose(1, 2) @ h)


    class Loops(Base):
        "(T, B), by a loop of its own"

        def __init__(self):
            super().__init__()
            self.cell = nn.GRUCell(8, 8)

        def forward(self, x):
            h, outs = torch.zeros(x.shape[1], 8), []
            for step in self.table(x):
                h = self.cell(step, h)
                outs.append(h)
            return self.head(torch.stack(outs))


    class LoopsTurned(Loops):
        def forward(self, x):
            return super().forward(x.t()).transpose(0, 1)


    class Sums(Base):
        def forward(self, x, targets=None):
            return {"logits": self.head(F.dropout(self.table(x).cumsum(0), 0.5, self.training))}


    class Statistics(Base):
        "of the rows, at each position"

        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm1d(8)

        def forward(self, x):
            return self.head(self.norm(self.table(x)))


    class AccuracyFirst(Base):
        def forward(self, x, targets=None):
            logits = self.out(x)
            if targets is None:
                return logits
            loss = of_tokens(logits, targets).mean()
            return logits, loss.detach().exp(), loss + 100


    class Untrained(Base):
        "all work is on a tensor that is no parameter"

        def __init__(self):
            super().__init__()
            self.own = torch.zeros(8, 50, requires_grad=True)

        def forward(self, x):
            return self.table.weight.detach()[x] @ self.own


    class FewPlaces(Base):
        def __init__(self):
            super().__init__()
            self.pos_emb = nn.Embedding(5, 8)

        def forward(self, x):
            return self.head(self.table(x) + self.pos_emb(torch.arange(x.shape[1])))


    class FewPlacesInOne(Base):
        def __init__(self):
            super().__init__()
            self.position = nn.Parameter(torch.zeros(1, 5, 8))

        def forward(self, x):
            return self.head(self.table(x) + self.position[:, : x.shape[1]])


    class NoVocabulary(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.head = nn.Linear(50, 8), nn.Linear(8, 50)

        def forward(self, x):
            return self.head(self.first(F.one_hot(x, 50).float()))


    class Images(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Conv1d(1, 4, 3)

        def forward(self, pixels):
            return self.first(pixels[:, None])


    class Batch(Base):
        def forward(self, batch):
            x, y = batch
            return F.cross_entropy(self.out(x).flatten(0, 1), y.flatten())


    class NoForward(nn.Module):
        def training_step(self, batch):
            return None


    class Trains(Base):
        def training_step(self, batch):
            return 2.0


    def with_tokenizer():
        return Base(), len


    def in_dict():
        return {"net": Base(), "loss": None}


    def scripted():
        return torch.jit.script(nn.Sequential(nn.Embedding(50, 8), nn.Linear(8, 50)))


    class FailsScripted(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(50, 8)

        def forward(self, x):
            return self.table(x + 100)


    def fails_scripted():
        return torch.jit.script(FailsScripted())


    class Wants(Base):
        def __init__(self, args):
            super().__init__()
            self.extra = nn.Linear(args.dim, 1)


    class OtherArgs(Base):
        "its name ends as a configuration's does"


    class OneThread(Base):
        def __init__(self):
            super().__init__()
            torch.set_num_threads(1)
"""


@pytest.fixture(name="folder", scope="module")
def folder_fixture(tmp_path_factory):
    folder = tmp_path_factory.mktemp("refusals")
    write(folder, "unlike.py", MODELS)
    return folder


@contextlib.contextmanager
def opened(folder, name, mode="train", **changes):
    message = open_message("pytorch", {**MOE, "max_seq_len": T}, mode, T, 2, model_ref=f"{folder}/unlike.py:{name}", **changes)
    engine = TorchEngine()
    before = torch.get_num_threads()
    try:
        yield engine, engine.open(read_cell(message))
    finally:
        engine.close()
        torch.set_num_threads(before)


def refused(folder, name, mode="train"):
    with pytest.raises(WorkerError) as found:
        with opened(folder, name, mode):
            pass
    return found.value.text


def test_a_model_that_the_host_cannot_hold_is_refused_once_it_is_known(folder, monkeypatch):
    """Before it is called: the kernel would kill the process instead."""
    monkeypatch.setattr(host_memory, "usable_bytes", lambda: 1000)
    with pytest.raises(WorkerError) as found:
        with opened(folder, "Drops", "infer"):
            pass
    error = found.value
    assert (error.kind, error.scope, error.available_bytes) == ("oom", "host", 1000)
    assert error.needed_bytes == 2 * T * 50 * 4  # logits; whatever weights it has are made


def test_the_matmuls_that_a_precision_means_are_set(folder, monkeypatch):
    set_to = []
    monkeypatch.setattr(torch, "set_float32_matmul_precision", set_to.append)
    with opened(folder, "Drops", "infer"):
        assert set_to == ["highest"]


@pytest.mark.parametrize("name, mode, words", [
    ("TokensBeside", "train", "(2, 8) of torch.float32: a loss is one number"),
    ("RowsInDict", "train", "(2,) of torch.float32: a loss is one number"),
    ("ShiftedBeside", "train", "(2, 7) of torch.float32: a loss is one number"),
    ("Probabilities", "train", "forward gives probabilities"),
    ("FlatProbabilities", "train", "forward gives probabilities"),
    ("Grows", "train", "every call does more work than the one before"),
    ("Grows", "infer", "every call does more work than the one before"),
    ("Untrained", "train", "no parameter got a gradient"),
    ("Loops", "train", "the model takes tokens (T, B)"),
    ("Sums", "infer", "the model takes tokens (T, B)"),
    ("Sums", "train", "the model takes tokens (T, B)"),
])
def test_what_would_be_measured_as_something_else_is_refused(folder, name, mode, words):
    assert words in refused(folder, name, mode)


@pytest.mark.parametrize("name, mode", [
    ("TokensBeside", "infer"), ("ValuesBeside", "train"), ("Probabilities", "infer"), ("LogProbabilities", "train"),
    ("GrowsUnlessTold", "train"), ("Drops", "infer"), ("LoopsTurned", "infer"), ("Statistics", "train"),
])
def test_what_only_looks_like_it_is_measured(folder, name, mode):
    with opened(folder, name, mode) as (engine, _):
        assert engine.run_block(1, "step")["nonfinite"] == 0


@pytest.mark.parametrize("name, words", [
    ("FewPlaces", "'pos_emb' has 5 positions: seq_len may be at most 5"),
    ("FewPlacesInOne", "'position' has 5 positions: seq_len may be at most 5"),
    ("NoVocabulary", "nothing says the model's vocabulary"),
    ("Batch", "tokmark gives 'batch' token ids"),
    ("Images", "tokmark gives token ids (int64): a model of images or of other numbers"),
    ("NoForward", "NoForward has no forward of its own: tokmark calls forward(tokens), and training_step is never called"),
    ("with_tokenizer", "gave a tuple of Base, builtin_function_or_method, not a torch.nn.Module: a function that returns"),
    ("in_dict", "gave a dict of Base, NoneType, not"),
    ("fails_scripted", "index out of range in self"),
])
def test_a_sentence_says_what_to_do(folder, name, words):
    text = refused(folder, name)
    assert words in text and "Traceback" not in text and len(text) < 512, text


def test_of_several_numbers_one_with_a_gradient_is_the_loss(folder):
    with opened(folder, "AccuracyFirst") as (engine, ready):
        assert ready["loss_source"] == "model" and engine.run_block(1, "step")["loss"] > 100


def test_a_script_s_table_says_the_vocabulary(folder):
    with opened(folder, "scripted") as (_, ready):
        assert "model_chosen" not in ready or ready["model_chosen"] is None
        assert "vocabulary 50 from the model" in ready["notes"]


def test_a_model_s_class_is_no_configuration(folder):
    with opened(folder, "Wants") as (_, ready):
        assert "dim" in ready["model_chosen"]


def test_a_training_step_that_is_not_called_is_said(folder):
    with opened(folder, "Trains") as (_, ready):
        assert "training_step is not called" in ready["notes"] and ready["loss_source"] == "tokmark"


def test_threads_that_a_model_sets_are_said(folder):
    torch.set_num_threads(2)
    with opened(folder, "OneThread", threads=2) as (_, ready):
        assert ready["framework_settings"] == "threads 1, not 2" and ready["threads"] == 1
