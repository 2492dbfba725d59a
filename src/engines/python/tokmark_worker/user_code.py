"""A user's code: imported, looked up and called. Whatever it raises becomes one clear error."""
import importlib
import importlib.util
import inspect
import os
import sys
import traceback

from .cell import hint
from .errors import WorkerError, is_memory_error, describe_error, model_error


def call_user(what, function, *args, **kwargs):
    """A user's code may raise anything, or leave: each becomes a model error that says what."""
    try:
        return function(*args, **kwargs)
    except (WorkerError, KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:
        if is_memory_error(error):
            raise
        traceback.print_exc()
        raise model_error(f"{what}: {describe_error(error)}") from None


def guarded(said_of, function, *args):
    """Whatever a framework or a user's code raises becomes one clear error: the WorkerError that
    said_of(error) makes of it."""
    try:
        return function(*args)
    except (WorkerError, KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:
        traceback.print_exc()
        said = said_of(error)
        # the traceback's frames hold tensors
        traceback.clear_frames(error.__traceback__)
    raise said


def import_module(name):
    return call_user(f"import {name}", importlib.import_module, name)


def find_target(ref):
    """What a reference means: `pkg.module:name`, found from the working directory too;
    `FOLDER/pkg.module:name`, found from that folder; `FILE.py:name`, whatever the file is called."""
    sys.argv[1:] = []  # the worker's own words are not for code that reads its command line
    place, colon, name = ref.rpartition(":")
    if not colon:
        raise model_error(f"'{ref}' is no pkg.module:factory and no FILE.py:NAME")
    if place.endswith(".py") and ("/" in place or os.path.isfile(place)):
        target = _import_file(os.path.abspath(place))
    elif "/" in place:
        folder, _, place = place.rpartition("/")
        _put_first(os.path.abspath(folder or "/"))
        target = import_module(place)
    else:
        if os.getcwd() not in sys.path:
            sys.path.insert(0, os.getcwd())
        target = import_module(place)
    for part in name.split("."):
        if not hasattr(target, part):
            raise model_error(f"module {place} has no '{name}'; {hint(part, _names(target))}")
        target = getattr(target, part)
    return target


def _put_first(folder):
    if sys.path[:1] != [folder]:
        sys.path.insert(0, folder)


def _import_file(file):
    """A file as its author imports it: inside its package, so that relative imports work; else as
    a module beside its neighbours, as `python FILE` has it."""
    if not os.path.isfile(file):
        raise model_error(f"there is no file '{file}'")
    folder, base = os.path.split(file)
    parts = [] if base == "__init__.py" else [base[: -len(".py")]]
    while os.path.isfile(os.path.join(folder, "__init__.py")):
        folder, part = os.path.split(folder)
        parts.insert(0, part)
    name = ".".join(parts)
    is_name = all(part.isidentifier() for part in parts) and parts
    _put_first(folder)
    if is_name and len(parts) > 1:
        module = import_module(name)
        if os.path.realpath(getattr(module, "__file__", None) or "") == os.path.realpath(file):
            return module
        raise model_error(
            f"'{file}' is {name} of its package, but Python has another {parts[0]} already: "
            f"{getattr(module, '__file__', module)}"
        )
    # not under a name that is taken: a file called json.py is not what others mean by json
    if not is_name or name in sys.modules or name in sys.stdlib_module_names:
        name = "tokmark_model_" + "".join(c if c.isalnum() else "_" for c in name)
    _put_first(os.path.dirname(file))
    return call_user(f"import {base}", _load_file, name, file)


def _load_file(name, file):
    spec = importlib.util.spec_from_file_location(name, file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # what is defined in it asks for its module by name
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _names(holder):
    """What of a module or class may be meant: its own before what it imports."""
    names = [name for name in dir(holder) if not name.startswith("_")]
    own = [
        name for name in names
        if callable(getattr(holder, name, None))
        and getattr(getattr(holder, name), "__module__", None) == getattr(holder, "__name__", "")
    ]
    return own or names


def call_parameters(function):
    """What a call of a function or class takes, by name; ValueError or TypeError where it cannot be
    seen. A metaclass that passes everything on (Flax nnx has one) would hide it."""
    if isinstance(function, type) and type(function).__call__ is not type.__call__:
        items = list(inspect.signature(function.__init__).parameters.items())[1:]
        return dict(items)
    return inspect.signature(function).parameters


def pick_logits(out, is_array):
    """Logits, a tuple that begins with them, or an object or dict with `logits`."""
    if is_array(out):
        return out
    if isinstance(out, dict) and "logits" in out:
        return out["logits"]
    if hasattr(out, "logits"):
        return out.logits
    if isinstance(out, (tuple, list)) and out:
        return out[0]
    return out


def require_logits(logits, is_array, is_floating, tokens_shape, vocab_size, may_be_last):
    """A model error that says what the output should have been."""
    B, T = tokens_shape
    wanted = f"(B {B}, T {T}, at least {vocab_size})"
    if not is_array(logits):
        raise model_error(
            f"the model's output is a {type(logits).__name__}; wanted are logits {wanted}, "
            f"a tuple that begins with them, or an object with .logits"
        )
    shape = tuple(logits.shape)
    times = (T, 1) if may_be_last else (T,)
    fits = len(shape) == 3 and shape[0] == B and shape[1] in times
    if not fits or shape[2] < vocab_size or not is_floating(logits):
        is_turned = len(shape) == 3 and (shape[0], shape[2]) == (B, T) and shape[1] >= vocab_size
        hint = "; the last two dimensions look exchanged" if is_turned else ""
        raise model_error(
            f"the model's output has shape {shape} of {logits.dtype}; wanted are "
            f"floating-point logits {wanted}{hint}"
        )


def shorten(before, middle, after):
    """At most 63 bytes; the end of a path says more than its beginning."""
    room = 63 - len(before.encode()) - len(after.encode())
    data = middle.encode("utf-8", "replace")
    if len(data) > room:
        middle = "..." + data[len(data) - room + 3 :].decode("utf-8", "ignore")
    return before + middle + after
