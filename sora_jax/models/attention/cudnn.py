"""Attention on GPU by cuDNN's kernel.

Through jax.nn.dot_product_attention, in bfloat16 or float16, for attention
without segments: a sample that is one clip. Packed rows take flash or dense there:
the kernel's own packed form has no public entry and keeps a log-sum-exp of the
whole row for each segment.

The kernel is not tested. What it refuses and what goes to it is.
"""

import jax
from jax import ad_checkpoint
import jax.numpy as jnp

WIDEST = 128  # head size of the kernel's backward pass


def takes(q, q_seg) -> bool:
  """Whether the kernel computes queries [B, L, N, K] with these segments."""
  return (q_seg is None and q.dtype in (jnp.bfloat16, jnp.float16)
          and q.shape[-1] <= WIDEST and q.shape[-1] % 8 == 0)


def attend(q, k, v, q_seg=None, kv_seg=None):
  """Softmax attention; q [B, L, N, K], k and v [B, S, N, K].

  Raises:
    ValueError: what the kernel does not take.
  """
  del kv_seg
  if not takes(q, q_seg):
    raise ValueError(
        f"cudnn attention takes bfloat16 or float16, heads of up to {WIDEST} in "
        f"multiples of 8, and no segments; got {q.dtype}, heads of "
        f"{q.shape[-1]}, segments: {q_seg is not None}")
  out = jax.nn.dot_product_attention(q, k, v, implementation="cudnn")
  return ad_checkpoint.checkpoint_name(out, "attention")
