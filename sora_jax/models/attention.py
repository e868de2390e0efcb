"""Attention of packed rows: each token sees the tokens of its own segment.

  out_i = sum_j softmax_j(q_i . k_j / sqrt(K)) v_j   over j with
  kv_seg_j == q_seg_i

Backends:
  * dense: one product over all pairs, the oracle; memory grows with L S.
  * flash: a loop over batch, heads and blocks of queries and keys with a
    running softmax (Dao et al., arXiv:2205.14135), in plain JAX. Memory grows
    with L; blocks whose segment ranges do not meet are never computed. The
    backward pass computes the scores again from the saved log-sum-exp.

A token without a key in its segment gets zeros. Padding is segment 0 and is
treated as one more segment, so its content reaches no other token.
"""

import functools
import math

import jax
from jax import ad_checkpoint
import jax.numpy as jnp

BLOCK_Q = 256
BLOCK_K = 512
DENSE_SCORES = 2**23  # scores of a call, up to which dense is faster on CPU
NEGATIVE = -1e30  # a score that is never reached; finite, so never NaN
LAST = 2**30  # padding sorts behind every segment


def attend(q: jax.Array, k: jax.Array, v: jax.Array,
           q_seg: jax.Array | None = None, kv_seg: jax.Array | None = None,
           backend: str | None = None) -> jax.Array:
  """Softmax attention within segments.

  Args:
    q: [B, L, N, K] queries.
    k: [B, S, N, K] keys.
    v: [B, S, N, K] values.
    q_seg: [B, L] int32 segments of the queries, or None: all see all.
    kv_seg: [B, S] int32 segments of the keys; given when q_seg is.
    backend: "dense", "flash" or None, which chooses by size.

  Returns:
    [B, L, N, K] in the dtype of q.

  Raises:
    ValueError: an unknown backend, or one of the segments alone.
  """
  if (q_seg is None) != (kv_seg is None):
    raise ValueError("attend needs both q_seg and kv_seg, or neither")
  if backend is None:
    b, l, n, _ = q.shape
    small = b * n * l * k.shape[1] <= DENSE_SCORES
    backend = "dense" if small else "flash"
  if backend not in ("dense", "flash"):
    raise ValueError(f"unknown attention backend {backend!r}: dense or flash")
  fn = dense if backend == "dense" else flash
  return fn(q, k, v, q_seg, kv_seg)


def dense(q, k, v, q_seg=None, kv_seg=None):
  """All pairs at once: the oracle, and the fastest for short rows."""
  s = jnp.einsum("blnk,bsnk->bnls", q * q.shape[-1]**-.5, k,
                 preferred_element_type=jnp.float32)  # [B, N, L, S]
  if q_seg is None:
    p = jax.nn.softmax(s, -1)
  else:
    mask = q_seg[:, None, :, None] == kv_seg[:, None, None, :]
    s = jnp.where(mask, s, NEGATIVE)
    p = jnp.where(mask, jax.nn.softmax(s, -1), 0)
  return jnp.einsum("bnls,bsnk->blnk", p.astype(v.dtype), v)


def flash(q, k, v, q_seg=None, kv_seg=None):
  """Blocks with a running softmax; see the module docstring."""
  b, l, n, _ = q.shape
  s = k.shape[1]
  masked = q_seg is not None
  if not masked:
    q_seg, kv_seg = jnp.zeros((b, l), jnp.int32), jnp.zeros((b, s), jnp.int32)
  bq, bk = _block(l, BLOCK_Q), _block(s, BLOCK_K)
  pad_q, pad_k = -l % bq, -s % bk
  order = lambda seg: jnp.where(seg == 0, LAST, seg)
  # Padded queries repeat the last segment (their gradient is zero); padded
  # keys have a segment that no query has.
  q_seg = jnp.pad(order(q_seg), ((0, 0), (0, pad_q)), mode="edge")
  kv_seg = jnp.pad(order(kv_seg), ((0, 0), (0, pad_k)),
                   constant_values=LAST + 1)
  fold = lambda x, pad: jnp.pad(x.transpose(0, 2, 1, 3), (
      (0, 0), (0, 0), (0, pad), (0, 0))).reshape(b * n, -1, x.shape[-1])
  q, k, v = fold(q, pad_q), fold(k, pad_k), fold(v, pad_k)
  out = _flash(bool(masked or pad_k), n, q, k, v, q_seg, kv_seg)
  out = out.reshape(b, n, l + pad_q, -1)[:, :, :l]
  return out.transpose(0, 2, 1, 3)


