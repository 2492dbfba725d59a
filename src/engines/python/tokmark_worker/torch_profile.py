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


def profile_steps(step, batches, wait, device, trace_path, has_others):
    """Fields of `profile`. `has_others`: ranks that this one exchanges something with."""
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
    if trace_path is not None:
        profiler.export_chrome_trace(trace_path)
        if not os.path.exists(trace_path):  # it says so in the log only
            raise WorkerError("internal", f"torch.profiler could not write {shown(trace_path)}")
    what = "kernels" if device.type == "cuda" else "operators"
    title = f"torch.profiler (torch {torch.__version__}), {what} on {device}"
    fields = _operators(profiler, device.type == "cuda").fields(title, window_ns)
    return {**fields, **_exchanges(profiler.events(), device.type == "cuda")} if has_others else fields


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


# --- exchanges between devices --------------------------------------------------------------------


def _exchanges(events, is_on_device):
    """How long something was exchanged or waited for, and of that how long nothing was computed beside it."""
    exchanges, computed = [], []
    for event in events:
        if is_on_device != (event.device_type != torch.autograd.DeviceType.CPU):
            continue
        span = event.time_range.start * 1e3, event.time_range.end * 1e3
        if event.name.startswith(("ncclDevKernel", "ncclKernel", "gloo:")):
            exchanges.append(span)
        elif _is_computed(event, is_on_device):
            computed.append(span)
    exchanges = _union(exchanges)
    alone = _length(exchanges) - _overlap(exchanges, _union(computed))
    return {"exchange_ns": round(_length(exchanges)), "exchange_alone_ns": max(0, round(alone))}


def _is_computed(event, is_on_device):
    """A kernel; an operator that calls no other."""
    if is_on_device:
        return not event.is_user_annotation and not event.name.startswith(("nccl:", f"{_STEP} "))
    return event.name.startswith(("aten::", "mkldnn::")) and not event.cpu_children


def _union(spans):
    """In order, those that touch as one."""
    merged = []
    for begin, end in sorted(spans):
        if merged and begin <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], end)
        else:
            merged.append([begin, end])
    return merged


def _length(spans):
    return sum(end - begin for begin, end in spans)


def _overlap(spans, others):
    """Of two unions."""
    total, at = 0.0, 0
    for begin, end in spans:
        while at < len(others) and others[at][1] <= begin:
            at += 1
        for other in range(at, len(others)):
            if others[other][0] >= end:
                break
            total += min(end, others[other][1]) - max(begin, others[other][0])
    return total
