"""Models that are not tokmark's own: functions, Flax, Equinox, the examples, and hostile ones."""
import re
import textwrap
import time

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from jax_worker import MOE, REPOSITORY, JaxHere, JaxWorker, refusal
from worker_client import WorkerError
from waiting import TIMEOUT_S

SPEC = {**MOE, "name": "superintelligence-tiny", "max_seq_len": 8}
ROOT = REPOSITORY


def write(folder, name, text):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text))
    return path


def refused(folder, mode="infer", **changes):
    return refusal(SPEC, folder, mode, **changes)


# --- the examples ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ref, kind, mode, overrides",
    [
        ("jax_function:apply", "function", "train", {"width": "32"}),
        ("jax_flax:Gpt", "Flax linen", "train", {"layers": "1"}),
        ("jax_nnx:Gpt", "Flax nnx", "train", {}),
        ("jax_equinox:Gpt", "Equinox", "train", {"layers": "1"}),
        ("jax_equinox:Gpt", "Equinox", "infer", {"layers": "1"}),
    ],
)
def test_examples_run_and_learn(ref, kind, mode, overrides, tmp_path):
    tokens = torch.randint(0, 211, (2, 8), dtype=torch.int32)
    inputs, output = tmp_path / "i", tmp_path / "o"
    save_file({"tokens": tokens, "targets": tokens.clone()}, inputs)
    with JaxWorker(ROOT) as worker:
        ready = worker.open(
            SPEC, mode, 8, model_ref=f"examples.{ref}", options={"set": overrides}
        )
        assert ready["model_source"] == f"factory examples.{ref}"
        assert f"{kind} model" in ready["notes"]
        assert ready["dtype_compute"] == ready["dtype_param"] == "fp32"
        assert ready["params_total"] > 1000
        assert worker.run(3)["nonfinite"] == 0
        assert worker.run(2, "block")["recompiles"] == 0
        if mode == "train":
            before = worker.check(inputs, output, 0)["loss"]
            assert worker.check(inputs, output, 10)["loss"] < before
            names = {name for name in load_file(output) if name.startswith("param.")}
            assert len(names) > 2 and all(re.fullmatch(r"[\w.]+", name) for name in names)
    text = (ROOT / "examples" / f"{ref.partition(':')[0]}.py").read_text()
    assert f"--model examples.{ref}" in text  # the command line that it says of itself


# --- what a function gets, and which forms there are ----------------------------------------------

FORMS = """
    import types
    from dataclasses import dataclass

    import jax
    import jax.numpy as jnp


    @dataclass
    class Config:
        vocab_size: int = 300
        block_size: int = 1024
        n_embd: int = 16


    def init(key, config: Config, param_dtype):
        print("init", config, param_dtype)
        table = jax.random.normal(key, (config.vocab_size, config.n_embd), param_dtype)
        return {"table": table, "tied": table, "steps": jnp.arange(3)}


    def apply(params, tokens, train, key=None):
        assert params["steps"].dtype == jnp.int32
        x = params["table"][tokens]
        if train:
            x = x * jax.random.bernoulli(key, 0.9, x.shape)
        return {"logits": x @ params["tied"].T}


    def make(config: Config, dtype):
        return types.SimpleNamespace(
            init=lambda key: init(key, config, "float32"), apply=apply, config=config)


    def as_tuple(vocab_size):
        return lambda key: init(key, Config(vocab_size), "float32"), apply


    pair = types.SimpleNamespace(init=init, apply=apply)
    number = 3


    def not_a_model(vocab_size):
        return vocab_size


    def wants_more(vocab_size, colour):
        return pair


    def alone(params, tokens):
        return params
"""


@pytest.mark.parametrize(
    "name, mode, overrides, vocab",
    [
        ("apply", "train", {}, 300),
        ("make", "infer", {"n_embd": "20", "vocab_size": "250"}, 250),
        ("as_tuple", "train", {}, 211),
        ("pair", "infer", {"n_embd": "12"}, 300),
    ],
)
def test_functions_in_every_form(tmp_path, name, mode, overrides, vocab):
    write(tmp_path, "mine/models.py", FORMS)
    with JaxWorker(tmp_path) as worker:
        ready = worker.open(
            SPEC if vocab == 211 else {**SPEC, "vocab_size": 200}, mode, 8, precision="bf16",
            model_ref=f"mine.models:{name}", options={"set": overrides},
        )
        width = int(overrides.get("n_embd", 16))
        assert ready["params_total"] == 2 * vocab * width
        assert ready["dtype_compute"].startswith("bf16")
        assert worker.run(2)["nonfinite"] == 0


