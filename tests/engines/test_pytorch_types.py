"""Types of parameters and buffers, switches that a model's code sets, lazy modules, memory that is never touched."""
import pytest

from pytorch_worker import MOE, TorchWorker
from test_pytorch_sources import write
from worker_client import WorkerError

SPEC = {**MOE, "name": "superintelligence-tiny", "max_seq_len": 8, "vocab_size": 50}

MODELS = """
    import os

    import torch
    from torch import nn


    class Base(nn.Module):
        def __init__(self, vocab_size):
            super().__init__()
            self.table = nn.Embedding(vocab_size, 8)
            self.head = nn.Linear(8, vocab_size, bias=False)
            self.more()

        def more(self):
            pass

        def between(self, h):
            return h

        def forward(self, x):
            h = self.between(self.table(x))
            return self.head(h.to(self.head.weight.dtype))


    class Tables(Base):
        # by default, complex, narrow and wide
        def more(self):
            angle = torch.outer(torch.arange(300), torch.linspace(0, 1, 4))
            self.register_buffer("angle", angle)
            self.register_buffer("turn", torch.polar(torch.ones_like(angle), angle), persistent=False)
            self.register_buffer("short", torch.ones(5, dtype=torch.bfloat16))
            self.register_buffer("wide", torch.ones(3, dtype=torch.float64))
            self.register_buffer("count", torch.zeros(3, dtype=torch.int64))

        def between(self, h):
            assert self.angle.dtype == torch.float32 and self.turn.dtype == torch.complex64
            assert self.short.dtype == torch.bfloat16 and self.wide.dtype == torch.float64
            # 299 is no bf16 number
            assert self.angle[299, 3] == 299
            return h


    class HeadIsWide(Base):
        def more(self):
            self.head = self.head.float()
            self.gate = nn.Linear(8, 8, dtype=torch.float32)


    class GateIsWide(Base):
        def more(self):
            self.gate = nn.Linear(8, 8, dtype=torch.float32)

        def between(self, h):
            return h * self.gate(h.float()).to(h.dtype)


    class NormIsDouble(Base):
        def more(self):
            self.norm = nn.Parameter(torch.ones(8, dtype=torch.float64))

        def between(self, h):
            return (h * self.norm).to(h.dtype)


    def all_bf16(vocab_size):
        return Base(vocab_size).bfloat16()


    class Pretrained(Base):
        _keep_in_fp32_modules = ["head"]
        _keep_in_fp32_modules_strict = None


    class Integers(Base):
        def more(self):
            self.packed = nn.Parameter(torch.zeros(4, dtype=torch.int8), requires_grad=False)
            self.phase = nn.Parameter(torch.zeros(4, dtype=torch.complex64))


    class ToNothing(Base):
        def to(self, *args, **kwargs):
            super().to(*args, **kwargs)


    class ToPlace(Base):
        # an own `to` that knows a device only
        def to(self, place):
            return super().to(place)


    class Lazy(nn.Module):
        def __init__(self, vocab_size):
            super().__init__()
            self.table = nn.Embedding(vocab_size, 8)
            self.body = nn.Sequential(nn.LazyLinear(12), nn.ReLU(), nn.LazyLinear(8))
            self.head = nn.LazyLinear(vocab_size)

        def forward(self, x):
            return self.head(self.body(self.table(x)))


    class LazyBare(Lazy):
        # its table is no module
        def __init__(self, vocab_size):
            super().__init__(vocab_size)
            self.table = nn.Parameter(torch.randn(vocab_size, 8))

        def forward(self, x):
            return self.head(self.body(self.table[x]))


    class Frozen(Base):
        # half of the machine's memory, never touched
        def more(self):
            count = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 8
            self.base = nn.Parameter(torch.empty(count), requires_grad=False)


    class Unused(Frozen):
        # its gradients are never made, which no arithmetic can know
        def more(self):
            super().more()
            self.base.requires_grad_(True)


    class Recurrent(Base):
        def more(self):
            self.memory = nn.LSTM(8, 8, batch_first=True)

        def between(self, h):
            return self.memory(h)[0]
"""

SWITCHED = """
    import torch
    from torch import nn

    torch.{switch}


    class Plain(nn.Module):
        def __init__(self, vocab_size):
            super().__init__()
            self.table = nn.Embedding(vocab_size, 8)
            self.head = nn.Linear(8, vocab_size)

        def forward(self, x):
            return self.head(self.table(x))
"""


@pytest.fixture(name="folder", scope="module")
def folder_fixture(tmp_path_factory):
    folder = tmp_path_factory.mktemp("types")
    write(folder, "kinds.py", MODELS)
    return folder


