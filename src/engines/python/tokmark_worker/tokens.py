"""The tokens a step works on: the formulas of src/data/tokens.h, vectorised.

Unsigned 64-bit arithmetic on signed 64-bit arrays: additions and products wrap the same way, a
logical shift is an arithmetic one with the copies of the sign masked off, and a remainder is taken
of the upper 63 bits and the last bit apart. Nothing here names a framework: an array is whatever
`arrays` gives, PyTorch's or NumPy's.
"""
import mmap
import os

from . import protocol
from .errors import model_error

_LLMC_HEADER_BYTES = 1024
_LLMC_MAGIC = 20240520
_LLMC_FORMS = {1: "uint16", 7: "uint32"}
_FORM_BYTES = {"text": 1, "uint16": 2, "uint32": 4}
_CHECK_TOKENS = 1 << 22  # how many are looked at in one go


def _signed(value):
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value


_STRIDE = _signed(0x9E3779B97F4A7C15)
_KEY = _signed(0xD1B54A32D192ED03)
_MIX1 = _signed(0xBF58476D1CE4E5B9)
_MIX2 = _signed(0x94D049BB133111EB)


def _shift(value, bits):
    return (value >> bits) & ((1 << (64 - bits)) - 1)


def _mix(value):
    value = (value ^ _shift(value, 30)) * _MIX1
    value = (value ^ _shift(value, 27)) * _MIX2
    return value ^ _shift(value, 31)


def random_at(key, counter):
    """The counter-th value of the stream `key` (src/base/random.h); arrays that broadcast."""
    return _mix(key + (counter + 1) * _STRIDE)


def random_key(parent_key, index):
    return random_at(parent_key ^ _KEY, index)


def remainder(value, divisor):
    """Of the unsigned value; divisor < 2^62."""
    return (_shift(value, 1) % divisor * 2 + (value & 1)) % divisor


