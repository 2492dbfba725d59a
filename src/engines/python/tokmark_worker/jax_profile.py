"""Steps under jax.profiler, for `tokmark profile`.

XLA names what ran by instructions of the compiled program. Those of one operation of JAX's are one operator
here, named after it, and so are the fusions that end in it. Where instructions run at the same time, on several
threads or streams, each instant is shared by them, so that operators never take more than the steps did.
"""
import glob
import gzip
import json
import re
import tempfile
import time

import jax

from .errors import unsupported
from .operators import Operators

_INSTRUCTION = re.compile(r"^\s*(?:ROOT )?%?([\w.\-]+) = (.*)$")
_COMPUTATION = re.compile(r"^(?:ENTRY )?%?([\w.\-]+) \(.*\{$")
_SHAPE = re.compile(r"\w+\[([\d,]*)\]")
_OPCODE = re.compile(r"(?:^|\s)([a-z][\w\-]*)\(")
_OPERAND = re.compile(r"\((?:\w+\[([\d,]*)\]\S* )?%?([\w.\-]+)")
_CONTRACTED = re.compile(r"lhs_contracting_dim(?:ension)?s\"?[=:][{\[]([\d,\" ]*)[}\]]")
_ORIGIN = re.compile(r'op_name="([^"]*)"')
_CALLED = re.compile(r"calls=%?([\w.\-]+)")


def profile_steps(steps, batches, wait, device, trace_path):
    """Fields of `profile`. trace_path: None where another process writes it."""
    with tempfile.TemporaryDirectory() as folder:
        wait(None)
        jax.profiler.start_trace(folder)
        try:
            begin = time.perf_counter_ns()
            for number, (tokens, targets) in enumerate(zip(*batches)):
                with jax.profiler.TraceAnnotation(f"step {number}"):
                    wait(steps.step(tokens, targets))
            window_ns = time.perf_counter_ns() - begin
        finally:
            jax.profiler.stop_trace()
        events = _events(folder)
    if trace_path is not None:
        with open(trace_path, "w", encoding="utf-8") as file:
            json.dump({"traceEvents": events}, file)
    program = Program(steps.program.run)
    operators = Operators()
    for name, (calls, self_us) in _times(events).items():
        label, flops = program.describe(name)
        operators.add(label, calls, self_us * 1e3, None if flops is None else flops * calls)
    if not operators:
        raise unsupported(f"jax.profiler tells of no operators on {device.platform}")
    return operators.fields(f"jax.profiler (jax {jax.__version__}), instructions on {device.platform}", window_ns)


def _events(folder):
    """Of the trace that JAX wrote, those that say when they were."""
    found = glob.glob(f"{folder}/plugins/profile/*/*.trace.json.gz")
    events = []
    for path in found:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            events += json.load(file)["traceEvents"]
    return [event for event in events if event.get("ph") in ("X", "M")]


def _times(events):
    """{instruction: [calls, us]}"""
    threads, times = {}, {}
    for event in events:
        name = event.get("args", {}).get("hlo_op")
        if event["ph"] == "X" and name:
            begin = event["ts"]
            threads.setdefault((event["pid"], event["tid"]), []).append((begin, begin + event.get("dur", 0), name))
            times.setdefault(name, [0, 0.0])[0] += 1
    changes = []  # (when, +1 or -1, instruction)
    for spans in threads.values():
        for begin, end, name in innermost(spans):
            changes += [(begin, 1, name), (end, -1, name)]
    changes.sort(key=lambda change: change[:2])
    running, count, last = {}, 0, 0.0
    for when, sign, name in changes:
        for other, threads_count in running.items():
            times[other][1] += (when - last) * threads_count / count
        running[name] = running.get(name, 0) + sign
        if not running[name]:
            del running[name]
        count, last = count + sign, when
    return times


def innermost(spans):
    """Of a thread's nested spans (begin, end, name), for each instant the one that has none within it."""
    parts, stack, last = [], [], 0.0

    def end_until(when):
        nonlocal last
        while stack and stack[-1][0] <= when:
            end, name = stack.pop()
            if end > last:
                parts.append((last, end, name))
                last = end

    for begin, end, name in sorted(spans, key=lambda span: (span[0], -span[1])):
        end_until(begin)
        if stack and begin > last:
            parts.append((last, begin, stack[-1][1]))
        last = max(last, begin)
        stack.append((end, name))
    end_until(float("inf"))
    return parts


class Program:
    """What the text of a compiled program says of its instructions."""

    def __init__(self, compiled):
        self._labels, self._flops, self._shapes = {}, {}, {}
        fused, computation, called = {}, None, {}
        for line in (compiled.as_text() if hasattr(compiled, "as_text") else "").splitlines():
            header = _COMPUTATION.match(line)
            if header:
                computation = header.group(1)
            instruction = _INSTRUCTION.match(line)
            if not instruction:
                continue
            name, text = instruction.groups()
            flops = self._take(name, text)
            if flops is not None:
                fused[computation] = fused.get(computation, 0) + flops
            inner = _CALLED.search(text)
            if inner:
                called[name] = inner.group(1)
        for name, inner in called.items():
            if inner in fused and self._flops.get(name) is None:
                self._flops[name] = fused[inner]

    def _take(self, name, text):
        """Keeps what is known of an instruction; its operations where it is a matmul."""
        opcode = _OPCODE.search(text)
        shape = _SHAPE.search(text)
        self._shapes[name] = _sizes(shape.group(1)) if shape else []
        opcode = opcode.group(1) if opcode else ""
        origin = _ORIGIN.search(text)
        origin = origin.group(1).rpartition("/")[2] if origin else ""
        self._labels[name] = f"{origin} ({opcode})" if origin and origin != opcode else opcode or name
        if opcode == "dot" or (opcode == "custom-call" and "contracting" in text):
            self._flops[name] = self._matmul_flops(name, opcode, text)
        return self._flops.get(name)

    def _matmul_flops(self, name, opcode, text):
        contracted, operand = _CONTRACTED.search(text), _OPERAND.search(text, text.index(f"{opcode}("))
        if not contracted or not operand:
            return None
        sizes = _sizes(operand.group(1)) if operand.group(1) else self._shapes.get(operand.group(2), [])
        count = 2.0
        for size in self._shapes[name]:
            count *= size
        for place in _sizes(contracted.group(1).replace('"', "")):
            if place >= len(sizes):
                return None
            count *= sizes[place]
        return count

    def describe(self, name):
        """(operator, operations of one call or None)"""
        return self._labels.get(name, re.sub(r"[.\d]+$", "", name) or name), self._flops.get(name)


def _sizes(text):
    return [int(part) for part in text.split(",") if part.strip()]
