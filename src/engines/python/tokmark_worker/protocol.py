"""Protocol version 1: lines of JSON over private descriptors (docs/protocol.md).

Imports nothing that could print: it is what takes standard input and output away from everybody
else. Keys whose value is None are left out: what is not known is absent on the wire.
"""
import fcntl
import json
import math
import os
import re
from urllib.parse import quote_from_bytes, unquote_to_bytes

from .tables import REPLIES

VERSION = 1
LINE_BYTES_MAX = 1024 * 1024
BLOCK_STEPS_MAX = 10000
PROFILE_STEPS_MAX = 1000
WORD_BYTES_MAX = 63
TEXT_BYTES_MAX = 511
ERROR_BYTES_MAX = 1023
_FIRST_PRIVATE_FD = 3
_READ_BYTES = 64 * 1024
_INT64_DIGITS = 20  # with its sign
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_HOST_TYPES = ("hello", "open", "run", "memory", "check", "verify", "profile", "close")
_ALL_TYPES = _HOST_TYPES + ("ready", "block", "bye", "error")
# What the protocol itself needs, beside the values that records take from replies.
_OWN_KEYS = {
    "hello": ("version", "engine", "engine_version", "pid", "synthetic", "verifies", "profiles"),
    "ready": ("memory_predicted",),
    "block": ("steps", "sync", "window_ns", "step_ns", "recompiles", "expert_tokens", "logits"),
    "memory": ("parts", "rss_bytes", "rss_peak_bytes", "rss_baseline_bytes"),
    "check": ("loss", "tensors"),
    "verify": (*REPLIES["block"], "logits", "why_not"),
    "profile": ("profiler", "steps", "window_ns", "operators_ns", "names", "exchange_ns", "exchange_alone_ns", "operators"),
    "bye": (),
    "error": ("kind", "text", "needed_bytes", "available_bytes", "scope"),
}


class ProtocolError(Exception):
    """A line that cannot be understood: the worker says so and ends."""


class EndOfStream(Exception):
    """The host is gone."""


_streams = []


def close_streams():
    """In a process that has been forked from a worker and does not speak to its host."""
    for stream in _streams:
        os.close(stream.in_fd)
        os.close(stream._out_fd)
    _streams.clear()


class Stream:
    """Lines in, lines out."""

    def __init__(self, in_fd, out_fd):
        self.in_fd = in_fd
        self._out_fd = out_fd
        _streams.append(self)
        self._data = bytearray()
        self._at_end = False

    @classmethod
    def take_standard(cls):
        """Moves fd 0 and 1 to private descriptors. Then fd 0 reads nothing and fd 1 is the log, so
        that no library's print can spoil the stream, and no child inherits it."""
        in_fd = fcntl.fcntl(0, fcntl.F_DUPFD_CLOEXEC, _FIRST_PRIVATE_FD)
        out_fd = fcntl.fcntl(1, fcntl.F_DUPFD_CLOEXEC, _FIRST_PRIVATE_FD)
        null_fd = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.fcntl(2, fcntl.F_GETFD)
        except OSError:
            os.dup2(null_fd, 2)
        os.dup2(null_fd, 0)
        os.dup2(2, 1)
        if null_fd > 2:
            os.close(null_fd)
        return cls(in_fd, out_fd)

    def read(self):
        """The next message, a dict whose type a host may send."""
        return decode(self._line())

    def write(self, message_type, fields):
        """False when the host no longer reads: there is nobody to tell."""
        data = encode(message_type, fields)
        try:
            while data:
                data = data[os.write(self._out_fd, data):]
        except OSError:
            return False
        return True

    def _line(self):
        searched = 0
        while True:
            end = self._data.find(b"\n", searched)
            if end > LINE_BYTES_MAX or (end < 0 and len(self._data) > LINE_BYTES_MAX):
                raise ProtocolError(f"a line of more than {LINE_BYTES_MAX} bytes")
            if end >= 0:
                line = bytes(self._data[:end])
                del self._data[: end + 1]
                return line
            if self._at_end and self._data:
                raise ProtocolError(
                    f"the stream ended inside a line, after {len(self._data)} bytes"
                )
            if self._at_end:
                raise EndOfStream
            searched = len(self._data)
            chunk = os.read(self.in_fd, _READ_BYTES)
            self._at_end = not chunk
            self._data += chunk


class Verbatim(dict):
    """An object whose nulls are values, and are sent."""


def encode(message_type, fields):
    """One line. KeyError for a key that such a reply does not have: nobody would ever read it."""
    for key in fields:
        if key not in _OWN_KEYS[message_type] and key not in REPLIES.get(message_type, ()):
            raise KeyError(f"'{message_type}' has no key '{key}'")
    message = {"type": message_type}
    message.update((key, _clean(value)) for key, value in fields.items() if _is_known(value))
    text = json.dumps(message, allow_nan=False, separators=(",", ":"))
    data = text.encode("ascii") + b"\n"
    assert len(data) <= LINE_BYTES_MAX + 1
    return data


