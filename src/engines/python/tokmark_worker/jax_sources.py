"""Where a cell's model comes from, as functions of its parameters.

builtin   our own implementation (jax_model); a package `superintelligence` is PyTorch's and is not
          looked for
factory   pkg.module:name, which is a model, or gives one when called with what its signature asks
          for (jax_factory, jax_kinds)
"""
import dataclasses
import re

import jax
import jax.numpy as jnp

from . import jax_factory, jax_model
from .devices import require_any_model, require_own_model
from .errors import model_error, unsupported
from .jax_call import is_array, logits_of, wide_parts
from .jax_kinds import switches
from .jax_loss import choose_loss
from .jax_settings import Settings
from .jax_types import Types
from .made_config import PRESET, SET, report_values
from .model_config import builtin_spec
from .output_parts import named
from .setting_names import spec_key
from .user_code import call_user, shorten


@dataclasses.dataclass
class Source:
    """apply(params, state, tokens, key, is_train) -> (what the model gives, new state).
    loss(params, state, tokens, targets, key, is_train) -> (loss, new state) where a user's model
    has a loss of its own, else None: cross-entropy of the logits.

    params: what is trained, a tree of arrays (of a user's model a list); state: what else the model
    carries. Both are made already for a user's model; ours is made by make() once it is known to
    fit, and until then they are descriptions of arrays.
    """

    apply: object
    params: object
    state: object
    text: str  # for the record's model_source
    vocab_size: int
    params_active: int = None  # None = not known
    model: object = None  # ours, else None
    make: object = None
    notes: list = dataclasses.field(default_factory=list)
    config: dict = None  # every value it was made with, and where it is from (made_config.py)
    chosen: str = None  # what nobody gave and tokmark had to choose
    vocabulary_chosen: str = None  # the same of the tokens' vocabulary
    loss: object = None
    names: list = None  # of a user's params
    state_names: list = dataclasses.field(default_factory=list)  # of a user's state
    settings: Settings = None
    fields: dict = dataclasses.field(default_factory=dict)  # of `ready`, beside the engine's

    def limit_vocabulary(self, rows, settings):
        """To the rows of the table that tokens are looked up in (None: not known): a model whose head is wider knows
        no more."""
        if rows is None or rows >= self.vocab_size:
            return
        if any(spec_key(name) == "vocab_size" for name in settings):
            raise model_error(
                f"--set vocab_size={self.vocab_size} does not reach the model: tokens are looked up in a table of {rows} rows"
            )
        self.vocab_size, self.vocabulary_chosen = rows, None

    @property
    def all_chosen(self):
        return ", ".join(filter(None, (self.chosen, self.vocabulary_chosen))) or None

    def weight_names(self):
        if self.model is None:
            return self.names
        published = jax_model.stacked_names(self.model.spec).values()
        return [name for _, names in published for name in names]

    def named(self, tree):
        """(name, array) of a tree like params."""
        if self.model is not None:
            return list(jax_model.published(self.model.spec, tree))
        return list(zip(self.names, tree))


def path_name(path):
    """"layers.0.weight" of a leaf's path in a tree."""
    parts = []
    for item in path:
        for kind in ("key", "name", "idx"):
            if hasattr(item, kind):
                parts.append(str(getattr(item, kind)))
                break
    if parts and parts[-1] in ("value", "raw_value") and len(parts) > 1:
        parts.pop()  # what nnx wraps a parameter in
    return ".".join(parts).lstrip(".") or "params"


# --- ours ----------------------------------------------------------------------------------------


