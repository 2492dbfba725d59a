"""What a worker says when it cannot do what was asked."""
import re
import traceback

KINDS = ("oom", "unsupported", "model", "internal")


class WorkerError(Exception):
    """Becomes an `error` message; the worker stays up for `close`."""

    def __init__(self, kind, text, needed_bytes=None, available_bytes=None, scope=None):
        super().__init__(text)
        assert kind in KINDS
        self.kind = kind
        self.text = text
        self.needed_bytes = needed_bytes
        self.available_bytes = available_bytes
        self.scope = scope


def unsupported(text):
    return WorkerError("unsupported", text)


def model_error(text):
    return WorkerError("model", text)


def last_line(error):
    """The last line of a traceback, and where in the user's code it was raised."""
    line = "".join(traceback.format_exception_only(type(error), error)).strip()
    for note in reversed(getattr(error, "__notes__", None) or ()):
        line = line.removesuffix(str(note).strip()).strip()  # a framework's, not the error's own
    line = line.splitlines()[-1] if line else type(error).__name__
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return line
    return f"{line} ({frames[-1].filename}:{frames[-1].lineno} in {frames[-1].name})"


def format_bytes(count):
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.2f} {unit}"
        count /= 1024
    raise AssertionError


def host_oom(what, needed_bytes, available_bytes):
    text = (
        f"{what} needs at least {format_bytes(needed_bytes)} of host memory and "
        f"{format_bytes(available_bytes)} can be used"
    )
    return WorkerError("oom", text, needed_bytes, available_bytes, "host")


_UNITS = {"B": 1, "bytes": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_ASKED = re.compile(r"allocat(?:e|ing) ([0-9.]+) ?(bytes|B|KiB|MiB|GiB|TiB)")
_MEMORY_WORDS = ("out of memory", "out_of_memory", "can't allocate", "resource_exhausted")


def is_memory_error(error):
    """Whether any framework's exception means that memory ran out."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(word in text for word in _MEMORY_WORDS)
    )


def asked_bytes(text):
    """What an allocator's message says it was asked for; None when it does not say."""
    match = _ASKED.search(text)
    return int(float(match.group(1)) * _UNITS[match.group(2)]) if match else None
