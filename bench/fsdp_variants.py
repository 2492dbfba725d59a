#!/usr/bin/env python3
"""Ways to lay tokmark's own model out with fully_shard, one after the other in the same processes: which of them is worth its memory?

    torchrun --standalone --nproc-per-node 2 bench/fsdp_variants.py --model superintelligence --cells 8x128 8x512        two cards
    torchrun --standalone --nproc-per-node 2 bench/fsdp_variants.py --model superintelligence-tiny --cells 4x32 --cpu --steps 3

    apart        each expert's matrices are parameters of their own, stacked by a copy in every step
    joined       one parameter for each matmul of all experts (torch_moe.py)
    ahead        joined, and each layer is gathered while the one before it computes; the last is kept for the backward pass: what the worker does
    ahead-bf16   the same, with gradients summed in bf16
    kept         ahead, and gathered weights stay for the backward pass: one exchange less, and all weights in bf16 on every card
    kept-bf16    both

A row gives the median step, the host's share of it (how long it took to start a step's work), and the peak of a card. --profile VARIANT prints where a step's time went.
"""
import argparse
import gc
import json
import os
import statistics
import sys
import time

import torch
import torch.nn.functional as F
from torch import distributed

from pytorch_bare import ROOT, SOURCES, batch_by_seq

sys.path.insert(0, str(SOURCES))
from tokmark_worker.cell import ModelSpec  # noqa: E402
from tokmark_worker.torch_model import build  # noqa: E402
from tokmark_worker.torch_moe import Moe  # noqa: E402

VARIANTS = ("apart", "joined", "ahead", "ahead-bf16", "kept", "kept-bf16")


def make(variant, spec, device):
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    compute = torch.bfloat16
    reduce = compute if variant.endswith("bf16") else torch.float32
    policy = MixedPrecisionPolicy(param_dtype=compute, reduce_dtype=reduce, cast_forward_inputs=False)
    is_ahead = variant.startswith(("ahead", "kept"))

    def shard(module, is_last=False):
        keeps = variant.startswith("kept") or (is_last and is_ahead)
        fully_shard(module, mp_policy=policy, **({"reshard_after_forward": False} if keeps else {}))

    torch.manual_seed(0)
    join = Moe.join
    if variant == "apart":
        Moe.join = lambda moe: None
    try:
        model = build(spec, "routed", device, torch.float32, compute, shard)
    finally:
        Moe.join = join
    layers = list(model.layers)
    for layer, following in zip(layers, layers[1:]) if is_ahead else ():
        layer.set_modules_to_forward_prefetch([following])
    model.train()
    return model


def run(variant, spec, rows, device, steps, profiler=None):
    model = make(variant, spec, device)
    on_cuda = device.type == "cuda"
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, fused=True)
    batches = [[torch.randint(0, spec.vocab_size, (rows, spec.max_seq_len), device=device) for _ in "it"] for _ in range(4)]
    times, host, losses = [], [], []
    for step in range(2 * steps):
        tokens, targets = batches[step % 4]
        if profiler is not None and step == 2 * steps - 2:
            profiler.start()
        begin = time.perf_counter_ns()
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16):
            loss = F.cross_entropy(model(tokens).flatten(0, -2).float(), targets.reshape(-1))
        loss.backward()
        optimizer.step()
        host.append(time.perf_counter_ns() - begin)
        if on_cuda:
            torch.cuda.synchronize()
        times.append(time.perf_counter_ns() - begin)
        losses.append(loss.detach())
    if profiler is not None:
        profiler.stop()
    peak = torch.cuda.max_memory_allocated() / 2**20 if on_cuda else 0
    return [statistics.median(values[steps:]) / 1e6 for values in (times, host)], peak, float(losses[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="superintelligence")
    parser.add_argument("--cells", nargs="+", default=[(8, 128)], type=batch_by_seq, metavar="BATCHxSEQ")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--cpu", action="store_true")
    parser.add_argument("--variants", nargs="+", default=VARIANTS, choices=VARIANTS)
    parser.add_argument("--profile", choices=VARIANTS)
    options = parser.parse_args()
    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    device = torch.device("cpu") if options.cpu else torch.device("cuda", rank)
    if not options.cpu:
        torch.cuda.set_device(device)
    distributed.init_process_group("gloo" if options.cpu else "cpu:gloo,cuda:nccl")
    preset = json.loads((ROOT / "models" / f"{options.model}.json").read_text())
    del preset["summary"]
    if rank == 0:
        print("| variant | cell | ms_p50 | host ms | peak MiB | last loss |\n| --- | --- | --- | --- | --- | --- |", flush=True)
    for batch, seq in options.cells:
        spec = ModelSpec(**{**preset, "name": options.model, "max_seq_len": seq})
        for variant in options.variants:
            if not options.cpu:
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats()
            profiler = torch.profiler.profile() if variant == options.profile and rank == 0 else None
            (ms, host), peak, loss = run(variant, spec, batch // world, device, options.steps, profiler)
            if rank == 0:
                print(f"| {variant} | {batch}x{seq} | {ms:.1f} | {host:.1f} | {peak:,.0f} | {loss:.4f} |", flush=True)
            if profiler is not None:
                key = "cpu_time_total" if options.cpu else "device_time_total"
                print(profiler.key_averages().table(sort_by=key, row_limit=40, max_name_column_width=90), flush=True)
            gc.collect()
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