def _is_known(value):
    return value is not None and not (isinstance(value, float) and not math.isfinite(value))


def _clean(value):
    """Nested objects lose their unknown values too."""
    if isinstance(value, dict) and not isinstance(value, Verbatim):
        return {key: _clean(inner) for key, inner in value.items() if _is_known(inner)}
    return value


def cut_texts(message_type, fields):
    """Texts within what the protocol allows them; an empty one says nothing."""
    most = {"text 64": WORD_BYTES_MAX, "text 512, cut": TEXT_BYTES_MAX}
    for key, kind in REPLIES[message_type].items():
        if kind in most:
            fields[key] = cut(fields.get(key) or "", most[kind]) or None


def cut(text, bytes_max):
    """At most so many bytes of UTF-8, not cutting through a character. What UTF-8 cannot hold, such
    as half of a surrogate pair in a user's message, becomes '?'."""
    data = text.encode("utf-8", "replace")[:bytes_max]
    return data.decode("utf-8", "ignore").replace("\0", " ")


def _quote(line):
    shown = "".join(chr(c) if 32 <= c < 127 else "." for c in line[:92])
    return shown + ("..." if len(line) > 92 else "")


def _no_duplicates(pairs):
    keys = [key for key, _ in pairs]
    if len(set(keys)) != len(keys):
        raise ValueError("a key comes twice")
    return dict(pairs)


def _no_constants(word):
    raise ValueError(f"{word} is not JSON")


def _whole(word):
    value = int(word) if len(word) <= _INT64_DIGITS else None
    if value is None or not -(1 << 63) <= value < 1 << 63:
        raise ValueError(f"{word[:24]} is too large")
    return value


def _real(word):
    value = float(word)
    if math.isinf(value):
        raise ValueError(f"{word[:24]} is too large")
    return value


def _loads(line):
    """As the C side reads JSON: no text has a NUL or half of a surrogate pair, no number is beyond
    64 bits."""
    if _NUL.search(line):
        raise ValueError("a NUL in a text")
    message = json.loads(
        line.decode("utf-8"),
        object_pairs_hook=_no_duplicates,
        parse_constant=_no_constants,
        parse_int=_whole,
        parse_float=_real,
    )
    json.dumps(message, ensure_ascii=False).encode("utf-8")
    return message


def decode(line):
    quoted = _quote(line)
    if b"\0" in line:
        raise ProtocolError("a NUL byte in a line")
    try:
        message = _loads(line)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"a line that is no JSON object: {error}: {quoted}") from None
    if not isinstance(message, dict):
        raise ProtocolError(f"a line that is no JSON object: {quoted}")
    name = message.get("type")
    if not isinstance(name, str):
        raise ProtocolError(f"a message without a type: {quoted}")
    if name not in _ALL_TYPES:
        raise ProtocolError(f"a message of an unknown type: {quoted}")
    if name not in _HOST_TYPES:
        raise ProtocolError(f"message '{name}': 'type' is not sent by a host: {quoted}")
    return message


def whole_number(message, key, least, most, default=None):
    """Whole number in [least, most]; `default` when the key is absent or null."""
    value = message.get(key)
    if value is None and default is not None:
        return default
    if type(value) is not int or not least <= value <= most:
        raise ProtocolError(
            f"message '{message.get('type')}': '{key}' must be a whole number from {least} to "
            f"{most}"
        )
    return value


def string(message, key, bytes_max):
    value = message.get(key)
    if not isinstance(value, str) or not value or len(value.encode("utf-8", "replace")) > bytes_max:
        raise ProtocolError(
            f"message '{message.get('type')}': '{key}' must be a string of 1 to {bytes_max} bytes"
        )
    return value


def path(text):
    """A path as it came over the wire: UTF-8, or a file URL where its bytes are none. The system's
    own form, whatever encoding the locale says file names have."""
    url = "file://"
    is_url = text.startswith(url)
    return os.fsdecode(unquote_to_bytes(text[len(url):]) if is_url else text.encode("utf-8"))


def path_text(name):
    """The other way: what path() makes that name of."""
    data = os.fsencode(name)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return "file://" + quote_from_bytes(data)


def shown(name):
    """Such a path for people to read."""
    return os.fsencode(name).decode("utf-8", "replace")


def flag(message, key):
    """False when the key is absent or null."""
    value = message.get(key)
    if value is not None and not isinstance(value, bool):
        raise ProtocolError(f"message '{message.get('type')}': '{key}' must be true or false")
    return bool(value)


def hello_versions(message):
    versions = message.get("versions")
    if not isinstance(message.get("host"), (str, type(None))):
        raise ProtocolError("message 'hello': 'host' must be a string")
    if (
        not isinstance(versions, list)
        or not 1 <= len(versions) <= 8
        or any(type(version) is not int or not 1 <= version < 1 << 32 for version in versions)
    ):
        raise ProtocolError("message 'hello': 'versions' must be a list of 1 to 8 whole numbers")
    return versions
