"""What a worker says of a card and does on one, where there is none: by a driver and a framework that are made up."""
import os
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest
from pytorch_worker import PYTHON_SOURCES

DRIVER = "int cuDriverGetVersion(int *version) { *version = %d; return %d; }"
ASK = """
import sys
sys.path.insert(0, sys.argv[1])
from tokmark_worker import nvml
print(nvml.cuda_driver_version())
"""


def driver_said(folder):
    done = subprocess.run([sys.executable, "-c", ASK, PYTHON_SOURCES], capture_output=True, text=True, check=True,
                          env={**os.environ, "LD_LIBRARY_PATH": str(folder)})
    return done.stdout.strip()


@pytest.fixture(name="driver")
def make_driver(tmp_path):
    def make(version, code):
        (tmp_path / "driver.c").write_text(DRIVER % (version, code))
        subprocess.run(["gcc", "-shared", "-fPIC", "-o", tmp_path / "libcuda.so.1", tmp_path / "driver.c"], check=True)
        return tmp_path
    return make


@pytest.mark.parametrize("version, code, says", [(12080, 0, "12.8"), (13000, 0, "13.0"), (0, 3, "None")])
def test_the_driver_tells_its_version(driver, version, code, says):
    assert driver_said(driver(version, code)) == says


def test_no_driver_is_no_version(tmp_path):
    assert driver_said(tmp_path) == "None"


NVML = """
#include <string.h>
struct memory { unsigned long long total, free, used; };
static int find(const char *said, const char *known, void **handle, long number) { *handle = (void *)number; return strcmp(said, known) != 0; }
int nvmlInit_v2(void) { return 0; }
int nvmlDeviceGetHandleByUUID(const char *uuid, void **handle) { return find(uuid, "GPU-1", handle, 1); }
int nvmlDeviceGetHandleByPciBusId_v2(const char *bus, void **handle) { return find(bus, "0000:1b:00.0", handle, 2); }
int nvmlDeviceGetMemoryInfo(void *handle, struct memory *memory) { *memory = (struct memory){1000 + (long)handle, 300, 700}; return 0; }
"""
ASK_MEMORY = """
import sys
sys.path.insert(0, sys.argv[1])
from tokmark_worker import nvml
for uuid, bus in (("GPU-1", "0000:1b:00.0"), ("GPU-9", "0000:1b:00.0"), (None, "0000:1b:00.0"), ("GPU-9", None)):
    found = nvml.Device.find(uuid, bus)
    print(found and found.memory())
"""


@pytest.mark.parametrize("has_library, says", [(True, ["(700, 1001)", "(700, 1002)", "(700, 1002)", "None"]), (False, ["None"] * 4)])
def test_a_card_is_found_by_its_uuid_or_its_place_and_says_what_is_used(has_library, says, tmp_path):
    if has_library:
        (tmp_path / "nvml.c").write_text(NVML)
        subprocess.run(["gcc", "-shared", "-fPIC", "-o", tmp_path / "libnvidia-ml.so.1", tmp_path / "nvml.c"], check=True)
    done = subprocess.run([sys.executable, "-c", ASK_MEMORY, PYTHON_SOURCES], capture_output=True, text=True, check=True,
                          env={**os.environ, "LD_LIBRARY_PATH": str(tmp_path)})
    assert done.stdout.split("\n")[:-1] == says


def test_a_card_of_pytorch_is_looked_for_where_it_is(monkeypatch):
    torch = pytest.importorskip("torch")
    from tokmark_worker import nvml, torch_memory

    asked = []
    place = {"pci_domain_id": 0, "pci_bus_id": 0x1B, "pci_device_id": 2}
    properties = SimpleNamespace(**place, uuid="abc")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _device: properties)
    monkeypatch.setattr(nvml.Device, "find", lambda *words: asked.append(words))
    torch_memory._find_nvml(torch.device("cuda:0"))
    del properties.uuid  # before 2.4
    torch_memory._find_nvml(torch.device("cuda:0"))
    assert asked == [("GPU-abc", "00000000:1b:02.0"), (None, "00000000:1b:02.0")]
    assert torch_memory.bus_id(torch.device("cpu")) is None


