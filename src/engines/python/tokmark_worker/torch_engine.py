"""The `pytorch` engine: opens a cell, runs blocks of steps, says what it saw.

Timing. A block's batches are on the device before the first stamp, as a loader that runs ahead
would have them. Losses stay on the device in a list; they, the gradient norm and everything else
are looked at after the last stamp. Python's garbage collector is off inside a block: a collection
in a step is the harness's, not the model's. CUDA events stand beside the host's clock.
"""
import contextlib
import gc
import time

import torch

from . import __version__, nvml
from .blocks import Block, part_steps
from .cell_memory import bytes_least, bytes_to_come, describe_cell, require_host
from .devices import require_rows
from .errors import HINTED_BYTES_MAX, WorkerError, describe_error, is_memory_error, model_error, unsupported
from .model_config import builtin_spec
from .safetensors import listed
from .tokens import Tokens, TorchArrays
from .torch_call import Caller
from .torch_check import Check
from .torch_decode import DecodeSteps
from .torch_layout import Layout
from .torch_made import has_lazy, kept_text, place, switch_mode, types_text
from .torch_memory import DeviceMemory, bus_id, oom_error
from .torch_moe import leave_uncompiled
from .torch_observe import Observer, frames_compiled, frames_of_pytorch, is_scripted
from .torch_precision import NAMES, Precision
from .torch_profile import profile_steps
from .torch_recompute import recompute_blocks
from .torch_hints import why_not_called
from .torch_rows import require_all_tokens, require_no_time_first, require_rows_first, require_same_work
from .torch_settings import allow_attention, attention_refusal, require_attention, settings_text
from .torch_sources import choose, make, seed_random
from .torch_steps import InferSteps, TrainSteps, parts_of, same_random_numbers
from .torch_unused import may_leave_out, unused_refusal
from .torch_verify import Verification, logits_seen
from .torch_weights import load_weights
from .user_code import guarded

# CUDA graphs are recorded after a warm-up call.
_FIRST_CALLS = {"off": 2, "default": 2, "max-autotune": 3}
_FIRST_CALLS_MAX = 5  # for a model that goes on compiling


def resolve_device(name):
    """cpu, cuda or cuda:N; unsupported names the nearest."""
    if name == "cpu":
        return torch.device("cpu")
    kind, _, index = name.partition(":")
    if kind != "cuda" or (index and not index.isdigit()):
        raise unsupported(f"pytorch has no device '{name}' here; devices are cpu, cuda, cuda:N")
    if not torch.cuda.is_available():
        raise unsupported(
            f"device {name}: PyTorch {torch.__version__} sees no CUDA device; the nearest is cpu"
        )
    count = torch.cuda.device_count()
    number = int(index) if index else 0
    if number >= count:
        raise unsupported(
            f"device {name}: there are {count} CUDA devices; the nearest is cuda:{count - 1}"
        )
    device = torch.device("cuda", number)
    torch.cuda.set_device(device)
    return device


