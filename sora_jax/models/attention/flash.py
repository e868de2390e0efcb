"""Attention of packed rows in blocks of queries, in plain JAX.

A block of queries attends to one window of keys that holds its segments, with
one softmax: XLA's CPU backend runs product, maximum and exponential as one
kernel over this tile. The windows have few sizes, and there is one loop for
each size, over the blocks that need it. Keys outside the window are never
computed; memory grows with L.

The backward pass computes each tile again (Dao et al., arXiv:2205.14135). Of a
row it keeps only one over the sum; the maximum is computed with the tile.
"""

import functools
import math

import jax
from jax import ad_checkpoint
import jax.numpy as jnp

# Queries of a block. Each product packs the keys anew, so a larger block is
# faster, but it wastes more on other segments. A row without a mask has twice
# as many, and a short row with a mask, which is packed from short clips, half.
BLOCK_Q = 512
SHORT = 1024
BLOCK_K = 128
# Up to so many keys the window is the whole row: smaller tiles save less than
# they cost.
WHOLE = 256
NEVER = -1e30  # the score of a masked key; finite, so never NaN
LAST = 2**30  # padding sorts after every segment
# No index here is negative; to provide for that is a fifth of a traced step.
_slice = functools.partial(jax.lax.dynamic_slice, allow_negative_indices=False)
_put = functools.partial(jax.lax.dynamic_update_slice,
                         allow_negative_indices=False)


def flash(q: jax.Array, k: jax.Array, v: jax.Array,
          q_seg: jax.Array | None = None,
          kv_seg: jax.Array | None = None) -> jax.Array:
  """Blocks of queries, windows of keys; see the module docstring."""
  b, l, _, _ = q.shape
  s = k.shape[1]
  pad_k = -s % BLOCK_K if s > WHOLE else 0
  masked = q_seg is not None or pad_k > 0
  if q_seg is None:
    q_seg, kv_seg = jnp.zeros((b, l), jnp.int32), jnp.zeros((b, s), jnp.int32)
  pad_q = -l % _block_size(l, masked)
  order = lambda seg: jnp.where(seg == 0, LAST, seg)
  # Padded queries repeat the last segment (their gradient is zero); padded
  # keys have a segment that no query has.
  q_seg = jnp.pad(order(q_seg), ((0, 0), (0, pad_q)), mode="edge")
  kv_seg = jnp.pad(order(kv_seg), ((0, 0), (0, pad_k)),
                   constant_values=LAST + 1)
  major = lambda x, n: jnp.pad(x, ((0, 0), (0, n), (0, 0), (0, 0))).swapaxes(
      1, 2)  # [B, N, L, K]
  out = _flash(masked, major(q, pad_q), major(k, pad_k), major(v, pad_k), q_seg,
               kv_seg)
  return out[:, :, :l].swapaxes(1, 2)


