"""Memory of one cell: what XLA's plan of the step needs, what the device's allocator holds, what
the peak was, and what running out of it looks like."""
import math

import jax

from . import host_memory, nvml
from .cell_memory import describe_cell, require_host
from .errors import WorkerError, asked_bytes, format_apart, format_bytes, is_memory_error


def tree_bytes(tree):
    """Of arrays, or of what they will be, on one device."""
    return sum(
        math.prod(_shape_on_one(leaf)) * leaf.dtype.itemsize
        for leaf in jax.tree_util.tree_leaves(tree)
        if hasattr(leaf, "dtype") and not jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    )


def _shape_on_one(leaf):
    sharding = getattr(leaf, "sharding", None)
    return leaf.shape if sharding is None else sharding.shard_shape(leaf.shape)


def _stats(device):
    """What the allocator says; {} where there is none to ask (a CPU)."""
    try:
        return device.memory_stats() or {}
    except (RuntimeError, NotImplementedError, jax.errors.JaxRuntimeError):
        return {}


class Plan:
    """XLA's own arithmetic of one compiled step: exact, but for what a library takes by itself.
    Nothing is known of a step that is not compiled (None)."""

    def __init__(self, compiled):
        analysis = None if compiled is None else compiled.memory_analysis()

        def get(name):
            return max(0, getattr(analysis, f"{name}_size_in_bytes", 0) or 0)

        self.is_known = analysis is not None
        self.arguments_bytes = get("argument")
        self.temporary_bytes = get("temp")
        # outputs that take an argument's place need no memory of their own
        self.output_bytes = max(0, get("output") - get("alias"))

    @property
    def step_bytes(self):
        """On top of the arguments."""
        return self.temporary_bytes + self.output_bytes


def require_device(cell, what, needed_bytes, device):
    """Raises oom when the device cannot give so much, before anything is allocated on it. A cell
    may ask to be tried all the same."""
    if device.platform == "cpu":
        require_host(cell, what, needed_bytes)
        return
    if cell.memory_check == "off":
        return
    stats = _stats(device)
    limit = stats.get("bytes_limit")
    if not limit:
        return
    available = limit - stats.get("bytes_in_use", 0)
    if needed_bytes > available:
        needed, free = format_apart(needed_bytes, available)
        raise WorkerError(
            "oom",
            f"{what} needs at least {needed} of device memory and "
            f"{free} of the {format_bytes(limit)} that JAX may take are free",
            needed_bytes,
            available,
            "device",
        )


def require_plan(cell, params_count, plan, held_bytes, layout):
    """plan and held_bytes are one device's; several CPU devices take theirs from one host."""
    if plan.is_known:
        needed = max(0, plan.arguments_bytes - held_bytes) + plan.step_bytes
        if layout.device.platform == "cpu":
            needed *= layout.neighbours_count
        require_device(cell, describe_cell(cell, params_count), needed, layout.device)


def oom_error(error, device):
    """The oom error behind an exception; None when it is something else. XLA says
    RESOURCE_EXHAUSTED; cuBLAS and cuDNN may say it as INTERNAL, in words."""
    if not is_memory_error(error):
        return None
    lines = str(error).strip().splitlines() or ["out of memory"]
    asked = asked_bytes(str(error))
    if device is None or device.platform == "cpu":
        usable = host_memory.usable_bytes()
        return WorkerError("oom", f"host memory: {lines[0]}", asked, usable, "host")
    stats = _stats(device)
    limit, held = stats.get("bytes_limit"), stats.get("bytes_in_use")
    free = None if not limit else max(0, limit - (held or 0))
    said = f"asked for {format_bytes(asked)}" if asked else lines[0]
    more = f"; {format_bytes(free)} free of {format_bytes(limit)}" if limit else ""
    if asked and free and asked <= free:
        more += ", in no piece as large as that"
    return WorkerError("oom", f"device memory: {said}{more}", asked, free, "device")


def bus_id(device):
    """Of a CUDA device on the PCI bus; None for others."""
    if device.platform != "gpu":
        return None
    return nvml.cuda_bus_id(getattr(device, "local_hardware_id", device.id))


class DeviceMemory:
    """The allocator of an accelerator; a CPU has none that can be asked.

    The allocator's peak cannot be set back, and trying out kernels while compiling may have reached
    higher than any step: then the peak is what was held at rest and what XLA's plan adds to it.
    """

    def __init__(self, device, plan):
        self._device = device
        self._plan = plan
        stats = _stats(device)
        self._peak_at_open = stats.get("peak_bytes_in_use", 0)
        self._nvml = None
        if device.platform == "gpu":
            self._nvml = nvml.Device.find(None, bus_id(device))

    def _peak(self, stats):
        peak = stats.get("peak_bytes_in_use")
        if peak is None or peak > self._peak_at_open or not self._plan.is_known:
            return peak
        return min(peak, stats["bytes_in_use"] + self._plan.step_bytes)

    def report(self, parts):
        """Fields of `memory`; parts: weights, optimizer, cache at rest."""
        held = sum(parts.values())
        stats = _stats(self._device)
        if "bytes_in_use" not in stats:
            return {"parts": {**parts, "total_bytes": held}}
        peak = self._peak(stats)
        top = max(peak or 0, held)
        fields = {
            "allocated_bytes": stats["bytes_in_use"],
            "reserved_bytes": stats.get("pool_bytes") or stats.get("bytes_reserved") or None,
            "peak_bytes": peak,
            "parts": {**parts, "activations_bytes": top - held, "total_bytes": top},
        }
        whole = self._nvml.memory() if self._nvml is not None else None
        if whole is not None:
            fields["device_used_bytes"], fields["device_total_bytes"] = whole
        return fields


def report_of_all(reports):
    """Of the device that holds most; the least beside it."""
    most = max(reports, key=lambda report: report.get("peak_bytes") or 0)
    if len(reports) > 1 and most.get("peak_bytes") is not None:
        most["peak_bytes_least"] = min(report["peak_bytes"] for report in reports)
    return most
