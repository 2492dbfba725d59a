"""A cell, as the `open` message says it (src/spec/cell.def), and the model it is about
(src/spec/model.c). Every field is checked: a worker does not trust its host."""
import json
import math
from dataclasses import MISSING, dataclass, field, fields, make_dataclass, replace

from . import tables
from .protocol import ProtocolError, path
from .setting_text import value_of

LEARNING_RATE = 3e-4  # as published
_WORDS_SHOWN_MAX = 12
_PREFIX_MIN = 3


def nearest(word, words):
    """The word of `words` that is likely meant; None where none is near. The rule is that of
    src/base/nearest.c: about a third of the letters may differ, or one word begins with the other.
    """
    word = str(word)
    best = None
    for other in words:
        distance = _distance(word.lower(), other.lower())
        rank = (not _is_prefix_pair(word.lower(), other.lower()), distance)
        if (not rank[0] or distance <= (max(len(word), len(other)) + 1) // 3) and (
            best is None or rank < best[0]
        ):
            best = rank, other
    return best[1] if best else None


def hint(word, words):
    """"did you mean 'x'?", else what there is."""
    words = list(dict.fromkeys(words))
    found = nearest(word, words)
    if found is not None:
        return f"did you mean '{found}'?"
    if not words:
        return "there is nothing to set"
    shown, more = words[:_WORDS_SHOWN_MAX], len(words) - _WORDS_SHOWN_MAX
    return f"there {'is' if len(words) == 1 else 'are'} {', '.join(shown)}" + (
        f" and {more} more" if more > 0 else ""
    )


def _is_prefix_pair(a, b):
    shared = min(len(a), len(b))
    return shared >= _PREFIX_MIN and a[:shared] == b[:shared]


def _distance(a, b):
    """Letters put in, left out, changed, or swapped with the next (Damerau-Levenshtein)."""
    before, row = [], list(range(len(b) + 1))
    for i, one in enumerate(a, 1):
        earlier, before, row = before, row, [i]
        for j, other in enumerate(b, 1):
            best = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (one != other))
            if i > 1 and j > 1 and one == b[j - 2] and a[i - 2] == other:
                best = min(best, earlier[j - 2] + 1)
            row.append(best)
    return row[-1]


@dataclass(frozen=True)
class ModelSpec:
    """The settings of a model; the same fields as struct model_spec."""

    name: str = ""
    vocab_size: int = 0
    max_seq_len: int = 0
    dim: int = 0
    layers_count: int = 0
    heads_count: int = 0
    ffn: str = "moe_swiglu"
    ffn_hidden: int = 0
    experts_count: int = 1
    experts_active: int = 1
    rotary_dim: int = 0
    rotary_base: float = 10000.0
    dropout: float = 0.0
    norm: str = "rms"
    norm_eps: float = 1e-6
    is_causal: bool = False
    is_head_tied: bool = False

    @property
    def head_dim(self):
        return self.dim // self.heads_count

    def tensors(self):
        """(name, shape, is_expert) of every tensor of the state_dict, in its order."""
        norm = ("weight", "bias") if self.norm == "layer" else ("weight",)
        yield "token_embedding.weight", (self.vocab_size, self.dim), False
        yield "position_embedding", (self.max_seq_len, self.dim), False
        for layer in range(self.layers_count):
            prefix = f"layers.{layer}"
            for part in norm:
                yield f"{prefix}.norm1.{part}", (self.dim,), False
            yield from _linear(f"{prefix}.attn.qkv_proj", 3 * self.dim, self.dim)
            yield from _linear(f"{prefix}.attn.out_proj", self.dim, self.dim)
            for part in norm:
                yield f"{prefix}.norm2.{part}", (self.dim,), False
            yield from self._ffn_tensors(prefix)
        for part in norm:
            yield f"norm.{part}", (self.dim,), False
        if not self.is_head_tied:
            yield "lm_head.weight", (self.vocab_size, self.dim), False

    def _ffn_tensors(self, prefix):
        if self.ffn == "gelu":
            yield from _linear(f"{prefix}.mlp.fc", self.ffn_hidden, self.dim)
            yield from _linear(f"{prefix}.mlp.proj", self.dim, self.ffn_hidden)
            return
        yield f"{prefix}.moe.gate.weight", (self.experts_count, self.dim), False
        for expert in range(self.experts_count):
            ffn = f"{prefix}.moe.experts.{expert}.ffn"
            yield from _linear(f"{ffn}.w1", self.ffn_hidden, self.dim, True)
            yield from _linear(f"{ffn}.w2", self.ffn_hidden, self.dim, True)
            yield from _linear(f"{ffn}.w3", self.dim, self.ffn_hidden, True)

    def params_total(self):
        return sum(_elements(shape) for _, shape, _ in self.tensors())

    def params_active(self):
        """Those that work on one token."""
        experts = sum(_elements(shape) for _, shape, is_expert in self.tensors() if is_expert)
        return self.params_total() - experts + experts // self.experts_count * self.experts_active

    def with_text(self, key, text):
        """One field set from text, as `--set key=value` does."""
        kinds = {item.name: type(item.default) for item in fields(self) if item.name != "name"}
        if key not in kinds:
            raise ValueError(f"a model has no '{key}'; {hint(key, kinds)}")
        return replace(self, **{key: value_of(key, text, kinds[key])})