def _block_size(length: int, masked: bool) -> int:
  """The block of queries: a multiple of 8, little padding."""
  limit = BLOCK_Q // 2 if length <= SHORT else BLOCK_Q
  limit = limit if masked else 2 * BLOCK_Q
  count = math.ceil(length / limit)
  return -(-math.ceil(length / count) // 8) * 8


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _flash(masked, q, k, v, q_seg, kv_seg):
  return _forward(masked, q, k, v, q_seg, kv_seg)[0]


def _forward(masked, q, k, v, q_seg, kv_seg):
  """q [B, N, L, K], segments [B, L] -> out [B, N, L, K], 1 / sum [B, N, L]."""
  q, kt = _scaled(q), k.mT

  def head(carry, tile, penalty, has_key):
    out, inverse = carry
    p = _exp_scores(tile.rows(q), tile.columns_t(kt), penalty)
    one = jnp.where(has_key, 1 / p.sum(-1), 0)
    part = _product(p.astype(v.dtype), tile.columns(v)) * one[:, None]
    return tile.put_rows(out, part), tile.put_rows(inverse, one[:, None])

  start = jnp.zeros_like(q), jnp.zeros((*q.shape[:3], 1))
  out, inverse = _loop(masked, head, start, q_seg, kv_seg)
  return out, inverse


def _flash_fwd(masked, q, k, v, q_seg, kv_seg):
  out, inverse = _forward(masked, q, k, v, q_seg, kv_seg)
  # A remat policy keeps them by this name. Otherwise the backward pass of a
  # rematerialised layer would run the whole forward pass again.
  out = ad_checkpoint.checkpoint_name(out, "attention")
  inverse = ad_checkpoint.checkpoint_name(inverse, "attention")
  return out, (q, k, v, q_seg, kv_seg, out, inverse)


def _flash_bwd(masked, residuals, grad):
  """Gradients of q, k, v.

  Those of k and v are accumulated transposed, [K, S]: then no product contracts
  the rows of its left side, which takes XLA's CPU backend twice the time. The
  division by the sum of a row is applied to grad, not to the tile p.
  """
  q, k, v, q_seg, kv_seg, out, inverse = residuals
  delta = jnp.sum((out * grad).astype(jnp.float32), -1, keepdims=True) * inverse
  grad = (grad * inverse).astype(q.dtype)
  q, kt, vt = _scaled(q), k.mT, v.mT
  qt, gt = q.mT, grad.mT

  def head(carry, tile, penalty, _):
    dq, dkt, dvt = carry
    p = _exp_scores(tile.rows(q), tile.columns_t(kt), penalty)
    ds = p * (_product(tile.rows(grad), tile.columns_t(vt)) - tile.rows(delta))
    p, ds = p.astype(q.dtype), ds.astype(q.dtype)
    return (tile.put_rows(dq, _product(ds, tile.columns(k))),
            tile.add_columns_t(dkt, _product(tile.rows_t(qt), ds)),
            tile.add_columns_t(dvt, _product(tile.rows_t(gt), p)))

  start = jnp.zeros_like(q), jnp.zeros(kt.shape), jnp.zeros(vt.shape)
  dq, dkt, dvt = _loop(masked, head, start, q_seg, kv_seg)
  return (_scaled(dq), dkt.mT.astype(k.dtype), dvt.mT.astype(v.dtype), None,
          None)


_flash.defvjp(_flash_fwd, _flash_bwd)


class _Tile:
  """The place of one tile: a block of queries of one head, a window of keys."""

  def __init__(self, row, head, row_start, rows, column_start, columns):
    self.index = row, head
    self.r, self.c = (row_start, rows), (column_start, columns)

  def _get(self, x, start, shape):
    return _slice(x, (*self.index, *start), (1, 1, *shape))[0, 0]

  def rows(self, x):
    return self._get(x, (self.r[0], 0), (self.r[1], x.shape[3]))

  def rows_t(self, x):
    return self._get(x, (0, self.r[0]), (x.shape[2], self.r[1]))

  def columns(self, x):
    return self._get(x, (self.c[0], 0), (self.c[1], x.shape[3]))

  def columns_t(self, x):
    return self._get(x, (0, self.c[0]), (x.shape[2], self.c[1]))

  def put_rows(self, x, part):
    return _put(x, part.astype(x.dtype)[None, None], (*self.index, self.r[0], 0))

  def add_columns_t(self, x, part):
    return _put(x, (self.columns_t(x) + part)[None, None],
                (*self.index, 0, self.c[0]))


def _loop(masked, head, carry, q_seg, kv_seg):
  """Runs `head` for every block of queries with its window, and every head.

  Args:
    masked: whether any key may belong to another segment than the query.
    head: (carry, _Tile, penalty [bq, w] or None, has_key [bq]) -> carry; the
      penalty is 0 within a segment and NEVER elsewhere.
    carry: arrays [B, N, ..]; a block without keys leaves them unchanged.
    q_seg: [B, L] segments.
    kv_seg: [B, S] segments.

  Returns:
    The last carry.
  """
  (b, l), s = q_seg.shape, kv_seg.shape[1]
  heads = carry[0].shape[1]
  bq, bk = _block_size(l, masked), s if s <= WHOLE else BLOCK_K
  low, count, same = _ranges(q_seg, kv_seg, bq, bk)  # [B, L / bq]
  sizes = [2**i for i in range((s // bk - 1).bit_length())] + [s // bk]
  # One kind of block for each size of window, and one for whole rows of one
  # segment, which need no mask. Blocks without keys sort last and are not run.
  kind = jnp.searchsorted(jnp.array(sizes), count)
  kind = jnp.where(same, len(sizes), kind)
  kind = jnp.where(count == 0, len(sizes) + 1, kind).reshape(-1)
  order = jnp.argsort(kind)
  ends = jnp.searchsorted(kind[order], jnp.arange(len(sizes) + 2))

  def block(size, mask, j, carry):
    row, i = order[j] // (l // bq), order[j] % (l // bq)
    start = jnp.minimum(low[row, i], s // bk - size) * bk
    seg = _slice(q_seg, (row, i * bq), (1, bq))[0]
    penalty, has_key = None, jnp.full(bq, True)
    if mask:
      keys = _slice(kv_seg, (row, start), (1, size * bk))
      equal = seg[:, None] == keys
      penalty, has_key = jnp.where(equal, 0., NEVER), jnp.any(equal, -1)
    step = lambda h, carry: head(
        carry, _Tile(row, h, i * bq, bq, start, size * bk), penalty, has_key)
    return jax.lax.fori_loop(0, heads, step, carry)

  kinds = [(size, True) for size in sizes] if masked else []
  for index, (size, mask) in enumerate(kinds):
    carry = jax.lax.fori_loop(ends[index], ends[index + 1],
                              functools.partial(block, size, mask), carry)
  first, last = (ends[len(sizes)], ends[len(sizes) + 1]) if masked else (
      0, b * l // bq)
  return jax.lax.fori_loop(first, last,
                           functools.partial(block, s // bk, False), carry)


def _exp_scores(q, kt, penalty):
  """exp(scores - their maximum) [bq, w]."""
  x = _product(q, kt)
  if penalty is not None:
    x = x + penalty
  return jnp.exp(x - x.max(-1, keepdims=True))


def _scaled(x):
  return (x * x.shape[-1]**-.5).astype(x.dtype)


def _product(a, b):
  return jax.lax.dot(a, b, preferred_element_type=jnp.float32)


def _ranges(q_seg, kv_seg, bq: int, bk: int):
  """The window of each block of queries, each array [B, L / bq].

  Returns:
    low: the first block of keys that holds one of its segments.
    count: the blocks from there to the last such block.
    same: whether all its queries and all keys are of one segment.
  """
  b = q_seg.shape[0]
  q_blocks, k_blocks = q_seg.reshape(b, -1, bq), kv_seg.reshape(b, -1, bk)
  least, most = q_blocks.min(-1), q_blocks.max(-1)
  meet = ((most[:, :, None] >= k_blocks.min(-1)[:, None]) &
          (least[:, :, None] <= k_blocks.max(-1)[:, None]))
  index = jnp.arange(meet.shape[-1])
  low = jnp.min(jnp.where(meet, index, meet.shape[-1]), -1)
  high = jnp.max(jnp.where(meet, index + 1, 0), -1)
  same = ((least == most) & (kv_seg.min(-1) == least.T).T &
          (kv_seg.max(-1) == least.T).T)
  return low, jnp.maximum(high - low, 0), same
