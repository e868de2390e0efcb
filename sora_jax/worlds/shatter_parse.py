"""Reads what breaks, how it is hit and what becomes of it out of pixels."""

import dataclasses
from typing import Any

import numpy as np
from scipy import ndimage

from sora_jax.worlds import blobs as blobs_lib
from sora_jax.worlds import facts as facts_lib

HEIGHTS = {"low": 0.3, "middle": 0.5, "high": 0.7}  # of the hit, in the pane
DROPS = {"low": 0.2, "middle": 0.35, "high": 0.5}  # of a ball, to the floor
PANE = (0.2, 0.62)  # width and height
BALL = 0.16  # diameter of what hits the pane
WHOLE = 0.34  # diameter of a ball that breaks
GRAVITY = 1.6  # short sides / s^2
FLOOR = 0.1  # the height of the floor
PRESENT = 0.5  # the least share of the frames in which a colour is seen
SPREAD = 0.12  # by which the form of what breaks changes
KEPT = 0.15  # of the area of the whole, what may be lost to cracks and edges
NEAR = 0.12  # short sides from which on a thing has been reached


@dataclasses.dataclass(frozen=True)
class Observed:
  """What was seen in a clip.

  Attributes:
    thing: "pane" or "ball"; "" if nothing was seen.
    colour, hitter, direction, height, floor: as in shatter.Facts.
    breaks: whether the thing changes its form.
    kept: the area at the end, as a share of that at first.
    hit: whether it is reached by what hits it, or reaches the floor.
    caused: whether it keeps its form until it is hit.
    whole_again: whether it has changed its form and has its first one at last.
    unparsed: why nothing was read, else "".
  """

  thing: str
  colour: str
  hitter: str
  direction: str
  height: str
  floor: str
  breaks: bool
  kept: float
  hit: bool
  caused: bool
  whole_again: bool
  unparsed: str = ""


@dataclasses.dataclass(frozen=True)
class Spot:
  """All that is seen of one colour, in short sides: area [T], centre [T, 2],
  box [T, 4] as x0, y0, x1, y1 and spread [T, 2], the variances; nan if none."""

  area: np.ndarray
  centre: np.ndarray
  box: np.ndarray
  spread: np.ndarray


