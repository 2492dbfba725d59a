#!/usr/bin/env python3
"""Compares what bench/gpu_telemetry.sh has gathered in a folder: a line a check, the exit code is the number that failed.

    python3 bench/gpu_telemetry.py FOLDER
"""
import json
import os
import statistics
import subprocess
import sys
import time


def smi(field):
    out = subprocess.run(["nvidia-smi", f"--query-gpu={field}", "--format=csv,noheader,nounits", "-i", "0"],
                         check=True, capture_output=True, text=True).stdout
    return out.strip()


class Checks:
    def __init__(self):
        self.failed = 0

    def __call__(self, name, ours, theirs, percent=None):
        """`percent`: how far apart they may be; None: equal."""
        if percent is None:
            good = ours == theirs
        else:
            good = ours is not None and theirs and abs(ours / theirs - 1) * 100 <= percent
        self.failed += not good
        apart = f", {100 * (ours / theirs - 1):+.2f} % (limit {percent} %)" if percent is not None and ours and theirs else ""
        print(f"{'ok  ' if good else 'FAIL'} {name}: ours {ours}, theirs {theirs}{apart}")


def steady(rows):
    """Samples of the longest stretch under load: from the first to the last over half of the highest power."""
    powers = [row[0] for row in rows]
    limit = max(powers) / 2
    busy = [i for i, power in enumerate(powers) if power > limit]
    edge = max(1, len(busy) // 10)  # loading and warm-up are at its beginning
    return rows[busy[edge]:busy[-edge]]


def bare_product(size=8192):
    import torch

    a, b = (torch.randn(size, size, device="cuda").to(torch.bfloat16) for _ in range(2))
    best = float("inf")
    # As long as `tokmark peak` warms and measures: a cool card is faster for a moment, until its power limit counts.
    warm_until = time.perf_counter() + 0.5
    while (begin := time.perf_counter()) < warm_until + 1:
        for _ in range(20):
            a @ b
        torch.cuda.synchronize()
        if begin > warm_until:
            best = min(best, (time.perf_counter() - begin) / 20)
    return 2 * size**3 / best


def main():
    folder = sys.argv[1]
    check = Checks()
    with open(os.path.join(folder, "env.json"), encoding="utf-8") as file:
        gpu = json.load(file)["gpu"]
    with open(os.path.join(folder, "telemetry.jsonl"), encoding="utf-8") as file:
        records = [json.loads(line) for line in file]
    with open(os.path.join(folder, "smi.csv"), encoding="utf-8") as file:
        lines = [line.split(",") for line in file]
    rows = steady([[float(value) for value in line] for line in lines if len(line) == 5 and "[" not in "".join(line)])
    card, record = gpu["cards"][0], records[0]
    check("name", card["name"], smi("name"))
    check("driver", gpu["driver"], smi("driver_version"))
    check("compute capability", card["compute_capability"], smi("compute_cap"))
    check("memory MiB", round(card["memory_bytes"] / 2**20), int(smi("memory.total")))
    check("power limit W", card["power_limit_w"], float(smi("enforced.power.limit")))
    check("highest SM clock", card["sm_max_mhz"], int(smi("clocks.max.sm")))
    check("highest memory clock", card["memory_max_mhz"], int(smi("clocks.max.mem")))
    check("PCIe generation", card["pcie_generation"], int(smi("pcie.link.gen.max")))
    mean = [statistics.fmean(column) for column in zip(*rows)]
    check("mean power W, counter", record["power_w"], mean[0], 5)
    check("mean SM clock", record["gpu_sm_mhz"], mean[1], 3)
    check("memory clock", record["gpu_memory_mhz"], mean[2], 1)
    check("temperature", record["gpu_temperature_c"], max(row[3] for row in rows), 5)
    check("memory in use MiB", record["gpu_used_mb"], max(row[4] for row in rows), 3)
    check("energy, counter and integrated power", record["energy_counter_j"], record["energy_integrated_j"], 5)
    print("     ", {name: record[name] for name in record if name.startswith(("gpu_", "energy_", "power_", "joules", "tokens_per_j", "price"))})
    print("     ", {name: record["null_reasons"][name] for name in record["null_reasons"] if name.startswith(("gpu_", "energy_", "power_"))})
    peak_path = os.path.join(folder, "peak.json")
    if os.path.exists(peak_path):
        with open(peak_path, encoding="utf-8") as file:
            peak = json.load(file)
        ours = {line["precision"]: line["matmul_flops"] for line in peak["peaks"]}
        check("bf16 matmul peak FLOP/s", ours.get("bf16"), bare_product(), 3)
        for found in records:
            print("     ", found["model"], {name: found[name] for name in found if "mfu" in name or "hfu" in name or name.startswith(("peak_f", "datasheet"))})
        product = records[-1]["mfu_percent"]
        print(f"{'ok  ' if product is not None and 95 <= product <= 100 else 'FAIL'} utilization of a pure matmul model: {product} % (95 to 100)")
        check.failed += not (product is not None and 95 <= product <= 100)
    print(f"{check.failed} failed")
    return check.failed


if __name__ == "__main__":
    sys.exit(main())
