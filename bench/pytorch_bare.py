#!/usr/bin/env python3
"""The `pytorch` engine's worker beside a bare PyTorch loop on the same model, in one run.

    python3 bench/pytorch_bare.py                                  GPU if there is one, else CPU
    python3 bench/pytorch_bare.py --device cpu --cells superintelligence-tiny:4x128
    python3 bench/pytorch_bare.py --compile default --modes train
    python3 bench/pytorch_bare.py --cells compiled-layers:8x512    layers that their author compiled

Two live processes take turns, ABBA, a block of steps at a time, so that clocks and heat hit both
alike; both wait for every step. A row gives each side's median step, the median over rounds of the
ratio A / B with the smallest and largest, and the peak of memory that each side saw: the device
allocator's, or on a CPU the growth of the process. Rows:

    worker / bare       what the worker costs: the loop below does nothing but the work
    routed / published  both by the worker: chosen experts only against every expert

On a CPU both sides get glibc's thresholds fixed (MALLOC below): by itself glibc gives memory back
and takes it again in every step or in none, as the heap happens to lie, and the same program's
training step then differs by 10 % from one start to the next. --plain-malloc leaves it so.

Before it, on the same device: do the routed and the published form give the same numbers?
Needs torch only; no network.
"""
import argparse
import gc
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ROOT / "src" / "engines" / "python"
MALLOC = {"MALLOC_TRIM_THRESHOLD_": str(1 << 40), "MALLOC_MMAP_THRESHOLD_": str(1 << 30)}
AUTHORS = "compiled-layers"  # a model's name: compiled_layers() below
PAUSE_S = 0.3  # until the other side's threads have stopped spinning


def batch_by_seq(text):
    """"8x128" as (8, 128)"""
    return tuple(map(int, text.split("x")))


# --- the bare side: a process of its own ----------------------------------------------------------


def compiled_layers(vocab_size, seq_len, width=768, depth=12):
    """A decoder whose author compiled its layers one by one: a factory for the worker, too."""
    import torch
    import torch.nn.functional as F
    from torch import nn

    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
            self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

        def forward(self, x):
            B, T, _ = x.shape
            parts = self.qkv(self.norms[0](x)).view(B, T, 3, width // 64, 64)
            query, key, value = parts.permute(2, 0, 3, 1, 4)
            seen = F.scaled_dot_product_attention(query, key, value, is_causal=True)
            x = x + self.out(seen.transpose(1, 2).reshape(B, T, width))
            return x + self.down(F.gelu(self.up(self.norms[1](x)), approximate="tanh"))

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.tokens, self.places = nn.Embedding(vocab_size, width), nn.Embedding(seq_len, width)
            self.layers = nn.ModuleList(Layer() for _ in range(depth))
            self.head = nn.Linear(width, vocab_size, bias=False)
            for layer in self.layers:
                layer.compile()

        def forward(self, ids):
            x = self.tokens(ids) + self.places(torch.arange(ids.shape[1], device=ids.device))
            for layer in self.layers:
                x = layer(x)
            return self.head(x)

    return Model()


def author_sizes(device):
    """What of compiled_layers() suits the device."""
    if device.startswith("cuda"):
        return {"vocab_size": 50304, "width": 768, "depth": 12}
    return {"vocab_size": 8192, "width": 256, "depth": 4}


def read_spec(name, seq_len):
    if name == AUTHORS:
        name = "gpt2-124m"  # what a factory's cell carries beside it
    preset = json.loads((ROOT / "models" / f"{name}.json").read_text())
    del preset["summary"]
    return {**preset, "name": name, "max_seq_len": seq_len}


def host_peak_bytes():
    with open("/proc/self/status", encoding="ascii") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM:"))


def bare_side(case):
    """The loop that somebody would write by hand. Requests: a number of steps, a line each."""
    import torch
    import torch.nn.functional as F

    sys.path.insert(0, str(SOURCES))
    from tokmark_worker.cell import ModelSpec
    from tokmark_worker.torch_model import build

    device = torch.device(case["device"])
    on_cuda = device.type == "cuda"
    precision = case["precision"]
    amp = {"bf16": torch.bfloat16}.get(precision)
    dtype = torch.bfloat16 if precision == "bf16-pure" else torch.float32
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")
    before = host_peak_bytes()
    torch.manual_seed(1)
    if case["model"] == AUTHORS:
        sizes = author_sizes(case["device"])
        vocab_size = sizes["vocab_size"]
        with torch.device(device):
            model = compiled_layers(seq_len=case["seq_len"], **sizes).to(dtype)
    else:
        spec = ModelSpec(**read_spec(case["model"], case["seq_len"]))
        vocab_size = spec.vocab_size
        model = build(spec, case["moe"], device, dtype, amp or dtype)
    is_train = case["mode"] == "train"
    model.train(is_train)
    run = model
    if case["compile"] != "off":
        run = torch.compile(
            model, mode=None if case["compile"] == "default" else case["compile"], dynamic=False
        )
    shape = (case["batch_size"], case["seq_len"])
    batches = [
        [torch.randint(0, vocab_size, shape, device=device) for _ in range(2)]
        for _ in range(4)
    ]
    if is_train:
        optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, fused=True)

    def step(x, y):
        if is_train:
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(device.type, amp, enabled=amp is not None):
                logits = run(x)
                loss = F.cross_entropy(logits.flatten(0, 1).float(), y.flatten())
            loss.backward()
            optimizer.step()
        else:
            with torch.inference_mode(), torch.autocast(
                device.type, amp, enabled=amp is not None
            ):
                run(x)

    if on_cuda:
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
    if case["gc"] == "off":
        gc.collect()
        gc.disable()
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        times = []
        for index in range(int(line)):
            x, y = batches[index % len(batches)]
            begin = time.perf_counter()
            step(x, y)
            if on_cuda:
                torch.cuda.synchronize()
            times.append(time.perf_counter() - begin)
        peak = torch.cuda.max_memory_allocated() if on_cuda else host_peak_bytes() - before
        print(json.dumps({"times": times, "peak": peak}), flush=True)


