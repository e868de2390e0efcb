"""Attention of packed rows in blocks, in plain JAX.

A loop over batch, heads and blocks of queries and keys with a running softmax
(Dao et al., arXiv:2205.14135). Memory grows with L; blocks whose segment ranges
do not meet are never computed. The backward pass computes the scores again from
the saved log-sum-exp.
"""

import functools
import math

import jax
from jax import ad_checkpoint
import jax.numpy as jnp

BLOCK_Q = 256
BLOCK_K = 512
NEVER = -1e30  # a score that is never reached; finite, so never NaN
LAST = 2**30  # padding sorts behind every segment


def flash(q, k, v, q_seg=None, kv_seg=None):
  """Blocks with a running softmax; see the module docstring."""
  b, l, _, _ = q.shape
  s = k.shape[1]
  masked = q_seg is not None
  if not masked:
    q_seg, kv_seg = jnp.zeros((b, l), jnp.int32), jnp.zeros((b, s), jnp.int32)
  pad_q, pad_k = -l % _block(l, BLOCK_Q), -s % _block(s, BLOCK_K)
  order = lambda seg: jnp.where(seg == 0, LAST, seg)
  # Padded queries repeat the last segment (their gradient is zero); padded
  # keys have a segment that no query has.
  q_seg = jnp.pad(order(q_seg), ((0, 0), (0, pad_q)), mode="edge")
  kv_seg = jnp.pad(order(kv_seg), ((0, 0), (0, pad_k)),
                   constant_values=LAST + 1)
  pad = lambda x, n: jnp.pad(x, ((0, 0), (0, n), (0, 0), (0, 0)))
  out = _flash(bool(masked or pad_k), pad(q, pad_q), pad(k, pad_k),
               pad(v, pad_k), q_seg, kv_seg)
  return out[:, :l]


