"""Attention of packed rows: each token sees the tokens of its own segment.

  out_i = sum_j softmax_j(q_i . k_j / sqrt(K)) v_j   over j with
  kv_seg_j == q_seg_i

Backends:
  * dense: one product over all pairs, the oracle; memory grows with L S.
  * flash: a loop over blocks in plain JAX, see flash.py; memory grows with L.
  * splash: the TPU's kernel, see splash.py; memory grows with L.
  * cudnn: the GPU's kernel, see cudnn.py; memory grows with L.

On a mesh each device runs the backend on its rows and heads. Where the tokens
of a row are split too (axis context), context_parallel.py exchanges them.

A token without a key in its segment gets zeros. Padding is segment 0 and is
treated as one more segment, so its content reaches no other token.
"""

import functools

import jax
from jax import ad_checkpoint
import jax.numpy as jnp

from sora_jax import mesh as mesh_lib
from sora_jax import types
from sora_jax.models.attention import context_parallel
from sora_jax.models.attention import cudnn
from sora_jax.models.attention import flash as flash_lib
from sora_jax.models.attention import splash

AUTO = "auto"
BACKENDS = (AUTO, "dense", "flash", "splash", "cudnn")
# "auto" takes dense up to so many keys (on CPU) or scores of a device
# (elsewhere). On CPU flash is 1.2 to 2 times faster from 256 x 256 on, where
# its tiles stay in cache, and slower for the few keys of a prompt: 24 against 14
# ms with gradients at 2,048 x 64, 26 against 20 ms at 640 x 192. It runs the
# heads one after the other, so an accelerator takes it only to save memory.
DENSE_KEYS_CPU = 192
DENSE_SCORES = 2**28


def attend(q: jax.Array, k: jax.Array, v: jax.Array,
           q_seg: jax.Array | None = None, kv_seg: jax.Array | None = None,
           backend: str = AUTO, split: str = "",
           block_mask: types.PyTree = None) -> jax.Array:
  """Softmax attention within segments.

  Args:
    q: [B, L, N, K] queries.
    k: [B, S, N, K] keys.
    v: [B, S, N, K] values.
    q_seg: [B, L] int32 segments of the queries; None if all see all.
    kv_seg: [B, S] int32 segments of the keys; given when q_seg is.
    backend: one of BACKENDS; "auto" chooses by platform and size.
    split: what lies along the axis context of the mesh: "" nothing, "queries"
      (the keys are whole), "all".
    block_mask: of `make_block_mask(q_seg, kv_seg, N, backend, split)`, made
      once for many layers.

  Returns:
    [B, L, N, K] in the dtype of q.

  Raises:
    ValueError: an unknown backend, or one of the segments alone.
  """
  if (q_seg is None) != (kv_seg is None):
    raise ValueError("attend needs both q_seg and kv_seg, or neither")
  require_backend(backend)
  ring_step = ((splash.forward, splash.backward) if _is_splash(backend) else
               (dense_forward, dense_backward))
  local = functools.partial(_local, backend, mesh_lib.platform())
  return context_parallel.attend(local, ring_step, split, q, k, v, q_seg,
                                 kv_seg, block_mask)


def make_block_mask(q_seg: jax.Array | None, kv_seg: jax.Array | None,
                    heads: int, backend: str = AUTO,
                    split: str = "") -> types.PyTree:
  """What `attend` can compute of the segments alone; None if nothing.

  Args:
    q_seg, kv_seg: [B, L] and [B, S] int32, or None.
    heads: N of the attention.
    backend, split: as in `attend`.
  """
  if q_seg is None or kv_seg is None or not _is_splash(backend):
    return None
  make = functools.partial(splash.make_block_mask, own=q_seg is kv_seg)
  return context_parallel.make_block_mask(make, split, q_seg, kv_seg, heads)


def _is_splash(backend: str) -> bool:
  """Whether long rows of this backend take the TPU's kernel."""
  return backend == "splash" or (
      backend == AUTO and mesh_lib.platform() == "tpu")