class BareSide:
    script = os.path.abspath(__file__)

    def __init__(self, case):
        self.process = subprocess.Popen(
            [sys.executable, self.script, "--bare", json.dumps(case)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        self._read()
        self.peak = None
        self.note = ""

    def _read(self):
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the bare loop ended with code {self.process.wait()}")
        return json.loads(line)

    def run(self, steps):
        """Seconds of each step."""
        self.process.stdin.write(f"{steps}\n")
        self.process.stdin.flush()
        reply = self._read()
        self.peak = reply["peak"]
        return reply["times"]

    def stop(self):
        self.process.stdin.close()
        self.process.wait(60)


# --- the worker's side ----------------------------------------------------------------------------


class WorkerSide:
    engine = "pytorch"

    def __init__(self, case):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tokmark_worker", self.engine],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": f"{SOURCES}:{Path(__file__).parent}"}, cwd="/",
        )
        options = {"moe": case["moe"], "compile": case["compile"], "source": "builtin"}
        factory = {}
        if case["model"] == AUTHORS:
            options["set"] = {key: str(value) for key, value in author_sizes(case["device"]).items()}
            factory = {"model_ref": "pytorch_bare:compiled_layers"}
        self._on_cuda = case["device"].startswith("cuda")
        self.ask({"type": "hello", "versions": [1], "host": "bench"})
        ready = self.ask(
            {
                "type": "open", "engine": self.engine, "framework": self.engine,
                "model": read_spec(case["model"], case["seq_len"]), "model_source": "preset",
                "device": case["device"], "precision": case["precision"], "mode": case["mode"],
                "seq_len": case["seq_len"], "batch_size": case["batch_size"], "threads": 0,
                "seed": "1", "data": "synthetic", "data_hash": "", "weights_hash": "",
                "data_path": "", "weights_path": "",
                "options": options, **factory,
                **({"parallel": case["parallel"]} if "parallel" in case else {}),
            }
        )
        self.note = f"{ready['backend']}; {ready['dtype_compute']}"
        self.load_s = ready["load_ns"] / 1e9

    def ask(self, message):
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the worker ended with code {self.process.wait()}")
        reply = json.loads(line)
        if reply["type"] == "error":
            self.stop()
            raise RuntimeError(f"{reply['kind']}: {reply['text']}")
        return reply

    def run(self, steps):
        reply = self.ask({"type": "run", "steps": steps, "sync": "step"})
        return [ns / 1e9 for ns in reply["step_ns"]]

    @property
    def peak(self):
        memory = self.ask({"type": "memory"})
        if self._on_cuda:
            return memory["peak_bytes"]
        return memory["rss_peak_bytes"] - memory["rss_baseline_bytes"]

    def stop(self):
        try:
            self.process.stdin.write('{"type":"close"}\n')
            self.process.stdin.close()
        except OSError:
            pass
        self.process.wait(60)


