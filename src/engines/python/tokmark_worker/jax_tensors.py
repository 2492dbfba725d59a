"""safetensors as NumPy arrays; bfloat16 is the type that JAX brings (ml_dtypes)."""
import jax.numpy as jnp
import numpy as np

from . import safetensors
from .errors import model_error

_DTYPES = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": jnp.bfloat16,
    "I64": np.int64,
    "I32": np.int32,
    "I16": np.int16,
    "I8": np.int8,
    "U8": np.uint8,
    "BOOL": np.bool_,
}
_KINDS = {np.dtype(dtype): kind for kind, dtype in _DTYPES.items()}


class SafetensorsFile(safetensors.MappedFile):
    """Arrays are views of the mapping."""

    def tensor(self, name):
        """A model error when there is none."""
        dtype, shape, data = self.typed_entry(name, _DTYPES)
        return np.frombuffer(data, dtype=dtype).reshape(shape)

    def weight(self, name, wanted, own_name):
        """A floating-point tensor in the shape `wanted` of the model's `own_name`, which it must fit."""
        given = self.tensor(name)
        if not jnp.issubdtype(given.dtype, jnp.floating):
            raise model_error(f"'{self.path}': tensor '{name}' is {given.dtype}")
        shape = safetensors.fitting_shape(self.path, own_name, given.shape, wanted)
        if not wanted:
            return given.reshape(wanted)
        return given.reshape(shape)[: wanted[0]].reshape(wanted)


def write(path, tensors):
    """tensors: list of (name, array on any device)."""
    items = [
        (name, _KINDS[np.dtype(tensor.dtype)], tensor.shape, tensor) for name, tensor in tensors
    ]
    safetensors.write(path, items, _write_data)


def _write_data(file, tensor):
    array = np.ascontiguousarray(np.asarray(tensor))
    if array.size > 0:
        file.write(array.reshape(-1).view(np.uint8).data)
