"""Attention on a mesh: each device attends for its rows and heads.

Rows and heads are independent. Tokens are not, so where they are split over the
axis context too, either of two exchanges comes around the local attention:

  * ulysses (arXiv:2309.14509): an all-to-all gives each device all tokens of
    some of its heads, and another one undoes it.
  * ring (arXiv:2310.01889): keys and values go around, and what each part of
    them gives is put together by its log-sum-exp. It serves where the axis is
    wider than the heads divide; as much of the axis as they do divide is
    exchanged by ulysses within groups, so that the ring is short.
"""

import functools
import math

import jax
from jax import ad_checkpoint
import jax.numpy as jnp

from sora_jax import mesh as mesh_lib

ROWS, TOKENS, HEADS = mesh_lib.ROWS, mesh_lib.TOKENS, mesh_lib.HEADS


def attend(local, pair, split, q, k, v, q_seg, kv_seg, blocks):
  """`local`, on the mesh that we are on.

  Args:
    local: (q, k, v, q_seg, kv_seg, blocks) -> out, on one device.
    pair: (forward, backward) of the same attention, as in splash.py.
    split: what lies along the axis context: "", "queries" or "all".
    q: [B, L, N, K] queries; k, v: [B, S, N, K].
    q_seg: [B, L], kv_seg: [B, S] int32, or None.
    blocks: of `blocks`, or None.
  """
  if mesh_lib.current() is None:
    return local(q, k, v, q_seg, kv_seg, blocks)
  mode, width = _mode(split, *q.shape[1:3])
  mine = (ROWS, TOKENS if mode else None, HEADS, None)
  theirs = (ROWS, None, HEADS, None) if mode == "queries" else mine
  segs = (ROWS, TOKENS if mode == "queries" else None), (ROWS, None)
  if mode == "ulysses":
    local = functools.partial(_ulysses, local, None)
  elif mode == "ring":
    local = functools.partial(_ulysses, functools.partial(_ring, pair, width),
                              width)
    blocks = None
  fn = mesh_lib.sharded(local, (mine, theirs, theirs, *segs, segs[0]), mine)
  return fn(q, k, v, q_seg, kv_seg, blocks)


def blocks(make, split, q_seg, kv_seg, heads: int):
  """make(q_seg, kv_seg) for the shares of `attend`; None where it needs none.

  Args:
    make: of segments [B, L] and [B, S] -> a tree of arrays [B, ..] or, where
      the queries are split, [B, .., ..] that lie along them.
    split: as in `attend`.
    q_seg, kv_seg: [B, L] and [B, S] int32.
    heads: N of the attention.
  """
  if mesh_lib.current() is None:
    return make(q_seg, kv_seg)
  mode, _ = _mode(split, q_seg.shape[1], heads)
  if mode == "ring":
    return None
  mine = (ROWS, TOKENS if mode == "queries" else None)
  return mesh_lib.sharded(make, (mine, (ROWS, None)), mine)(q_seg, kv_seg)


def _mode(split: str, length: int, heads: int) -> tuple[str, int]:
  """What to do for the tokens, and the devices of an all-to-all."""
  count, parts = mesh_lib.size(TOKENS), mesh_lib.size(HEADS)
  if not split or count == 1 or length % count:
    return "", 1
  if split == "queries":
    return split, 1
  width = math.gcd(count, heads // parts if heads % parts == 0 else heads)
  return ("ulysses" if width == count else "ring"), width


def _ulysses(local, width, q, k, v, q_seg, kv_seg, blocks):
  """`local` of all tokens of a group of `width` devices; None is all."""
  if width == 1:
    return local(q, k, v, q_seg, kv_seg, blocks)
  groups = None
  if width is not None:
    count = jax.lax.axis_size(TOKENS)
    groups = [list(range(i, i + width)) for i in range(0, count, width)]
  swap = lambda x, split, join: jax.lax.all_to_all(
      x, TOKENS, split, join, axis_index_groups=groups, tiled=True)
  q, k, v = (swap(x, 2, 1) for x in (q, k, v))
  return swap(local(q, k, v, q_seg, kv_seg, blocks), 1, 2)


def _ring(pair, width, q, k, v, q_seg, kv_seg, blocks):
  """Attention to keys that go around among every `width`-th device.

  q, k and v are this device's tokens; the segments are those of the whole row.
  """
  del blocks  # they are made for each part
  if q_seg is None:
    hops = jax.lax.axis_size(TOKENS) // width
    q_seg = kv_seg = jnp.ones((q.shape[0], q.shape[1] * hops), jnp.int32)
  return _around(pair, width, q, k, v, q_seg, kv_seg)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _around(pair, width, q, k, v, q_seg, kv_seg):
  return _around_fwd(pair, width, q, k, v, q_seg, kv_seg)[0]


def _around_fwd(pair, width, q, k, v, q_seg, kv_seg):
  mine, at, turn, hops = _circle(width, q, q_seg)

  def hop(carry, i):
    kv, out, lse = carry
    part, new = pair[0](q, *kv, mine, at(kv_seg, i))
    total = jnp.logaddexp(lse, new)  # [B, N, L]
    share = lambda x: jnp.exp(x - total).swapaxes(1, 2)[..., None]
    out = out * share(lse) + part * share(new)
    return (turn(kv), out, total), None

  start = ((k, v), jnp.zeros(q.shape, jnp.float32),
           jnp.full((q.shape[0], q.shape[2], q.shape[1]), -jnp.inf))
  (_, out, lse), _ = jax.lax.scan(hop, start, jnp.arange(hops))
  out = out.astype(q.dtype)
  out, lse = (ad_checkpoint.checkpoint_name(x, "attention") for x in (out, lse))
  return out, (q, k, v, q_seg, kv_seg, out, lse)


def _around_bwd(pair, width, residuals, grad):
  q, k, v, q_seg, kv_seg, out, lse = residuals
  mine, at, turn, hops = _circle(width, q, q_seg)

  def hop(carry, i):
    kv, dkv, dq = carry
    more, *both = pair[1](q, *kv, mine, at(kv_seg, i), out, lse, grad)
    dkv = tuple(a + b for a, b in zip(dkv, both))
    return (turn(kv), turn(dkv), dq + more), None

  zero = lambda x: jnp.zeros(x.shape, jnp.float32)
  start = (k, v), (zero(k), zero(v)), zero(q)
  (_, dkv, dq), _ = jax.lax.scan(hop, start, jnp.arange(hops))
  return *(g.astype(x.dtype) for g, x in zip((dq, *dkv), (q, k, v))), None, None


_around.defvjp(_around_fwd, _around_bwd)


def _circle(width: int, q, q_seg):
  """(segments of our queries, those of the keys at a hop, one turn, hops)."""
  count, length = jax.lax.axis_size(TOKENS), q.shape[1]
  hops, me = count // width, jax.lax.axis_index(TOKENS) // width
  part = lambda seg, i: jax.lax.dynamic_slice_in_dim(seg, i * length, length, 1)
  at = lambda seg, i: part(seg, (me - i) % hops)
  next_one = [(i, (i + width) % count) for i in range(count)]
  turn = functools.partial(jax.lax.ppermute, axis_name=TOKENS, perm=next_one)
  return part(q_seg, me), at, turn, hops
