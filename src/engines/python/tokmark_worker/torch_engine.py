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

from . import __version__
from .blocks import Block, part_steps
from .cell_memory import bytes_least, describe_cell, require_host
from .errors import WorkerError, describe_error, model_error, unsupported
from .model_config import builtin_spec
from .tokens import Tokens, TorchArrays
from .torch_check import Check
from .torch_decode import DecodeSteps
from .torch_memory import DeviceMemory, oom_error
from .torch_precision import NAMES, Observer, Precision
from .torch_sources import choose, make
from .torch_steps import Caller, InferSteps, TrainSteps
from .torch_weights import load_weights
from .user_code import guarded

_COMPILE_CALLS = {"default": 2, "max-autotune": 3}  # CUDA graphs are recorded after a warm-up call


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


def recompiles():
    """How often TorchDynamo has compiled a frame in this process."""
    from torch._dynamo.utils import counters

    return counters["frames"]["total"]


class TorchEngine:
    """One cell at a time."""

    name = "pytorch"
    version = f"torch {torch.__version__}, worker {__version__}"
    writes_weights = True

    def __init__(self):
        self._cell = None
        self._device = None
        self._precision = None
        self._source = None
        self._caller = None
        self._steps = None
        self._tokens = None
        self._memory = None
        self._steps_done = 0
        self._is_compiled = False

    # --- open ------------------------------------------------------------------------------------

    def open(self, cell):
        try:
            return self._guard("opening the model", self._open, cell)
        except WorkerError:
            self._drop()
            raise

    def _open(self, cell):
        self._cell = cell
        self._device = resolve_device(cell.device)
        self._precision = Precision(cell.precision, cell.mode, self._device)
        self._precision.apply()
        if cell.threads > 0:
            torch.set_num_threads(cell.threads)
        self._require_memory_before()
        begin = time.perf_counter_ns()
        self._source = make(cell, self._device, self._precision)
        if cell.weights_path:
            self._source.notes += load_weights(cell.weights_path, self._source.model)
        self._synchronize()
        load_ns = time.perf_counter_ns() - begin
        model = self._source.model
        model.train(cell.mode == "train")
        self._require_memory_after()
        self._tokens = Tokens(cell, self._source.vocab_size, TorchArrays(torch))
        self._caller = Caller(model, self._source.vocab_size)
        observer = self._observe_forward()
        self._make_steps()
        compile_ns = self._compile()
        ready = self._describe(observer, load_ns, compile_ns)
        gc.collect()
        gc.freeze()  # what is there now is never looked through again
        self._memory = DeviceMemory(self._device)
        self._memory.begin()
        return ready

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
            self._require_memory(spec.params_total(), spec.vocab_size, 0)

    def _require_memory_after(self):
        """The same with what the model turned out to have, all but its weights still to come."""
        if self._device.type == "cpu":
            params = list(self._source.model.parameters())
            held = sum(param.numel() * param.element_size() for param in params)
            count = sum(param.numel() for param in params)
            self._require_memory(count, self._source.vocab_size, held)

    def _require_memory(self, params_count, vocab_size, held_bytes):
        types = [NAMES[self._precision.param_dtype], NAMES[self._precision.compute_dtype]]
        least = bytes_least(params_count, self._cell, vocab_size, *types)
        require_host(describe_cell(self._cell, params_count), max(0, least - held_bytes))

    def _observe_forward(self):
        """One forward over one row, watched: which types products run in, which attention kernel,
        and whether the output is what it must be. It also takes what libraries do once out of the
        first step."""
        cell = self._cell
        inputs, targets = self._tokens.batches(0, 1)
        rows = [part[0, :1].contiguous().to(self._device) for part in (inputs, targets)]
        is_train = cell.mode == "train"
        observer = Observer()
        # not inference_mode: below it products are not taken apart into what can be watched
        with torch.set_grad_enabled(is_train), self._precision.autocast(), observer:
            if is_train:
                logits = self._caller.full_logits(*rows)
            else:
                logits = self._caller.logits(rows[0])
        self._caller.require_shape(logits, rows[0], may_be_last=not is_train)
        if logits.shape[1] != cell.seq_len:
            self._source.notes.append("logits of the last position only")
        return observer

    def _make_steps(self):
        cell = self._cell
        if cell.mode == "train":
            self._steps = TrainSteps(self._caller, self._precision, self._device)
        elif cell.mode == "infer":
            self._steps = InferSteps(self._caller, self._precision)
        else:
            inputs, _ = self._tokens.batches(0, 1)
            prompt = inputs[0, :, :-1].contiguous().to(self._device)
            self._steps = DecodeSteps(
                self._caller, self._precision, self._source, cell, prompt
            )

    def _compile(self):
        """Time of the first compiled calls at the cell's shape; None without a compiler."""
        how = self._cell.options.compile
        if how == "off":
            return None
        self._is_compiled = True
        mode = None if how == "default" else how
        self._caller.model = torch.compile(self._source.model, mode=mode, dynamic=False)
        inputs, targets = self._device_batches(0, 1)
        self._synchronize()
        begin = time.perf_counter_ns()
        for _ in range(_COMPILE_CALLS[how]):
            self._steps.warm_compile(inputs[0], targets[0])
        self._synchronize()
        return time.perf_counter_ns() - begin

    def _describe(self, observer, load_ns, compile_ns):
        source, precision = self._source, self._precision
        params = list(source.model.parameters())
        dtypes = {param.dtype: 0 for param in params}
        for param in params:
            dtypes[param.dtype] += param.numel()
        backend = [observer.attention_name()]
        if source.is_builtin and source.model.experts_way():
            backend.append(source.model.experts_way())
        if self._is_compiled:
            backend.append("compiled")
        notes = list(source.notes)
        if self._cell.options.compile != "off":
            notes.append(f"torch.compile {self._cell.options.compile}")
        if self._cell.mode == "train":
            notes.append(self._steps.optimizer_name)
        if source.vocab_size != self._cell.model.vocab_size:
            notes.append(f"vocabulary {source.vocab_size} from the model")
        if self._cell.mode == "decode" and source.is_builtin and not source.model.spec.is_causal:
            notes.append("decode attends to the past only; the model has no causal mask")
        names = sorted(dtypes, key=lambda dtype: -dtypes[dtype])
        return {
            "params_total": sum(param.numel() for param in params),
            "params_active": source.params_active,
            "model_source": source.text,
            "dtype_param": "+".join(NAMES.get(dtype, str(dtype)) for dtype in names),
            "dtype_compute": observer.compute_name(precision.tf32),
            "dtype_accumulate": precision.accumulate_name(),
            "backend": ", ".join(backend),
            "tf32": precision.tf32,
            "threads": torch.get_num_threads(),
            "load_ns": load_ns,
            "compile_ns": compile_ns,
            "tokens_data": self._tokens.text,
            "notes": "; ".join(notes),
            "model_config": source.config,
            "model_chosen": source.chosen,
        }

    # --- run -------------------------------------------------------------------------------------

    def run_block(self, steps_count, sync):
        return self._guard("a step", self._run_block, steps_count, sync)

    def _run_block(self, steps_count, sync):
        compiled_before = recompiles() if self._is_compiled else 0
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
                block.run(self._steps.step, *batches)
                self._steps_done += part
        finally:
            gc.enable()
        self._memory.end_of_steps()
        fields = block.observe(self._look)
        fields.update(block.fields())
        if self._is_compiled:
            fields["recompiles"] = recompiles() - compiled_before
        return fields

    def _weights_bytes(self):
        return sum(
            param.numel() * param.element_size() for param in self._source.model.parameters()
        )

    def _device_batches(self, first_step, steps_count):
        """Lists of a step's inputs and targets, contiguous, on the device."""
        inputs, targets = self._tokens.batches(first_step, steps_count)
        return tuple(
            list(part.contiguous().to(self._device).unbind(0)) for part in (inputs, targets)
        )

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
        return {"nonfinite": 0 if is_finite else 1}

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
        check = Check(self._cell, self._source, self._caller, self._precision, self._device)
        return self._guard("check", check.run, inputs_path, output_path, train_steps, with_weights)

    def close(self):
        self._drop()

    def _drop(self):
        self._source = self._caller = self._steps = self._tokens = None
        gc.collect()
        if self._device is not None and self._device.type == "cuda":
            with contextlib.suppress(RuntimeError):  # a context that an assertion has broken
                torch.cuda.empty_cache()

    def _guard(self, what, function, *args):
        def said_of(error):
            return oom_error(error, self._device) or model_error(f"{what}: {describe_error(error)}")

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
