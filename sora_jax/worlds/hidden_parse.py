"""Reads clips of the world of what goes on unseen back out of their pixels."""

import dataclasses
from typing import Any

import numpy as np

from sora_jax.worlds import facts as facts_lib
from sora_jax.worlds import grounds
from sora_jax.worlds import marks as marks_lib

FLAT = 0.19  # the greatest height of a bar, in short sides
BIG = 0.27  # the least height of a lamp
INNER = 0.6  # the width of a full bar
PART = 0.6  # of its greatest area: less is half hidden
NEAR = {"ball": 0.1, "bar": 0.08}  # the greatest error of place and level
MOST = 0.85  # the least share of frames after hiding that must be right
SLIVERS = 0.08  # the share of frames in which less is seen than a speck
LATE = 0.35  # the greatest error of the time of hiding, as a share of it


@dataclasses.dataclass(frozen=True)
class Observed:
  """What was seen in a clip.

  Attributes:
    kind: of the object, "" if there is none.
    colours: that it has, in the order in which they come.
    shows: [T] the index of its colour in `colours` in each frame, -1 where it is
      hidden.
    x: [T] where it is, in short sides.
    level: [T] its width, as a share of a full bar's.
    direction: in which it moves or grows at first, "" if it does neither.
    hidden: the most frames in a row without it.
    cover: the colour of the wall or curtain, "" if there is none.
    setting, style, place: of the clip.
    unparsed: why nothing was read, "" if something was.
  """

  kind: str
  colours: tuple[str, ...]
  shows: np.ndarray
  x: np.ndarray
  level: np.ndarray
  direction: str
  hidden: int
  cover: str
  setting: str
  style: str
  place: str
  unparsed: str


def parse(video: np.ndarray, fps: float) -> Observed:
  """Reads a video uint8 [T, H, W, 3]."""
  del fps
  marks = marks_lib.find(video)
  setting, style = marks_lib.setting(marks), marks_lib.style(video, marks)
  peak = marks.area.max(0, initial=0)
  kept = [i for i in np.argsort(-peak)[:2] if peak[i] > marks_lib.SPECK]
  kept.sort(key=lambda i: int((marks.area[:, i] > 0).argmax()))
  if not kept:
    nothing = np.full(marks.frames, np.nan)
    return Observed("", (), np.full(marks.frames, -1), nothing, nothing, "", 0,
                    _cover(marks, setting, "ball"), setting, style, "",
                    "no object")
  area = marks.area[:, kept]
  shows = np.where(area.max(1) > 0, area.argmax(1), -1)
  seen, t = shows >= 0, np.arange(marks.frames)
  which = np.array(kept)[shows]
  box = np.where(seen[:, None], marks.box[t, which], np.nan)
  x = np.where(seen, marks.centre[t, which, 0], np.nan)
  # What is half behind a cover, or half out of it, has no place or width.
  whole = seen & (area.max(1) >= PART * np.maximum.accumulate(area.max(1)))
  tall = np.nanmax(box[:, 3] - box[:, 1])
  kind = ("bar" if tall < FLAT else "lamp" if len(kept) > 1 or tall > BIG
          else "ball")
  first = int(seen.argmax())
  gone = np.flatnonzero(~seen[first:])
  until = first + int(gone[0]) if gone.size else len(seen)
  direction = ""
  if kind != "lamp" and until - first > 1:
    # A ball moves as one; of a bar one end stays where it is.
    moved = box[until - 1] - box[first] if kind == "bar" else np.full(
        4, x[until - 1] - x[first])
    left, right = moved[0], moved[2]
    if max(right, -left) > 0.01:
      direction = "right" if right > -left else "left"
  if kind == "bar":
    half = 0.39
    # It fills from one end of its trough.
    middle = float(np.nanmin(box[:, 0]) + INNER / 2 if direction == "right"
                   else np.nanmax(box[:, 2]) - INNER / 2)
    if marks.frames == 1:
      middle = np.nan
  else:
    half, middle = (0.21, float(x[0]))
  x = np.where(whole | (kind == "lamp"), x, np.nan)
  return Observed(
      kind, tuple(marks_lib.COLOURS[i] for i in kept), shows, x,
      (box[:, 2] - box[:, 0]) / INNER, direction,
      marks_lib.longest_run(~seen), _cover(marks, setting, kind), setting, style,
      "" if np.isnan(middle) else marks_lib.place(marks, middle, half), "")


