"""Our own PyTorch implementation of the architecture of DESIGN section 7, over a model's settings.

Parameter names are the published ones, so that a state_dict fits. Shapes: B rows, T tokens, D dim,
H heads of size S.
"""
import torch
import torch.nn.functional as F
from torch import nn

from .torch_moe import Moe, grouped_mm_works


class RmsNorm(nn.Module):
    def __init__(self, dim, eps):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.empty(dim))

    def forward(self, x):
        if hasattr(F, "rms_norm"):  # since 2.4
            return F.rms_norm(x, self.weight.shape, self.weight, self.eps)
        wide = x.float()
        return (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)).to(
            x.dtype
        ) * self.weight


def _norm(spec):
    if spec.norm == "layer":
        return nn.LayerNorm(spec.dim, eps=spec.norm_eps)
    return RmsNorm(spec.dim, spec.norm_eps)


class Mlp(nn.Module):
    """dropout(proj(gelu(fc x))), GELU in GPT-2's tanh form."""

    def __init__(self, spec):
        super().__init__()
        self.fc = nn.Linear(spec.dim, spec.ffn_hidden)
        self.proj = nn.Linear(spec.ffn_hidden, spec.dim)
        self.dropout = nn.Dropout(spec.dropout)

    def forward(self, x):
        return self.dropout(self.proj(F.gelu(self.fc(x), approximate="tanh")))


