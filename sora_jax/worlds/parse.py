"""Reads the facts of a clip back out of its pixels, and scores them.

Nothing here knows how a video was made: it may come from a model.
"""

import dataclasses
import itertools
import math

import numpy as np

from sora_jax.worlds import blobs as blobs_lib
from sora_jax.worlds import facts as facts_lib
from sora_jax.worlds import motion
from sora_jax.worlds import tracks as tracks_lib

PRESENT = 0.25  # the least share of the frames in which an object is seen
TOGETHER = 0.4  # the least share in which the objects of a clip are counted
LATE = 0.25  # the greatest error of the time behind a wall, as a share of it
HIDES = 0.8  # the least width of what hides an object, in its diameters


@dataclasses.dataclass(frozen=True)
class Observed:
  """What was seen in a clip.

  Attributes:
    count: the number of objects.
    tracks: the objects, the most seen first.
    frames: the number of frames.
    fps: frames per second.
  """

  count: int
  tracks: tuple[tracks_lib.Track, ...]
  frames: int
  fps: float

  @property
  def unparsed(self) -> str:
    """Why nothing was read, "" if something was."""
    return "" if self.tracks else "no object"


def parse(video: np.ndarray, fps: float) -> Observed:
  """Reads the objects of a video uint8 [T, H, W, 3]."""
  found = blobs_lib.find(video)
  frames = len(video)
  tracks = tracks_lib.link(found, fps, shortest=PRESENT * frames)
  seen = np.bincount([b.frame for b in found], minlength=frames)
  count = max((n for n in range(1, seen.max() + 1)
               if np.mean(seen >= n) >= TOGETHER), default=0)
  return Observed(count, tuple(tracks), frames, fps)


def score(facts: facts_lib.Facts, observed: Observed) -> dict[str, bool]:
  """Whether each attribute of the facts was seen.

  Objects are matched by colour and those left over by size. An attribute is
  right if it is right of every object; of an object that was not seen, nothing
  is right.

  Returns:
    colour, shape and count; for a video also direction, and motion (without a
    wall) or survives (with one).
  """
  pairs = _match(facts.objects, observed.tracks)
  every = lambda right: all(t is not None and right(o, t) for o, t in pairs)
  result = {
      "colour": every(lambda o, t: o.colour == t.colour),
      "shape": every(lambda o, t: o.shape == t.shape),
      "count": observed.count == len(facts.objects),
  }
  if not facts.seconds:
    return result
  result["direction"] = every(lambda o, t: o.direction == t.direction)
  if facts.wall:
    result["survives"] = every(lambda o, t: survives(o, t, observed.fps))
  else:
    met = [t for o, t in pairs if o.motion == "collide"]
    result["motion"] = every(
        lambda o, t: o.motion in (t.motion, "collide")) and all(
            tracks_lib.collided(a, b)
            for a, b in itertools.combinations(met, 2))
  return result


def survives(thing: facts_lib.Object, track: tracks_lib.Track,
             fps: float) -> bool:
  """Whether a track passes behind a wall and comes out as it went in.

  It is wholly hidden for two frames or more, in a stretch wide enough to hide
  it, and on both sides it is of the right colour and shape. From the last whole
  sight before to the first one after, it takes the time that its speed before
  the wall lets expect, within 25 %.
  """
  frames = np.array([b.frame for b in track.blobs])
  gaps = np.diff(frames)
  if not gaps.size or gaps.max() < 3 or track.colour != thing.colour:
    return False
  near = track.blobs[:gaps.argmax() + 1]
  far = track.blobs[gaps.argmax() + 1:]
  before, after = tracks_lib.whole(near), tracks_lib.whole(far)
  if {tracks_lib.shape_of(before), tracks_lib.shape_of(after)} != {thing.shape}:
    return False
  axis, sign = tracks_lib.axis_of(thing.direction)
  back, front = (axis, axis + 2) if sign > 0 else (axis + 2, axis)
  hidden = sign * (far[0].box[back] - near[-1].box[front])
  if len(near) < 2 or hidden < HIDES * track.diameter:
    return False
  # The back edge is in sight until all of the object is hidden.
  speed = sign * np.polyfit(frames[:len(near)] / fps,
                            [b.box[back] for b in near], 1)[0]
  way = sign * (after[0].centre[axis] - before[-1].centre[axis])
  due = way / speed if speed > 0 else np.inf
  return abs((after[0].frame - before[-1].frame) / fps - due) <= LATE * due


def boxes(facts: facts_lib.Facts) -> np.ndarray:
  """The true boxes of all objects, hidden or not.

  Returns:
    int [T, objects, 4]: an object lies in columns x0 to x1 - 1 and rows y0 to
    y1 - 1 of the frame, in the order x0, y0, x1, y1.
  """
  scale = facts.size[0] / facts.aspect[0], facts.size[1] / facts.aspect[1]
  centres = motion.positions(facts, motion.frame_times(facts))
  half = np.array([o.diameter / 2 for o in facts.objects])[:, None]
  low = np.floor((centres - half) * scale + 1e-6)
  high = np.ceil((centres + half) * scale - 1e-6)
  both = np.concatenate([low, high], -1).astype(int)
  return np.clip(both, 0, np.tile(facts.size, 2))


def mask(facts: facts_lib.Facts) -> np.ndarray:
  """bool [T, H, W]: the boxes of the objects, less what the wall hides whole."""
  width, height = facts.size
  inside = np.zeros((facts.frames, height, width), bool)
  for frame, row in zip(inside, boxes(facts), strict=True):
    for x0, y0, x1, y1 in row:
      frame[y0:y1, x0:x1] = True
  if facts.wall:
    axis = "xy".index(facts.wall.axis)
    scale = facts.size[axis] / facts.aspect[axis]
    hidden = slice(math.ceil(facts.wall.low * scale),
                   math.floor(facts.wall.high * scale))
    inside[(..., hidden) if axis == 0 else (slice(None), hidden)] = False
  return inside


def _match(objects, tracks):
  """Pairs (object, track or None), by colour and then by order of size."""
  left = list(tracks)
  pairs = {}
  for thing in objects:
    same = [t for t in left if t.colour == thing.colour]
    if same:
      pairs[thing] = same[0]
      left.remove(same[0])
  for thing in sorted(objects, key=lambda o: -o.diameter):
    if thing not in pairs:
      pairs[thing] = left.pop(0) if left else None
  return [(thing, pairs[thing]) for thing in objects]