# --- two sides, interleaved ---------------------------------------------------------------------------


def compare(what, sides, names, options):
    """One row of the table."""
    a, b = sides
    for side in sides:
        side.run(options.warmup)
    times = ([], [])
    ratios = []
    for _ in range(options.rounds):
        blocks = ([], [])
        for index in (0, 1, 1, 0):
            time.sleep(PAUSE_S)
            blocks[index].extend(sides[index].run(options.steps))
        ratios.append(statistics.median(blocks[0]) / statistics.median(blocks[1]))
        for index in (0, 1):
            times[index].extend(blocks[index])
    row = {
        **what, "a": names[0], "b": names[1],
        "ms_a": statistics.median(times[0]) * 1e3, "ms_b": statistics.median(times[1]) * 1e3,
        "ratio": statistics.median(ratios), "low": min(ratios), "high": max(ratios),
        "peak_a": a.peak / 2**20, "peak_b": b.peak / 2**20, "note": a.note,
    }
    print(format_row(row), flush=True)
    return row


def format_row(row):
    return (
        f"{row['model']:<22} {row['mode']:<5} {row['shape']:>8} {row['a'] + ' / ' + row['b']:<20}"
        f"{row['ms_a']:>9.3f} {row['ms_b']:>9.3f}  {row['ratio']:.4f} "
        f"[{row['low']:.4f}, {row['high']:.4f}] {row['peak_a']:>9.0f} {row['peak_b']:>9.0f} "
        f"{row['peak_a'] / max(row['peak_b'], 1):.4f}  {row['note']}"
    )


HEADER = (
    f"{'model':<22} {'mode':<5} {'B x T':>8} {'A / B':<20}{'ms A':>9} {'ms B':>9}  "
    f"ratio  [lowest, highest]  {'MiB A':>9} {'MiB B':>9} ratio   A runs"
)


def run_pair(what, cases, makers, names, options):
    """None, with a line that says why, when a side cannot run."""
    sides = []
    try:
        for make, case in zip(makers, cases):
            sides.append(make(case))
        return compare(what, sides, names, options)
    except RuntimeError as error:
        print(f"{what['model']} {what['mode']} {what['shape']} {names}: {error}", flush=True)
        return None
    finally:
        for side in sides:
            if side.process.poll() is None:
                side.stop()


def run_cell(text, mode, options):
    model, _, shape = text.partition(":")
    batch_size, seq_len = batch_by_seq(shape)
    case = {
        "model": model, "batch_size": batch_size, "seq_len": seq_len, "mode": mode,
        "device": options.device, "precision": options.precision, "moe": "routed",
        "compile": options.compile, "gc": options.bare_gc,
    }
    what = {"model": model, "mode": mode, "shape": f"{batch_size}x{seq_len}"}
    rows = [run_pair(what, (case, case), (WorkerSide, BareSide), ("worker", "bare"), options)]
    if read_spec(model, seq_len)["ffn"] == "moe_swiglu" and not options.no_moe:
        other = {**case, "moe": "published"}
        makers = (WorkerSide, WorkerSide)
        rows.append(run_pair(what, (case, other), makers, ("routed", "published"), options))
        rows.append(
            run_pair(what, (other, other), (WorkerSide, BareSide), ("published", "bare p."),
                     options)
        )
    return [row for row in rows if row]


