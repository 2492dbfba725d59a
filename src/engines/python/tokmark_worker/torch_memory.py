"""Memory of one cell: what is held, what the peak was, and what running out of it looks like."""
import torch

from . import host_memory, nvml
from .errors import WorkerError, asked_bytes, format_bytes
from .torch_spread import local


def _tensor_bytes(tensors):
    """Bytes of the storages behind the tensors, each once; of sharded ones this rank's part."""
    storages = {}
    for tensor in tensors:
        storage = local(tensor).untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())


def oom_error(error, device):
    """The oom error behind an exception; None when it is something else."""
    text = str(error)
    is_host = isinstance(error, MemoryError) or "DefaultCPUAllocator" in text
    lower = text.lower()
    is_device = isinstance(error, torch.cuda.OutOfMemoryError) or (
        isinstance(error, RuntimeError)
        and ("out of memory" in lower or "alloc_failed" in lower)
    )
    if is_host:
        usable = host_memory.usable_bytes()
        needed = asked_bytes(text)
        short = text.strip().splitlines()[0] if text.strip() else "out of memory"
        return WorkerError("oom", f"host memory: {short}", needed, usable, "host")
    if not is_device:
        return None
    asked = asked_bytes(text)
    try:
        free, total = torch.cuda.mem_get_info(device)
        held = torch.cuda.memory_allocated(device)
    except RuntimeError:
        return WorkerError("oom", text.strip().splitlines()[0], asked, None, "device")
    said = f"asked for {format_bytes(asked)}" if asked else "asked for more than is free"
    return WorkerError(
        "oom",
        f"device memory: {said}; {format_bytes(free)} free of {format_bytes(total)}, "
        f"{format_bytes(held)} held by the cell",
        asked,
        free,
        "device",
    )


class DeviceMemory:
    """PyTorch's allocator on a CUDA device; on a CPU it knows nothing but the parts."""

    def __init__(self, device):
        self._device = device
        self._is_cuda = device.type == "cuda"
        self._peak_bytes = 0
        self._nvml = _find_nvml(device) if self._is_cuda else None

    def begin(self):
        """From here on the peak counts: the model is open."""
        if self._is_cuda:
            torch.cuda.synchronize(self._device)
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self._device)
            self._peak_bytes = torch.cuda.memory_allocated(self._device)

    def end_of_steps(self):
        """After a block's steps, before anything is looked at."""
        if self._is_cuda:
            self._peak_bytes = max(
                self._peak_bytes, torch.cuda.max_memory_allocated(self._device)
            )

    def begin_steps(self):
        """What was looked at between blocks is no part of the peak."""
        if self._is_cuda:
            torch.cuda.reset_peak_memory_stats(self._device)

    def report(self, params, optimizer, cache):
        """Fields of `memory`. Parts are at the peak: what is not held all the time is counted as
        activations."""
        gradients = [param.grad for param in params if param.grad is not None]
        states = optimizer.state.values() if optimizer is not None else ()
        moments = [
            value
            for state in states
            for value in state.values()
            if isinstance(value, torch.Tensor) and value.dim() > 0
        ]
        parts = {
            "weights_bytes": _tensor_bytes(params),
            "gradients_bytes": _tensor_bytes(gradients),
            "optimizer_bytes": _tensor_bytes(moments),
            "kv_cache_bytes": _tensor_bytes(cache),
        }
        held = sum(parts.values())
        if not self._is_cuda:
            return {"parts": {**parts, "total_bytes": held}}
        fields = {
            "allocated_bytes": torch.cuda.memory_allocated(self._device),
            "reserved_bytes": torch.cuda.memory_reserved(self._device),
            "peak_bytes": self._peak_bytes,
            "parts": {
                **parts,
                "activations_bytes": max(0, self._peak_bytes - held),
                "total_bytes": max(self._peak_bytes, held),
            },
        }
        whole = self._nvml.memory() if self._nvml is not None else None
        if whole is not None:
            fields["device_used_bytes"], fields["device_total_bytes"] = whole
        return fields


def _find_nvml(device):
    properties = torch.cuda.get_device_properties(device)
    uuid = getattr(properties, "uuid", None)  # since 2.4
    return nvml.Device.find(f"GPU-{uuid}" if uuid else None, bus_id(device))


def bus_id(device):
    """Of a CUDA device on the PCI bus; None for others."""
    if device.type != "cuda":
        return None
    properties = torch.cuda.get_device_properties(device)
    if not hasattr(properties, "pci_bus_id"):
        return nvml.cuda_bus_id(torch.cuda.current_device() if device.index is None else device.index)
    return (
        f"{properties.pci_domain_id:08x}:{properties.pci_bus_id:02x}:"
        f"{properties.pci_device_id:02x}.0"
    )
