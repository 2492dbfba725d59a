"""Our own PyTorch implementation of the architecture of DESIGN section 7, over a model's settings.

Parameter names are the published ones, so that a state_dict fits. Shapes: B rows, T tokens, D dim,
H heads of size S.
"""
import torch
import torch.nn.functional as F
from torch import nn

from .torch_moe import Moe, grouped_mm_works, published
from .torch_spread import local, own_part


class RmsNorm(nn.Module):
    def __init__(self, dim, eps):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.empty(dim))

    def forward(self, x):
        if hasattr(F, "rms_norm"):  # since 2.4
            # Weights gathered in bf16 meet sums in fp32: of two types there is no fused kernel, but some twenty small ones.
            return F.rms_norm(x, self.weight.shape, self.weight.to(x.dtype), self.eps)
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
        self.shares = None

    def spread_matrices(self, shares):
        """Each rank keeps its own part of the hidden dimension."""
        self.shares = shares
        for linear, name, dim in ((self.fc, "weight", 0), (self.fc, "bias", 0), (self.proj, "weight", 1)):
            setattr(linear, name, own_part(getattr(linear, name), shares.mesh, dim))

    def forward(self, x):
        if self.shares is None:
            return self.dropout(self.proj(F.gelu(self.fc(x), approximate="tanh")))
        hidden = F.linear(self.shares.enter(x), local(self.fc.weight), local(self.fc.bias))
        out = F.linear(F.gelu(hidden, approximate="tanh"), local(self.proj.weight))
        return self.dropout(self.shares.leave(out) + self.proj.bias)


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
    # split, not slices: the gradient of a slice is a whole tensor of zeros around it
    first, second, rest = x.split([half, half, x.shape[-1] - 2 * half], dim=-1)
    return torch.cat([first * cosines - second * sines, second * cosines + first * sines, rest], dim=-1)


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
        self.shares = None
        self.head_dim = spec.head_dim

    def spread_heads(self, shares):
        """Each rank keeps its own heads: the same rows of queries, keys and values, and the columns behind them."""
        self.shares = shares
        self.heads_count //= shares.count
        linear = self.qkv_proj
        for name in ("weight", "bias"):
            whole = getattr(linear, name)
            own = own_part(whole.detach().view(3, -1, *whole.shape[1:]), shares.mesh, 1)
            setattr(self, f"qkv_{name}", own)
        del self.qkv_proj
        self.out_proj.weight = own_part(self.out_proj.weight, shares.mesh, 1)

    def _project(self, x):
        """x (B, T, D) -> (B, T, 3, own heads, S)"""
        if self.shares is None:
            qkv = self.qkv_proj(x)
        else:
            weight = local(self.qkv_weight)
            qkv = F.linear(self.shares.enter(x), weight.reshape(-1, weight.shape[-1]), local(self.qkv_bias).reshape(-1))
        return qkv.view(*x.shape[:2], 3, self.heads_count, self.head_dim)

    def _put_together(self, heads):
        """heads (B, T, own heads x S) -> (B, T, D)"""
        if self.shares is None:
            return self.out_proj(heads)
        return self.shares.leave(F.linear(heads, local(self.out_proj.weight))) + self.out_proj.bias

    def forward(self, x, rotary, cache, position):
        """`cache`: (keys, values), each (B, H, positions, S), or None."""
        B, T, _ = x.shape
        qkv = self._project(x)
        query_key, value = qkv.split([2, 1], dim=2)
        if rotary is not None:
            query_key = rotate(query_key, *rotary)
        query, key, value = (part.transpose(1, 2) for part in (*query_key.unbind(2), value.squeeze(2)))
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
        return self.dropout(self._put_together(out.transpose(1, 2).reshape(B, T, -1)))


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
        # not drawn here: without memory that would import PyTorch's compiler, which takes as long as PyTorch itself
        self.token_embedding = nn.Embedding.from_pretrained(torch.empty(spec.vocab_size, spec.dim), freeze=False)
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
        shape = (rows_count, self.layers[0].attn.heads_count, positions_count, spec.head_dim)
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
                module.has_grouped = has_grouped and module.form == "routed" and module.is_aligned(self.spec)

    def published(self, name, tensor):
        """[(published name, part)] of a parameter, which may be several in one."""
        before, is_joined, part = name.rpartition(".attn.qkv_")
        if is_joined and not part.startswith("proj."):  # Attention.spread_heads()
            return [(f"{before}.attn.qkv_proj.{part}", tensor.view(-1, *tensor.shape[2:]))]
        return published(name, tensor)

    def experts_way(self):
        """How the experts are computed, for the record; None where there are none."""
        for module in self.modules():
            if isinstance(module, Moe):
                if module.form == "published":
                    return "every expert"
                way = "experts grouped" if module.has_grouped else "experts split"
                return f"{way}, spread" if module.is_spread else way
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


def build(spec, moe_form, device, param_dtype, compute_dtype, place=None):
    """The model with initialised weights, made on the device in their type: nothing is made on the
    host and moved, so that ten billion parameters take seconds. `place` is given every layer as soon as
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
        if place is not None and isinstance(part, Layer):
            if hasattr(part, "moe"):
                part.moe.join()
            place(part, is_last=part is model.layers[-1])
    model.set_compute_dtype(compute_dtype)
    if place is not None:
        place(model)
    return model
