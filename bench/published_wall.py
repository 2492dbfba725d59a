#!/usr/bin/env python3
"""Whole wall time of the published command, beside a script in the published form, on the same package.

    python3 bench/published_wall.py --program DIR/bin                        GPU: 971 M parameters, seq 128 512, batch 8, 60 steps
    python3 bench/published_wall.py --program DIR/bin --device cpu --size small

The package (config.py and model.py) has the published one's parts and sizes: RMSNorm, attention with rotary positions, and every expert,
a SwiGLU, computed for every token. It is written into a folder of its own. `script`: one process that imports torch, builds the model on the host for each cell, moves it to the device, warms
up forward only, then times STEPS steps with loss.item() inside and prints their mean. `tokmark`: bench_pytorch with the same cells.
They take turns, script first and last in turn. Prints each side's whole time and mean step by cell, and the ratio of the wholes.
"""
import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

# dim, layers, heads, hidden, vocabulary; 10b are the published defaults
SIZES = {"10b": (2048, 24, 16, 8192, 64000), "971m": (1024, 8, 16, 4096, 64000), "small": (256, 4, 8, 1024, 8192)}
CONFIG = """
    from dataclasses import dataclass


    @dataclass
    class ModelConfig:
        vocab_size: int = {4}
        max_position_embeddings: int = 4096
        dim: int = {0}
        n_layers: int = {1}
        n_heads: int = {2}
        expert_hidden: int = {3}
        n_experts: int = 8
        top_k: int = 2
        rotary_dim: int = 32
        dropout: float = 0.1
"""
MODEL = """
    import torch
    from torch import nn
    from torch.nn import functional as F


    class Norm(nn.Module):
        def __init__(self, dim):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(dim))

        def forward(self, x):
            return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * self.weight


    def rotate(x, cos, sin):
        n = 2 * cos.shape[-1]
        a, b, rest = x[..., : n // 2], x[..., n // 2 : n], x[..., n:]
        return torch.cat([a * cos - b * sin, a * sin + b * cos, rest], -1)


    class Attention(nn.Module):
        def __init__(self, c):
            super().__init__()
            self.heads, self.rotary = c.n_heads, c.rotary_dim
            self.qkv_proj = nn.Linear(c.dim, 3 * c.dim)
            self.out_proj = nn.Linear(c.dim, c.dim)
            self.dropout = nn.Dropout(c.dropout)

        def forward(self, x):
            rows, length, dim = x.shape
            q, k, v = self.qkv_proj(x).view(rows, length, 3, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4)
            rates = 10000 ** (-torch.arange(0, self.rotary, 2, device=x.device) / self.rotary)
            angles = torch.arange(length, device=x.device)[:, None] * rates
            q, k = (rotate(part, angles.cos(), angles.sin()) for part in (q, k))
            weights = self.dropout((q @ k.transpose(-2, -1) * (dim // self.heads) ** -0.5).softmax(-1))
            return self.dropout(self.out_proj((weights @ v.to(weights.dtype)).transpose(1, 2).reshape(rows, length, dim)))


    class Expert(nn.Module):
        def __init__(self, c):
            super().__init__()
            self.w1, self.w2 = nn.Linear(c.dim, c.expert_hidden), nn.Linear(c.dim, c.expert_hidden)
            self.w3 = nn.Linear(c.expert_hidden, c.dim)
            self.dropout = nn.Dropout(c.dropout)

        def forward(self, x):
            return self.w3(self.dropout(F.silu(self.w1(x)) * self.w2(x)))


    class Layer(nn.Module):
        def __init__(self, c):
            super().__init__()
            self.top_k = c.top_k
            self.norm1, self.norm2 = Norm(c.dim), Norm(c.dim)
            self.attn = Attention(c)
            self.gate = nn.Linear(c.dim, c.n_experts, bias=False)
            self.experts = nn.ModuleList(Expert(c) for _ in range(c.n_experts))

        def forward(self, x):
            x = x + self.attn(self.norm1(x))
            y = self.norm2(x)
            values, chosen = self.gate(y).topk(self.top_k, dim=-1)
            weights = torch.zeros(*y.shape[:2], len(self.experts), device=y.device).scatter(-1, chosen, values.float().softmax(-1))
            return x + sum(weights[..., i:i + 1] * expert(y) for i, expert in enumerate(self.experts))


    class SuperIntelligenceModel(nn.Module):
        def __init__(self, config):
            super().__init__()
            self.config = config
            self.token_embedding = nn.Embedding(config.vocab_size, config.dim)
            self.position_embedding = nn.Parameter(torch.zeros(1, config.max_position_embeddings, config.dim))
            self.dropout = nn.Dropout(config.dropout)
            self.layers = nn.ModuleList(Layer(config) for _ in range(config.n_layers))
            self.norm = Norm(config.dim)
            self.lm_head = nn.Linear(config.dim, config.vocab_size, bias=False)
            for module in self.modules():
                if isinstance(module, nn.Linear):
                    nn.init.xavier_uniform_(module.weight)
                    if module.bias is not None:
                        nn.init.zeros_(module.bias)
            nn.init.normal_(self.token_embedding.weight, std=0.02)

        def forward(self, ids):
            x = self.dropout(self.token_embedding(ids) + self.position_embedding[:, : ids.shape[1]])
            for layer in self.layers:
                x = layer(x)
            return self.lm_head(self.norm(x))
"""
SCRIPT = """
    import json, sys, time
    import torch
    from torch.nn import functional as F
    from superintelligence.config import ModelConfig
    from superintelligence.model import SuperIntelligenceModel

    device, batch, steps, seqs = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), [int(s) for s in sys.argv[4:]]
    kind = torch.device(device).type
    synchronize = torch.cuda.synchronize if kind == "cuda" else lambda: None
    for seq in seqs:
        for mode in ("train", "infer"):
            model = SuperIntelligenceModel(ModelConfig(max_position_embeddings=seq)).to(device)
            ids = torch.randint(0, model.config.vocab_size, (batch, seq), device=device)
            optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)
            model.train(mode == "train")

            def step():
                with torch.autocast(kind, torch.bfloat16), torch.set_grad_enabled(mode == "train"):
                    logits = model(ids)
                    loss = F.cross_entropy(logits.view(-1, logits.shape[-1]), ids.view(-1))
                if mode == "train":
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                return loss.item()

            with torch.no_grad():
                for _ in range(5):
                    model(ids)
            synchronize()
            times = []
            for _ in range(steps):
                begin = time.perf_counter()
                step()
                synchronize()
                times.append(time.perf_counter() - begin)
            print(json.dumps([f"{mode} {batch}x{seq}", 1e3 * sum(times) / len(times)]), flush=True)
            del model, optimizer
"""


