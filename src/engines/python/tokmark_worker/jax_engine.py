"""The `jax` engine: opens a cell, runs blocks of steps, says what it saw.

Order of opening. The step is compiled from descriptions of its arguments before the weights are
made, so that XLA's own plan of its memory says whether the cell fits, and so that what kernels take
while they are tried out lies beside no weights.

Timing. A block's batches are on the device before the first stamp. A step is one call of a compiled
program; everything it gave is waited for (block_until_ready). Losses and norms stay on the device
until after the last stamp. Python's collector is off inside a block.
"""
import gc
import os
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax

from . import __version__
from .blocks import Block, part_steps
from .cell_memory import bytes_least, describe_cell, require_host
from .devices import devices_of, listed
from .errors import WorkerError, describe_error, model_error, unsupported
from .jax_check import Check, load_weights
from .jax_layout import Layout
from .jax_memory import DeviceMemory, bus_id, oom_error, report_of_all, require_plan, tree_bytes
from .jax_precision import Precision, type_name
from .jax_profile import profile_steps
from .jax_call import is_array, is_floating
from .jax_settings import own_rules
from .jax_sources import make
from .jax_steps import make_steps
from .jax_verify import Verification, logits_seen
from .model_config import builtin_spec
from .tokens import NumpyArrays, Tokens
from .user_code import guarded, require_logits

_COMPILED_EVENT = "/jax/core/compile/backend_compile_duration"
_TOKEN_BYTES = 4
_KINDS = {"gpu": ("cuda", "rocm"), "cuda": ("cuda",), "tpu": ("tpu",)}


class _Compilations:
    """How often XLA has compiled in this process, whoever asked for it."""

    def __init__(self):
        self.count = 0
        jax.monitoring.register_event_duration_secs_listener(self._hear)

    def _hear(self, event, _seconds, **_more):
        if event == _COMPILED_EVENT:
            self.count += 1


