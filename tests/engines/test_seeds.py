"""What a seed, a number of threads and a step's own loss, gradients and update do, in every engine alike."""
import pytest

from jax_worker import JaxWorker
from pytorch_worker import GELU, TorchWorker
from worker_client import Worker

ENGINES = {"native": lambda: Worker("native"), "pytorch": TorchWorker, "jax": JaxWorker}
MODEL = {**GELU, "vocab_size": 131, "dropout": 0.0, "layers_count": 1, "max_seq_len": 12}


@pytest.fixture(scope="module", name="text")
def make_texts(tmp_path_factory):
    """A text of one letter: every batch of it is the same, whatever the seed."""

    def of(letter):
        path = folder / letter
        path.write_text(letter * 64)
        return {"data": "text", "data_path": str(path), "data_hash": "h0000000000000000"}

    folder = tmp_path_factory.mktemp("texts")
    return of


def blocks_of(engine, blocks, **changes):
    """(ready, what blocks of so many steps say)"""
    with ENGINES[engine]() as worker:
        ready = worker.open(**{"model": MODEL, "mode": "train", "seq_len": 8, "batch_size": 2, "threads": 1, **changes})
        return ready, [worker.run(steps) for steps in blocks]


def first_of(engine, **changes):
    return blocks_of(engine, [1], **changes)[1][0]


@pytest.mark.parametrize("engine", ENGINES)
def test_weights_follow_the_seed(engine, text):
    losses = [first_of(engine, seed=seed, **text("a"))["loss"] for seed in ("3", "4", "3", str(3 + (1 << 40)))]
    assert losses[0] == losses[2] != losses[1]
    # PyTorch's own generator of a CPU takes the lower half
    assert (losses[3] == losses[0]) == (engine == "pytorch")


@pytest.mark.parametrize("engine", ENGINES)
def test_dropout_follows_the_seed_and_is_there(engine, text, tmp_path):
    """With the weights of a file and tokens of one kind, only dropout is left to differ."""
    weights = weights_file(tmp_path)
    given = {"weights_path": str(weights), "weights_hash": "h0000000000000000", **text("a")}
    dropped = {**MODEL, "dropout": 0.5}
    losses = [first_of(engine, model=dropped, seed=seed, **given)["loss"] for seed in ("3", "4", "3")]
    assert losses[0] == losses[2] != losses[1]
    assert first_of(engine, seed="3", **given)["loss"] == pytest.approx(first_of(engine, seed="4", **given)["loss"], rel=1e-6)


def weights_file(folder):
    """A model's weights, whatever they are."""
    import torch

    from pytorch_worker import spec_of
    from tokmark_worker import torch_model, torch_tensors

    torch.manual_seed(0)
    model = torch_model.build(spec_of(MODEL), "routed", torch.device("cpu"), torch.float32, torch.float32)
    path = folder / "weights.safetensors"
    torch_tensors.write(str(path), [(name, value.detach()) for name, value in model.named_parameters()])
    return path


@pytest.mark.parametrize("engine", ENGINES)
def test_a_block_says_its_last_steps_loss_and_steps_learn(engine, text):
    (_, alone), (_, together) = [blocks_of(engine, blocks, **text("a")) for blocks in ([1, 1, 1], [3])]
    losses = [block["loss"] for block in alone]
    assert losses[0] > losses[1] > losses[2], "each step takes the loss of one and the same batch down"
    assert together[0]["loss"] == pytest.approx(losses[2], rel=1e-6)
    assert together[0]["grad_norm"] == pytest.approx(alone[2]["grad_norm"], rel=1e-5)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_norm_is_of_the_gradients(engine, text):
    """The weights are the same in both, the gradients are not."""
    norms = [first_of(engine, **text(letter))["grad_norm"] for letter in "ab"]
    assert norms[0] != pytest.approx(norms[1], rel=1e-4)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("engine", ["native", "pytorch"])
def test_threads_are_those_that_were_asked_for(engine, threads):
    ready, _ = blocks_of(engine, [], threads=threads)
    assert ready["threads"] == threads
