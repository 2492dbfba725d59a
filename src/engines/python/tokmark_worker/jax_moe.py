"""Mixture of experts in JAX, in two forms that give the same numbers.

published  every expert works on every token, and the gate's weights keep the chosen ones' results
routed     each expert works on its own tokens only. Shapes are fixed when a program is compiled,
           and how many tokens an expert gets is known only when it runs. Two ways, both exact
           however uneven the gate is (no token is ever dropped), both with a backward pass of
           their own:

tiles   Tokens sorted by expert are laid out in tiles of M rows, every expert's padded to whole
        tiles; a scan takes a tile and that expert's weights at a time. The work is the chosen
        experts' alone. For CPUs, where a copy of the weights per tile costs little beside it.
rounds  One product for all experts at once, over the next C tokens of each; as many rounds as the
        fullest expert needs. Few large products, which is what an accelerator wants; the work is
        that of E times the fullest expert, rounded up to C.

What AD would make of a scan is a sum over whole gradients a tile; the backward passes here add to
one expert's in place.
"""
import functools

import jax
import jax.numpy as jnp
from jax import lax

NAMES = ("w1.weight", "w1.bias", "w2.weight", "w2.bias", "w3.weight", "w3.bias")
_TILE_ROWS_MAX = 128
_ROUND_SLACK = 1.25
_ROWS_ALIGN = 8


def dropout(x, key, rate):
    """x with elements zeroed and the others scaled; by 16 random bits an element."""
    if key is None or rate == 0.0:
        return x
    least = round(rate * 65536)
    kept = jax.random.bits(key, x.shape, jnp.uint16) >= jnp.uint16(least)
    return jnp.where(kept, x * jnp.asarray(65536 / (65536 - least), x.dtype), 0)


def route(x, gate, active):
    """Chosen experts (N, k) and their weights (N, k) in fp32, from x (N, D)."""
    logits = lax.dot_general(
        x, gate.astype(x.dtype), (((1,), (1,)), ((), ())), preferred_element_type=jnp.float32
    )
    values, chosen = lax.top_k(logits, active)
    return chosen, jax.nn.softmax(values, axis=-1)


def every_expert(x, chosen, weights, params, key, rate):
    """x (N, D) -> (N, D)"""
    experts_count = params[0].shape[0]
    out = None
    for index in range(experts_count):
        w1, b1, w2, b2, w3, b3 = (part[index].astype(x.dtype) for part in params)
        hidden = jax.nn.silu(x @ w1.T + b1) * (x @ w2.T + b2)
        hidden = dropout(hidden, None if key is None else jax.random.fold_in(key, index), rate)
        share = jnp.where(chosen == index, weights, 0).sum(-1, keepdims=True).astype(x.dtype)
        part = (hidden @ w3.T + b3) * share
        out = part if out is None else out + part
    return out


