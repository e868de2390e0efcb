"""Reads solids, camera and scene out of the pixels of the world of orbit."""

import dataclasses
from typing import Any

import numpy as np
from scipy import ndimage

from sora_jax.worlds import blobs as blobs_lib
from sora_jax.worlds import camera
from sora_jax.worlds import facts as facts_lib
from sora_jax.worlds import orbit_fit

PRESENT = 0.5  # the least share of the frames in which a solid is seen
WHOLE = 0.8  # of the area that its neighbours in time have
SKEWED, SQUARE = -0.25, 0.75  # of the outlines of cones and of cylinders
SHARE = 0.28  # the least share of a pixel that is part of a solid
NEAR = np.ones((1, 3, 3), bool)
MOVING = 0.02  # short sides; what moves less stands still
RIGID = 0.012  # the greatest error of a rigid scene, in short sides
PARALLAX = 0.25  # of the truth's, the least that shows anything of depth
BETWEEN = (0.22 * 0.32)**0.5  # radius between small and large


@dataclasses.dataclass(frozen=True)
class Spots:
  """The largest spot of a colour in each frame, in short sides; nan if none.

  Attributes:
    centre: [T, 2] the centroid.
    area: [T].
    square: [T] the mean of x^2 y^2 over those of x^2 and of y^2, around the
      centroid: 1 of a rectangle, 2/3 of an ellipse.
    skew: [T] of y, below 0 where the lower part is the broader one.
    free: bool [T], whether it touches no other colour.
  """

  centre: np.ndarray
  area: np.ndarray
  square: np.ndarray
  skew: np.ndarray
  free: np.ndarray


@dataclasses.dataclass(frozen=True)
class Seen:
  """A solid as it is seen.

  Attributes:
    colour, shape: as in solids.Solid.
    radius: of the fitted scene; nan in an image.
    places: [T, 3] centroid and root of the area in short sides, nan where it is
      covered.
  """

  colour: str
  shape: str
  radius: float
  places: np.ndarray


@dataclasses.dataclass(frozen=True)
class Observed:
  """What was seen in a clip.

  Attributes:
    solids: by colour.
    move, direction: of the camera; "stands" and "none" if it does not move.
    fit: the rigid scene that fits best, None in an image.
    floor: the two dull colours of the floor, in the order of the alphabet.
    sky: the dull colour of the first rows.
    unparsed: why nothing was read, else "".
  """

  solids: tuple[Seen, ...]
  move: str
  direction: str
  fit: orbit_fit.Fit | None
  floor: tuple[str, ...]
  sky: str
  unparsed: str = ""


