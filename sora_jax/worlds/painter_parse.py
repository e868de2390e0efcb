"""Reads clips of the world of the painter back out of their pixels."""

import dataclasses
from typing import Any

import numpy as np
from scipy import ndimage

from sora_jax.worlds import marks as marks_lib

WOOD = "orange"  # of the handle of the brush
HELD = (-0.08, 0.08)  # the tip, from the middle of the handle
THIN = 0.13  # the greatest height of a line, in short sides
ROUND = 1.5  # the greatest width of a circle, in heights
OLD = 0.6  # of its last area: so much of a stroke at first makes it an old one
REACH = 0.09  # how far from the way of the tip paint may be, in short sides
HIDES = 0.22  # how far from the tip the brush may hide paint
STRAY = 0.1  # the greatest share of paint that appears elsewhere
REVERTS = 0.04  # the greatest share of painted pixels that do not stay


@dataclasses.dataclass(frozen=True)
class SeenStroke:
  """A stroke: colour, form and direction as in painter.Stroke."""

  colour: str
  form: str
  direction: str


@dataclasses.dataclass(frozen=True)
class Observed:
  """What was seen in a clip.

  Attributes:
    strokes: what was painted, in order; of an image all that there is.
    old: the colours that were there at first.
    tips: [T, 2] the tip of the brush in short sides, NaN where it is not seen.
    reverted: the share of painted pixels that lose their colour.
    stray: the share of them that appear away from the brush.
    setting, style: of the clip.
    unparsed: why nothing was read, "" if something was.
  """

  strokes: tuple[SeenStroke, ...]
  old: tuple[str, ...]
  tips: np.ndarray
  reverted: float
  stray: float
  setting: str
  style: str
  unparsed: str


def parse(video: np.ndarray, fps: float) -> Observed:
  """Reads a video uint8 [T, H, W, 3]."""
  del fps
  marks = marks_lib.find(video)
  tips = marks.centre[:, marks.of(WOOD)] + HELD
  last = slice(max(marks.frames - 2, 0), None)
  colours = [c for c in dict.fromkeys(
      marks.present(last) + marks.present(slice(2))) if c != WOOD]
  old, strokes = [], []
  for colour in colours:
    area = marks.area[:, marks.of(colour)]
    if marks.frames > 1 and area[0] > OLD * area.max():
      old.append(colour)
    else:
      when = _painted(marks, colour)
      strokes.append((float(np.mean(when[when >= 0])), _stroke(
          marks, colour, when)))
  reverted, stray = _faults(marks, tips)
  return Observed(
      tuple(s for _, s in sorted(strokes, key=lambda pair: pair[0])), tuple(old),
      tips, reverted, stray, marks_lib.setting(marks),
      marks_lib.style(video, marks), "" if colours else "no object")


def _painted(marks, colour):
  """int [h, w]: the first frame in which a pixel has a colour, -1 for never."""
  has = marks.label == marks.of(colour)
  return np.where(has.any(0), has.argmax(0), -1)


def _stroke(marks, colour, when):
  """What a stroke is, by where and when its pixels were painted."""
  y, x = np.nonzero(when >= 0)
  if not x.size:
    return SeenStroke(colour, "", "")
  time = when[y, x].astype(float)
  x, y = (x + 0.5) / marks.short, (y + 0.5) / marks.short
  wide, tall = np.ptp(x), np.ptp(y)
  form = ("line" if tall < THIN else "circle" if wide < ROUND * tall
          else "zigzag")
  if np.ptp(time) == 0:
    return SeenStroke(colour, form, "")
  if form == "circle":
    # It begins on the left; clockwise it goes up first.
    early = time <= np.quantile(time, 0.4)
    return SeenStroke(colour, form, "right" if y[early].mean() < (
        y.min() + y.max()) / 2 else "left")
  slope = np.polyfit(x, time, 1)[0]
  return SeenStroke(colour, form, "right" if slope > 0 else "left")


def _faults(marks, tips):
  """(the share of painted pixels that revert, the share that is stray)."""
  label = np.where(marks.label == marks.of(WOOD), -1, marks.label)
  h, w = label.shape[1:]
  x, y = (np.arange(w) + 0.5) / marks.short, (np.arange(h) + 0.5) / marks.short
  painted = reverts = new = strays = 0
  before = label[0]
  been = _near(x, y, tips[:1], REACH)
  for t in range(1, marks.frames):
    # The brush hides what is under it, and it has been where it was.
    near = _near(x, y, [tips[t]], HIDES)
    gone = (before >= 0) & (label[t] != before) & ~near
    # The outer pixels of a stroke change with rounding alone.
    gone &= ~ndimage.binary_dilation(
        ~((before >= 0) & (label[t] != before)))
    reverts += int(gone.sum())
    painted += int((before >= 0).sum())
    fresh = (label[t] >= 0) & (before < 0)
    path = tips[t - 1] + np.linspace(0, 1, 9)[:, None] * (tips[t] - tips[t - 1])
    if np.isnan(path).any():
      path = [p for p in (tips[t - 1], tips[t]) if not np.isnan(p).any()]
    # Paint may come out from under the handle later.
    step = float(np.hypot(*(tips[t] - tips[t - 1])))
    # Between two frames it may have gone round a corner.
    been |= _near(x, y, path, REACH + 0.6 * np.nan_to_num(step))
    strays += int((fresh & ~been).sum())
    new += int(fresh.sum())
    before = np.where(near & (before >= 0) & (label[t] < 0), before, label[t])
  share = lambda a, b: a / b if b else 0.0
  return share(reverts, painted / max(marks.frames - 1, 1)), share(strays, new)


def _near(x, y, points, reach):
  """bool [h, w]: whether a pixel is within `reach` of one of some points."""
  found = np.zeros((len(y), len(x)), bool)
  for px, py in points:
    if not np.isnan(px):
      found |= np.hypot(x - px, y[:, None] - py) < reach
  return found


def score(facts: Any, observed: Observed) -> dict[str, bool]:
  """Whether each fact was seen; facts are painter.Facts.

  Returns:
    setting, style, colour, form and count of the strokes; of a video also their
    direction and order, old (what was there at first), stays (paint does not
    revert) and brushed (paint appears by the brush alone).
  """
  truth, old = facts.strokes, (facts.old.colour,) * facts.before
  seen = {s.colour: s for s in observed.strokes}
  found = {"setting": observed.setting == facts.scene.setting,
           "style": observed.style == facts.scene.style}
  if facts.frames == 1:
    truth, old = (*truth, *(facts.old,) * facts.before), ()
  every = lambda right: all(s.colour in seen and right(s, seen[s.colour])
                            for s in truth)
  found |= {"count": len(observed.strokes) == len(truth),
            "colour": every(lambda s, o: True),
            "form": every(lambda s, o: s.form == o.form)}
  if facts.frames > 1:
    found |= {
        "direction": every(lambda s, o: s.direction == o.direction),
        "order": [s.colour for s in observed.strokes] == [s.colour for s in truth],
        "old": observed.old == old,
        "stays": bool(seen or observed.old) and observed.reverted < REVERTS,
        "brushed": bool(seen) and observed.stray < STRAY}
  return found