def _builtin(cell, layout, precision, key):
    spec = builtin_spec(cell)
    require_own_model(cell, layout.factors, spec)
    way = "published"
    if cell.options.moe == "routed":
        way = "tiles" if layout.device.platform == "cpu" else "ranks"
    has_dropout = cell.mode == "train" and spec.dropout > 0
    attention = "xla"
    if not has_dropout and cudnn_attention_works(layout.device, precision.compute_dtype, spec):
        attention = "cudnn"
    model = jax_model.Model(spec, precision.compute_dtype, way, attention, layout.spread)

    def apply(params, state, tokens, key, is_train):
        return model.forward(params, tokens, key if is_train else None), state

    def make():
        return jax_model.init(spec, key, precision.param_dtype, layout.put_weight), ()

    params = {
        name: jax.ShapeDtypeStruct(layout.kept_shape(name, shape), precision.param_dtype)
        for name, (shape, _) in jax_model.stacked_names(spec).items()
    }
    form = f" ({cell.options.moe})" if spec.ffn == "moe_swiglu" else ""
    return Source(
        apply=apply,
        params=params,
        state=(),
        text=f"tokmark jax{form}",
        vocab_size=spec.vocab_size,
        params_active=spec.params_active(),
        model=model,
        make=make,
        config=report_values(
            dataclasses.asdict(spec), dict.fromkeys(cell.options.set, SET), PRESET
        )[0],
        settings=Settings(),
        fields={"forward_call": "forward(params, tokens)", "loss_source": "tokmark"},
    )


def cudnn_attention_works(device, dtype, spec):
    """Tried on a small case rather than looked up: it depends on the release, on cuDNN and on the
    device."""
    if device.platform != "gpu" or jnp.dtype(dtype).itemsize != 2:
        return False
    try:
        part = jnp.ones((1, 64, spec.heads_count, spec.head_dim), dtype)
        out = jax.nn.dot_product_attention(
            part, part, part, is_causal=spec.is_causal, implementation="cudnn"
        )
        return bool((out == 1).all())
    except Exception:  # whatever a release raises for what it cannot do
        return False


# --- a user's ------------------------------------------------------------------------------------


class _Leaves:
    """A tree's leaves: those that are trained as a list, and what puts them back.

    Nothing but the model's own code sees the tree's nodes: an author's class need not take what
    an optimizer or a description of shapes would put into it.
    """

    def __init__(self, parts):
        found, self._treedef = jax.tree_util.tree_flatten_with_path(parts.tree)
        self._kinds = []  # "param", "fixed" or None, a leaf each
        self.params, self.fixed, self._others, self.names, self.fixed_names = [], [], [], [], []
        for path, leaf in found:
            kind = self._kind(parts, path, leaf)
            self._kinds.append(kind)
            if kind == "param":
                self.params.append(jnp.asarray(leaf))
                self.names.append(path_name(path))
            elif kind == "fixed":
                self.fixed.append(leaf)
                self.fixed_names.append(path_name(path))
            else:
                self._others.append(leaf)

    def _kind(self, parts, path, leaf):
        is_constant = parts.has_numpy_constants and not isinstance(leaf, jax.Array)
        if is_constant or isinstance(leaf, (bool, int, str)) or not is_number(leaf):
            return None
        is_trained = jnp.issubdtype(jnp.result_type(leaf), jnp.floating)
        if is_trained and (parts.is_state is None or not parts.is_state(path)):
            return "param"
        return "fixed"

    def tree(self, params, fixed):
        rest = {"param": iter(params), "fixed": iter(fixed), None: iter(self._others)}
        return self._treedef.unflatten([next(rest[kind]) for kind in self._kinds])


def is_number(leaf):
    return is_array(leaf) or isinstance(leaf, float)


# Names of token embeddings' arrays.
_TABLES = re.compile(r"emb|tok|wte|word|vocab|table", re.IGNORECASE)


class _Model:
    """A user's model as the functions of a Source."""

    def __init__(self, parts, settings, leaves, types):
        self._parts = parts
        self._settings = settings
        self._leaves = leaves
        self._types = types
        self.width = None  # the vocabulary, once it is known: tells logits from other arrays

    def given(self, state, tokens, key, is_train, targets=None):
        """A value for each role of a call that has one."""
        given = {"tokens": tokens, "spare_key": state["key"], **switches(is_train)}
        more = {"key": key, "targets": targets}
        return {**given, **{role: one for role, one in more.items() if one is not None}}

    def author_rules(self):
        return self._settings.author_rules()

    def tree(self, params, state):
        return self._leaves.tree(self._types.for_matmuls(params), state["fixed"])

    def run(self, params, state, given):
        with self.author_rules():
            out, own = self._parts.run(self.tree(params, state), state["own"], given)
        return out, {**state, "own": own}

    def apply(self, params, state, tokens, key, is_train):
        out, state = self.run(params, state, self.given(state, tokens, key, is_train))
        return logits_of(out, self.width), state


