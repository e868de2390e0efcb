"""How a thing breaks: convex pieces around the place that is hit.

The cracks are the borders between points around the hit (each piece is what is
nearest to its point), so that the pieces are convex, fill the whole and are
small near the hit.
"""

import numpy as np

from sora_jax.worlds import rigid

SMALLEST = 0.06  # of a piece, as a share of the whole
GAP = 0.004  # the width of a crack, in short sides


def break_up(outline: np.ndarray, where: np.ndarray, count: int,
             seed: int) -> list[np.ndarray]:
  """`count` convex pieces [N, 2] of a convex outline [N, 2] hit at `where`."""
  rng = np.random.default_rng(seed)
  low, high = outline.min(0), outline.max(0)
  middle, least = (low + high) / 2, SMALLEST * rigid.area(outline)
  while True:
    points = where + (middle - where) * 0.8 + rng.normal(
        0, 1, (count, 2)) * (high - low) * 0.35
    made = []
    for i in range(count):
      made.append(_nearest(outline, points, i))
      if len(made[-1]) < 3 or rigid.area(made[-1]) < least:
        break
    else:
      return made


def _nearest(outline, points, i):
  """What of `outline` is nearer to point i than to all others."""
  piece = outline
  for j, other in enumerate(points):
    if j != i and len(piece):
      normal = other - points[i]
      normal = normal / np.hypot(*normal)
      piece = cut(piece, normal, normal @ (points[i] + other) / 2 - GAP / 2)
  return piece


def cut(piece: np.ndarray, normal: np.ndarray, bound: float) -> np.ndarray:
  """The part of a convex polygon [N, 2] with p . normal <= bound."""
  side = piece @ normal - bound
  if side.max() <= 0:
    return piece
  other, beyond = np.roll(piece, -1, 0), np.roll(side, -1)
  crosses = side * beyond < 0
  t = (side / np.where(crosses, side - beyond, 1))[:, None]
  # Each corner that stays, and after it the place where its edge is cut.
  both = np.stack([piece, piece + t * (other - piece)], 1).reshape(-1, 2)
  return both[np.stack([side <= 0, crosses], 1).ravel()]
