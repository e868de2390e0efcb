"""Splash attention on TPU for packed rows.

The kernel is jax's, see splash_library.py. Segment ids alone make it mask, not
skip: a row would cost its square. So it also gets a small block mask, which
says for each block of queries which blocks of keys it visits: those whose range
of segments meets its own. The ids mask what a visited block holds of other
segments. The block mask is a function of the segments alone, so that
`make_block_mask` serves all layers at once.

One kernel makes all gradients. It keeps a part of dq for each block of keys, ten
times the memory at 32k keys, so long rows run it for one group of blocks after
the other and add the dq up: 7 products of scores a step in all, where a kernel
for dq and one for dk and dv do 9.

On platforms other than TPU the kernel runs in the interpreter, for tests.
"""

import dataclasses
import functools
import math
import os
import re
from typing import NamedTuple

import jax
import jax.numpy as jnp

from sora_jax import mesh as mesh_lib
from sora_jax.models.attention import splash_library as lib


@dataclasses.dataclass(frozen=True)
class Blocks:
  """How the kernel divides its work, in tokens.

  Attributes:
    q, kv: of a block of queries and of keys at most.
    compute: columns of a block of keys that are computed at a time.
    vmem: KiB of fast memory that this takes; a compiler that is not allowed so
      much (--xla_tpu_scoped_vmem_limit_kib) gets SMALL.
  """

  q: int
  kv: int
  compute: int
  vmem: int = 0


SMALL = Blocks(1024, 1024, 512)  # see experiments/pods/blocks.py
# By generation of the TPU. MaxDiffusion trains Wan at 3024 x 2048 on v5p.
LARGE = {"v5p": Blocks(3072, 2048, 1024, 65_472),
         "v6e": Blocks(2048, 2048, 1024, 98_304)}
# Matrix products over all pairs of attention and its gradients: two forward, and
# five in the one backward kernel, the scores computed again.
PRODUCTS = 7
LANES = 128  # a block is a multiple of this
# Keys from which on the gradients are made group by group, and blocks of keys
# of a group: the parts of dq that there are at a time.
LONG = 16_384
GROUP = 4
COMPUTE = 512  # columns, where Blocks.compute does not divide a block
# The block mask lies in the scalar memory, which is small. A row of more than
# 262,144 tokens is one clip that is sampled: it visits all blocks.
MASK_BLOCKS = 256**2
NEVER = -1e30  # above lib.MASKED, below every score
LAST = 2**30  # padding sorts after every segment
NONE, EXTRA = -2, -1  # segments of the queries and keys that fill a block


class BlockMask(NamedTuple):
  """What the kernel must know of the segments of queries and keys.

  Attributes:
    has_key: [B, L] bool, whether a query has any key; None if all have.
    visited: [B, queries / block, keys / block] int8, 2 where a pair of blocks
      is visited, else 0; None if all are.
    next_k: int16 of the same shape, the block of keys of this pair or of the
      next visited one in the order of rows: what is fetched meanwhile.
    next_q: the same for blocks of queries, in the order of columns.
  """

  has_key: jax.Array | None = None
  visited: jax.Array | None = None
  next_k: jax.Array | None = None
  next_q: jax.Array | None = None