def opened(folder, ref, mode="infer", **changes):
    with TorchWorker(folder) as worker:
        ready = worker.open(SPEC, mode, 8, model_ref=ref, options={"set": {"vocab_size": "50"}}, **changes)
        block = worker.run(2)
        assert block["nonfinite"] == 0
        return ready


@pytest.mark.parametrize("precision", ["fp32", "bf16", "bf16-pure"])
def test_buffers_keep_their_author_s_types(folder, precision):
    ready = opened(folder, "kinds:Tables", precision=precision)
    assert ready["dtype_buffers"] == "fp32+complex64+bf16+fp64"
    assert ready["dtype_param"] == ("bf16" if precision == "bf16-pure" else "fp32")
    assert "dtype_kept" not in ready


@pytest.mark.parametrize("name, precision, types, kept", [
    ("Base", "bf16-pure", "bf16", None),
    ("HeadIsWide", "bf16-pure", "bf16+fp32", "fp32: 3 of 4 parameters (head.weight, gate.weight, gate.bias)"),
    ("GateIsWide", "bf16-pure", "bf16+fp32", "fp32: 2 of 4 parameters (gate.weight, gate.bias)"),
    ("GateIsWide", "fp32", "fp32", None),
    ("NormIsDouble", "fp32", "fp32+fp64", "fp64: 1 of 3 parameters (norm)"),
    ("NormIsDouble", "bf16-pure", "bf16+fp64", "fp64: 1 of 3 parameters (norm)"),
    ("Pretrained", "bf16-pure", "bf16+fp32", "fp32: 1 of 2 parameters (head.weight)"),
    ("Pretrained", "bf16", "fp32", None),
    ("all_bf16", "fp32", "fp32", None),
    ("Integers", "bf16-pure", "bf16+int8+complex64",
     "int8: 1 of 4 parameters (packed); complex64: 1 of 4 parameters (phase)"),
    ("ToNothing", "bf16-pure", "bf16", None),
    ("ToPlace", "fp32", "fp32", None),
    ("Recurrent", "bf16-pure", "bf16", None),
    ("Lazy", "bf16-pure", "bf16", None),
])
def test_parameters_follow_the_precision_unless_their_type_was_chosen(folder, name, precision, types, kept):
    ready = opened(folder, f"kinds:{name}", precision=precision)
    assert ready["dtype_param"] == types and ready.get("dtype_kept") == kept


@pytest.mark.parametrize("name, mode", [("Lazy", "train"), ("Lazy", "infer"), ("LazyBare", "infer")])
def test_lazy_modules_have_their_shapes_before_anything_is_counted(folder, name, mode):
    ready = opened(folder, f"kinds:{name}", mode)
    count = 50 * 8 + 8 * 12 + 12 + 12 * 8 + 8 + 8 * 50 + 50
    assert ready["params_total"] == ready["params_trainable"] == count


def test_frozen_parameters_need_no_gradients_and_untouched_pages_no_memory(folder):
    ready = opened(folder, "kinds:Frozen", "train")
    assert ready["params_total"] > 100_000_000
    assert ready["params_trainable"] == 2 * 8 * 50


def test_a_prediction_of_memory_can_be_overridden(folder):
    with pytest.raises(WorkerError, match="needs at least") as found:
        opened(folder, "kinds:Unused", "train")
    assert found.value.reply["kind"] == "oom"
    assert opened(folder, "kinds:Unused", "train", memory_check="off")["params_trainable"] > 100_000_000


@pytest.mark.parametrize("switch, said", [
    ("set_default_dtype(torch.float64)", "default dtype fp64"),
    ("set_default_device('meta')", "default device meta"),
    ("use_deterministic_algorithms(True)", "deterministic algorithms"),
    ("set_float32_matmul_precision('high')", "matmul precision high"),
    ("set_grad_enabled(False)", "gradients off"),
    ("backends.cudnn.benchmark = True", "cudnn.benchmark"),
    ("autograd.set_detect_anomaly(True)", "anomaly detection"),
    ("backends.cuda.enable_flash_sdp(False)", "sdp flash off"),
    ("get_default_dtype()", None),
])
def test_switches_that_a_model_s_code_sets_stay_and_are_said(tmp_path, switch, said):
    write(tmp_path, "switched.py", SWITCHED.replace("{switch}", switch))
    ready = opened(tmp_path, "switched:Plain", "infer")
    assert ready.get("framework_settings") == said
    assert ready["dtype_param"] == ready["dtype_compute"] == "fp32"
    if "grad_enabled" in switch:
        with pytest.raises(WorkerError, match="gradients are off for the whole process"):
            opened(tmp_path, "switched:Plain", "train")
    else:
        assert opened(tmp_path, "switched:Plain", "train").get("framework_settings") == said
