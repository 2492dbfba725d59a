"""What a worker says when it cannot do what was asked."""
import linecache
import os
import re
import sysconfig
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


# --- what an exception says ---------------------------------------------------------------------

# A record's reason has 511 bytes, of which some say what was being done. The place comes last, so
# that the sentence is what gives way.
DESCRIBED_BYTES_MAX = 460
HINTED_BYTES_MAX = 280  # where a sentence of ours follows
_PLACE_BYTES_MAX = 160
_MESSAGE_CHARS_MAX = 1 << 20  # of which anything is looked at
# Packages whose frames are no user's: an error is raised there, seldom made there.
_FRAMEWORKS = (
    "torch jax jaxlib numpy flax equinox optax haiku triton jaxtyping functorch torchgen "
    "transformers huggingface_hub safetensors"
).split()
_TORCHSCRIPT = "Traceback of TorchScript"
_TRACEBACK = "Traceback (most recent call last):"
_FRAME_LINE = re.compile(r'^\s*File "(?P<file>.+)", line (?P<line>\d+)(?:, in (?P<name>.+))?$')
_ENDS = ("Exception raised from ", "frame #0", "For debugging consider", "See https://", "See http://")


def describe_error(error, bytes_max=DESCRIBED_BYTES_MAX):
    """One line for a record: "TypeName: the sentence that names the fault (model.py:31 in forward)".

    The sentence is the message's first paragraph in one line, since frameworks put the fault first and
    advice, stack traces and links after it; long lines of it are shortened one by one, so that a long
    list does not hide what follows. The place is the deepest frame in the user's own files, also of a
    frame that a tracing compiler only quotes; none where there is none. A cause (`raise A from B`) is
    said after it. For every framework and every kind of exception, at most `bytes_max` bytes.
    """
    error, group = _of_group(error)
    if isinstance(error, SyntaxError):
        return group + _describe_syntax(error)
    chain = _causes(error)
    frame = next((found for one in reversed(chain) if (found := _user_frame(one))), None)
    said = [one for one in chain if not _is_trace_only(one)] or [error]
    place = f" ({_place(*frame)})" if frame else ""
    room = bytes_max - len((group + place).encode())
    text = _named(said[0], frame, room)
    if len(said) > 1 and _sentence(said[-1], room) not in text:
        half = (room - len(", caused by ")) // 2
        text = f"{_cut(text, half)}, caused by {_named(said[-1], frame, half)}"
    return group + text + place


def _of_group(error):
    """(the first exception that is no group, what to say of the group it is in)"""
    said = ""
    for _ in range(100):
        inner = getattr(error, "exceptions", None)
        if not isinstance(inner, tuple) or not inner or not isinstance(inner[0], BaseException):
            break
        said = said or f"{type(error).__name__} of {len(inner)}, the first: "
        error = inner[0]
    return error, said


def _causes(error):
    """The exception and what it was raised from, outermost first."""
    chain = [error]
    while len(chain) < 20:
        cause = chain[-1].__cause__
        if cause is None or cause in chain:
            break
        chain.append(_of_group(cause)[0])
    return chain


def _is_trace_only(error):
    """JAX hangs exceptions that only carry a stack trace below the one that is meant."""
    return "StackTrace" in type(error).__name__


def _message(error):
    try:
        text = f"{error}{_of_argparse(error)}"[:_MESSAGE_CHARS_MAX]
        return text.encode("utf-8", "replace").decode("utf-8")
    except Exception as second:  # a user's __str__ may raise as well
        return f"(its message cannot be made: {type(second).__name__})"


def _of_argparse(error):
    """What a parser of the command line said before it left: its SystemExit has a number only."""
    if not isinstance(error, SystemExit):
        return ""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_name == "error" and frame.f_globals.get("__name__") == "argparse":
            return f", {frame.f_locals.get('message')}: a model's file gets no arguments; defaults would do"
    return ""


def _sentence(error, bytes_max):
    """The part of a message that names the fault, in one line; empty where there is no message."""
    before, embedded, after = _message(error).strip().partition(_TRACEBACK)
    text = before
    if _TORCHSCRIPT in text:  # its own traceback comes first
        text = text.strip().splitlines()[-1]
    if embedded:  # another process's or thread's error, with its traceback as text
        rest = [line for line in after.splitlines() if line and not line[0].isspace()]
        text = f"{before.rstrip().removesuffix('Original').rstrip()} {' '.join(rest[:1])}"
    lines = []
    for line in text.splitlines():
        line = _OWN_TRACE.sub("", " ".join(_printable(line).split()))
        if line.startswith(_ENDS):
            break
        if line or (lines and lines[-1].endswith(":")):  # a title stands before its paragraph
            lines += [line] if line else []
        elif lines:
            break
    return _cut(" ".join(_fitted(lines, bytes_max - len(lines))), bytes_max)


