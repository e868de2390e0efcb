"""Failures that the report names, measured as such.

Report: "it does not accurately model the physics of many basic interactions, like
glass shattering"; "incoherencies that develop in long duration samples or
spontaneous appearances of objects".
"""

from typing import Any

import numpy as np

from sora_jax.worlds import collide_parse
from sora_jax.worlds import rows

ABILITY = "failures"
SEEN = 0.8  # the least share of the frames in which an object is seen
EDGE = 0.08  # short sides from the edge, where objects come in
Row, right = rows.Row, rows.right


def coherent(facts: Any, observed: Any, score: rows.Score) -> bool:
  """Whether the same objects are seen from the first to the last frames."""
  del facts, score
  return bool(observed.tracks) and observed.count == len(observed.tracks) and all(
      len(t.blobs) >= SEEN * observed.frames for t in observed.tracks)


def spontaneous(facts: Any, observed: Any, score: rows.Score) -> float:
  """Objects that appear inside of the frame by themselves, in 100 frames."""
  del score
  far = np.array(facts.size) / min(facts.size)
  new = 0
  for track in observed.tracks:
    first = track.blobs[0]
    inside = (min(first.box[:2]) > EDGE and
              (far - first.box[2:]).min() > EDGE)
    new += first.frame > 1 and inside
  return 100 * new / max(observed.frames, 1)


BALLS = (
    Row(ABILITY, "objects stay what they are", coherent,
        ("permanence", "immutability")),
    Row(ABILITY, "objects move as told", right("direction", "motion"), ("still",),
        told=True),
    Row(ABILITY, "objects from nowhere", spontaneous, unit="in 100 frames"),
)


def error(facts: Any, observed: Any, score: rows.Score) -> float | None:
  """The median way from the lawful clip that begins alike, in pixels."""
  del score
  lost = observed.error is None or np.isnan(observed.error)
  return None if lost else observed.error * min(facts.size)


def momentum(facts: Any, observed: Any, score: rows.Score) -> float | None:
  """The change of two balls' momentum as they meet, in per cent of the sum.

  Across the line from one to the other nothing else acts; with gravity, what it
  adds is taken off. None where no two meet, or too little is seen.
  """
  del score
  pair = [b for b in observed.balls if b.colour in observed.meet]
  if len(pair) != 2 or observed.gravity not in collide_parse.GRAVITY:
    return None
  a, b = pair
  gap = np.hypot(*(a.path - b.path).T)
  if np.isnan(gap).all():
    return None
  at = int(np.nanargmin(gap))
  if not 2 <= at < len(gap) - 2:
    return None
  fall = np.array([0, collide_parse.GRAVITY[observed.gravity]]) / facts.fps
  velocity = lambda p, i: (p[i + 1] - p[i]) * facts.fps
  mass = [collide_parse.SIZES[x.size]**2 for x in pair]
  before = [velocity(x.path, at - 2) for x in pair]
  after = [velocity(x.path, at + 1) - 3 * fall for x in pair]
  change = sum(m * (v - u) for m, u, v in zip(mass, before, after))
  size = sum(m * np.hypot(*u) for m, u in zip(mass, before))
  value = 100 * float(np.hypot(*change) / max(size, 1e-9))
  return None if np.isnan(value) else value


def collides(facts: Any, observed: Any, score: rows.Score) -> bool:
  """Whether all balls are there all the time, meet, and part by the laws."""
  del facts
  return bool(score["lawful"]) and bool(observed.meet) and all(
      np.isfinite(b.path[:, 0]).mean() >= SEEN for b in observed.balls)


COLLIDE = (
    Row(ABILITY, "balls collide by the laws", collides,
        ("solidity", "still")),
    Row(ABILITY, "gravity and elasticity as told",
        right("gravity", "bounce", "direction"), ("still",), told=True),
    Row(ABILITY, "error of the lawful way", error, unit="px"),
    Row(ABILITY, "change of momentum", momentum, unit="%"),
)


def broken(facts: Any, observed: Any, score: rows.Score) -> bool | None:
  """Whether it breaks, has been hit, and all of it lies there in pieces."""
  if not facts.breaks:
    return None
  return observed.breaks and not observed.whole_again and bool(
      score["cause"] and score["stays"])


def as_told(facts: Any, observed: Any, score: rows.Score) -> bool:
  """Whether it is hit as told, and breaks if it is told to."""
  del facts
  return observed.hit and all(
      score[n] for n in ("breaks", "height", "direction", "colour"))


def kept(facts: Any, observed: Any, score: rows.Score) -> float | None:
  """The area at the end, in per cent of that at first."""
  del facts, score
  return None if np.isnan(observed.kept) else 100 * observed.kept


SHATTER = (
    Row(ABILITY, "it breaks when hit and the pieces stay", broken,
        ("unbreaking", "immutability", "still", "undone")),
    Row(ABILITY, "breaks or holds as told, where it is hit", as_told, ("still",),
        told=True),
    Row(ABILITY, "area of the pieces", kept, unit="%"),
)