def _cover(marks, setting, kind):
  """The colour of the wall or curtain."""
  names = grounds.walls(setting) if setting else []
  if not names:
    return ""
  ground = np.array(grounds.GROUNDS[setting][0], np.float32)
  middle = marks.dull[marks.frames // 2]
  if kind == "ball" or marks.frames == 1:
    wide = max(middle.shape[1] // 10, 1)
    sides = [np.median(middle[:, part].reshape(-1, 3), axis=0)
             for part in (np.s_[:wide], np.s_[-wide:])]
    rgb = max(sides, key=lambda c: float(np.abs(c - ground).sum()))
  else:
    rgb = ground
  if kind != "ball" or np.abs(rgb - ground).sum() < marks_lib.NEAR:
    changed = np.abs(middle - marks.dull[0]).max(-1) > 30
    if changed.sum() < marks_lib.SPECK * marks.short**2:
      return ""
    rgb = np.median(middle[changed], axis=0)
  return min(names, key=lambda n: float(np.abs(
      rgb - np.array(facts_lib.DULL[n], np.float32)).sum()))


def score(facts: Any, observed: Observed, truth: np.ndarray) -> dict[str, bool]:
  """Whether each fact was seen: hidden.score.

  Args:
    facts: hidden.Facts.
    observed: what was seen.
    truth: [T] the place of the ball, the level of the bar, the lamp's colour.
  """
  moves = facts.frames > 1
  found = {"empty": facts.empty == (not observed.colours),
           "setting": observed.setting == facts.scene.setting}
  if moves or facts.kind == "ball":
    found["cover"] = observed.cover == facts.cover
  if facts.empty:
    return found
  colours = facts.colours if moves else facts.colours[:1]
  found |= {"colour": observed.colours == colours,
            "kind": observed.kind == facts.kind,
            "style": observed.style == facts.scene.style}
  if facts.scene.place and (moves or facts.kind == "lamp"):
    found["place"] = observed.place == facts.scene.place
  if facts.kind == "bar":
    found["level"] = bool(len(observed.level)) and abs(
        observed.level[0] - truth[0]) < NEAR["bar"]
  if not moves:
    return found
  if facts.kind != "lamp":
    found["direction"] = observed.direction == facts.direction
  found["hidden"] = abs(observed.hidden - facts.hidden) <= max(
      2, LATE * facts.hidden, SLIVERS * facts.frames)
  # Frame i of another rate or length shows the same share of the clip.
  n = len(observed.shows)
  truth = truth[np.linspace(0, len(truth) - 1, n).round().astype(int)]
  shows, level = observed.shows, observed.level
  gone = np.flatnonzero(shows < 0)
  after = (np.arange(n) > (gone[-1] if gone.size else n)) & (shows >= 0)
  kept = after
  if facts.kind == "lamp":
    right = shows == truth
    after = after & (np.arange(n) > gone[-1] + 1 if gone.size else after)
  else:
    value = {"ball": observed.x, "bar": level}[facts.kind]
    # A bar is whole some frames after the curtain has begun to rise.
    after = after & ~np.isnan(value) & ~np.isnan(observed.x)
    right = np.abs(np.nan_to_num(value, nan=9.0) - truth) < NEAR[facts.kind]
  found["progress"] = bool(after.any()) and right[after].mean() >= MOST
  found["kept"] = bool(kept.any()) and set(np.unique(shows[kept])) <= set(
      np.unique(shows[:max(n // 3, 1)])) and observed.colours == colours
  return found
