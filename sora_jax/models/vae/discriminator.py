"""A small patch discriminator for training the VAE.

Isola et al. 2017 (arXiv 1611.07004): a convolutional network with one logit for
each patch of a frame. A frame comes with its difference to the frame before, so
that flicker counts too. Frames are folded into the rows: all convolutions are
two-dimensional.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from sora_jax import types
from sora_jax.models.vae import conv as conv_lib


class Discriminator(nn.Module):
  """Video [B, T, H, W, 3] in [-1, 1] -> logits [B T, H / 8, W / 8, 1].

  Attributes:
    width: channels of the first level, doubled at each of three.
    dtype: of the computation; parameters and logits are float32.
  """

  width: int = 32
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, video: types.Array) -> jax.Array:
    before = jnp.concatenate([video[:, :1], video[:, :-1]], axis=1)
    x = jnp.concatenate([video, video - before], -1).astype(self.dtype)
    x = x.reshape(-1, *x.shape[2:])  # [B T, H, W, 6]
    conv = functools.partial(nn.Conv, dtype=self.dtype,
                             kernel_init=nn.initializers.zeros)  # see `init`
    for level in range(3):
      x = conv(self.width << level, (4, 4), strides=2)(x)
      if level:  # over channels only: each patch has its own logit
        x = nn.RMSNorm(dtype=self.dtype)(x)
      x = nn.leaky_relu(x, 0.2)
    return conv(1, (3, 3))(x).astype(jnp.float32)


def init(module: Discriminator, key: jax.Array) -> types.PyTree:
  """Fresh parameters, float32."""
  video = jnp.zeros((1, 1, 16, 16, 3))
  draw = lambda key: conv_lib.draw_kernels(
      key, module.init(key, video)["params"], zero="")
  return jax.jit(draw)(key)


def logits(module: Discriminator, params: types.PyTree,
           video: types.Array) -> jax.Array:
  """Logits of a video's patches, high where it looks real."""
  return module.apply({"params": params}, video)