@pytest.mark.parametrize("device, version, name", [
    ("cuda:0", None, "Card of cuda:0"), ("cuda:0", "12.8", "Card of cuda:0, driver for CUDA 12.8"), ("cpu", "12.8", None),
])
def test_a_card_is_named_with_its_driver_and_without(device, version, name, monkeypatch):
    import torch
    from tokmark_worker import nvml
    from tokmark_worker.torch_engine import TorchEngine

    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"Card of {device}")
    monkeypatch.setattr(nvml, "cuda_driver_version", lambda: version)
    assert TorchEngine._device_name(SimpleNamespace(_device=torch.device(device))) == name


def test_no_binding_of_pytorch_s_own_is_called():
    """They change from release to release: one that was gone stopped every GPU cell."""
    folder = os.path.join(PYTHON_SOURCES, "tokmark_worker")
    for name in sorted(os.listdir(folder)):
        if name.endswith(".py"):
            with open(os.path.join(folder, name), encoding="utf-8") as file:
                assert not re.search(r"\btorch\._C\b", file.read()), name


# --- PyTorch on a card ---------------------------------------------------------------------------

GIB = 1 << 30


class Allocator:
    """What torch.cuda says of memory."""

    held = peak = 0

    def use(self, bytes_count):
        """Taken and given back."""
        self.peak = max(self.peak, self.held + bytes_count)

    def memory_allocated(self, _device):
        return self.held

    def memory_reserved(self, _device):
        return 4 * self.held

    def max_memory_allocated(self, _device):
        return self.peak

    def reset_peak_memory_stats(self, _device):
        self.peak = self.held

    def synchronize(self, _device):
        pass

    def empty_cache(self):
        pass


@pytest.fixture(name="card")
def make_card(monkeypatch):
    torch = pytest.importorskip("torch")
    card = Allocator()
    for name in ("memory_allocated", "memory_reserved", "max_memory_allocated", "reset_peak_memory_stats", "synchronize", "empty_cache"):
        monkeypatch.setattr(torch.cuda, name, getattr(card, name))
    return card


def test_the_peak_is_of_the_steps_alone(card, monkeypatch):
    import torch
    from tokmark_worker import torch_memory

    monkeypatch.setattr(torch_memory, "_find_nvml", lambda _device: SimpleNamespace(memory=lambda: (700, 1000)))
    memory = torch_memory.DeviceMemory(torch.device("cuda:0"))
    card.held = 100
    card.use(900)  # while the model is opened
    memory.begin()
    assert memory.report([], None, [])["peak_bytes"] == 100
    for inside, between in ((50, 800), (20, 0)):
        memory.begin_steps()
        card.use(inside)
        memory.end_of_steps()
        card.use(between)  # while a block is looked at
    param, shared = torch.zeros(5), torch.zeros(3)
    param.grad = torch.zeros(5)
    moments = {"step": torch.tensor(1.0), "exp_avg": torch.zeros(5), "exp_avg_sq": torch.zeros(5)}
    # one storage is counted once, however many look at it; a count of steps is no moment
    found = memory.report([param], SimpleNamespace(state={param: moments}), [shared, shared[1:]])
    parts = {"weights_bytes": 20, "gradients_bytes": 20, "optimizer_bytes": 40, "kv_cache_bytes": 12, "activations_bytes": 58, "total_bytes": 150}
    assert found == {"allocated_bytes": 100, "reserved_bytes": 400, "peak_bytes": 150, "parts": parts, "device_used_bytes": 700,
                     "device_total_bytes": 1000}