class Tokens:
    """A cell's data, opened and checked."""

    def __init__(self, cell, vocab_size, arrays):
        self.form = "synthetic"
        self.count = 0
        self._arrays = arrays
        self._vocab_size = vocab_size
        self._seed = _signed(cell.seed)
        self._seq_len = cell.seq_len
        self._batch_size = cell.batch_size
        self._values = None
        if cell.data != "synthetic":
            self._open(cell.data_path, cell.data)
            self._check(cell.data_path)
        self.text = (
            "synthetic uniform"
            if self._values is None
            else f"{self.form} {protocol.shown(cell.data_path)[:300]} ({self.count} tokens)"
        )

    def batches(self, first_step, steps_count):
        """inputs, targets: int64 (steps_count, batch_size, seq_len), of steps first_step ..."""
        arange = self._arrays.arange
        steps = arange(steps_count).reshape(-1, 1, 1) + first_step
        rows = arange(self._batch_size).reshape(1, -1, 1)
        columns = arange(self._seq_len + 1).reshape(1, 1, -1)
        row_keys = random_key(random_key(self._seed, steps), rows)
        if self._values is None:
            tokens = remainder(random_at(row_keys, columns), self._vocab_size)
        else:
            offsets = remainder(random_at(row_keys, 0), self.count - self._seq_len)
            tokens = self._arrays.take(self._values, offsets + columns, _FORM_BYTES[self.form])
        return tokens[:, :, :-1], tokens[:, :, 1:]

    def _open(self, path, asked):
        try:
            if not os.path.isfile(path):
                exists = os.path.exists(path)
                raise OSError("not a regular file" if exists else "No such file or directory")
            with open(path, "rb") as file:
                if os.fstat(file.fileno()).st_size == 0:
                    raise model_error(f"data file '{path}' is empty")
                # a private copy that is never written: frameworks want a writable buffer
                data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        except OSError as error:
            raise model_error(
                f"cannot read data file '{path}': {error.strerror or error}"
            ) from None
        first = self._find_form(path, asked, data)
        token_bytes = _FORM_BYTES[self.form]
        if (len(data) - first) % token_bytes != 0:
            raise model_error(
                f"data file '{path}' has {len(data)} bytes: not a whole number of "
                f"{self.form} tokens"
            )
        self.count = (len(data) - first) // token_bytes
        if self.count <= self._seq_len:
            raise model_error(
                f"data file '{path}' has {self.count} tokens; a sequence of {self._seq_len} "
                f"needs at least {self._seq_len + 1}"
            )
        self._values = self._arrays.from_buffer(data, first, self.count, token_bytes)

    def _find_form(self, path, asked, data):
        """Sets the form; gives where the tokens begin."""
        has_magic = len(data) >= 4 and int.from_bytes(data[:4], "little") == _LLMC_MAGIC
        if not has_magic or asked == "text":
            by_name = "uint16" if path.endswith(".bin") else "text"
            self.form = by_name if asked == "auto" else asked
            return 0
        if len(data) < _LLMC_HEADER_BYTES:
            raise model_error(f"data file '{path}' ends inside its llm.c header")
        version, said = (int.from_bytes(data[at : at + 4], "little") for at in (4, 8))
        if version not in _LLMC_FORMS:
            raise model_error(
                f"data file '{path}' has an llm.c header of version {version} (1 and 7 are known)"
            )
        self.form = _LLMC_FORMS[version]
        if asked not in ("auto", self.form):
            raise model_error(
                f"data file '{path}' is {self.form} by its llm.c header, not {asked}"
            )
        if len(data) - _LLMC_HEADER_BYTES != said * _FORM_BYTES[self.form]:
            raise model_error(
                f"data file '{path}' says it has {said} {self.form} tokens, but "
                f"{len(data) - _LLMC_HEADER_BYTES} bytes follow its header"
            )
        return _LLMC_HEADER_BYTES

    def _check(self, path):
        """Every token is one of the vocabulary's."""
        token_bytes = _FORM_BYTES[self.form]
        if self._vocab_size >= 1 << (8 * token_bytes):
            return
        for begin in range(0, self.count, _CHECK_TOKENS):
            places = self._arrays.arange(min(_CHECK_TOKENS, self.count - begin)) + begin
            part = self._arrays.take(self._values, places, token_bytes)
            if int(part.max()) < self._vocab_size:
                continue
            values = part.tolist()
            at = next(i for i, value in enumerate(values) if value >= self._vocab_size)
            raise model_error(
                f"data file '{path}': token {begin + at} is {values[at]}, but the model's "
                f"vocabulary has {self._vocab_size}"
            )


class TorchArrays:
    """Arrays for Tokens, as PyTorch tensors on the host."""

    def __init__(self, torch):
        self._torch = torch

    def arange(self, count):
        # a model's code may have set another default device
        return self._torch.arange(count, dtype=self._torch.int64, device="cpu")

    def from_buffer(self, data, first, count, item_bytes):
        torch = self._torch
        # signed, because unsigned types came late to PyTorch; take() undoes it
        dtype = {1: torch.uint8, 2: torch.int16, 4: torch.int32}[item_bytes]
        return torch.frombuffer(data, dtype=dtype, count=count, offset=first)

    def take(self, values, places, item_bytes):
        """values[places] as int64, unsigned."""
        taken = values[places.reshape(-1)].to(self._torch.int64)
        return (taken & ((1 << (8 * item_bytes)) - 1)).reshape(places.shape)


class NumpyArrays:
    """The same as NumPy arrays."""

    def __init__(self, numpy):
        self._numpy = numpy

    def arange(self, count):
        return self._numpy.arange(count, dtype=self._numpy.int64)

    def from_buffer(self, data, first, count, item_bytes):
        dtype = f"<u{item_bytes}"
        return self._numpy.frombuffer(data, dtype=dtype, count=count, offset=first)

    def take(self, values, places, _item_bytes):
        """values[places] as int64."""
        return values[places].astype(self._numpy.int64)
