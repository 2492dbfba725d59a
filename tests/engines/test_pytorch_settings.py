"""What --set, a preset and an author's defaults make of a model, and what is said of it: the values are
read back from the model, its parameters are counted."""
import dataclasses
import json
import types

import pytest

from pytorch_worker import TorchWorker, spec_of
from test_pytorch_sources import CONFIG, SPEC, package_params, refusal, write, write_package

# As `tokmark run` asks for a model of one's own: gpt2-124m's vocabulary, the length of the cell.
FALLBACK = {**SPEC, "name": "mine", "vocab_size": 50257, "max_seq_len": 16}

MODELS = """
    import enum
    from dataclasses import dataclass, field
    from pathlib import Path
    from typing import Literal, NewType, Optional

    import torch
    from torch import nn


    class Tiny(nn.Module):
        def __init__(self, vocab_size=1000, dim=64, block_size=8):
            super().__init__()
            self.table = nn.Embedding(vocab_size, dim)
            self.pos = nn.Embedding(block_size, dim)
            self.head = nn.Linear(dim, vocab_size)

        def forward(self, ids):
            places = torch.arange(ids.shape[1], device=ids.device)
            return self.head(self.table(ids) + self.pos(places))


    def needs_both(n_vocab, context_length, dim=16):
        return Tiny(n_vocab, dim, context_length)


    def by_position(vocab_size, /, dim=16):
        return Tiny(vocab_size, dim, 64)


    class Nameless(nn.Module):
        def __init__(self):
            super().__init__()
            self.positions = nn.Embedding(64, 24)
            self.lookup = nn.Embedding(300, 24)
            self.head = nn.Linear(24, 300)

        def forward(self, ids):
            return self.head(self.lookup(ids))


    class Deaf(Tiny):
        def __init__(self, vocab_size=500, dim=8):
            super().__init__(500, dim, 64)


    class PassesOn(Tiny):
        def __init__(self, **kwargs):
            super().__init__(block_size=64, **kwargs)


    made = Tiny(333, 8, 64)


    class Norm(enum.Enum):
        RMS = "rms"
        LAYER = "layer"


    @dataclass
    class Inner:
        dim: int = 8
        scale: float | None = None


    @dataclass
    class Wide:
        words: int = 120
        vocab_size: int = 120
        context_length: int = 64
        text: Inner = field(default_factory=Inner)
        window: Optional[int] = None
        rate: "float | None" = 0.5
        sizes: list[int] = field(default_factory=lambda: [1, 2])
        pair: tuple[int, float] = (1, 0.5)
        norm: Norm = Norm.RMS
        act: Literal["gelu", "silu"] = "gelu"
        label: str = "none"
        folder: Path = Path("here")
        dtype: torch.dtype = torch.float32
        bias: bool = True
        opaque: object = field(default_factory=lambda: {1, 2})
        doubled: int = field(init=False, default=0)

        def __post_init__(self):
            self.doubled = 2 * self.text.dim
            self.words = min(self.words, 150)

        @property
        def half(self):
            return self.text.dim // 2


    class Wider(Tiny):
        def __init__(self, config: Wide):
            super().__init__(config.vocab_size, config.text.dim, config.context_length)
            self.config = config


    class PlainConfig:
        n_vocab = 90
        width = 12

        def __init__(self, block_size=64):
            self.block_size = block_size


    class OfPlain(Tiny):
        def __init__(self, cfg: PlainConfig):
            super().__init__(cfg.n_vocab, cfg.width, cfg.block_size)


    class WithDefault(Tiny):
        def __init__(self, config=Wide(vocab_size=77, context_length=64), dim=None):
            super().__init__(config.vocab_size, dim or config.text.dim, config.context_length)


    class OfDict(Tiny):
        def __init__(self, config={"vocab_size": 55, "dim": 6, "block_size": 4}):
            super().__init__(**config)


    class Padded(Tiny):
        def __init__(self, vocab_size=100, dim=8):
            super().__init__(-(-vocab_size // 64) * 64, dim, 64)
            self.dim = 2 * dim
"""