def test_a_card_that_ran_out_says_how_much_was_asked_and_free(monkeypatch):
    torch = pytest.importorskip("torch")
    from tokmark_worker.torch_memory import oom_error

    device = torch.device("cuda:0")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _device: (3 * GIB, 8 * GIB))
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _device: 5 * GIB)
    found = oom_error(torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 4.00 GiB."), device)
    assert (found.kind, found.needed_bytes, found.available_bytes, found.scope) == ("oom", 4 * GIB, 3 * GIB, "device")
    assert "3.00 GiB free of 8.00 GiB, 5.00 GiB held" in found.text
    assert oom_error(RuntimeError("CUBLAS_STATUS_ALLOC_FAILED"), device).scope == "device"
    assert oom_error(RuntimeError("an illegal instruction"), device) is None
    assert oom_error(ValueError("out of memory"), device) is None


@pytest.mark.parametrize("name, mode, capability, wanted", [
    ("fp32", "train", (7, 5), ("float32", "float32", "highest", False)),
    ("fp16", "train", (7, 5), ("float32", "float16", "highest", True)),
    ("fp16", "infer", (7, 5), ("float32", "float16", "highest", False)),
    ("tf32", "train", (8, 0), ("float32", "float32", "high", False)),
    ("bf16", "train", (8, 0), ("float32", "bfloat16", "highest", False)),
    ("bf16-pure", "train", (9, 0), ("bfloat16", "bfloat16", "highest", False)),
    ("bf16", "infer", (7, 5), "bf16 needs a CUDA device of compute capability 8.0; this one has 7.5; the nearest precision is fp16"),
    ("tf32", "infer", (7, 5), "tf32 needs a CUDA device"),
])
def test_precisions_of_pytorch_on_a_card(name, mode, capability, wanted, monkeypatch):
    torch = pytest.importorskip("torch")
    from tokmark_worker.errors import WorkerError
    from tokmark_worker.torch_precision import Precision

    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: capability)
    try:
        made = Precision(name, mode, torch.device("cuda:0"))
    except WorkerError as error:
        assert error.kind == "unsupported" and isinstance(wanted, str) and wanted in error.text
        return
    types = [str(dtype).removeprefix("torch.") for dtype in (made.param_dtype, made.compute_dtype)]
    assert (*types, made.matmul, made.has_scaler) == wanted
    set_to = []
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", name != "tf32")
    monkeypatch.setattr(torch, "set_float32_matmul_precision", set_to.append)
    made.apply()
    assert set_to == [wanted[2]] and torch.backends.cudnn.allow_tf32 == (name == "tf32")
    for switch in ("highest", "high"):  # as it stands, whoever moved it
        monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda switch=switch: switch)
        assert made.tf32 == (switch == "high")


@pytest.mark.parametrize("name, allowed, said", [
    ("bf16", "bf16", "fp32, split sums may be bf16"), ("bf16", "fp16", "fp32"), ("fp16", "fp16", "fp32, split sums may be fp16"), ("fp32", "bf16", "fp32"),
])
def test_what_a_card_may_sum_in_less_is_said(name, allowed, said, monkeypatch):
    torch = pytest.importorskip("torch")
    from tokmark_worker.torch_precision import Precision

    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: (9, 0))
    switches = {f"allow_{kind}_reduced_precision_reduction": kind == allowed for kind in ("bf16", "fp16")}
    monkeypatch.setattr(torch.backends.cuda, "matmul", SimpleNamespace(**switches))
    assert Precision(name, "infer", torch.device("cuda:0")).accumulate_name() == said


def test_a_card_is_waited_for_and_its_clock_is_in_nanoseconds(monkeypatch):
    torch = pytest.importorskip("torch")
    from tokmark_worker import torch_engine

    waited, recorded = [], []
    monkeypatch.setattr(torch.cuda, "synchronize", waited.append)
    engine = object.__new__(torch_engine.TorchEngine)
    engine._device = torch.device("cuda:1")
    engine._wait(None)
    assert waited == [engine._device]

    class Event:
        def __init__(self, enable_timing):
            assert enable_timing

        def record(self):
            recorded.append(self)

        def elapsed_time(self, end):
            return 1.5 if [self, end] == recorded else None  # ms

    monkeypatch.setattr(torch.cuda, "Event", Event)
    timer = torch_engine._EventTimer()
    timer.start()
    timer.stop()
    assert timer.elapsed_ns() == 1_500_000


