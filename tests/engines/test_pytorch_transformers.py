"""transformers' folders (`--model hf:DIR`): families that run, as the bare model does, and folders that are
refused by what is wrong with them. In this process, on models of a few thousand parameters."""
import json
import textwrap

import pytest
import torch
from safetensors.torch import load_file, save_file

transformers = pytest.importorskip("transformers")

from pytorch_worker import MOE  # noqa: E402
from tokmark_worker.cell import read_cell  # noqa: E402
from tokmark_worker.errors import WorkerError  # noqa: E402
from tokmark_worker.torch_engine import TorchEngine  # noqa: E402
from worker_client import open_message  # noqa: E402

T = 24
VOCAB = 90
COMMON = {
    "vocab_size": VOCAB, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
    "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 48,
}
HEAD = {"head_dim": 8}
EXPERTS = {"num_local_experts": 3, "num_experts_per_tok": 2}
WINDOW = {"sliding_window": 6}
FAMILIES = {
    "llama": COMMON,
    "gpt2": {"vocab_size": VOCAB, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 48,
             "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0},
    "mistral": {**COMMON, **HEAD, **WINDOW},
    "qwen2": {**COMMON, "torch_dtype": "bfloat16"},
    "qwen3": {**COMMON, **HEAD, "tie_word_embeddings": True},
    "gemma2": {**COMMON, **HEAD, **WINDOW},
    "gemma3_text": {**COMMON, **HEAD, **WINDOW, "layer_types": ["sliding_attention", "full_attention"]},
    "phi": {**COMMON, "partial_rotary_factor": 0.5, "num_key_value_heads": 2},
    "phi3": {**COMMON, "pad_token_id": 0},
    "mixtral": {**COMMON, **EXPERTS},
    "granitemoe": {**COMMON, **EXPERTS},
    "gpt_neox": {key: value for key, value in COMMON.items() if key != "num_key_value_heads"},
    "olmo2": COMMON,
    "deepseek_v3": {**COMMON, "num_key_value_heads": 2, "moe_intermediate_size": 8, "n_routed_experts": 4,
                    "n_shared_experts": 1, "num_experts_per_tok": 2, "n_group": 2, "topk_group": 1,
                    "q_lora_rank": 8, "kv_lora_rank": 8, "qk_rope_head_dim": 4, "qk_nope_head_dim": 4,
                    "v_head_dim": 8, "first_k_dense_replace": 1,
                    "quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}},
    "gpt_oss": {**COMMON, **HEAD, **EXPERTS, **WINDOW,
                "layer_types": ["sliding_attention", "full_attention"]},
    "mamba": {"vocab_size": VOCAB, "hidden_size": 16, "num_hidden_layers": 2, "state_size": 4},
    "qwen3_next": {**COMMON, **HEAD, "linear_num_key_heads": 2, "linear_num_value_heads": 2,
                   "linear_key_head_dim": 4, "linear_value_head_dim": 4, "num_experts": 3,
                   "num_experts_per_tok": 2, "moe_intermediate_size": 8,
                   "shared_expert_intermediate_size": 8,
                   "layer_types": ["linear_attention", "full_attention"]},
}
# What goes on from step to step: equal to the bare model at the first step only.
RECURRENT = ("mamba", "qwen3_next")
SMALL = FAMILIES["llama"]


def put(folder, model_type, config, **more):
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"model_type": model_type, **config, **more}))
    return folder


def opened(folder, mode="infer", seq_len=T, precision="fp32", **changes):
    """(the engine with the cell open, what `ready` says)"""
    message = open_message("pytorch", {**MOE, "max_seq_len": seq_len}, mode, seq_len, 2,
                           model_ref=f"hf:{folder}", precision=precision, **changes)
    engine = TorchEngine()
    return engine, engine.open(read_cell(message))


def refused(folder, mode="infer", **changes):
    with pytest.raises(WorkerError) as found:
        opened(folder, mode, **changes)
    return found.value.kind, found.value.text


