"""Pixels to latents and back: the VAE as generation and evaluation use it."""

import functools

import jax
import numpy as np

from sora_jax import tokens as tokens_lib
from sora_jax.models import pretrained
from sora_jax.models import vae
from sora_jax.models import vae_stream

PATCH = (1, 2, 2)
# Pixels of a video that is decoded at once; beyond, a latent at a time, so that
# memory does not grow with length.
WHOLE = 2**22


def encode(part: pretrained.Part, video: np.ndarray) -> jax.Array:
  """Raw latents [1, t, h, w, C] of a video uint8 [T, H, W, 3] of any size."""
  padded = tokens_lib.padded_size(video.shape[:3], vae.stride(part.module),
                                  PATCH)
  x = to_float(tokens_lib.extend(video, padded))[None]
  return _encode(part.module, part.params, x)[0]


def decode(part: pretrained.Part, z) -> np.ndarray:
  """Raw latents [B, t, h, w, C] to video, uint8 [B, T, H, W, 3]."""
  many = np.prod(z.shape[:4]) * np.prod(vae.stride(part.module)) > WHOLE
  return to_uint8(np.asarray(decode_array(part.module, many, part.params, z)))


def reconstruct(part: pretrained.Part, video: np.ndarray) -> np.ndarray:
  """A video through the VAE and back: the ceiling of anything generated.

  Args:
    part: the VAE.
    video: uint8 [T, H, W, 3] of any size.

  Returns:
    uint8 [T, H, W, 3].
  """
  t, h, w, _ = video.shape
  return decode(part, encode(part, video))[0, :t, :h, :w]


def to_float(video: np.ndarray) -> np.ndarray:
  """uint8 pixels to float32 in [-1, 1]."""
  return video.astype(np.float32) / 127.5 - 1


def to_uint8(video: np.ndarray) -> np.ndarray:
  """float32 pixels in [-1, 1] to uint8."""
  return np.clip(np.round((video + 1) * 127.5), 0, 255).astype(np.uint8)


@functools.partial(jax.jit, static_argnums=0)
def _encode(module, params, video):
  return vae.encode(module, params, video)


@functools.partial(jax.jit, static_argnums=(0, 1))
def decode_array(module, in_parts, params, z):
  run = vae_stream.decode_chunked if in_parts else vae.decode
  return run(module, params, z)