@pytest.mark.parametrize(
    "ref, words",
    [
        ("mine.models:maker", "did you mean 'make'"),
        ("mine.models:number", "not a class, a function or a pair"),
        ("mine.models:not_a_model", "gave a int; wanted are a Flax or Equinox module"),
        ("mine.models:wants_more", "asks for 'colour'"),
        ("mine.model:make", "No module named 'mine.model'"),
        ("mine.models", "no pkg.module:factory"),
    ],
)
def test_factories_that_are_none_are_said_so(tmp_path, ref, words):
    write(tmp_path, "mine/models.py", FORMS)
    reply = refused(tmp_path, model_ref=ref)
    assert reply["kind"] == "model" and words in reply["text"], reply


def test_decode_of_a_user_s_model_is_unsupported(tmp_path):
    write(tmp_path, "mine/models.py", FORMS)
    reply = refused(tmp_path, "decode", model_ref="mine.models:as_tuple")
    assert reply["kind"] == "unsupported" and "train and infer" in reply["text"]


def test_a_package_of_pytorch_s_is_not_looked_for(tmp_path):
    write(tmp_path, "superintelligence/config.py", "raise SystemExit('not for JAX')")
    write(tmp_path, "superintelligence/model.py", "import torch")
    with JaxWorker(tmp_path) as worker:
        assert worker.open(SPEC, "infer", 8)["model_source"] == "tokmark jax (routed)"


def test_weights_travel_into_a_function_and_out(tmp_path):
    write(tmp_path, "mine/models.py", FORMS)
    table = torch.from_numpy(np.random.default_rng(1).normal(size=(211, 16)).astype(np.float32))
    weights, inputs, output = (tmp_path / name for name in "wio")
    save_file({"table": table, "tied": table.flip(0).contiguous()}, weights)
    tokens = torch.randint(0, 211, (2, 8), dtype=torch.int32)
    save_file({"tokens": tokens, "targets": tokens.clone()}, inputs)
    with JaxWorker(tmp_path) as worker:
        worker.open(
            SPEC, "infer", 8, model_ref="mine.models:as_tuple", weights_path=str(weights)
        )
        worker.check(inputs, output)
    wanted = table[tokens.long()] @ table.flip(0).T
    assert torch.allclose(load_file(output)["logits"], wanted, rtol=1e-5, atol=1e-5)


def test_weights_by_the_names_of_flax_s_variables(tmp_path):
    """"params." stands before all of them; what is in the state is the model's own."""
    write(tmp_path, "mine/models.py", FORMS)
    table, weights = torch.ones(211, 16), tmp_path / "w"
    given = {"params.table": table, "params.tied": table, "params.steps": torch.zeros(3)}
    save_file({name: tensor.clone() for name, tensor in given.items()}, weights)
    with JaxHere(tmp_path) as here:
        ready = here.open(SPEC, "infer", 8, model_ref="mine.models:as_tuple", weights_path=str(weights))
    assert "weights by other prefixes: params.table is table" in ready["notes"]
    assert "not read from the weights: 'steps'" in ready["notes"]
    save_file({"table": table, "tied": table.clone(), "head": table.clone()}, weights)
    text = refused(tmp_path, model_ref="mine.models:as_tuple", weights_path=str(weights))["text"]
    assert "1 tensors that the model has not: 'head'" in text


# --- hostile ones ---------------------------------------------------------------------------------

HOSTILE = """
    import os
    import sys
    import threading
    import time

    import jax
    import jax.numpy as jnp
    import numpy as np
    from jax.experimental import io_callback

    print("a print at import")
    os.write(1, b"raw bytes at import\\n")


    def init(key, vocab_size):
        return {"table": jax.random.normal(key, (vocab_size, 8))}


    def made(work):
        def apply(params, tokens):
            return work(params["table"][tokens] @ params["table"].T)
        return init, apply


    def leaves_in_init(key):
        sys.exit(3)


    def raising(logits):
        raise KeyError("lost")


    def called(function):
        calls = []

        def host():
            calls.append(0)
            function(len(calls))
            return np.float32(0)

        def work(logits):
            return logits + io_callback(host, jax.ShapeDtypeStruct((), jnp.float32))
        return work


    def tire(count):
        if count > 2:
            raise RuntimeError("tired")


    def compile_anew(count):
        jax.jit(lambda x: x + count).lower(jax.ShapeDtypeStruct((), jnp.float32)).compile()


    def printing(logits):
        print("{}", flush=True)
        os.write(1, b'{"type":"bye"}\\n')
        os.system("echo from a child")
        return logits


    def threaded(logits):
        threading.Thread(target=time.sleep, args=(600,)).start()
        return logits


    Raises = made(raising)
    RaisesInInit = lambda: made(lambda logits: logits)[2]
    LeavesInInit = (leaves_in_init, made(raising)[1])
    RaisesLater = made(called(tire))
    Recompiles = made(called(compile_anew))
    Prints = made(printing)
    Leaves = made(lambda logits: os._exit(0))
    GivesNan = made(lambda logits: logits * jnp.nan)
    WrongShape = made(lambda logits: logits[:, :, :100])
    WrongRows = made(lambda logits: logits.reshape(-1, logits.shape[-1]))
    WrongType = made(lambda logits: {"predictions": logits.shape})
    WrongDtype = made(lambda logits: logits.astype(jnp.int32))
    Constant = init, lambda params, tokens: jnp.zeros((*tokens.shape, 211)) + params["table"].sum()
    Weightless = init, lambda params, tokens: jax.nn.one_hot(tokens, 211)
    Empty = lambda key: {}, lambda params, tokens: jax.nn.one_hot(tokens, 211)
    Hungry = lambda key: {"table": np.empty((1 << 24, 1 << 24))}, made(raising)[1]
    Threads = made(threaded)
    Hangs = made(called(lambda count: time.sleep(600)))
"""


