"""safetensors as PyTorch's tensors, without NumPy."""
import ctypes

import torch

from . import safetensors

_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
    "C64": torch.complex64,
}
_KINDS = {dtype: kind for kind, dtype in _DTYPES.items()}


class SafetensorsFile(safetensors.MappedFile):
    """Tensors are views of the mapping."""

    def tensor(self, name):
        """A model error when there is none."""
        dtype, shape, data = self.typed_entry(name, _DTYPES)
        if len(data) == 0:
            return torch.empty(shape, dtype=dtype)
        return torch.frombuffer(data, dtype=dtype).reshape(shape)


def write(path, tensors):
    """tensors: list of (name, tensor on any device)."""
    items = [(name, _KINDS[tensor.dtype], tensor.shape, tensor) for name, tensor in tensors]
    safetensors.write(path, items, _write_data)


def _write_data(file, tensor):
    """The tensor's bytes from where they lie."""
    tensor = tensor.detach().to("cpu").contiguous()
    size = tensor.numel() * tensor.element_size()
    if size > 0:
        file.write((ctypes.c_char * size).from_address(tensor.data_ptr()))
