"""Draws antialiased parts into all frames of a clip at once.

A part is a disc, box, triangle or capsule that moves. A pixel is blended with
its colour by the share that it covers, which is 1/2 minus the signed distance to
the outline in pixels, clipped to [0, 1]. Parts that are drawn together share one
window a frame and one outline around all of them.
"""

from collections.abc import Sequence
import dataclasses
import functools

import numpy as np

from sora_jax.worlds import facts as facts_lib

Colour = tuple[int, int, int] | np.ndarray
OUTLINE = 0.024  # the width of an outline in short sides
THINNEST = 1.3  # pixels of an outline


@dataclasses.dataclass(frozen=True)
class Part:
  """A shape over the frames, in short sides; arrays broadcast over [T].

  Attributes:
    shape: "disc", "square", "box", "triangle", "ellipse", "capsule" or
      "mouth", which is a disc less the wedge between two lips.
    at: the centre (x, y), [2] or [T, 2]; of a capsule where it begins.
    reach: half the width and height, [2] or [T, 2]; of a capsule the way from
      its beginning to its end, of a mouth that from its centre to a lip.
    colour: (r, g, b), or [T, 3].
    radius: of a capsule, and of a mouth.
  """

  shape: str
  at: np.ndarray | tuple[float, float]
  reach: np.ndarray | tuple[float, float]
  colour: Colour
  radius: float = 0.0


def thing(shape: str, at: np.ndarray | tuple[float, float], diameter: float,
          colour: str | Colour) -> Part:
  """A disc, square or triangle; `colour` may be a name in facts.COLOURS."""
  rgb = facts_lib.COLOURS[colour] if isinstance(colour, str) else colour
  return Part(shape, at, (diameter / 2, diameter / 2), rgb)


def draw(video: np.ndarray, parts: Sequence[Part],
         outline: Colour | None = None, holes: Sequence[Part] = ()) -> None:
  """Blends parts into a clip in place, the first one farthest behind.

  Args:
    video: uint8 [T, H, W, 3].
    parts: what is drawn.
    outline: the colour of a line around them all, if there is one.
    holes: what is cut out of them.
  """
  frames, height, width, _ = video.shape
  if not frames or not parts:
    return
  short = min(height, width)
  edge = max(OUTLINE * short, THINNEST) if outline is not None else 0.0
  # What does not move is measured in one frame and drawn into all.
  still = all(np.ndim(a) < 2 for p in (*parts, *holes)
              for a in (p.at, p.reach))
  placed = [_place(p, short) for p in parts]
  lows = [np.minimum(a, a + b if p.radius else a - b) - r - edge - 1
          for p, (a, b, r) in zip(parts, placed)]
  highs = [np.maximum(a, a + b) + r + edge + 1 for a, b, r in placed]
  low = functools.reduce(np.minimum, lows)
  high = functools.reduce(np.maximum, highs)
  size = np.ceil((high - low).max(0)).astype(int) + 1
  w, h = min(int(size[0]), width), min(int(size[1]), height)
  corner = np.clip(np.floor(low), 0, (width - w, height - h)).astype(int)
  corner = np.broadcast_to(corner, (1 if still else frames, 2))
  views = [(video if still else video[t])[..., j:j + h, i:i + w, :]
           for t, (i, j) in enumerate(corner.tolist())]
  window = _planes(np.stack(views))
  x = (corner[:, :1] + np.arange(w) + 0.5).astype(np.float32)[:, None]
  y = (corner[:, 1:] + np.arange(h) + 0.5).astype(np.float32)[:, :, None]
  far = []
  for part, at, least, most in zip(parts, placed, lows, highs):
    # The part of the window that this one ever comes to.
    i, j = np.maximum(np.floor((least - corner).min(0)), 0).astype(int)
    k, l = np.maximum(np.ceil((most - corner).max(0)), 0).astype(int)
    away = distance(part.shape, x[..., i:k], y[:, j:l], *at)
    for hole in holes:
      cut = distance(hole.shape, x[..., i:k], y[:, j:l],
                     *_place(hole, short))
      away = np.maximum(away, -cut)
    far.append((np.s_[..., j:l, i:k], away))
  if outline is not None:
    nearest = np.full((len(x), h, w), 2 * edge + 1, np.float32)
    for here, away in far:
      np.minimum(nearest[here], away, out=nearest[here])
    _blend(window, np.clip(0.5 + edge - nearest, 0, 1), outline)
  for part, (here, away) in zip(parts, far):
    _blend(window[here], np.clip(0.5 - away, 0, 1), part.colour)
  for view, drawn in zip(views, window):
    _store(view, drawn)


