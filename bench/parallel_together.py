#!/usr/bin/env python3
"""The worker's steps on several devices beside a bare loop in the same processes, on the same model and optimizer, in turns.

    python3 bench/parallel_together.py                                               two processes on the CPUs
    python3 bench/parallel_together.py --devices cuda:0-1 --model superintelligence-1b --precision bf16 --cells 32x1024
    python3 bench/parallel_together.py --devices cuda:0-1 --published 10b --precision bf16 --layouts fsdp --cells 8x128 8x512

Two starts of one program on several cards differ by several percent (bench/parallel_bare.py): here both sides have one
start, one allocator and one way to lay the model out, so that the rest is what the worker's steps cost. They take turns,
ABBA, a block of steps at a time, behind a barrier; the loop draws other tokens in every step, as the worker does. A row
gives each side's median step, and the median over the rounds of the ratio worker / bare, with a 95 % interval for it from
order statistics (the lowest and the highest of fewer than six rounds).
Needs torch only.
"""
import argparse
import json
import math
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from parallel_bare import bare_step
from published_wall import SIZES, write_package
from pytorch_bare import ROOT, SOURCES, batch_by_seq

sys.path.insert(0, str(SOURCES))

import torch  # noqa: E402
from tokmark_worker.cell import read_cell  # noqa: E402
from tokmark_worker.ranked import steps_of_all  # noqa: E402
from tokmark_worker.torch_engine import TorchEngine  # noqa: E402
from tokmark_worker.torch_ranks import RankedTorchEngine  # noqa: E402


class EngineAndLoop(TorchEngine):
    """One rank."""

    _drawn = 1 << 20  # the first of the loop's batches

    def run_bare(self, count):
        """Times of `count` steps of a loop as it is written by hand, in ns."""
        model, optimizer = self._caller.model, self._steps.optimizer
        is_cuda, is_bf16 = self._device.type == "cuda", self._cell.precision == "bf16"
        wait = torch.cuda.synchronize if is_cuda else lambda: None
        batches = list(zip(*self._device_batches(self._drawn, count)))
        self._drawn += count
        self._layout.wait_for_all()
        wait()
        times = []
        for tokens, targets in batches:
            begin = time.perf_counter_ns()
            bare_step(model, optimizer, tokens, targets, is_bf16)
            wait()
            times.append(time.perf_counter_ns() - begin)
        return times


class Ranked(RankedTorchEngine):
    engine_class = EngineAndLoop

    def run_bare(self, count):
        return self._on_all(steps_of_all, "run_bare", count)


def cell_of(options, layout, rows, tokens):
    preset = json.loads((ROOT / "models" / f"{options.model}.json").read_text())
    del preset["summary"]
    source = {"source": "auto", "figures": "own"} if options.published else {"source": "builtin"}
    return read_cell({
        "engine": "pytorch", "framework": "pytorch", "model_source": "preset", "threads": 0, "seed": "0", "data": "synthetic",
        "data_hash": "", "weights_hash": "", "data_path": "", "weights_path": "", "mode": "train", "precision": options.precision,
        "model": {**preset, "name": options.model, "max_seq_len": tokens}, "options": source, "device": options.devices,
        "parallel": layout, "batch_size": rows, "seq_len": tokens})


def median_interval(values):
    """95 % of a median: between the k-th lowest and the k-th highest, as many of N as a fair coin leaves outside."""
    ordered, count = sorted(values), len(values)
    outside = 0
    while sum(math.comb(count, k) for k in range(outside + 1)) / 2**count <= 0.025:
        outside += 1
    outside = max(outside - 1, 0)
    return ordered[outside], ordered[count - 1 - outside]


def measure(options, layout, rows, tokens):
    engine = Ranked()
    ready = engine.open(cell_of(options, layout, rows, tokens))
    worker, bare, ratios = [], [], []
    for _ in range(2):  # not counted
        engine.run_block(options.steps, "step")
        engine.run_bare(options.steps)
    for turn in range(options.rounds):
        own, others = [], []
        for is_own in (True, False) if turn % 2 == 0 else (False, True):
            if is_own:
                own = engine.run_block(options.steps, "step")["step_ns"]
            else:
                others = engine.run_bare(options.steps)
        worker += own
        bare += others
        ratios.append(statistics.median(own) / statistics.median(others))
    engine.close()
    ms = [statistics.median(side) / 1e6 for side in (worker, bare)]
    low, high = median_interval(ratios)
    print(
        f"| {layout} | {rows}x{tokens} | {ms[0]:.2f} | {ms[1]:.2f} | {statistics.median(ratios):.4f} [{low:.4f}, {high:.4f}], {len(ratios)} rounds | "
        f"{ready['model_source'].split(' (')[0]} |",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--devices", default="cpu:2")
    parser.add_argument("--model", default="superintelligence-tiny")
    parser.add_argument("--published", choices=SIZES, help="a package in the published form, of this size")
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16"])
    parser.add_argument("--layouts", nargs="+", default=["ddp", "fsdp"])
    parser.add_argument("--cells", nargs="+", default=[(4, 64)], type=batch_by_seq, metavar="BATCHxSEQ")
    parser.add_argument("--steps", type=int, default=5, help="of one block")
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    print("| layout | cell | worker ms | bare ms | worker / bare | model |\n| --- | --- | --- | --- | --- | --- |", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        if options.published:
            write_package(Path(folder), options.published)
            os.chdir(folder)
        for layout in options.layouts:
            for cell in options.cells:
                pid = os.fork()  # a process group of ranks a cell; nothing of CUDA has been touched
                if pid == 0:
                    measure(options, layout, *cell)
                    os._exit(0)
                os.waitpid(pid, 0)


if __name__ == "__main__":
    main()