def parse(video: np.ndarray, fps: float) -> Observed:
  """Reads a video uint8 [T, H, W, 3]."""
  height = video.shape[1] / min(video.shape[1:3])
  rows = max(int(FLOOR * min(video.shape[1:3]) / 2), 1)
  dull = np.array(list(facts_lib.DULL.values()), float)
  ground = np.median(video[0, -rows:].reshape(-1, 3), 0)
  floor = list(facts_lib.DULL)[int(((dull - ground)**2).sum(-1).argmin())]
  spots = {c: s for c, s in _spots(video).items()
           if np.isfinite(s.area).mean() >= PRESENT and np.isfinite(s.area[0])}
  if not spots:
    return Observed("", "", "", "", "", floor, False, np.nan, False,
                    False, False, "no object")
  order = sorted(spots, key=lambda c: -spots[c].area[0])
  colour, hitter = order[0], (order + [""])[1]
  seen = spots[colour]
  frames = len(video)
  form = np.nansum(seen.spread, 1) / np.nansum(seen.spread[0])
  changed = np.abs(form - 1) > SPREAD
  breaks = bool(changed.any())
  kept = float(np.nanmedian(seen.area[-max(frames // 4, 1):]) / seen.area[0])
  times, bottom = np.arange(frames) / fps, height - FLOOR
  if hitter:
    direction, where, reached = _hit(spots[hitter], seen, times, bottom)
    name = min(HEIGHTS, key=lambda k: abs(HEIGHTS[k] - where))
  else:
    # How far it is from the floor at first; it has been reached when it lands.
    fall = bottom - seen.box[0, 3]
    name = min(DROPS, key=lambda k: abs(DROPS[k] - fall))
    direction, landed = "down", bottom - seen.box[:, 3] < NEAR
    reached = int(landed.argmax()) if landed.any() else frames
  caused = not breaks or bool(changed.argmax() >= reached - 1)
  if frames == 1:
    direction = name = ""
  return Observed("pane" if hitter else "ball", colour, hitter, direction, name,
                  floor, breaks, kept, reached < frames, caused,
                  breaks and bool((np.abs(
                      seen.spread[-2:] / seen.spread[0] - 1) < SPREAD).all()))


def _hit(ball, pane, times, bottom):
  """(direction, height in the pane, frame of the hit) of a ball."""
  x = ball.centre[:, 0]
  side = "right" if x[0] < pane.centre[0, 0] else "left"
  edge = (pane.box[0, 0] - BALL / 2 if side == "right"
          else pane.box[0, 2] + BALL / 2)
  gap = (edge - x) * (1 if side == "right" else -1)
  # It flies on until it is next to the pane, falling from its first height.
  near = np.flatnonzero(~(gap > 0.02))
  hit = int(near[0]) if len(near) else len(x)
  before = slice(max(hit, 2))
  speed = np.polyfit(times[before], x[before], 1)[0] if hit > 1 else np.nan
  when = (edge - x[0]) / speed if speed else np.nan
  y = ball.centre[0, 1] + GRAVITY / 2 * when**2
  return side, (bottom - y) / PANE[1], hit


def _spots(video):
  """The Spot of each colour of a video."""
  video = blobs_lib.shrink(video)
  short = min(video.shape[1:3])
  colour, share = blobs_lib.unmix(video)
  share = np.clip(share, 0, 1)
  x, y = ((np.arange(n) + 0.5) / short for n in (video.shape[2], video.shape[1]))
  found = {}
  for i, name in enumerate(facts_lib.COLOURS):
    seen = np.where((colour == i) & (share > 0.2), share, 0)
    seen = np.where(ndimage.maximum_filter(seen, (1, 3, 3)) > 0.6, seen, 0)
    area = seen.sum((1, 2))
    if not (area > blobs_lib.SMALLEST * short**2).any():
      continue
    area[area < blobs_lib.SMALLEST * short**2] = np.nan
    along, down = seen.sum(1), seen.sum(2)
    cx, cy = along @ x / area, down @ y / area
    spread = np.stack([(along * (x - cx[:, None])**2).sum(1) / area,
                       (down * (y - cy[:, None])**2).sum(1) / area], -1)
    box = np.full((len(video), 4), np.nan)
    for t in np.flatnonzero(np.isfinite(area)):
      # The edges at half a pixel: what its first row and column hold of it.
      across, upright = along[t].cumsum() / area[t], down[t].cumsum() / area[t]
      box[t] = [np.interp(q, c, (np.arange(len(c)) + 1) / short)
                for c, q in ((across, 0.004), (upright, 0.004),
                             (across, 0.996), (upright, 0.996))]
    found[name] = Spot(area / short**2, np.stack([cx, cy], -1), box, spread)
  return found


def score(facts: Any, observed: Observed) -> dict[str, bool | float]:
  """Whether each fact of a shatter.Facts was seen.

  Returns:
    thing, colour, hitter (of a pane) and floor; for a video also direction,
    height, breaks, whether all of the thing is there at the end, and whether
    what breaks is hit first.
  """
  result: dict[str, bool | float] = {
      "thing": observed.thing == facts.thing,
      "colour": observed.colour == facts.colour,
      "floor": observed.floor == facts.floor}
  if facts.hitter:
    result["hitter"] = observed.hitter == facts.hitter
  if facts.frames == 1:
    return result
  return result | {
      "direction": observed.direction == facts.direction,
      "height": observed.height == facts.height,
      "breaks": observed.breaks == facts.breaks,
      "stays": bool(abs(observed.kept - 1) <= KEPT),
      "cause": observed.caused}
