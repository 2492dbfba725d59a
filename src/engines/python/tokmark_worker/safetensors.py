"""safetensors files, read by mapping and written in one pass; the standard library only. What a
type or a tensor is in a framework is said beside that framework (torch_tensors, jax_tensors).

Format: 8 bytes little-endian header length, a JSON header {name: {dtype, shape, data_offsets}}
with offsets from the header's end, then the data. Every field of a header is checked.
"""
import json
import mmap
import os

from .errors import model_error
from .file_formats import describe_other

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
    "U64": 8,
    "C64": 8,
    "U32": 4,
    "U16": 2,
    "F8_E4M3": 1,
    "F8_E5M2": 1,
    "F8_E8M0": 1,
}
INDEX_NAME = "model.safetensors.index.json"
_SINGLE_NAME = "model.safetensors"


class MappedFile:
    """A mapped file, or the files that an index names; data are views of the mapping, read from disk
    when touched. `path`: a safetensors file, an index ("weight_map" of names to files in its
    folder), or a folder that holds either under its usual name."""

    def __init__(self, path):
        self.path = _find(path)
        self._entries = {}  # name: (name of the type, shape, offset, elements, mapping)
        if str(self.path).endswith(".json"):
            self._read_index()
        else:
            self._entries = _read_file(self.path)

    def _read_index(self):
        by_file = read_index(self.path)
        folder = os.path.dirname(self.path)
        require_shards(self.path, by_file)
        for file, names in by_file.items():
            entries = _read_file(os.path.join(folder, file))
            missing = [name for name in names if name not in entries]
            if missing:
                raise model_error(
                    f"'{self.path}' says that {file} has {listed(missing)}, which it has not"
                )
            self._entries.update((name, entries[name]) for name in names)

    def names(self):
        return list(self._entries)

    def entry(self, name):
        """(name of the type, shape, bytes); a model error when there is none."""
        if name not in self._entries:
            raise model_error(f"'{self.path}' has no tensor '{name}'")
        kind, shape, offset, elements, mapping = self._entries[name]
        item_bytes = _ITEM_BYTES[kind]
        data = memoryview(mapping)[offset : offset + elements * item_bytes]
        if offset % item_bytes != 0:  # a header of odd length
            data = memoryview(bytearray(data))
        return kind, shape, data

    def typed_entry(self, name, dtypes):
        """The same with the type looked up in `dtypes`: a model error for one it has not."""
        kind, shape, data = self.entry(name)
        if kind not in dtypes:
            raise model_error(
                f"'{self.path}': tensor '{name}' is {kind}, which is not read as weights; save it "
                f"as {', '.join(list(dtypes)[:4])}"
            )
        return dtypes[kind], shape, data


def _find(path):
    """The file that a path means."""
    if not os.path.isdir(path):
        return path
    for name in (INDEX_NAME, _SINGLE_NAME):
        if os.path.exists(os.path.join(path, name)):
            return os.path.join(path, name)
    found = sorted(name for name in os.listdir(path) if name.endswith(".safetensors"))
    if len(found) == 1:
        return os.path.join(path, found[0])
    has = f"it has {listed(found)}; give one of them" if found else "it has no .safetensors file"
    raise model_error(f"folder '{path}' has no {INDEX_NAME} and no {_SINGLE_NAME}; {has}")


def listed(names, most=6):
    """'a', 'b' and 3 more"""
    names = list(names)
    said = ", ".join(f"'{name[:120]}'" for name in names[:most])
    return f"{said} and {len(names) - most} more" if len(names) > most else said


def read_index(path):
    """{file: [names of its tensors]} of an index; a model error for anything else."""
    data = _read_start(path, _HEADER_BYTES_MAX)
    try:
        index = json.loads(data.decode("utf-8"))
        by_file = {}
        for name, file in index["weight_map"].items():
            if os.path.basename(file) != file or file in ("", ".", ".."):
                raise ValueError(f"'{file}' is not a file name in the same folder")
            by_file.setdefault(file, []).append(name)
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        what = describe_other(data[:_START_BYTES], path)
        why = what or f"is no index of safetensors files (an object with weight_map): {error}"
        raise model_error(f"'{path}' {why}") from None
    if not by_file:
        raise model_error(f"'{path}': its weight_map names no tensors")
    return by_file


def require_shards(path, files):
    """Every file that an index names must be in the same folder."""
    folder = os.path.dirname(path)
    missing = [name for name in files if not os.path.exists(os.path.join(folder, name))]
    if missing:
        raise model_error(
            f"'{path}' names {len(list(files))} files of weights, of which {len(missing)} are not "
            f"in its folder: {listed(missing)}; complete the download"
        )


_START_BYTES = 512


def _read_start(path, bytes_max):
    try:
        with open(path, "rb") as file:
            return file.read(bytes_max)
    except OSError as error:
        raise model_error(f"cannot read '{path}': {error.strerror or error}") from None


def require_format(path):
    """A model error that names what a file is, where its first bytes are another format's."""
    what = describe_other(_read_start(path, _START_BYTES), path)
    if what is not None:
        raise model_error(f"'{path}' {what}")


def _read_file(path):
    """{name: (name of the type, shape, offset, elements, mapping)} of one file."""
    require_format(path)
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size < 8:
            raise model_error(f"'{path}' is no safetensors file: {size} bytes")
        mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    header_bytes = int.from_bytes(mapping[:8], "little")
    if header_bytes > _HEADER_BYTES_MAX:
        raise model_error(f"'{path}' is no safetensors file: its first bytes are no header's length")
    if header_bytes > size - 8:
        raise model_error(
            f"'{path}' is cut short: a header of {header_bytes} bytes in a file of {size}"
        )
    first = 8 + header_bytes
    try:
        header = json.loads(mapping[8:first].decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise model_error(f"'{path}' is no safetensors file: {error}") from None
    if not isinstance(header, dict):
        raise model_error(f"'{path}' is no safetensors file: its header is no object")
    return {
        name: (*_read_entry(path, name, value, first, size), mapping)
        for name, value in header.items()
        if name != "__metadata__"
    }


def _read_entry(path, name, value, first, file_bytes):
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
        if type(begin) is not int or type(end) is not int or not 0 <= begin <= end:
            raise ValueError
        if end - begin != elements * item_bytes:
            raise ValueError
    except (KeyError, TypeError, ValueError):
        raise model_error(
            f"'{path}': tensor '{name}' is of a type or place that cannot be read"
        ) from None
    if end > file_bytes - first:
        raise model_error(
            f"'{path}' is cut short: tensor '{name}' ends at byte {first + end} of a file of "
            f"{file_bytes}"
        )
    return value["dtype"], shape, first + begin, elements


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