def _block(length: int, limit: int) -> int:
  """The block length: at most `limit`, a multiple of 8, little padding."""
  count = math.ceil(length / limit)
  return -(-math.ceil(length / count) // 8) * 8


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _flash(masked, q, k, v, q_seg, kv_seg):
  return _forward(masked, q, k, v, q_seg, kv_seg)[0]


def _forward(masked, q, k, v, q_seg, kv_seg):
  """q [B, L, N, K], segments [B, L] -> out [B, L, N, K], lse [B N, L]."""
  b, l, n, width = q.shape
  bq, bk = _block(l, BLOCK_Q), _block(k.shape[1], BLOCK_K)
  low, high = _ranges(q_seg, kv_seg, bq, bk)  # [B, L / bq]

  def head(out, g):
    row = g // n
    qg, kg, vg = (_head(x, g) for x in (q, k, v))
    kt = _transposed(kg, width**-.5)  # [K, S]

    def block(i):
      qi, seg = _at(qg, i, bq), _at(q_seg[row], i, bq)

      def step(j, carry):
        top, total, acc = carry
        x = _product(qi, _at(kt, j, bk, 1))  # [bq, bk]
        if masked:
          x = jnp.where(seg[:, None] == _at(kv_seg[row], j, bk), x, NEVER)
        new = jnp.maximum(top, x.max(-1))
        p, decay = jnp.exp(x - new[:, None]), jnp.exp(top - new)
        acc = acc * decay[:, None] + _product(p.astype(v.dtype),
                                              _at(vg, j, bk))
        return new, total * decay + p.sum(-1), acc

      # A row that meets no key keeps this top, from which exp(NEVER) is 0.
      start = (jnp.full(bq, NEVER / 2), jnp.zeros(bq), jnp.zeros((bq, width)))
      top, total, acc = jax.lax.fori_loop(low[row, i], high[row, i], step,
                                          start)
      total = jnp.where(total > 0, total, 1)
      return (acc / total[:, None]).astype(q.dtype), top + jnp.log(total)

    result, lse = jax.lax.map(block, jnp.arange(l // bq))
    return _put(out, result.reshape(l, width), g), lse.reshape(l)

  return jax.lax.scan(head, jnp.zeros_like(q), jnp.arange(b * n))


def _flash_fwd(masked, q, k, v, q_seg, kv_seg):
  out, lse = _forward(masked, q, k, v, q_seg, kv_seg)
  # Named, so that a remat policy can keep them: without these the backward
  # pass of a rematerialised layer would run the whole forward again.
  out = ad_checkpoint.checkpoint_name(out, "attention")
  lse = ad_checkpoint.checkpoint_name(lse, "attention")
  return out, (q, k, v, q_seg, kv_seg, out, lse)


def _flash_bwd(masked, residuals, grad):
  """Gradients of q, k, v; those of k and v are summed up transposed, [K, S].

  So no product contracts the rows of its left side, which XLA's CPU backend
  does twice as slowly.
  """
  q, k, v, q_seg, kv_seg, out, lse = residuals
  b, l, n, width = q.shape
  s, scale = k.shape[1], width**-.5
  bq, bk = _block(l, BLOCK_Q), _block(s, BLOCK_K)
  low, high = _ranges(q_seg, kv_seg, bq, bk)

  def head(carry, g):
    row = g // n
    qg, gg, kg, vg = (_head(x, g) for x in (q, grad, k, v))
    qt, gt = _transposed(qg, scale), _transposed(gg)  # [K, L]
    kt, vt = _transposed(kg, scale), _transposed(vg)  # [K, S]
    delta = jnp.sum((_head(out, g) * gg).astype(jnp.float32), -1)  # [L]

    def block(carry, i):
      qi, gi, seg = (_at(x, i, bq) for x in (qg, gg, q_seg[row]))
      qti, gti = _at(qt, i, bq, 1), _at(gt, i, bq, 1)
      lsei, di = _at(lse[g], i, bq)[:, None], _at(delta, i, bq)[:, None]

      def step(j, carry):
        dq, dkt, dvt = carry
        x = _product(qi, _at(kt, j, bk, 1))  # [bq, bk]
        if masked:
          x = jnp.where(seg[:, None] == _at(kv_seg[row], j, bk), x, NEVER)
        p = jnp.exp(x - lsei)
        ds = (p * (_product(gi, _at(vt, j, bk, 1)) - di)).astype(q.dtype)
        add = lambda x, y: jax.lax.dynamic_update_slice_in_dim(
            x, _at(x, j, bk, 1) + y, j * bk, 1)
        return (dq + _product(ds, _at(kg, j, bk)), add(dkt, _product(qti, ds)),
                add(dvt, _product(gti, p.astype(q.dtype))))

      dq, *carry = jax.lax.fori_loop(low[row, i], high[row, i], step,
                                     (jnp.zeros((bq, width)), *carry))
      return carry, (dq * scale).astype(q.dtype)

    start = [jnp.zeros((width, s)), jnp.zeros((width, s))]
    (dkt, dvt), dq = jax.lax.scan(block, start, jnp.arange(l // bq))
    parts = dq.reshape(l, width), dkt.T, dvt.T
    return [_put(x, part, g) for x, part in zip(carry, parts)], None

  start = [jnp.zeros_like(x) for x in (q, k, v)]
  (dq, dk, dv), _ = jax.lax.scan(head, start, jnp.arange(b * n))
  return dq, dk, dv, None, None


_flash.defvjp(_flash_fwd, _flash_bwd)


def _head(x, g):
  """[L, K] of the g-th of all B N heads of x [B, L, N, K]."""
  _, l, n, width = x.shape
  return jax.lax.dynamic_slice(x, (g // n, 0, g % n, 0),
                               (1, l, 1, width)).reshape(l, width)


def _put(x, part, g):
  """x [B, L, N, K] with the g-th head set to `part` [L, K]."""
  n = x.shape[2]
  return jax.lax.dynamic_update_slice(
      x, part.astype(x.dtype)[None, :, None], (g // n, 0, g % n, 0))


def _at(x, i, size: int, axis: int = 0):
  """Block i of `size` along an axis."""
  return jax.lax.dynamic_slice_in_dim(x, i * size, size, axis)


def _transposed(x, scale=1.):
  return (x * scale).astype(x.dtype).T


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
