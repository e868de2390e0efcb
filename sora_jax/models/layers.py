"""The layers that the transformers share.

Norms, rotations and embeddings work in float32 whatever the compute dtype;
products run in the dtype of the module.
"""

import functools
import math

from flax import linen as nn
import jax
from jax import ad_checkpoint
import jax.numpy as jnp
import numpy as np

from sora_jax import mesh as mesh_lib

FEW = 64  # up to so many times of a row a product is faster than a scatter
Rope = tuple[jax.Array, jax.Array]  # cosine and sine [B, L, 1, K / 2]

# What a block keeps for the backward pass: the results of its dense layers and its
# attention. Norms, rotations and modulation are computed again, the fastest on CPU
# too.
KEEP = jax.checkpoint_policies.save_only_these_names("dense", "attention")

xavier = nn.initializers.xavier_uniform()
zeros = nn.initializers.zeros_init()


class Dense(nn.Module):
  """y = x W + b over the last axis.

  The product is made two-dimensional: the backward pass of a 3D product
  contracts two axes at once, which XLA does 1.5 times slower on CPU.
  """

  features: int
  dtype: jnp.dtype = jnp.float32
  kernel_init: nn.initializers.Initializer = xavier

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    kernel = self.param("kernel", self.kernel_init,
                        (x.shape[-1], self.features))
    bias = self.param("bias", zeros, (self.features,))
    return dense(x, kernel, bias, self.dtype)


def dense(x: jax.Array, kernel: jax.Array, bias: jax.Array,
          dtype: jnp.dtype) -> jax.Array:
  """x [.., D] times kernel [D, F] plus bias [F], in `dtype`."""
  x, kernel = x.astype(dtype), kernel.astype(dtype)
  if mesh_lib.size(mesh_lib.TOKENS) > 1:  # an axis that is split stays an axis
    return ad_checkpoint.checkpoint_name(x @ kernel + bias.astype(dtype),
                                         "dense")
  y = _matmul(x.reshape(-1, x.shape[-1]), kernel)
  # Named after the bias, so that what is kept is what is used.
  y = ad_checkpoint.checkpoint_name(y + bias.astype(dtype), "dense")
  return y.reshape(*x.shape[:-1], -1)


@jax.custom_vjp
def _matmul(x, w):
  """x [L, D] @ w [D, F], with a gradient of w that suits the CPU."""
  return x @ w


def _matmul_bwd(residuals, grad):
  x, w = residuals
  if w.shape[0] <= w.shape[1]:
    return grad @ w.T, x.T @ grad
  # XLA on CPU transposes the left side of a product, which takes 1.4 times as
  # long if that is the wide one. The barrier keeps it from undoing this order.
  return grad @ w.T, jax.lax.optimization_barrier(grad.T @ x).T


_matmul.defvjp(lambda x, w: (x @ w, (x, w)), _matmul_bwd)


class Mlp(nn.Module):
  """Two dense layers, with GELU (tanh form) between."""

  hidden: int
  features: int
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    x = Dense(self.hidden, self.dtype, name="linear_1")(x)
    return Dense(self.features, self.dtype, name="linear_2")(
        nn.gelu(x, approximate=True))


class LayerNorm(nn.Module):
  """Layer norm with scale and bias, in float32."""

  eps: float = 1e-6

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    scale = self.param("scale", nn.initializers.ones_init(), x.shape[-1:])
    bias = self.param("bias", zeros, x.shape[-1:])
    return layer_norm(x, self.eps) * scale + bias


def layer_norm(x: jax.Array, eps: float) -> jax.Array:
  """(x - mean) / std over the last axis, in float32, without parameters."""
  y = _rows(x)
  y = y - jnp.mean(y, -1, keepdims=True)
  y = y * jax.lax.rsqrt(jnp.mean(y * y, -1, keepdims=True) + eps)
  return y.reshape(x.shape)


def rms_norm(x: jax.Array, scale: jax.Array, eps: float) -> jax.Array:
  """x / rms(x) * scale over the last axis, in float32."""
  y = _rows(x)
  y = y * jax.lax.rsqrt(jnp.mean(y * y, -1, keepdims=True) + eps) * scale
  return y.reshape(x.shape)


def _rows(x: jax.Array) -> jax.Array:
  """x [.., D] in float32, two-dimensional unless its tokens are split.

  XLA on CPU takes several times as long to sum over the last of three axes.
  """
  x = x.astype(jnp.float32)
  if mesh_lib.size(mesh_lib.TOKENS) > 1:
    return x
  return x.reshape(-1, x.shape[-1])


def modulate(x: jax.Array, shift: jax.Array, scale: jax.Array) -> jax.Array:
  """x (1 + scale) + shift (DiT, arXiv:2212.09748)."""
  return x * (1 + scale) + shift


def rotations(pos: jax.Array, head_size: int, theta: float = 10000.) -> Rope:
  """Cosine and sine [B, L, 1, K / 2] of 3D RoPE at float positions [B, L, 3].

  The K / 2 planes of a head are split over (t, y, x) as in Wan 2.x: a third
  each for y and x, rounded down to whole planes, and the rest for t.
  """
  space = 2 * (head_size // 6)
  parts = []
  for axis, size in enumerate((head_size - 2 * space, space, space)):
    freq = theta**(-np.arange(0, size, 2) / size)  # [size / 2]
    parts.append(pos[..., axis, None] * freq.astype(np.float32))
  angles = jnp.concatenate(parts, -1)[:, :, None]
  return jnp.cos(angles), jnp.sin(angles)


def rotate(x: jax.Array, rope: Rope) -> jax.Array:
  """Rotates x [B, L, N, K], whose planes are (x_i, x_{i + K/2})."""
  cos, sin = rope
  a, b = jnp.split(x, 2, -1)
  return jnp.concatenate([a * cos - b * sin, a * sin + b * cos], -1)


def halves(w: jax.Array, heads: int) -> jax.Array:
  """Reorders the last axis [.., N K] of a query or key weight for `rotate`.

  Wan's planes are neighbours (x_2i, x_2i+1). The product q . k stays the same
  when both are reordered alike, and reordering the weights costs nothing beside
  reordering every token.
  """
  w = w.reshape(*w.shape[:-1], heads, -1, 2)
  return w.swapaxes(-1, -2).reshape(*w.shape[:-3], -1)


def time_features(t: jax.Array, size: int) -> jax.Array:
  """Cosines then sines [.., size] of 1000 t, t in [0, 1], in float32."""
  half = size // 2
  freq = np.exp(-math.log(10000) * np.arange(half) / half)
  angles = 1000 * t[..., None].astype(jnp.float32) * freq.astype(np.float32)
  return jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], -1)


def gather(table: jax.Array, index: jax.Array) -> jax.Array:
  """table [B, M, D], index [B, L] -> [B, L, D]: each token's row."""
  if table.shape[1] == 1:
    return jnp.broadcast_to(table, (*index.shape, table.shape[-1]))
  return _gather(table.shape[1], table, index)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _gather(count, table, index):
  del count
  return jnp.take_along_axis(table, index[..., None], 1)


def _gather_fwd(count, table, index):
  return _gather(count, table, index), index


def _gather_bwd(count, index, grad):
  if count <= FEW:
    one_hot = jax.nn.one_hot(index, count, dtype=grad.dtype)  # [B, L, M]
    return jnp.einsum("blm,bld->bmd", one_hot, grad), None
  add = lambda g, i: jax.ops.segment_sum(g, i, count)
  return jax.vmap(add)(grad, index), None


_gather.defvjp(_gather_fwd, _gather_bwd)
