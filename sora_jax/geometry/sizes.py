"""Sizes of videos, latents and token grids, and the size a clip is encoded at.

A clip keeps its size, its length and its frame rate, with two exceptions:

  limit   a clip of more tokens than a row can hold is made smaller, keeping its
          aspect ratio, its length and its frame rate
  square  the baseline: every clip is scaled by its short side and cut to the
          square in its middle (report: "we compare ... against a version of our
          model that crops all training videos to be square")
"""

from collections.abc import Sequence
import dataclasses
import functools

import numpy as np
import PIL.Image

from sora_jax.geometry import frames as frames_lib

Patch = tuple[int, int, int]  # along (t, y, x)
Stride = tuple[int, int, int]  # of the VAE along (t, y, x)
DEFAULT_PATCH: Patch = (1, 2, 2)


@dataclasses.dataclass(frozen=True)
class ResizePolicy:
  """What is done to the sizes of clips.

  Attributes:
    limit: tokens of a clip, at most; 0 is any number.
    square: the side that clips are cut to; 0 leaves them as they are.
  """

  limit: int = 0
  square: int = 0

  def __post_init__(self):
    if self.limit < 0 or self.square < 0:
      raise ValueError(f"a limit of {self.limit} tokens and squares of "
                       f"{self.square} pixels: both must be 0 or more")


def token_count(size: Sequence | np.ndarray, stride: Stride,
                patch: Patch) -> np.ndarray:
  """Tokens of clips of `size` [.., 3] (T, H, W)."""
  frames, height, width = np.moveaxis(np.asarray(size, np.int64), -1, 0)
  st, sh, sw = (s * p for s, p in zip(stride, patch))
  return frames_lib.latent_count(frames, st) * -(-height // sh) * -(-width // sw)


def latent_tokens(height: frames_lib.Count, width: frames_lib.Count,
                  patch: Patch) -> frames_lib.Count:
  """Tokens of one latent of (h, w), integers or arrays."""
  return (height // patch[1]) * (width // patch[2])


def resized(size: tuple[int, int, int], policy: ResizePolicy, stride: Stride,
            patch: Patch) -> tuple[int, int, int]:
  """The (T, H, W) that a clip of `size` is encoded at.

  Raises:
    ValueError: a clip that is over the limit at one token a latent.
  """
  if policy.square:
    size = (size[0], policy.square, policy.square)
  return _reduced(tuple(map(int, size)), policy.limit, tuple(stride),
                  tuple(patch))


@functools.lru_cache(maxsize=65_536)
def _reduced(size, limit, stride, patch):
  """The largest size of the same aspect that has at most `limit` tokens."""
  if not limit or token_count(size, stride, patch) <= limit:
    return size
  frames, height, width = size
  per = limit // int(token_count((frames, 1, 1), stride, patch))
  if not per:
    raise ValueError(f"has {frames} frames, which are more than the limit of "
                     f"{limit} tokens at any height and width: cut it shorter")
  # The number of tokens changes where a side is a whole number of them.
  cell = stride[1] * patch[1], stride[2] * patch[2]
  scales = np.concatenate([
      c * np.arange(1, -(-n // c)) / n for n, c in zip((height, width), cell)])
  scales = np.concatenate([[min(1 / height, 1 / width)], np.sort(scales)])
  sides = np.maximum(np.floor(
      scales[:, None] * (height, width) + 1e-6), 1).astype(np.int64)
  fits = (-(-sides // cell)).prod(1) <= per
  height, width = sides[np.flatnonzero(fits)[-1]].tolist()
  return frames, height, width


def resize(video: np.ndarray, policy: ResizePolicy, stride: Stride,
           patch: Patch) -> np.ndarray:
  """The video [T, H, W, 3] uint8 at the size that it is encoded at.

  Raises:
    ValueError: as `resized`.
  """
  size = resized(video.shape[:3], policy, stride, patch)
  if size == video.shape[:3]:
    return video
  _, height, width, _ = video.shape
  box = (0, 0, width, height)
  if policy.square:
    side = min(height, width)
    left, top = (width - side) / 2, (height - side) / 2
    box = (left, top, left + side, top + side)
  scale = lambda frame: PIL.Image.fromarray(frame).resize(
      size[:0:-1], PIL.Image.Resampling.BICUBIC, box)
  return np.stack([np.asarray(scale(frame)) for frame in video])


def resize_report(sizes: np.ndarray, policy: ResizePolicy, stride: Stride,
                  patch: Patch) -> dict[str, int]:
  """What is lost at the sizes that clips are encoded at.

  Args:
    sizes: [N, 3] (T, H, W) of the clips.
    policy: what is done to them.
    stride: of the VAE.
    patch: of the tokens.

  Returns:
    clips, reduced, too_long (for any size), tokens (of all clips before) and
    tokens_lost, as integers.
  """
  new = resized_all(sizes, policy, stride, patch)
  before, gone = token_count(sizes, stride, patch), new[:, 0] == 0
  after = np.where(gone, 0, token_count(new, stride, patch))
  return {"clips": len(new), "reduced": int(((after < before) & ~gone).sum()),
          "too_long": int(gone.sum()), "tokens": int(before.sum()),
          "tokens_lost": int(np.maximum(before - after, 0).sum())}


def resized_all(sizes: np.ndarray, policy: ResizePolicy, stride: Stride,
                patch: Patch) -> np.ndarray:
  """`resized` of many, [N, 3] to [N, 3]; 0 frames where it would raise."""
  sizes = np.array(sizes, np.int64)
  if policy.square:
    sizes[:, 1:] = policy.square
  over = np.flatnonzero(token_count(sizes, stride, patch) > (policy.limit or np.inf))
  distinct, of = np.unique(sizes[over], axis=0, return_inverse=True)
  new = np.zeros_like(distinct)
  for i, size in enumerate(distinct):
    try:
      new[i] = resized(size, policy, stride, patch)
    except ValueError:
      new[i, 0] = 0
  sizes[over] = new[of.reshape(-1)]
  return sizes


def padded_size(video: tuple[int, int, int], stride: Stride,
                patch: Patch) -> tuple[int, int, int]:
  """The (T, H, W) that a video is extended to before it is encoded.

  Frames to the next st k + 1 (st the time stride), height and width to the next
  multiple of stride x patch.
  """
  frames, height, width = video
  st, sh, sw = (s * p for s, p in zip(stride, patch))
  up = lambda n, m: -(-n // m) * m
  return (frames_lib.frame_count(frames_lib.latent_count(frames, st), st),
          up(height, sh), up(width, sw))


def latent_size(video: tuple[int, int, int], stride: Stride,
                patch: Patch = DEFAULT_PATCH) -> tuple[int, int, int]:
  """The (t, h, w) of the latents of a video of (T, H, W), after padding."""
  frames, height, width = padded_size(video, stride, patch)
  return (frames_lib.latent_count(frames, stride[0]), height // stride[1],
          width // stride[2])


def pad_to(video: np.ndarray, size: tuple[int, int, int]) -> np.ndarray:
  """Extends [.., T, H, W, C] to `size` by repeating its end, bottom and right."""
  pad = [(0, new - old) for new, old in zip(size, video.shape[-4:-1])]
  pad = [(0, 0)] * (video.ndim - 4) + pad + [(0, 0)]
  return np.pad(video, pad, mode="edge")


def grid_size(size: Sequence, patch: Patch) -> tuple[int, int, int]:
  """The number of patches along (t, h, w) of latents of `size`."""
  return tuple(n // p for n, p in zip(size, patch))
