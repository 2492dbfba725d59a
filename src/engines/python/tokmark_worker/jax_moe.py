"""Mixture of experts in JAX, in two forms that give the same numbers.

published  every expert works on every token, and the gate's weights keep the chosen ones' results
routed     each expert works on its own tokens only. Shapes are fixed when a program is compiled,
           and how many tokens an expert gets is known only when it runs. Two ways, both exact
           however uneven the gate is (no token is ever dropped), both with a backward pass of
           their own:

tiles   Tokens sorted by expert are laid out in tiles of M rows, every expert's padded to whole
        tiles; a scan takes a tile and that expert's weights at a time. The work is the chosen
        experts' alone. For CPUs, where a copy of the weights per tile costs little beside it.
ranks   Experts are put in order of how many tokens they have: the n-th fullest of them cannot have
        more than k N / n, so that each can work on a slice of fixed size. With 8 experts, 2 of
        them chosen, that is 55 % of every expert's work, in large matmuls, without a loop and
        without the host waiting for a count; a step costs the same however uneven the gate is.
        For accelerators.

What AD would make of a scan is a sum over whole gradients a tile; the backward pass here adds to
one expert's in place.
"""
import functools

import jax
import jax.numpy as jnp
from jax import lax

NAMES = ("w1.weight", "w1.bias", "w2.weight", "w2.bias", "w3.weight", "w3.bias")
_TILE_ROWS_MAX = 128
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


