"""How a user's forward is called and whose loss is used. The small models here are written for these tests."""
import math
import types

import pytest
import torch
from safetensors.torch import load_file, save_file

from pytorch_worker import MOE, TorchWorker
from test_pytorch_sources import write
from tokmark_worker.torch_call import Caller
from worker_client import WorkerError

SPEC = {**MOE, "name": "superintelligence-tiny", "max_seq_len": 8, "vocab_size": 50}

MODELS = """
    import functools
    from collections import namedtuple

    import torch
    import torch.nn.functional as F
    from torch import nn


    class Base(nn.Module):
        def __init__(self, vocab_size):
            super().__init__()
            self.table = nn.Embedding(vocab_size, 8)
            self.head = nn.Linear(8, vocab_size)

        def out(self, ids):
            assert ids.dtype == torch.int64 and tuple(ids.shape) == (2, 8)
            return self.head(self.table(ids))

        def own_loss(self, logits, wanted):
            # an offset that tokmark's own cross-entropy has not
            return F.cross_entropy(logits.flatten(0, 1), wanted.flatten()) + 100


    def mean_first(self, ids, scale=None, wanted=None):
        assert scale is None
        logits = self.out(ids)
        return logits, None if wanted is None else self.own_loss(logits, wanted)


    class Behind(Base):
        def forward(self, tokens, scale=None, cache=None, label=None):
            return mean_first(self, tokens, scale, label)


    class KeywordOnly(Base):
        def forward(self, *, y=None, token_ids):
            return mean_first(self, token_ids, None, y)


    class LossInDict(Base):
        def forward(self, inputs, labels=None):
            logits, loss = mean_first(self, inputs, None, labels)
            return {"loss": loss, "logits": logits}


    Both = namedtuple("Both", "loss logits")


    class LossInObject(Base):
        def forward(self, idx, target=None):
            logits, loss = mean_first(self, idx, None, target)
            return Both(loss, logits)


    class LossFirst(Base):
        def forward(self, idx, targets=None):
            logits, loss = mean_first(self, idx, None, targets)
            return (loss, logits) if loss is not None else (logits,)


    class LossThird(Base):
        def forward(self, idx, targets=None):
            logits, loss = mean_first(self, idx, None, targets)
            return logits, None, loss


    class LossAlone(Base):
        def forward(self, idx, targets=None):
            logits, loss = mean_first(self, idx, None, targets)
            return logits if loss is None else loss


    class ShiftsItself(Base):
        def forward(self, input_ids, labels=None):
            logits = self.out(input_ids)
            if labels is None:
                return logits, None
            wanted = labels[:, 1:]
            return logits, F.cross_entropy(logits[:, :-1].flatten(0, 1), wanted.flatten())


    class Flat(Base):
        # rows and positions in one dimension, where there are targets
        def forward(self, idx, targets=None):
            logits, loss = mean_first(self, idx, None, targets)
            return logits if loss is None else logits.flatten(0, 1), loss


    class OtherWord(Base):
        def forward(self, idx, target_mask=None, num_labels=3, lm_labels=None):
            assert target_mask is None and num_labels == 3
            return mean_first(self, idx, None, lm_labels)


    class TotalInDict(Base):
        def forward(self, idx, targets=None):
            logits, loss = mean_first(self, idx, None, targets)
            out = {"aux_loss": logits.square().mean(), "lm_logits": logits}
            return out if loss is None else {**out, "ce_loss": loss - 90, "total_loss": loss, "perplexity": loss.exp()}


    class LossAloneInDict(Base):
        def forward(self, idx, targets=None):
            logits, loss = mean_first(self, idx, None, targets)
            return {"logits": logits} if loss is None else {"lm_loss": loss}


    class NoLogits(Base):
        def forward(self, idx, targets=None):
            logits, loss = mean_first(self, idx, None, targets)
            return (logits, None) if loss is None else (None, loss)


    class SecondNumber(Base):
        # (logits, a number that the targets do not move, the loss)
        def forward(self, idx, targets=None):
            logits, loss = mean_first(self, idx, None, targets)
            return logits, logits.square().mean(), loss


    def silent(function):
        def wrapper(*args, **kwargs):  # without functools.wraps
            return function(*args, **kwargs)
        return wrapper


    class Decorated(Base):
        @silent
        def forward(self, idx, targets=None):
            return mean_first(self, idx, None, targets)


    class Adapted(nn.Module):
        # two parts: which one the arguments go to is in the code
        def __init__(self, vocab_size):
            super().__init__()
            self.adapter = nn.Linear(8, 8)
            self.base = Behind(vocab_size)

        def forward(self, *args, **kwargs):
            return self.base(*args, **kwargs)


    class KeywordsOnly(Adapted):
        def forward(self, **batch):
            return self.base(batch["tokens"], label=batch["label"])


    class HiddenFirst(Base):
        def forward(self, idx):
            hidden = self.table(idx)
            return hidden, self.head(hidden)


    class OtherAttribute(Base):
        def forward(self, idx):
            class Out:
                pass
            out = Out()
            out.prediction = self.out(idx)
            return out


    class TakesBatch(Base):
        def forward(self, batch: "dict[str, torch.Tensor]"):
            return self.out(batch["ids"])


    class TwoLosses(Base):
        def forward(self, idx, targets=None):
            logits, loss = mean_first(self, idx, None, targets)
            return {"logits": logits, "lm_loss": loss, "aux_loss": logits.square().mean()}


    class RowLosses(Base):
        def forward(self, idx, targets=None):
            logits, loss = mean_first(self, idx, None, targets)
            return logits if loss is None else logits.mean(-1)


    class ShiftsBeside(Base):
        # neither value nor logits tell that it shifts
        def forward(self, idx, labels=None):
            logits = self.out(idx)
            if labels is None:
                return logits
            shifted = F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
            return shifted + logits.logsumexp(-1).square().mean()


    class ShiftsAtZero(Base):
        # as long as the head is zero, every label's loss is the same
        def __init__(self, vocab_size):
            super().__init__(vocab_size)
            nn.init.zeros_(self.head.weight)
            nn.init.zeros_(self.head.bias)

        def forward(self, idx, labels=None):
            logits = self.out(idx)
            return logits, F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())


    class ShiftsAlone(ShiftsAtZero):
        def forward(self, idx, labels=None):
            return super().forward(idx, labels)[1]


    class PlainAtZero(ShiftsAtZero):
        def forward(self, idx, labels=None):
            logits = self.out(idx)
            return logits, F.cross_entropy(logits.flatten(0, 1), labels.flatten())


    class PreTrainedModel(Base):
        pass


    class OwnForCausalLM(PreTrainedModel):
        # called as transformers' are, and does not shift as they do
        def forward(self, idx, labels=None):
            return mean_first(self, idx, None, labels)


    class NumberBeside(Base):
        # no targets, so the number is no loss
        def forward(self, idx):
            logits = self.out(idx)
            return logits, logits.square().mean() + 100


    class Passes(nn.Module):
        def __init__(self, vocab_size):
            super().__init__()
            self.inner = Behind(vocab_size)

        def forward(self, *args, **kwargs):
            return self.inner(*args, **kwargs)


    class PassesWords(nn.Module):
        def __init__(self, vocab_size):
            super().__init__()
            self.inner = Behind(vocab_size)

        def forward(self, idx, **rest):
            return self.inner(idx, **rest)


    class PassesPlaces(nn.Module):
        # what is third cannot be reached by name, and not by place either
        def __init__(self, vocab_size):
            super().__init__()
            self.inner = Behind(vocab_size)

        def forward(self, *args):
            return self.inner(*args)


    class PassesSecond(PassesPlaces):
        def __init__(self, vocab_size):
            super().__init__(vocab_size)
            self.inner = LossInObject(vocab_size)


    def loud(function):
        @functools.wraps(function)
        def wrapper(*args, **kwargs):
            return function(*args, **kwargs)
        return wrapper


    class Wrapped(Base):
        @loud
        def forward(self, idx, scale=None, targets=None):
            return mean_first(self, idx, scale, targets)


    def parallel(vocab_size):
        return nn.DataParallel(Behind(vocab_size))


    def compiled(vocab_size):
        return torch.compile(Behind(vocab_size), backend="eager")


    class Plain(Base):
        def forward(self, x):
            return self.out(x)


    def scripted(vocab_size):
        return torch.jit.trace(Plain(vocab_size), torch.zeros(2, 8, dtype=torch.int64))


    class Extras(Base):
        def forward(self, input_ids, attention_mask, position_ids):
            assert attention_mask.shape == position_ids.shape == input_ids.shape
            assert attention_mask.all() and position_ids[1].tolist() == list(range(8))
            return self.out(input_ids)


    class MaskBefore(Base):
        def forward(self, mask=None, ids=None):
            assert mask is None
            return self.out(ids)


    class NeedsMore(Base):
        def forward(self, tokens, start_pos):
            return self.out(tokens)


    class NeedsEmbeddings(Base):
        def forward(self, inputs_embeds, attention_mask=None):
            return self.head(inputs_embeds)


    class NeedsTargets(Base):
        def forward(self, idx, targets):
            return mean_first(self, idx, None, targets)


    class UnderNoGrad(Base):
        @torch.no_grad()
        def forward(self, idx):
            return self.out(idx)


    class UnderInference(Base):
        def forward(self, idx, targets=None):
            with torch.inference_mode():
                return mean_first(self, idx, None, targets)


    class ConstantLoss(Base):
        def forward(self, idx, labels=None):
            return torch.ones(()), self.out(idx)


    class Exchanged(Base):
        def forward(self, idx):
            return self.out(idx).mT


    class Unreduced(Base):
        def forward(self, idx, labels=None):
            logits = self.out(idx)
            return {"loss": logits.mean(-1), "logits": logits}
"""


