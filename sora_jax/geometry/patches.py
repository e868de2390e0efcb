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

Patch = tuple[int, int, int]
LEAD_IN = 5  # repetitions of a tail's first frame: two latents of stride 4
LEAD = 2


def patchify(z: types.Array, patch: Patch = (1, 2, 2),
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
  (nt, nh, nw), (pt, ph, pw) = grid_size(size, patch), patch
  x = z.reshape(b, nt, pt, nh, ph, nw, pw, c)
  x = x.transpose(0, 1, 3, 5, 2, 4, 6, 7).reshape(b, nt * nh * nw, -1)
  pos = positions((nt, nh, nw), pos_t)
  return types.Tokens(
      x=x, pos=np.broadcast_to(pos, (b, *pos.shape)),
      seg=np.ones((b, nt * nh * nw), np.int32))


def unpatchify(x: types.Array, size: tuple[int, int, int],
               patch: Patch = (1, 2, 2)) -> types.Array:
  """The inverse of `patchify`: [B, L, P] to latents [B, t, h, w, C] of `size`."""
  (nt, nh, nw), (pt, ph, pw) = grid_size(size, patch), patch
  x = x.reshape(x.shape[0], nt, nh, nw, pt, ph, pw, -1)
  return x.transpose(0, 1, 4, 2, 5, 3, 6, 7).reshape(x.shape[0], *size,
                                                     x.shape[-1])


def grid_size(size, patch: Patch) -> tuple[int, int, int]:
  """The number of patches along (t, h, w) of latents of `size`."""
  return tuple(n // p for n, p in zip(size, patch))


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


def padded_size(video: tuple[int, int, int], stride: tuple[int, int, int],
                patch: Patch) -> tuple[int, int, int]:
  """The (T, H, W) that a video is extended to before it is encoded.

  Frames to the next st k + 1 (st the time stride), height and width to the next
  multiple of stride x patch.
  """
  frames, height, width = video
  st, sh, sw = stride
  up = lambda n, m: -(-n // m) * m
  return (up(frames - 1, st * patch[0]) + 1, up(height, sh * patch[1]),
          up(width, sw * patch[2]))


def latent_size(video: tuple[int, int, int], stride: tuple[int, int, int],
                patch: Patch = (1, 2, 2)) -> tuple[int, int, int]:
  """The (t, h, w) of the latents of a video of (T, H, W), after padding."""
  frames, height, width = padded_size(video, stride, patch)
  return ((frames - 1) // stride[0] + 1, height // stride[1],
          width // stride[2])


def extend(video: types.Array, size: tuple[int, int, int]) -> types.Array:
  """Extends [.., T, H, W, C] to `size` by repeating its end, bottom and right."""
  pad = [(0, new - old) for new, old in zip(size, video.shape[-4:-1])]
  pad = [(0, 0)] * (video.ndim - 4) + pad + [(0, 0)]
  return np.pad(video, pad, mode="edge")


def lead_in(video: types.Array) -> types.Array:
  """A tail's frames [.., T, H, W, C] behind its first one, repeated.

  4 n frames become 4 n + 5; encoded, the first LEAD latents are dropped, and
  what is left has seen nothing that comes before the tail.
  """
  first = np.repeat(video[..., :1, :, :, :], LEAD_IN, axis=-4)
  return np.concatenate([first, video], axis=-4)


def blinded(video: np.ndarray, region) -> np.ndarray:
  """A video without what is in a region, so that nothing of it shines through.

  Args:
    video: uint8 [T, H, W, C].
    region: x, y, w, h, t0, t1 in pixels and frames, t1 not included; what lies
      beyond the video is cut.

  Returns:
    A copy in which the region has, frame by frame, the median colour of the 4
    pixels around it; grey where it fills the frame.
  """
  x, y, w, h, t0, t1 = region
  around = np.zeros(video.shape[1:3], bool)
  around[max(y - 4, 0):y + h + 4, max(x - 4, 0):x + w + 4] = True
  around[y:y + h, x:x + w] = False
  ground = (np.median(video[t0:t1, around], axis=1)[:, None, None]
            if around.any() else 128)
  video = video.copy()
  video[t0:t1, y:y + h, x:x + w] = ground
  return video


def region(box, stride: tuple[int, int, int], patch: Patch):
  """The x, y, w, h, t0, t1 in pixels of a box t0, t1, y0, y1, x0, x1 of tokens."""
  t0, t1, y0, y1, x0, x1 = (int(n) for n in box)
  (st, sh, sw), (pt, ph, pw) = stride, patch
  frame = lambda t: max(t * st * pt - (st - 1), 0)  # the first of latent t
  return (x0 * sw * pw, y0 * sh * ph, (x1 - x0) * sw * pw, (y1 - y0) * sh * ph,
          frame(t0), frame(t1))