def use_threads(count, neighbours_count=1):
    """Threads of XLA on a CPU: taken from here when its client starts, and never changed after. Ranks of one host share
    its processors."""
    if count == 0 and neighbours_count > 1:
        count = max(1, len(os.sched_getaffinity(0)) // neighbours_count)
    if count > 0:
        os.environ["NPROC"] = str(count)
    return count or len(os.sched_getaffinity(0))


def run_in_order(cell):
    """Inference steps do not depend on one another, and a CPU's client may run several at a time:
    waiting for the last would then not be waiting for all. Before JAX's client starts."""
    if cell.mode == "infer" and "jax_cpu_enable_async_dispatch" in jax.config.values:
        jax.config.update("jax_cpu_enable_async_dispatch", False)


def resolve_device(name):
    """cpu, gpu, cuda, tpu, each with :N; unsupported names the nearest."""
    kind, _, index = name.partition(":")
    if kind not in ("cpu", *_KINDS) or (index and not index.isdigit()) or name == "cpu:":
        raise unsupported(
            f"jax has no device '{name}' here; devices are cpu, gpu, cuda, cuda:N, tpu"
        )
    if kind == "cpu":
        jax.config.update("jax_platforms", "cpu")
        devices = jax.local_devices(backend="cpu")
    else:
        devices = _accelerators(name, kind)
    number = int(index) if index else 0
    if number >= len(devices):
        raise unsupported(
            f"device {name}: there are {len(devices)} of them; the nearest is "
            f"{kind}{f':{len(devices) - 1}' if len(devices) > 1 else ''}"
        )
    return devices[number]


def resolve_devices(cell, processes=None):
    """The cell's, in their order; arrays that nobody places lie on the first of this process."""
    if processes is not None:
        return _devices_of_all(processes)
    names = devices_of(cell)
    if len(names) > 1 and names[0] == "cpu":
        found = _cpus(len(names))
    else:
        found = [resolve_device(name) for name in names]
    jax.config.update("jax_default_device", found[0])
    return found


def _devices_of_all(processes):
    """One of each process."""
    name = processes.begin()
    if name == "cpu":
        own = _cpus(1)[0]
    else:
        own = resolve_device(name)
    jax.config.update("jax_default_device", own)
    firsts = {}
    for device in sorted(jax.devices(own.platform), key=lambda device: device.id):
        firsts.setdefault(device.process_index, device)
    if len(firsts) < processes.count:
        raise WorkerError("internal", f"JAX sees devices of {len(firsts)} of {processes.count} processes")
    return [own if rank == processes.rank else firsts[rank] for rank in range(processes.count)]


def _cpus(count):
    """Devices that share this host's CPUs; how many there are is settled when JAX's client starts."""
    if "jax_num_cpu_devices" in jax.config.values:  # since 0.4.38
        jax.config.update("jax_num_cpu_devices", count)
    else:
        flags = os.environ.get("XLA_FLAGS", "")
        os.environ["XLA_FLAGS"] = f"{flags} --xla_force_host_platform_device_count={count}"
    jax.config.update("jax_platforms", "cpu")
    return jax.local_devices(backend="cpu")[:count]


def _accelerators(name, kind):
    for backend in _KINDS[kind]:
        try:
            return jax.local_devices(backend=backend)
        except RuntimeError:
            continue
    try:
        known = {device.platform for device in jax.devices()}
    except RuntimeError:
        known = set()
    nearest = "gpu" if "gpu" in known else "tpu" if "tpu" in known else "cpu"
    raise unsupported(
        f"device {name}: JAX {jax.__version__} sees none{_hidden(kind)}; the nearest is {nearest}"
    )


def _hidden(kind):
    """That JAX was told not to look for such a device, if it was."""
    platforms = jax.config.jax_platforms or ""
    allowed = platforms.split(",")
    wanted = _KINDS[kind] if kind == "tpu" else ("gpu", *_KINDS[kind])
    if not platforms or any(one in allowed for one in wanted):
        return ""
    return (
        f": JAX_PLATFORMS={platforms} lets it look for {' and '.join(allowed)} only; unset it, or "
        f"set it to {_KINDS[kind][0]}"
    )


def _platform(device):
    """cpu, cuda, rocm, tpu."""
    if device.platform != "gpu":
        return device.platform
    return "rocm" if "rocm" in device.client.platform_version.lower() else "cuda"


class JaxEngine:
    """One cell at a time, on one device or on several, of this process or of several (processes: of jax_ranks)."""

    name = "jax"
    writes_weights = True
    version = f"jax {jax.__version__}, optax {optax.__version__}, worker {__version__}"

    def __init__(self, processes=None):
        self._processes = processes
        self._compilations = _Compilations()
        self._cell = None
        self._layout = None
        self._device = None  # the first
        self._precision = None
        self._source = None
        self._state = None
        self._steps = None
        self._tokens = None
        self._memories = []  # a device each
        self._steps_done = 0

    # --- open ------------------------------------------------------------------------------------

    def open(self, cell):
        try:
            return self._guard("opening the model", self._open, cell)
        except WorkerError:
            self._drop()
            raise

    def _open(self, cell):
        self._cell = cell
        if cell.options.compile == "max-autotune":
            raise unsupported("compile max-autotune is PyTorch's; jax always compiles")
        threads = use_threads(cell.threads, self._processes.neighbours_count if self._processes else 1)
        run_in_order(cell)
        self._layout = Layout(cell, resolve_devices(cell, self._processes), self._processes)
        self._device = self._layout.device
        self._precision = Precision(cell.precision, cell.mode, _platform(self._device))
        self._precision.apply()
        self._require_memory_before()
        model_key, step_key = jax.random.split(self._key())
        begin = time.perf_counter_ns()
        self._source = make(cell, self._layout, self._precision, model_key)
        make_ns = time.perf_counter_ns() - begin
        self._steps = make_steps(cell, self._source, self._precision, self._layout)
        positions = self._steps.require_output(cell.mode == "train")
        self._tokens = Tokens(cell, self._source.vocab_size, NumpyArrays(np))
        if positions != cell.seq_len:
            self._source.notes.append("logits of the last position only")
        self._steps.compile(step_key)
        program = self._steps.program
        counted = self._params_count()
        is_made = self._source.make is None
        held = tree_bytes((self._source.params, self._source.state)) if is_made else 0
        require_plan(cell, counted, program.plan, held, self._layout)
        self._layout.meet()
        load_ns = make_ns + self._load(model_key, step_key)
        ready = self._describe(program, threads, load_ns)
        self._source.params = self._source.state = None  # the steps have them
        gc.collect()
        gc.freeze()  # what is there now is never looked through again
        self._memories = [DeviceMemory(device, program.plan) for device in self._layout.own_devices]
        self._layout.wait_for_all()  # compiled now, and not in a block
        return ready

    def _key(self):
        """Threefry, JAX's default, is made for reproducing everywhere, and slow where many numbers
        are drawn: our own model draws from the device's generator, a user's gets the default."""
        kind = None if self._cell.model_ref else "rbg"
        low, high = self._cell.seed & 0x7FFFFFFF, (self._cell.seed >> 31) & 0x7FFFFFFF
        return jax.random.fold_in(jax.random.key(low, impl=kind), high)

    def _require_memory_before(self):
        """On a CPU too large a cell ends in a kernel kill, not in an error: arithmetic first."""
        cell = self._cell
        if self._device.platform != "cpu" or cell.model_ref:
            return
        spec = builtin_spec(cell)
        types = [type_name(self._precision.param_dtype), type_name(self._precision.compute_dtype)]
        least = bytes_least(spec.params_total(), cell, spec.vocab_size, *types)
        require_host(cell, describe_cell(cell, spec.params_total()), least)

    def _load(self, model_key, step_key):
        """Makes or reads the weights and what else a step needs; the time it took."""
        begin = time.perf_counter_ns()
        source, cell = self._source, self._cell
        if cell.weights_path:
            given = cell.weights_path, source, self._precision, self._layout
            params, notes = load_weights(*given)
            source.notes += notes
            state = () if source.make is not None else source.state
        elif source.make is not None:
            params, state = source.make()
        else:
            params, state = source.params, source.state
        self._state = state
        self._steps.begin(params, state, step_key)
        if cell.mode == "decode":
            inputs, _ = self._tokens.batches(0, 1)
            prompt = np.ascontiguousarray(inputs[0, :, :-1], np.int32)
            self._steps.fill(self._layout.put(prompt, self._layout.rows))
        jax.block_until_ready(jax.tree_util.tree_leaves(self._steps.parts()))
        return time.perf_counter_ns() - begin

    def _params_count(self):
        return sum(leaf.size for leaf in jax.tree_util.tree_leaves(self._source.params))

    def _describe(self, program, threads, load_ns):
        source = self._source
        types = {}
        for leaf in jax.tree_util.tree_leaves(source.params):
            name = type_name(leaf.dtype)
            types[name] = types.get(name, 0) + leaf.size
        provenance = program.provenance
        tf32 = provenance.tf32
        return {
            "params_total": self._params_count(),
            "params_active": source.params_active,
            "model_source": source.text,
            "dtype_param": "+".join(sorted(types, key=lambda name: -types[name])),
            "dtype_compute": self._compute_name(program),
            "dtype_accumulate": "fp32",
            "backend": ", ".join(self._backend(program)),
            "tf32": tf32,
            "threads": threads if self._device.platform == "cpu" else None,
            "load_ns": load_ns,
            "compile_ns": program.compile_ns,
            "trace_ns": program.trace_ns,
            "compiler_flops": program.flops,
            "counted_flops": self._counted_flops(program),
            "memory_predicted": self._predicted(program.plan),
            "tokens_data": self._tokens.text,
            "params_trainable": self._params_count(),
            "compiled": program.compiled_text,
            "framework_settings": source.settings.text(self._precision.matmul),
            **source.fields,
            "notes": "; ".join(self._notes(program)),
            "model_config": source.config,
            "model_chosen": source.all_chosen,
            "device_name": self._device_name(),
            "device_bus": listed([bus_id(device) for device in self._layout.own_devices]),
        }

    def _counted_flops(self, program):
        """Of a user's model, by the traced program: every turn of a loop, and of what is computed again only the
        first time. The compiler counts a loop's body once."""
        if self._source.model is not None:
            return None
        work = program.provenance.multiplications
        if self._cell.mode == "train":
            work = min(work, 3 * self._steps.forward_multiplications)
        return 2.0 * work or None

    def _device_name(self):
        """"NVIDIA H200, cuda 13000"; None on the CPU."""
        device = self._device
        if device.platform == "cpu":
            return None
        version = str(device.client.platform_version).strip().splitlines()
        return f"{device.device_kind}, {version[-1]}" if version else device.device_kind

    def _compute_name(self, program):
        """As traced; and where XLA has made other matmuls of it, as those."""
        traced = program.provenance.compute_name()
        made = program.executable.types
        if traced in ("bf16", "fp16") and made and traced not in made:
            return f"{traced}, run as {program.executable.text()}"
        return traced

    def _backend(self, program):
        words = [f"xla {_platform(self._device)}"]
        made = program.executable.text()
        if made:
            words.append(f"{made} matmuls")
        model = self._source.model
        if program.executable.has_cudnn_attention:
            words.append("attention cudnn")
        if model is not None and model.spec.ffn == "moe_swiglu":
            way = model.experts_way
            spread = ", spread" if model.spread.has("ep") else ""
            words.append("every expert" if way == "published" else f"experts {way}{spread}")
        return words

    def _notes(self, program):
        cell, source = self._cell, self._source
        notes = list(source.notes)
        notes.append(f"trace {program.trace_ns / 1e9:.3g} s")
        notes.append(f"compile {program.compile_ns / 1e9:.3g} s")
        if jax.config.jax_compilation_cache_dir:
            notes.append("JAX's compilation cache is on")
        if program.flops:
            notes.append(f"XLA counts {program.flops:.4g} FLOPs a step, a loop's body once")
        matmul = jax.config.jax_default_matmul_precision
        notes.append(f"matmul precision {matmul or 'default'}")
        if self._steps.result_text:
            notes.append(self._steps.result_text)
        if source.vocab_size != cell.model.vocab_size:
            notes.append(f"vocabulary {source.vocab_size} from the model")
        model = source.model
        if cell.mode == "decode" and not model.spec.is_causal:
            notes.append("decode attends to the past only; the model has no causal mask")
        has_dropout = model is not None and cell.mode == "train" and model.spec.dropout > 0
        if has_dropout and model.remakes_attention(cell.batch_size, cell.seq_len):
            notes.append("attention computed again in the backward pass")
        return notes

    def _predicted(self, plan):
        if not plan.is_known:
            return None
        parts = {"other_bytes": plan.arguments_bytes, "activations_bytes": plan.step_bytes}
        return {**parts, "total_bytes": sum(parts.values())}

    # --- run -------------------------------------------------------------------------------------

    def run_block(self, steps_count, sync):
        return self._guard("a step", self._run_block, steps_count, sync)

    def _run_block(self, steps_count, sync):
        weights = None
        if self._device.platform != "cpu":
            weights = tree_bytes(self._steps.parts()["weights"])
        block = Block(sync, self._cell.mode == "train", self._wait)
        recompiles = 0
        gc.collect()
        gc.disable()
        try:
            while block.steps_done < steps_count:
                part = min(
                    steps_count - block.steps_done, part_steps(self._cell, weights, _TOKEN_BYTES)
                )
                batches = block.prepare(self._device_batches, self._steps_done, part)
                self._layout.wait_for_all()
                before = self._compilations.count
                block.run(self._steps.step, *batches)
                recompiles += self._compilations.count - before
                self._steps_done += part
        finally:
            gc.enable()
        return {**block.observe(self._look), **block.fields(), "recompiles": recompiles}

    def _wait(self, result):
        self._steps.wait(result)

    def _device_batches(self, first_step, steps_count):
        """Lists of a step's inputs and targets on the device; for decode the last token of each."""
        both = self._tokens.batches(first_step, steps_count)
        columns = slice(-1, None) if self._cell.mode == "decode" else slice(None)
        made = tuple(
            [
                self._layout.put(np.ascontiguousarray(step[:, columns], np.int32), self._layout.rows)
                for step in part
            ]
            for part in both
        )
        jax.block_until_ready(made)
        return made

    def _look(self, block):
        """What can be seen of the block's steps, after them."""
        if self._cell.mode == "train":
            losses = np.array([np.asarray(loss) for loss, _ in block.results], np.float64)
            norm = float(block.results[-1][1])
            nonfinite = int((~np.isfinite(losses)).sum())
            if self._precision.has_scaler:
                norm = None  # steps whose gradients overflow are skipped: no defect
            elif not np.isfinite(norm):
                nonfinite += 1
            return {"loss": float(losses[-1]), "grad_norm": norm, "nonfinite": nonfinite}
        last = block.results[-1]
        require_logits(
            last, is_array, is_floating, block.last_tokens.shape, self._source.vocab_size, True
        )
        seen = {"nonfinite": 0 if bool(jnp.isfinite(last).all()) else 1, **logits_seen(last, self._layout)}
        if self._cell.mode == "decode":
            seen["cache_tokens"] = self._steps.cache_tokens()
        return seen

    # --- the rest --------------------------------------------------------------------------------

    def memory(self):
        parts = {f"{name}_bytes": tree_bytes(tree) for name, tree in self._steps.parts().items()}
        return report_of_all([memory.report(parts) for memory in self._memories])

    def check(self, inputs_path, output_path, train_steps, with_weights=False):
        state = self._steps.state["model"] if self._cell.mode == "train" else self._state
        check = Check(self._cell, self._source, self._steps, state, self._layout)
        return self._guard("check", check.run, inputs_path, output_path, train_steps, with_weights)

    def verify(self, step):
        verification = Verification(self._cell, self._source, self._steps, self._state, self._layout)
        return self._guard("verify", verification.expected, step)

    def profile(self, steps_count, trace_path):
        return self._guard("profile", self._profile, steps_count, trace_path)

    def _profile(self, steps_count, trace_path):
        tokens, targets = self._device_batches(self._steps_done, steps_count + 1)
        self._steps.program.show_instructions()
        self._wait(self._steps.step(tokens[0], targets[0]))  # the first of a program takes longer
        own_path = trace_path if self._layout.rank == 0 else None
        self._layout.wait_for_all()
        seen = profile_steps(self._steps, (tokens[1:], targets[1:]), self._wait, self._device, own_path)
        self._steps_done += steps_count + 1
        return seen

    def close(self):
        self._drop()
        if self._processes is not None:
            self._processes.leave()

    def _drop(self):
        self._source = self._steps = self._tokens = self._state = None
        gc.collect()

    def _guard(self, what, function, *args):
        def said_of(error):
            return oom_error(error, self._device) or self._said_of(what, error)

        with own_rules():
            return guarded(said_of, function, *args)

    def _said_of(self, what, error):
        """A user's model may be at fault for anything; ours never is."""
        text = f"{what}: {describe_error(error)}"
        if self._cell is not None and self._cell.model_ref:
            return model_error(text)
        return WorkerError("internal", text)