def rotary_table(spec):
    """cosines, sines (positions, 1, 1, rotary_dim / 2); angles in double."""
    half = torch.arange(0, spec.rotary_dim, 2, dtype=torch.float64, device="cpu")
    positions = torch.arange(spec.max_seq_len, dtype=torch.float64, device="cpu")
    angles = torch.outer(positions, spec.rotary_base ** (-half / spec.rotary_dim))
    angles = angles.reshape(spec.max_seq_len, 1, 1, spec.rotary_dim // 2)
    return angles.cos(), angles.sin()


def rotate(x, cosines, sines):
    """The first dims of every head turned as pairs (x[i], x[i + half]); x (B, T, 2, H, S)."""
    half = cosines.shape[-1]
    first, second = x[..., :half], x[..., half : 2 * half]
    return torch.cat(
        [first * cosines - second * sines, second * cosines + first * sines, x[..., 2 * half :]],
        dim=-1,
    )


def _attend_plainly(query, key, value, dropout_rate, is_causal):
    """No fused kernel of a CPU knows dropout, and the plain form that PyTorch then takes turns bf16
    into fp32 first; this one stays in the type that was asked for."""
    scores = query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5
    if is_causal:
        T = query.shape[-2]
        future = torch.ones(T, T, dtype=torch.bool, device=query.device).triu(1)
        scores = scores.masked_fill(future, float("-inf"))
    return F.dropout(scores.softmax(dim=-1), dropout_rate) @ value


class Attention(nn.Module):
    def __init__(self, spec):
        super().__init__()
        self.heads_count = spec.heads_count
        self.is_causal = spec.is_causal
        self.dropout_rate = spec.dropout
        self.qkv_proj = nn.Linear(spec.dim, 3 * spec.dim)
        self.out_proj = nn.Linear(spec.dim, spec.dim)
        self.dropout = nn.Dropout(spec.dropout)

    def forward(self, x, rotary, cache, position):
        """`cache`: (keys, values), each (B, H, positions, S), or None."""
        B, T, D = x.shape
        qkv = self.qkv_proj(x).view(B, T, 3, self.heads_count, D // self.heads_count)
        query_key, value = qkv[:, :, :2], qkv[:, :, 2].transpose(1, 2)
        if rotary is not None:
            query_key = rotate(query_key, *rotary)
        query, key = query_key[:, :, 0].transpose(1, 2), query_key[:, :, 1].transpose(1, 2)
        is_causal = self.is_causal
        if cache is not None:
            keys, values = cache
            keys[:, :, position : position + T] = key
            values[:, :, position : position + T] = value
            key, value = keys[:, :, : position + T], values[:, :, : position + T]
            is_causal = T > 1  # one token sees everything before it: no mask
        dropout_rate = self.dropout_rate if self.training else 0.0
        if dropout_rate > 0 and x.device.type == "cpu":
            out = _attend_plainly(query, key, value, dropout_rate, is_causal)
        else:
            out = F.scaled_dot_product_attention(
                query, key, value, dropout_p=dropout_rate, is_causal=is_causal
            )
        return self.dropout(self.out_proj(out.transpose(1, 2).reshape(B, T, D)))


class Layer(nn.Module):
    def __init__(self, spec, moe_form):
        super().__init__()
        self.norm1 = _norm(spec)
        self.attn = Attention(spec)
        self.norm2 = _norm(spec)
        if spec.ffn == "gelu":
            self.mlp = Mlp(spec)
        else:
            self.moe = Moe(spec, moe_form)

    def forward(self, x, rotary, cache, position):
        x = x + self.attn(self.norm1(x), rotary, cache, position)
        feed_forward = self.mlp if hasattr(self, "mlp") else self.moe
        return x + feed_forward(self.norm2(x))


class Transformer(nn.Module):
    """tokens (B, T) -> logits (B, T, vocabulary).

    With a cache (new_cache()), tokens stand at positions `position` ...; they see what is in the
    cache before them and, when there are several, only those before them: the cache must then be
    filled from position 0 in one call.
    """

    def __init__(self, spec, moe_form):
        super().__init__()
        self.spec = spec
        self.compute_dtype = torch.float32
        self.token_embedding = nn.Embedding(spec.vocab_size, spec.dim)
        self.position_embedding = nn.Parameter(torch.empty(spec.max_seq_len, spec.dim))
        self.dropout = nn.Dropout(spec.dropout)
        self.layers = nn.ModuleList(Layer(spec, moe_form) for _ in range(spec.layers_count))
        self.norm = _norm(spec)
        if not spec.is_head_tied:
            self.lm_head = nn.Linear(spec.dim, spec.vocab_size, bias=False)

    def forward(self, tokens, cache=None, position=0):
        T = tokens.shape[1]
        positions = self.position_embedding[position : position + T]
        x = self.dropout(self.token_embedding(tokens) + positions)
        rotary = None
        if self.spec.rotary_dim > 0:
            rotary = [table[position : position + T] for table in (self.cosines, self.sines)]
        for index, layer in enumerate(self.layers):
            x = layer(x, rotary, None if cache is None else cache[index], position)
        x = self.norm(x)
        if self.spec.is_head_tied:
            return F.linear(x, self.token_embedding.weight)
        return self.lm_head(x)

    def new_cache(self, rows_count, positions_count):
        """Per layer (keys, values), zero, in the type that matmuls run in."""
        spec = self.spec
        shape = (rows_count, spec.heads_count, positions_count, spec.head_dim)
        weight = self.token_embedding.weight
        return [
            tuple(
                torch.zeros(shape, dtype=self.compute_dtype, device=weight.device) for _ in "kv"
            )
            for _ in self.layers
        ]

    def set_compute_dtype(self, dtype):
        """What matmuls run in: autocast's type, or the parameters'."""
        device = self.token_embedding.weight.device
        self.compute_dtype = dtype
        if self.spec.rotary_dim > 0:
            cosines, sines = rotary_table(self.spec)
            self.register_buffer("cosines", cosines.to(device, dtype), persistent=False)
            self.register_buffer("sines", sines.to(device, dtype), persistent=False)
        has_grouped = None
        for module in self.modules():
            if isinstance(module, Moe):
                if has_grouped is None:
                    has_grouped = grouped_mm_works(device, dtype, self.spec)
                module.compute_dtype = dtype
                module.has_grouped = has_grouped and module.form == "routed"

    def experts_way(self):
        """How the experts are computed, for the record; None where there are none."""
        for module in self.modules():
            if isinstance(module, Moe):
                if module.form == "published":
                    return "every expert"
                return "experts grouped" if module.has_grouped else "experts split"
        return None


@torch.no_grad()
def reset(module):
    """The published initialisation of the parameters of its own."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            module.bias.zero_()
    elif isinstance(module, nn.Embedding):
        module.weight.normal_(0.0, 0.02)
    elif isinstance(module, (nn.LayerNorm, RmsNorm)):
        module.weight.fill_(1.0)
        if getattr(module, "bias", None) is not None:
            module.bias.zero_()


def _allocate(module, device, dtype):
    """The parameters of its own, without values."""
    if isinstance(module, Moe):
        module.allocate(device, dtype)
    for name, param in list(module._parameters.items()):
        if param is not None and param.is_meta:
            empty = torch.empty_like(param, device=device, dtype=dtype)
            module._parameters[name] = nn.Parameter(empty)


def build(spec, moe_form, device, param_dtype, compute_dtype, shard=None):
    """The model with initialised weights, made on the device in their type: nothing is made on the
    host and moved, so that ten billion parameters take seconds. `shard` is given every layer as soon as
    it is made, and the model at the end: the same values as without, and one layer at a time whole."""
    with torch.device("meta"):
        model = Transformer(spec, moe_form)
    _allocate(model, device, param_dtype)
    with torch.no_grad():
        model.position_embedding.zero_()
    parts = [part for child in model.children() for part in (child if child is model.layers else [child])]
    for part in parts:
        for module in part.modules():
            _allocate(module, device, param_dtype)
        for module in part.modules():
            reset(module)
        if shard is not None and isinstance(part, Layer):
            shard(part)
    model.set_compute_dtype(compute_dtype)
    if shard is not None:
        shard(model)
    return model