@pytest.mark.parametrize("name, wanted", [
    ("cuda", "cuda:0"), ("cuda:1", "cuda:1"), ("cuda:2", "there are 2 CUDA devices; the nearest is cuda:1"),
])
def test_a_card_is_chosen_by_its_number(name, wanted, monkeypatch):
    torch = pytest.importorskip("torch")
    from tokmark_worker.errors import WorkerError
    from tokmark_worker.torch_engine import resolve_device

    chosen = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    if name == "cuda:2":
        with pytest.raises(WorkerError, match=wanted):
            resolve_device(name)
    else:
        assert str(resolve_device(name)) == wanted and chosen == [torch.device(wanted)]


def test_an_optimizer_that_cannot_be_fused_is_what_it_is_called(monkeypatch):
    torch = pytest.importorskip("torch")
    from tokmark_worker.torch_steps import make_optimizer

    real = torch.optim.AdamW

    def refuse(params, fused=None, **options):
        """As PyTorch 2.2 on a CPU: only once it has written what it was asked for into the groups."""
        optimizer = real(params, fused=fused, **options)
        if fused:
            raise RuntimeError("fused=True is not here")
        return optimizer

    def made():
        optimizer, name = make_optimizer([torch.nn.Parameter(torch.zeros(2))], 3e-4, torch.device("cpu"))
        [group] = optimizer.param_groups
        return group["fused"], group["foreach"], group["lr"], name

    assert made()[0] and made()[2:] == (3e-4, "AdamW fused")
    monkeypatch.setattr(torch.optim, "AdamW", refuse)
    assert made() == (None, True, 3e-4, "AdamW foreach")


# --- JAX on a card -------------------------------------------------------------------------------


def plan(**bytes_of):
    """XLA's plan of a step that takes 100 bytes of arguments, and 40 more."""
    from tokmark_worker.jax_memory import Plan

    sizes = {"argument": 100, "temp": 35, "output": 50, "alias": 45, **bytes_of}
    analysis = SimpleNamespace(**{f"{name}_size_in_bytes": size for name, size in sizes.items()})
    return Plan(SimpleNamespace(memory_analysis=lambda: analysis))


def jax_card(**stats):
    return SimpleNamespace(platform="tpu", memory_stats=lambda: stats)


@pytest.mark.parametrize("at_open, after, known, peak", [
    (900, 900, True, 140),  # reached while kernels were tried out: what rests, and the plan on top
    (900, 950, True, 950), (120, 120, True, 120), (900, 900, False, 900),
])
def test_jax_s_peak_is_of_the_steps_alone(at_open, after, known, peak):
    pytest.importorskip("jax")
    from tokmark_worker.jax_memory import DeviceMemory, Plan

    stats = {"bytes_in_use": 100, "peak_bytes_in_use": at_open, "pool_bytes": 1000}
    memory = DeviceMemory(SimpleNamespace(platform="tpu", memory_stats=lambda: stats), plan() if known else Plan(None))
    stats["peak_bytes_in_use"] = after
    found = memory.report({"weights_bytes": 60, "optimizer_bytes": 30})
    parts = {"weights_bytes": 60, "optimizer_bytes": 30, "activations_bytes": peak - 90, "total_bytes": peak}
    assert found == {"allocated_bytes": 100, "reserved_bytes": 1000, "peak_bytes": peak, "parts": parts}


def test_of_several_devices_the_fullest_is_said_and_the_least_beside_it():
    pytest.importorskip("jax")
    from tokmark_worker.jax_memory import report_of_all

    assert report_of_all([{"peak_bytes": 5}, {"peak_bytes": 9}, {"peak_bytes": 7}]) == {"peak_bytes": 9, "peak_bytes_least": 5}
    assert report_of_all([{"peak_bytes": 5}]) == {"peak_bytes": 5}
    assert report_of_all([{"parts": 1}, {"parts": 2}]) == {"parts": 1}