def _fitted(lines, bytes_max):
    """Lines of at most so many bytes together: long ones share what short ones leave."""
    sizes = sorted(len(line.encode("utf-8", "replace")) for line in lines)
    room, left = bytes_max, bytes_max
    for at, size in enumerate(sizes):
        room = max(40, left // (len(sizes) - at))
        if size > room:
            break
        left -= size
    return [_cut(line, room) for line in lines] if sum(sizes) > bytes_max else lines


def _printable(text):
    """Without colours and other control characters."""
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    return "".join(c if c.isprintable() else " " for c in text)


def _cut(text, bytes_max):
    """At most so many bytes; of a list that is cut, how many more there are."""
    data = text.encode("utf-8", "replace")
    if len(data) <= bytes_max:
        return data.decode("utf-8")
    part = data[: bytes_max - 20].decode("utf-8", "ignore")
    items, comma, _ = part.rpartition(", ")
    more = text.count(", ", len(items)) if comma else 0
    return f"{items} and {more} more" if more > 3 else f"{part}..."


def _named(error, frame, bytes_max):
    name = _cut(type(error).__name__, bytes_max // 2)
    sentence = _sentence(error, bytes_max - len(name.encode()) - 2)
    if not sentence and frame is not None:  # a bare assert: its line says what did not hold
        sentence = _cut(linecache.getline(frame[0], frame[1]).strip(), 200)
    if not sentence or sentence.startswith(f"{name}:"):
        return sentence or name
    return f"{name}: {sentence}"


def _describe_syntax(error):
    """The place is in the exception, not in its traceback."""
    place = ""
    if error.filename and error.lineno:
        place = f" ({_place(error.filename, error.lineno, '')})"
    text = f"{type(error).__name__}: {_printable(str(error.msg))}"
    return _cut(text, DESCRIBED_BYTES_MAX - len(place.encode())) + place


def _rank(file):
    """2 = a user's own file; 1 = an installed package's that is no framework; 0 = neither."""
    file = file.replace("\\", "/")
    if file.startswith("<") or file.startswith(_OWN_FOLDER):
        return 0
    for mark in ("/site-packages/", "/dist-packages/"):
        if mark in file:
            inside = file.rsplit(mark, 1)[1]
            is_model = inside.startswith("transformers/models/") and "/modeling_" in inside
            return 1 if is_model or inside.split("/")[0] not in _FRAMEWORKS else 0
    return 0 if file.startswith(_STDLIB_FOLDERS) else 2


def _user_frame(error):
    """(file, line, name) of the deepest frame in a user's file; None where there is none."""
    frames = [
        (frame.f_code.co_filename, line, frame.f_code.co_name)
        for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    # what was traced or ran in another process has its frames in the message only
    for line in _message(error).splitlines():
        match = _FRAME_LINE.match(line)
        if match:
            frames.append((match["file"], int(match["line"]), match["name"] or ""))
    best = max((_rank(file) for file, _, _ in frames), default=0)
    if best == 0:
        return None
    return [frame for frame in frames if _rank(frame[0]) == best][-1]


def _place(file, line, name):
    try:
        inside = os.path.relpath(file)
        file = file if inside.startswith("..") else inside
    except (OSError, ValueError):
        pass
    file = _printable(re.sub(r".*/(site|dist)-packages/", "", file))
    if len(file.encode("utf-8", "replace")) > _PLACE_BYTES_MAX:
        file = "..." + file[-_PLACE_BYTES_MAX // 2 :]
    return f"{file}:{line} in {_printable(name)[:60]}" if name and name != "<module>" else f"{file}:{line}"


_OWN_FOLDER = os.path.dirname(os.path.abspath(__file__)) + "/"
# JAX names the function that was traced: where it is ours, no author knows it.
_OWN_TRACE = re.compile(
    rf"The error occurred while tracing the function \S+ at {re.escape(_OWN_FOLDER)}\S+ for \w+\. ?"
)
_STDLIB_FOLDERS = tuple(
    sysconfig.get_path(name).rstrip("/") + "/" for name in ("stdlib", "platstdlib")
)


# --- memory --------------------------------------------------------------------------------------


def format_bytes(count):
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.2f} {unit}"
        count /= 1024
    raise AssertionError


def format_apart(count, limit):
    """Two that decided by their difference: in plain bytes where they would read the same."""
    texts = format_bytes(count), format_bytes(limit)
    return texts if count == limit or texts[0] != texts[1] else (f"{count} B", f"{limit} B")


def host_oom(what, needed_bytes, available_bytes):
    needed, available = format_apart(needed_bytes, available_bytes)
    text = f"{what} needs at least {needed} of host memory and {available} can be used"
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
