"""--attention: the one kernel that scaled_dot_product_attention may use, seen by PyTorch's own observer, or a refusal."""
import pytest

from pytorch_worker import GELU, TorchWorker
from worker_client import WorkerError

# With dropout our model computes its attention itself.
MODEL = {**GELU, "dropout": 0.0}


def opened(attention, mode="train", model=MODEL, **options):
    with TorchWorker() as worker:
        ready = worker.open(model, mode, options={"attention": attention, **options})
        block = worker.run(1)
        return ready, block


@pytest.mark.parametrize("kernel", ["flash", "math"])
def test_the_kernel_is_the_one_that_was_asked_for(kernel):
    ready, block = opened(kernel)
    assert ready["backend"] == f"sdpa {kernel}"
    assert "framework_settings" not in ready, "what the command line sets is no surprise"
    assert block["loss"] == pytest.approx(opened("auto")[1]["loss"], rel=1e-5)


@pytest.mark.parametrize("kernel, model, why", [
    ("efficient", MODEL, "no such kernel"),
    ("flash", GELU, "ran with 'no sdpa call'"),
])
def test_a_kernel_that_cannot_be_is_refused_and_never_replaced(kernel, model, why):
    with pytest.raises(WorkerError, match=why) as caught:
        opened(kernel, model=model)
    assert caught.value.reply["kind"] == "unsupported"
    assert f"attention {kernel}" in str(caught.value) and "nearest is auto" in str(caught.value)


def test_a_model_with_attention_of_its_own_does_not_pass_for_one_with_the_kernel(tmp_path):
    (tmp_path / "mine.py").write_text(
        "import torch\n"
        "class Mine(torch.nn.Module):\n"
        "    def __init__(self, vocab_size=64):\n"
        "        super().__init__()\n"
        "        self.table = torch.nn.Embedding(vocab_size, 8)\n"
        "        self.head = torch.nn.Linear(8, vocab_size)\n"
        "    def forward(self, ids):\n"
        "        x = self.table(ids)\n"
        "        return self.head((x @ x.mT).softmax(-1) @ x)\n")
    with TorchWorker(tmp_path) as worker, pytest.raises(WorkerError, match="ran with 'no sdpa call'") as caught:
        worker.open(MODEL, "infer", model_source="factory", model_ref="mine:Mine", options={"attention": "math"})
    assert caught.value.reply["kind"] == "unsupported"
