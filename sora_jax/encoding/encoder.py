"""Pixels to latents and back: the one place where the VAE is run.

Time is encoded as a first frame and chunks of `stride` frames, and decoded one
latent after the other, each by two programs for any number of frames. So memory
does not grow with length, and the attention of the mid block holds one latent
frame. Small videos go through the VAE whole, which is faster up to about 32
frames of 64x64.
"""

from collections.abc import Iterator
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sora_jax.formats import pretrained
from sora_jax.geometry import frames as frames_lib
from sora_jax.models.vae import vae as vae_lib

WHOLE = 2**17  # pixels of a video that goes through the VAE at once


def encode(vae: pretrained.Component, video: np.ndarray,
           size: np.ndarray | None = None, whole: bool = False) -> np.ndarray:
  """The posterior mean of clips, not normalised.

  Args:
    vae: the network and its parameters.
    video: [B, T, H, W, 3], uint8 or float32 in [-1, 1]; T = st k + 1, H and W
      multiples of the stride.
    size: [B, 2] int32, valid (height, width) of each clip; all of it if None.
    whole: whether a small video may go through the VAE at once.

  Returns:
    [B, t, h, w, C] float32.
  """
  if whole and np.prod(video.shape[:4]) <= WHOLE:
    return np.asarray(_encode(vae.module, vae.params, video)[0])
  st, cache, means = vae_lib.stride(vae.module)[0], None, []
  for start in frames_lib.latent_starts(video.shape[1], st):
    chunk = video[:, start:start + (st if start else 1)]
    mean, cache = encode_chunk(vae.module, vae.params, chunk, cache, size)
    means.append(mean)  # read only when all are under way
  return np.concatenate([np.asarray(mean) for mean in means], axis=1)


def decode(vae: pretrained.Component, z: np.ndarray) -> Iterator[np.ndarray]:
  """The frames of latents, in parts as they are asked for.

  Args:
    vae: the network and its parameters.
    z: [B, t, h, w, C], not normalised.

  Yields:
    uint8 [B, n, H, W, 3], one after the other in time.
  """
  if np.prod(z.shape[:4]) * np.prod(vae_lib.stride(vae.module)) <= WHOLE:
    yield to_uint8(np.asarray(_decode(vae.module, vae.params, z)))
    return
  cache = None
  for i in range(z.shape[1]):
    video, cache = decode_chunk(vae.module, vae.params, z[:, i:i + 1], cache)
    yield to_uint8(np.asarray(video))


def normalise(model: pretrained.Model, z: np.ndarray) -> np.ndarray:
  """Latents [.., C] at unit scale, float32, by the statistics of a model."""
  return vae_lib.normalise(z, model.latent_mean, model.latent_std)


def to_float(video: np.ndarray) -> np.ndarray:
  """uint8 pixels to float32 in [-1, 1]."""
  return video.astype(np.float32) / 127.5 - 1


def to_uint8(video: np.ndarray) -> np.ndarray:
  """float32 pixels in [-1, 1] to uint8."""
  return np.clip(np.round((video + 1) * 127.5), 0, 255).astype(np.uint8)


@functools.partial(jax.jit, static_argnums=0)
def encode_chunk(module: vae_lib.VAE, params: Any, video: jax.Array, cache: Any,
                 size: jax.Array | None) -> tuple[jax.Array, Any]:
  """The means of the next frames of clips, and the cache; as in `encode`."""
  if video.dtype == np.uint8:
    video = jnp.asarray(video, jnp.float32) / 127.5 - 1
  (mean, _), cache = vae_lib.encode_chunk(module, params, video, cache, size)
  return mean, cache


@functools.partial(jax.jit, static_argnums=0, donate_argnums=3)
def decode_chunk(module: vae_lib.VAE, params: Any, z: jax.Array,
                 cache: Any) -> tuple[jax.Array, Any]:
  """The video of the next latents of clips, float32, and the cache."""
  return vae_lib.decode_chunk(module, params, z, cache)


@functools.partial(jax.jit, static_argnums=0)
def _encode(module, params, video):
  return vae_lib.encode(module, params, video)


@functools.partial(jax.jit, static_argnums=0)
def _decode(module, params, z):
  return vae_lib.decode(module, params, z)
