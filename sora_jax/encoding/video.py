"""A video becomes latents and comes back, as generation and evaluation use it."""

from collections.abc import Iterator

import numpy as np
import PIL.Image

from sora_jax.encoding import encoder
from sora_jax.formats import pretrained
from sora_jax.geometry import frames as frames_lib
from sora_jax.geometry import sizes
from sora_jax.models.vae import vae as vae_lib


def encode(vae: pretrained.Component, video: np.ndarray,
           patch: sizes.Patch = sizes.DEFAULT_PATCH) -> np.ndarray:
  """Raw latents [1, t, h, w, C] of a video uint8 [T, H, W, 3] of any size."""
  size = sizes.padded_size(video.shape[:3], vae_lib.stride(vae.module), patch)
  return encoder.encode(
      vae, encoder.to_float(sizes.pad_to(video, size))[None], whole=True)


def decode(vae: pretrained.Component, z: np.ndarray) -> np.ndarray:
  """Raw latents [1, t, h, w, C] to video, uint8 [1, T, H, W, 3]."""
  return np.concatenate(list(decode_parts(vae, z)), axis=1)


def decode_parts(vae: pretrained.Component,
                 z: np.ndarray) -> Iterator[np.ndarray]:
  """`decode` as parts uint8 [1, n, H, W, 3], one after the other."""
  return encoder.decode(vae, z)


def reconstruct(vae: pretrained.Component, video: np.ndarray) -> np.ndarray:
  """A video through the VAE and back: the ceiling of anything generated.

  Args:
    vae: the network and its parameters.
    video: uint8 [T, H, W, 3] of any size.

  Returns:
    uint8 [T, H, W, 3].
  """
  t, h, w, _ = video.shape
  return decode(vae, encode(vae, video))[0, :t, :h, :w]


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
  z = encoder.normalise(model, encode(model.vae, video, model.patch))[0]
  return z[frames_lib.LEAD_IN_LATENTS:] if suffix else z


def cover(video: np.ndarray, size: tuple[int, int] | None) -> np.ndarray:
  """Scales a video [T, H, W, 3] to cover (W, H) and cuts both sides alike.

  A video that has that size is returned as it is, and so is any if `size` is
  None.
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
