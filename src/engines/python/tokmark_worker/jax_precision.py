"""What a precision means in JAX, and which types a program's matmuls really run in.

fp32       parameters and matmuls fp32, matmul precision highest
tf32       the same with matmul precision tensorfloat32 (CUDA)
bf16       fp32 parameters, cast to bf16 where they are used: matmuls and activations bf16
bf16-pure  parameters, matmuls, gradients and optimizer state bf16
fp16       as bf16 with fp16, and a gradient scaler when training (CUDA)
"""
import re

import jax
from jax.interpreters import partial_eval
import jax.numpy as jnp

from .errors import unsupported
from .type_names import mixture_name

NAMES = {
    "float64": "fp64",
    "float32": "fp32",
    "bfloat16": "bf16",
    "float16": "fp16",
    "float8_e4m3fn": "fp8",
    "int8": "int8",
}
_HLO_NAMES = {"f64": "fp64", "f32": "fp32", "bf16": "bf16", "f16": "fp16", "s8": "int8"}


def type_name(dtype):
    return NAMES.get(str(jnp.dtype(dtype)), str(dtype))


class Precision:
    """One precision on one platform (cpu, cuda, rocm, tpu)."""

    def __init__(self, name, mode, platform):
        self.name = name
        self._platform = platform
        self._check(mode)
        is_pure = name == "bf16-pure"
        self.param_dtype = jnp.bfloat16 if is_pure else jnp.float32
        casts = {"bf16": jnp.bfloat16, "fp16": jnp.float16}
        self.compute_dtype = casts.get(name, self.param_dtype)
        self.has_scaler = name == "fp16" and mode == "train"
        # the precisions that have no fp32 matmuls keep JAX's own default
        self.matmul = {"fp32": "highest", "tf32": "tensorfloat32"}.get(name)

    def _check(self, mode):
        if self.name == "int8":
            raise unsupported("jax does not run int8 here; the nearest precision is bf16")
        if self.name == "tf32" and self._platform != "cuda":
            raise unsupported("tf32 is a number format of CUDA devices; here use fp32 or bf16")
        if self.name == "fp16" and self._platform != "cuda" and mode == "train":
            raise unsupported("fp16 training needs a CUDA device; here use bf16 or fp32")

    def apply(self):
        """Of the process."""
        if self.matmul is not None:
            jax.config.update("jax_default_matmul_precision", self.matmul)


# --- what a traced program multiplies ------------------------------------------------------------


def _inner(value):
    """The programs inside an equation's parameter."""
    if hasattr(value, "eqns"):
        yield value
    elif hasattr(value, "jaxpr"):
        yield value.jaxpr
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _inner(item)


def _elements(shape):
    count = 1
    for size in shape:
        count *= size
    return count


def _operations(eqn):
    """Multiplications of one matmul."""
    left, right = (var.aval.shape for var in eqn.invars[:2])
    out = _elements(eqn.outvars[0].aval.shape)
    if eqn.primitive.name == "dot_general":
        (dims, _), _ = eqn.params["dimension_numbers"]
        return out * _elements([left[dim] for dim in dims])
    if eqn.primitive.name == "conv_general_dilated":
        features = eqn.params["dimension_numbers"].rhs_spec[0]
        return out * _elements(right) // max(1, right[features])
    return out * left[-1]  # ragged_dot


_PRODUCTS = ("dot_general", "conv_general_dilated", "ragged_dot", "ragged_dot_general")


def matmuls(jaxpr, times=1):
    """(type of the operands, precision, multiplications) of every matmul of a program."""
    for eqn in jaxpr.eqns:
        name = eqn.primitive.name
        if name in _PRODUCTS:
            types = {type_name(var.aval.dtype) for var in eqn.invars[:2]}
            work = times * _operations(eqn)
            yield "x".join(sorted(types)), eqn.params.get("precision"), work
            continue
        length = eqn.params.get("length", 1) if name == "scan" else 1
        for value in eqn.params.values():
            for inner in _inner(value):
                yield from matmuls(inner, times * length)


def live(jaxpr):
    """The program without what none of its results needs, which the compiler leaves out, too."""
    try:
        return partial_eval.dce_jaxpr(jaxpr, [True] * len(jaxpr.outvars))[0]
    except AttributeError:  # of a release that has it elsewhere
        return jaxpr


def needs(jaxpr, wanted):
    """Which inputs the wanted outputs (a truth value each) need, also inside inner programs."""
    return partial_eval.dce_jaxpr(jaxpr, wanted)[1]


def _is_highest(precision):
    """Whether fp32 operands are multiplied as fp32, on a device that could do less."""
    parts = precision if isinstance(precision, tuple) else (precision,)
    return all(getattr(part, "name", str(part)) in ("HIGHEST", "F32_F32_F32") for part in parts)


class Provenance:
    """Of a traced program on a platform: which types its matmuls have, by work."""

    def __init__(self, jaxpr, platform):
        self._work = {}
        self.tf32 = False
        for types, precision, work in matmuls(live(jaxpr)):
            if types == "fp32" and platform == "cuda" and not _is_highest(precision):
                types = "tf32"
                self.tf32 = True
            self._work[types] = self._work.get(types, 0) + work
        self.multiplications = sum(self._work.values())

    def compute_name(self):
        return mixture_name(self._work)


def uses(jaxpr, var):
    """Whether any output depends on the input `var`; equations with inner programs count as using
    all their inputs."""
    live = {id(out) for out in jaxpr.outvars}
    for eqn in reversed(jaxpr.eqns):
        if any(id(out) in live for out in eqn.outvars):
            live.update(id(item) for item in eqn.invars)
    return id(var) in live


# --- what the compiler made of it ----------------------------------------------------------------

_DEFINED = re.compile(r"^\s*(?:ROOT )?%?([\w.\-]+) = \(?(\w+)\[", re.M)
_DOT = re.compile(r" (?:dot|convolution)\((?:\w+\[[^%]*)?%?([\w.\-]+)")
_CALL = re.compile(
    r" custom-call\((?:\w+\[[^%]*)?%?([\w.\-]+)[^\n]*custom_call_target=\"([^\"]+)\""
)
_PRODUCT_CALLS = ("gemm", "matmul", "dot", "conv")


class Executable:
    """Products and attention calls of a compiled program's text; counts, not work."""

    def __init__(self, text):
        types = dict(_DEFINED.findall(text))
        self.types = {}
        self.has_cudnn_attention = "fmha" in text
        names = list(_DOT.findall(text))
        for operand, target in _CALL.findall(text):
            if any(word in target.lower() for word in _PRODUCT_CALLS):
                names.append(operand)
        for name in names:
            kind = _HLO_NAMES.get(types.get(name), types.get(name))
            self.types[kind] = self.types.get(kind, 0) + 1

    def text(self):
        """"fp32" or "bf16+fp32", most first; None when no matmul was found."""
        known = [kind for kind in self.types if kind]
        return "+".join(sorted(known, key=lambda kind: -self.types[kind])) or None
