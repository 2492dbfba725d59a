"""Models in the calling styles of widely used training code, each written for this test: they run unchanged,
and what is timed gives the bare model's logits bit for bit. In this process."""
import importlib
import inspect
import textwrap

import pytest
import torch
import torch.nn.functional as F

from pytorch_worker import MOE
from tokmark_worker.cell import read_cell
from tokmark_worker.errors import WorkerError
from tokmark_worker.torch_engine import TorchEngine
from worker_client import open_message

T = 12
VOCAB = 61

STYLES = """
    import math
    from dataclasses import dataclass, field

    import torch
    import torch.nn as nn
    import torch.nn.functional as F


    class Mixer(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

        def forward(self, x):
            q, k, v = self.qkv(x).unsqueeze(1).chunk(3, dim=-1)
            return x + self.out(F.scaled_dot_product_attention(q, k, v, is_causal=True).squeeze(1))


    # nanoGPT: a config dataclass, tied head, logits of the last position where no targets are given
    @dataclass
    class GPTConfig:
        block_size: int = 64
        vocab_size: int = 61
        n_layer: int = 2
        n_embd: int = 16


    class NanoGPT(nn.Module):
        def __init__(self, config):
            super().__init__()
            self.config = config
            self.wte = nn.Embedding(config.vocab_size, config.n_embd)
            self.wpe = nn.Embedding(config.block_size, config.n_embd)
            self.h = nn.ModuleList(Mixer(config.n_embd) for _ in range(config.n_layer))
            self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
            self.wte.weight = self.lm_head.weight

        def forward(self, idx, targets=None):
            x = self.wte(idx) + self.wpe(torch.arange(idx.shape[1], device=idx.device))
            for block in self.h:
                x = block(x)
            if targets is None:
                return self.lm_head(x[:, [-1], :]), None
            logits = self.lm_head(x)
            return logits, F.cross_entropy(logits.view(-1, logits.size(-1)), targets.view(-1))


    # lit-gpt: a plain forward of logits, tables of rotary angles as buffers, an index of positions by name
    class LitGPT(nn.Module):
        def __init__(self, vocab_size: int = 61, n_embd: int = 16, block_size: int = 64):
            super().__init__()
            self.transformer = nn.ModuleDict(dict(
                wte=nn.Embedding(vocab_size, n_embd), h=nn.ModuleList([Mixer(n_embd), Mixer(n_embd)])))
            self.lm_head = nn.Linear(n_embd, vocab_size, bias=False)
            angles = torch.outer(torch.arange(block_size), 1e-4 ** (torch.arange(n_embd // 2) / n_embd))
            self.register_buffer("cos", angles.cos().repeat(1, 2), persistent=False)

        def forward(self, idx, input_pos=None, lm_head_chunk_size: int = 0):
            x = self.transformer.wte(idx) * self.cos[:idx.size(1)]
            for block in self.transformer.h:
                x = block(x)
            return self.lm_head(x)


    # torchtitan: arguments in a dataclass of its own name, layers in a dict, masks as an optional argument
    @dataclass
    class TransformerModelArgs:
        dim: int = 16
        n_layers: int = 2
        vocab_size: int = 61
        max_seq_len: int = 64


    class Titan(nn.Module):
        def __init__(self, model_args: TransformerModelArgs):
            super().__init__()
            self.model_args = model_args
            self.tok_embeddings = nn.Embedding(model_args.vocab_size, model_args.dim)
            turns = torch.polar(torch.ones(model_args.max_seq_len, model_args.dim // 2),
                                torch.rand(model_args.max_seq_len, model_args.dim // 2))
            self.register_buffer("freqs_cis", turns, persistent=False)
            self.layers = nn.ModuleDict({str(i): Mixer(model_args.dim) for i in range(model_args.n_layers)})
            self.output = nn.Linear(model_args.dim, model_args.vocab_size, bias=False)

        def forward(self, tokens, attention_masks=None):
            h = torch.view_as_complex(self.tok_embeddings(tokens).unflatten(-1, (-1, 2)))
            h = torch.view_as_real(h * self.freqs_cis[:tokens.shape[1]]).flatten(-2)
            for layer in self.layers.values():
                h = layer(h)
            return self.output(h)


    def titan(vocab_size: int = 61, n_layers: int = 2):
        return Titan(TransformerModelArgs(vocab_size=vocab_size, n_layers=n_layers))


    # nanochat: targets give the loss alone, logits in fp32 cut to the vocabulary and soft-capped
    class NanoChat(NanoGPT):
        def forward(self, idx, targets=None, kv_cache=None, loss_reduction="mean"):
            x = self.wte(idx)
            for block in self.h:
                x = block(x)
            logits = 15 * torch.tanh(self.lm_head(x)[..., :self.config.vocab_size].float() / 15)
            if targets is None:
                return logits
            return F.cross_entropy(logits.view(-1, logits.size(-1)), targets.view(-1), reduction=loss_reduction)


    # keeps the last eight tokens of a row, as a loop that generates does, or the first, as a tokenizer does
    class Window(NanoGPT):
        kept = slice(-8, None)

        def forward(self, idx, targets=None):
            return super().forward(idx[:, self.kept], None if targets is None else targets[:, self.kept].contiguous())


    class Truncated(Window):
        kept = slice(0, 8)


    def window():
        return Window(GPTConfig())


    def truncated():
        return Truncated(GPTConfig())


    # PyTorch's own examples: time before rows
    class Words(nn.Module):
        def __init__(self, ntoken: int = 61, batch_first: bool = False, turns: bool = False):
            super().__init__()
            self.encoder, self.decoder = nn.Embedding(ntoken, 16), nn.Linear(16, ntoken)
            self.rnn, self.turns = nn.LSTM(16, 16, batch_first=batch_first), turns

        def forward(self, input, hidden=None):
            x = self.encoder(input)
            output, hidden = self.rnn(x.transpose(0, 1) if self.turns else x, hidden)
            return self.decoder(output.transpose(0, 1) if self.turns else output), hidden


    def words_turned():
        return Words(turns=True)


    # several heads for the tokens to come, a balance of experts beside them, a part that nothing calls
    class Heads(nn.Module):
        def __init__(self, vocab_size: int = 61):
            super().__init__()
            self.wte = nn.Embedding(vocab_size, 16)
            self.heads = nn.ModuleList(nn.Linear(16, vocab_size) for _ in range(2))

        def forward(self, tokens):
            x = self.wte(tokens)
            return {"logits": self.heads[0](x), "next": self.heads[1](x), "balance": x.square().mean()}


    # a table that is there from the first call on
    class Late(LitGPT):
        def __init__(self):
            super().__init__()
            self.places = None

        def forward(self, idx):
            if self.places is None:
                self.places = nn.Parameter(torch.zeros(idx.shape[1], 16))
            return super().forward(idx) + self.lm_head(self.places)


    # names that PyTorch has for its modes, for something else
    class TrainsItself(LitGPT):
        def train(self, loader, epochs=3):
            raise AssertionError("not asked for")

        def eval(self, loader):
            raise AssertionError("not asked for")


    # adapters on a base that is not trained
    class Adapters(LitGPT):
        def __init__(self, vocab_size: int = 61):
            super().__init__(vocab_size)
            self.requires_grad_(False)
            self.down, self.up = nn.Linear(16, 2, bias=False), nn.Linear(2, 16, bias=False)

        def forward(self, idx):
            x = self.transformer.wte(idx)
            x = x + self.up(self.down(x))
            for block in self.transformer.h:
                x = block(x)
            return self.lm_head(x)


    # bytes as vectors: no table says how many there are
    class Bytes(nn.Module):
        def __init__(self):
            super().__init__()
            self.vocab_size = 256
            self.body, self.head = nn.Linear(256, 16), nn.Linear(16, 256)

        def forward(self, x):
            return self.head(self.body(F.one_hot(x, 256).float()))


    def nano_gpt():
        return NanoGPT(GPTConfig())


    def nano_chat():
        return NanoChat(GPTConfig())
"""
TOKENS = torch.randint(0, VOCAB, (2, T), generator=torch.Generator().manual_seed(4))


