"""The model in PyTorch, straight from the published facts and meant to be read, not to be fast.

One class covers both families, told apart by the same fields as a preset (models/*.json). Every
expert is computed for every token and masked, as the published code does it: an engine that computes
only the chosen ones must come to the same figures. Parameter names are the published ones.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F

# These models are so small that several threads only wait for one another, and do so busily.
torch.set_num_threads(1)


class RMSNorm(nn.Module):
    def __init__(self, dim, eps):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.eps = eps

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * self.weight


def make_norm(spec):
    if spec["norm"] == "rms":
        return RMSNorm(spec["dim"], spec["norm_eps"])
    return nn.LayerNorm(spec["dim"], eps=spec["norm_eps"])


def rotate_half(x):
    low, high = x.chunk(2, dim=-1)
    return torch.cat((-high, low), dim=-1)


def apply_rotary(x, rotary_dim, base):
    """x (B, heads, T, head_dim)"""
    if rotary_dim == 0:
        return x
    turned, kept = x[..., :rotary_dim], x[..., rotary_dim:]
    powers = torch.arange(0, rotary_dim, 2, dtype=x.dtype) / rotary_dim
    angles = torch.outer(torch.arange(x.shape[-2], dtype=x.dtype), base**-powers)
    angles = torch.cat((angles, angles), dim=-1)
    return torch.cat((turned * angles.cos() + rotate_half(turned) * angles.sin(), kept), dim=-1)


class Attention(nn.Module):
    def __init__(self, spec):
        super().__init__()
        self.spec = spec
        self.qkv_proj = nn.Linear(spec["dim"], 3 * spec["dim"])
        self.out_proj = nn.Linear(spec["dim"], spec["dim"])

    def forward(self, x):
        spec = self.spec
        B, T, C = x.shape
        heads = spec["heads_count"]
        qkv = self.qkv_proj(x).view(B, T, 3, heads, C // heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        q = apply_rotary(q, spec["rotary_dim"], spec["rotary_base"])
        k = apply_rotary(k, spec["rotary_dim"], spec["rotary_base"])
        scores = q @ k.transpose(-2, -1) * (C // heads) ** -0.5
        if spec["is_causal"]:
            future = torch.ones(T, T, dtype=torch.bool).triu(1)
            scores = scores.masked_fill(future, -math.inf)
        out = scores.softmax(-1) @ v
        return self.out_proj(out.transpose(1, 2).reshape(B, T, C))


class SwiGLU(nn.Module):
    def __init__(self, spec):
        super().__init__()
        self.w1 = nn.Linear(spec["dim"], spec["ffn_hidden"])
        self.w2 = nn.Linear(spec["dim"], spec["ffn_hidden"])
        self.w3 = nn.Linear(spec["ffn_hidden"], spec["dim"])

    def forward(self, x):
        return self.w3(F.silu(self.w1(x)) * self.w2(x))


class Expert(nn.Module):
    def __init__(self, spec):
        super().__init__()
        self.ffn = SwiGLU(spec)

    def forward(self, x):
        return self.ffn(x)


class MixtureOfExperts(nn.Module):
    def __init__(self, spec):
        super().__init__()
        self.active = spec["experts_active"]
        self.gate = nn.Linear(spec["dim"], spec["experts_count"], bias=False)
        self.experts = nn.ModuleList(Expert(spec) for _ in range(spec["experts_count"]))

    def forward(self, x):
        values, chosen = self.gate(x).topk(self.active, dim=-1)
        gates = values.softmax(-1)
        out = torch.zeros_like(x)
        for index, expert in enumerate(self.experts):
            weight = (gates * (chosen == index)).sum(-1, keepdim=True)
            out = out + weight * expert(x)
        return out


class DenseGELU(nn.Module):
    def __init__(self, spec):
        super().__init__()
        self.fc = nn.Linear(spec["dim"], spec["ffn_hidden"])
        self.proj = nn.Linear(spec["ffn_hidden"], spec["dim"])

    def forward(self, x):
        return self.proj(F.gelu(self.fc(x), approximate="tanh"))


class Layer(nn.Module):
    def __init__(self, spec):
        super().__init__()
        self.norm1 = make_norm(spec)
        self.attn = Attention(spec)
        self.norm2 = make_norm(spec)
        if spec["ffn"] == "moe_swiglu":
            self.moe = MixtureOfExperts(spec)
        else:
            self.mlp = DenseGELU(spec)

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        ffn = self.moe if hasattr(self, "moe") else self.mlp
        return x + ffn(self.norm2(x))


class ReferenceModel(nn.Module):
    """Without dropout: it is what engines are checked against."""

    def __init__(self, spec):
        super().__init__()
        self.token_embedding = nn.Embedding(spec["vocab_size"], spec["dim"])
        self.position_embedding = nn.Parameter(torch.zeros(spec["max_seq_len"], spec["dim"]))
        self.layers = nn.ModuleList(Layer(spec) for _ in range(spec["layers_count"]))
        self.norm = make_norm(spec)
        if not spec["is_head_tied"]:
            self.lm_head = nn.Linear(spec["dim"], spec["vocab_size"], bias=False)

    def forward(self, tokens):
        x = self.token_embedding(tokens) + self.position_embedding[: tokens.shape[1]]
        for layer in self.layers:
            x = layer(x)
        head = getattr(self, "lm_head", self.token_embedding).weight
        return F.linear(self.norm(x), head)


def loss_of(logits, targets):
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())
