"""One step of each mode as one compiled program, and what compiling it took.

A program is traced, lowered and compiled ahead of time for the cell's shapes; running it compiles
nothing. Weights, tokens, keys and the cache are its arguments, so that XLA can fold none of them;
what a step replaces (weights and moments, the cache) is donated. Nothing here looks at a value.
"""
import time

import jax
import jax.numpy as jnp
import optax

from .cell import learning_rate
from .errors import model_error, unsupported
from .jax_layout import described
from .jax_lookups import Lookups, is_softmax
from .jax_memory import Plan
from .jax_precision import Executable, Provenance, live, matmuls, uses
from .jax_call import is_array, is_floating, logits_of, loss_of
from .user_code import require_logits

# of torch.cuda.amp.GradScaler
_SCALE_FIRST = 2.0**16
_SCALE_GROWTH_STEPS = 2000


def make_optimizer(rate):
    """torch.optim.AdamW's defaults, spelled out: optax has others."""
    return optax.adamw(rate, b1=0.9, b2=0.999, eps=1e-8, weight_decay=0.01)


def global_norm(grads):
    """In fp32, whatever the gradients are in."""
    leaves = jax.tree_util.tree_leaves(grads)
    return jnp.sqrt(sum(jnp.sum(jnp.square(leaf.astype(jnp.float32))) for leaf in leaves))


class Program:
    """A function compiled for given arguments, and what was seen of it."""

    def __init__(self, function, arguments, donated, platform, results=None, is_jit_off=False):
        """arguments: descriptions of arrays; results: where the function's are to lie, None = as XLA chooses."""
        jitted = jax.jit(function, donate_argnums=donated, out_shardings=results)
        begin = time.perf_counter_ns()
        if is_jit_off:
            self._take_uncompiled(function, arguments, platform, begin)
            return
        if hasattr(jitted, "trace"):  # since 0.4.31
            traced = jitted.trace(*arguments)
            jaxpr, lowered = traced.jaxpr, traced.lower()
        else:
            jaxpr = jax.make_jaxpr(function)(*arguments)
            lowered = jitted.lower(*arguments)
        middle = time.perf_counter_ns()
        self.run = lowered.compile()
        self._lowered = lowered if platform == "cuda" else None
        self.trace_ns = middle - begin
        self.compile_ns = time.perf_counter_ns() - middle
        self.provenance = Provenance(jaxpr.jaxpr, platform)
        self.plan = Plan(self.run)
        self.flops = _flops(self.run)
        self.executable = Executable(self.run.as_text() or "")
        self.compiled_text = "by tokmark (jit)"

    def show_instructions(self):
        """From here on every instruction is started by itself: XLA puts them into CUDA graphs, of which a profiler
        sees only that they ran."""
        if self._lowered is not None:
            self.run = self._lowered.compile(compiler_options={"xla_gpu_enable_command_buffer": ""})

    def _take_uncompiled(self, function, arguments, platform, begin):
        """Whoever set JAX_DISABLE_JIT means every operation to run by itself, and so it does."""
        self.run = function
        self._lowered = None
        jaxpr = jax.make_jaxpr(function)(*arguments)
        self.trace_ns = time.perf_counter_ns() - begin
        self.compile_ns = 0
        self.provenance = Provenance(jaxpr.jaxpr, platform)
        self.plan = Plan(None)
        self.flops = None
        self.executable = Executable("")
        self.compiled_text = "no (JAX_DISABLE_JIT)"


def _flops(compiled):
    """By XLA's cost analysis, which counts the body of a loop once; None where it gives none."""
    costs = compiled.cost_analysis()
    if isinstance(costs, (list, tuple)):  # before 0.5: one a device
        costs = costs[0] if costs else None
    flops = (costs or {}).get("flops")
    return int(flops) if flops and flops > 0 else None


