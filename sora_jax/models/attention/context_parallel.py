"""Attention on a mesh: each device attends for its rows and heads.

Rows and heads are independent. Tokens are not: where they too are split, over
the axis context, one of two exchanges surrounds the local attention:

  * ulysses (arXiv:2309.14509): an all-to-all gives each device all tokens of
    some of its heads, and another one undoes it.
  * ring (arXiv:2310.01889): keys and values move from device to device, one
    ring step each, and the results of the steps are combined by their
    log-sum-exp. It serves where the axis has more devices than the heads divide
    over. Groups of as many devices as they do divide over use ulysses within,
    so that the ring is short.
"""

from collections.abc import Callable
import functools
import math

import jax
from jax import ad_checkpoint
import jax.numpy as jnp

from sora_jax import mesh as mesh_lib
from sora_jax import types

RingStep = tuple[Callable[..., tuple], Callable[..., tuple]]
ROWS, TOKENS, HEADS = mesh_lib.ROWS, mesh_lib.TOKENS, mesh_lib.HEADS


def attend(local: Callable[..., jax.Array], ring_step: RingStep, split: str,
           q: jax.Array, k: jax.Array, v: jax.Array, q_seg: jax.Array | None,
           kv_seg: jax.Array | None, block_mask: types.PyTree) -> jax.Array:
  """`local` on each device of the current mesh, with the exchanges it needs.

  Args:
    local: (q, k, v, q_seg, kv_seg, block_mask) -> out, on one device.
    ring_step: (forward, backward) of the same attention, as in splash.py.
    split: what lies along the axis context: "", "queries" or "all".
    q: [B, L, N, K] queries; k, v: [B, S, N, K].
    q_seg: [B, L], kv_seg: [B, S] int32, or None.
    block_mask: of `make_block_mask`, or None.

  Returns:
    [B, L, N, K].
  """
  if mesh_lib.current() is None:
    return local(q, k, v, q_seg, kv_seg, block_mask)
  mode, width = _mode(split, *q.shape[1:3])
  queries = (ROWS, TOKENS if mode else None, HEADS, None)
  keys = (ROWS, None, HEADS, None) if mode == "queries" else queries
  segs = (ROWS, TOKENS if mode == "queries" else None), (ROWS, None)
  if mode == "ulysses":
    local = functools.partial(_ulysses, local, None)
  elif mode == "ring":
    ring = functools.partial(_ring, ring_step, width)
    local = functools.partial(_ulysses, ring, width)
    block_mask = None
  fn = mesh_lib.sharded(local, (queries, keys, keys, *segs, segs[0]), queries)
  return fn(q, k, v, q_seg, kv_seg, block_mask)


def make_block_mask(make: Callable[..., types.PyTree], split: str,
                    q_seg: jax.Array, kv_seg: jax.Array,
                    heads: int) -> types.PyTree:
  """make(q_seg, kv_seg) as `attend` splits them; None where it needs none.

  Args:
    make: segments [B, L] and [B, S] -> a tree of arrays [B, ..]; where the
      queries are split, [B, .., ..] whose second axis lies along them.
    split: as in `attend`.
    q_seg, kv_seg: [B, L] and [B, S] int32.
    heads: N of the attention.
  """
  if mesh_lib.current() is None:
    return make(q_seg, kv_seg)
  mode, _ = _mode(split, q_seg.shape[1], heads)
  if mode == "ring":
    return None
  queries = (ROWS, TOKENS if mode == "queries" else None)
  return mesh_lib.sharded(make, (queries, (ROWS, None)), queries)(q_seg, kv_seg)


