"""What a precision means in PyTorch, and which types a model's products really run in.

fp32       parameters and products fp32, TF32 off
tf32       the same with TF32 products (CUDA)
bf16       fp32 parameters under torch.autocast, as the published script does; on a CPU too
bf16-pure  parameters, products, gradients and optimizer state bf16
fp16       fp32 parameters under autocast, with a gradient scaler when training (CUDA)
"""
import contextlib

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from .errors import unsupported
from .type_names import mixture_name

NAMES = {
    torch.float64: "fp64",
    torch.float32: "fp32",
    torch.bfloat16: "bf16",
    torch.float16: "fp16",
    torch.float8_e4m3fn: "fp8",
    torch.int8: "int8",
}


class Precision:
    """One precision on one device; `apply` sets the process's switches."""

    def __init__(self, name, mode, device):
        self.name = name
        self._device = device
        self._check(mode)
        is_pure = name == "bf16-pure"
        self.param_dtype = torch.bfloat16 if is_pure else torch.float32
        self.autocast_dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(name)
        self.compute_dtype = self.autocast_dtype or self.param_dtype
        self.has_scaler = name == "fp16" and mode == "train"

    def _check(self, mode):
        on_cuda = self._device.type == "cuda"
        if self.name == "int8":
            raise unsupported("pytorch does not run int8 here; the nearest precision is bf16")
        if self.name == "tf32" and not on_cuda:
            raise unsupported("tf32 is a number format of CUDA devices; on a CPU use fp32 or bf16")
        if self.name == "fp16" and not on_cuda and mode == "train":
            raise unsupported("fp16 training needs a CUDA device; on a CPU use bf16 or fp32")
        if not on_cuda or self.name in ("fp32", "fp16"):
            return
        capability = torch.cuda.get_device_capability(self._device)
        if capability < (8, 0):
            raise unsupported(
                f"{self.name} needs a CUDA device of compute capability 8.0; this one has "
                f"{capability[0]}.{capability[1]}; the nearest precision is fp16"
            )

    def apply(self):
        # the one switch that is the same in every release since 2.2
        torch.set_float32_matmul_precision("high" if self.name == "tf32" else "highest")
        if self._device.type == "cuda":
            torch.backends.cudnn.allow_tf32 = self.name == "tf32"

    @property
    def tf32(self):
        """As the process's switch stands now: a user's code may have moved it."""
        if self._device.type != "cuda":
            return False
        try:
            return torch.get_float32_matmul_precision() != "highest"
        except RuntimeError:  # moved by the newer switches, which the old one cannot say
            return torch.backends.cuda.matmul.fp32_precision == "tf32"

    def autocast(self):
        """A new context, to be entered for every step: the casts of the weights are kept until its
        end, so one context around many steps would leave the casts out of all but the first."""
        if self.autocast_dtype is None:
            return contextlib.nullcontext()
        return torch.autocast(self._device.type, self.autocast_dtype)

    def accumulate_name(self):
        """Documented, not observed: products sum in fp32; cuBLAS may sum the parts of a split
        product in the output's type where that is allowed."""
        if self._device.type != "cuda":
            return "fp32"
        matmul = torch.backends.cuda.matmul
        allowed = {
            torch.bfloat16: matmul.allow_bf16_reduced_precision_reduction,
            torch.float16: matmul.allow_fp16_reduced_precision_reduction,
        }.get(self.compute_dtype, False)
        return f"fp32, split sums may be {NAMES[self.compute_dtype]}" if allowed else "fp32"


# Where each product has its first matrix, in the operator's arguments.
_PRODUCTS = {
    "mm": 0,
    "bmm": 0,
    "addmm": 1,
    "baddbmm": 1,
    "_addmm_activation": 1,
    "linear": 0,
    "matmul": 0,
    "_grouped_mm": 0,
    "mkldnn_linear": 0,
}
_ATTENTION_PREFIX = "_scaled_dot_product_"
_ATTENTION_NAMES = {
    "flash_attention": "flash",
    "flash_attention_for_cpu": "flash",
    "efficient_attention": "efficient",
    "cudnn_attention": "cudnn",
    "fused_attention_overrideable": "fused",
}


class Observer(TorchDispatchMode):
    """Watches one forward below autocast, so that it sees the types products are done in, and which
    attention kernel was chosen. Never active in a timed step."""

    def __init__(self):
        super().__init__()
        self._work = {}  # dtype -> operations
        self._attention = set()
        self._calls = _AttentionCalls()

    def __enter__(self):
        self._calls.__enter__()
        return super().__enter__()

    def __exit__(self, *error):
        super().__exit__(*error)
        return self._calls.__exit__(*error)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        name = func._schema.name.split("::")[-1]
        if name in _PRODUCTS:
            matrix = args[_PRODUCTS[name]]
            self._add(matrix.dtype, out.numel() * matrix.shape[-1])
        elif name.startswith(_ATTENTION_PREFIX):
            kind = name[len(_ATTENTION_PREFIX) :]
            self._attention.add(_ATTENTION_NAMES.get(kind, kind))
            query, key = args[0], args[1]
            self._add(query.dtype, 2 * query.numel() * key.shape[-2])
        return out

    def _add(self, dtype, work):
        self._work[dtype] = self._work.get(dtype, 0) + work

    def compute_name(self, has_tf32):
        """"bf16", or "bf16 81 %, fp32 19 %" by work where it is mixed; None when nothing was
        multiplied."""
        names = dict(NAMES)
        if has_tf32:
            names[torch.float32] = "tf32"
        return mixture_name(
            {names.get(dtype, str(dtype)): work for dtype, work in self._work.items()}
        )

    def attention_name(self):
        if self._attention:
            return "sdpa " + "+".join(sorted(self._attention))
        return "sdpa math" if self._calls.count > 0 else "no sdpa call"


class _AttentionCalls(TorchFunctionMode):
    """Counts calls of scaled_dot_product_attention: its plain form falls apart into products before
    a dispatch mode sees it."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is torch.nn.functional.scaled_dot_product_attention:
            self.count += 1
        return func(*args, **(kwargs or {}))
