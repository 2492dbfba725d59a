#!/usr/bin/env python3
"""The `jax` engine's worker beside a bare JAX loop on the same model, in one run.

    python3 bench/jax_bare.py                                  GPU if there is one, else CPU
    python3 bench/jax_bare.py --device cpu --cells superintelligence-tiny:4x128
    python3 bench/jax_bare.py --no-moe --device cuda:0-1 --parallel fsdp --modes train   several devices (docs/parallel.md)

Two live processes take turns, ABBA, a block of steps at a time, so that clocks and heat hit both
alike; both wait for every step. A row gives each side's median step, the median over rounds of the
ratio A / B with the smallest and largest, and the peak of memory that each side saw: the device
allocator's, or on a CPU the growth of the process. Rows:

    worker / bare       what the worker costs: the loop below jits the same step plainly and does
                        nothing but call it
    routed / published  both by the worker: chosen experts only against every expert

Needs jax and optax only; no network.
"""
import argparse
import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ROOT / "src" / "engines" / "python"


def pytorch_bench():
    """What both benches share: turns, rows, sides. It imports torch only where asked."""
    found = importlib.util.spec_from_file_location("pytorch_bare", ROOT / "bench/pytorch_bare.py")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


SHARED = pytorch_bench()


def bare_side(case):
    """The loop that somebody would write by hand. Requests: a number of steps, a line each."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.95")
    sys.path.insert(0, str(SOURCES))
    import jax
    import jax.numpy as jnp
    import optax

    from tokmark_worker import jax_model, jax_sources, jax_spread
    from tokmark_worker.cell import ModelSpec
    from tokmark_worker.devices import devices_of

    if case["device"].startswith("cpu"):
        jax.config.update("jax_platforms", "cpu")
    devices_count = len(devices_of(argparse.Namespace(device=case["device"], parallel=case.get("parallel", "none"))))
    if case["device"].startswith("cpu") and devices_count > 1:
        jax.config.update("jax_num_cpu_devices", devices_count)
    device = jax.devices()[0]
    matmul = {"fp32": "highest", "tf32": "tensorfloat32"}.get(case["precision"])
    if matmul:
        jax.config.update("jax_default_matmul_precision", matmul)
    with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")
    before = SHARED.host_peak_bytes()
    spec = ModelSpec(**SHARED.read_spec(case["model"], case["seq_len"]))
    is_train = case["mode"] == "train"
    param_dtype = jnp.bfloat16 if case["precision"] == "bf16-pure" else jnp.float32
    dtype = jnp.bfloat16 if case["precision"].startswith("bf16") else jnp.float32
    way = "published"
    if case["moe"] == "routed":
        way = "tiles" if device.platform == "cpu" else "ranks"
    has_cudnn = jax_sources.cudnn_attention_works(device, dtype, spec)
    attention = "cudnn" if has_cudnn and not (is_train and spec.dropout > 0) else "xla"
    mesh, rows, spread = None, device, jax_spread.Spread()
    if devices_count > 1:
        mesh = jax.sharding.Mesh(jax.devices()[:devices_count], (case["parallel"],))
        spread = jax_spread.Spread(mesh)
        rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(case["parallel"]))
    model = jax_model.Model(spec, dtype, way, attention, spread)
    # seed, keys and tokens are the worker's: both sides choose the same experts in every step
    key = jax.random.fold_in(jax.random.key(1, impl="rbg"), 0)
    model_key, step_key = jax.random.split(key)
    params = jax_model.init(spec, model_key, param_dtype)
    if mesh is not None:
        params = {name: jax.device_put(param, place_by_hand(param, mesh, case["parallel"])) for name, param in params.items()}
    optimizer = optax.adamw(3e-4, b1=0.9, b2=0.999, eps=1e-8, weight_decay=0.01)
    tokens = worker_tokens(case, spec)

    def loss(params, x, y, key):
        logits = model.forward(params, x, key).astype(jnp.float32)
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

    def train(params, moments, key, x, y):
        key, sub = jax.random.split(key)
        value, grads = jax.value_and_grad(loss)(params, x, y, sub)
        norm = optax.global_norm(grads)
        updates, moments = optimizer.update(grads, moments, params)
        return optax.apply_updates(params, updates), moments, key, value, norm

    if is_train:
        step = jax.jit(train, donate_argnums=(0, 1, 2))
        state = [params, jax.jit(optimizer.init)(params), step_key]
        del params
    else:
        step = jax.jit(model.forward)
    done = 0
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        times = []
        both = tokens.batches(done, int(line))
        batches = [[jax.device_put(step.astype("int32"), rows) for step in part] for part in both]
        jax.block_until_ready(batches)
        done += int(line)
        for x, y in zip(*batches):
            begin = time.perf_counter()
            if is_train:
                *state, value, norm = step(*state, x, y)
                jax.block_until_ready((state, value, norm))
            else:
                jax.block_until_ready(step(params, x))
            times.append(time.perf_counter() - begin)
        stats = device.memory_stats() or {}
        peak = stats.get("peak_bytes_in_use") or SHARED.host_peak_bytes() - before
        print(json.dumps({"times": times, "peak": peak}), flush=True)


def place_by_hand(param, mesh, parallel):
    """ddp: on every device; fsdp: its longest side that divides cut."""
    import jax

    spec = [None] * param.ndim
    if parallel == "fsdp" and param.size >= 4096:
        spec[param.shape.index(max(side for side in param.shape if side % mesh.size == 0))] = parallel
    return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*spec))


def worker_tokens(case, spec):
    import numpy
    from tokmark_worker.tokens import NumpyArrays, Tokens

    cell = argparse.Namespace(
        seed=1, seq_len=case["seq_len"], batch_size=case["batch_size"], data="synthetic"
    )
    return Tokens(cell, spec.vocab_size, NumpyArrays(numpy))


class BareSide(SHARED.BareSide):
    script = os.path.abspath(__file__)


class WorkerSide(SHARED.WorkerSide):
    engine = "jax"


def run_cell(text, mode, options):
    model, _, shape = text.partition(":")
    batch_size, seq_len = SHARED.batch_by_seq(shape)
    case = {
        "model": model, "batch_size": batch_size, "seq_len": seq_len, "mode": mode,
        "device": options.device, "precision": options.precision, "moe": "routed",
        "compile": "off",
    }
    if options.parallel != "none":
        case["parallel"] = options.parallel
    what = {"model": model, "mode": mode, "shape": f"{batch_size}x{seq_len}"}
    makers = (WorkerSide, BareSide)
    rows = [SHARED.run_pair(what, (case, case), makers, ("worker", "bare"), options)]
    if SHARED.read_spec(model, seq_len)["ffn"] == "moe_swiglu" and not options.no_moe:
        cases = (case, {**case, "moe": "published"})
        makers = (WorkerSide, WorkerSide)
        rows.append(SHARED.run_pair(what, cases, makers, ("routed", "published"), options))
    return [row for row in rows if row]


def find_gpu():
    """Asked in a process of its own: this one must not hold the device's memory."""
    code = (
        "import jax; device = jax.devices()[0]; "
        "print(jax.__version__, device.platform, device.device_kind, sep=' | ')"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    version, platform, kind = run.stdout.strip().splitlines()[-1].split(" | ")
    return version, platform == "gpu", kind


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", help="cpu, cuda:0, cuda:0-1, cpu:2; default: a GPU if there is one")
    parser.add_argument("--parallel", default="none", help="of several devices: ddp, fsdp")
    parser.add_argument("--cells", nargs="+", metavar="MODEL:BxT")
    parser.add_argument("--modes", nargs="+", default=["train", "infer"])
    parser.add_argument("--precision", help="default: bf16 on a GPU, fp32 on a CPU")
    parser.add_argument("--steps", type=int, default=20, help="of one block")
    parser.add_argument("--rounds", type=int, default=5, help="of ABBA")
    parser.add_argument("--warmup", type=int, default=10)
    parser.add_argument("--no-moe", action="store_true", help="leave out routed / published")
    parser.add_argument("--plain-malloc", action="store_true", help="CPU: glibc's own thresholds")
    parser.add_argument("--json", metavar="FILE", help="rows, for later")
    parser.add_argument("--bare", metavar="CASE", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.bare:
        return bare_side(json.loads(options.bare))
    version, has_gpu, kind = find_gpu()
    options.device = options.device or ("cuda:0" if has_gpu else "cpu")
    on_gpu = not options.device.startswith("cpu")
    if not on_gpu and not options.plain_malloc:
        os.environ.update(SHARED.MALLOC)  # of the two sides, which are yet to be started
    options.precision = options.precision or ("bf16" if on_gpu else "fp32")
    default = ["gpt2-124m:16x1024", "superintelligence-1b:8x512"]
    cells = options.cells or (default if on_gpu else ["superintelligence-tiny:4x128"])
    print(f"jax {version}, {kind if on_gpu else 'cpu'}, {options.precision}")
    print(SHARED.HEADER, flush=True)
    rows = []
    for cell in cells:
        for mode in options.modes:
            rows += run_cell(cell, mode, options)
    print("\nall rows\n" + SHARED.HEADER)
    for row in rows:
        print(SHARED.format_row(row))
    if options.json:
        Path(options.json).write_text(json.dumps(rows, indent=1))
    return 0 if rows else 1


if __name__ == "__main__":
    sys.exit(main())
