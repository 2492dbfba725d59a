"""PyTorch's switches that hold for the whole process, where a model's code has moved them."""
import torch

from .torch_precision import NAMES


def matmul_precision():
    """None where it was moved by the newer switches, which the old one cannot say."""
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:
        return None


def _default_device():
    if hasattr(torch, "get_default_device"):  # since 2.3
        return torch.get_default_device()
    return torch.empty(0).device


def settings_text(applied_matmul):
    """Those that are not as PyTorch, or --precision, sets them; None when all are. applied_matmul:
    the matmul precision that --precision asked for."""
    said = []
    dtype = torch.get_default_dtype()
    if dtype is not torch.float32:
        said.append(f"default dtype {NAMES.get(dtype, dtype)}")
    if _default_device().type != "cpu":
        said.append(f"default device {_default_device()}")
    if not torch.is_grad_enabled():
        said.append("gradients off")
    if torch.are_deterministic_algorithms_enabled():
        said.append("deterministic algorithms")
    if matmul_precision() != applied_matmul:
        said.append(f"matmul precision {matmul_precision() or torch.backends.cuda.matmul.fp32_precision}")
    if torch.is_anomaly_enabled():
        said.append("anomaly detection")
    said += _backend_switches()
    return ", ".join(said) or None


def _backend_switches():
    cudnn = torch.backends.cudnn
    said = [f"cudnn.{name}" for name in ("benchmark", "deterministic") if getattr(cudnn, name)]
    kernels = {"flash": torch.backends.cuda.flash_sdp_enabled,
               "mem_efficient": torch.backends.cuda.mem_efficient_sdp_enabled,
               "math": torch.backends.cuda.math_sdp_enabled}
    return said + [f"sdp {name} off" for name, is_on in kernels.items() if not is_on()]
