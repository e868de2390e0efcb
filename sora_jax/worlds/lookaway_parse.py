"""Reads clips of the world of looking away back out of their pixels."""

import dataclasses
from typing import Any

import numpy as np
from scipy import ndimage

from sora_jax.worlds import blobs as blobs_lib
from sora_jax.worlds import marks as marks_lib
from sora_jax.worlds import tracks as tracks_lib

ALL = "all"  # of the objects
AROUND = np.ones((1, 7, 7), bool)  # pixels that an outline may take
REST = 1  # frames in which nothing moves yet, and any more
MOVES = 1.5  # the least change of a ground that moves, in grey levels
LARGE = 0.3  # the least diameter of what is large, in short sides
NEAR = 0.07  # the greatest error of a place
LATE = 0.3  # the greatest error of a time, as a share of it


@dataclasses.dataclass(frozen=True)
class Seen:
  """An object, as it is at rest."""

  colour: str
  shape: str
  size: str
  x: float
  y: float


@dataclasses.dataclass(frozen=True)
class Observed:
  """What was seen in a clip.

  Attributes:
    before: the objects in the first frames, from left to right.
    after: those in the last ones.
    lost: colour, or ALL -> how many frames it is not seen, at the longest.
    event: ("pans" or "leaves", direction), ("event", "none"), None of an image.
    setting, style: of the clip.
    place: where its first object is; "apart" of two.
    unparsed: why nothing was read, "" if something was.
  """

  before: tuple[Seen, ...]
  after: tuple[Seen, ...]
  lost: dict[str, int]
  event: tuple[str, str] | None
  setting: str
  style: str
  place: str
  unparsed: str


def parse(video: np.ndarray, fps: float) -> Observed:
  """Reads a video uint8 [T, H, W, 3]."""
  del fps
  marks = marks_lib.find(video)
  before, after = _at_rest(video[:REST]), _at_rest(video[-REST:])
  lost = {c: marks_lib.longest_run(marks.area[:, marks.of(c)] == 0)
          for c in marks.present(least=0.0)}
  lost[ALL] = marks_lib.longest_run(marks.area.sum(1) == 0)
  return Observed(
      before, after, lost, _event(marks) if len(video) > 1 else None,
      marks_lib.setting(marks), marks_lib.style(video, marks),
      _place(marks, before), "" if before or after else "no object")


def _at_rest(video):
  """The objects of some frames in which they rest."""
  found: dict[str, list[blobs_lib.Blob]] = {}
  for blob in blobs_lib.find(video):
    found.setdefault(blob.colour, []).append(blob)
  seen = []
  for colour, some in found.items():
    wide = np.median([b.box[2] - b.box[0] for b in some])
    x, y = np.median([b.centre for b in some], axis=0)
    seen.append(Seen(colour, tracks_lib.shape_of(some),
                     "large" if wide > LARGE else "small", float(x), float(y)))
  return tuple(sorted(seen, key=lambda s: s.x))


def _place(marks, seen):
  if len(seen) != 1:
    return "apart" if len(seen) == 2 and seen[1].x - seen[0].x > 0.4 else ""
  half = (0.36 if seen[0].size == "large" else 0.24) / 2
  return marks_lib.place(marks, seen[0].x, half)


def _event(marks):
  """What moves: the view, an object or nothing."""
  # Outlines move with their objects.
  still = ~ndimage.binary_dilation(marks.label >= 0, AROUND)
  change = [_change(marks, still, t) for t in range(marks.frames)]
  moved = [t for t, c in enumerate(change)
           if c > MOVES]
  if moved:
    ways = {t: _shift(marks, still, t) for t in moved[:2]}
    way = ways[moved[0]] or ways[moved[-1 if len(moved) < 2 else 1]]
    return "pans", "right" if way > 0 else "left"
  for i in range(len(marks_lib.COLOURS)):
    x = marks.centre[:, i, 0]
    seen = np.flatnonzero(~np.isnan(x))
    if seen.size and seen.size < marks.frames:
      gone = int(np.flatnonzero(np.isnan(x))[0])
      if gone and abs(x[gone - 1] - x[0]) > 0.04:
        return "leaves", "right" if x[gone - 1] > x[0] else "left"
  return "event", "none"


def _change(marks, still, t):
  """How much the ground of frame t differs from that of the first frame."""
  both = still[t] & still[0]
  away = np.abs(marks.dull[t] - marks.dull[0]).mean(-1)
  return float(away[both].mean()) if both.any() else 0.0


def _shift(marks, still, t):
  """By how many pixels the view has moved to the right at frame t."""
  a, b = marks.dull[0].mean(-1), marks.dull[t].mean(-1)
  width, errors = a.shape[1], {}
  for way in range(-int(0.7 * width), int(0.7 * width) + 1):
    old = slice(max(way, 0), width + min(way, 0))
    new = slice(max(-way, 0), width + min(-way, 0))
    both = still[0][:, old] & still[t][:, new]
    if both.mean() > 0.3:
      errors[way] = float(np.abs(a[:, old] - b[:, new])[both].mean())
  return min(errors, key=lambda w: errors[w]) if errors else 0


def score(facts: Any, observed: Observed) -> dict[str, bool]:
  """Whether each fact was seen; facts are lookaway.Facts.

  Returns:
    count, colour, shape, size and place of the objects at first; setting;
    style, if there is an object to see it by; of a video also event, hidden
    (for how long the first object is unseen) and returns: the last frames show
    what the first ones should, and where.
  """
  things = sorted(facts.things[facts.empty:], key=lambda t: t.x)
  seen = observed.before
  pairs = list(zip(things, seen)) if len(things) == len(seen) else []
  every = lambda name: bool(pairs or not things) and all(
      getattr(t, name) == getattr(s, name) for t, s in pairs)
  found = {"count": len(things) == len(seen), "colour": every("colour"),
           "shape": every("shape"), "size": every("size"),
           "setting": observed.setting == facts.scene.setting}
  if things or facts.scene.style == "pixelated":
    found["style"] = observed.style == facts.scene.style
  if things and facts.scene.place and not facts.empty:
    found["place"] = observed.place == facts.scene.place
  if facts.frames > 1:
    found["event"] = observed.event == _told(facts)
    if not facts.empty:
      what = ALL if facts.mover == "camera" else facts.things[0].colour
      lost = observed.lost.get(what, 0)
      found["hidden"] = abs(lost - facts.hidden) <= max(
          2, LATE * facts.hidden)
    found["returns"] = len(things) == len(observed.after) and all(
        (t.colour, t.shape) == (s.colour, s.shape) and
        np.hypot(t.x - s.x, _middle(t) - s.y) < NEAR
        for t, s in zip(things, observed.after))
  return found


def _told(facts):
  if facts.mover == "camera":
    return "pans", facts.direction
  return ("event", "none") if facts.empty else ("leaves", facts.direction)


def _middle(thing):
  """The y of the centroid."""
  return thing.y + thing.diameter / 6 * (thing.shape == "triangle")
