"""Splash attention on TPU for packed rows.

The kernel is that of jax.experimental.pallas.ops.tpu.splash_attention. Segment
ids alone make it mask, not skip: a row would cost its square. So it is given a
small block mask, which says for each block of queries the blocks of keys whose
ranges of segments meet its own; what a visited block holds of other segments is
masked by the ids. The block mask is a function of the segments alone: `blocks`
makes it once for all layers.

On another platform than TPU the kernel runs in the interpreter, for tests.
"""

import math
from typing import NamedTuple

import jax
from jax.experimental.pallas.ops.tpu import splash_attention as lib
from jax.experimental.pallas.ops.tpu.splash_attention import (
    splash_attention_kernel as kernels,
)
from jax.experimental.pallas.ops.tpu.splash_attention import (
    splash_attention_mask_info as masks,
)
import jax.numpy as jnp

from sora_jax import mesh as mesh_lib

BLOCK = 1024  # tokens of a block at most; see experiments/pods/blocks.py
COMPUTE = 512  # columns of a block that are worked on at a time
LANES = 128  # a block is a multiple of this
# The kernel that makes all gradients at once keeps a dq for each block of keys:
# ten times the memory at 32k, little at less than this.
FUSED = 16_384
# The block mask lies in the scalar memory, which is small. Beyond 262,144 tokens
# a row is one clip, to be sampled, and visits all blocks.
MASK_BLOCKS = 256**2
MASKED = kernels.DEFAULT_MASK_VALUE  # a score that is not counted
NEVER = -1e30  # above MASKED, below every score
LAST = 2**30  # padding, and what fills up, sort behind every segment
NONE, EXTRA = -2, -1  # segments of queries and keys that fill up a block


class Blocks(NamedTuple):
  """What the kernel has to know of the segments of queries and keys.

  Attributes:
    there: [B, L] bool, whether a query has a key at all; None if all have.
    meet: [B, queries / block, keys / block] int8, 2 where the blocks are
      visited, else 0; None if all are.
    next_k: int16 of the same shape, in the order of rows, the block of keys of
      this pair or of the next that is visited: what is fetched meanwhile.
    next_q: the same for blocks of queries, in the order of columns.
  """

  there: jax.Array | None = None
  meet: jax.Array | None = None
  next_k: jax.Array | None = None
  next_q: jax.Array | None = None


def attend(q, k, v, q_seg=None, kv_seg=None, blocks: Blocks | None = None):
  """Softmax attention within segments.

  Args:
    q: [B, L, N, K] queries.
    k: [B, S, N, K] keys.
    v: [B, S, N, K] values.
    q_seg: [B, L] int32, or None: all see all.
    kv_seg: [B, S] int32, or None.
    blocks: of `make_blocks(q_seg, kv_seg)`, if it was made before.

  Returns:
    [B, L, N, K] in the dtype of q.
  """
  if q_seg is not None and blocks is None:
    blocks = make_blocks(q_seg, kv_seg)

  def row(args, blocks):
    q, k, v, q_seg, kv_seg = args
    ids = None if q_seg is None else lib.SegmentIds(q_seg, kv_seg)
    return _kernel(q.shape[1], k.shape[1], blocks)(q, k, v, ids)

  out = _rows(row, _padded(q, k, v, q_seg, kv_seg), blocks or Blocks())
  out = out[:, :, :q.shape[1]].swapaxes(1, 2)
  if blocks is None or blocks.there is None:
    return out
  return jnp.where(blocks.there[..., None, None], out, 0)


def forward(q, k, v, q_seg, kv_seg):
  """`attend`, and the log-sum-exp [B, N, L] float32; not differentiable.

  A query without a key has a log-sum-exp of about -1e38.
  """

  def row(args, blocks):
    q, k, v, *ids = args
    kernel = _kernel(q.shape[1], k.shape[1], blocks, save_residuals=True)
    out, (lse,) = kernel(q, k, v, lib.SegmentIds(*ids))
    return out, lse

  args = _padded(q, k, v, q_seg, kv_seg)
  out, lse = _rows(row, args, _meeting(*args[3:]))
  lse = lse[:, :, :q.shape[1]]
  out = jnp.where(lse[..., None] > NEVER, out[:, :, :q.shape[1]], 0)
  return out.swapaxes(1, 2), lse


def backward(q, k, v, q_seg, kv_seg, out, lse, grad):
  """Gradients of q, k and v, where k and v may be a part of all keys.

  Args:
    q, k, v, q_seg, kv_seg: of `forward`.
    out: [B, L, N, K] attention to all keys.
    lse: [B, N, L] of all keys.
    grad: [B, L, N, K] of `out`.
  """

  def row(args, blocks):
    q, k, v, q_seg, kv_seg, out, lse, grad = args
    kernel = _kernel(q.shape[1], k.shape[1], blocks)
    # The library's backward pass, with an output and log-sum-exp that are not
    # those of these keys alone: it has no public name.
    found = kernels._splash_attention_bwd(
        False, MASKED, False, kernel.kwargs["block_sizes"], None, None, None,
        kernel.kwargs["interpret"],
        (q, k, v, lib.SegmentIds(q_seg, kv_seg), None, out, lse,
         kernel.dq_mask_info, kernel.dkv_mask_info), grad)
    return found[3:6]

  args = _padded(q, k, v, q_seg, kv_seg)
  more = (_fill(x, args[0].shape[2], 2) for x in (
      out.swapaxes(1, 2), jnp.maximum(lse, NEVER), grad.swapaxes(1, 2)))
  dq, dk, dv = _rows(row, (*args, *more), _meeting(*args[3:]))
  back = lambda x, like: x[:, :, :like.shape[1]].swapaxes(1, 2)
  return back(dq * q.shape[-1]**-.5, q), back(dk, k), back(dv, v)


