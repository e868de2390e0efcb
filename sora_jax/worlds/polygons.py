"""Convex shapes in many frames at once: what share of each pixel they cover.

A shape is drawn in a window of each frame that holds it, so that a small shape
costs little. Pixels are squares; the share of a pixel is the distance of its
centre to the outline, cut to 0 and 1.
"""

from collections.abc import Iterable
import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Window:
  """A window of one size in each frame of a clip.

  Attributes:
    left, top: its first column and row, int [T].
    x, y: centres of its pixels in the frame, float32 [T, 1, w] and [T, h, 1].
  """

  left: np.ndarray
  top: np.ndarray
  x: np.ndarray
  y: np.ndarray


def window(points: np.ndarray, size: tuple[int, int],
           margin: float = 1.0) -> Window:
  """A window around points [T, N, 2] in pixels, inside frames of (W, H)."""
  low = np.floor(points.min(1) - margin)
  span = (np.ceil(points.max(1) + margin) - low).max(0)
  w, h = (int(min(s, n)) for s, n in zip(span, size))
  left = np.clip(low[:, 0], 0, size[0] - w).astype(int)
  top = np.clip(low[:, 1], 0, size[1] - h).astype(int)
  x = left[:, None] + np.arange(w) + 0.5
  y = top[:, None] + np.arange(h) + 0.5
  return Window(left, top, x[:, None].astype(np.float32),
                y[:, :, None].astype(np.float32))


def coverage(points: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
  """The share of pixels that a convex polygon covers.

  Args:
    points: [T, N, 2] its corners in order, either way round.
    x, y: centres of pixels, [T, 1, w] and [T, h, 1].

  Returns:
    float32 [T, h, w] in [0, 1].
  """
  points = points.astype(np.float32)
  edge = np.roll(points, -1, 1) - points  # [T, N, 2]
  area = (points[..., 0] * edge[..., 1] - points[..., 1] * edge[..., 0]).sum(1)
  length = np.maximum(np.hypot(edge[..., 0], edge[..., 1]), 1e-6)
  turn = np.where(area < 0, 1, -1)[:, None, None] / length[..., None]
  normal = np.stack([-edge[..., 1], edge[..., 0]], -1) * turn  # outward
  inside = np.full((), np.inf, np.float32)
  for i in range(points.shape[1]):
    nx, ny = normal[:, i, :1, None], normal[:, i, 1:, None]
    far = (normal[:, i] * points[:, i]).sum(-1)[:, None, None]
    depth = (far - nx * x) - ny * y
    inside = np.minimum(inside, depth)
  return np.clip(inside + np.float32(0.5), 0, 1)


def blend(video: np.ndarray, at: Window, share: np.ndarray, colour: np.ndarray,
          frames: Iterable[int] | None = None) -> None:
  """Blends a colour [3], or one a pixel [T, h, w, 3], into `video` in place."""
  h, w = share.shape[1:3]
  for t in range(len(video)) if frames is None else frames:
    part = video[t, at.top[t]:at.top[t] + h, at.left[t]:at.left[t] + w]
    shade = colour if colour.ndim == 1 else colour[t]
    # + 0.5 and the cast round to nearest.
    part[...] = part + share[t, ..., None] * (shade - part) + np.float32(0.5)