class Steps:
    """What the three modes share: the state between steps, and the program."""

    def __init__(self, cell, source, precision, layout):
        self._cell = cell
        self._source = source
        self._precision = precision
        self._layout = layout
        self.program = None
        self.forward_multiplications = 0

    def _tokens(self, columns=None):
        shape = (self._cell.batch_size, columns or self._cell.seq_len)
        return described(jax.ShapeDtypeStruct(shape, jnp.int32), self._layout.rows)

    def require_output(self, is_train):
        """Traces the model once without compiling: what it gives must be logits, and must depend
        on the tokens and the parameters. Gives how many positions it gives logits of."""
        source, tokens = self._source, self._tokens()
        has_loss = is_train and source.loss is not None
        states = []

        def forward(params, state, tokens, key):
            if has_loss:
                loss, own = source.loss(params, state, tokens, tokens, key, True)
                states.append(_form_of(own))
                return loss
            key = key if is_train else None  # as a step has it
            out, own = source.apply(params, state, tokens, key, is_train)
            states.append(_form_of(own))
            logits = logits_of(out)
            require_logits(
                logits, is_array, is_floating, tokens.shape, source.vocab_size, not is_train
            )
            return logits

        key = jax.random.key(0)
        jaxpr = jax.make_jaxpr(forward)(source.params, source.state, tokens, key).jaxpr
        self.forward_multiplications = sum(work for _, _, work in matmuls(live(jaxpr)))
        params_count = len(jax.tree_util.tree_leaves(source.params))
        state_count = len(jax.tree_util.tree_leaves(source.state))
        what = "loss does" if has_loss else "logits do"
        tokens_given = jaxpr.invars[params_count + state_count]
        if source.model is None:
            if is_train:
                _require_same_state(source.state, states[-1])
            self._require_usual(jaxpr, tokens_given, is_train and not has_loss)
        if not uses(jaxpr, tokens_given):
            raise model_error(f"the {what} not depend on the tokens: there is nothing to time")
        if params_count and not any(uses(jaxpr, var) for var in jaxpr.invars[:params_count]):
            raise model_error(f"the {what} not depend on the parameters")
        return tokens.shape[1] if has_loss else jaxpr.outvars[0].aval.shape[1]

    def _require_usual(self, jaxpr, tokens, gets_loss):
        """Of a user's model: what JAX silently takes, and would be something else."""
        lookups = Lookups(jaxpr, tokens, self._source.vocab_size)
        lookups.require_positions()
        lookups.require_rows_first()
        self._source.limit_vocabulary(lookups.rows_of_tokens, self._cell.options.set)
        if gets_loss and is_softmax(jaxpr, jaxpr.outvars[0]):
            raise model_error(
                "the model gives probabilities, of which cross-entropy is no loss: it must give logits, or with targets "
                "its own loss"
            )

    def _compile(self, function, arguments, donated, results):
        """arguments: described; results: shardings, which one device needs none of."""
        layout, is_jit_off = self._layout, self._source.settings.is_jit_off
        if is_jit_off and layout.count > 1:
            raise unsupported("several devices run what is compiled for them; unset JAX_DISABLE_JIT")
        platform = _product_platform(layout.device)
        results = results if layout.count > 1 else None
        self.program = Program(function, arguments, donated, platform, results, is_jit_off)

    def _weights(self, tree):
        """Described, where they are to lie."""
        return described(tree, self._layout.weights(tree))


def _form_of(tree):
    return jax.tree_util.tree_map(lambda value: jax.ShapeDtypeStruct(value.shape, value.dtype), tree)


def _require_same_state(before, after):
    """A state goes from step to step, and so must have one form."""
    found, others = (jax.tree_util.tree_flatten_with_path(tree)[0] for tree in (before, after))
    for (path, value), (_, other) in zip(found, others):
        if (value.shape, value.dtype) != (other.shape, other.dtype):
            name = ".".join(str(getattr(item, "key", getattr(item, "name", item))) for item in path[1:])
            raise model_error(
                f"the model's state '{name}' goes into a step as {value.dtype}{list(value.shape)}, and comes out as "
                f"{other.dtype}{list(other.shape)}: it must keep its form from step to step"
            )


