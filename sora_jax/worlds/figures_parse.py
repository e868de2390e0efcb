"""Reads clips of the world of figures back out of their pixels."""

import dataclasses
from typing import Any

import numpy as np

from sora_jax.worlds import bodies
from sora_jax.worlds import grounds
from sora_jax.worlds import marks as marks_lib

# The greatest widths of figures, in heights.
SLIM = (("person", 0.5), ("giraffe", 0.84), ("dog", np.inf))
CLOSE = 1.4  # the least height of a close shot, in heights of a wide one
CUT = 10.0  # the least change of a frame at a cut, in grey levels
SKY = 0.12  # of the frame in short sides, from the top
POST = 0.07  # the least width of a post, in short sides
MOVED = 0.05  # the least way of what walks
DEEP = 40.0  # the least difference of a post from its ground, in grey levels


@dataclasses.dataclass(frozen=True)
class Shot:
  """What is seen between two cuts.

  Attributes:
    begin: its first frame.
    setting: a name in scene.SETTINGS.
    figures: from left to right, by the frame in which most is seen of them.
    heights: theirs, in short sides.
    last: the figures in the last quarter of it.
  """

  begin: int
  setting: str
  figures: tuple[bodies.Figure, ...]
  heights: tuple[float, ...]
  last: tuple[bodies.Figure, ...]


@dataclasses.dataclass(frozen=True)
class Observed:
  """What was seen in a clip.

  Attributes:
    shots: one or more.
    posts: how many there are.
    direction: where the figures go, "" if they do not.
    style: of the clip.
    unparsed: why nothing was read, "" if something was.
  """

  shots: tuple[Shot, ...]
  posts: int
  direction: str
  style: str
  unparsed: str


def parse(video: np.ndarray, fps: float) -> Observed:
  """Reads a video uint8 [T, H, W, 3]."""
  del fps
  marks = marks_lib.find(video)
  settings = marks_lib.settings(marks)
  begins = _cuts(marks, settings)
  shots = []
  for begin, end in zip(begins, [*begins[1:], marks.frames]):
    some = settings[begin:end]
    figures = _figures(marks, range(begin, end))
    late = range(begin + (3 * (end - begin)) // 4, end)
    shots.append(Shot(
        begin, max(set(some), key=some.count), tuple(f for f, _ in figures),
        tuple(h for _, h in figures),
        tuple(f for f, _ in _figures(marks, late))))
  return Observed(
      tuple(shots), _posts(marks, shots[0].setting, begins),
      _direction(marks, begins), marks_lib.style(video, marks),
      "" if any(s.figures for s in shots) else "no object")


def _cuts(marks, settings):
  """The first frames of the shots."""
  ground = np.where(marks.label[..., None] < 0, marks.dull, np.nan)
  begins = [0]
  for t in range(1, marks.frames):
    both = np.abs(ground[t] - ground[t - 1])
    change = float(np.nanmedian(both)) if not np.isnan(both).all() else 0.0
    if settings[t] != settings[t - 1] and change > CUT:
      begins.append(t)
  return begins


def _figures(marks, frames):
  """The (figure, height) pairs of a frame in which most is seen."""
  frames = list(frames)
  seen = (marks.area[frames] > 0).sum(1) * 100.0 + marks.area[frames].sum(1)
  t = frames[int(seen.argmax())]
  # Three colours make a figure; where two of them meet in a pixel a fourth may
  # seem to be.
  there = [i for i in np.argsort(-marks.area[t]) if marks.area[t, i] > 0]
  there = there[:3 * max(len(there) // 3, 1)]
  there.sort(key=lambda i: marks.centre[t, i, 0])
  found = []
  for group in (there[k:k + 3] for k in range(0, len(there), 3)):
    box = marks.box[t, group]
    wide = box[:, 2].max() - box[:, 0].min()
    tall = box[:, 3].max() - box[:, 1].min()
    group = sorted(group, key=lambda i: marks.centre[t, i, 1])
    names = [marks_lib.COLOURS[i] for i in group] + [""] * (3 - len(group))
    kind = next(kind for kind, most in SLIM if wide < most * tall)
    found.append((bodies.Figure(kind, *names), float(tall)))
  return found


def _posts(marks, setting, begins):
  """The number of upright bars of another colour than the ground's."""
  if len(begins) > 1 or not setting:
    return 0
  # Above all figures, who stand still in an image.
  sky = marks.dull[:, :max(int(SKY * marks.short), 4)]
  column = np.median(np.median(sky, axis=0), axis=0)
  ground = np.array(grounds.GROUNDS[setting][0], np.float32)
  other = np.abs(column - ground).max(-1) > DEEP
  ends = np.flatnonzero(np.diff(np.concatenate([[0], other, [0]]).astype(int)))
  return int(((ends[1::2] - ends[::2]) > POST * marks.short).sum())


def _direction(marks, begins):
  """Where most of the colours go, in the first shot."""
  end = begins[1] if len(begins) > 1 else marks.frames
  ways = []
  for i in range(len(marks_lib.COLOURS)):
    x = marks.centre[:end, i, 0]
    x = x[~np.isnan(x)]
    if len(x) > 1:
      ways.append(x[-1] - x[0])
  way = float(np.median(ways)) if ways else 0.0
  return "" if abs(way) < MOVED else "right" if way > 0 else "left"


def score(facts: Any, observed: Observed) -> dict[str, bool]:
  """Whether each fact was seen; facts are figures.Facts.

  Returns:
    count, kind, hat, body and legs of the figures, and setting of the first
    shot; style, if there is a figure to see it by; of a walk posts, of a video
    also direction and survives (who comes out from behind the posts is who went
    in); of shots cuts, settings, views, and identity (it is the same figure in
    all).
  """
  truth, first = facts.figures[facts.empty:], observed.shots[0]
  if len(truth) > 1 and facts.direction == "right":
    truth = truth[::-1]  # from left to right: the first one leads
  pairs = list(zip(truth, first.figures)) if len(truth) == len(
      first.figures) else []
  every = lambda name: bool(pairs or not truth) and all(
      getattr(a, name) == getattr(b, name) for a, b in pairs)
  found = {"count": len(truth) == len(first.figures),
           "setting": first.setting == facts.scene.setting}
  found |= {name: every(name) for name in ("kind", "hat", "body", "legs")}
  if truth or facts.scene.style == "pixelated":
    found["style"] = observed.style == facts.scene.style
  if not facts.shots:
    found["posts"] = observed.posts == len(facts.posts)
    if facts.frames > 1:
      found["direction"] = observed.direction == (
          facts.direction if truth else "")
      found["survives"] = _same(truth, first.last)
    return found
  shown = facts.shots if facts.frames > 1 else facts.shots[:1]
  found["cuts"] = len(observed.shots) == len(shown)
  found["settings"] = [s.setting for s in observed.shots] == [
      s.setting for s in shown]
  if truth:
    high = bodies.REACH[truth[0].kind][1] * bodies.HEIGHTS[truth[0].kind]
    found["views"] = [
        "close" if max(s.heights, default=0) > CLOSE * high else "wide"
        for s in observed.shots] == [s.view for s in shown]
  if facts.frames > 1:
    found["identity"] = all(_same(truth, s.figures) for s in observed.shots)
  return found


def _same(truth, seen):
  """Whether figures have the colours of others, in this order."""
  worn = lambda f: (f.hat, f.body, f.legs)
  return [worn(f) for f in truth] == [worn(f) for f in seen]
