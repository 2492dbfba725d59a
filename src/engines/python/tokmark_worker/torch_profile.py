"""Steps under torch.profiler, for `tokmark profile`.

On a CPU an operator's time is what it took without those that it called. On a CUDA device it is the time of
the kernels that it started. A profiler leaves later launches on a GPU slower (torch_observe.py), so that
nothing is timed in this process afterwards.
"""
import os
import time

import torch

from .errors import WorkerError
from .operators import Operators
from .protocol import shown
from .torch_observe import operator_work

_STEP = "step"


def profile_steps(step, batches, wait, device, trace_path):
    """Fields of `profile`."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    wait()
    with torch.profiler.profile(activities=activities, record_shapes=True) as profiler:
        begin = time.perf_counter_ns()
        for number, (tokens, targets) in enumerate(zip(*batches)):
            with torch.profiler.record_function(f"{_STEP} {number}"):
                step(tokens, targets)
                wait()
        window_ns = time.perf_counter_ns() - begin
    profiler.export_chrome_trace(trace_path)
    if not os.path.exists(trace_path):  # it says so in the log only
        raise WorkerError("internal", f"torch.profiler could not write {shown(trace_path)}")
    what = "kernels" if device.type == "cuda" else "operators"
    title = f"torch.profiler (torch {torch.__version__}), {what} on {device}"
    return _operators(profiler, device.type == "cuda").fields(title, window_ns)


def _operators(profiler, is_on_device):
    operators = Operators()
    for event in profiler.key_averages(group_by_input_shape=True):
        name = event.key
        if event.device_type != torch.autograd.DeviceType.CPU or name.startswith(f"{_STEP} "):
            continue
        self_us = _device_us(event) if is_on_device else event.self_cpu_time_total
        if self_us > 0 or not is_on_device:  # on a device: operators that started no kernel are none
            operators.add(name, event.count, max(self_us, 0) * 1e3, _flops(name, event))
    return operators


def _device_us(event):
    if hasattr(event, "self_device_time_total"):  # since 2.4
        return event.self_device_time_total
    return event.self_cuda_time_total


def _flops(name, event):
    library, _, name = name.partition("::")
    if library not in ("aten", "mkldnn"):
        return None
    try:
        work = operator_work(name, event.input_shapes)
    except (IndexError, TypeError):  # shapes that were not recorded
        return None
    return None if work is None else 2.0 * work * event.count