def make_blocks(q_seg, kv_seg, own: bool = False) -> Blocks:
  """The `Blocks` of segments [B, L] and [B, S].

  Args:
    q_seg, kv_seg: int32.
    own: queries and keys are of the same tokens, so that each has a key.
  """
  sizes = _block(q_seg.shape[1]), _block(kv_seg.shape[1])
  filled = (_fill(seg, -(-seg.shape[1] // size) * size, 1, extra)
            for seg, size, extra in zip((q_seg, kv_seg), sizes, (NONE, EXTRA)))
  blocks = _meeting(*filled)
  if own:
    return blocks
  return blocks._replace(
      there=jnp.any(q_seg[:, :, None] == kv_seg[:, None], -1))


def _meeting(q_seg, kv_seg) -> Blocks:
  """`make_blocks` of whole blocks, but for `there`."""
  bq, bk = _block(q_seg.shape[1]), _block(kv_seg.shape[1])
  if q_seg.shape[1] // bq * (kv_seg.shape[1] // bk) > MASK_BLOCKS:
    return Blocks()
  order = lambda seg, n: jnp.where(seg > 0, seg, LAST - seg).reshape(
      seg.shape[0], -1, n)
  q, k = order(q_seg, bq), order(kv_seg, bk)
  meet = ((q.max(-1)[:, :, None] >= k.min(-1)[:, None]) &
          (q.min(-1)[:, :, None] <= k.max(-1)[:, None]))
  # A block of queries that visited none would divide by zero.
  first = jnp.arange(meet.shape[2]) == 0
  meet |= ~meet.any(2, keepdims=True) & first
  return Blocks(meet=2 * meet.astype(jnp.int8), next_k=_next(meet),
                next_q=_next(meet.swapaxes(1, 2)).swapaxes(1, 2))


def _next(meet) -> jax.Array:
  """The column of the first true at or after each place, row after row."""
  b, rows, columns = meet.shape
  flat = meet.reshape(b, -1)
  place = jnp.where(flat, jnp.arange(rows * columns), rows * columns)
  place = jax.lax.cummin(place, axis=1, reverse=True)
  place = jnp.where(place == rows * columns, place[:, :1], place)
  return (place % columns).astype(jnp.int16).reshape(meet.shape)


def _kernel(length: int, keys: int, blocks: Blocks,
            save_residuals: bool = False):
  """The kernel of one row of whole blocks; blocks without the axis B."""
  bq, bk = _block(length), _block(keys)
  part = COMPUTE if bk % COMPUTE == 0 else bk
  fused = keys < FUSED
  sizes = lib.BlockSizes(
      block_q=bq, block_kv=bk, block_kv_compute=part, block_q_dkv=bq,
      block_kv_dkv=bk, block_kv_dkv_compute=part,
      block_q_dq=None if fused else bq, block_kv_dq=None if fused else bk,
      use_fused_bwd_kernel=fused)
  one = lambda x: None if x is None else x[None]  # a mask for all heads
  info = lambda x: masks.MaskInfo(one(x), None, one(blocks.meet), None, None)
  rows = info(blocks.next_k)
  return kernels.SplashAttentionKernel(
      rows, None if fused else rows, info(blocks.next_q), is_mqa=False,
      mask_value=MASKED, block_sizes=sizes, save_residuals=save_residuals,
      attn_logits_soft_cap=None, residual_checkpoint_name="attention",
      mask_function=None, interpret=mesh_lib.platform() != "tpu")


def _padded(q, k, v, q_seg, kv_seg):
  """q scaled, all with heads in front and in whole blocks: [B, N, L, K]."""
  l, s = q.shape[1], k.shape[1]
  up = lambda n: -(-n // _block(n)) * _block(n)
  if q_seg is None and up(s) > s:
    q_seg, kv_seg = (jnp.ones(x.shape[:2], jnp.int32) for x in (q, k))
  q, k, v = (_fill(x.swapaxes(1, 2), up(n), 2) for x, n in (
      (q * q.shape[-1]**-.5, l), (k, s), (v, s)))
  if q_seg is not None:
    q_seg = _fill(q_seg, up(l), 1, NONE)
    kv_seg = _fill(kv_seg, up(s), 1, EXTRA)
  return q, k, v, q_seg, kv_seg


def _fill(x, length: int, axis: int, value=0):
  """x, extended to `length` along an axis."""
  pad = [(0, length - n if i == axis else 0) for i, n in enumerate(x.shape)]
  return jnp.pad(x, pad, constant_values=value)


def _rows(fn, args, blocks: Blocks):
  """fn of each row: the kernel takes one mask."""
  args = (args, blocks._replace(there=None))
  if jax.tree.leaves(args)[0].shape[0] > 1:
    return jax.lax.map(lambda x: fn(*x), args)
  out = fn(*jax.tree.map(lambda x: x[0], args))
  return jax.tree.map(lambda x: x[None], out)


def _block(length: int) -> int:
  """The block length: at most BLOCK, a multiple of LANES, little padding."""
  count = math.ceil(length / BLOCK)
  return -(-math.ceil(length / count) // LANES) * LANES