LOOSE = """
    from mine import Tiny


    def loose(config):
        return Tiny(config.n_vocab, 8, getattr(config, "block_size"))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    where = tmp_path_factory.mktemp("settings")
    write(where, "mine.py", MODELS)
    write(where, "other.py", LOOSE)
    return where


def opened(folder, name, /, seq_len=16, **settings):
    with TorchWorker(folder) as worker:
        ready = worker.open(
            {**FALLBACK, "max_seq_len": seq_len}, "infer", seq_len, model_ref=name if ":" in name else f"mine:{name}",
            options={"set": settings},
        )
        assert worker.run(2)["nonfinite"] == 0  # the tokens were inside the embedding
    return ready


def values(ready):
    return {name: entry["value"] for name, entry in ready["model_config"].items()}


def origins(ready):
    return {name: entry["from"] for name, entry in ready["model_config"].items()}


def tiny_params(vocab, dim, length):
    return 2 * vocab * dim + vocab + length * dim


def test_a_constructor_s_own_defaults_stay(folder):
    ready = opened(folder, "Tiny", seq_len=8)
    assert ready["params_total"] == tiny_params(1000, 64, 8)
    assert values(ready) == {"vocab_size": 1000, "dim": 64, "block_size": 8}
    assert set(origins(ready).values()) == {"default"} and "model_chosen" not in ready


def test_a_length_that_the_tokens_do_not_fit_in_is_raised_and_said(folder):
    ready = opened(folder, "Tiny", seq_len=32, dim="4")
    assert ready["params_total"] == tiny_params(1000, 4, 32)
    assert origins(ready) == {"vocab_size": "default", "dim": "--set", "block_size": "tokmark"}
    assert ready["model_chosen"] == "block_size 32 (its default is 8)"


def test_what_nobody_gave_is_chosen_and_said(folder):
    ready = opened(folder, "needs_both")
    assert ready["params_total"] == tiny_params(50257, 16, 16)
    assert ready["model_chosen"] == "n_vocab 50257, context_length 16"
    assert origins(ready) == {"n_vocab": "tokmark", "context_length": "tokmark", "dim": "default"}
    ready = opened(folder, "needs_both", vocab_size="700", context_length="20")
    assert ready["params_total"] == tiny_params(700, 16, 20) and "model_chosen" not in ready
    assert opened(folder, "by_position", vocab_size="70")["params_total"] == tiny_params(70, 16, 64)


def test_tokens_are_drawn_from_the_embedding_there_is(folder):
    """A vocabulary that no argument tells: 50257 tokens would be outside the table of 300."""
    opened(folder, "Nameless")
    assert opened(folder, "made")["params_total"] == tiny_params(333, 8, 64)
    reply = refusal(folder, model_ref="mine:made", options={"set": {"vocab_size": "9"}})
    assert reply["kind"] == "model" and "vocab_size" in reply["text"]


def test_a_setting_that_does_not_reach_the_model_is_refused(folder):
    assert opened(folder, "Deaf")["params_total"] == tiny_params(500, 8, 64)
    reply = refusal(folder, model_ref="mine:Deaf", options={"set": {"vocab_size": "4096"}})
    assert "--set vocab_size=4096 does not reach the model: table has 500 rows" in reply["text"]
    reply = refusal(folder, model_ref="mine:Wider", options={"set": {"words": "200"}})
    assert "Wide made words 150 of --set words=200" in reply["text"]
    reply = refusal(folder, model_ref="other:loose", options={"set": {"n_layer": "7"}})
    assert "never reads" in reply["text"]


def test_what_a_model_makes_of_a_setting_is_what_is_said_of_it(folder):
    ready = opened(folder, "Padded", vocab_size="120", dim="4")
    assert ready["params_total"] == tiny_params(128, 4, 64)
    assert values(ready) == {"vocab_size": 120, "dim": 8}
    assert ready["model_chosen"] == "dim is 8 in the model, --set gave 4"


def test_keywords_that_are_passed_on_reach_the_model(folder):
    ready = opened(folder, "PassesOn", vocab_size="90", dim="12")
    assert ready["params_total"] == tiny_params(90, 12, 64)
    assert values(ready) == {"vocab_size": 90, "dim": 12}
    reply = refusal(folder, model_ref="mine:PassesOn", options={"set": {"colour": "red"}})
    assert reply["kind"] == "model" and "colour" in reply["text"]


def test_settings_have_the_types_of_their_fields(folder):
    ready = opened(
        folder, "Wider", **{
            "vocab_size": "2e2", "text.dim": "20", "text.scale": "0.25", "window": "4",
            "rate": "none", "sizes": "3,4,5", "pair": "(2, 1)", "norm": "layer", "act": "silu",
            "label": "None", "folder": "a/b", "dtype": "torch.bfloat16", "bias": "false"},
    )
    found = values(ready)
    assert ready["params_total"] == tiny_params(200, 20, 64)
    assert found.pop("opaque") == "{1, 2}"
    assert found == {
        "words": 120, "vocab_size": 200, "context_length": 64, "text.dim": 20, "text.scale": 0.25,
        "window": 4, "rate": None, "sizes": [3, 4, 5], "pair": [2, 1.0], "norm": "LAYER",
        "act": "silu", "label": "None", "folder": "a/b", "dtype": "torch.bfloat16", "bias": False,
        "doubled": 40}
    froms = origins(ready)
    assert froms["text.dim"] == "--set" and froms["rate"] == "--set" and froms["words"] == "default"
    assert opened(folder, "Wider", window="none")["params_total"] == tiny_params(120, 8, 64)


@pytest.mark.parametrize("setting, words", [
    ({"act": "relu"}, "act must be one of gelu, silu"),
    ({"bias": "maybe"}, "bias must be true or false"),
    ({"window": "wide"}, "window must be a number"),
    ({"sizes": "1,x"}, "sizes must be a number"),
    ({"pair": "1"}, "pair takes 2 values"),
    ({"norm": "batch"}, "norm must be one of RMS, LAYER"),
    ({"dtype": "bf17"}, "names none"),
    ({"vocab_size": "9.5"}, "must be a whole number"),
    ({"doubled": "3"}, "works out 'doubled' itself"),
    ({"half": "3"}, "works out 'half' itself"),
    ({"text.depth": "3"}, "Inner has no field 'depth'"),
    ({"windows": "3"}, "did you mean 'window'"),
    ({"quantisation": "3"}, "there are words, vocab_size"),
])
def test_settings_that_fit_no_field_are_refused_in_a_sentence(folder, monkeypatch, setting, words):
    """Here without a worker: nothing of PyTorch's is in it."""
    monkeypatch.syspath_prepend(folder)
    from mine import Wider
    from tokmark_worker.cell import Options
    from tokmark_worker.errors import WorkerError as Refused
    from tokmark_worker.model_config import arguments

    cell = types.SimpleNamespace(model=spec_of(FALLBACK), options=Options(set=setting))
    with pytest.raises(Refused) as found:
        arguments(cell, Wider, "mine:Wider")
    assert found.value.kind == "model" and words in found.value.text