class TorchEngine:
    """One cell at a time, on one device: the cell's, or that of a rank (torch_ranks.py)."""

    name = "pytorch"
    version = f"torch {torch.__version__}, worker {__version__}"
    writes_weights = True
    has_training_options = True

    def __init__(self, layout=None):
        self._layout = layout or Layout()
        self._cell = None
        self._device = None
        self._precision = None
        self._source = None
        self._caller = None
        self._steps = None
        self._tokens = None
        self._memory = None
        self._steps_done = 0
        self._observer = None
        self._backward = None  # what saw the backward pass, where some parameters are frozen
        self._is_compiled_by_model = False

    # --- open ------------------------------------------------------------------------------------

    def open(self, cell):
        try:
            return self._guard("opening the model", self._open, cell)
        except WorkerError:
            self._drop()
            raise

    def _open(self, cell):
        self._cell = cell
        require_rows(cell, self._layout.row_shares)
        self._device = resolve_device(self._layout.device(cell.device))
        self._layout.begin(self._device)
        self._precision = Precision(cell.precision, cell.mode, self._device, "fsdp" in self._layout.factors)
        self._precision.apply()
        allow_attention(cell.options.attention)
        if cell.threads > 0:
            torch.set_num_threads(cell.threads)
        self._require_memory_before()
        frames_before = frames_compiled()
        begin = time.perf_counter_ns()
        self._source = make(cell, self._device, self._precision, self._layout)
        model = self._source.model
        self._switch_mode(model, cell.mode)
        self._tokens = Tokens(cell, self._source.vocab_size, TorchArrays(torch))
        self._caller = Caller(model, self._source.vocab_size, cell.mode)
        self._shape_lazy_ones()
        if cell.weights_path:
            self._source.notes += load_weights(cell.weights_path, model)
        if cell.options.recompute != "off":
            self._source.notes.append(recompute_blocks(self._source))
        self._caller.wrap(self._layout.wrap(model, self._device, self._finds_unused()))
        if self._layout.row_rank > 0:
            seed_random(cell, self._layout.row_rank)
        self._synchronize()
        load_ns = time.perf_counter_ns() - begin
        self._require_memory_after()
        first_calls_ns = self._open_steps(frames_before)
        ready = self._describe(load_ns, first_calls_ns)
        gc.collect()
        gc.freeze()  # what is there now is never looked through again
        self._memory = DeviceMemory(self._device)
        self._memory.begin()
        return ready

    def _switch_mode(self, model, mode):
        """What torch.export gives has one mode for good."""
        try:
            switch_mode(model, mode == "train")
        except NotImplementedError:
            is_training = "training" if model.training else "evaluation"
            self._source.notes.append(f"cannot be switched: stays in {is_training} mode")

    def _require_memory_before(self):
        """On a CPU too large a cell ends in a kernel kill, not in an error: arithmetic first."""
        source = choose(self._cell)[0]
        is_known = source == "builtin" or (
            source == "package" and self._cell.options.figures == "preset"
        )
        if self._device.type == "cpu" and is_known:
            spec = self._cell.model
            if source == "builtin":
                spec = builtin_spec(self._cell)
            count = spec.params_total()
            self._require_memory(count, bytes_least(count, *self._memory_sizes(spec.vocab_size)))

    def _require_memory_after(self):
        """The same with what the model turned out to have. Its weights are made: their pages are
        taken by now, or never will be."""
        if self._device.type == "cpu":
            params = list(self._source.model.parameters())
            trained = sum(param.numel() for param in params if param.requires_grad)
            sizes = self._memory_sizes(self._source.vocab_size)
            count = sum(param.numel() for param in params)
            self._require_memory(count, bytes_to_come(trained, *sizes))

    def _memory_sizes(self, vocab_size):
        types = [NAMES[self._precision.param_dtype], NAMES[self._precision.compute_dtype]]
        return [self._cell, vocab_size, *types]

    def _require_memory(self, params_count, needed_bytes):
        require_host(self._cell, describe_cell(self._cell, params_count), needed_bytes)

    def _shape_lazy_ones(self):
        """Lazy modules get their shapes from a first call, before anything is counted."""
        model = self._source.model
        if not has_lazy(model):
            return
        inputs, targets = self._device_batches(0, 1)
        default = torch.get_default_dtype()
        with torch.no_grad():
            self._caller.full_logits(inputs[0], targets[0])
        place(model, self._device, self._precision.param_dtype, default)

    def _open_steps(self, frames_before):
        """The steps, called for the first time. Parameters that a model makes in its first call are there
        from then on."""
        self._require_rows_first()
        self._make_steps()
        with self._placing_made() as made:
            first_calls_ns = self._call_first(frames_before)
            self._layout.give_back(self._source.model)
        if made:
            self._make_steps()
            first_calls_ns += self._call_first(frames_before)
        return first_calls_ns

    @contextlib.contextmanager
    def _placing_made(self):
        """Parameters that the model makes in the calls within are those of the cell from then on; their names."""
        model, made = self._source.model, []
        default, known = torch.get_default_dtype(), dict(model.named_parameters())
        yield made
        made += [name for name, param in model.named_parameters() if known.get(name) is not param]
        if made:
            self._layout.require_known_parameters(made)
            with contextlib.nullcontext() if self._cell.mode == "train" else self._precision.without_gradients():
                place(model, self._device, self._precision.param_dtype, default)
            self._source.notes.append(f"parameters made by the first call: {listed(made)}")

    def _require_rows_first(self):
        if self._source.is_builtin or self._cell.mode == "decode":
            return
        inputs, targets = self._device_batches(0, 1)

        def call(tokens):
            with self._without_trace():
                self._caller.full_logits(tokens, targets[0][: tokens.shape[0]])

        require_rows_first(self._source.model, call, inputs[0])

    def _require_all_tokens(self, tokens, targets):
        """Where operators were seen one by one, and the model is not ours."""
        if self._source.is_builtin or self._cell.mode == "decode":
            return
        parts = self._cell.options.accumulate
        tokens, targets = parts_of(tokens, targets, parts)[0]

        def call(tokens):
            with self._without_trace():
                if self._cell.mode == "train":
                    return self._caller.loss(tokens, targets)[0]
                return self._caller.logits(tokens)

        def logits_of(tokens):
            try:
                with self._without_trace():
                    return self._caller.full_logits(tokens, targets)
            except Exception:
                return None  # a look only: a step has no need of what cannot be had

        require_all_tokens(self._observer.looked_up, call, tokens, self._source.vocab_size)
        require_same_work(Observer, call, tokens, self._observer.flops())
        require_no_time_first(self._source.model, logits_of, tokens, self._source.vocab_size)

    @contextlib.contextmanager
    def _without_trace(self):
        """For calls that only look: no gradients, the random numbers stay as they are, and each rank has its own
        part of the parameters alone, as before."""
        try:
            with same_random_numbers(self._device), torch.no_grad(), self._precision.autocast():
                yield
        finally:
            self._layout.give_back(self._source.model)

    def _make_steps(self):
        cell = self._cell
        if cell.mode == "train":
            self._steps = TrainSteps(self._caller, self._precision, cell, self._device, self._layout)
        elif cell.mode == "infer":
            self._steps = InferSteps(self._caller, self._precision)
        else:
            inputs, _ = self._tokens.batches(0, 1)
            prompt = self._layout.own_rows(inputs)[0, :, :-1].contiguous().to(self._device)
            self._steps = DecodeSteps(
                self._caller, self._precision, self._source, self._layout.own_cell(cell), prompt
            )
            self._layout.give_back(self._source.model)  # what the prompt has gathered

    def _finds_unused(self):
        """Must DistributedDataParallel find out in every step which parameters have a part in it? Of a user's model
        one step is tried; every rank must know the same."""
        if self._source.is_builtin:
            return self._source.model.experts_way() == "experts split"
        if not self._layout.waits_for_each_gradient:
            return False
        tokens, targets = (given[0] for given in self._device_batches(0, 1))
        tokens, targets = parts_of(tokens, targets, self._cell.options.accumulate)[0]
        with self._placing_made(), same_random_numbers(self._device):
            found = may_leave_out(self._source.model, self._caller, tokens, targets, self._precision)
        return self._layout.is_any(found, self._device)

    def _call_first(self, frames_before):
        """The first calls, at the cell's own shape, as a plain loop makes them: what libraries do
        once, and compilation, is not in the first step. A call after the first is looked at: which
        types matmuls run in, which attention kernel, whether the output is what it must be; a
        model's own compiler must not meet an observer on its way, nor see another shape or another
        number of rows than the steps have. Returns the time they took."""
        how = self._cell.options.compile
        if how != "off":
            mode = None if how == "default" else how
            leave_uncompiled()
            self._caller.model = torch.compile(self._caller.plain, mode=mode, dynamic=False)
        inputs, targets = self._device_batches(0, 1)
        what = f"{self._forward_text()} of token ids {tuple(inputs[0].shape)}"
        self._synchronize()
        begin = time.perf_counter_ns()
        with same_random_numbers(self._device):
            for call in range(_FIRST_CALLS_MAX):
                before = frames_compiled()
                observer = Observer()
                watch = observer if call > 0 else contextlib.nullcontext()
                backward = Observer() if call > 0 and self._has_frozen() else None
                logits = self._guard(what, self._first_call, inputs[0], targets[0], watch, backward or contextlib.nullcontext())
                self._require_output(logits, inputs[0])
                if call > 0 and self._observer is None and frames_compiled() == before:
                    self._observer, self._backward = observer, backward
                if call + 1 >= _FIRST_CALLS[how] and self._observer is not None:
                    break
        self._observer = self._observer or observer
        self._synchronize()
        if how == "off":
            frames = frames_compiled() - frames_before - frames_of_pytorch()
            self._is_compiled_by_model = frames > 0 or self._is_scripted()
        is_compiled = how != "off" or self._is_compiled_by_model
        require_attention(self._cell.options.attention, self._observer.attention_name(), is_compiled)
        if not is_compiled:
            self._guard(what, self._require_all_tokens, inputs[0], targets[0])
        if self._cell.mode == "train":
            self._steps.copies_loss = is_compiled and self._device.type == "cuda"
        return time.perf_counter_ns() - begin

    def _first_call(self, tokens, *more):
        """Of the steps; an error says what of it the cell may be to blame for."""
        try:
            return self._steps.first_call(tokens, *more)
        except WorkerError:
            raise
        except Exception as error:
            hint = None if is_memory_error(error) else why_not_called(error, self._source, self._caller, tokens)
            if hint is None:
                raise
            raise model_error(f"{self._forward_text()}: {describe_error(error, HINTED_BYTES_MAX)}; {hint}") from error

    def _has_frozen(self):
        """In training; or parameters that the first step did not reach."""
        if self._cell.mode != "train":
            return False
        return bool(self._steps.without_gradient) or not all(param.requires_grad for param in self._source.model.parameters())

    def _require_output(self, logits, tokens):
        """Of infer and decode; a training step has looked at its own."""
        if self._cell.mode == "train":
            return
        wanted = tokens if self._cell.mode == "infer" else tokens[:, -1:]
        self._caller.require_shape(logits, wanted, may_be_last=True)
        note = "logits of the last position only"
        if logits.shape[1] != wanted.shape[1] and note not in self._source.notes:
            self._source.notes.append(note)

    def _is_scripted(self):
        return is_scripted(self._source.model) or self._observer.has_scripted

    def _compiled_text(self):
        how = self._cell.options.compile
        if how != "off":
            return f"by tokmark ({how})"
        return "by the model" if self._is_compiled_by_model else "no"

    def _describe(self, load_ns, first_calls_ns):
        source, precision, observer = self._source, self._precision, self._observer
        model = source.model
        params = list(model.parameters())
        buffers = [t for t in model.buffers() if t.is_floating_point() or t.is_complex()]
        compiled = self._compiled_text()
        return {
            "params_total": sum(param.numel() for param in params),
            "params_active": source.params_active,
            "params_trainable": sum(param.numel() for param in params if param.requires_grad),
            "model_source": source.text,
            "dtype_param": types_text(params, first=precision.param_dtype),
            "dtype_buffers": types_text(buffers),
            "dtype_kept": kept_text(model, precision.param_dtype),
            "dtype_compute": observer.compute_name(precision.tf32),
            "dtype_accumulate": precision.accumulate_name(),
            "backend": self._backend_text(compiled),
            "compiled": compiled,
            "loss_source": self._caller.loss_source,
            "forward_call": self._forward_text(),
            "framework_settings": settings_text(precision.matmul, self._cell.options.attention, self._cell.threads),
            "tf32": precision.tf32,
            "threads": torch.get_num_threads(),
            "load_ns": load_ns,
            "compile_ns": None if compiled == "no" else first_calls_ns,
            "tokens_data": self._tokens.text,
            "notes": self._notes_text(),
            "model_config": source.config,
            "model_chosen": source.chosen,
            "device_name": self._device_name(),
            "device_bus": bus_id(self._device),
            "counted_flops": self._counted_flops(),
        }

    def _counted_flops(self):
        """Of one step, by the forward pass that was looked at: backward is twice that, or what it was seen to be where
        some parameters are frozen (what is computed again never counts). None where nothing was seen, and where
        ranks do some of the work all alike."""
        is_divided = self._layout.row_shares == self._layout.count
        forward = float(self._observer.flops())
        if self._cell.mode == "train":
            backward = 2 * forward
            if self._backward is not None and self._backward.flops():
                backward = min(backward, float(self._backward.flops()))
            forward += backward
        return forward * self._layout.count * self._cell.options.accumulate * is_divided or None

    def _device_name(self):
        """"NVIDIA H100 80GB HBM3, driver for CUDA 12.8"; None on the CPU."""
        if self._device.type != "cuda":
            return None
        version = nvml.cuda_driver_version()
        driver = f", driver for CUDA {version}" if version else ""
        return torch.cuda.get_device_name(self._device) + driver

    def _forward_text(self):
        return self._steps.call_text() if self._cell.mode == "decode" else self._caller.text()

    def _backend_text(self, compiled):
        source = self._source
        backend = [self._observer.attention_name()]
        if source.is_builtin and source.model.experts_way():
            backend.append(source.model.experts_way())
        if compiled != "no":
            backend.append("compiled")
        return ", ".join(backend)

    def _notes_text(self):
        cell, source = self._cell, self._source
        notes = list(source.notes)
        if cell.options.compile != "off":
            notes.append(f"torch.compile {cell.options.compile}")
        if self._is_scripted():
            notes.append("TorchScript")
        if cell.mode == "train":
            notes.append(self._steps.optimizer_name)
            notes += self._not_trained()
        if source.vocab_size != cell.model.vocab_size:
            notes.append(f"vocabulary {source.vocab_size} from the model")
        if cell.mode == "decode" and source.is_builtin and not source.model.spec.is_causal:
            notes.append("decode attends to the past only; the model has no causal mask")
        return "; ".join(notes)

    def _not_trained(self):
        """What an author may take for trained, and a step leaves out."""
        if self._source.is_builtin:
            return []
        said = []
        if self._caller.loss_source == "tokmark" and callable(getattr(self._source.model, "training_step", None)):
            said.append("training_step is not called: the loss is tokmark's")
        if self._caller.left_out:
            said.append(f"not in the loss, beside the logits: {listed(self._caller.left_out)}")
        if self._steps.without_gradient:
            said.append(f"no gradient in the first step: {listed(self._steps.without_gradient)}")
        return said

    # --- run -------------------------------------------------------------------------------------

    def run_block(self, steps_count, sync):
        return self._guard("a step", self._run_block, steps_count, sync)

    def _run_block(self, steps_count, sync):
        compiled_before = frames_compiled()
        timer = _EventTimer() if self._device.type == "cuda" else None
        block = Block(sync, self._cell.mode == "train", self._wait, timer)
        held = None if self._device.type == "cpu" else self._weights_bytes()
        self._memory.begin_steps()
        gc.collect()
        gc.disable()
        try:
            while block.steps_done < steps_count:
                part = min(steps_count - block.steps_done, part_steps(self._cell, held))
                batches = block.prepare(self._device_batches, self._steps_done, part)
                self._layout.wait_for_all()
                block.run(self._steps.step, *batches)
                self._steps_done += part
        finally:
            gc.enable()
        self._memory.end_of_steps()
        fields = block.observe(self._look)
        fields.update(block.fields())
        fields["recompiles"] = frames_compiled() - compiled_before
        return fields

    def _weights_bytes(self):
        return sum(
            param.numel() * param.element_size() for param in self._source.model.parameters()
        )

    def _device_batches(self, first_step, steps_count):
        """Lists of a step's inputs and targets, contiguous, on the device."""
        both = map(self._layout.own_rows, self._tokens.batches(first_step, steps_count))
        return tuple(list(part.contiguous().to(self._device).unbind(0)) for part in both)

    def _look(self, block):
        """What can be seen of the block's steps, after them."""
        last = block.results[-1]
        if self._cell.mode == "train":
            if last.dim() != 0 and last.numel() != 1:
                raise model_error(f"the loss has shape {tuple(last.shape)}")
            losses = torch.stack([loss.reshape(()).float() for loss in block.results])
            grad_norm = self._steps.grad_norm()
            nonfinite = int((~torch.isfinite(losses)).sum())
            if grad_norm is not None:
                nonfinite += 0 if abs(grad_norm) < float("inf") else 1
            return {
                "loss": float(losses[-1]),
                "grad_norm": grad_norm,
                "nonfinite": nonfinite,
            }
        tokens = block.last_tokens if self._cell.mode == "infer" else block.last_tokens[:, -1:]
        self._caller.require_shape(last, tokens, may_be_last=True)
        least, most = torch.aminmax(last)
        is_finite = bool(torch.isfinite(least) & torch.isfinite(most))
        seen = {"nonfinite": 0 if is_finite else 1, **logits_seen(last, self._layout)}
        if self._cell.mode == "decode":
            seen["cache_tokens"] = self._steps.cache_tokens
        return seen

    def _wait(self, _result):
        self._synchronize()

    def _synchronize(self):
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)

    # --- the rest --------------------------------------------------------------------------------

    def memory(self):
        optimizer = getattr(self._steps, "optimizer", None)
        cache = self._steps.cache_tensors() if self._cell.mode == "decode" else []
        return self._memory.report(list(self._source.model.parameters()), optimizer, cache)

    def check(self, inputs_path, output_path, train_steps, with_weights=False):
        check = Check(
            self._cell, self._source, self._caller, self._steps, self._precision, self._device, self._layout
        )
        return self._guard("check", check.run, inputs_path, output_path, train_steps, with_weights)

    def verify(self, step):
        given = (
            self._cell, self._source, self._caller, self._steps, self._precision, self._device, self._layout
        )
        return self._guard("verify", Verification(*given).expected, step)

    def profile(self, steps_count, trace_path):
        return self._guard("profile", self._profile, steps_count, trace_path)

    def _profile(self, steps_count, trace_path):
        batches = self._device_batches(self._steps_done, steps_count)
        own_path = trace_path if self._layout.rank == 0 else None
        self._layout.wait_for_all()
        seen = profile_steps(
            self._steps.step, batches, self._synchronize, self._device, own_path, self._layout.count > 1
        )
        self._steps_done += steps_count
        return seen

    def close(self):
        self._drop()
        self._layout.end()

    def _drop(self):
        self._source = self._caller = self._steps = self._tokens = None
        gc.collect()
        if self._device is not None and self._device.type == "cuda":
            with contextlib.suppress(RuntimeError):  # a context that an assertion has broken
                torch.cuda.empty_cache()

    def _guard(self, what, function, *args):
        def said_of(error):
            return (
                oom_error(error, self._device)
                or attention_refusal(error, self._cell.options.attention)
                or unused_refusal(error)
                or model_error(f"{what}: {describe_error(error)}")
            )

        return guarded(said_of, function, *args)


class _EventTimer:
    """CUDA events beside the host's clock."""

    def __init__(self):
        self._events = [torch.cuda.Event(enable_timing=True) for _ in range(2)]

    def start(self):
        self._events[0].record()

    def stop(self):
        self._events[1].record()

    def elapsed_ns(self):
        """Between the two; the second has been waited for."""
        return int(self._events[0].elapsed_time(self._events[1]) * 1e6)