@pytest.fixture(name="folder", scope="module")
def folder_fixture(tmp_path_factory):
    folder = tmp_path_factory.mktemp("calls")
    write(folder, "calls.py", MODELS)
    return folder


def opened(folder, name, mode, **changes):
    with TorchWorker(folder) as worker:
        ready = worker.open(SPEC, mode, 8, model_ref=f"calls:{name}", options={"set": {"vocab_size": "50"}}, **changes)
        return ready, worker.run(2)


def refused(folder, name, mode):
    with pytest.raises(WorkerError) as found:
        opened(folder, name, mode)
    return found.value.reply


OWN = [
    ("Behind", "forward(tokens, label=targets)"),
    ("KeywordOnly", "forward(token_ids=tokens, y=targets)"),
    ("LossInDict", "forward(inputs, labels=targets)"),
    ("LossInObject", "forward(idx, target=targets)"),
    ("LossFirst", "forward(idx, targets=targets)"),
    ("LossThird", "forward(idx, targets=targets)"),
    ("LossAlone", "forward(idx, targets=targets)"),
    ("Passes", "forward(tokens, label=targets)"),
    ("PassesWords", "forward(idx, label=targets)"),
    ("PassesSecond", "forward(idx, targets)"),
    ("Wrapped", "forward(idx, targets=targets)"),
    ("parallel", "forward(tokens, label=targets)"),
    ("compiled", "forward(tokens, label=targets)"),
    ("NeedsTargets", "forward(idx, targets=targets)"),
    ("Flat", "forward(idx, targets=targets)"),
    ("OtherWord", "forward(idx, lm_labels=targets)"),
    ("TotalInDict", "forward(idx, targets=targets)"),
    ("LossAloneInDict", "forward(idx, targets=targets)"),
    ("NoLogits", "forward(idx, targets=targets)"),
    ("SecondNumber", "forward(idx, targets=targets)"),
    ("Decorated", "forward(idx, targets=targets)"),
    ("Adapted", "forward(tokens, label=targets)"),
    ("KeywordsOnly", "forward(tokens=tokens, label=targets)"),
]


