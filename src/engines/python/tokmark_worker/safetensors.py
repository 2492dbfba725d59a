"""safetensors files, read by mapping and written in one pass; the standard library only. What a
type or a tensor is in a framework is said beside that framework (torch_tensors, jax_tensors).

Format: 8 bytes little-endian header length, a JSON header {name: {dtype, shape, data_offsets}}
with offsets from the header's end, then the data. Every field of a header is checked.
"""
import json
import mmap
import os

from .errors import model_error

_HEADER_BYTES_MAX = 100 << 20
_ITEM_BYTES = {
    "F64": 8,
    "F32": 4,
    "F16": 2,
    "BF16": 2,
    "I64": 8,
    "I32": 4,
    "I16": 2,
    "I8": 1,
    "U8": 1,
    "BOOL": 1,
}


class MappedFile:
    """A mapped file; data are views of the mapping, read from disk when touched."""

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
        """(name of the type, shape, offset, elements)"""
        try:
            item_bytes = _ITEM_BYTES[value["dtype"]]
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
            if end - begin != elements * item_bytes:
                raise ValueError
        except (KeyError, TypeError, ValueError):
            raise model_error(
                f"'{self.path}': tensor '{name}' is of a type or place that cannot be read"
            ) from None
        return value["dtype"], shape, self._first + begin, elements

    def names(self):
        return list(self._entries)

    def entry(self, name):
        """(name of the type, shape, bytes); a model error when there is none."""
        if name not in self._entries:
            raise model_error(f"'{self.path}' has no tensor '{name}'")
        kind, shape, offset, elements = self._entries[name]
        item_bytes = _ITEM_BYTES[kind]
        data = memoryview(self._data)[offset : offset + elements * item_bytes]
        if offset % item_bytes != 0:  # a header of odd length
            data = memoryview(bytearray(data))
        return kind, shape, data


def write(path, tensors, write_data):
    """tensors: list of (name, name of the type, shape, tensor); write_data(file, tensor) writes the
    bytes of one. A file of that name is replaced whole."""
    header = {}
    offset = 0
    for name, kind, shape, _ in tensors:
        end = offset + _ITEM_BYTES[kind]
        for size in shape:
            end = offset + (end - offset) * size
        header[name] = {"dtype": kind, "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % 8)
    partial = f"{path}.{os.getpid()}.part"
    try:
        with open(partial, "wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            for *_, tensor in tensors:
                write_data(file, tensor)
        os.replace(partial, path)
    except OSError as error:
        if os.path.exists(partial):
            os.unlink(partial)
        raise model_error(f"cannot write '{path}': {error.strerror or error}") from None


def squeezed(shape):
    """A shape without its leading dimensions of 1: those are taken as absent."""
    shape = tuple(shape)
    while len(shape) > 1 and shape[0] == 1:
        shape = shape[1:]
    return shape


def fitting_shape(path, name, given, wanted):
    """The shape to read a file's tensor with, of whose rows the first wanted[0] serve. A longer
    position table gives its first rows, so that one checkpoint serves every seq_len."""
    shape, needed = squeezed(given), squeezed(wanted)
    if shape == needed:
        return tuple(wanted)
    if name == "position_embedding" and shape[1:] == needed[1:] and shape > needed:
        return shape
    raise model_error(
        f"'{path}': tensor '{name}' has shape {tuple(given)}, the model's is {tuple(wanted)}"
    )