def arguments_of(function, **settings):
    from tokmark_worker.cell import Options
    from tokmark_worker.model_config import arguments

    cell = types.SimpleNamespace(model=spec_of(FALLBACK), options=Options(set=settings))
    call = arguments(cell, function, "it")
    return call, call.report(function(*call.args, **call.kwargs))


def test_what_is_still_to_be_given_is_chosen():
    """Llama's own code has a vocabulary of -1 until a tokenizer tells; others have None."""

    @dataclasses.dataclass
    class ModelArgs:
        vocab_size: int = -1
        max_seq_len: int = 2048
        scale: dataclasses.InitVar[int] = 3

        def __post_init__(self, scale):
            self.tripled = 3 * scale

    class Llama:
        def __init__(self, params: ModelArgs):
            self.params = params

    call, (config, chosen) = arguments_of(Llama, scale="5")
    assert call.vocab_size == 50257 and call.config.tripled == 15
    assert chosen == "vocab_size 50257 (its default is -1)"
    assert config["max_seq_len"] == {"value": 2048, "from": "default"}
    assert arguments_of(Llama, vocab_size="90")[0].vocab_size == 90
    assert arguments_of(lambda vocab_size=None, max_len=-1: 1)[1][1] == "vocab_size 50257"

    def of_dict(config: dict):
        return config["n_vocab"] + config.get("width")

    assert set(arguments_of(of_dict)[1][0]) == {"n_vocab", "width"}
    assert arguments_of(of_dict, dim="3", vocab_size="5")[1][1] is None
    with pytest.raises(Exception, match="never reads 'depth'"):
        arguments_of(of_dict, dim="3", depth="5")
    assert arguments_of(lambda config=None: config, config="5")[0].kwargs == {"config": 5}