def _product_platform(device):
    """What fp32 matmuls may be on it: only CUDA has TF32."""
    kind = getattr(device.client, "platform_version", "").lower()
    if device.platform == "gpu":
        return "rocm" if "rocm" in kind else "cuda"
    return device.platform


class TrainSteps(Steps):
    """Forward, loss, backward, AdamW. The state goes through every step and is donated to it."""

    result_text = "optax adamw"

    def __init__(self, *arguments):
        super().__init__(*arguments)
        if not jax.tree_util.tree_leaves(self._source.params):
            raise model_error("the model has no parameters to train")
        self._optimizer = make_optimizer(learning_rate(self._cell))
        self._jitted_update = jax.jit(self.update)
        self.places = None  # shardings, a tree like the state
        self.state = None

    def _new_state(self, params, state, key, moments):
        made = {"params": params, "model": state, "optimizer": moments, "key": key}
        if self._precision.has_scaler:
            made["scale"] = (jnp.float32(_SCALE_FIRST), jnp.int32(0))
        return made

    def compile(self, key):
        source = self._source
        moments = jax.eval_shape(self._optimizer.init, source.params)
        state = jax.eval_shape(self._new_state, source.params, source.state, key, moments)
        self.places = self._places(state)
        arguments = described(state, self.places), self._tokens(), self._tokens()
        whole = self._layout.whole
        self._compile(self._step, arguments, (0,), (self.places, whole, whole))

    def _places(self, state):
        """Shardings: what the optimizer keeps for a weight lies where the weight lies."""
        layout = self._layout
        return {
            name: layout.weights(part) if name in ("params", "optimizer")
            else jax.tree_util.tree_map(lambda _: layout.whole, part)
            for name, part in state.items()
        }

    def begin(self, params, state, key):
        """Takes the weights; the optimizer's moments are made."""
        moments = self.new_moments(params)
        self.state = self._layout.put(self._new_state(params, state, key, moments), self.places)

    def new_moments(self, params):
        """What the optimizer begins with, where the weights are."""
        make = jax.jit(lambda params: self._optimizer.init(params), out_shardings=self.places["optimizer"])
        return make(params)

    def _step(self, state, tokens, targets):
        """(next state, loss, norm of the gradients)"""
        next_key, key = jax.random.split(state["key"])
        scale = state["scale"][0] if self._precision.has_scaler else None

        def scaled_loss(params):
            loss, own, _ = self.loss(params, state["model"], tokens, targets, key, True)
            return loss if scale is None else loss * scale, (loss, own)

        grads, (loss, own) = jax.grad(scaled_loss, has_aux=True)(state["params"])
        if scale is not None:
            grads = jax.tree_util.tree_map(lambda grad: grad / scale, grads)
        norm = global_norm(grads)
        params, optimizer = self._updated(grads, state["optimizer"], state["params"])
        made = {"params": params, "model": own, "optimizer": optimizer, "key": next_key}
        if scale is not None:
            made = self._kept_if_finite(state, made, norm)
        return made, loss, norm

    def loss(self, params, model_state, tokens, targets, key, is_train):
        """(loss, the model's own new state, the logits it is of; None where the model gives its loss alone)"""
        if self._source.loss is not None:
            given = params, model_state, tokens, targets, key, is_train
            loss, own = self._source.loss(*given)
            return loss.astype(jnp.float32), own, None
        out, own = self._source.apply(params, model_state, tokens, key, is_train)
        logits = logits_of(out)
        return loss_of(logits, targets), own, logits

    def update(self, grads, moments, params):
        """(new parameters, new moments)"""
        updates, moments = self._optimizer.update(grads, moments, params)
        return optax.apply_updates(params, updates), moments

    def _updated(self, grads, moments, params):
        """(new parameters, new moments). Compiled by itself where a step is not: run as it is, the
        power of the count of steps would be a new program in every step."""
        if not self._source.settings.is_jit_off:
            return self.update(grads, moments, params)
        with jax.disable_jit(False):
            return self._jitted_update(grads, moments, params)

    def _kept_if_finite(self, before, after, norm):
        """A gradient that overflowed changes nothing but the scale."""
        is_finite = jnp.isfinite(norm)
        scale, good_steps = before["scale"]
        good_steps = jnp.where(is_finite, good_steps + 1, 0)
        grows = good_steps >= _SCALE_GROWTH_STEPS
        scale = jnp.where(is_finite, jnp.where(grows, scale * 2, scale), scale * 0.5)
        kept = {
            name: jax.tree_util.tree_map(
                lambda new, old: jnp.where(is_finite, new, old), after[name], before[name]
            )
            for name in ("params", "optimizer")
        }
        return {**after, **kept, "scale": (scale, jnp.where(grows, 0, good_steps))}

    @property
    def params(self):
        return self.state["params"]

    def step(self, tokens, targets):
        """(loss, norm), on the device."""
        self.state, loss, norm = self.program.run(self.state, tokens, targets)
        return loss, norm

    def wait(self, result):
        jax.block_until_ready((self.state, result))

    def parts(self):
        return {"weights": self.state["params"], "optimizer": self.state["optimizer"]}