@pytest.mark.parametrize("name, call", OWN)
def test_targets_go_to_their_name_and_the_model_s_own_loss_is_used(folder, name, call):
    ready, block = opened(folder, name, "train")
    assert ready["forward_call"] == call and ready["loss_source"] == "model"
    assert 100 < block["loss"] < 110


TOKMARKS = [
    ("NumberBeside", "forward(idx)"),
    ("PassesPlaces", "forward(tokens)"),
    ("Plain", "forward(x)"),
    ("scripted", "forward(x)"),
    ("Extras", "forward(input_ids, attention_mask=ones(B, T), position_ids=arange(T))"),
    ("MaskBefore", "forward(ids=tokens)"),
    ("HiddenFirst", "forward(idx)"),
    ("OtherAttribute", "forward(idx)"),
]


@pytest.mark.parametrize("name, call", TOKMARKS)
def test_a_model_without_a_loss_gets_tokmark_s(folder, name, call):
    ready, block = opened(folder, name, "train")
    assert ready["forward_call"] == call and ready["loss_source"] == "tokmark"
    assert block["loss"] == pytest.approx(math.log(50), abs=1)


@pytest.mark.parametrize("name, call", [
    ("LossAlone", "forward(idx)"), ("LossFirst", "forward(idx)"), ("LossInDict", "forward(inputs)"),
    ("KeywordOnly", "forward(token_ids=tokens)"), ("UnderInference", "forward(idx)"),
    ("ConstantLoss", "forward(idx)"), ("parallel", "forward(tokens)"), ("TotalInDict", "forward(idx)"),
    ("NoLogits", "forward(idx)"), ("OtherAttribute", "forward(idx)"),
])
def test_inference_gives_no_targets_and_finds_the_logits(folder, name, call):
    ready, block = opened(folder, name, "infer")
    assert ready["forward_call"] == call and "loss_source" not in ready
    assert block["nonfinite"] == 0