def test_a_setting_given_twice_is_refused():
    """By its own name and by that of the others for it: which of the two counts is not for us to say."""
    assert arguments_of(lambda n_vocab=9: 1, vocab_size="6")[0].kwargs == {"n_vocab": 6}
    with pytest.raises(Exception, match="'n_vocab' of it twice"):
        arguments_of(lambda n_vocab=9: 1, n_vocab="5", vocab_size="6")


def test_configurations_of_every_kind_keep_their_own_values(folder):
    ready = opened(folder, "OfPlain")
    assert ready["params_total"] == tiny_params(90, 12, 64)
    assert values(ready) == {"n_vocab": 90, "width": 12, "block_size": 64}
    ready = opened(folder, "OfPlain", seq_len=80, n_vocab="40")
    assert ready["params_total"] == tiny_params(40, 12, 80)
    assert ready["model_chosen"] == "block_size 80 (its default is 64)"
    assert opened(folder, "WithDefault")["params_total"] == tiny_params(77, 8, 64)
    ready = opened(folder, "WithDefault", vocab_size="50", dim="6")
    assert ready["params_total"] == tiny_params(50, 6, 64)
    ready = opened(folder, "OfDict", dim="10")
    assert ready["params_total"] == tiny_params(55, 10, 16)
    ready = opened(folder, "other:loose", vocab_size="60")
    assert values(ready) == {"n_vocab": 60, "block_size": 16}
    assert ready["model_chosen"] == "block_size 16"


# --- a package ------------------------------------------------------------------------------------


def test_a_package_s_own_defaults_and_settings(tmp_path):
    """Without --model: the figures of the preset are another model's, --set is for the package."""
    write_package(tmp_path, CONFIG.replace("64000", "700").replace("2048", "32").replace(
        "24", "2").replace("16", "4").replace("8192", "24"))
    own = {**SPEC, "vocab_size": 700, "dim": 32, "layers_count": 2, "ffn_hidden": 24,
           "experts_count": 8}
    for settings, changes in (
        ({}, {}),
        ({"vocab_size": "409"}, {"vocab_size": 409}),
        ({"max_seq_len": "64", "n_layers": "1"}, {"max_seq_len": 64, "layers_count": 1}),
    ):
        with TorchWorker(tmp_path) as worker:
            ready = worker.open({**SPEC, "vocab_size": 64000}, "infer", 8,
                                options={"figures": "own", "set": settings})
        assert ready["params_total"] == package_params({**own, **changes})
        assert values(ready)["vocab_size"] == changes.get("vocab_size", 700)
        is_chosen = "max_seq_len" not in settings
        assert ready.get("model_chosen", "").startswith("max_position_embeddings 8") == is_chosen
    reply = refusal(tmp_path, options={"figures": "own", "set": {"is_causal": "true"}})
    assert reply["kind"] == "model" and "has no field 'is_causal'" in reply["text"]
    with TorchWorker(tmp_path) as worker:
        ready = worker.open(SPEC, "infer", 8, options={"set": {"dropout": "0.25"}})
        assert ready["params_total"] == package_params(SPEC)
    assert origins(ready)["dim"] == "preset" and origins(ready)["expert_capacity"] == "default"
    assert ready["model_config"]["dropout"] == {"value": 0.25, "from": "--set"}


