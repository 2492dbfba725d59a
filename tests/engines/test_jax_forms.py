"""The forms that people write JAX models in: each runs as what it is, or is refused by name."""
import re
import textwrap

import pytest

from jax_forms import SHARED, SPEC, opened, write_forms
from jax_worker import JaxHere, JaxWorker, refusal

@pytest.fixture(name="folder", scope="module")
def folder_fixture(tmp_path_factory):
    folder = tmp_path_factory.mktemp("forms")
    write_forms(folder)
    return folder


# --- functions and trees: one model, however it is written -------------------------------------------


@pytest.fixture(name="plain_losses", scope="module")
def plain_losses_fixture(folder):
    return opened(folder, "forms:plain")[1]


@pytest.mark.parametrize(
    "ref, call",
    [
        ("forms:jitted", "jitted(a, b)"),
        ("forms:turned", "turned(idx, theta)"),
        ("forms:star", "star(params, tokens)"),
        ("forms:told", "told(params, tokens, is_training=True)"),
        ("forms:remat", "remat(params, tokens)"),
        ("forms:part", "part(params, tokens)"),
        ("forms:mapped", "mapped(params, tokens, key)"),
        ("forms:filtered", "filtered(params, tokens)"),
        ("forms:nested", "nested(idx, theta)"),
        ("forms:called", "called(params, tokens)"),
        ("forms:owner", "forward(params, tokens)"),
        ("forms:bound", "forward(params, tokens)"),
        ("forms:owner.forward", "forward(params, tokens)"),
        ("forms:Fixed.apply", "apply(params, tokens)"),
        ("forms:with_params", "plain(params, tokens)"),
        ("forms:as_dict", "plain(params, tokens)"),
        ("configured:apply", "apply(params, tokens, config)"),
        ("named:apply", "apply(params, tokens)"),
    ],
)
def test_a_function_runs_as_what_it_is(folder, plain_losses, ref, call):
    ready, losses, _ = opened(folder, ref)
    if ref == "forms:with_params":  # the key is the factory's
        assert losses[0] == pytest.approx(plain_losses[0], rel=0.5)
    else:
        assert losses == pytest.approx(plain_losses, rel=1e-5)
    assert ready["forward_call"] == call
    assert ready["params_total"] == ready["params_trainable"] == 30 * 6 + 6 * 6
    assert ready["loss_source"] == "tokmark" and ready["compiled"] == "by tokmark (jit)"


def test_work_counts_every_turn_of_a_loop_and_nothing_twice(folder):
    forward = 2 * (2 * 8) * (5 * 6 * 6 + 6 * 30)
    assert opened(folder, "forms:looped", "infer")[0]["counted_flops"] == forward
    assert opened(folder, "forms:looped")[0]["counted_flops"] == 3 * forward


def test_nodes_of_an_author_s_class_hold_arrays_only(folder):
    ready, losses, _ = opened(folder, "forms:strict")
    assert ready["params_total"] == 30 * 6 and ready["forward_call"] == "Strict(ids)"
    assert losses[1] != losses[0]


def test_defaults_of_init_stay_and_set_reaches_apply(folder):
    with JaxHere(folder) as here:
        ready = here.open(SPEC, "infer", 8, model_ref="configured:apply",
                          options={"set": {"width": "4"}})
    assert ready["params_total"] == 30 * 4 + 4 * 4
    assert ready["model_config"]["vocab_size"] == {"value": 30, "from": "default"}
    assert ready["model_config"]["width"] == {"value": 4, "from": "--set"}
    assert "model_chosen" not in ready


def test_a_vocabulary_that_had_to_be_chosen_is_said(folder):
    ready, _, _ = opened(folder, "forms:Row", "infer")
    assert ready["model_chosen"] == "vocab_size 211"
    assert ready["model_config"]["vocab_size"] == {"value": 211, "from": "tokmark"}


@pytest.mark.parametrize("name, chosen", [
    ("needs_labels", None), ("only_loss", None), ("loss_of_hashed", "vocab_size 211 (of the tokens)"),
])
def test_a_vocabulary_that_nobody_states(folder, name, chosen):
    """It is the logits' width; of a model that gives nothing but a loss, the rows of the table that tokens are looked
    up in; else it had to be chosen."""
    with JaxHere(folder) as here:
        ready = here.open(SPEC, "train", 8, model_ref=f"unsaid:{name}")
        nonfinite = here.run(1)["nonfinite"]
    assert ready["loss_source"] == "model" and ready.get("model_chosen") == chosen and nonfinite == 0
    assert ("vocabulary 30 from the model" in ready["notes"]) is (chosen is None)


