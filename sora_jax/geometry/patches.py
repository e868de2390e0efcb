"""Latents become spacetime patches, and patches become latents again.

Report: "we extract a sequence of spacetime patches which act as transformer
tokens ... we can control the size of generated videos by arranging
randomly-initialized patches in an appropriately-sized grid."

The functions take and return numpy or jax arrays alike; all shapes are static.
"""

import jax
import jax.numpy as jnp
import numpy as np

from sora_jax import types
from sora_jax.geometry import sizes


def patchify(z: types.Array, patch: sizes.Patch = sizes.DEFAULT_PATCH,
             pos_t: types.Array | None = None) -> types.Tokens:
  """Cuts latents into patches.

  Args:
    z: [B, t, h, w, C], each axis a multiple of the patch.
    patch: (pt, ph, pw).
    pos_t: [t / pt] the time positions; 0, 1, 2 .. by default.

  Returns:
    Tokens with x [B, L, P], L = t h w / (pt ph pw) in (t, y, x) order and
    P = pt ph pw C, every token in segment 1.

  Raises:
    ValueError: a size that is no multiple of the patch.
  """
  b, *size, c = z.shape
  if any(n % p for n, p in zip(size, patch)):
    raise ValueError(f"latents of {tuple(size)} cannot be cut into patches of "
                     f"{tuple(patch)}: pad the video first")
  (nt, nh, nw), (pt, ph, pw) = sizes.grid_size(size, patch), patch
  x = z.reshape(b, nt, pt, nh, ph, nw, pw, c)
  x = x.transpose(0, 1, 3, 5, 2, 4, 6, 7).reshape(b, nt * nh * nw, -1)
  pos = positions((nt, nh, nw), pos_t)
  return types.Tokens(
      x=x, pos=np.broadcast_to(pos, (b, *pos.shape)),
      seg=np.ones((b, nt * nh * nw), np.int32))


def unpatchify(x: types.Array, size: tuple[int, int, int],
               patch: sizes.Patch = sizes.DEFAULT_PATCH) -> types.Array:
  """The inverse of `patchify`: [B, L, P] to latents [B, t, h, w, C] of `size`."""
  (nt, nh, nw), (pt, ph, pw) = sizes.grid_size(size, patch), patch
  x = x.reshape(x.shape[0], nt, nh, nw, pt, ph, pw, -1)
  return x.transpose(0, 1, 4, 2, 5, 3, 6, 7).reshape(x.shape[0], *size,
                                                     x.shape[-1])


def positions(grid: tuple[int, int, int],
              pos_t: types.Array | None = None) -> np.ndarray:
  """Positions [L, 3] float32 of a grid of patches, in (t, y, x) order."""
  nt, nh, nw = grid
  axes = (np.arange(nt) if pos_t is None else np.asarray(pos_t), np.arange(nh),
          np.arange(nw))
  return np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3).astype(
      np.float32)


def time_positions(count: int, fps: float, f_ref: float,
                   first: int = 0) -> np.ndarray:
  """pos_t [count] float32 of latents first, first + 1, .. at `fps`.

  Latent i ends with frame 4 i, at 4 i / fps seconds, and f_ref / 4 latents are
  one second at the reference rate (types.py).
  """
  return (np.arange(first, first + count) * (f_ref / fps)).astype(np.float32)


def noise(key: jax.Array, tokens: int, channels: int) -> jax.Array:
  """Noise patches [1, tokens, channels]: the start of a sample of any size."""
  return jax.random.normal(key, (1, tokens, channels), jnp.float32)