def test_our_own_model_says_its_figures_too(tmp_path):
    with TorchWorker(tmp_path) as worker:
        ready = worker.open({**SPEC, "dim": 96}, "infer", 8, options={"set": {"dim": "96"}})
    assert ready["model_config"]["dim"] == {"value": 96, "from": "--set"}
    assert ready["model_config"]["vocab_size"] == {"value": 211, "from": "preset"}
    reply = refusal(tmp_path, options={"set": {"max_seq_len": "4"}})
    assert reply["kind"] == "model" and "less than seq_len 8" in reply["text"]


def test_a_configuration_without_end_stays_within_a_line(tmp_path):
    write(tmp_path, "many.py", """
        from dataclasses import make_dataclass
        from torch import nn

        Config = make_dataclass("Config", [("vocab_size", int, 20)] + [
            (f"field_{i}", str, "x" * 90 + str(i)) for i in range(5000)])


        class Model(nn.Module):
            def __init__(self, config: Config):
                super().__init__()
                self.table = nn.Embedding(20, 20)

            def forward(self, ids):
                return self.table(ids)
    """)
    with TorchWorker(tmp_path) as worker:
        ready = worker.open(SPEC, "infer", 8, model_ref="many:Model")
    assert len(json.dumps(ready["model_config"])) < 64 * 1024 + 1000
    assert ready["model_config"]["..."]["value"].endswith(" more")


OWN_WAYS = """
    import argparse

    from torch import nn

    parser = argparse.ArgumentParser()
    parser.add_argument("--width", type=int, default=8)
    ARGS = parser.parse_args()  # of the worker's own words there are none


    class Model(nn.Module):
        def __init__(self, rows, length):
            super().__init__()
            self.prelude = nn.ModuleDict({"wte": nn.Embedding(rows, ARGS.width)})
            self.pos_table = nn.Embedding(500 + length, ARGS.width)
            self.token_type = nn.Embedding(400, ARGS.width)
            self.head = nn.Linear(ARGS.width, rows)

        def forward(self, x):
            places = self.pos_table.weight[500:][: x.shape[1]]
            return self.head(self.prelude["wte"](x) + places)


    def fixed():
        return Model(91, 40)


    def by_other_names(ntoken, ctx_len=4):
        return Model(ntoken, ctx_len)


    def by_key(cfg):
        assert "emb_dim" in cfg and cfg.get("no_such") is None
        return Model(cfg["vocab_size"], cfg["context_length"])


    class Node:
        pass


    class GivesItsOwn(Model):
        @staticmethod
        def get_default_config():
            node = Node()
            node.kind, node.n_layer, node.vocab_size, node.block_size = "small", None, None, None
            return node

        def __init__(self, config):
            assert config.kind == "small"
            super().__init__(config.vocab_size, config.block_size)
"""


def test_tables_lengths_and_configurations_under_other_names(tmp_path):
    write(tmp_path, "ways.py", OWN_WAYS)

    def opened(name, **settings):
        with TorchWorker(tmp_path) as worker:
            ready = worker.open({**FALLBACK, "max_seq_len": 8}, "infer", 8, model_ref=f"ways:{name}", options={"set": settings})
            assert worker.run(1)["nonfinite"] == 0
            return ready

    assert "vocabulary 91 from the model" in opened("fixed")["notes"]
    chosen = opened("by_other_names", ntoken="60")["model_chosen"]
    assert chosen == "ctx_len 8 (its default is 4)"
    assert opened("by_key", vocab_size="60")["model_chosen"].startswith("context_length")
    ready = opened("GivesItsOwn", vocab_size="60")
    assert ready["model_chosen"].startswith("block_size")
    assert ready["model_config"]["kind"] == {"value": "small", "from": "default"}
    reply = refusal(tmp_path, model_ref="ways:GivesItsOwn", options={"set": {"n_lyr": "3"}})
    assert "Node has no field 'n_lyr'; did you mean 'n_layer'" in reply["text"]