def attend(q: jax.Array, k: jax.Array, v: jax.Array,
           q_seg: jax.Array | None = None, kv_seg: jax.Array | None = None,
           block_mask: BlockMask | None = None) -> jax.Array:
  """Softmax attention within segments.

  Args:
    q: [B, L, N, K] queries.
    k: [B, S, N, K] keys.
    v: [B, S, N, K] values.
    q_seg: [B, L] int32; None if all see all.
    kv_seg: [B, S] int32; given when q_seg is.
    block_mask: of `make_block_mask(q_seg, kv_seg)`, if it was made before.

  Returns:
    [B, L, N, K] in the dtype of q.
  """
  if q_seg is not None and kv_seg is not None and block_mask is None:
    block_mask = make_block_mask(q_seg, kv_seg)
  mask = block_mask or BlockMask()

  def row(args, mask):
    q, k, v, q_seg, kv_seg = args
    ids = None if q_seg is None else lib.SegmentIds(q_seg, kv_seg)
    if k.shape[1] >= LONG:
      return _long(q, k, v, ids, mask)
    return _kernel(q.shape[1], k.shape[1], mask)(q, k, v, ids)

  out = _rows(row, _padded(q, k, v, q_seg, kv_seg), mask)
  out = out[:, :, :q.shape[1]].swapaxes(1, 2)
  if mask.has_key is None:
    return out
  return jnp.where(mask.has_key[..., None, None], out, 0)


def forward(q: jax.Array, k: jax.Array, v: jax.Array, q_seg: jax.Array,
            kv_seg: jax.Array) -> tuple[jax.Array, jax.Array]:
  """`attend`, and the log-sum-exp [B, N, L] float32; not differentiable.

  A query without a key has a log-sum-exp of about -1e38.
  """

  def row(args, mask):
    q, k, v, *ids = args
    kernel = _kernel(q.shape[1], k.shape[1], mask, save_residuals=True)
    out, (lse,) = kernel(q, k, v, lib.SegmentIds(*ids))
    return out, lse

  args = _padded(q, k, v, q_seg, kv_seg)
  out, lse = _rows(row, args, _whole_block_mask(*args[3:]))
  lse = lse[:, :, :q.shape[1]]
  out = jnp.where(lse[..., None] > NEVER, out[:, :, :q.shape[1]], 0)
  return out.swapaxes(1, 2), lse