def write(path, text):
    path.parent.mkdir(exist_ok=True)
    path.write_text(textwrap.dedent(text))


def write_package(folder, size):
    write(folder / "superintelligence" / "__init__.py", "")
    write(folder / "superintelligence" / "config.py", CONFIG.format(*SIZES[size]))
    write(folder / "superintelligence" / "model.py", MODEL)


def run_script(options, folder):
    done = subprocess.run([sys.executable, "script.py", options.device, str(options.batch), str(options.steps), *map(str, options.seq)],
                          cwd=folder, check=True, capture_output=True, text=True)
    return dict(map(json.loads, done.stdout.splitlines()))


def run_tokmark(options, folder):
    with tempfile.TemporaryDirectory() as out:
        done = subprocess.run([str(Path(options.program).absolute() / "bench_pytorch"), "--python", sys.executable, "--device", options.device, "--precision", "bf16",
                               "--batch", str(options.batch), "--seq", *map(str, options.seq), "--steps", str(options.steps), "--quiet", "--out", out],
                              cwd=folder, check=False, capture_output=True, text=True)
        records = [json.loads(line) for line in Path(out, "bench_results.jsonl").read_text().splitlines()]
    if done.returncode not in (0, 3):
        sys.exit(f"bench_pytorch: exit code {done.returncode}\n{done.stderr}")
    for record in records:
        print("   ", *[record[key] for key in "mode seq_len verdict model_source params_millions ms_p50 load_ms first_step_ms warmup_ms start start_ms".split() if key in record])
    return {f"{record['mode']} {record['batch_size']}x{record['seq_len']}": record["ms_per_step"] for record in records}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", required=True, help="folder with bench_pytorch")
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--size", default="971m", choices=SIZES)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seq", type=int, nargs="+", default=[128, 512])
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    sides = {"script": run_script, "tokmark": run_tokmark}
    walls, means = {name: [] for name in sides}, {name: [] for name in sides}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_package(folder, options.size)
        write(folder / "script.py", SCRIPT)
        for i in range(options.rounds):
            for side in list(sides)[:: 1 if i % 2 == 0 else -1]:
                begin = time.monotonic()
                means[side].append(sides[side](options, folder))
                walls[side].append(time.monotonic() - begin)
                print(f"round {i}: {side} {walls[side][-1]:.1f} s", flush=True)
    print("| cell | script, mean ms | tokmark, mean ms |\n| --- | --- | --- |")
    for cell in means["script"][0]:
        print(f"| {cell} | " + " | ".join(f"{statistics.median(m[cell] for m in means[side]):.1f}" for side in sides) + " |")
    print("| whole, s | " + " | ".join(f"{statistics.median(walls[side]):.1f}" for side in sides) + " |")
    print(f"tokmark / script: {statistics.median(walls['tokmark']) / statistics.median(walls['script']):.3f}")


if __name__ == "__main__":
    main()
