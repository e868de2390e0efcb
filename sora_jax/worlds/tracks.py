"""Follows blobs over the frames of a clip and says what each track is.

What a track is (shape, direction, motion) is decided over all frames in which
it is whole, so a few bad frames, or an object half behind a wall, decide
nothing.
"""

from collections.abc import Sequence
import dataclasses

import numpy as np

from sora_jax.worlds import blobs as blobs_lib
from sora_jax.worlds import facts as facts_lib

WHOLE = 0.88  # the least share of its greatest area at which a track is whole
MOVED = 0.1  # a way that is clearly a motion, in short sides
STILL = 0.03  # a way that is clearly none
TURNED = 0.08  # the way back after which a track has turned round
FALLING = 0.4  # the least acceleration of a fall, in short sides / s^2
FALLEN = 0.2  # the least way of a fall
TOUCHING = 0.1  # the greatest gap at which two objects have met


@dataclasses.dataclass(frozen=True)
class Track:
  """An object as it is seen over the frames, in short sides and seconds.

  Attributes:
    colour: a name in facts.COLOURS.
    shape: a name in facts.SHAPES.
    diameter: its width and height, whichever is less hidden.
    direction: the direction of its first clear motion, or "none".
    motion: "still", "straight", "bounce" or "fall".
    blobs: what was seen of it, at most one blob a frame, in order.
  """

  colour: str
  shape: str
  diameter: float
  direction: str
  motion: str
  blobs: tuple[blobs_lib.Blob, ...]


def link(blobs: list[blobs_lib.Blob], fps: float,
         shortest: float) -> list[Track]:
  """Tracks of `shortest` blobs or more, the most seen first."""
  chains: list[list[blobs_lib.Blob]] = []
  for blob in blobs:  # by frame, the largest first
    open_ends = [c for c in chains if c[-1].colour == blob.colour
                 and c[-1].frame < blob.frame]
    if open_ends:
      min(open_ends, key=lambda c: _distance(c[-1], blob)).append(blob)
    else:
      chains.append([blob])
  return sorted((_track(c, fps) for c in chains if len(c) >= shortest),
                key=lambda t: -sum(b.area for b in t.blobs))


def whole(blobs: Sequence[blobs_lib.Blob]) -> list[blobs_lib.Blob]:
  """The blobs that are not cut off by a wall or an edge."""
  full = max(b.area for b in blobs)
  return [b for b in blobs if b.area >= WHOLE * full]


def shape_of(blobs: Sequence[blobs_lib.Blob]) -> str:
  """The shape that fits best over all blobs."""
  errors = np.mean([b.errors for b in blobs], axis=0)
  return facts_lib.SHAPES[int(errors.argmin())]


def axis_of(direction: str) -> tuple[int, int]:
  """The axis (0 is x) and the sign of a direction."""
  x, y = facts_lib.DIRECTIONS[direction]
  return (0, x) if x else (1, y)


def collided(a: Track, b: Track) -> bool:
  """Whether two tracks come up to each other, touch and part again."""
  if "none" in (a.direction, b.direction):
    return False
  axis, sign = axis_of(a.direction)
  other = {x.frame: x for x in b.blobs}
  gap = np.array([sign * (other[x.frame].centre[axis] - x.centre[axis])
                  for x in a.blobs if x.frame in other])
  gap -= (a.diameter + b.diameter) / 2
  if len(gap) < 3 or not -TOUCHING < gap.min() < TOUCHING:
    return False
  apart = gap > gap.min() + TURNED / 2
  return bool(apart[0] and apart[(~apart).argmax():].any())


def _distance(a, b):
  return np.hypot(a.centre[0] - b.centre[0], a.centre[1] - b.centre[1])


def _track(blobs, fps):
  full = whole(blobs)
  direction = _direction(np.array([b.centre for b in blobs]))
  return Track(
      colour=blobs[0].colour, shape=shape_of(full),
      diameter=float(np.median([max(b.box[2] - b.box[0], b.box[3] - b.box[1])
                                for b in full])),
      direction=direction, motion=_motion(full, fps, direction),
      blobs=tuple(blobs))


def _direction(path):
  """The direction of the first clear motion along a path [n, 2]."""
  way = path - path[0]
  far = np.abs(way).max(-1)
  step = way[(far > MOVED).argmax()] if far.max() > MOVED else way[far.argmax()]
  if np.abs(step).max() < STILL:
    return "none"
  return max(facts_lib.DIRECTIONS,
             key=lambda name: step @ np.array(facts_lib.DIRECTIONS[name]))


def _motion(blobs, fps, direction):
  """How a track moves, by its way along `direction`."""
  if direction == "none":
    return "still"
  axis, sign = axis_of(direction)
  times = np.array([b.frame for b in blobs]) / fps
  way = sign * np.array([b.centre[axis] for b in blobs])
  # The first turn: the peak from which it comes back by TURNED.
  back = np.maximum.accumulate(way) - way > TURNED
  peak = int(way[:back.argmax()].argmax()) if back.any() else len(way) - 1
  if direction == "down" and peak > 2 and way[peak] - way[0] > FALLEN:
    pull = 2 * np.polyfit(times[:peak], way[:peak], 2)[0]
    if pull > FALLING:
      return "fall"
  return "bounce" if back.any() else "straight"
