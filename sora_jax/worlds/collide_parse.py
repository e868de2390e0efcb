"""Reads balls, their first ways, touches and gravity out of pixels.

Gravity and elasticity are those with which the laws, let loose on what is seen
at first, come nearest to what is seen until shortly after two balls have met.
"""

import dataclasses
from typing import Any

import numpy as np

from sora_jax.worlds import blobs as blobs_lib
from sora_jax.worlds import facts as facts_lib
from sora_jax.worlds import rigid

SIZES = {"small": 0.18, "large": 0.28}  # diameter
GRAVITY = {"none": 0.0, "weak": 0.6, "strong": 1.2}  # short sides / s^2
BOUNCE = {"elastic": 1.0, "soft": 0.7}  # elasticity
PRESENT = 0.5  # the least share of the frames in which a ball is seen
AT_FIRST = 0.3  # seconds from which a ball's first way is read
AFTER = 0.3  # seconds after the first touch in which laws are told apart
TOUCH = 0.012  # the greatest gap of balls that touch, in short sides
MET = 0.1  # the same between two frames
LAWFUL = 0.03  # the greatest median error of a lawful clip, in short sides
PARTED = 0.1  # the same of two that have met
SOON = 4  # frames after the meeting in which they are followed


@dataclasses.dataclass(frozen=True)
class Seen:
  """A ball as it is seen: its colour, its size, the centres [T, 2] in short
  sides, nan where it is not seen, and its first direction, "none" if still."""

  colour: str
  size: str
  path: np.ndarray
  direction: str


@dataclasses.dataclass(frozen=True)
class Observed:
  """What was seen in a clip.

  Attributes:
    balls: by colour.
    meet: the colours of the two that touch first; () if none do.
    gravity, bounce: the names of what explains the clip best, "" in an image.
    error: the median distance to the lawful clip that begins like it, in short
      sides; nan in an image.
    parted: the same of the two that meet, in the frames after it, of the one
      that is farther off; nan where no two meet.
    unparsed: why nothing was read, else "".
  """

  balls: tuple[Seen, ...]
  meet: tuple[str, ...]
  gravity: str
  bounce: str
  error: float
  parted: float
  unparsed: str = ""


def parse(video: np.ndarray, fps: float) -> Observed:
  """Reads a video uint8 [T, H, W, 3].

  Raises:
    ValueError: pymunk is not installed.
  """
  frames, height, width, _ = video.shape
  found: dict[str, dict[int, Any]] = {}
  for blob in blobs_lib.find(video):  # the largest of a colour first
    found.setdefault(blob.colour, {}).setdefault(blob.frame, blob)
  found = {c: b for c, b in found.items() if len(b) >= PRESENT * frames}
  if not found:
    return Observed((), (), "", "", np.nan, np.nan, "no object")
  path = np.full((frames, len(found), 2), np.nan)
  for i, spots in enumerate(found.values()):
    for t, blob in spots.items():
      path[t, i] = blob.centre
  d = np.array([2 * np.sqrt(np.median([b.area for b in spots.values()]) / np.pi)
                for spots in found.values()])
  sizes = [min(SIZES, key=lambda k: abs(SIZES[k] - x)) for x in d]
  r = np.array([SIZES[k] / 2 for k in sizes])
  gravity, bounce, error, meet, velocity = "", "", np.nan, (), None
  parted = np.nan
  if frames > 2 and np.isfinite(path[:2]).all():
    aspect = facts_lib.frame_aspect((width, height))
    gravity, bounce, error, velocity, pair, parted = _laws(path, r, fps, aspect)
    if pair and np.nanmin(np.hypot(*(path[:, pair[0]] - path[:, pair[1]]).T)
                          ) < r[pair[0]] + r[pair[1]] + MET:
      meet = tuple(sorted(list(found)[i] for i in pair))
  directions = ["none" if velocity is None else _direction(v)
                for v in (path[0] if velocity is None else velocity)]
  return Observed(tuple(Seen(*x) for x in zip(
      found, sizes, np.moveaxis(path, 1, 0), directions)),
                  meet, gravity, bounce, error, parted)


