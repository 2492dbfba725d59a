"""Which types a model's matmuls run in, which attention kernel, and whether it compiles itself.

Looked at with PyTorch's profiler: it sees operators below autocast and inside compiled graphs, and
leaves no trace. A dispatch mode would: TorchDynamo gives up for good on frames that it meets under
one, and flex_attention has no rule there.
"""
import contextlib
import os
import sys

import torch

from .type_names import mixture_name

# The profiler's names of types.
_TYPES = {
    "double": "fp64",
    "float": "fp32",
    "c10::BFloat16": "bf16",
    "c10::Half": "fp16",
    "c10::Float8_e4m3fn": "fp8",
    "c10::Float8_e5m2": "fp8",
    "signed char": "int8",
}
# Where each matmul has its two matrices, in the operator's arguments.
_MATMULS = {
    "mm": (0, 1),
    "bmm": (0, 1),
    "addmm": (1, 2),
    "baddbmm": (1, 2),
    "_addmm_activation": (1, 2),
    "_grouped_mm": (0, 1),
    "_scaled_mm": (0, 1),
    "_int_mm": (0, 1),
}
# Those of packed weights (out, in), and their second form in compiled graphs.
_LINEARS = {"mkldnn_linear", "_linear_pointwise"}
_SDPA = "scaled_dot_product_attention"
_SCOPE_TORCHSCRIPT = 2  # at::RecordScope
_ATTENTION_PREFIX = "_scaled_dot_product_"
_ATTENTION_NAMES = {
    "flash_attention": "flash",
    "flash_attention_for_cpu": "flash",
    "efficient_attention": "efficient",
    "cudnn_attention": "cudnn",
    "fused_attention_overrideable": "fused",
    "attention_math": "math",
}


def frames_compiled():
    """How often TorchDynamo has compiled a frame in this process; without loading it."""
    convert = sys.modules.get("torch._dynamo.convert_frame")
    return sum(convert.FRAME_COMPILE_COUNTER.values()) if convert is not None else 0


def frames_of_pytorch():
    """How many of those PyTorch asked for itself: flex_attention and control flow go through
    TorchDynamo also where they are called plainly, and run as operators one by one all the same."""
    utils = sys.modules.get("torch._dynamo.utils")
    if not hasattr(utils, "get_compilation_metrics"):
        return 0
    return sum(
        (found.co_name or "").endswith("_wrapper")
        and ("_higher_order_ops" in found.co_filename or "flex_attention" in found.co_filename)
        for found in utils.get_compilation_metrics()
        if getattr(found, "co_filename", None)
    )


def is_scripted(model):
    return any(isinstance(module, torch.jit.ScriptModule) for module in model.modules())


@contextlib.contextmanager
def _quiet():
    """The profiler's library writes lines about itself into the log."""
    before = os.environ.get("KINETO_LOG_LEVEL")
    os.environ["KINETO_LOG_LEVEL"] = "99"
    try:
        yield
    finally:
        if before is None:
            del os.environ["KINETO_LOG_LEVEL"]
        else:
            os.environ["KINETO_LOG_LEVEL"] = before


class Observer:
    """`with observer:` around one call. Never active in a timed step."""

    def __init__(self):
        self._work = {}  # type's name -> operations
        self._attention = set()
        self._is_sdpa_called = False
        self.has_scripted = False  # whether a function of TorchScript ran
        self._profile = None

    def __enter__(self):
        with _quiet():
            self._profile = torch.profiler.profile(
                activities=[torch.profiler.ProfilerActivity.CPU], record_shapes=True
            )
            self._profile.__enter__()
        return self

    def __exit__(self, *error):
        with _quiet():
            self._profile.__exit__(*error)
        results = self._profile.profiler.kineto_results
        self._profile = None
        for event in results.events() if results is not None else ():
            self._add_event(event)

    def _add_event(self, event):
        self.has_scripted |= event.scope() == _SCOPE_TORCHSCRIPT
        library, _, name = event.name().partition("::")
        if library not in ("aten", "mkldnn"):
            return
        shapes, dtypes = event.shapes(), event.dtypes()
        if name in _MATMULS:
            first, second = _MATMULS[name]
            self._add(dtypes[first], _elements(shapes[first]) * shapes[second][-1])
        elif name in _LINEARS:
            self._add(dtypes[0], _elements(shapes[0]) * shapes[1][0])
        elif name == _SDPA:
            self._is_sdpa_called = True
        elif name.startswith(_ATTENTION_PREFIX) and not name.endswith("_backward"):
            kind = name[len(_ATTENTION_PREFIX) :]
            self._attention.add(_ATTENTION_NAMES.get(kind, kind))
            if kind != "attention_math":  # which falls apart into matmuls
                self._add(dtypes[0], 2 * _elements(shapes[0]) * shapes[1][-2])

    def _add(self, dtype, work):
        name = _TYPES.get(dtype, dtype)
        self._work[name] = self._work.get(name, 0) + work

    def compute_name(self, has_tf32):
        """"bf16", or "bf16 81 %, fp32 19 %" by work where it is mixed; None when nothing was
        multiplied that can be seen."""
        work = {"tf32" if has_tf32 and name == "fp32" else name: self._work[name]
                for name in self._work}
        return mixture_name(work)

    def attention_name(self):
        if self._attention:
            return "sdpa " + "+".join(sorted(self._attention))
        return "sdpa math" if self._is_sdpa_called else "no sdpa call"


def _elements(shape):
    count = 1
    for size in shape:
        count *= size
    return count