def test_a_step_that_a_card_cannot_hold_is_refused_unless_it_asks_to_be_tried():
    pytest.importorskip("jax")
    from tokmark_worker.errors import WorkerError
    from tokmark_worker.jax_memory import require_plan

    cell = SimpleNamespace(memory_check="on", mode="infer")
    # 30 of the arguments are there already: 70 + 40 are to come
    for free, refused in ((110, False), (109, True)):
        layout = SimpleNamespace(device=jax_card(bytes_limit=1000, bytes_in_use=1000 - free), neighbours_count=2)
        require_plan(SimpleNamespace(memory_check="off", mode="infer"), 7, plan(), 30, layout)
        if not refused:
            require_plan(cell, 7, plan(), 30, layout)
            continue
        with pytest.raises(WorkerError) as found:
            require_plan(cell, 7, plan(), 30, layout)
        assert (found.value.needed_bytes, found.value.available_bytes, found.value.scope) == (110, 109, "device")


def test_devices_of_one_host_need_its_memory_together(monkeypatch):
    pytest.importorskip("jax")
    from tokmark_worker import jax_memory

    needed = []
    monkeypatch.setattr(jax_memory, "require_host", lambda _cell, _what, bytes_count: needed.append(bytes_count))
    layout = SimpleNamespace(device=SimpleNamespace(platform="cpu"), neighbours_count=2)
    jax_memory.require_plan(SimpleNamespace(mode="infer"), 7, plan(), 30, layout)
    assert needed == [2 * 110]


def test_a_card_of_jax_that_ran_out_says_how_much_was_asked_and_free():
    pytest.importorskip("jax")
    from tokmark_worker.jax_memory import oom_error

    said = RuntimeError(f"RESOURCE_EXHAUSTED: Out of memory while trying to allocate {4 * GIB} bytes.")
    found = oom_error(said, jax_card(bytes_limit=8 * GIB, bytes_in_use=5 * GIB))
    assert (found.needed_bytes, found.available_bytes, found.scope) == (4 * GIB, 3 * GIB, "device")
    assert "in no piece" not in found.text
    assert "in no piece as large" in oom_error(said, jax_card(bytes_limit=9 * GIB, bytes_in_use=5 * GIB)).text


@pytest.mark.parametrize("name, mode, platform, wanted", [
    ("fp16", "train", "cuda", ("float32", "float16", None, True)), ("fp16", "infer", "cpu", ("float32", "float16", None, False)),
    ("tf32", "train", "cuda", ("float32", "float32", "tensorfloat32", False)), ("tf32", "train", "rocm", "tf32 is a number format of CUDA"),
    ("fp16", "train", "rocm", "fp16 training needs a CUDA device"),
])
def test_precisions_of_jax_on_a_card(name, mode, platform, wanted):
    jnp = pytest.importorskip("jax.numpy")
    from tokmark_worker.errors import WorkerError
    from tokmark_worker.jax_precision import Precision

    if isinstance(wanted, str):
        with pytest.raises(WorkerError, match=wanted):
            Precision(name, mode, platform)
        return
    made = Precision(name, mode, platform)
    types = [str(jnp.dtype(dtype)) for dtype in (made.param_dtype, made.compute_dtype)]
    assert (*types, made.matmul, made.has_scaler) == wanted


@pytest.mark.parametrize("norm, good_steps, wanted", [
    (1.0, 3, (8.0, 4, "new")), (1.0, 1999, (16.0, 0, "new")), (float("inf"), 1999, (4.0, 0, "old")), (float("nan"), 3, (4.0, 0, "old")),
])
def test_a_gradient_that_overflowed_changes_nothing_but_the_scale(norm, good_steps, wanted):
    jnp = pytest.importorskip("jax.numpy")
    from tokmark_worker.jax_steps import TrainSteps

    old = {"params": {"w": jnp.float32(1)}, "optimizer": [jnp.float32(2)], "scale": (jnp.float32(8), jnp.int32(good_steps))}
    new = {"params": {"w": jnp.float32(3)}, "optimizer": [jnp.float32(4)], "key": 5}
    made = TrainSteps._kept_if_finite(None, old, new, jnp.float32(norm))
    scale, steps = made["scale"]
    of_whom = {(3.0, 4.0): "new", (1.0, 2.0): "old"}[float(made["params"]["w"]), float(made["optimizer"][0])]
    assert (float(scale), int(steps), of_whom) == wanted and made["key"] == 5