class InferSteps(Steps):
    """Forward over every token."""

    result_text = None

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.params = self._state = None

    def compile(self, _key):
        source = self._source
        state = described(source.state, self._layout.whole)
        arguments = self._weights(source.params), state, self._tokens()
        self._compile(self._step, arguments, (), self._layout.rows)

    def begin(self, params, state, _key):
        self.params, self._state = params, state

    def _step(self, params, state, tokens):
        return logits_of(self._source.apply(params, state, tokens, None, False)[0])

    def step(self, tokens, _targets):
        return self.program.run(self.params, self._state, tokens)

    def wait(self, result):
        jax.block_until_ready(result)

    def parts(self):
        return {"weights": self.params}


class DecodeSteps(Steps):
    """One token a row at position seq_len - 1 with everything before it cached; the cache is of
    fixed size, is donated to a step and comes back from it. Every step costs the same."""

    result_text = None

    def __init__(self, *arguments):
        super().__init__(*arguments)
        if self._source.model is None:
            raise unsupported(
                "decode needs a key and value cache: tokmark's own models have one that is "
                "understood; this model can be measured with train and infer"
            )
        self._position = self._cell.seq_len - 1
        self.params = self.cache = None
        self._prefill = None

    def _empty_cache(self):
        return self._source.model.new_cache(self._cell.batch_size, self._cell.seq_len)

    def compile(self, _key):
        layout = self._layout
        cache = described(jax.eval_shape(self._empty_cache), layout.cache)
        position = described(jax.ShapeDtypeStruct((), jnp.int32), layout.whole)
        arguments = (self._weights(self._source.params), self._tokens(1), cache, position)
        self._compile(self._source.model.decode, arguments, (2,), (layout.rows, layout.cache))

    def begin(self, params, _state, _key):
        self.params = params
        self.cache = self.placed(self._empty_cache())
        self._place = self._layout.put(jnp.int32(self._position), self._layout.whole)

    def placed(self, cache):
        """Where the program that is timed has it."""
        return self._layout.put(cache, self._layout.cache)

    def fill(self, prompt):
        """prompt (B, seq_len - 1)"""
        if prompt.shape[1] > 0:
            places = self._layout.rows, self._layout.cache
            fill = jax.jit(self._source.model.decode, donate_argnums=(2,), out_shardings=places)
            _, self.cache = fill(self.params, prompt, self.cache, jnp.int32(0))
        jax.block_until_ready(self.cache)

    def step(self, tokens, _targets):
        logits, self.cache = self.program.run(self.params, tokens, self.cache, self._place)
        return logits

    def cache_tokens(self):
        """Of a row, before the step's own."""
        return int(self._place)

    def wait(self, result):
        jax.block_until_ready((self.cache, result))

    def parts(self):
        return {"weights": self.params, "kv_cache": self.cache}


def make_steps(cell, source, precision, layout):
    kind = {"train": TrainSteps, "infer": InferSteps, "decode": DecodeSteps}[cell.mode]
    return kind(cell, source, precision, layout)