def _direction(velocity):
  """The name of the direction of a velocity [2]."""
  if np.hypot(*velocity) < 0.08:
    return "none"
  return max(facts_lib.DIRECTIONS,
             key=lambda k: velocity @ np.array(facts_lib.DIRECTIONS[k]))


def _laws(path, r, fps, aspect):
  """What explains a path: (gravity, bounce, error, first velocities, meet,
  parted).

  `meet` are the two (i, j) that touch first in the lawful clip, `parted` is how
  far off they are after it.
  """
  fine = 8  # times between two frames
  times = np.arange((len(path) - 1) * fine + 1) / fps / fine
  first = max(int(AT_FIRST * fps) + 1, 2)
  tried = []
  for gravity, g in GRAVITY.items():
    start, velocity = _first(path[:first], times[::fine][:first], g)
    due = {e: rigid.discs(aspect, start, velocity, r, g, BOUNCE[e], times)
           for e in BOUNCE}
    # The first touch is where it begins to matter how elastic they are.
    differ = np.ptp(np.stack(list(due.values())), axis=0).max((1, 2)) > 0.003
    touch = differ.argmax() / fine if differ.any() else len(path)
    until = int(touch + AFTER * fps) + 2
    for bounce, lawful in due.items():
      away = np.hypot(*np.moveaxis(lawful[::fine] - path, -1, 0))[:until]
      tried.append((float(np.nanmean(away)), gravity, bounce,
                    float(np.nanmedian(away)), velocity, *_meet(
                        lawful, r, path, fine)))
  return min(tried, key=lambda x: x[0])[1:]


def _first(path, times, gravity):
  """Where balls start and how fast, from what is seen at first."""
  path = path - np.array([0, gravity / 2]) * times[:, None, None]**2
  known = np.isfinite(path[..., 0])
  start, velocity = np.zeros((2, path.shape[1], 2))
  for i in range(path.shape[1]):
    t, p = times[known[:, i]], path[known[:, i], i]
    velocity[i], start[i] = np.polyfit(t, p, 1)
  return start, velocity


def _meet(lawful, r, seen, fine):
  """The two balls (i, j) that touch first, () if none do, and how far they are
  from their lawful ways in the frames after it.

  Args:
    lawful: [fine (T - 1) + 1, balls, 2] the ways by the laws.
    r: their radii.
    seen: [T, balls, 2].
    fine: times between two frames.
  """
  gap = np.hypot(*np.moveaxis(lawful[:, :, None] - lawful[:, None], -1, 0))
  gap += np.where(np.eye(len(r)), np.inf, 0) - r - r[:, None]
  close = (gap < TOUCH).any((1, 2))
  if not close.any():
    return (), np.nan
  t = int(close.argmax())
  pair = tuple(sorted(map(int, np.unravel_index(gap[t].argmin(), gap[t].shape))))
  after = slice(t // fine + 1, t // fine + 1 + SOON)
  away = np.hypot(*np.moveaxis(lawful[::fine] - seen, -1, 0))[after, pair]
  some = away[:, np.isfinite(away).all(0)]
  return pair, float(np.median(some, 0).max()) if some.size else np.nan


def score(facts: Any, observed: Observed) -> dict[str, bool | float]:
  """Whether each fact of a collide.Facts was seen.

  Returns:
    colour, size and count of the balls; for a video also direction, which two
    meet first, gravity, bounce, and whether the clip is lawful: it stays near
    what the laws make of its beginning, until the first two have met and parted.
  """
  seen = {b.colour: b for b in observed.balls}
  every = lambda right: all(b.colour in seen and right(b, seen[b.colour])
                            for b in facts.balls)
  result: dict[str, bool | float] = {
      "colour": every(lambda b, o: True),
      "size": every(lambda b, o: b.size == o.size),
      "count": len(seen) == len(facts.balls)}
  if facts.frames == 1:
    return result
  return result | {
      "direction": every(lambda b, o: b.direction == o.direction),
      "meet": observed.meet == tuple(sorted(facts.meet)),
      "gravity": observed.gravity == facts.gravity,
      "bounce": observed.bounce == facts.bounce,
      "lawful": bool(observed.error <= LAWFUL and observed.parted <= PARTED)}
