"""Which of a step's logits are shown to the host: one of each 32nd part of them, rows one after another, so
that no part of a batch goes unseen (proto_logits_place in src/proto/message.c)."""
import functools
import math

COUNT = 32
_STREAM = 0x6C6F67697473  # "logits"
_STRIDE = 0x9E3779B97F4A7C15
_MIX1 = 0xBF58476D1CE4E5B9
_MIX2 = 0x94D049BB133111EB
_MASK = (1 << 64) - 1


def _random_at(counter):
    """As src/base/random.h has it."""
    value = (_STREAM + (counter + 1) * _STRIDE) & _MASK
    value = (value ^ (value >> 30)) * _MIX1 & _MASK
    value = (value ^ (value >> 27)) * _MIX2 & _MASK
    return value ^ (value >> 31)


@functools.lru_cache(maxsize=4)
def places(shape):
    """Lists of rows, positions and columns; None where there are too few logits."""
    _, T, V = shape
    count = math.prod(shape)
    if count < COUNT:
        return None
    part = count // COUNT
    found = [index * part + _random_at(index) % part for index in range(COUNT)]
    return [at // (T * V) for at in found], [at // V % T for at in found], [at % V for at in found]


def sample(logits, as_floats):
    """The numbers, None for one that is none; None where there are too few. as_floats: a list of what
    an index by lists gives."""
    found = places(tuple(logits.shape))
    if found is None:
        return None
    return [value if math.isfinite(value) else None for value in as_floats(logits[tuple(found)])]
