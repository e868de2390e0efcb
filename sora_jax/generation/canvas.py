"""A canvas: what is known of a video that is to be made.

Report: "Sora can also be prompted with other inputs, such as pre-existing
images or video." Every way of prompting is one thing here, latents of which
some tokens are known, and the sampler keeps those bit by bit. So animating,
extending, looping, connecting and in-filling are masks, not code paths
(prompting.py makes them).
"""

import dataclasses
import math
import os
from typing import Any

import numpy as np

from sora_jax.geometry import frames as frames_lib
from sora_jax.geometry import sizes

COPIES = 4  # of all latents while they are drawn: z, x, noise and what is kept


@dataclasses.dataclass(frozen=True, eq=False)
class Canvas:
  """A video to be made.

  Attributes:
    z: [t, h, w, C] float32 normalised latents; where nothing is known they
      matter only if `start` is below 1.
    known: [t, h / ph, w / pw] bool, the tokens that are given.
    fps: frames per second that the motion is made for.
    size: (W, H) in pixels, of which the padding is cropped.
    lead: frames that are dropped before the first one.
    frames: frames of the video.
    keyframes: (frame, [1, h, w, C]): frames given besides, anywhere in time.
      They are tokens of their own, seen and then dropped.
    start: the noise level that sampling begins at; below 1 from z.
    loops: whether the last latent is followed by the first.
    region: (x, y, w, h, t0, t1) in pixels and frames that is drawn anew, t1 not
      included, or None where this is no in-filling.
  """

  z: np.ndarray = dataclasses.field(repr=False)
  known: np.ndarray = dataclasses.field(repr=False)
  fps: float
  size: tuple[int, int]
  frames: int
  lead: int = 0
  keyframes: tuple[tuple[int, np.ndarray], ...] = dataclasses.field(
      default=(), repr=False)
  start: float = 1.0
  loops: bool = False
  region: frames_lib.Region | None = None

  @property
  def patch(self) -> sizes.Patch:
    """The latents that make one token."""
    return tuple(n // k for n, k in zip(self.z.shape, self.known.shape))

  @property
  def grid(self) -> tuple[int, int, int]:
    """Tokens along (t, h, w)."""
    return self.known.shape

  @property
  def whole(self) -> np.ndarray:
    """[t] bool: the latents of which every token is known."""
    return np.asarray(self.known.all((1, 2)))


@dataclasses.dataclass(frozen=True, eq=False)
class Crossfade:
  """A video that passes into another over `frames`.

  Attributes:
    first: the one video, which goes on for `frames`.
    second: the other, which has `frames` in front.
    lead_in: [2, h, w, C] latents behind which what is known of `second` is
      decoded as it was encoded (frames.lead_in).
    frames: how many are of both.
  """

  first: Canvas
  second: Canvas
  lead_in: np.ndarray = dataclasses.field(repr=False)
  frames: int

  @property
  def fps(self) -> float:
    """Frames per second of the result."""
    return self.first.fps


def blank(grid: tuple[int, int, int], patch: sizes.Patch, channels: int,
          **fields: Any) -> Canvas:
  """A canvas of `grid` tokens on which nothing is known."""
  t, h, w = grid
  _require_memory(t, (h * patch[1], w * patch[2], channels))
  z = np.zeros((t, h * patch[1], w * patch[2], channels), np.float32)
  return Canvas(z, np.zeros(grid, bool), **fields)


def of_parts(parts: list[np.ndarray | int], patch: sizes.Patch,
             **fields: Any) -> Canvas:
  """A canvas of latents in a row: known ones, or a number of unknown ones."""
  shape = next(p.shape[1:] for p in parts if not isinstance(p, int))
  _require_memory(sum(p for p in parts if isinstance(p, int)), shape)
  full = [np.zeros((p, *shape), np.float32) if isinstance(p, int) else p
          for p in parts]
  known = np.repeat([not isinstance(p, int) for p in parts],
                    [len(z) for z in full])
  h, w = (n // p for n, p in zip(shape, patch[1:]))
  return Canvas(np.concatenate(full), np.broadcast_to(
      known[:, None, None], (len(known), h, w)), **fields)


def _require_memory(latents: int, shape: tuple[int, ...]) -> None:
  """Refuses a video whose latents no memory of this machine holds.

  Raises:
    ValueError: it says what they would take.
  """
  needed = COPIES * 4 * latents * math.prod(shape)
  there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
  if needed > there:
    raise ValueError(
        f"{latents:,} latents of {shape[0]}x{shape[1]} would need "
        f"{needed / 1e9:,.0f} GB of memory and this machine has "
        f"{there / 1e9:,.0f} GB: make the video shorter or smaller")
