"""PyTorch's switches that hold for the whole process, where a model's code has moved them."""
import torch

from .errors import unsupported
from .torch_precision import NAMES

# Kernels of scaled_dot_product_attention, and what PyTorch calls their switches.
_SDP = {"flash": "flash", "efficient": "mem_efficient", "cudnn": "cudnn", "math": "math"}
# As PyTorch says it, in its releases so far.
_NO_KERNEL = ("No available kernel", "No viable backend for scaled_dot_product_attention")


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


def allow_attention(kernel):
    """Leaves scaled_dot_product_attention this kernel only (--attention)."""
    if kernel == "auto":
        return
    if not hasattr(torch.backends.cuda, f"enable_{_SDP[kernel]}_sdp"):
        raise unsupported(f"attention {kernel}: PyTorch {torch.__version__} does not have it; the nearest is auto")
    for name, switch in _SDP.items():
        if hasattr(torch.backends.cuda, f"enable_{switch}_sdp"):
            getattr(torch.backends.cuda, f"enable_{switch}_sdp")(name == kernel)


def attention_refusal(error, kernel):
    """The error of an --attention that PyTorch has no kernel for; None for any other."""
    if kernel == "auto" or not any(said in str(error) for said in _NO_KERNEL):
        return None
    return unsupported(f"attention {kernel}: PyTorch has no such kernel for this device, type, shape, mask and dropout; "
                       "the nearest is auto")


def require_attention(kernel, seen, is_compiled):
    """Did the model's call use it? A compiler may take the math kernel apart."""
    is_apart = is_compiled and (kernel, seen) == ("math", "no sdpa call")
    if kernel != "auto" and seen != f"sdpa {kernel}" and not is_apart:
        raise unsupported(f"attention {kernel}: the model was called and ran with '{seen}'; the nearest is auto")


def settings_text(applied_matmul, attention, threads):
    """Those that are not as PyTorch or the command line sets them; None when all are. applied_matmul:
    the matmul precision that --precision asked for; attention: the kernel that --attention did; threads: those of --threads, 0 where it did not ask."""
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
    if threads not in (0, torch.get_num_threads()):
        said.append(f"threads {torch.get_num_threads()}, not {threads}")
    said += _backend_switches(attention)
    return ", ".join(said) or None


def _backend_switches(attention):
    cudnn = torch.backends.cudnn
    said = [f"cudnn.{name}" for name in ("benchmark", "deterministic") if getattr(cudnn, name)]
    for name, switch in _SDP.items():
        is_on = getattr(torch.backends.cuda, f"{switch}_sdp_enabled", lambda: None)()
        if is_on is not None and is_on != (attention in ("auto", name)):
            said.append(f"sdp {switch} {'on' if is_on else 'off'}")
    return said