def parse(video: np.ndarray, fps: float) -> Observed:
  """Reads a video uint8 [T, H, W, 3]."""
  del fps
  frames, height, width, _ = video.shape
  found = {colour: spots for colour, spots in find(video).items()
           if np.isfinite(spots.area).sum() >= PRESENT * frames}
  floor, sky = _grounds(video)
  if not found:
    return Observed((), "stands", "none", None, floor, sky, "no object")
  places = np.stack([_places(spots) for spots in found.values()], 1)
  shapes = [_shape(spots, p) for spots, p in zip(
      found.values(), np.moveaxis(places, 1, 0))]
  fit, move, direction = None, "stands", "none"
  if frames > 1:
    s = np.linspace(0, 1, frames)
    steps = slice(None, None, max(1, -(-frames // 33)))
    if _moves(places):
      fit = orbit_fit.best(places[steps], shapes, s[steps], (width, height))
      move = fit.path.move
      forward = {"dollies": ("in", "out")}.get(move, ("right", "left"))
      direction = forward[int(fit.path.amount < 0)]
    else:
      fit = orbit_fit.fit(places[steps], shapes, s[steps], "stands",
                          (width, height))
  radii = fit.radii if fit else np.full(len(shapes), np.nan)
  return Observed(tuple(
      Seen(c, k, float(r), p) for c, k, r, p in zip(
          found, shapes, radii, np.moveaxis(places, 1, 0))),
                  move, direction, fit, floor, sky)


def find(video: np.ndarray) -> dict[str, Spots]:
  """The largest spot of each colour in every frame of a video."""
  video = blobs_lib.shrink(video)
  short = min(video.shape[1:3])
  colour, share = blobs_lib.unmix(video)
  found = {}
  for i, name in enumerate(facts_lib.COLOURS):
    mine = colour == i
    spots = _spots(np.where(mine, share, 0), ~mine & (share > SHARE), short)
    if np.isfinite(spots.area).any():
      found[name] = spots
  return found


def _spots(share, others, short):
  """The Spots of one colour with shares of the pixels [T, H, W].

  `others` is where other colours are.
  """
  label, count = ndimage.label(share > SHARE, blobs_lib.WITHIN_FRAMES)
  size = np.bincount(label.ravel(), minlength=count + 1)
  size[0] = 0
  largest = np.where(size[label].max((1, 2)) > 0, label.reshape(
      len(label), -1)[np.arange(len(label)), size[label].reshape(
          len(label), -1).argmax(1)], -1)
  kept = ndimage.binary_dilation(label == largest[:, None, None], NEAR)
  # A solid is lit from one side: a pixel counts by its brightest neighbour.
  light = ndimage.maximum_filter(share, (1, 3, 3))
  seen = np.where(kept, np.clip(1.05 * share / np.maximum(light, 0.1), 0, 1), 0)
  area = seen.sum((1, 2))
  area[area < blobs_lib.SMALLEST * short**2] = np.nan
  x, y = np.arange(share.shape[2]) + 0.5, np.arange(share.shape[1]) + 0.5
  along, down = seen.sum(1), seen.sum(2)
  cx, cy = along @ x / area, down @ y / area
  dx, dy = x - cx[:, None], y - cy[:, None]
  # Pixels are squares: a twelfth of each variance is that of a pixel.
  x2 = (along * dx**2).sum(1) / area - 1 / 12
  y2 = (down * dy**2).sum(1) / area - 1 / 12
  both = np.einsum("thw,tw,th->t", seen, dx**2, dy**2) / area
  return Spots(
      np.stack([cx, cy], -1) / short, area / short**2,
      (both - (x2 + y2) / 12 - 1 / 144) / (x2 * y2),
      (down * dy**3).sum(1) / area / np.maximum(y2, 1e-6)**1.5,
      np.isfinite(area) & ~(kept & others).any((1, 2)))


def _places(spots):
  """[T, 3] centroid and root of the area; nan where the solid is covered."""
  area = np.nan_to_num(spots.area)
  # The area changes slowly where nothing covers it.
  near = ndimage.maximum_filter(area, 9)
  if spots.free.any():
    near = np.maximum(near, np.interp(
        np.arange(len(area)), np.flatnonzero(spots.free), area[spots.free]))
  places = np.concatenate([spots.centre, spots.area[:, None]**0.5], -1)
  places[area < WHOLE * near] = np.nan
  return places


def _shape(spots, places):
  """The shape of a solid, from the frames in which it is whole."""
  whole = spots.free if spots.free.any() else np.isfinite(places[:, 0])
  if np.median(spots.skew[whole]) < SKEWED:
    return "cone"
  return "cylinder" if np.median(spots.square[whole]) > SQUARE else "ball"


def _moves(places):
  """Whether anything in the image moves or grows."""
  with np.errstate(invalid="ignore"):
    span = np.nanmax(places, 0) - np.nanmin(places, 0)
  return bool(np.nanmax(span) > MOVING)


def _grounds(video):
  """(the two colours of the floor, the colour of the first rows)."""
  names = list(facts_lib.DULL)
  dull = np.array(list(facts_lib.DULL.values()), np.float32)
  picks = video[::max(len(video) // 4, 1)].astype(np.float32)
  nearest = lambda x: ((x[..., None, :] - dull)**2).sum(-1)
  rows = picks[:, int(0.6 * video.shape[1]):].reshape(-1, 3)
  far = nearest(rows)
  # Pixels on the border of two squares and of solids are near no dull colour.
  some = far.min(1) < 15**2
  counts = np.bincount(far.argmin(1)[some], minlength=len(names))
  floor = tuple(sorted(names[i] for i in np.argsort(-counts)[:2]))
  top = np.median(picks[:, :max(int(0.04 * video.shape[1]), 1)].reshape(-1, 3), 0)
  return floor, names[int(nearest(top).argmin())]


def score(facts: Any, observed: Observed) -> dict[str, bool | float]:
  """Whether each fact of an orbit.Facts was seen.

  Returns:
    colour, shape and count of the solids, floor, and sky where there is one;
    for a video also size, move and direction, and whether the scene is rigid:
    one scene explains all frames, and things move against each other at least a
    quarter as far as they should.
  """
  seen = {s.colour: s for s in observed.solids}
  true = {s.colour: s for s in facts.solids}
  every = lambda right: all(c in seen and right(s, seen[c])
                            for c, s in true.items())
  result: dict[str, bool | float] = {
      "colour": every(lambda s, o: True), "count": len(seen) == len(true),
      "shape": every(lambda s, o: s.shape == o.shape),
      "floor": observed.floor == tuple(sorted(facts.floor))}
  if facts.sky:
    result["sky"] = observed.sky == facts.sky
  if facts.frames == 1:
    return result
  result["size"] = every(lambda s, o: (s.size == "large") == (o.radius > BETWEEN))
  result["move"] = observed.move == facts.path.move
  result["direction"] = result["move"] and observed.direction == facts.direction
  due = orbit_fit.parallax(truth(facts))
  result["rigid"] = bool(observed.fit and observed.fit.error <= RIGID and
                         observed.fit.parallax >= PARALLAX * due)
  return result


def truth(facts: Any) -> np.ndarray:
  """Where the solids of an orbit.Facts are: [T, n, 3] as in Seen.places."""
  view = camera.poses(facts.path, np.linspace(0, 1, facts.frames))
  rise = [orbit_fit.CENTROID[s.shape] * s.height for s in facts.solids]
  at, depth = camera.project(view, np.array(
      [[*s.place, z] for s, z in zip(facts.solids, rise)]), facts.size)
  side = orbit_fit.side([s.shape for s in facts.solids], facts.path.elevation)
  radii = np.array([s.radius for s in facts.solids])
  return np.concatenate([at / min(facts.size), (
      side * camera.FOCAL * radii / depth)[..., None]], -1)