@pytest.fixture(scope="module")
def styles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("styles")
    (folder / "styles_of_others.py").write_text(textwrap.dedent(STYLES))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(str(folder))
        yield importlib.import_module("styles_of_others")


def opened(name, mode):
    message = open_message("pytorch", {**MOE, "vocab_size": VOCAB, "max_seq_len": T}, mode, T, 2,
                           model_ref=f"styles_of_others:{name}")
    engine = TorchEngine()
    return engine, engine.open(read_cell(message))


def bare(styles, name):
    torch.manual_seed(1)
    return getattr(styles, {"NanoGPT": "nano_gpt", "NanoChat": "nano_chat"}.get(name, name))()


@pytest.mark.parametrize("name", ["NanoGPT", "NanoChat", "LitGPT", "titan"])
def test_a_style_gives_the_bare_model_s_logits_and_loss(name, styles):
    model = bare(styles, name)
    engine, ready = opened(name, "infer")
    assert ready["params_total"] == sum(param.numel() for param in model.parameters())
    with torch.inference_mode():
        out, wanted = engine._steps.step(TOKENS, None), model(TOKENS)
    wanted = wanted[0] if isinstance(wanted, tuple) else wanted
    assert torch.equal(out[0] if isinstance(out, tuple) else out, wanted)
    engine.close()

    engine, _ = opened(name, "train")
    inputs, targets = (part[0].contiguous() for part in engine._tokens.batches(0, 1))
    if "targets" in inspect.signature(model.forward).parameters:
        out = model(inputs, targets=targets)
        loss = out[1] if isinstance(out, tuple) else out
    else:
        loss = F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten())
    block = engine.run_block(1, "step")
    assert block["loss"] == pytest.approx(float(loss.detach()), rel=1e-6) and block["nonfinite"] == 0
    engine.close()