def bare(folder):
    """As a script of one's own makes it, from the same seed."""
    config = transformers.AutoConfig.from_pretrained(folder)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    torch.manual_seed(1)
    return transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()


TOKENS = torch.randint(0, VOCAB, (2, T), generator=torch.Generator().manual_seed(4))


def cache_of(out):
    """Under the one name that forward takes it by: a second is an old one's, and gives a warning."""
    name = next(name for name in ("cache", "past_key_values", "cache_params") if name in out)
    return {name: out[name]}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_equals_its_bare_model_bit_for_bit(family, tmp_path):
    put(tmp_path, family, FAMILIES[family])
    model = bare(tmp_path)
    engine, ready = opened(tmp_path)
    assert ready["model_source"].startswith("hf ") and "weights initialised" in ready["notes"]
    assert ready["dtype_param"] == "fp32" and "use_cache=False" in ready["forward_call"]
    assert ready["params_total"] == sum(param.numel() for param in model.parameters())
    with torch.inference_mode():
        assert torch.equal(engine._steps.step(TOKENS, None), model(TOKENS, use_cache=False).logits)
    engine.close()

    engine, ready = opened(tmp_path, "decode")
    assert "decode with " in ready["notes"]
    prompt = engine._tokens.batches(0, 1)[0][0, :, :-1]
    with torch.inference_mode():
        filled = cache_of(model(prompt, use_cache=True))
        wanted = model(TOKENS[:, -1:], use_cache=True, **filled).logits
        assert torch.equal(engine._steps.step(TOKENS, None), wanted)
        again = engine._steps.step(TOKENS, None)
    assert torch.equal(again, wanted) == (family not in RECURRENT)
    assert ("go on from step to step" in ready["notes"]) == (family in RECURRENT)
    engine.close()

    engine, _ = opened(tmp_path, "train")
    inputs = engine._tokens.batches(0, 1)[0][0]
    model.train()
    loss = model(inputs, labels=inputs, use_cache=False).loss  # it shifts them itself
    block = engine.run_block(1, "step")
    assert block["nonfinite"] == 0 and block["loss"] == pytest.approx(float(loss), rel=1e-5)
    engine.close()


# --- the cache -----------------------------------------------------------------------------------


def kv_bytes(engine):
    return engine.memory()["parts"]["kv_cache_bytes"]


def test_a_window_is_what_the_cache_holds(tmp_path):
    put(tmp_path, "gemma3_text", FAMILIES["gemma3_text"])
    engine, ready = opened(tmp_path, "decode")
    assert "1 DynamicSlidingWindowLayer" in ready["notes"] and "1 DynamicLayer" in ready["notes"]
    row = 2 * 2 * 1 * 8 * 4  # keys and values, 2 rows, 1 head of 8, fp32
    assert kv_bytes(engine) == row * ((T - 1) + (6 - 1))
    for _ in range(3):
        engine.run_block(4, "step")
    assert kv_bytes(engine) == row * ((T - 1) + (6 - 1))
    engine.close()


@pytest.mark.parametrize("family", ["llama", "mistral"])
def test_the_folders_generation_config_decides_the_cache(family, tmp_path):
    put(tmp_path, family, FAMILIES[family])
    (tmp_path / "generation_config.json").write_text('{"cache_implementation": "static"}')
    engine, ready = opened(tmp_path, "decode")
    assert "decode with StaticCache" in ready["notes"]
    first = engine._steps.step(TOKENS, None)
    if family == "llama":  # a preallocated window moves on
        assert torch.equal(engine._steps.step(TOKENS, None), first)
    engine.run_block(30, "step")  # never over its end
    engine.close()
    (tmp_path / "generation_config.json").write_text('{"use_cache": false}')
    kind, text = refused(tmp_path, "decode")
    assert kind == "unsupported" and "use_cache false" in text
    (tmp_path / "generation_config.json").write_text('{\n "use_cache": }')
    assert "generation_config.json' is no JSON: Expecting value, line 2" in refused(tmp_path)[1]


