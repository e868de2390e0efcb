"""Attention on GPU by cuDNN's kernel.

Called through jax.nn.dot_product_attention, in bfloat16 or float16, for
attention without segments: sampling one clip. On GPU packed rows take flash or
dense: the kernel's packed form has no public entry, and keeps a log-sum-exp of
the whole row for each segment.

The tests do not run the kernel; they check which calls reach it.
"""

import jax
from jax import ad_checkpoint
import jax.numpy as jnp

WIDEST = 128  # head size of the kernel's backward pass


def takes(q: jax.Array, q_seg: jax.Array | None) -> bool:
  """Whether the kernel computes queries [B, L, N, K] with these segments."""
  return (q_seg is None and q.dtype in (jnp.bfloat16, jnp.float16)
          and q.shape[-1] <= WIDEST and q.shape[-1] % 8 == 0)


def attend(q: jax.Array, k: jax.Array, v: jax.Array,
           q_seg: jax.Array | None = None,
           kv_seg: jax.Array | None = None) -> jax.Array:
  """Softmax attention; q [B, L, N, K], k and v [B, S, N, K].

  Raises:
    ValueError: what the kernel does not take.
  """
  del kv_seg
  if not takes(q, q_seg):
    raise ValueError(
        f"cudnn attention takes bfloat16 or float16, heads of up to {WIDEST} "
        f"in multiples of 8, and no segments; got {q.dtype}, heads of "
        f"{q.shape[-1]}, segments: {q_seg is not None}")
  out = jax.nn.dot_product_attention(q, k, v, implementation="cudnn")
  return ad_checkpoint.checkpoint_name(out, "attention")
