"""What a traced model looks up, and in which order it goes through its tokens. JAX says nothing of an index behind a
table's end: it takes the last row, or NaN."""
import dataclasses

from .errors import model_error
from .jax_precision import needs

# Whatever is inside gets what the operation gets, one by one.
_CALLS = ("jit", "pjit", "closed_call", "core_call", "checkpoint", "remat2", "custom_jvp_call", "custom_vjp_call",
          "custom_vjp_call_jaxpr", "custom_lin")
_SAME = ("broadcast_in_dim", "reshape", "convert_element_type", "squeeze", "expand_dims", "transpose", "copy", "rev",
         "stop_gradient")
_COMPARED = {"lt": lambda a, b: (a.most < b.least, a.least >= b.most), "ge": lambda a, b: (a.least >= b.most, a.most < b.least)}
_CUMULATIVE = ("cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp")


@dataclasses.dataclass(frozen=True)
class Known:
    """Of a value: from tokens or not; its least and most, both of which occur, or None."""

    is_of_tokens: bool = False
    least: object = None
    most: object = None

    @property
    def is_bounded(self):
        return self.most is not None


class Lookups:
    """jaxpr: of a forward; `tokens`: its input of that meaning, (B, T), below vocab_size."""

    def __init__(self, jaxpr, tokens, vocab_size):
        self._shape = tuple(tokens.aval.shape)
        self.rows_of_tokens = None  # of the smallest table that tokens are looked up in
        self._short = None  # (the last row that is looked up, rows of its table)
        self._is_over_rows = False
        self._walk(jaxpr, {tokens: Known(True, 0, vocab_size - 1)})

    def require_positions(self):
        if self._short is not None:
            last, rows = self._short
            hint = f": seq_len may be at most {rows}" if last == self._shape[1] - 1 else ""
            raise model_error(
                f"the model looks up row {last} of a table of {rows} rows, where JAX silently takes another row, or NaN{hint}"
            )

    def require_rows_first(self):
        if self._is_over_rows:
            B, T = self._shape
            raise model_error(
                f"the model takes tokens (T, B): it goes through (B {B}, T {T}, ...) a row after the other, each with what "
                f"the ones before left; a function that turns both would do"
            )

    def _walk(self, jaxpr, known):
        """Gives what is known of its results."""
        for eqn in jaxpr.eqns:
            given = [_literal(var) if hasattr(var, "val") else known.get(var, Known()) for var in eqn.invars]
            for var, found in zip(eqn.outvars, self._results(eqn, given)):
                known[var] = found
        return [_literal(var) if hasattr(var, "val") else known.get(var, Known()) for var in jaxpr.outvars]

    def _results(self, eqn, given):
        name, is_of_tokens = eqn.primitive.name, any(one.is_of_tokens for one in given)
        unknown = [Known(is_of_tokens)] * len(eqn.outvars)
        inner = _program(eqn)
        if name in _CALLS and inner is not None and len(inner.invars) == len(given):
            return self._walk(inner, dict(zip(inner.invars, given)))
        if name == "scan":
            return self._scan(eqn, inner, given, unknown)
        if name == "gather":
            self._look_up(eqn, given[1])
        elif name in _CUMULATIVE and is_of_tokens and eqn.params.get("axis") == 0:
            self._is_over_rows |= self._is_by_rows(eqn.invars[0])
        elif name == "iota":
            return [Known(False, 0, eqn.params["shape"][eqn.params["dimension"]] - 1)]
        elif name in _SAME:
            return [given[0]]
        elif name == "select_n" and given[0].is_bounded and given[0].least == given[0].most:
            return [given[1 + int(given[0].least)]]
        elif len(given) == 2 and all(one.is_bounded for one in given):
            return [_of_two(name, *given, is_of_tokens)]
        return unknown

    def _scan(self, eqn, inner, given, unknown):
        """Its body once; what it carries is not known."""
        consts, carried = eqn.params["num_consts"], eqn.params["num_carry"]
        inside = [Known(one.is_of_tokens) if consts <= at < consts + carried else one for at, one in enumerate(given)]
        self._walk(inner, dict(zip(inner.invars, inside)))
        over = zip(eqn.invars[consts + carried :], given[consts + carried :])
        if carried and any(one.is_of_tokens and self._is_by_rows(var) for var, one in over):
            self._is_over_rows |= _is_recurrent(inner, consts, carried)
        return unknown

    def _is_by_rows(self, var):
        B, T = self._shape
        return B != T and B > 1 and tuple(var.aval.shape[:2]) == (B, T)

    def _look_up(self, eqn, indices):
        numbers, sizes = eqn.params["dimension_numbers"], eqn.params["slice_sizes"]
        if len(numbers.start_index_map) != 1 or not indices.is_bounded:
            return
        dim = numbers.start_index_map[0]
        rows = eqn.invars[0].aval.shape[dim]
        if sizes[dim] != 1 or indices.most < rows:
            return
        if indices.is_of_tokens:
            self.rows_of_tokens = min(rows, self.rows_of_tokens or rows)
        else:
            self._short = self._short or (int(indices.most), rows)