def test_the_first_token_has_nothing_before_it(tmp_path):
    put(tmp_path, "llama", SMALL)
    engine, _ = opened(tmp_path, "decode", seq_len=1)
    one = TOKENS[:, :1]
    with torch.inference_mode():
        wanted = bare(tmp_path)(one).logits
    assert all(torch.equal(engine._steps.step(one, None), wanted) for _ in range(3))
    engine.close()


def test_an_error_inside_a_cache_is_unsupported(tmp_path, monkeypatch):
    from transformers.models.llama import modeling_llama

    put(tmp_path, "llama", SMALL)
    forward = modeling_llama.LlamaAttention.forward

    def breaks(self, hidden_states, *args, **kwargs):
        if hidden_states.shape[1] == 1:
            raise IndexError("index 24 is out of bounds")
        return forward(self, hidden_states, *args, **kwargs)

    monkeypatch.setattr(modeling_llama.LlamaAttention, "forward", breaks)
    kind, text = refused(tmp_path, "decode")
    assert kind == "unsupported" and "IndexError: index 24 is out of bounds" in text


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "config, words",
    [
        ({"model_type": "t5", "architectures": ["T5ForConditionalGeneration"]},
         "Model type t5 (T5ForConditionalGeneration) is an encoder-decoder; tokmark measures causal"),
        ({"model_type": "bart"}, "Model type bart is an encoder-decoder"),
        ({"model_type": "vit"}, "Model type vit is an image model"),
        ({"model_type": "whisper"}, "Model type whisper is an encoder-decoder"),
        ({"model_type": "wav2vec2"}, "Model type wav2vec2 is a speech model"),
        ({"model_type": "bert", "architectures": ["BertForMaskedLM"]},
         "Model type bert (BertForMaskedLM) is an encoder"),
        ({"model_type": "distilbert"}, "Model type distilbert is an encoder"),
        ({"model_type": "llama", **SMALL, "architectures": ["LlamaForSequenceClassification"]},
         "(LlamaForSequenceClassification) is a model for another task"),
        ({"model_type": "brandnew_lm", "transformers_version": "9.0.0"},
         f"model type brandnew_lm (saved by transformers 9.0.0) is not known to transformers "
         f"{transformers.__version__}"),
    ],
)
def test_other_models_are_refused_by_their_name(config, words, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(config))
    kind, text = refused(tmp_path)
    assert kind == "unsupported" and words in text


