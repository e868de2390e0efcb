"""A pinhole camera over a chequered ground.

The ground is the plane z = 0 and z points up. Pixel (x, y) of a frame looks
along

  forward + u right + v down,   (u, v) = ((x, y) - (W, H) / 2) / F,

where F is FOCAL short sides. At time s, from 0 to 1 over a clip, a camera that
orbits stands at azimuth a + s amount around the target, one that dollies at
distance d (1 - s amount), and one that pans turns around itself by
(s - 1/2) amount. To the right and forward are above 0.
"""

import dataclasses

import numpy as np

FOCAL = 1.3  # short sides
TARGET = 0.25  # the height that the camera looks at, above the origin
CELL = 0.5  # the side of a square of the ground


@dataclasses.dataclass(frozen=True)
class Path:
  """How a camera moves.

  Attributes:
    move: "orbits", "dollies" or "pans"; "stands" if it does not move.
    amount: of the move, in radians, or as a share of the distance.
    azimuth: where it stands at first, in radians.
    elevation: above the ground, in radians.
    distance: from the target at first.
  """

  move: str
  amount: float
  azimuth: float
  elevation: float
  distance: float


@dataclasses.dataclass(frozen=True)
class Poses:
  """Where a camera stands and looks, in every frame.

  Attributes:
    place: [T, 3].
    right, down, forward: unit vectors [T, 3].
  """

  place: np.ndarray
  right: np.ndarray
  down: np.ndarray
  forward: np.ndarray


def poses(path: Path, s: np.ndarray) -> Poses:
  """The poses at times s [T], from 0 to 1."""
  a = path.azimuth + s * path.amount * (path.move == "orbits")
  d = path.distance * (1 - s * path.amount * (path.move == "dollies"))
  p = (s - 0.5) * path.amount * (path.move == "pans")
  flat, up = np.cos(path.elevation), np.sin(path.elevation)
  out = np.stack([flat * np.cos(a), flat * np.sin(a), up + 0 * a], -1)
  right = np.stack([-np.sin(a), np.cos(a), 0 * a], -1)
  # It pans around the vertical axis: only the horizontal part turns.
  level = np.stack([-np.cos(a), -np.sin(a), 0 * a], -1)
  turn = lambda x, y: np.cos(p)[:, None] * x + np.sin(p)[:, None] * y
  ahead, right = turn(level, right), turn(right, -level)
  z = np.array([0.0, 0.0, 1.0])
  return Poses(place=out * d[:, None] + TARGET * z, right=right,
               down=-up * ahead - flat * z, forward=flat * ahead - up * z)


def project(view: Poses, points: np.ndarray,
            size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
  """Where points are seen.

  Args:
    view: of T frames.
    points: [N, 3], or [T, N, 3].
    size: (W, H) of a frame.

  Returns:
    pixels [T, N, 2] and depths [T, N] along `forward`.
  """
  offset = points - view.place[:, None]
  along = lambda axis: np.einsum("tnk,tk->tn", offset, axis)
  depth = along(view.forward)
  scale = focal(size) / np.maximum(depth, 1e-3)
  return np.stack([along(view.right) * scale + size[0] / 2,
                   along(view.down) * scale + size[1] / 2], -1), depth


def focal(size: tuple[int, int]) -> float:
  """The focal length in pixels of frames of (W, H)."""
  return FOCAL * min(size)


def horizon(path: Path, size: tuple[int, int]) -> float:
  """The rows of a frame (W, H) above the horizon; the same in all frames."""
  return size[1] / 2 - float(np.tan(path.elevation)) * focal(size)


def ground(view: Poses, size: tuple[int, int], colours: np.ndarray,
           sky: np.ndarray) -> np.ndarray:
  """Ground and sky alone: uint8 [T, H, W, 3].

  Args:
    view: of T frames.
    size: (W, H).
    colours: [2, 3] of the squares.
    sky: [3].
  """
  width, height = size
  f = focal(size)
  u = ((np.arange(width) + 0.5 - width / 2) / f).astype(np.float32)
  v = ((np.arange(height) + 0.5 - height / 2) / f).astype(np.float32)
  # No camera is tilted sideways: a row looks down by one angle.
  axes = [x.astype(np.float32)[:, :, None] for x in (
      view.right, view.down, view.forward, view.place)]
  right, down, forward, place = axes
  sink = -(forward[:, 2] + v * down[:, 2])  # [T, H]
  below = sink > 1e-3
  reach = np.where(below, place[:, 2] / np.maximum(sink, 1e-3), 0)  # [T, H]
  # What a pixel covers, in squares, is averaged.
  blur = np.maximum(reach / (f * np.maximum(sink, 1e-3) * CELL), 1e-3)
  blur = np.minimum(blur, 1e3)[..., None].astype(np.float32)
  mean = np.ones((), np.float32)
  for axis in (0, 1):
    start = place[:, axis] + reach * (forward[:, axis] + v * down[:, axis])
    at = (start[..., None] + (reach[..., None] * right[:, axis, :, None] * u)
          ) / CELL  # [T, H, W]
    mean = mean * (_steps(at + blur / 2) - _steps(at - blur / 2)) / blur
  # Squares much smaller than a pixel are one colour.
  mean = np.asarray(0.5 + 0.5 * mean * np.clip(2 - blur, 0, 1))[..., None]
  seen = colours[0] + mean * (colours[1] - colours[0])
  horizon = np.clip(sink * f + 0.5, 0, 1)[..., None, None].astype(np.float32)
  return (sky + horizon * (seen - sky) + np.float32(0.5)).astype(np.uint8)


def _steps(x):
  """The integral from 0 of a wave that is 1 and -1 in turn over unit steps."""
  return 1 - np.abs(x - 2 * np.floor(x / 2) - 1)
