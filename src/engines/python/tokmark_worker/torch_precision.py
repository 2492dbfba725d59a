"""What a precision means in PyTorch.

fp32       parameters and matmuls fp32, TF32 off
tf32       the same with TF32 matmuls (CUDA)
bf16       fp32 parameters under torch.autocast, as the published script does; on a CPU too
bf16-pure  parameters, matmuls, gradients and optimizer state bf16
fp16       fp32 parameters under autocast, with a gradient scaler when training (CUDA)
"""
import contextlib

import torch

from .errors import unsupported

NAMES = {
    torch.float64: "fp64",
    torch.float32: "fp32",
    torch.bfloat16: "bf16",
    torch.float16: "fp16",
    torch.float8_e4m3fn: "fp8",
    torch.int8: "int8",
    torch.complex64: "complex64",
    torch.complex128: "complex128",
}


class Precision:
    """One precision on one device; `apply` sets the process's switches."""

    def __init__(self, name, mode, device, is_sharded=False):
        """is_sharded: fully_shard's modules gather into tensors of their own, again and again."""
        self.name = name
        self._device = device
        self._is_sharded = is_sharded
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

    @property
    def matmul(self):
        return "high" if self.name == "tf32" else "highest"

    def apply(self):
        # the one switch that is the same in every release since 2.2
        torch.set_float32_matmul_precision(self.matmul)
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

    def without_gradients(self):
        """A new context for forward passes alone. What fully_shard has gathered under inference mode it cannot gather
        again."""
        return torch.no_grad() if self._is_sharded else torch.inference_mode()

    def accumulate_name(self):
        """Documented, not observed: matmuls sum in fp32; cuBLAS may sum the parts of a split
        matmul in the output's type where that is allowed."""
        if self._device.type != "cuda":
            return "fp32"
        matmul = torch.backends.cuda.matmul
        allowed = {
            torch.bfloat16: matmul.allow_bf16_reduced_precision_reduction,
            torch.float16: matmul.allow_fp16_reduced_precision_reduction,
        }.get(self.compute_dtype, False)
        return f"fp32, split sums may be {NAMES[self.compute_dtype]}" if allowed else "fp32"