def _block(length: int, limit: int) -> int:
  """The block length: at most `limit`, a multiple of 8, little padding."""
  count = math.ceil(length / limit)
  return -(-math.ceil(length / count) // 8) * 8


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _flash(masked, n, q, k, v, q_seg, kv_seg):
  return _forward(masked, n, q, k, v, q_seg, kv_seg)[0]


def _forward(masked, n, q, k, v, q_seg, kv_seg):
  """q [G, L, K], segments [G / n, L] -> out [G, L, K], lse [G, L]."""
  l, s, width = q.shape[1], k.shape[1], q.shape[2]
  bq, bk = _block(l, BLOCK_Q), _block(s, BLOCK_K)
  low, high = _ranges(q_seg, kv_seg, bq, bk)  # [B, blocks of q]
  scale = width**-.5

  def row(g):
    qs, ks = q_seg[g // n], kv_seg[g // n]

    def block(i):
      qi = jax.lax.dynamic_slice_in_dim(q[g], i * bq, bq) * scale
      qsi = jax.lax.dynamic_slice_in_dim(qs, i * bq, bq)

      def step(j, carry):
        m, total, acc = carry
        kj = jax.lax.dynamic_slice_in_dim(k[g], j * bk, bk)
        vj = jax.lax.dynamic_slice_in_dim(v[g], j * bk, bk)
        x = _product(qi, kj.T)  # [bq, bk]
        if masked:
          mask = qsi[:, None] == jax.lax.dynamic_slice_in_dim(
              ks, j * bk, bk)[None]
          x = jnp.where(mask, x, NEGATIVE)
        top = jnp.maximum(m, x.max(-1))
        p = jnp.exp(x - top[:, None])
        if masked:
          p = jnp.where(mask, p, 0)
        decay = jnp.exp(m - top)
        acc = acc * decay[:, None] + _product(p.astype(vj.dtype), vj)
        return top, total * decay + p.sum(-1), acc

      start = (jnp.full(bq, NEGATIVE), jnp.zeros(bq), jnp.zeros((bq, width)))
      m, total, acc = jax.lax.fori_loop(
          low[g // n, i], high[g // n, i], step, start)
      safe = jnp.where(total > 0, total, 1)
      return (acc / safe[:, None]).astype(q.dtype), m + jnp.log(safe)

    out, lse = jax.lax.map(block, jnp.arange(l // bq))
    return out.reshape(l, width), lse.reshape(l)

  return jax.lax.map(row, jnp.arange(q.shape[0]))


def _flash_fwd(masked, n, q, k, v, q_seg, kv_seg):
  out, lse = _forward(masked, n, q, k, v, q_seg, kv_seg)
  # Named, so that a remat policy can keep them: without these the backward
  # pass of a rematerialised layer would run the whole forward again.
  out = ad_checkpoint.checkpoint_name(out, "attention")
  lse = ad_checkpoint.checkpoint_name(lse, "attention")
  return out, (q, k, v, q_seg, kv_seg, out, lse)


def _flash_bwd(masked, n, residuals, grad):
  q, k, v, q_seg, kv_seg, out, lse = residuals
  l, s, width = q.shape[1], k.shape[1], q.shape[2]
  bq, bk = _block(l, BLOCK_Q), _block(s, BLOCK_K)
  low, high = _ranges(q_seg, kv_seg, bq, bk)
  scale = width**-.5

  def row(g):
    qs, ks = q_seg[g // n], kv_seg[g // n]
    delta = jnp.sum((out[g] * grad[g]).astype(jnp.float32), -1)  # [L]

    def block(carry, i):
      part = lambda x: jax.lax.dynamic_slice_in_dim(x, i * bq, bq)
      qi, gi, qsi = part(q[g]) * scale, part(grad[g]), part(qs)
      lsei, di = part(lse[g]), part(delta)

      def step(j, carry):
        dq, dk, dv = carry
        at = lambda x: jax.lax.dynamic_slice_in_dim(x, j * bk, bk)
        add = lambda x, y: jax.lax.dynamic_update_slice_in_dim(
            x, at(x) + y, j * bk, 0)
        kj, vj = at(k[g]), at(v[g])
        p = jnp.exp(_product(qi, kj.T) - lsei[:, None])  # [bq, bk]
        if masked:
          p = jnp.where(qsi[:, None] == at(ks)[None], p, 0)
        ds = (p * (_product(gi, vj.T) - di[:, None])).astype(q.dtype)
        dv = add(dv, _product(p.astype(q.dtype).T, gi))
        dk = add(dk, _product(ds.T, qi))
        return dq + _product(ds, kj), dk, dv

      dk, dv = carry
      dq, dk, dv = jax.lax.fori_loop(
          low[g // n, i], high[g // n, i], step,
          (jnp.zeros((bq, width)), dk, dv))
      return (dk, dv), dq * scale

    zeros = jnp.zeros((s, width))
    (dk, dv), dq = jax.lax.scan(block, (zeros, zeros), jnp.arange(l // bq))
    return dq.reshape(l, width), dk, dv

  dq, dk, dv = jax.lax.map(row, jnp.arange(q.shape[0]))
  return (dq.astype(q.dtype), dk.astype(k.dtype), dv.astype(v.dtype), None,
          None)


_flash.defvjp(_flash_fwd, _flash_bwd)


def _product(a, b):
  return jax.lax.dot(a, b, preferred_element_type=jnp.float32)


def _ranges(q_seg, kv_seg, bq: int, bk: int):
  """The key blocks [low, high) that each query block can meet, [B, L / bq]."""
  b = q_seg.shape[0]
  q_blocks, k_blocks = q_seg.reshape(b, -1, bq), kv_seg.reshape(b, -1, bk)
  meet = (
      (q_blocks.max(-1)[:, :, None] >= k_blocks.min(-1)[:, None]) &
      (q_blocks.min(-1)[:, :, None] <= k_blocks.max(-1)[:, None]))
  index = jnp.arange(meet.shape[-1])
  low = jnp.min(jnp.where(meet, index, meet.shape[-1]), -1)
  high = jnp.max(jnp.where(meet, index + 1, 0), -1)
  return low, high