def distance(shape: str, x: np.ndarray, y: np.ndarray, at: np.ndarray,
             reach: np.ndarray, radius: float) -> np.ndarray:
  """The signed distance of pixels to the outline of a part, below 0 inside.

  Args:
    shape: as in Part.
    x: pixel centres [T, 1, w] in pixels.
    y: [T, h, 1].
    at: as in Part, [T, 2] in pixels.
    reach: the same.
    radius: in pixels.

  Returns:
    float32 [T, h, w].
  """
  x, y = x - at[:, :1, None], y - at[:, 1:, None]
  rx, ry = reach[:, :1, None], reach[:, 1:, None]
  if shape == "capsule":
    along = (x * rx + y * ry) / np.maximum(rx * rx + ry * ry, 1e-6)
    along = np.clip(along, 0, 1)
    return np.hypot(x - along * rx, y - along * ry) - np.float32(radius)
  if shape == "mouth":
    lip, wedge = ry / radius, np.abs(rx) / radius
    gap = np.sign(rx) * x * lip - np.abs(y) * wedge  # above 0 between the lips
    return np.maximum(np.hypot(x, y) - np.float32(radius), gap)
  if shape == "disc":
    return np.hypot(x, y) - rx
  if shape == "ellipse":
    return (np.hypot(x / rx, y / ry) - 1) * np.minimum(rx, ry)
  if shape == "triangle":
    # The sides run from the apex (0, -ry) to (+-rx, ry).
    return np.maximum((2 * np.abs(x) - rx - y) / np.float32(5**0.5), y - ry)
  return np.maximum(np.abs(x) - rx, np.abs(y) - ry)


def _place(part, short):
  """(at, reach, radius) in pixels, at and reach [T, 2], or [1, 2] if they rest."""
  at, reach = (np.asarray(a, np.float32).reshape(-1, 2) * np.float32(short)
               for a in (part.at, part.reach))
  return at, reach, part.radius * short


def _planes(pixels):
  """uint8 [.., h, w, 3] as float32 [.., 3, h, w], in which to blend is faster."""
  return np.moveaxis(pixels, -1, -3).astype(np.float32, order="C")


def _store(view, planes):
  """Rounds `planes` [.., 3, h, w] into a view [.., h, w, 3] of a clip."""
  view[...] = np.moveaxis((planes + np.float32(0.5)).astype(np.uint8), -3, -1)


def _blend(planes, share, colour):
  rgb = np.asarray(colour, np.float32)[..., None, None]
  planes += share[..., None, :, :] * (rgb - planes)


def trace(video: np.ndarray, points: np.ndarray, times: np.ndarray,
          when: np.ndarray, radius: float, colour: Colour,
          outline: Colour | None = None) -> None:
  """Blends into a clip what a brush has painted by the time of each frame.

  Args:
    video: uint8 [T, H, W, 3].
    points: [n, 2] the corners of the brush's path, in short sides.
    times: [n] when it is at each of them.
    when: [T] the times of the frames.
    radius: of the brush, in short sides.
    colour: of the paint.
    outline: the colour of a line around it, if there is one.
  """
  _, height, width, _ = video.shape
  short = min(height, width)
  points, radius = points * short, radius * short
  edge = max(OUTLINE * short, THINNEST) if outline is not None else 0.0
  low = np.maximum(np.floor(points.min(0) - radius - edge - 1), 0).astype(int)
  high = np.ceil(points.max(0) + radius + edge + 1).astype(int)
  view = video[:, low[1]:high[1], low[0]:high[0]]
  x = low[0] + np.arange(view.shape[2], dtype=np.float32) + 0.5
  y = (low[1] + np.arange(view.shape[1], dtype=np.float32) + 0.5)[:, None]
  nearest = np.full(view.shape[1:3], np.inf, np.float32)
  arrives, speed = np.zeros_like(nearest), np.zeros_like(nearest)
  for a, b, t0, t1 in zip(points, points[1:], times, times[1:]):
    way = b - a
    length = max(float(np.hypot(*way)), 1e-6)
    along = np.clip(((x - a[0]) * way[0] + (y - a[1]) * way[1]) / length**2, 0, 1)
    away = np.hypot(x - a[0] - along * way[0], y - a[1] - along * way[1])
    here = away < nearest - 1e-3
    nearest[here] = away[here]
    arrives[here] = t0 + (along * (t1 - t0))[here]
    speed[here] = length / (t1 - t0)  # pixels in the time of the clip
  done = (when.astype(np.float32)[:, None, None] - arrives) * speed
  done = np.clip(0.5 + done, 0, 1)
  mixed = _planes(view)
  if outline is not None:
    _blend(mixed, done * np.clip(0.5 + radius + edge - nearest, 0, 1), outline)
  _blend(mixed, done * np.clip(0.5 + radius - nearest, 0, 1), colour)
  _store(view, mixed)
