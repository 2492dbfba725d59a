"""Which types a model's matmuls run in, which attention kernel, and whether it compiles itself.

Looked at with PyTorch's execution trace observer: it sees operators below autocast and inside
compiled graphs, and leaves nothing behind. A dispatch mode does: TorchDynamo gives up for good on
frames that it meets under one, and flex_attention has no rule there. So does the profiler: after one
session every later launch on a GPU takes longer, 20 % of a step of 4 ms (H200, torch 2.11).
"""
import json
import os
import re
import sys

import torch

from .type_names import mixture_name

# The trace's names of types.
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
# Older releases write infinities and NaN among the arguments' values as C++ does.
_NO_NUMBER = re.compile(r"(?<=[\[,])-?(?:inf|nan)(?=[,\]])")
_SDPA = "scaled_dot_product_attention"
_LOOKS = ("_local_scalar_dense", "nonzero", "masked_select")
_UNCOUNTED = ("lstm", "gru", "rnn_tanh", "rnn_relu")  # their matmuls are inside
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


class Observer:
    """`with observer:` around one call. Never active in a timed step."""

    def __init__(self):
        self.looked_up = 0  # indices of the largest look-up in a table; 0 = none was seen
        self._work = {}  # type's name -> operations
        self._attention = set()
        self._is_sdpa_called = False
        self._has_uncounted = False
        self.has_scripted = False  # whether a function of TorchScript ran
        self.looks_at_values = False  # on which what is done next may depend
        self._trace = None
        self._file = -1

    def __enter__(self):
        self._file = os.memfd_create("trace")
        self._trace = torch.profiler.ExecutionTraceObserver()
        self._trace.register_callback(f"/proc/self/fd/{self._file}")
        self._trace.start()
        return self

    def __exit__(self, *error):
        self._trace.stop()
        self._trace.unregister_callback()
        self._trace = None
        with open(self._file, encoding="utf-8", errors="replace") as file:
            text = file.read()
        if error[0] is None:
            for node in json.loads(_NO_NUMBER.sub("null", text))["nodes"]:
                self._add_operator(node)

    def _add_operator(self, node):
        self.has_scripted |= _scope(node) == _SCOPE_TORCHSCRIPT
        library, _, name = node["name"].partition("::")
        if library not in ("aten", "mkldnn"):
            return
        shapes, dtypes = _inputs(node)
        self.looks_at_values |= name in _LOOKS
        if name == _SDPA:
            self._is_sdpa_called = True
        elif name in _UNCOUNTED:
            self._has_uncounted = True
        elif name == "embedding":
            self.looked_up = max(self.looked_up, _elements(shapes[1]))
        elif name.startswith(_ATTENTION_PREFIX) and not _is_backward(name):
            kind = name[len(_ATTENTION_PREFIX) :]
            self._attention.add(_ATTENTION_NAMES.get(kind, kind))
        work = operator_work(name, shapes)
        if work is not None:
            if _is_backward(name):  # without what it computes again
                work = work * 4 // 5
            self._add(dtypes[_MATMULS.get(name, (0,))[0]], work)

    def _add(self, dtype, work):
        name = _TYPES.get(dtype, dtype)
        self._work[name] = self._work.get(name, 0) + work

    def compute_name(self, has_tf32):
        """"bf16", or "bf16 81 %, fp32 19 %" by work where it is mixed; None when nothing was
        multiplied that can be seen."""
        work = {"tf32" if has_tf32 and name == "fp32" else name: self._work[name]
                for name in self._work}
        return mixture_name(work)

    def flops(self):
        """Of all matmuls that were seen, attention in full; a multiply-add is two. 0 where others were hidden."""
        return 0 if self._has_uncounted else 2 * sum(self._work.values())

    def attention_name(self):
        if self._attention:
            return "sdpa " + "+".join(sorted(self._attention))
        return "sdpa math" if self._is_sdpa_called else "no sdpa call"


def _is_backward(name):
    return name.startswith(_ATTENTION_PREFIX) and name.endswith("_backward")


def operator_work(name, shapes):
    """Multiply-adds of a matmul or of attention (in full) by the shapes of its arguments; None for other operators, and for
    attention that falls apart into matmuls."""
    if name in _MATMULS:
        first, second = _MATMULS[name]
        return _elements(shapes[first]) * shapes[second][-1]
    if name in _LINEARS:
        return _elements(shapes[0]) * shapes[1][0]
    if _is_backward(name):  # the gradient, then what forward had; five matmuls where forward has two
        return 5 * _elements(shapes[1]) * shapes[2][-2]
    if name.startswith(_ATTENTION_PREFIX) and name != f"{_ATTENTION_PREFIX}attention_math":
        return 2 * _elements(shapes[0]) * shapes[1][-2]
    return None


def _inputs(node):
    """(shapes, names of types) of an operator's arguments, in either of the trace's two forms."""
    inputs = node["inputs"]
    if isinstance(inputs, dict):  # since 2.3
        shapes, types = inputs["shapes"], inputs["types"]
    else:
        shapes, types = node["input_shapes"], node["input_types"]
    return shapes, [text.removeprefix("Tensor(").removesuffix(")") for text in types]


def _scope(node):
    if "scope" in node:  # before 2.3
        return node["scope"]
    return next((part["value"] for part in node.get("attrs", ()) if part["name"] == "scope"), None)


def _elements(shape):
    count = 1
    for size in shape:
        count *= size
    return count
