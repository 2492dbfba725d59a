#!/usr/bin/env python3
"""`tokmark run --devices` beside a bare torchrun loop on the same model and layout, one after the other, in turns.

    python3 bench/parallel_bare.py                                                   two processes on the CPUs
    python3 bench/parallel_bare.py --devices cuda:0-1 --model superintelligence-1b --precision bf16 --cells 8x512
    python3 bench/parallel_bare.py --devices cuda:0-1 --package DIR --cells 8x128    the `superintelligence` package in DIR, its defaults
    python3 bench/parallel_bare.py --devices cuda:0-1 --published 10b --cells 8x128  a package in the published form (bench/published_wall.py)
    python3 bench/parallel_bare.py --devices cuda:0-1 --scaling --model gpt2-124m    tokmark alone: one device and several, weak and strong;
                                                                                     of each layout which share of a step is communication

Each side starts anew for every turn: half of the steps are thrown away. A row gives the medians of each side's steps over all turns, their ratio, and the
highest peak of memory on a device. Needs torch only.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from engines_table import find_program
from published_wall import SIZES, write_package
from pytorch_bare import ROOT, SOURCES, batch_by_seq

# --- the bare side: what torchrun starts ------------------------------------------------------------


def bare_step(run, optimizer, tokens, targets, is_bf16):
    """As it is written by hand."""
    import torch
    import torch.nn.functional as F

    optimizer.zero_grad(set_to_none=True)
    with torch.autocast(tokens.device.type, torch.bfloat16, enabled=is_bf16):
        out = run(tokens)
        logits = out if torch.is_tensor(out) else out[0] if isinstance(out, tuple) else out["logits"]
        # in fp32, as tokmark's: autocast on a card would keep the log-softmax in bf16, 4 ms a step less at 32x1024
        loss = F.cross_entropy(logits.flatten(0, -2).float(), targets.reshape(-1))
    loss.backward()
    optimizer.step()


def bare(case):
    import torch
    from torch import distributed
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    sys.path.insert(0, str(SOURCES))
    from tokmark_worker.ranked import steps_of_all

    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    on_cuda = case["device"] == "cuda"
    device = torch.device("cuda", rank) if on_cuda else torch.device("cpu")
    if on_cuda:
        torch.cuda.set_device(device)
    else:
        torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // world))
    distributed.init_process_group("cpu:gloo,cuda:nccl" if on_cuda else "gloo")
    torch.manual_seed(0)
    is_bf16 = case["precision"] == "bf16"
    compute = torch.bfloat16 if is_bf16 else torch.float32
    policy = MixedPrecisionPolicy()
    if case["package"]:
        os.chdir(case["package"])
        sys.path.insert(0, case["package"])
        from superintelligence.config import ModelConfig
        from superintelligence.model import SuperIntelligenceModel

        with torch.device(device):
            config = ModelConfig(max_position_embeddings=case["seq"])
            model = SuperIntelligenceModel(config)
        vocab = config.vocab_size
        layers = next(child for child in model.children() if isinstance(child, torch.nn.ModuleList))
    else:
        from tokmark_worker.cell import ModelSpec
        from tokmark_worker.torch_model import build

        preset = json.loads((ROOT / "models" / f"{case['model']}.json").read_text())
        del preset["summary"]
        spec = ModelSpec(**{**preset, "name": case["model"], "max_seq_len": case["seq"]})
        if is_bf16:
            policy = MixedPrecisionPolicy(param_dtype=compute, reduce_dtype=torch.float32, cast_forward_inputs=False)

        def shard(module, is_last=False):
            fully_shard(module, mp_policy=policy, **({"reshard_after_forward": False} if is_last else {}))

        is_sharded = case["layout"] == "fsdp"
        model = build(spec, "routed", device, torch.float32, compute, shard if is_sharded else None)
        vocab, layers = spec.vocab_size, list(model.layers)
        for layer, following in zip(layers, layers[1:]) if is_sharded else ():
            layer.set_modules_to_forward_prefetch([following])
    model.train()
    if case["layout"] == "fsdp" and case["package"]:
        for layer in layers:
            fully_shard(layer, mp_policy=policy)
        fully_shard(model, mp_policy=policy)
    if case["layout"] == "fsdp":
        run = model
    else:
        run = torch.nn.parallel.DistributedDataParallel(
            model, device_ids=[device] if on_cuda else None, gradient_as_bucket_view=True,
            find_unused_parameters=not case["package"] and model.experts_way() == "experts split")
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, fused=True)
    rows = case["batch"] // world
    # other tokens in every step, as tokmark has them: a card at its power limit is faster on what it has learned by heart
    batches = [[torch.randint(0, vocab, (rows, case["seq"]), device=device) for _ in "it"] for _ in range(2 * case["steps"])]
    times = []
    for tokens, targets in batches:
        begin = time.perf_counter_ns()
        bare_step(run, optimizer, tokens, targets, is_bf16)
        if on_cuda:
            torch.cuda.synchronize()
        times.append((time.perf_counter_ns() - begin) / 1e6)
    peak = torch.cuda.max_memory_allocated() / 2**20 if on_cuda else None
    of_ranks = [None] * world
    distributed.all_gather_object(of_ranks, times[case["steps"]:])
    if rank == 0:
        print(json.dumps({"ms": steps_of_all(of_ranks), "peak": peak}), flush=True)
    distributed.destroy_process_group()


def run_bare(options, layout, cell, count):
    case = {"device": options.devices.partition(":")[0], "layout": layout, "batch": cell[0], "seq": cell[1], "model": options.model,
            "package": options.package, "precision": options.precision, "steps": options.steps}
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count), __file__, "--bare", json.dumps(case)]
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"})
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if not lines:
        print(f"parallel_bare: the bare loop gave nothing: {done.stderr[-1500:]}", file=sys.stderr)
        return {"ms": [], "peak": None}
    return json.loads(lines[-1])


# --- tokmark's side ---------------------------------------------------------------------------------


def cell_words(options, layout, cell, devices):
    words = ["--python", sys.executable, "--mode", "train", "--precision", options.precision, "--batch", str(cell[0]), "--seq", str(cell[1]), "--seed", "0"]
    return words + (["--device", devices] if layout == "none" else ["--devices", devices, "--parallel", layout])


def command(options, verb):
    return [options.program, verb, "--engine", "pytorch", "--model", options.model, "--model-source", "builtin"]


def run_tokmark(options, layout, cell, devices):
    with tempfile.TemporaryDirectory() as out:
        # bench_pytorch: a package that is found keeps its defaults there
        program = [str(Path(options.program).with_name("bench_pytorch"))] if options.package else command(options, "run")
        words = [*program, *cell_words(options, layout, cell, devices), "--steps", str(options.steps), "--warmup", str(options.steps), "--quiet", "--out", f"{out}/o"]
        subprocess.run(words, cwd=options.package or ".", stdout=subprocess.DEVNULL, check=False)
        record = json.loads(Path(out, "o", "bench_results.jsonl").read_text().splitlines()[-1])
    if options.package and not record["model_source"].startswith("package"):
        raise SystemExit(f"parallel_bare: tokmark measured {record['model_source']}, not the package")
    if record["ms_p50"] is None:
        print(f"parallel_bare: {layout} {cell}: {record['verdict']}: {record['notes']}", file=sys.stderr)
    return record


def profile(options, layout, cell):
    """(share of a step in which something is exchanged, and in which nothing is computed meanwhile) in percent, in a worker of its own."""
    with tempfile.TemporaryDirectory() as out:
        words = [*command(options, "profile"), *cell_words(options, layout, cell, options.devices), "--format", "json", "--out", out]
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    found = json.loads(lines[-1]) if lines else {}
    if not found.get("window_ns") or found.get("exchange_ns") is None:
        print(f"parallel_bare: no profile of {layout} {cell}: {found.get('reasons') or done.stderr[-500:]}", file=sys.stderr)
        return None, None
    return tuple(100 * found[key] / found["window_ns"] for key in ("exchange_ns", "exchange_alone_ns"))


def first_of(devices):
    kind, _, rest = devices.partition(":")
    return kind if kind == "cpu" else f"{kind}:{rest.partition('-')[0]}"


def count_of(devices):
    kind, _, rest = devices.partition(":")
    if kind == "cpu":
        return int(rest)
    first, _, last = rest.partition("-")
    return int(last) - int(first) + 1


def shown(value, form):
    return "-" if value is None else format(value, form)


def compare(options):
    count = count_of(options.devices)
    print("| layout | cell | bare ms | tokmark ms | tokmark / bare | bare peak MiB | tokmark peak MiB | verdicts |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for layout in options.layouts:
        for cell in options.cells:
            bares, records = [], []
            for _ in range(options.rounds):
                bares.append(run_bare(options, layout, cell, count))
                records.append(run_tokmark(options, layout, cell, options.devices))
            ms = [value for side in bares for value in side["ms"]]
            own = [record["ms_p50"] for record in records if record["ms_p50"] is not None]
            a = statistics.median(ms) if ms else None
            b = statistics.median(own) if own else None
            print(f"| {layout} | {cell[0]}x{cell[1]} | {shown(a, '.1f')} | {shown(b, '.1f')} | {shown(b / a if a and b else None, '.3f')} | "
                  f"{shown(bares[-1]['peak'], ',.0f')} | {shown(records[-1]['peak_mem_mb'], ',.0f')} | {', '.join(r['verdict'] for r in records)} |", flush=True)


def scaling(options):
    """Strong: the same rows; weak: the same rows a device."""
    count = count_of(options.devices)
    print("| layout | devices | scaling | cell | ms_p50 | tokens/s | per device | efficiency % | exchange % | of it alone % | peak MiB a device | rank_skew_ms | verdict |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for cell in options.cells:
        one = run_tokmark(options, "none", cell, first_of(options.devices))
        cases = [("none", 1, "-", cell)]
        for layout in options.layouts:
            cases += [(layout, count, "strong", cell), (layout, count, "weak", (cell[0] * count, cell[1]))]
        for layout, devices, kind, shape in cases:
            is_one = devices == 1
            record = one if is_one else run_tokmark(options, layout, shape, options.devices)
            exchange, alone = (None, None) if is_one else profile(options, layout, shape)
            rate = record["tokens_per_sec"]
            share = 100 * rate / devices / one["tokens_per_sec"] if rate and one["tokens_per_sec"] else None
            print(f"| {layout} | {devices} | {kind} | {shape[0]}x{shape[1]} | {shown(record['ms_p50'], '.2f')} | {shown(rate, ',.0f')} | "
                  f"{shown(record['tokens_per_sec_per_device'], ',.0f')} | {shown(share, '.1f')} | {shown(exchange, '.1f')} | {shown(alone, '.1f')} | {shown(record['peak_mem_mb'], ',.0f')} | "
                  f"{shown(record['rank_skew_ms'], '.2f')} | {record['verdict']} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bare", type=json.loads, help=argparse.SUPPRESS)
    parser.add_argument("--program")
    parser.add_argument("--devices", default="cpu:2")
    parser.add_argument("--model", default="superintelligence-tiny")
    parser.add_argument("--package", metavar="DIR")
    parser.add_argument("--published", choices=SIZES)
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16"])
    parser.add_argument("--layouts", nargs="+", default=["ddp", "fsdp"])
    parser.add_argument("--cells", nargs="+", default=[(4, 64)], type=batch_by_seq, metavar="BATCHxSEQ")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scaling", action="store_true")
    options = parser.parse_args()
    if options.scaling and (options.package or options.published):
        parser.error("--scaling is of tokmark's own models")
    if options.bare:
        bare(options.bare)
        return
    options.program = str(Path(options.program or find_program()).resolve())
    with tempfile.TemporaryDirectory() as folder:
        if options.published:
            write_package(Path(folder), options.published)
            options.package = folder
        (scaling if options.scaling else compare)(options)


if __name__ == "__main__":
    main()