@pytest.mark.parametrize(
    "content, words",
    [
        ('{"model_type": "llama",}', "line 1 column 24"),
        ('{\n"model_type": "llama"\n"vocab_size": 3}', "line 3 column 1"),
        ("[]", "is no JSON object"),
        ("{}", "has no model_type"),
        ("version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    ],
)
def test_a_broken_config_is_named_with_its_line(content, words, tmp_path):
    (tmp_path / "config.json").write_text(content)
    kind, text = refused(tmp_path)
    assert kind == "model" and words in text and "config.json" in text


def test_a_folder_needs_its_config(tmp_path):
    kind, text = refused(tmp_path / "none")
    assert kind == "model" and "config.json" in text


OWN_CODE = """
    import torch
    from torch import nn
    from transformers import PretrainedConfig, PreTrainedModel
    from transformers.modeling_outputs import CausalLMOutput


    class OneConfig(PretrainedConfig):
        model_type = "one_of_mine"

        def __init__(self, vocab_size=90, width=8, **more):
            self.vocab_size, self.width = vocab_size, width
            super().__init__(**more)


    class OneForCausalLM(PreTrainedModel):
        config_class = OneConfig

        def __init__(self, config):
            super().__init__(config)
            self.table = nn.Embedding(config.vocab_size, config.width)
            self.head = nn.Linear(config.width, config.vocab_size)
            self.post_init()

        def _init_weights(self, module):
            pass

        def forward(self, input_ids=None, labels=None, **more):
            return CausalLMOutput(logits=self.head(self.table(input_ids)))
"""


DECODER = {"vocab_size": VOCAB, "d_model": 16, "decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 24,
           "max_position_embeddings": 48, "dropout": 0.0}


@pytest.mark.parametrize("family, name", [("bart", "BartForCausalLM"), ("mbart", "MBartForCausalLM"), ("llama", "LlamaForCausalLM")])
def test_labels_are_tokens_only_where_the_model_shifts_them(family, name, tmp_path):
    put(tmp_path, family, SMALL if family == "llama" else DECODER, architectures=[name],
        is_encoder_decoder=False, is_decoder=True)
    engine, ready = opened(tmp_path, "train")
    inputs, targets = (part[0] for part in engine._tokens.batches(0, 1))
    model = bare(tmp_path)
    logits = model(inputs, use_cache=False).logits.float()
    given, own = ("input_ids", logits[:, :-1]) if family == "llama" else ("targets", logits)
    wanted = torch.nn.functional.cross_entropy(own.flatten(0, 1), targets[:, : own.shape[1]].flatten())
    assert f"labels={given}" in ready["forward_call"] and ready["loss_source"] == "model"
    assert engine.run_block(1, "step")["loss"] == pytest.approx(wanted.item(), rel=1e-5)
    engine.close()


def test_code_of_a_folder_runs_only_where_that_is_allowed(tmp_path, monkeypatch):
    monkeypatch.setattr(transformers.dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "cache"))
    folder = put(tmp_path / "one", "one_of_mine", {"vocab_size": VOCAB, "auto_map": {
        "AutoConfig": "code_of_one.OneConfig", "AutoModelForCausalLM": "code_of_one.OneForCausalLM"}})
    (folder / "code_of_one.py").write_text(textwrap.dedent(OWN_CODE))
    kind, text = refused(folder)
    assert kind == "unsupported" and "(code_of_one.py)" in text and "--trust-remote-code runs it" in text
    trusted = {"options": {"trust_remote_code": "yes"}}
    engine, ready = opened(folder, **trusted)
    assert "runs code of the folder (code_of_one.py)" in ready["notes"]
    assert ready["params_total"] == VOCAB * (8 + 8 + 1)
    engine.close()
    engine, _ = opened(folder, "train", **trusted)
    assert engine.run_block(2, "step")["nonfinite"] == 0
    engine.close()
    kind, text = refused(folder, "decode", **trusted)
    assert kind == "unsupported" and "takes no cache" in text


# --- weights -------------------------------------------------------------------------------------


def saved(folder, **changes):
    """A folder with weights that a seed of its own gave."""
    config = transformers.LlamaConfig(**{**SMALL, **changes})
    torch.manual_seed(7)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return folder


def test_weights_of_the_folder_are_those_that_run(tmp_path):
    folder = saved(tmp_path / "a")
    (folder / "config.json").write_text(  # --precision decides, not what the config says
        json.dumps({**json.loads((folder / "config.json").read_text()), "dtype": "bfloat16"}))
    engine, ready = opened(folder)
    assert "weights from the folder" in ready["notes"] and ready["dtype_param"] == "fp32"
    given = load_file(folder / "model.safetensors")
    for name, param in engine._source.model.named_parameters():
        assert torch.equal(param, given[name]), name
    engine.close()


def test_weights_given_beside_a_folder_replace_its_own(tmp_path):
    folder = saved(tmp_path / "a")
    state = {name: value + 1 for name, value in load_file(folder / "model.safetensors").items()}
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n")
    save_file(state, tmp_path / "mine.safetensors")
    engine, ready = opened(folder, weights_path=str(tmp_path / "mine.safetensors"))
    assert torch.equal(engine._source.model.lm_head.weight, state["lm_head.weight"])
    assert "initialised" not in ready["notes"] and "from the folder" not in ready["notes"]
    engine.close()


def shards(folder, size=9000):
    model = transformers.AutoModelForCausalLM.from_config(transformers.LlamaConfig(**SMALL))
    model.save_pretrained(folder, max_shard_size=size)
    return sorted(folder.glob("model-*.safetensors"))


def test_shards_that_are_missing_are_never_made_up(tmp_path):
    parts = shards(tmp_path)
    assert len(parts) > 1
    engine, _ = opened(tmp_path)
    engine.close()
    parts[1].write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    assert "git lfs pull" in refused(tmp_path)[1]
    parts[1].unlink()
    kind, text = refused(tmp_path)
    assert kind == "model" and "of which 1 are not in its folder" in text and parts[1].name in text
    for part in parts:
        part.unlink(missing_ok=True)
    assert f"of which {len(parts)} are not in its folder" in refused(tmp_path)[1]


def changed(folder, change):
    state = load_file(folder / "model.safetensors")
    change(state)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda state: state.pop("lm_head.weight"), "no tensor 'lm_head.weight'"),
        (lambda state: state.update({"model.layers.2.mlp.up_proj.weight": torch.zeros(24, 16)}),
         "tensors that the config's model has not: 'model.layers.2.mlp.up_proj.weight'"),
        (lambda state: state.update({"model.norm.weight": torch.zeros(17)}), "model.norm.weight"),
    ],
)
def test_weights_that_do_not_fit_the_config_are_refused(change, words, tmp_path):
    changed(saved(tmp_path / "a"), change)
    kind, text = refused(tmp_path / "a")
    assert kind == "model" and words in text