def _elements(shape):
    count = 1
    for size in shape:
        count *= size
    return count


def _linear(prefix, out, inner, is_expert=False):
    yield f"{prefix}.weight", (out, inner), is_expert
    yield f"{prefix}.bias", (out,), is_expert


def _rows(name, rows):
    """A class with the fields of a table of src/spec/cell.def: what is absent is zero."""
    zeros = {"word": lambda words: words[0], "text": lambda _: "", "count": lambda least: least, "settings": lambda _: {},
             "options": lambda _: Options()}
    made = []
    for key, kind, limit, is_required in sorted(rows, key=lambda row: not row[3]):
        zero = {} if is_required else {"default_factory": lambda at=zeros[kind], limit=limit: at(limit)}
        made.append((key, object, field(metadata={"kind": kind, "limit": limit}, **zero)))
    kind = make_dataclass(name, made, frozen=True)
    kind.__module__ = __name__  # where it is found again when a cell is sent to another rank
    return kind


Options = _rows("Options", tables.OPTIONS)
Cell = _rows("Cell", tables.CELL)


def _fail(text):
    raise ProtocolError(f"message 'open': {text}")


def _read_text(key, value, limit):
    if not isinstance(value, str):
        _fail(f"'{key}' must be a string")
    if len(value.encode("utf-8", "replace")) >= limit:
        _fail(f"'{key}' is longer than {limit - 1} bytes")
    return value


def _read_word(key, value, words):
    if not isinstance(value, str):
        _fail(f"'{key}' must be a string")
    if value not in words:
        _fail(f"there is no {key} '{value[:60]}'; {hint(value, words)}")
    return value


def _read_count(key, value, least):
    if type(value) is not int or not least <= value < 1 << 32:
        _fail(f"'{key}' must be a whole number of at least {least}")
    return value


def _read_seed(key, value, limit):
    text = _read_text(key, value, limit)
    if not text.isascii() or not text.isdigit() or int(text) >= 1 << 64:
        _fail(f"'{key}' must be a whole number from 0 to 2^64 - 1, as text")
    return int(text)


def _read_settings(key, value, limit):
    if not isinstance(value, dict):
        _fail(f"'{key}' must be an object")
    _read_text(key, json.dumps(value, ensure_ascii=False, separators=(",", ":")), limit)
    return value


def _read_field(key, value, kind):
    if kind is float and type(value) in (int, float):
        return float(value)
    if kind is int and type(value) in (int, float) and float(value).is_integer():
        return int(value)
    if kind in (bool, str) and type(value) is kind:
        return value
    wanted = {bool: "truth value", str: "word"}.get(kind, "number")
    return _fail(f"model: {key} must be a {wanted}")