@pytest.mark.parametrize("name, precision, given", [
    ("ShiftsItself", "bf16-pure", "input_ids"), ("ShiftsBeside", "fp32", "idx"), ("ShiftsBeside", "bf16-pure", "idx"),
    ("ShiftsAtZero", "fp32", "idx"), ("ShiftsAlone", "fp32", "idx"), ("ShiftsAlone", "bf16-pure", "idx"),
    ("PlainAtZero", "fp32", "targets"), ("OwnForCausalLM", "bf16-pure", "targets"),
])
def test_a_model_that_shifts_its_labels_gets_the_tokens_as_labels(folder, name, precision, given):
    ready, block = opened(folder, name, "train", precision=precision)
    assert ready["forward_call"].endswith(f", labels={given})")
    assert ready["loss_source"] == "model" and block["loss"] > 0


def test_a_cache_that_only_the_inner_model_names_is_not_kept():
    class Inner(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = torch.nn.Embedding(8, 4)
            self.seen = []

        def forward(self, input_ids, use_cache=None):
            self.seen.append(use_cache)
            return self.embedding(input_ids)

    class Outer(torch.nn.Module):
        def __init__(self, config):
            super().__init__()
            self.config, self.model, self.head = config, Inner(), torch.nn.Linear(4, 8)

        def forward(self, input_ids, labels=None, **kwargs):
            return self.head(self.model(input_ids, **kwargs))

    tokens = torch.zeros(1, 3, dtype=torch.long)
    for config, seen in ((types.SimpleNamespace(use_cache=True), False), (types.SimpleNamespace(use_cache=False), None), (None, None)):
        model = Outer(config)
        Caller(model, 8, "infer").logits(tokens)
        assert model.model.seen == [seen]


def test_transformers_own_models_are_known_to_shift(tmp_path):
    transformers = pytest.importorskip("transformers")
    transformers.LlamaConfig(
        vocab_size=50, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=16, architectures=["LlamaForCausalLM"]).save_pretrained(tmp_path)
    with TorchWorker(tmp_path) as worker:
        ready = worker.open(SPEC, "train", 8, model_ref=f"hf:{tmp_path}")
        assert ready["forward_call"] == "forward(input_ids, labels=input_ids, use_cache=False)"
        assert ready["loss_source"] == "model"
        assert worker.run(1)["loss"] == pytest.approx(math.log(50), abs=0.5)


@pytest.mark.parametrize("name, mode, kind, words", [
    ("NeedsMore", "train", "unsupported", "requires 'start_pos'"),
    ("NeedsMore", "infer", "unsupported", "requires 'start_pos'"),
    ("NeedsEmbeddings", "infer", "unsupported", "forward(inputs_embeds, attention_mask) has no parameter for tokens"),
    ("NeedsTargets", "infer", "unsupported", "requires 'targets', which only training has"),
    ("UnderNoGrad", "train", "model", "forward runs without gradients"),
    ("UnderInference", "train", "model", "forward runs without gradients"),
    ("ConstantLoss", "train", "model", "does not depend on the parameters"),
    ("Exchanged", "train", "model", "look exchanged"),
    ("Exchanged", "infer", "model", "shape (2, 50, 8)"),
    ("Unreduced", "train", "model", "the loss that forward gives has shape (2, 8)"),
    ("RowLosses", "train", "model", "a loss is one number"),
    ("TwoLosses", "train", "model", "several losses (lm_loss, aux_loss)"),
    ("TakesBatch", "infer", "unsupported", "takes 'batch' as dict"),
])
def test_what_cannot_be_called_is_refused_in_one_sentence(folder, name, mode, kind, words):
    reply = refused(folder, name, mode)
    assert reply["kind"] == kind and words in reply["text"], reply


def test_the_check_of_a_model_that_trains_on_its_loss_alone_has_logits(folder, tmp_path):
    inputs, output = tmp_path / "i.safetensors", tmp_path / "o.safetensors"
    tokens = torch.randint(0, 50, (2, 8), dtype=torch.int32)
    save_file({"tokens": tokens, "targets": tokens.clone()}, inputs)
    with TorchWorker(folder) as worker:
        worker.open(SPEC, "train", 8, model_ref="calls:LossAlone", options={"set": {"vocab_size": "50"}})
        worker.check(inputs, output, 0)
    written = load_file(output)
    assert written["logits"].shape == (2, 8, 50) and written["grad.head.weight"].abs().sum() > 0