def require_backend(backend: str) -> None:
  """Raises ValueError for an unknown backend."""
  if backend not in BACKENDS:
    raise ValueError(f"unknown attention backend {backend!r}: "
                     f"{', '.join(BACKENDS)}")


def _local(backend, platform, q, k, v, q_seg, kv_seg, block_mask):
  """The attention of one device."""
  if backend == AUTO:
    backend = _choose(platform, q, k, q_seg)
  if backend == "splash":
    return splash.attend(q, k, v, q_seg, kv_seg, block_mask)
  fn = {"dense": dense, "flash": flash_lib.flash, "cudnn": cudnn.attend}
  return fn[backend](q, k, v, q_seg, kv_seg)


def _choose(platform: str, q, k, q_seg) -> str:
  """The fastest backend that has the memory."""
  b, l, n, _ = q.shape
  s = k.shape[1]
  if platform == "cpu":
    return "dense" if s <= DENSE_KEYS_CPU else "flash"
  if platform == "gpu" and cudnn.takes(q, q_seg):
    return "cudnn"
  if b * n * l * s <= DENSE_SCORES:
    return "dense"
  return "splash" if platform == "tpu" else "flash"


def dense(q: jax.Array, k: jax.Array, v: jax.Array,
          q_seg: jax.Array | None = None,
          kv_seg: jax.Array | None = None) -> jax.Array:
  """All pairs at once: the oracle, and the fastest for short rows."""
  s = _scores(q, k)
  if q_seg is None:
    p = jax.nn.softmax(s, -1)
  else:
    mask = _mask(q_seg, kv_seg)
    s = jnp.where(mask, s, flash_lib.NEVER)
    p = jnp.where(mask, jax.nn.softmax(s, -1), 0)
  out = jnp.einsum("bnls,bsnk->blnk", p.astype(v.dtype), v)
  return ad_checkpoint.checkpoint_name(out, "attention")


def dense_forward(q: jax.Array, k: jax.Array, v: jax.Array, q_seg: jax.Array,
                  kv_seg: jax.Array) -> tuple[jax.Array, jax.Array]:
  """`dense` and its log-sum-exp [B, N, L] float32: one ring step."""
  mask = _mask(q_seg, kv_seg)
  s = jnp.where(mask, _scores(q, k), flash_lib.NEVER)
  lse = jax.nn.logsumexp(s, -1)
  p = jnp.where(mask, jnp.exp(s - lse[..., None]), 0)
  return jnp.einsum("bnls,bsnk->blnk", p.astype(v.dtype), v), lse


def dense_backward(
    q: jax.Array, k: jax.Array, v: jax.Array, q_seg: jax.Array,
    kv_seg: jax.Array, out: jax.Array, lse: jax.Array, grad: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Gradients of q, k, v, where k and v may be a part of all keys.

  Args:
    q, k, v, q_seg, kv_seg: of `dense_forward`.
    out: [B, L, N, K] attention to all keys, and lse [B, N, L] of them.
    grad: [B, L, N, K] of `out`.
  """
  einsum = functools.partial(jnp.einsum, preferred_element_type=jnp.float32)
  mask = _mask(q_seg, kv_seg)
  s = jnp.where(mask, _scores(q, k), flash_lib.NEVER)
  p = jnp.where(mask, jnp.exp(s - lse[..., None]), 0)  # [B, N, L, S]
  delta = einsum("blnk,blnk->bnl", out, grad)[..., None]
  ds = (p * (einsum("blnk,bsnk->bnls", grad, v) - delta)).astype(q.dtype)
  scale = q.shape[-1]**-.5
  return (einsum("bnls,bsnk->blnk", ds, k) * scale,
          einsum("bnls,blnk->bsnk", ds, q) * scale,
          einsum("bnls,blnk->bsnk", p.astype(q.dtype), grad))


def _scores(q, k):
  """[B, N, L, S] float32."""
  return jnp.einsum("blnk,bsnk->bnls", q * q.shape[-1]**-.5, k,
                    preferred_element_type=jnp.float32)


def _mask(q_seg, kv_seg):
  """[B, 1, L, S], whether a query sees a key."""
  return q_seg[:, None, :, None] == kv_seg[:, None, None, :]