@pytest.fixture(name="folder")
def folder_fixture(tmp_path):
    write(tmp_path, "hostile.py", HOSTILE)
    return tmp_path


@pytest.mark.parametrize(
    "name, words",
    [
        ("RaisesInInit", "IndexError: tuple index out of range"),
        ("LeavesInInit", "SystemExit: 3"),
        ("Raises", "KeyError: 'lost'"),
        ("WrongShape", "shape (2, 8, 100)"),
        ("WrongRows", "shape (16, 211)"),
        ("WrongType", "wanted are logits"),
        ("WrongDtype", "int32"),
        ("Constant", "do not depend on the tokens"),
        ("Weightless", "do not depend on the parameters"),
    ],
)
def test_broken_models_are_model_errors_at_open(folder, name, words):
    reply = refused(folder, "train", model_ref=f"hostile:{name}")
    assert reply["kind"] == "model" and words in reply["text"], reply
    if name.startswith("Raises"):
        assert "hostile.py:" in reply["text"]  # where


def test_a_model_without_parameters_cannot_train(folder):
    reply = refused(folder, "train", model_ref="hostile:Empty")
    assert reply["kind"] == "model" and "no parameters to train" in reply["text"]


def test_running_out_of_host_memory_is_oom(folder):
    reply = refused(folder, model_ref="hostile:Hungry")
    assert reply["kind"] == "oom" and reply["scope"] == "host"


def test_a_model_that_breaks_later_is_a_model_error_of_that_block(folder):
    with JaxWorker(folder) as worker:
        worker.open(SPEC, "infer", 8, model_ref="hostile:RaisesLater")
        with pytest.raises(WorkerError) as found:
            for _ in range(4):
                worker.run(1)
        assert found.value.reply["kind"] == "model" and "tired" in found.value.reply["text"]
        with pytest.raises(WorkerError, match="no place"):
            worker.run(1)


@pytest.mark.parametrize("mode", ["train", "infer"])
def test_compilations_inside_a_block_are_counted(folder, mode):
    with JaxWorker(folder) as worker:
        worker.open(SPEC, mode, 8, model_ref="hostile:Recompiles")
        assert worker.run(3)["recompiles"] == 3
        assert worker.run(2, "block")["recompiles"] == 2


def test_prints_do_not_touch_the_protocol(folder):
    with JaxWorker(folder) as worker:
        worker.open(SPEC, "infer", 8, model_ref="hostile:Prints")
        assert worker.run(2)["steps"] == 2
        assert worker.memory()["type"] == "memory"


def test_nan_is_counted(folder):
    for mode, counted in (("train", 4), ("infer", 1)):
        with JaxWorker(folder) as worker:
            worker.open(SPEC, mode, 8, model_ref="hostile:GivesNan")
            block = worker.run(3)
            assert block["nonfinite"] == counted  # three losses and a norm; the last logits
            assert "loss" not in block and "grad_norm" not in block


def test_a_model_that_leaves_ends_the_worker(folder):
    with JaxWorker(folder, is_started=True) as worker:
        with pytest.raises(RuntimeError, match="the worker is gone, exit code 0"):
            worker.open(SPEC, "train", 8, model_ref="hostile:Leaves")


def test_a_model_s_threads_do_not_keep_the_worker(folder):
    with JaxWorker(folder, is_started=True) as worker:
        worker.open(SPEC, "infer", 8, model_ref="hostile:Threads")
        assert worker.ask({"type": "close"})["type"] == "bye"
        assert worker.process.wait(TIMEOUT_S) == 0


def test_a_model_that_hangs_can_be_ended(folder):
    worker = JaxWorker(folder, is_started=True)
    worker.open(SPEC, "infer", 8, model_ref="hostile:Hangs")
    worker.process.stdin.write('{"type":"run","steps":1,"sync":"step"}\n')
    worker.process.stdin.flush()
    time.sleep(1)
    assert worker.process.poll() is None
    worker.process.terminate()
    assert worker.process.wait(TIMEOUT_S) == -15
    worker.process.stdin.close()
    worker.process.stdout.close()