def backward(
    q: jax.Array, k: jax.Array, v: jax.Array, q_seg: jax.Array,
    kv_seg: jax.Array, out: jax.Array, lse: jax.Array, grad: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Gradients of q, k and v, where k and v may be a part of all keys.

  Args:
    q, k, v, q_seg, kv_seg: of `forward`.
    out: [B, L, N, K] attention to all keys.
    lse: [B, N, L] of all keys.
    grad: [B, L, N, K] of `out`.
  """

  def row(args, mask):
    q, k, v, q_seg, kv_seg, out, lse, grad = args
    return _gradients(q, k, v, lib.SegmentIds(q_seg, kv_seg), mask, out, lse,
                      grad)

  args = _padded(q, k, v, q_seg, kv_seg)
  more = (_fill(x, args[0].shape[2], 2) for x in (
      out.swapaxes(1, 2), jnp.maximum(lse, NEVER), grad.swapaxes(1, 2)))
  dq, dk, dv = _rows(row, (*args, *more), _whole_block_mask(*args[3:]))
  back = lambda x, like: x[:, :, :like.shape[1]].swapaxes(1, 2)
  return back(dq * q.shape[-1]**-.5, q), back(dk, k), back(dv, v)


@jax.custom_vjp
def _long(q, k, v, ids, mask):
  """The kernel of one row of whole blocks, [N, L, K] each."""
  return _long_fwd(q, k, v, ids, mask)[0]


def _long_fwd(q, k, v, ids, mask):
  kernel = _kernel(q.shape[1], k.shape[1], mask, save_residuals=True)
  out, (lse,) = kernel(q, k, v, ids)
  return out, (q, k, v, ids, mask, out, lse)


def _long_bwd(saved, grad):
  q, k, v, ids, mask, out, lse = saved
  dq, dk, dv = _gradients(q, k, v, ids, mask, out, lse, grad)
  return dq.astype(q.dtype), dk, dv, None, None


_long.defvjp(_long_fwd, _long_bwd)


def _gradients(q, k, v, ids, mask: BlockMask, out, lse, grad):
  """Gradients [N, L, K] of one row, by groups of blocks of keys if it is long."""

  def of_part(k, v, kv_ids, mask):
    kernel = _kernel(q.shape[1], k.shape[1], mask, keys_in_all)
    part = None if ids is None else lib.SegmentIds(ids.q, kv_ids)
    return lib.backward(
        False, lib.MASKED, False, kernel.kwargs["block_sizes"], None, None,
        None, kernel.kwargs["interpret"],
        (q, k, v, part, None, out, lse, None, kernel.dkv_mask_info),
        grad)[3:6]

  keys_in_all = k.shape[1]
  groups = keys_in_all // _block_sizes(1, keys_in_all)[1] // GROUP
  kv_ids = None if ids is None else ids.kv
  if keys_in_all < LONG or groups < 2:
    return of_part(k, v, kv_ids, mask)

  def one(dq, part):
    more, *both = of_part(*part)
    return dq + more, both

  cut = functools.partial(_cut, groups)
  parts = (cut(k, 1), cut(v, 1), cut(kv_ids, 0), BlockMask(
      visited=cut(mask.visited, 1), next_q=cut(mask.next_q, 1)))
  dq, both = jax.lax.scan(one, jnp.zeros(q.shape, jnp.float32), parts)
  return dq, *(jnp.moveaxis(x, 0, 1).reshape(k.shape) for x in both)


def _cut(parts: int, x, axis: int):
  """x in `parts` along an axis, which becomes (parts in front, rest)."""
  if x is None:
    return None
  shape = (*x.shape[:axis], parts, -1, *x.shape[axis + 1:])
  return jnp.moveaxis(x.reshape(shape), axis, 0)


def make_block_mask(q_seg: jax.Array, kv_seg: jax.Array,
                    own: bool = False) -> BlockMask:
  """The `BlockMask` of segments [B, L] and [B, S] int32.

  Args:
    q_seg, kv_seg: the segments.
    own: queries and keys are of the same tokens, so that each has a key.
  """
  lengths = _whole(q_seg.shape[1], kv_seg.shape[1])
  filled = (_fill(seg, length, 1, extra) for seg, length, extra in zip(
      (q_seg, kv_seg), lengths, (NONE, EXTRA)))
  mask = _whole_block_mask(*filled)
  if own:
    return mask
  return mask._replace(
      has_key=jnp.any(q_seg[:, :, None] == kv_seg[:, None], -1))


def _whole_block_mask(q_seg, kv_seg) -> BlockMask:
  """`make_block_mask` of segments that fill whole blocks, without `has_key`."""
  bq, bk = _block_sizes(q_seg.shape[1], kv_seg.shape[1])
  if q_seg.shape[1] // bq * (kv_seg.shape[1] // bk) > MASK_BLOCKS:
    return BlockMask()
  order = lambda seg, n: jnp.where(seg > 0, seg, LAST - seg).reshape(
      seg.shape[0], -1, n)
  q, k = order(q_seg, bq), order(kv_seg, bk)
  visited = ((q.max(-1)[:, :, None] >= k.min(-1)[:, None]) &
             (q.min(-1)[:, :, None] <= k.max(-1)[:, None]))
  # A block of queries that visits none would divide by zero.
  first = jnp.arange(visited.shape[2]) == 0
  visited |= ~visited.any(2, keepdims=True) & first
  return BlockMask(visited=2 * visited.astype(jnp.int8), next_k=_next(visited),
                   next_q=_next(visited.swapaxes(1, 2)).swapaxes(1, 2))


def _next(visited) -> jax.Array:
  """The column of the first true at or after each place, row after row."""
  b, rows, columns = visited.shape
  flat = visited.reshape(b, -1)
  place = jnp.where(flat, jnp.arange(rows * columns), rows * columns)
  place = jax.lax.cummin(place, axis=1, reverse=True)
  place = jnp.where(place == rows * columns, place[:, :1], place)
  return (place % columns).astype(jnp.int16).reshape(visited.shape)


def _kernel(length: int, keys: int, mask: BlockMask, of: int = 0,
            save_residuals: bool = False):
  """The kernel of one row of whole blocks; `mask` without the axis B.

  Args:
    length, keys: of the row.
    mask: of them.
    of: the keys of the whole row, where these are a part of them.
    save_residuals: also return the log-sum-exp.
  """
  lib.require()
  bq, bk = _block_sizes(length, of or keys)
  compute = _blocks().compute
  part = compute if bk % compute == 0 else COMPUTE if bk % COMPUTE == 0 else bk
  sizes = lib.BlockSizes(
      block_q=bq, block_kv=bk, block_kv_compute=part, block_q_dkv=bq,
      block_kv_dkv=bk, block_kv_dkv_compute=part, use_fused_bwd_kernel=True)
  one = lambda x: None if x is None else x[None]  # a mask for all heads
  info = lambda x: lib.MaskInfo(one(x), None, one(mask.visited), None, None)
  return lib.Kernel(
      info(mask.next_k), None, info(mask.next_q), is_mqa=False,
      mask_value=lib.MASKED, block_sizes=sizes, save_residuals=save_residuals,
      attn_logits_soft_cap=None, residual_checkpoint_name="attention",
      mask_function=None, interpret=mesh_lib.platform() != "tpu")


def _padded(q, k, v, q_seg, kv_seg):
  """q scaled, and all as [B, N, L, K] of `_whole`, segments too."""
  l, s = _whole(q.shape[1], k.shape[1])
  if q_seg is None and s > k.shape[1]:
    q_seg, kv_seg = (jnp.ones(x.shape[:2], jnp.int32) for x in (q, k))
  q, k, v = (_fill(x.swapaxes(1, 2), n, 2) for x, n in (
      (q * q.shape[-1]**-.5, l), (k, s), (v, s)))
  if q_seg is not None:
    q_seg = _fill(q_seg, l, 1, NONE)
    kv_seg = _fill(kv_seg, s, 1, EXTRA)
  return q, k, v, q_seg, kv_seg


def _fill(x, length: int, axis: int, value=0):
  """x, extended to `length` along an axis."""
  pad = [(0, length - n if i == axis else 0) for i, n in enumerate(x.shape)]
  return jnp.pad(x, pad, constant_values=value)


def _rows(fn, args, mask: BlockMask):
  """fn of each row, as the kernel takes the mask of one."""
  args = (args, mask._replace(has_key=None))
  if jax.tree.leaves(args)[0].shape[0] > 1:
    return jax.lax.map(lambda x: fn(*x), args)
  out = fn(*jax.tree.map(lambda x: x[0], args))
  return jax.tree.map(lambda x: x[None], out)


def _whole(length: int, keys: int) -> tuple[int, int]:
  """So many queries and keys, filled up to whole blocks, and groups of them."""
  bq, bk = _block_sizes(length, keys)
  return -(-length // bq) * bq, _count(keys) * bk


def _block_sizes(length: int, keys: int) -> tuple[int, int]:
  """The blocks of so many queries and keys, multiples of LANES.

  They are as even as can be, for little padding.
  """
  even = lambda n, parts: -(-math.ceil(n / parts) // LANES) * LANES
  return (even(length, math.ceil(length / _blocks().q)),
          even(keys, _count(keys)))


def _count(keys: int) -> int:
  """Blocks of so many keys, whole groups of them in long rows."""
  count = math.ceil(keys / _blocks().kv)
  return (-(-count // GROUP) * GROUP if keys >= LONG and count > GROUP
          else count)


def _blocks() -> Blocks:
  """The largest blocks that the chips of the mesh and the compiler allow."""
  blocks = LARGE.get(mesh_lib.generation(), SMALL)
  limit = re.search(r"--xla_tpu_scoped_vmem_limit_kib=(\d+)",
                    os.environ.get("LIBTPU_INIT_ARGS", ""))
  return blocks if limit and int(limit[1]) >= blocks.vmem else SMALL