def _factory(cell, layout, precision, key):
    found = jax_factory.find(cell, precision, key)
    parts, settings = found.parts, Settings()
    leaves = _Leaves(parts)
    types = Types(leaves.names, leaves.params, precision)
    model = _Model(parts, settings, leaves, types)
    # copies: a step gives its arguments away, and two names may mean one array
    params = [
        layout.put_weight(jnp.array(leaf, dtype))
        for leaf, dtype in zip(leaves.params, types.kept_in)
    ]
    own = jax.tree_util.tree_map(jnp.array, parts.state)
    state = layout.put({"own": own, "fixed": leaves.fixed, "key": key}, layout.whole)
    sample = jnp.zeros((cell.batch_size, cell.seq_len), jnp.int32)
    chosen = choose_loss(found, model, params, state, sample, key, cell.mode)
    notes = [f"{parts.kind} model", *parts.notes, *chosen.notes]
    is_train = cell.mode == "train"
    given = model.given(state, sample, key if is_train else None, is_train, chosen.targets(sample))
    vocab_size, vocabulary_chosen = found.vocab_size, None
    if vocab_size is None:
        vocab_size = call_user(cell.model_ref, _width_of, model, leaves, params, state, given)
    model.width = vocab_size
    if vocab_size is None:  # a loss alone says nothing of it
        vocab_size = cell.model.vocab_size
        vocabulary_chosen = f"vocab_size {vocab_size} (of the tokens)"
    return Source(
        apply=model.apply,
        params=params,
        state=state,
        text=shorten("factory ", cell.model_ref, ""),
        vocab_size=vocab_size,
        notes=notes,
        config=found.config,
        chosen=found.chosen,
        vocabulary_chosen=vocabulary_chosen,
        loss=chosen.function,
        names=leaves.names,
        state_names=[*leaves.fixed_names, *map(path_name, _paths(parts.state))],
        settings=settings,
        fields={
            "forward_call": parts.call.text(given) + parts.call_note,
            "loss_source": chosen.source,
            "dtype_kept": types.kept_text(),
            "dtype_buffers": types.buffers_text((own, leaves.fixed)),
        },
    )


def _paths(tree):
    return [path for path, _ in jax.tree_util.tree_flatten_with_path(tree)[0]]


def _width_of(model, leaves, params, state, given):
    """The vocabulary of a model that says none: as wide as its logits are; of several arrays that
    may be its logits, as many as its embedding has rows. None where it gives nothing of the kind."""
    def run(params, state):
        return model.run(params, state, given)[0]

    out = jax.eval_shape(run, params, state)
    widths = {value.shape[-1] for _, value in wide_parts(out)}
    if is_array(named(out, "logits")) or len(widths) < 2:
        logits = logits_of(out)
        return logits.shape[-1] if is_array(logits) and len(logits.shape) == 3 else None
    rows = {
        leaf.shape[0] for name, leaf in zip(leaves.names, leaves.params)
        if len(leaf.shape) == 2 and _TABLES.search(name)
    }
    if len(widths & rows) != 1:
        raise model_error(
            f"the model gives several arrays (B, T, ...), {', '.join(map(str, sorted(widths)))} wide, and "
            f"none is called logits: tokmark cannot say which they are"
        )
    return (widths & rows).pop()


def make(cell, layout, precision, key):
    """The model; a user's with its weights, on its devices, in the parameters' type."""
    if cell.model_ref.startswith("hf:"):
        raise unsupported(
            "jax runs no transformers folder: its JAX models were taken out of transformers; "
            "pytorch does, and jax takes pkg.module:factory"
        )
    if cell.model_ref:
        require_any_model(cell, layout.factors)
        return _factory(cell, layout, precision, key)
    return _builtin(cell, layout, precision, key)
