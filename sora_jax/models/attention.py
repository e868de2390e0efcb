"""Attention of packed rows: each token sees the tokens of its own segment.

  out_i = sum_j softmax_j(q_i . k_j / sqrt(K)) v_j   over j with
  kv_seg_j == q_seg_i

Backends:
  * dense: one product over all pairs, the oracle; memory grows with L S.
  * flash: a loop over blocks in plain JAX, see flash.py; memory grows with L.

A token without a key in its segment gets zeros. Padding is segment 0 and is
treated as one more segment, so its content reaches no other token.
"""

import jax
from jax import ad_checkpoint
import jax.numpy as jnp

from sora_jax.models import flash as flash_lib

# Up to how many keys (on CPU) or scores of a call (elsewhere) goes dense. On CPU
# flash is 1.2 to 2 times faster from 256 x 256 on, where its tiles stay in
# cache, and slower for the few keys of a prompt: 14 against 24 ms with gradients
# at 2,048 x 64, 20 against 26 ms at 640 x 192. It runs the heads one after the
# other, so an accelerator takes it only to save memory.
DENSE_KEYS_CPU = 192
DENSE_SCORES = 2**28


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
    s = k.shape[1]
    small = (s <= DENSE_KEYS_CPU if jax.default_backend() == "cpu" else
             b * n * l * s <= DENSE_SCORES)
    backend = "dense" if small else "flash"
  if backend not in ("dense", "flash"):
    raise ValueError(f"unknown attention backend {backend!r}: dense or flash")
  fn = dense if backend == "dense" else flash_lib.flash
  return fn(q, k, v, q_seg, kv_seg)


def dense(q, k, v, q_seg=None, kv_seg=None):
  """All pairs at once: the oracle, and the fastest for short rows."""
  s = jnp.einsum("blnk,bsnk->bnls", q * q.shape[-1]**-.5, k,
                 preferred_element_type=jnp.float32)  # [B, N, L, S]
  if q_seg is None:
    p = jax.nn.softmax(s, -1)
  else:
    mask = q_seg[:, None, :, None] == kv_seg[:, None, None, :]
    s = jnp.where(mask, s, flash_lib.NEVER)
    p = jnp.where(mask, jax.nn.softmax(s, -1), 0)
  out = jnp.einsum("bnls,bsnk->blnk", p.astype(v.dtype), v)
  return ad_checkpoint.checkpoint_name(out, "attention")