def test_weights_under_other_names_are_not_passed_over(tmp_path):
    folder = saved(tmp_path / "a")
    (folder / "model.safetensors").rename(folder / "consolidated.safetensors")
    kind, text = refused(folder)
    assert kind == "model" and "'consolidated.safetensors'" in text and "--weights" in text
    (folder / "adapter_config.json").write_text("{}")
    assert "holds an adapter" in refused(folder)[1]


def test_quantized_weights_are_no_precision(tmp_path):
    folder = saved(tmp_path / "a")
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "fp8", "weight_block_size": [128, 128]}
    (folder / "config.json").write_text(json.dumps(config))
    kind, text = refused(folder)
    assert kind == "unsupported" and "quantized (fp8)" in text
    (folder / "model.safetensors").unlink()
    engine, ready = opened(folder, precision="bf16-pure")
    assert "quantization_config (fp8) left out: the parameters are bf16-pure" in ready["notes"]
    engine.close()


# --- settings ------------------------------------------------------------------------------------


def with_set(folder, **values):
    return opened(folder, options={"set": values})


def test_settings_reach_the_model_and_what_follows_from_them(tmp_path):
    put(tmp_path, "llama", SMALL)
    engine, _ = with_set(tmp_path, hidden_size="32", num_hidden_layers="1", vocab_size="50")
    model = engine._source.model
    assert len(model.model.layers) == 1 and model.lm_head.weight.shape == (50, 32)
    assert model.config.head_dim == 16  # follows the width
    assert engine._source.vocab_size == 50
    engine.close()
    for key, text, words in (
        ("vocab_sizes", "3", "did you mean 'vocab_size'"),
        ("vocab_size", "x", "must be a number"),
        ("rope_parameters", "{", "must be a JSON object"),
    ):
        kind, said = refused(tmp_path, options={"set": {key: text}})
        assert kind == "model" and words in said


def test_settings_of_the_text_part(tmp_path):
    text = {**FAMILIES["gemma3_text"], "model_type": "gemma3_text"}
    vision = {"model_type": "siglip_vision_model", "hidden_size": 8, "intermediate_size": 8,
              "num_hidden_layers": 1, "num_attention_heads": 1, "image_size": 28, "patch_size": 14}
    put(tmp_path, "gemma3", {"text_config": text, "vision_config": vision})
    for key in ("vocab_size", "text_config.vocab_size"):
        engine, _ = with_set(tmp_path, **{key: "70"})
        assert engine._source.vocab_size == 70
        assert engine._source.model.get_input_embeddings().weight.shape[0] == 70
        engine.close()
    for mode in ("train", "infer", "decode"):
        engine, _ = opened(tmp_path, mode)
        assert engine.run_block(2, "step")["nonfinite"] == 0
        engine.close()
    kind, said = refused(tmp_path, seq_len=49)
    assert kind == "model" and "max_position_embeddings 48" in said