def routed(x, chosen, weights, params, key, rate, way, is_part=False):
    """The same from the chosen experts only. way: tiles or ranks. is_part: of more experts these are
    some, and `chosen` counts from the first of them; of the others nothing comes out."""
    N, active = chosen.shape
    experts_count = params[0].shape[0]
    if is_part:
        is_here = (chosen >= 0) & (chosen < experts_count)
        chosen = jnp.where(is_here, chosen, experts_count)  # sorted behind all that are here
    slots = chosen.reshape(-1)
    order = jnp.argsort(slots)
    place = jnp.zeros_like(order).at[order].set(
        jnp.arange(N * active, dtype=order.dtype), unique_indices=True
    )
    counts = (slots[:, None] == jnp.arange(experts_count)).sum(0).astype(jnp.int32)
    sorted_rows = _spread(x, order // active, place)
    if is_part:  # nothing goes back from what is behind them either
        sorted_rows = jnp.where((slots[order] < experts_count)[:, None], sorted_rows, 0)
    if way == "tiles":
        out = _run_tiles(sorted_rows, counts, params, key, rate, is_part)
    else:
        out = _run_ranks(sorted_rows, counts, params, key, rate, N)
    out = _gather_back(out, place, order).reshape(N, active, -1)
    if is_part:
        out = jnp.where(is_here[..., None], out, 0)
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


# --- matmuls -------------------------------------------------------------------------------------


def _dot(a, b, a_dim, b_dim, out_type=None):
    """Product over one dimension of each."""
    return lax.dot_general(
        a, b, (((a_dim,), (b_dim,)), ((), ())), preferred_element_type=out_type or a.dtype
    )


def _hidden(a, b, key, rate):
    return dropout(jax.nn.silu(a) * b, key, rate)


def _forward(rows, params, key, rate):
    """rows (M, D) through one expert: (result, and what w1 and w2 gave)."""
    w1, b1, w2, b2, w3, b3 = params
    a = _dot(rows, w1, 1, 1) + b1
    b = _dot(rows, w2, 1, 1) + b2
    return _dot(_hidden(a, b, key, rate), w3, 1, 1) + b3, a, b


def _backward(rows, params, key, rate, a, b, grad, types):
    """Gradients of the rows, and of the params in the types that their own have."""
    w1, _, w2, _, w3, _ = params
    hidden, pull = jax.vjp(lambda a, b: _hidden(a, b, key, rate), a, b)
    grad_a, grad_b = pull(_dot(grad, w3, 1, 0))
    grad_rows = _dot(grad_a, w1, 1, 0) + _dot(grad_b, w2, 1, 0)
    grads = []
    for index, (left, right) in enumerate(((grad_a, rows), (grad_b, rows), (grad, hidden))):
        grads.append(_dot(left, right, 0, 0, types[2 * index]))
        grads.append(left.astype(jnp.float32).sum(0).astype(types[2 * index + 1]))
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


def _run_tiles(rows, counts, params, key, rate, is_part):
    """rows (S, D) sorted by expert -> their results, in the same order; is_part: rows behind the last
    expert's are none's, and their results mean nothing."""
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
    expert = jnp.minimum((at[:, None] >= ends).sum(1), experts_count - 1)
    place = at + ((tile_ends - tiles) * M - (ends - counts))[expert]
    source = jnp.zeros(tiles_count * M, jnp.int32).at[place].set(
        at.astype(jnp.int32), unique_indices=True
    )
    padded = _take_unique(rows, source, place).reshape(tiles_count, M, -1)
    used = tile_ends[-1] if is_part else None
    out = _tiles(rate, padded, owner, used, key, tuple(params))
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
def _tiles(rate, tiles, owner, used, key, params):
    """tiles (n, M, D), owner (n,): the expert of each -> (n, M, D); used: how many there are, None = n"""
    return _tiles_forward(rate, tiles, owner, used, key, params)[0]


def _tiles_forward(rate, tiles, owner, used, key, params):
    cast = [part.astype(tiles.dtype) for part in params]

    def one(index, tile):
        rows, expert = tile
        return index + 1, _forward(rows, _of_expert(cast, expert), _key_at(key, index), rate)

    _, (out, a, b) = _scan(one, jnp.int32(0), (tiles, owner), used)
    return out, (tiles, owner, used, key, params, a, b)


def _tiles_backward(rate, saved, grad):
    tiles, owner, used, key, params, a, b = saved
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

    (_, sums), grad_tiles = _scan(one, (jnp.int32(0), zeros), (tiles, owner, a, b, grad), used)
    return grad_tiles, None, None, None, tuple(sums)


def _scan(one, carry, parts, used):
    """lax.scan over the first `used` of the parts; what the others would give is zero. None: all."""
    if used is None:
        return lax.scan(one, carry, parts)

    tree_map = jax.tree_util.tree_map

    def at(index):
        return tree_map(lambda whole: lax.dynamic_index_in_dim(whole, index, 0, False), parts)

    count = jax.tree_util.tree_leaves(parts)[0].shape[0]
    made = jax.eval_shape(one, carry, at(0))[1]
    outs = tree_map(lambda part: jnp.zeros((count, *part.shape), part.dtype), made)

    def step(index, both):
        carry, out = one(both[0], at(index))
        outs = tree_map(lambda whole, part: lax.dynamic_update_index_in_dim(whole, part, index, 0), both[1], out)
        return carry, outs

    return lax.fori_loop(0, used, step, (carry, outs))


_tiles.defvjp(_tiles_forward, _tiles_backward)


# --- ranks --------------------------------------------------------------------------------------


def rank_rows(slots_count, experts_count, tokens_count):
    """The most slots that the fullest expert, the second fullest ... can have: n of them with x each
    make n x slots, and an expert has a token once."""
    most = [min(tokens_count, slots_count // (index + 1)) for index in range(experts_count)]
    return tuple(max(1, -(-rows // _ROWS_ALIGN) * _ROWS_ALIGN) for rows in most)


def _run_ranks(rows, counts, params, key, rate, tokens_count):
    """rows (S, D) sorted by expert -> their results, in the same order; of rows behind the last
    expert's they mean nothing."""
    slots_count, experts_count = rows.shape[0], counts.shape[0]
    sizes = rank_rows(slots_count, experts_count, tokens_count)
    fullest = jnp.argsort(-counts)
    rank = jnp.argsort(fullest)
    ends = jnp.cumsum(counts)
    starts = ends - counts
    at = jnp.arange(slots_count, dtype=jnp.int32)
    expert = jnp.minimum((at[:, None] >= ends).sum(1), experts_count - 1)
    offsets = jnp.asarray([sum(sizes[:index]) for index in range(experts_count)], jnp.int32)
    place = jnp.minimum(offsets[rank[expert]] + at - starts[expert], sum(sizes) - 1)
    ranked = (starts[fullest], counts[fullest])
    taken = _take_ranks(sizes, rows, ranked, place)
    cast = [_by_rank(part.astype(rows.dtype), fullest, rank) for part in params]
    outs, first = [], 0
    for index, size in enumerate(sizes):
        part = lax.slice_in_dim(taken, first, first + size)
        of_expert = [whole[index] for whole in cast]
        outs.append(_forward(part, of_expert, _key_at(key, index), rate)[0])
        first += size
    return _put_ranks(sizes, jnp.concatenate(outs), ranked, place)


@jax.custom_vjp
def _by_rank(part, fullest, rank):
    """part[fullest]: the experts' weights in the order of their ranks."""
    del rank
    return part[fullest]


def _by_rank_backward(rank, grad):
    """The gradient ends here as an array of its own. Without the barrier XLA puts the choice among
    the ranks' matmuls into the optimizer's update of every layer, where it costs an H200 100 of
    148 ms (superintelligence-1b, 8 x 512, bf16; jax 0.11)."""
    return lax.optimization_barrier(grad[rank]), None, None


_by_rank.defvjp(lambda part, fullest, rank: (part[fullest], rank), _by_rank_backward)


def _slices(sizes, rows, starts, counts=None):
    """Rows of each rank, one behind the other; zeros behind the first counts[i], if given."""
    padded = jnp.pad(rows, ((0, max(sizes)), (0, 0)))
    parts = []
    for index, size in enumerate(sizes):
        part = lax.dynamic_slice_in_dim(padded, starts[index], size)
        if counts is not None:
            part = jnp.where(jnp.arange(size)[:, None] < counts[index], part, 0)
        parts.append(part)
    return jnp.concatenate(parts)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _take_ranks(sizes, rows, ranked, place):
    """What stands behind a rank's own rows is another's: nobody reads what comes of it."""
    del place
    return _slices(sizes, rows, ranked[0])


_take_ranks.defvjp(
    lambda sizes, rows, ranked, place: (_slices(sizes, rows, ranked[0]), place),
    lambda sizes, place, grad: (grad[place], None, None),
)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _put_ranks(sizes, rows, ranked, place):
    del sizes, ranked
    return rows[place]


_put_ranks.defvjp(
    lambda sizes, rows, ranked, place: (rows[place], ranked),
    lambda sizes, ranked, grad: (_slices(sizes, grad, *ranked), None, None),
)
