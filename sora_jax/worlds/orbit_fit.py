"""A rigid scene and a camera, fitted to where solids are seen.

The unknowns are the camera's elevation, distance and move, and of each solid its
place on the floor and its radius. The focal length is known. What is minimised
is the distance, in short sides, between where the outlines are seen in all
frames and where a pinhole camera would see them; so a video in which things
move on their own has no good fit.
"""

import dataclasses

import numpy as np
from scipy import optimize

from sora_jax.worlds import camera
from sora_jax.worlds import solids

# Of the height of a solid, where the centroid of its outline is.
CENTROID = {"ball": 0.5, "cone": 0.29, "cylinder": 0.5}
ELEVATION, DISTANCE = (0.4, 0.1), (4.5, 0.15)  # mean and spread, a weak prior
WEAK = 0.004  # short sides that a prior of one spread weighs
AMOUNTS = {"orbits": (-1.2, -0.8, -0.5, -0.3, 0.3, 0.5, 0.8, 1.2),
           "dollies": (-0.3, -0.18, 0.18, 0.3),
           "pans": (-0.22, -0.14, 0.14, 0.22)}
SLACK = 0.02  # short sides, from where on an error counts less


@dataclasses.dataclass(frozen=True)
class Fit:
  """The scene that fits best.

  Attributes:
    path: of the camera.
    places: [n, 2] of the solids on the floor.
    radii: [n].
    cost: what is minimised.
    error: the median distance between seen and fitted places, in short sides.
    parallax: the greatest way of a solid in the image relative to the others,
      in short sides; 0 of a still video.
  """

  path: camera.Path
  places: np.ndarray
  radii: np.ndarray
  cost: float
  error: float
  parallax: float


def fit(seen: np.ndarray, shapes: list[str], s: np.ndarray, move: str,
        size: tuple[int, int]) -> Fit:
  """Fits a scene with a camera that makes one kind of move.

  Args:
    seen: [T, n, 3] the centroid (x, y) and the root of the area of each
      solid in short sides; nan where it is not seen whole.
    shapes: of the n solids.
    s: [T] the time from 0 to 1 of each frame.
    move: a key of AMOUNTS, or "stands".
    size: (W, H) in pixels.
  """
  rise = np.array([CENTROID[k] * solids.HEIGHT[k] for k in shapes])
  known = np.isfinite(seen)
  first = np.array([seen[np.flatnonzero(known[:, i, 0])[0], i]
                    for i in range(len(shapes))])

  def look(p):
    path = camera.Path(move, p[0], 0.0, p[1], p[2])
    view = camera.poses(path, s)
    x, y, r = p[3:].reshape(-1, 3).T
    at, depth = camera.project(view, np.stack([x, y, rise * r], -1), size)
    width = side(shapes, p[1]) * camera.FOCAL * r / np.maximum(depth, 0.1)
    return np.concatenate([at / min(size), width[..., None]], -1)

  def errors(p):
    prior = [(p[1] - ELEVATION[0]) / ELEVATION[1],
             (p[2] - _distance(move, p[0])) / DISTANCE[1]]
    return np.concatenate([(look(p) - seen)[known], WEAK * np.array(prior)])

  starts = [np.concatenate([[a, e, DISTANCE[0]], _on_floor(
      first, rise, a, e, move, s[:1], size)])
            for a in AMOUNTS.get(move, (0.0,)) for e in (0.28, 0.42)]
  start = min(starts, key=lambda p: np.abs(errors(p)).sum())
  found = optimize.least_squares(errors, start, loss="soft_l1", f_scale=SLACK,
                                 max_nfev=40, x_scale="jac")
  p = _scaled(found.x, _distance(move, found.x[0]))
  away = np.hypot(*np.moveaxis((look(p) - seen)[..., :2], -1, 0))
  return Fit(camera.Path(move, float(p[0]), 0.0, float(p[1]), float(p[2])),
             p[3:].reshape(-1, 3)[:, :2], p[3:].reshape(-1, 3)[:, 2], float(found.cost),
             float(np.nanmedian(away)), parallax(seen))


def side(shapes: list[str], elevation: float) -> np.ndarray:
  """The root of the area of outlines, in radii as they are seen, [n]."""
  flat, up = np.cos(elevation), np.sin(elevation)
  area = {"ball": np.pi, "cylinder": 4 * flat + np.pi * up,
          "cone": solids.HEIGHT["cone"] * flat + np.pi / 2 * up}
  return np.sqrt(np.maximum([area[k] for k in shapes], 0.1))


def _distance(move, amount):
  """Where a camera begins; one that moves away begins nearer."""
  return DISTANCE[0] * (1 + amount * (move == "dollies") / 2)


def _scaled(p, distance):
  """The scene at the scale at which the radii are those that there are.

  Two scenes of one form at two scales look almost the same.
  """
  log = lambda x: np.log(np.maximum(np.abs(x), 1e-3))
  sizes, scales = log(list(solids.SIZES.values())), np.linspace(-0.3, 0.3, 61)
  off = np.abs(log(p[5::3])[:, None, None] + scales[:, None] - sizes).min(-1)
  cost = (off**2).sum(0) / 0.05**2 + (log(p[2] / distance) + scales)**2 / 0.05**2
  k = np.exp(scales[cost.argmin()])
  return np.concatenate([p[:2], p[2:] * k])


def _on_floor(first, rise, amount, elevation, move, s, size):
  """Places and radii [n 3] of solids that are seen as in `first` [n, 3]."""
  view = camera.poses(camera.Path(move, amount, 0.0, elevation, DISTANCE[0]), s)
  half = np.array(size) / min(size) / 2
  u, v = ((first[:, :2] - half) / camera.FOCAL).T
  ray = view.forward + u[:, None] * view.right + v[:, None] * view.down
  radius = np.full(len(first), 0.3)
  for _ in range(3):
    reach = (view.place[0, 2] - rise * radius) / np.maximum(-ray[:, 2], 0.05)
    reach = np.minimum(reach, 8)
    radius = np.clip(first[:, 2] * reach / 1.8 / camera.FOCAL, 0.15, 0.5)
  places = view.place[:, :2] + reach[:, None] * ray[:, :2]
  return np.concatenate([places, radius[:, None]], -1).ravel()


def parallax(seen: np.ndarray) -> float:
  """How far solids move against each other in the image, in short sides."""
  both = seen[np.isfinite(seen[..., 0]).any(1)][..., :2]
  way = both - np.nanmean(both, axis=1, keepdims=True)
  span = np.nanmax(way, 0) - np.nanmin(way, 0)
  return float(np.nanmax(np.hypot(*span.T)))


def best(seen: np.ndarray, shapes: list[str], s: np.ndarray,
         size: tuple[int, int]) -> Fit:
  """The best fit over all moves; arguments as in `fit`."""
  return min((fit(seen, shapes, s, move, size) for move in AMOUNTS),
             key=lambda found: found.cost)