def _read_model(_key, value, _limit):
    if not isinstance(value, dict):
        _fail("a model must be a JSON object")
    kinds = {item.name: type(item.default) for item in fields(ModelSpec)}
    for key in value:
        if key not in kinds:
            _fail(f"a model has no '{key[:60]}'; {hint(key, kinds)}")
    spec = ModelSpec(**{key: _read_field(key, inner, kinds[key]) for key, inner in value.items()})
    for key, (least, most) in tables.MODEL_RANGES.items():
        if key in value and not least <= getattr(spec, key) <= most:
            _fail(f"model: {key} cannot be {getattr(spec, key)}; it is from {least} to {most}")
    if not {"experts_count", "experts_active", "rotary_base"} <= value.keys():
        _fail("model: experts_count, experts_active and rotary_base must be given")
    problem = model_problem(spec)
    if problem:
        _fail(f"model: {problem}")
    return spec


def model_problem(spec):
    """What is wrong with a model's settings; None if nothing is."""
    sizes = ("vocab_size", "max_seq_len", "dim", "layers_count", "heads_count", "ffn_hidden")
    if any(getattr(spec, key) < (2 if key == "vocab_size" else 1) for key in sizes):
        return f"{', '.join(sizes)} must be given"
    if spec.dim % spec.heads_count != 0:
        return f"heads_count {spec.heads_count} does not divide dim {spec.dim}"
    if not 0 <= spec.rotary_dim <= spec.head_dim or spec.rotary_dim % 2 != 0:
        return f"rotary_dim {spec.rotary_dim} must be even and at most {spec.head_dim}"
    if spec.ffn not in ("moe_swiglu", "gelu") or spec.norm not in ("rms", "layer"):
        return "ffn is moe_swiglu or gelu, norm is rms or layer"
    if spec.ffn == "gelu" and (spec.experts_count, spec.experts_active) != (1, 1):
        return "ffn gelu has no experts: experts_count and experts_active must be 1"
    if not 1 <= spec.experts_active <= spec.experts_count:
        return f"experts_active {spec.experts_active} must be from 1 to {spec.experts_count}"
    if not 0 <= spec.dropout < 1:
        return "dropout must be from 0 to 0.99"
    return None


def _read_rate(text):
    try:
        rate = float(text) if text else LEARNING_RATE
    except ValueError:
        rate = 0.0
    if not 0 < rate < math.inf:
        _fail(f"'options.lr' must be a number over 0, as text, not '{text}'")
    return rate


def learning_rate(cell):
    """AdamW's."""
    return _read_rate(cell.options.lr)


def _read_options(key, value, _limit):
    if not isinstance(value, dict):
        _fail(f"'{key}' must be an object")
    return _read_rows(Options, value, f"{key}.")


READERS = {
    "text": _read_text,
    "word": _read_word,
    "count": _read_count,
    "seed": _read_seed,
    "model": _read_model,
    "settings": _read_settings,
    "options": _read_options,
}


def _read_rows(kind, message, prefix=""):
    values = {}
    for item in fields(kind):
        value = message.get(item.name)
        if value is None and item.default_factory is not MISSING:
            continue
        row = item.metadata
        values[item.name] = READERS[row["kind"]](prefix + item.name, value, row["limit"])
    return kind(**values)


def read_cell(message):
    """The cell of an `open` message; ProtocolError says what is wrong with it."""
    cell = _read_rows(Cell, message)
    if cell.seq_len > cell.model.max_seq_len:
        _fail(
            f"'seq_len' {cell.seq_len} is over the model's max_seq_len {cell.model.max_seq_len}"
        )
    _read_rate(cell.options.lr)
    hf = "hf:" if cell.model_ref.startswith("hf:") else ""
    return replace(
        cell,
        data_path=path(cell.data_path),
        weights_path=path(cell.weights_path),
        model_ref=hf + path(cell.model_ref[len(hf):]),
    )
