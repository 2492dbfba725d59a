"""safetensors files, read by mapping and written in one pass; torch and the standard library only.

Format: 8 bytes little-endian header length, a JSON header {name: {dtype, shape, data_offsets}}
with offsets from the header's end, then the data. Every field of a header is checked.
"""
import ctypes
import json
import mmap
import os

import torch

from .errors import model_error

_HEADER_BYTES_MAX = 100 << 20
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
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}


class SafetensorsFile:
    """A mapped file; tensors are views of the mapping, read from disk when touched."""

    def __init__(self, path):
        self.path = path
        try:
            with open(path, "rb") as file:
                size = os.fstat(file.fileno()).st_size
                if size < 8:
                    raise model_error(f"'{path}' is no safetensors file: {size} bytes")
                self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        except OSError as error:
            raise model_error(f"cannot read '{path}': {error.strerror or error}") from None
        header_bytes = int.from_bytes(self._data[:8], "little")
        if header_bytes > min(_HEADER_BYTES_MAX, size - 8):
            raise model_error(f"'{path}' is no safetensors file: header of {header_bytes} bytes")
        self._first = 8 + header_bytes
        try:
            header = json.loads(self._data[8 : self._first].decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise model_error(f"'{path}' is no safetensors file: {error}") from None
        if not isinstance(header, dict):
            raise model_error(f"'{path}' is no safetensors file: its header is no object")
        self._entries = {
            name: self._entry(name, value)
            for name, value in header.items()
            if name != "__metadata__"
        }

    def _entry(self, name, value):
        """(dtype, shape, offset, elements)"""
        try:
            dtype = _DTYPES[value["dtype"]]
            shape = tuple(value["shape"])
            begin, end = value["data_offsets"]
            elements = 1
            for size in shape:
                if type(size) is not int or size < 0:
                    raise ValueError
                elements *= size
            if type(begin) is not int or type(end) is not int:
                raise ValueError
            if not 0 <= begin <= end <= len(self._data) - self._first:
                raise ValueError
            if end - begin != elements * dtype.itemsize:
                raise ValueError
        except (KeyError, TypeError, ValueError):
            raise model_error(
                f"'{self.path}': tensor '{name}' is of a type or place that cannot be read"
            ) from None
        return dtype, shape, self._first + begin, elements

    def names(self):
        return list(self._entries)

    def tensor(self, name):
        """model error when there is none."""
        if name not in self._entries:
            raise model_error(f"'{self.path}' has no tensor '{name}'")
        dtype, shape, offset, elements = self._entries[name]
        if elements == 0:
            return torch.empty(shape, dtype=dtype)
        if offset % dtype.itemsize == 0:
            flat = torch.frombuffer(self._data, dtype=dtype, count=elements, offset=offset)
        else:  # a header of odd length
            raw = self._data[offset : offset + elements * dtype.itemsize]
            flat = torch.frombuffer(bytearray(raw), dtype=dtype)
        return flat.reshape(shape)


def write(path, tensors):
    """tensors: list of (name, tensor on any device). A file of that name is replaced whole."""
    header = {}
    offset = 0
    for name, tensor in tensors:
        end = offset + tensor.numel() * tensor.element_size()
        header[name] = {
            "dtype": _NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [offset, end],
        }
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % 8)
    partial = f"{path}.{os.getpid()}.part"
    try:
        with open(partial, "wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            for _, tensor in tensors:
                _write_data(file, tensor)
        os.replace(partial, path)
    except OSError as error:
        if os.path.exists(partial):
            os.unlink(partial)
        raise model_error(f"cannot write '{path}': {error.strerror or error}") from None


def _write_data(file, tensor):
    """The tensor's bytes from where they lie, without NumPy."""
    tensor = tensor.detach().to("cpu").contiguous()
    size = tensor.numel() * tensor.element_size()
    if size > 0:
        file.write((ctypes.c_char * size).from_address(tensor.data_ptr()))
