"""Which of a file's tensors is which of a model's: by name, by any name of a tensor that has several,
and through what wrappers put before or into names. No framework is named here."""
import re

from .errors import model_error
from .safetensors import listed

# What torch.compile, fully sharded and checkpointed modules put into a name, anywhere.
_INSIDE = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
# What stands before all names: of DataParallel, of a module in a script's own class or a
# transformers model with a head, of Flax's variables.
_LEADING = ("module.", "model.", "params.")
# Tables that older checkpoints carry and a model makes itself.
_MADE_ANYWAY = re.compile(r"(inv_freq|attn\.(masked_)?bias|num_batches_tracked|position_ids)$")


def match_names(path, given, wanted, optional=(), ignored=()):
    """({name in `wanted`: name in the file}, {name in `optional`: name in the file}, notes).

    given: the file's names. wanted: {name: all names of that tensor}, each of which must be there.
    optional: further names of the model (buffers), taken where the file has them. ignored: patterns
    of names that may be in a file for nothing. A model error names every tensor that is missing and
    those of the file that the model has not: a part of a checkpoint is not what was asked for.
    """
    given = list(given)
    for strip in (lambda name: name, _without_inside, _without_leading):
        by_name, twice = _by_stripped(given, strip)
        found = {}
        for name, names in wanted.items():
            same = [by_name[strip(one)] for one in names if strip(one) in by_name]
            if same:
                found[name] = same[0]
        is_one_to_one = not twice and len(set(found.values())) == len(found)
        if len(found) == len(wanted) and is_one_to_one:
            break
        if len(found) == len(wanted):
            raise model_error(
                f"'{path}' has tensors that differ in a prefix only: "
                f"{listed(twice or found.values())}; leave in it those that are meant"
            )
    else:
        raise model_error(_missing(path, given, wanted))
    buffers = {name: by_name[strip(name)] for name in optional if strip(name) in by_name}
    aliases = {by_name[strip(one)] for names in wanted.values() for one in names
               if strip(one) in by_name}
    used = {*found.values(), *buffers.values(), *aliases}
    unexpected = [
        name for name in given
        if name not in used
        and not _MADE_ANYWAY.search(name)
        and not any(re.search(pattern, name) for pattern in ignored)
    ]
    if unexpected:
        raise model_error(
            f"'{path}' has {len(unexpected)} tensors that the model has not: {listed(unexpected)}; "
            f"they are of another model, or of another setting of this one"
        )
    return found, buffers, _notes(found)


def _without_inside(name):
    for part in _INSIDE:
        name = name.replace(part, "")
    return name


def _without_leading(name):
    name = _without_inside(name)
    while name.startswith(_LEADING):
        name = name.partition(".")[2]
    return name


def _by_stripped(names, strip):
    """({stripped name: name}, those whose stripped name another one has)"""
    by_name, twice = {}, []
    for name in names:
        key = strip(name)
        if key in by_name:
            twice += [by_name[key], name]
        by_name[key] = name
    return by_name, twice


def _notes(found):
    differing = [(name, other) for name, other in found.items()
                 if name != other and _without_leading(name) == _without_leading(other)]
    if not differing:
        return []
    name, other = differing[0]
    return [f"weights by other prefixes: {other} is {name}"]


def _missing(path, given, wanted):
    """By the reading of names that fits best."""
    readings = []
    for strip in (lambda name: name, _without_inside, _without_leading):
        stripped = {strip(name) for name in given}
        readings.append([
            name for name, names in wanted.items()
            if not any(strip(one) in stripped for one in names)
        ])
    missing = min(readings, key=len)
    unknown = [name for name in given
               if not any(_without_leading(name) == _without_leading(one)
                          for names in wanted.values() for one in names)]
    text = f"'{path}' has no tensor {listed(missing)}"
    if len(wanted) > 1:
        text += f" ({len(missing)} of the model's {len(wanted)})"
    return text + (f"; it has {listed(unknown)}" if unknown else "")