def _program(eqn):
    """What is inside an operation; None where nothing is."""
    inner = eqn.params.get("jaxpr") or eqn.params.get("call_jaxpr") or eqn.params.get("fun_jaxpr")
    return getattr(inner, "jaxpr", inner)


def _literal(var):
    value = var.val
    is_whole = getattr(value, "ndim", 0) == 0 and not isinstance(value, float) and var.aval.dtype.kind in "iub"
    return Known(False, int(value), int(value)) if is_whole else Known()


def _of_two(name, a, b, is_of_tokens):
    """Of whole numbers, where both ends of the result occur."""
    if name in _COMPARED:
        is_true, is_false = _COMPARED[name](a, b)
        return Known(is_of_tokens, int(is_true), int(is_true)) if is_true or is_false else Known(is_of_tokens)
    if a.least == a.most or b.least == b.most:
        if name == "add":
            return Known(is_of_tokens, a.least + b.least, a.most + b.most)
        if name == "sub":
            return Known(is_of_tokens, a.least - b.most, a.most - b.least)
        if name in ("min", "max"):
            take = min if name == "min" else max
            return Known(is_of_tokens, take(a.least, b.least), take(a.most, b.most))
    return Known(is_of_tokens)


def _is_recurrent(body, consts, carried):
    """Whether what a scan gives of each turn needs what the turns before left, and they leave what they were given."""
    count = len(body.outvars)
    of_turns = needs(body, [at >= carried for at in range(count)])
    of_carry = needs(body, [at < carried for at in range(count)])
    results_need = any(of_turns[consts : consts + carried]) or count == carried
    return results_need and any(of_carry[consts + carried :])


# --- probabilities ---


def is_softmax(jaxpr, var):
    """Whether a value is exponentials over their sum, whatever shape it has been given since."""
    jaxpr, eqn = _made_by(jaxpr, var)
    if eqn is None or eqn.primitive.name != "div":
        return False
    over, under = (_made_by(jaxpr, var) for var in eqn.invars)
    if over[1] is None or over[1].primitive.name != "exp" or under[1] is None:
        return False
    if under[1].primitive.name != "reduce_sum":
        return False
    return _made_by(under[0], under[1].invars[0])[1] is over[1]


def _made_by(jaxpr, var):
    """(program, operation that made a value), through inner programs and what only changes its shape or type; None for
    an input."""
    for _ in range(100):
        eqn = None if hasattr(var, "val") else next((one for one in jaxpr.eqns if var in one.outvars), None)
        if eqn is None:
            return jaxpr, None
        inner = _program(eqn)
        if eqn.primitive.name in _CALLS and inner is not None:
            var, jaxpr = inner.outvars[eqn.outvars.index(var)], inner
        elif eqn.primitive.name in _SAME:
            var = eqn.invars[0]
        else:
            return jaxpr, eqn
    return jaxpr, None