@pytest.mark.parametrize("mode", ["train", "infer"])
@pytest.mark.parametrize("name, words", [
    ("window", "cuts rows of 12 tokens to 8"),
    ("truncated", "cuts rows of 12 tokens to 8"),
    ("Words", "takes tokens (T, B): its LSTM 'rnn' has batch_first=False"),
])
def test_a_model_that_does_not_work_on_every_row_s_tokens_is_refused(name, words, mode, styles):
    with pytest.raises(WorkerError) as found:
        opened(name, mode)
    assert found.value.kind == "model" and words in found.value.text


def test_what_is_not_trained_is_said(styles):
    engine, ready = opened("words_turned", "train")
    assert "no gradient" not in ready["notes"] and "not in the loss" not in ready["notes"]
    assert ready["counted_flops"] is None  # an LSTM's matmuls are not seen
    engine.close()
    engine, ready = opened("Heads", "train")
    assert "not in the loss, beside the logits: 'balance'" in ready["notes"]
    assert "no gradient in the first step: 'heads.1.weight', 'heads.1.bias'" in ready["notes"]
    assert ready["counted_flops"] == 2 * (2 * T) * 16 * VOCAB * 4  # two heads forward, one of them backward
    engine.close()


@pytest.mark.parametrize("name", ["Late", "TrainsItself"])
def test_a_model_that_is_made_or_switched_otherwise_is_trained_whole(name, styles):
    engine, ready = opened(name, "train")
    before = {name: param.detach().clone() for name, param in engine._source.model.named_parameters()}
    engine.run_block(1, "step")
    assert ready["params_total"] == sum(param.numel() for param in before.values())
    assert ("places" in before) == (name == "Late") and engine._source.model.training
    for key, param in engine._source.model.named_parameters():
        assert not torch.equal(param, before[key]), key
    engine.close()


def test_a_frozen_base_is_no_work_of_the_backward_pass(styles):
    """Each matmul is 2 FLOP by place; a frozen one gives gradients to what comes before it, and none to itself."""
    engine, ready = opened("Adapters", "train")
    places = 2 * T
    base, adapters = 2 * places * (2 * 4 * 16 * 16 + 16 * VOCAB), 2 * places * (2 * 16 * 2)
    attention = 2 * 2 * 2 * places * 16 * T  # two matmuls in each of two blocks; four in their backward pass
    # nothing before `down` is trained
    backward = base + 2 * attention + 2 * adapters - adapters / 2
    assert ready["counted_flops"] == pytest.approx(base + attention + adapters + backward)
    engine.close()


def test_a_process_in_inference_mode_is_said_to_be(styles):
    with torch.inference_mode(), pytest.raises(WorkerError) as found:
        opened("LitGPT", "train")
    assert "the whole process is in inference mode" in found.value.text


def test_a_vocabulary_that_only_the_model_names(styles):
    engine, ready = opened("Bytes", "infer")
    assert engine._source.vocab_size == 256
    engine.close()


def test_a_cache_of_one_s_own_is_unsupported(styles):
    with pytest.raises(WorkerError) as found:
        opened("NanoChat", "decode")
    assert found.value.kind == "unsupported" and "train and infer" in found.value.text