def same_numbers(device_name):
    """Routed against published on the device: the largest difference over the largest value."""
    import torch

    sys.path.insert(0, str(SOURCES))
    from tokmark_worker.cell import ModelSpec
    from tokmark_worker.torch_model import build

    device = torch.device(device_name)
    spec = ModelSpec(
        **{**read_spec("superintelligence-tiny", 64), "dropout": 0.0, "layers_count": 2}
    )
    tokens = torch.randint(0, spec.vocab_size, (5, 64), device=device)
    for dtype in (torch.float32, torch.bfloat16):
        torch.manual_seed(2)
        published = build(spec, "published", device, dtype, dtype)
        routed = build(spec, "routed", device, dtype, dtype)
        routed.load_state_dict(published.state_dict())
        for model in (published, routed):
            logits = model(tokens).float()
            torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens.flatten()).backward()
        far = {"logits": relative(routed(tokens), published(tokens))}
        for (name, mine), theirs in zip(routed.named_parameters(), published.parameters()):
            far[f"grad.{name}"] = relative(mine.grad, theirs.grad)
        worst = max(far, key=far.get)
        print(
            f"routed ({routed.experts_way()}) against published, {dtype}: logits differ by "
            f"{far['logits']:.2e}, gradients by at most {far[worst]:.2e} ({worst})", flush=True
        )


def relative(value, wanted):
    most = wanted.abs().max().item()
    return (value - wanted).abs().max().item() / (most if most > 0 else 1.0)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", help="cpu, cuda:0; default: a GPU if there is one")
    parser.add_argument("--cells", nargs="+", metavar="MODEL:BxT")
    parser.add_argument("--modes", nargs="+", default=["train", "infer"])
    parser.add_argument("--precision", help="default: bf16 on a GPU, fp32 on a CPU")
    parser.add_argument("--compile", default="off", choices=["off", "default", "max-autotune"])
    parser.add_argument("--steps", type=int, default=20, help="of one block")
    parser.add_argument("--rounds", type=int, default=5, help="of ABBA")
    parser.add_argument("--warmup", type=int, default=10)
    parser.add_argument("--no-moe", action="store_true", help="leave out routed / published")
    parser.add_argument("--plain-malloc", action="store_true", help="CPU: see above")
    parser.add_argument("--bare-gc", default="on", choices=["on", "off"],
                        help="Python's collector in the bare loop; on, as in a script")
    parser.add_argument("--json", metavar="FILE", help="rows, for later")
    parser.add_argument("--bare", metavar="CASE", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.bare:
        return bare_side(json.loads(options.bare))
    import torch

    has_cuda = torch.cuda.is_available()
    options.device = options.device or ("cuda:0" if has_cuda else "cpu")
    on_cuda = options.device.startswith("cuda")
    if not on_cuda and not options.plain_malloc:
        os.environ.update(MALLOC)  # of the two sides, which are yet to be started
    options.precision = options.precision or ("bf16" if on_cuda else "fp32")
    default = ["gpt2-124m:16x1024", "superintelligence-1b:8x512"]
    cells = options.cells or (default if on_cuda else ["superintelligence-tiny:4x128"])
    name = torch.cuda.get_device_name(options.device) if on_cuda else "cpu"
    print(f"torch {torch.__version__}, {name}, {options.precision}, compile {options.compile}")
    same_numbers(options.device)
    print(HEADER, flush=True)
    rows = []
    for cell in cells:
        for mode in options.modes:
            rows += run_cell(cell, mode, options)
    print("\nall rows\n" + HEADER)
    for row in rows:
        print(format_row(row))
    if options.json:
        Path(options.json).write_text(json.dumps(rows, indent=1))
    return 0 if rows else 1


if __name__ == "__main__":
    sys.exit(main())