def _mode(split: str, length: int, heads: int) -> tuple[str, int]:
  """(exchange, devices of an all-to-all): "", "queries", "ulysses", "ring"."""
  count, parts = mesh_lib.size(TOKENS), mesh_lib.size(HEADS)
  if not split or count == 1 or length % count:
    return "", 1
  if split == "queries":
    return split, 1
  width = math.gcd(count, heads // parts if heads % parts == 0 else heads)
  return ("ulysses" if width == count else "ring"), width


def _ulysses(local, width, q, k, v, q_seg, kv_seg, block_mask):
  """`local` of all tokens of each `width` devices, or of all devices (None)."""
  if width == 1:
    return local(q, k, v, q_seg, kv_seg, block_mask)
  groups = None
  if width is not None:
    count = jax.lax.axis_size(TOKENS)
    groups = [list(range(i, i + width)) for i in range(0, count, width)]
  swap = lambda x, split, join: jax.lax.all_to_all(
      x, TOKENS, split, join, axis_index_groups=groups, tiled=True)
  q, k, v = (swap(x, 2, 1) for x in (q, k, v))
  return swap(local(q, k, v, q_seg, kv_seg, block_mask), 1, 2)


def _ring(ring_step, width, q, k, v, q_seg, kv_seg, block_mask):
  """Attention to keys that move around a ring of every `width`-th device.

  q, k and v are this device's tokens; the segments are those of the whole row.
  """
  del block_mask  # each ring step makes its own
  if q_seg is None:
    steps = jax.lax.axis_size(TOKENS) // width
    q_seg = kv_seg = jnp.ones((q.shape[0], q.shape[1] * steps), jnp.int32)
  return _ring_attention(ring_step, width, q, k, v, q_seg, kv_seg)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _ring_attention(ring_step, width, q, k, v, q_seg, kv_seg):
  return _ring_attention_fwd(ring_step, width, q, k, v, q_seg, kv_seg)[0]


def _ring_attention_fwd(ring_step, width, q, k, v, q_seg, kv_seg):
  own_seg, seg_at, shift, steps = _ring_layout(width, q, q_seg)

  def step(carry, i):
    kv, out, lse = carry
    part, new = ring_step[0](q, *kv, own_seg, seg_at(kv_seg, i))
    total = jnp.logaddexp(lse, new)  # [B, N, L]
    share = lambda x: jnp.exp(x - total).swapaxes(1, 2)[..., None]
    out = out * share(lse) + part * share(new)
    return (shift(kv), out, total), None

  start = ((k, v), jnp.zeros(q.shape, jnp.float32),
           jnp.full((q.shape[0], q.shape[2], q.shape[1]), -jnp.inf))
  (_, out, lse), _ = jax.lax.scan(step, start, jnp.arange(steps))
  out = out.astype(q.dtype)
  out, lse = (ad_checkpoint.checkpoint_name(x, "attention") for x in (out, lse))
  return out, (q, k, v, q_seg, kv_seg, out, lse)


def _ring_attention_bwd(ring_step, width, residuals, grad):
  q, k, v, q_seg, kv_seg, out, lse = residuals
  own_seg, seg_at, shift, steps = _ring_layout(width, q, q_seg)

  def step(carry, i):
    kv, dkv, dq = carry
    more, *both = ring_step[1](q, *kv, own_seg, seg_at(kv_seg, i), out, lse,
                               grad)
    dkv = tuple(a + b for a, b in zip(dkv, both))
    return (shift(kv), shift(dkv), dq + more), None

  zero = lambda x: jnp.zeros(x.shape, jnp.float32)
  start = (k, v), (zero(k), zero(v)), zero(q)
  (_, dkv, dq), _ = jax.lax.scan(step, start, jnp.arange(steps))
  return *(g.astype(x.dtype) for g, x in zip((dq, *dkv), (q, k, v))), None, None


_ring_attention.defvjp(_ring_attention_fwd, _ring_attention_bwd)


def _ring_layout(width: int, q, q_seg):
  """What a ring step must know.

  Returns:
    own_seg: the segments [B, L / steps] of this device's queries.
    seg_at: (kv_seg, i) -> those of the keys that are here at step i.
    shift: sends arrays to the next device of the ring.
    steps: how many devices the ring has.
  """
  count, length = jax.lax.axis_size(TOKENS), q.shape[1]
  steps, index = count // width, jax.lax.axis_index(TOKENS) // width
  part = lambda seg, i: jax.lax.dynamic_slice_in_dim(seg, i * length, length, 1)
  seg_at = lambda seg, i: part(seg, (index - i) % steps)
  next_one = [(i, (i + width) % count) for i in range(count)]
  shift = functools.partial(jax.lax.ppermute, axis_name=TOKENS, perm=next_one)
  return part(q_seg, index), seg_at, shift, steps