def routed(x, chosen, weights, params, key, rate, way):
    """The same from the chosen experts only. way: tiles or rounds."""
    N, active = chosen.shape
    slots = chosen.reshape(-1)
    order = jnp.argsort(slots)
    place = jnp.zeros_like(order).at[order].set(
        jnp.arange(N * active, dtype=order.dtype), unique_indices=True
    )
    counts = (slots[:, None] == jnp.arange(params[0].shape[0])).sum(0).astype(jnp.int32)
    sorted_rows = _spread(x, order // active, place)
    run = _run_tiles if way == "tiles" else _run_rounds
    out = run(sorted_rows, counts, params, key, rate, N)
    out = _gather_back(out, place, order).reshape(N, active, -1)
    return (out * weights[..., None].astype(out.dtype)).sum(1)


# --- gathers whose backward passes gather too, where AD would add by scattering ------------------


@jax.custom_vjp
def _spread(x, source, place):
    """x[source]: every token once for each of its experts."""
    del place
    return x[source]


def _spread_forward(x, source, place):
    return x[source], (place, x.shape[0])


def _spread_backward(saved, grad):
    place, count = saved
    return grad[place].reshape(count, -1, grad.shape[-1]).sum(1), None, None


_spread.defvjp(_spread_forward, _spread_backward)


@jax.custom_vjp
def _gather_back(rows, place, order):
    """rows[place], `place` being a permutation and `order` its inverse."""
    del order
    return rows[place]


def _gather_back_forward(rows, place, order):
    return rows[place], order


def _gather_back_backward(order, grad):
    return grad[order], None, None


_gather_back.defvjp(_gather_back_forward, _gather_back_backward)


# --- products ------------------------------------------------------------------------------------


def _dot(a, b, a_dim, b_dim, is_batched, out_type=None):
    """Product over one dimension of each, the first being a batch of experts or not there."""
    batch = ((0,), (0,)) if is_batched else ((), ())
    return lax.dot_general(
        a, b, (((a_dim,), (b_dim,)), batch), preferred_element_type=out_type or a.dtype
    )


def _hidden(a, b, key, rate):
    return dropout(jax.nn.silu(a) * b, key, rate)


def _forward(rows, params, key, rate):
    """rows (M, D) and one expert's params, or (E, C, D) and all of them; (result, a, b)."""
    w1, b1, w2, b2, w3, b3 = (part.astype(rows.dtype) for part in params)
    at, is_batched = rows.ndim - 1, rows.ndim == 3
    a = _dot(rows, w1, at, at, is_batched) + b1[..., None, :]
    b = _dot(rows, w2, at, at, is_batched) + b2[..., None, :]
    out = _dot(_hidden(a, b, key, rate), w3, at, at, is_batched) + b3[..., None, :]
    return out, a, b


def _backward(rows, params, key, rate, a, b, grad, types):
    """Gradients of the rows, and of the params in the types that their own have."""
    w1, _, w2, _, w3, _ = (part.astype(rows.dtype) for part in params)
    at, is_batched = rows.ndim - 1, rows.ndim == 3
    row = at - 1
    hidden, pull = jax.vjp(lambda a, b: _hidden(a, b, key, rate), a, b)
    grad_a, grad_b = pull(_dot(grad, w3, at, row, is_batched))
    grad_rows = _dot(grad_a, w1, at, row, is_batched) + _dot(grad_b, w2, at, row, is_batched)
    grads = []
    for index, (left, right) in enumerate(((grad_a, rows), (grad_b, rows), (grad, hidden))):
        grads.append(_dot(left, right, row, row, is_batched, types[2 * index]))
        grads.append(left.astype(jnp.float32).sum(row).astype(types[2 * index + 1]))
    return grad_rows, grads


def _key_at(key, index):
    return None if key is None else jax.random.fold_in(key, index)


# --- tiles ---------------------------------------------------------------------------------------


def tile_rows(slots_count, experts_count):
    """Half of an even share, as a power of two: little padding, and large enough to work on."""
    rows = 1
    while 4 * rows * experts_count <= slots_count and rows < _TILE_ROWS_MAX:
        rows *= 2
    return rows


def _run_tiles(rows, counts, params, key, rate, _tokens_count):
    """rows (S, D) sorted by expert -> their results, in the same order."""
    slots_count, experts_count = rows.shape[0], counts.shape[0]
    M = tile_rows(slots_count, experts_count)
    # an expert adds at most one tile that is not full, and no tile is without a slot
    tiles_count = min(-(-slots_count // M) + experts_count, slots_count)
    tiles = -(-counts // M)
    tile_ends = jnp.cumsum(tiles)
    owner = (jnp.arange(tiles_count)[:, None] >= tile_ends).sum(1).astype(jnp.int32)
    owner = jnp.minimum(owner, experts_count - 1)  # tiles behind the last one: nobody reads them
    ends = jnp.cumsum(counts)
    at = jnp.arange(slots_count)
    expert = (at[:, None] >= ends).sum(1)
    place = at + ((tile_ends - tiles) * M - (ends - counts))[expert]
    source = jnp.zeros(tiles_count * M, jnp.int32).at[place].set(
        at.astype(jnp.int32), unique_indices=True
    )
    padded = _take_unique(rows, source, place).reshape(tiles_count, M, -1)
    out = _tiles(rate, padded, owner, key, tuple(params))
    return _put_unique(out.reshape(tiles_count * M, -1), place)


@jax.custom_vjp
def _take_unique(rows, source, place):
    """rows[source]; place[i] is the only reader of row i that counts."""
    del place
    return rows[source]


_take_unique.defvjp(
    lambda rows, source, place: (rows[source], place),
    lambda place, grad: (grad[place], None, None),
)


@jax.custom_vjp
def _put_unique(rows, place):
    """rows[place], no row twice."""
    return rows[place]


_put_unique.defvjp(
    lambda rows, place: (rows[place], (place, rows.shape[0])),
    lambda saved, grad: (
        jnp.zeros((saved[1], grad.shape[1]), grad.dtype).at[saved[0]].set(
            grad, unique_indices=True
        ),
        None,
    ),
)


def _of_expert(params, index):
    return [lax.dynamic_index_in_dim(part, index, 0, keepdims=False) for part in params]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _tiles(rate, tiles, owner, key, params):
    """tiles (n, M, D), owner (n,): the expert of each -> (n, M, D)"""
    return _tiles_forward(rate, tiles, owner, key, params)[0]


def _tiles_forward(rate, tiles, owner, key, params):
    cast = [part.astype(tiles.dtype) for part in params]

    def one(index, tile):
        rows, expert = tile
        return index + 1, _forward(rows, _of_expert(cast, expert), _key_at(key, index), rate)

    _, (out, a, b) = lax.scan(one, jnp.int32(0), (tiles, owner))
    return out, (tiles, owner, key, params, a, b)


def _tiles_backward(rate, saved, grad):
    tiles, owner, key, params, a, b = saved
    cast = [part.astype(tiles.dtype) for part in params]
    zeros = [jnp.zeros_like(part) for part in params]
    types = [part.dtype for part in params]

    def one(carry, tile):
        index, sums = carry
        rows, expert, a, b, grad = tile
        grad_rows, grads = _backward(
            rows, _of_expert(cast, expert), _key_at(key, index), rate, a, b, grad, types
        )
        sums = [whole.at[expert].add(part) for whole, part in zip(sums, grads)]
        return (index + 1, sums), grad_rows

    (_, sums), grad_tiles = lax.scan(one, (jnp.int32(0), zeros), (tiles, owner, a, b, grad))
    return grad_tiles, None, None, tuple(sums)


_tiles.defvjp(_tiles_forward, _tiles_backward)


# --- rounds --------------------------------------------------------------------------------------


def round_rows(slots_count, experts_count, tokens_count):
    """Tokens of an expert in one round: somewhat over an even share, at most all there are."""
    rows = int(slots_count / experts_count * _ROUND_SLACK)
    return min(tokens_count, -(-max(1, rows) // _ROWS_ALIGN) * _ROWS_ALIGN)


def _run_rounds(rows, counts, params, key, rate, tokens_count):
    C = round_rows(rows.shape[0], counts.shape[0], tokens_count)
    return _rounds((rate, C, tokens_count), rows, counts, key, tuple(params))


def _round(rows, counts, index, C):
    """Where the index-th round's rows are: (E, C), and where they go: outside for padding."""
    at = index * C + jnp.arange(C, dtype=jnp.int32)
    places = (jnp.cumsum(counts) - counts)[:, None] + at
    slots_count = rows.shape[0]
    return (
        jnp.minimum(places, slots_count - 1),
        jnp.where(at < counts[:, None], places, slots_count),
    )


def _set(whole, places, part):
    flat = part.reshape(-1, part.shape[-1]).astype(whole.dtype)
    return whole.at[places.reshape(-1)].set(flat, mode="drop")


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _rounds(how, rows, counts, key, params):
    """rows (S, D) sorted by expert -> (S, D)"""
    return _rounds_forward(how, rows, counts, key, params)[0]


def _more_rounds(how, counts, run, first):
    """Rounds 1 ... as long as any expert has rows left; none are compiled where none can be."""
    _, C, tokens_count = how
    if C >= tokens_count:
        return first
    most = counts.max()
    index, carry = jnp.int32(1), first
    return lax.while_loop(
        lambda state: state[0] * C < most,
        lambda state: (state[0] + 1, run(state[0], state[1])),
        (index, carry),
    )[1]


def _rounds_forward(how, rows, counts, key, params):
    rate, C, _ = how
    cast = [part.astype(rows.dtype) for part in params]

    def one(index, out):
        source, target = _round(rows, counts, index, C)
        part, a, b = _forward(rows[source], cast, _key_at(key, index), rate)
        return _set(out, target, part), a, b

    out, a, b = one(jnp.int32(0), jnp.zeros_like(rows))
    out = _more_rounds(how, counts, lambda index, out: one(index, out)[0], out)
    return out, (rows, counts, key, params, a, b)


def _rounds_backward(how, saved, grad):
    rate, C, _ = how
    rows, counts, key, params, a, b = saved
    cast = [part.astype(rows.dtype) for part in params]

    def one(index, grad_rows, a, b):
        source, target = _round(rows, counts, index, C)
        taken = rows[source]
        if a is None:  # only the first round's are kept
            _, a, b = _forward(taken, cast, _key_at(key, index), rate)
        # padding rows have no gradient
        part = jnp.where((target < rows.shape[0])[..., None], grad[source], 0)
        types = [param.dtype for param in params]
        grad_taken, grads = _backward(taken, cast, _key_at(key, index), rate, a, b, part, types)
        return _set(grad_rows, target, grad_taken), grads

    def more(index, carry):
        grad_rows, sums = carry
        grad_rows, grads = one(index, grad_rows, None, None)
        return grad_rows, [whole + part for whole, part in zip(sums, grads)]

    first = one(jnp.int32(0), jnp.zeros_like(rows), a, b)
    grad_rows, sums = _more_rounds(how, counts, more, first)
    return grad_rows, None, None, tuple(sums)


_rounds.defvjp(_rounds_forward, _rounds_backward)
