"""The size that a clip is encoded at, where it is not its own.

A clip keeps its size, its length and its frame rate, with two exceptions:

  limit   a clip of more tokens than a row can hold is made smaller, keeping its
          aspect ratio, its length and its frame rate
  square  the baseline: every clip is scaled by its short side and cut to the
          square in its middle (report: "we compare ... against a version of our
          model that crops all training videos to be square")
"""

import dataclasses
import functools

import numpy as np
import PIL.Image


@dataclasses.dataclass(frozen=True)
class Fit:
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


def count(size, stride, patch) -> np.ndarray:
  """Tokens of clips of `size` [.., 3] (T, H, W)."""
  frames, height, width = np.moveaxis(np.asarray(size, np.int64), -1, 0)
  st, sh, sw = (s * p for s, p in zip(stride, patch))
  return ((-(-(frames - 1) // st) + 1) * -(-height // sh) * -(-width // sw))


def size_of(size: tuple[int, int, int], fit: Fit, stride,
            patch) -> tuple[int, int, int]:
  """The (T, H, W) that a clip of `size` is encoded at.

  Raises:
    ValueError: a clip that is over the limit at one token a latent.
  """
  if fit.square:
    size = (size[0], fit.square, fit.square)
  return _reduced(tuple(map(int, size)), fit.limit, tuple(stride), tuple(patch))


@functools.lru_cache(maxsize=65_536)
def _reduced(size, limit, stride, patch):
  """The largest size of the same aspect that has at most `limit` tokens."""
  if not limit or count(size, stride, patch) <= limit:
    return size
  frames, height, width = size
  per = limit // int(count((frames, 1, 1), stride, patch))
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


def apply(video: np.ndarray, fit: Fit, stride, patch) -> np.ndarray:
  """The video [T, H, W, 3] uint8 at the size that it is encoded at.

  Raises:
    ValueError: as `size_of`.
  """
  size = size_of(video.shape[:3], fit, stride, patch)
  if size == video.shape[:3]:
    return video
  _, height, width, _ = video.shape
  box = (0, 0, width, height)
  if fit.square:
    side = min(height, width)
    left, top = (width - side) / 2, (height - side) / 2
    box = (left, top, left + side, top + side)
  scale = lambda frame: PIL.Image.fromarray(frame).resize(
      size[:0:-1], PIL.Image.Resampling.BICUBIC, box)
  return np.stack([np.asarray(scale(frame)) for frame in video])


def report(sizes: np.ndarray, fit: Fit, stride, patch) -> dict:
  """What is lost at the sizes that clips are encoded at.

  Args:
    sizes: [N, 3] (T, H, W) of the clips.
    fit: what is done to them.
    stride: of the VAE.
    patch: of the tokens.

  Returns:
    clips, reduced, too_long (for any size), tokens (of all clips before) and
    tokens_lost, as integers.
  """
  new = sizes_of(sizes, fit, stride, patch)
  before, gone = count(sizes, stride, patch), new[:, 0] == 0
  after = np.where(gone, 0, count(new, stride, patch))
  return {"clips": len(new), "reduced": int(((after < before) & ~gone).sum()),
          "too_long": int(gone.sum()), "tokens": int(before.sum()),
          "tokens_lost": int(np.maximum(before - after, 0).sum())}


def sizes_of(sizes: np.ndarray, fit: Fit, stride, patch) -> np.ndarray:
  """`size_of` of many, [N, 3] to [N, 3]; 0 frames where it would raise."""
  sizes = np.array(sizes, np.int64)
  if fit.square:
    sizes[:, 1:] = fit.square
  over = np.flatnonzero(count(sizes, stride, patch) > (fit.limit or np.inf))
  kinds, of = np.unique(sizes[over], axis=0, return_inverse=True)
  new = np.zeros_like(kinds)
  for i, size in enumerate(kinds):
    try:
      new[i] = size_of(size, fit, stride, patch)
    except ValueError:
      new[i, 0] = 0
  sizes[over] = new[of.reshape(-1)]
  return sizes
