"""Reads clips of the world of the bite back out of their pixels."""

import dataclasses
from typing import Any

import numpy as np

from sora_jax.worlds import marks as marks_lib

FOOD = 0.44  # its diameter, in short sides
BITE = 0.0085  # the area of a bite, in squared short sides
CLEAR = 0.5  # of a bite: the least that the area must fall or grow
SQUARE = 0.895  # the least share of its box that toast fills
MIDST = 0.05  # how far from the middle height an old bite is looked for
LACKS = 0.028  # the least depth of an old bite there, in short sides
LIKE = (0.5, 1.7)  # the least and greatest area of a bite, of the one expected


@dataclasses.dataclass(frozen=True)
class Observed:
  """What was seen in a clip.

  Attributes:
    food: "cookie" or "toast".
    colour, mouth: the colours of food and mouth, "" of what is not there.
    side: where the mouth is.
    bites: how many were taken.
    sizes: the area of each, of the one expected.
    before: whether there was a bite on the other side at first.
    grown: how much of the food comes back, of a bite.
    setting, style, place: of the clip.
    unparsed: why nothing was read, "" if something was.
  """

  food: str
  colour: str
  mouth: str
  side: str
  bites: int
  sizes: tuple[float, ...]
  before: bool
  grown: float
  setting: str
  style: str
  place: str
  unparsed: str


def parse(video: np.ndarray, fps: float) -> Observed:
  """Reads a video uint8 [T, H, W, 3]."""
  del fps
  marks = marks_lib.find(video)
  setting, style = marks_lib.setting(marks), marks_lib.style(video, marks)
  # The first frame shows the food whole and the mouth beside it.
  present = marks.present(slice(1))
  if not present:
    return Observed("", "", "", "", 0, (), False, 0.0, setting, style, "",
                    "no object")
  colour, mouth = (*present, "")[:2]
  i = marks.of(colour)
  box, area = marks.box[0, i], marks.area[:, i]
  middle = (box[:2] + box[2:]) / 2
  filled = area[0] / max(float(np.prod(box[2:] - box[:2])), 1e-6)
  side = ""
  free = np.ones(marks.frames, bool)
  if mouth:
    j = marks.of(mouth)
    side = "right" if marks.centre[0, j, 0] > middle[0] else "left"
    with np.errstate(invalid="ignore"):
      free = ~((marks.box[:, j, 2] > box[0]) & (marks.box[:, j, 0] < box[2]))
  sizes = _bites(area, free)
  return Observed(
      "toast" if filled > SQUARE else "cookie", colour, mouth, side, len(sizes),
      sizes, _bitten(marks, i, side), _grown(area, free), setting, style,
      marks_lib.place(marks, middle[0], FOOD / 2), "")


def _bites(area, free):
  """The area of each bite, as shares of the one expected."""
  seen = area[free]
  left = np.maximum.accumulate(seen[::-1])[::-1]  # what will be seen again
  sizes: list[float] = []
  level, k = left[0] if left.size else 0.0, 0
  while k < len(left):
    if level - left[k] > CLEAR * BITE:
      k = min(k + 1, len(left) - 1)  # it may take two frames to come off
      drop = float((level - left[k]) / BITE)
      count = 1 if drop < LIKE[1] else round(drop)
      sizes += [drop / count] * count
      level = left[k]
    k += 1
  return tuple(sizes)


def _grown(area, free):
  """How much more is seen than at an earlier time without a mouth before it."""
  seen = np.flatnonzero(free)
  later = np.maximum.accumulate(area[::-1])[::-1]
  return float(max((later[t] - area[t] for t in seen), default=0.0) / BITE)


def _bitten(marks, i, side):
  """Whether the side away from the mouth lacks a bite in the first frame."""
  if not side:
    return False
  has = marks.label[0] == i
  at = np.arange(has.shape[1]) + 0.5
  y = np.arange(has.shape[0]) + 0.5 - marks.box[0, i, [1, 3]].mean() * marks.short
  middle = np.abs(y) < MIDST * marks.short
  # Above and below it the food is as wide to both sides.
  rest = has & ~(np.abs(y) < 2 * MIDST * marks.short)[:, None]
  if not rest.any() or not has[middle].any():
    return False
  centre = (rest.sum(0) @ at) / rest.sum()
  left, right = ((has[middle] & some).sum() for some in (at < centre, at > centre))
  lacks = (right - left) if side == "right" else (left - right)
  return bool(lacks > LACKS * marks.short * middle.sum())


def score(facts: Any, observed: Observed) -> dict[str, bool]:
  """Whether each fact was seen; facts are bite.Facts.

  Returns:
    setting, style, place, food, colour, mouth and before; of a video also side,
    bites (their number), sizes (each takes as much as it should) and stays
    (nothing grows back).
  """
  found = {"setting": observed.setting == facts.scene.setting,
           "style": observed.style == facts.scene.style,
           "place": observed.place == facts.scene.place}
  found |= {name: getattr(observed, name) == getattr(facts, name)
            for name in ("food", "colour", "mouth", "before")}
  if facts.frames > 1:
    found |= {
        "side": observed.side == facts.side,
        "bites": observed.bites == facts.bites,
        "sizes": bool(observed.sizes) and all(
            LIKE[0] < size < LIKE[1] for size in observed.sizes),
        "stays": bool(observed.colour) and observed.grown < CLEAR}
  return found