# --- libraries ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, mode, call",
    [
        ("Row", "train", "Row(x, key), a row each by jax.vmap"),
        ("Row", "infer", "Row(x, key), a row each by jax.vmap"),
        ("Batch", "train", "Batch(x, key)"),
        ("Statistics", "train", "Statistics(tokens, state), a row each by jax.vmap"),
        ("jitted_row", "train", "Row(x, key), a row each by jax.vmap"),
        ("haiku", "train", "apply_fn(params, rng, tokens, is_training=True)"),
        ("haiku", "infer", "apply_fn(params, rng, tokens, is_training=False)"),
        ("Needs", "train", "Needs(input_ids, attention_mask, position_ids)"),
        ("TellsItsConfig", "train", "TellsItsConfig(x)"),
        ("TellsItsConfig", "infer", "TellsItsConfig(x)"),
        ("in_train_state", "infer", "WithLoss(idx)"),
        ("with_variables", "infer", "WithLoss(idx)"),
        ("held", "infer", "Partial(tokens)"),
    ],
)
def test_modules_of_every_library(folder, name, mode, call):
    assert opened(folder, f"forms:{name}", mode)[0]["forward_call"] == call


# --- whose loss --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ref, whose",
    [
        ("forms:gives_loss", "loss of gives_loss"),
        ("forms:gives_dict", "loss of gives_dict"),
        ("forms:shifts_labels", "the loss shifts its labels itself: they are the tokens"),
        ("forms:WithLoss", "loss of WithLoss"),
        ("forms:OtherNames", "loss of OtherNames"),
        ("of_batch:apply", "loss of loss_fn"),
        ("of_shifted:apply", "loss of loss"),
        ("of_logits:apply", "loss of loss"),
        ("of_model:apply", "loss of loss_fn"),
    ],
)
def test_a_loss_of_the_author_s_is_the_loss(folder, ref, whose):
    ready, losses, _ = opened(folder, ref)
    assert min(losses) > 100 and ready["loss_source"] == "model" and whose in ready["notes"]
    assert ("shifts" in ref) == ("shifts its labels" in ready["notes"])


def test_logits_are_told_from_other_arrays(folder):
    ready, _, _ = opened(folder, "forms:HiddenFirst", "infer")
    assert "vocabulary 30 from the model" in ready["notes"]
    reply = refusal(SPEC, folder, "infer", model_ref="forms:TwoOfAKind")
    assert reply["kind"] == "model" and "6, 29 wide" in reply["text"] and "none is called logits" in reply["text"]


def test_a_loss_that_cannot_be_called_is_named(folder, plain_losses):
    ready, losses, _ = opened(folder, "strange:apply")
    assert losses == pytest.approx(plain_losses, rel=1e-5) and ready["loss_source"] == "tokmark"
    assert "loss beside the model is not used: loss asks for 'teacher'" in ready["notes"]


@pytest.mark.parametrize(
    "name, words",
    [
        ("colours", "colours asks for 'colour'"),
        ("Segments", "Segments asks for 'segment_ids'"),
        ("gives_dict", "asks for 'labels', which only training has"),
    ],
)
def test_arguments_that_nobody_has_are_named(folder, name, words):
    reply = refusal(SPEC, folder, "infer", model_ref=f"forms:{name}")
    assert reply["kind"] == "model" and words in reply["text"], reply


# --- what is timed is what the function does ---------------------------------------------------------


@pytest.mark.parametrize("mode, kinds", [("train", 3), ("infer", 1)])
def test_a_step_runs_the_function_once_on_new_tokens(folder, mode, kinds):
    """Tokens, targets and dropout's key."""
    _, _, lines = opened(folder, "forms:seen", mode)
    columns = list(zip(*(line.split() for line in lines)))
    assert len(lines) == len(set(columns[0])) and len(columns) == kinds
    assert all(len(set(column)) == len(lines) > 1 for column in columns)


@pytest.mark.parametrize(
    "ref", ["counting:apply", "forms:CountingLinen", "forms:CountingNnx", "forms:counting_haiku"]
)
def test_state_goes_from_step_to_step(folder, ref):
    assert opened(folder, ref)[2] == ["7", "8", "9"]


# --- types -------------------------------------------------------------------------------------------


def test_a_type_that_the_author_keeps_is_kept_and_said(folder):
    ready, _, _ = opened(folder, "mixed:apply", precision="bf16-pure")
    assert ready["dtype_param"] == "bf16" and ready["dtype_buffers"] == "complex64"
    ready, _, _ = opened(folder, "mixed:apply")
    assert ready["dtype_kept"] == "bf16: table" and ready["dtype_param"] == "fp32+bf16"


def test_norms_in_fp32_of_a_bf16_model_stay(folder):
    ready, _, _ = opened(folder, "forms:Norms", precision="bf16-pure")
    assert ready["dtype_kept"] == "fp32: LayerNorm_0.bias, LayerNorm_0.scale"
    assert ready["dtype_param"] == "bf16+fp32"
    assert ready["model_config"]["dtype"] == {"value": "bfloat16", "from": "--precision"}
    ready = opened(folder, "forms:Norms", "infer")[0]
    assert "dtype_kept" not in ready and ready["dtype_compute"] == "fp32"
    for name in ("dtype", "param_dtype"):  # its author has bf16
        assert ready["model_config"][name] == {"value": "float32", "from": "--precision"}


