"""Finds coloured objects in the frames of a video.

A pixel is a mixture of a dull background and at most one saturated object. In
the plane of chroma (colour without brightness) a mixture keeps the object's
angle, and its length is the object's share of the pixel. So the angle names the
colour, the length is an antialiased mask, and neither a texture nor a change of
brightness matters.
"""

import dataclasses

import numpy as np
from scipy import ndimage

from sora_jax.worlds import facts as facts_lib
from sora_jax.worlds import raster

SHORT_SIDE = 64  # larger videos are averaged down to 64 .. 127 pixels
SHARE = 0.45  # the least share of a pixel that is part of an object
FAINT = 12  # chroma that is taken for grey
SMALLEST = 0.004  # the least area of a blob, in squared short sides
# Pixels touch at their sides, and never from frame to frame.
WITHIN_FRAMES = ndimage.generate_binary_structure(2, 1)[None] & np.array(
    [False, True, False])[:, None, None]


@dataclasses.dataclass(frozen=True)
class Blob:
  """A connected region of one colour in one frame, in short sides.

  Attributes:
    frame: the index of the frame.
    colour: a name in facts.COLOURS.
    area: the area.
    centre: the centroid (x, y).
    box: (x0, y0, x1, y1).
    errors: how badly each of facts.SHAPES fits, as a share of the area.
  """

  frame: int
  colour: str
  area: float
  centre: tuple[float, float]
  box: tuple[float, float, float, float]
  errors: tuple[float, ...]


def find(video: np.ndarray) -> list[Blob]:
  """The blobs of a video uint8 [T, H, W, 3], by frame."""
  video = shrink(video)
  short = min(video.shape[1:3])
  colour, share = unmix(video)
  where = np.flatnonzero(share > SHARE)
  if not where.size:
    return []
  label = _connect(where, colour.ravel()[where], colour.shape)
  order = np.argsort(label, kind="stable")
  begins = np.flatnonzero(np.diff(label[order], prepend=-1))
  ends = np.append(begins[1:], len(order))
  blobs = []
  for begin, end in zip(begins, ends):
    if end - begin >= SMALLEST * short**2:
      pixels = np.unravel_index(where[order[begin:end]], colour.shape)
      blobs.append(_measure(pixels, colour, share, short))
  return sorted(blobs, key=lambda b: (b.frame, -b.area))


def shrink(video: np.ndarray) -> np.ndarray:
  """Averages whole blocks of pixels of a large video, as float32."""
  t, h, w, _ = video.shape
  k = max(min(h, w) // SHORT_SIDE, 1)
  if k == 1:
    return video.astype(np.float32)
  # One frame at a time: a large video would be four times as large in float32.
  cut = video[:, :h // k * k, :w // k * k]
  return np.stack([f.reshape(h // k, k, w // k, k, 3).mean(
      (1, 3), dtype=np.float32) for f in cut]) if t else cut


def unmix(video: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Each pixel's nearest colour (index) and the share of it, [T, H, W]."""
  u, v = (x - np.median(x[::5]) for x in _chroma(video.reshape(-1, 3)))
  some = np.flatnonzero(u * u + v * v > FAINT**2)
  pure_u, pure_v = _chroma(np.array(list(facts_lib.COLOURS.values())))
  length = np.hypot(pure_u, pure_v)
  along = (np.multiply.outer(u[some], pure_u / length) +
           np.multiply.outer(v[some], pure_v / length))  # [pixels, colours]
  nearest = along.argmax(-1)
  colour = np.zeros(len(u), np.int8)
  share = np.zeros(len(u), np.float32)
  colour[some] = nearest
  share[some] = along[np.arange(len(some)), nearest] / length[nearest]
  return colour.reshape(video.shape[:3]), share.reshape(video.shape[:3])


def _chroma(rgb):
  """Orthonormal coordinates (u, v) of colours [n, 3] in the chroma plane."""
  # Planes, not a product with a 3 x 2 matrix, which is many times slower.
  r, g, b = (rgb[:, i].astype(np.float32) for i in range(3))
  return (r - g) * np.float32(0.5**0.5), (r + g - 2 * b) * np.float32(6**-0.5)


def _connect(where, colour, shape):
  """Labels pixels that touch within a frame and are of one colour.

  Args:
    where: [n] flat indices of the pixels, in ascending order.
    colour: [n] their colours.
    shape: (T, H, W).

  Returns:
    [n] labels: the least index into `where` of each pixel's region.
  """
  label, known = np.zeros(len(where), np.int32), 0
  for one in np.unique(colour):
    of = colour == one
    image = np.zeros(shape, bool)
    image.ravel()[where[of]] = True
    found, count = ndimage.label(image, WITHIN_FRAMES)
    label[of] = found.ravel()[where[of]] + known
    known += count
  _, first, which = np.unique(label, return_index=True, return_inverse=True)
  return first[which]


def _measure(pixels, colour, share, short):
  """The Blob of the pixels (frames, rows, columns)."""
  t, y, x = pixels
  frame, kind = t[0], colour[t[0], y[0], x[0]]
  rows = slice(max(y.min() - 1, 0), y.max() + 2)
  columns = slice(max(x.min() - 1, 0), x.max() + 2)
  solid = np.median(share[pixels])
  seen = np.where(colour[frame, rows, columns] == kind,
                  np.clip(share[frame, rows, columns] / solid, 0, 1), 0)
  area = float(seen.sum())
  at_x = np.arange(share.shape[2])[columns] + 0.5
  at_y = np.arange(share.shape[1])[rows] + 0.5
  centre = seen.sum(0) @ at_x / area, seen.sum(1) @ at_y / area
  errors = tuple(_misfit(seen, shape, at_x - centre[0],
                         at_y[:, None] - centre[1], area)
                 for shape in facts_lib.SHAPES)
  return Blob(frame=int(frame), colour=list(facts_lib.COLOURS)[kind],
              area=area / short**2,
              centre=(float(centre[0] / short), float(centre[1] / short)),
              box=tuple(float(n / short) for n in (
                  x.min(), y.min(), x.max() + 1, y.max() + 1)), errors=errors)


def _misfit(seen, shape, dx, dy, area):
  """The squared difference to `shape` of the same area and centroid."""
  diameter = {"disc": np.sqrt(4 * area / np.pi), "square": np.sqrt(area),
              "triangle": np.sqrt(2 * area)}[shape]
  if shape == "triangle":  # its centroid is a sixth below its centre
    dy = dy + diameter / 6
  ideal = raster.coverage(shape, dx, dy, diameter)
  return float(np.square(seen - ideal).sum() / area)
