"""Pixels to latents and back: the VAE as generation and evaluation use it.

Small videos go through it whole, which is faster up to about 32 frames of
64x64. What is larger goes one latent at a time, by the same two programs for
any number of frames, so that memory does not grow with length and the mid
block's attention holds one latent frame.
"""

from collections.abc import Iterator
import functools

import jax
import numpy as np
import PIL.Image

from sora_jax.formats import pretrained
from sora_jax.geometry import frames as frames_lib
from sora_jax.geometry import sizes
from sora_jax.models.vae import vae

WHOLE = 2**17  # pixels of a video that goes through the VAE at once


def encode(part: pretrained.Component, video: np.ndarray,
           patch: sizes.Patch = sizes.DEFAULT_PATCH) -> np.ndarray:
  """Raw latents [1, t, h, w, C] of a video uint8 [T, H, W, 3] of any size."""
  st = vae.stride(part.module)[0]
  size = sizes.padded_size(video.shape[:3], vae.stride(part.module), patch)
  if np.prod(size) <= WHOLE:
    x = to_float(sizes.pad_to(video, size))[None]
    return np.asarray(_encode(part.module, part.params, x)[0])
  ctx, found = None, []
  for start in (0, *range(1, size[0], st)):
    frames = st if start else 1
    x = sizes.pad_to(video[start:start + frames], (frames, *size[1:]))
    (mean, _), ctx = _encode_part(part.module, part.params, to_float(x)[None],
                                  ctx)
    found.append(np.asarray(mean))
  return np.concatenate(found, axis=1)


def decode(part: pretrained.Component, z) -> np.ndarray:
  """Raw latents [1, t, h, w, C] to video, uint8 [1, T, H, W, 3]."""
  return np.concatenate(list(decode_parts(part, z)), axis=1)


def decode_parts(part: pretrained.Component, z) -> Iterator[np.ndarray]:
  """`decode` as parts uint8 [1, n, H, W, 3], one after the other."""
  if np.prod(z.shape[:4]) * np.prod(vae.stride(part.module)) <= WHOLE:
    yield to_uint8(np.asarray(_decode(part.module, part.params, z)))
    return
  ctx = None
  for i in range(z.shape[1]):
    x, ctx = decode_part(part.module, part.params, z[:, i:i + 1], ctx)
    yield to_uint8(np.asarray(x))


def reconstruct(part: pretrained.Component, video: np.ndarray) -> np.ndarray:
  """A video through the VAE and back: the ceiling of anything generated.

  Args:
    part: the VAE.
    video: uint8 [T, H, W, 3] of any size.

  Returns:
    uint8 [T, H, W, 3].
  """
  t, h, w, _ = video.shape
  return decode(part, encode(part, video))[0, :t, :h, :w]


def latents(model: pretrained.Model, video: np.ndarray,
            suffix: bool = False) -> np.ndarray:
  """Normalised latents [t, h, w, C] float32 of a video uint8 [T, H, W, 3].

  Args:
    model: with the VAE and its statistics.
    video: of any size; extended to whole tokens and latents.
    suffix: whether it is the end of something, and no latent covers one frame:
      t = T / 4, each of them encoded without knowing what came before.
  """
  video = frames_lib.lead_in(video) if suffix else video
  z = vae.normalise(encode(model.vae, video, model.patch),
                    np.asarray(model.latent_mean, np.float32),
                    np.asarray(model.latent_std, np.float32))[0]
  return z[frames_lib.LEAD_IN_LATENTS:] if suffix else z


def cover(video: np.ndarray, size: tuple[int, int] | None) -> np.ndarray:
  """A video [T, H, W, 3] scaled to cover (W, H), what is beyond cut alike.

  As it is if it has that size, or if `size` is None.
  """
  _, height, width, _ = video.shape
  if size is None or size == (width, height):
    return video
  scale = min(width / size[0], height / size[1])
  w, h = scale * size[0], scale * size[1]
  left, top = (width - w) / 2, (height - h) / 2
  box = (left, top, left + w, top + h)
  return np.stack([np.asarray(PIL.Image.fromarray(frame).resize(
      size, PIL.Image.Resampling.LANCZOS, box)) for frame in video])


def to_float(video: np.ndarray) -> np.ndarray:
  """uint8 pixels to float32 in [-1, 1]."""
  return video.astype(np.float32) / 127.5 - 1


def to_uint8(video: np.ndarray) -> np.ndarray:
  """float32 pixels in [-1, 1] to uint8."""
  return np.clip(np.round((video + 1) * 127.5), 0, 255).astype(np.uint8)


@functools.partial(jax.jit, static_argnums=0)
def _encode(module, params, video):
  return vae.encode(module, params, video)


@functools.partial(jax.jit, static_argnums=0)
def _encode_part(module, params, video, ctx):
  return vae.encode_chunk(module, params, video, ctx)


@functools.partial(jax.jit, static_argnums=0)
def _decode(module, params, z):
  return vae.decode(module, params, z)


@functools.partial(jax.jit, static_argnums=0, donate_argnums=3)
def decode_part(module, params, z, ctx):
  return vae.decode_chunk(module, params, z, ctx)