def test_bf16_of_an_fp32_model_is_what_its_code_sees(folder):
    (folder / "seen").write_text("")
    with JaxHere(folder) as here:
        ready = here.open(SPEC, "train", 8, model_ref="forms:types_seen", precision="bf16")
    assert set((folder / "seen").read_text().splitlines()) == {"bfloat16 bfloat16"}
    assert ready["dtype_compute"].startswith("bf16") and ready["dtype_param"] == "fp32"


# --- JAX's own switches ------------------------------------------------------------------------------

STRICT = {
    "numpy_rank_promotion": "raise",
    "numpy_dtype_promotion": "strict",
    "transfer_guard": "disallow",
    "check_tracer_leaks": True,
    "debug_nans": True,
}


def switched(folder, name, **values):
    lines = [f"forms.jax.config.update('jax_{key}', {value!r})" for key, value in values.items()]
    (folder / f"{name}.py").write_text(SHARED + "\n".join([
        *lines, "", "def apply(params, tokens):", "    return plain(params, tokens)", "",
        "def adds(params, tokens):", "    return plain(params, tokens) + params['table'][:, 0]",
    ]))


@pytest.mark.parametrize("mode", ["train", "infer"])
def test_strict_rules_of_a_user_do_not_break_our_own_code(folder, plain_losses, mode):
    switched(folder, f"strict_{mode}", **STRICT)
    ready, losses, _ = opened(folder, f"strict_{mode}:apply", mode)
    assert mode == "infer" or losses == pytest.approx(plain_losses, rel=1e-5)
    for key, value in STRICT.items():
        assert f"jax_{key}={value}" in ready["framework_settings"]


def test_strict_rules_hold_for_the_user_s_code(folder):
    switched(folder, "strict", **STRICT)
    text = refusal(SPEC, folder, "infer", model_ref="strict:adds")["text"]
    assert "strict.py" in text and "rank_promotion" in text.lower()


def test_the_environment_s_rules_do_not_break_our_own_model(tmp_path, monkeypatch):
    for key, value in STRICT.items():
        monkeypatch.setenv(f"JAX_{key.upper()}", str(value))
    with JaxWorker(tmp_path, is_started=True) as worker:
        ready = worker.open({**SPEC, "layers_count": 1}, "train", 8)
        assert worker.run(2)["nonfinite"] == 0
    assert "jax_transfer_guard=disallow" in ready["framework_settings"]


def test_without_jit_a_step_is_not_compiled_and_says_so(folder, plain_losses):
    switched(folder, "unjitted", disable_jit=True)
    with JaxHere(folder) as worker:
        ready = worker.open(SPEC, "train", 8, model_ref="unjitted:apply")
        losses = [worker.run(1)["loss"] for _ in range(3)]
        assert worker.run(2)["recompiles"] == 0  # each operation was, in the first steps
    assert ready["compiled"] == "no (JAX_DISABLE_JIT)" and "compiler_flops" not in ready
    assert losses == pytest.approx(plain_losses, rel=1e-5)


def test_64_bits_leave_the_precision_as_asked(folder):
    switched(folder, "wide", enable_x64=True)
    ready, _, _ = opened(folder, "wide:apply")
    assert ready["dtype_param"] == ready["dtype_compute"] == "fp32"
    assert "jax_enable_x64=True" in ready["framework_settings"]


# --- faults of the author's --------------------------------------------------------------------------

FAULTS = """
    import jax
    import jax.numpy as jnp
    import numpy as np


    def init(key, vocab_size):
        return {"table": jax.random.normal(key, (vocab_size, 4))}


    def length(params, tokens):
        return params["table"][: int(tokens.sum())]  # length


    def through_numpy(params, tokens):
        return np.tanh(params["table"][tokens])  # numpy


    def chooses(params, tokens):
        while tokens[0, 0] < 3:  # chooses
            tokens = tokens + 1
        return params["table"][tokens]


    def shapes(params, tokens):
        return jax.jit(lambda one, two: one @ two)(params["table"], params["table"])  # shapes
"""


@pytest.mark.parametrize(
    "name, mark, words",
    [
        ("length", "# length", "ConcretizationTypeError"),
        ("through_numpy", "# numpy", "TracerArrayConversionError"),
        ("chooses", "# chooses", "TracerBoolConversionError"),
        ("shapes", "# shapes", "dot_general requires contracting dimensions"),
    ],
)
def test_faults_are_named_with_the_author_s_line(tmp_path, name, mark, words):
    text = textwrap.dedent(FAULTS)
    (tmp_path / f"faults_{name}.py").write_text(text)
    line = next(at for at, one in enumerate(text.splitlines(), 1) if mark in one)
    reply = refusal(SPEC, tmp_path, "infer", model_ref=f"faults_{name}:{name}")["text"]
    assert words in reply and re.search(rf"faults_{name}\.py:{line}\b", reply), reply
    assert not re.search("For simplicity|See https|jax_steps", reply)
    assert len(reply.encode()) <= 511  # all that a record's reason takes: the place is its end
