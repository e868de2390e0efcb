"""What of a clip has which colour: regions, ground and style.

In these worlds no two objects of a clip share a colour, so a colour is enough to
follow an object by, also where it is cut in two by a post.
"""

import dataclasses

import numpy as np
from scipy import ndimage

from sora_jax.worlds import blobs
from sora_jax.worlds import facts as facts_lib
from sora_jax.worlds import grounds
from sora_jax.worlds import scene as scene_lib

COLOURS = tuple(facts_lib.COLOURS)
SPECK = 0.002  # the greatest area of what is taken for noise, in short sides^2
SOME = 16  # frames that the style is read from
BLOCKY = 0.72  # the least share of edges between blocks, in a pixelated clip
RIMMED = 0.3  # the least share of outline around objects, in an outlined one
INKY = 48.0  # the greatest distance of an outline's colour from what it is
NEAR = 70.0  # the greatest distance of a colour from the one that it is
# What the dull pixels of a clip can be: settings, and walls of other colours.
_DULL = [(name, rgb) for name, (rgb, _) in grounds.GROUNDS.items()] + [
    ("", rgb) for name, rgb in facts_lib.DULL.items() if name != "grey"]


@dataclasses.dataclass(frozen=True)
class Marks:
  """What of a clip has which colour, in short sides; C is len(COLOURS).

  Attributes:
    label: int8 [T, h, w]: an index into COLOURS, -1 of what has none. Large
      clips are averaged down.
    dull: float32 [T, h, w, 3]: the frames of that size.
    area: [T, C].
    centre: [T, C, 2], (x, y); NaN where there is nothing.
    box: [T, C, 4], (x0, y0, x1, y1); NaN where there is nothing.
    width, height: of the frame.
  """

  label: np.ndarray
  dull: np.ndarray
  area: np.ndarray
  centre: np.ndarray
  box: np.ndarray
  width: float
  height: float

  @property
  def frames(self) -> int:
    """The number of frames."""
    return len(self.label)

  @property
  def short(self) -> int:
    """The short side of `label` in pixels."""
    return min(self.label.shape[1:])

  def present(self, frames: slice = slice(None), least: float = SPECK
              ) -> list[str]:
    """The colours seen in some frames, the largest first."""
    area = self.area[frames]
    mean = area.mean(0) if len(area) else np.zeros(len(COLOURS))
    return [COLOURS[i] for i in np.argsort(-mean) if mean[i] > least]

  def of(self, colour: str) -> int:
    """The index of a colour."""
    return COLOURS.index(colour)


def find(video: np.ndarray) -> Marks:
  """The marks of a video uint8 [T, H, W, 3]."""
  small = blobs.shrink(video).astype(np.float32)
  frames, height, width, _ = small.shape
  short = min(height, width)
  colour, share = blobs.unmix(small)
  label = np.where(share > blobs.SHARE, colour, np.int8(-1)).astype(np.int8)
  for i in np.unique(label[label >= 0]):
    found, count = ndimage.label(label == i, blobs.WITHIN_FRAMES)
    speck = np.bincount(found.ravel(), minlength=count + 1) <= SPECK * short**2
    speck[0] = False
    label[speck[found]] = -1
  many = len(COLOURS)
  box = np.full((frames, many, 4), np.nan)
  centre = np.full((frames, many, 2), np.nan)
  area = np.zeros((frames, many))
  for i in np.unique(label[label >= 0]):
    mask = label == i
    columns, rows = mask.sum(1), mask.sum(2)  # [T, w], [T, h]
    area[:, i] = columns.sum(1)
    here = area[:, i] > 0
    for axis, counts in enumerate((columns[here], rows[here])):
      n = counts.shape[1]
      centre[here, i, axis] = counts @ (np.arange(n) + 0.5) / area[here, i]
      box[here, i, axis] = (counts > 0).argmax(1)
      box[here, i, axis + 2] = n - (counts[:, ::-1] > 0).argmax(1)
  return Marks(label, small, area / short**2, centre / short, box / short,
               width / short, height / short)


def settings(marks: Marks) -> list[str]:
  """The setting of each frame, "" where there is none."""
  step = max(marks.short // 32, 1)
  rgb = marks.dull[:, ::step, ::step]
  free = marks.label[:, ::step, ::step] < 0
  away = np.stack([np.abs(rgb - np.array(c, np.float32)).sum(-1)
                   for _, c in _DULL], -1)
  nearest = np.where(free & (away.min(-1) < NEAR), away.argmin(-1), -1)
  votes = np.stack([(nearest == i).sum((1, 2)) for i in range(len(
      scene_lib.SETTINGS))], -1)
  # A wall may be as grey as the hall, but it has no tiles.
  hall, tiles = (np.array(c, np.float32) for c in grounds.GROUNDS["hall"])
  lines = free & (np.abs(rgb - tiles).sum(-1) < np.abs(rgb - hall).sum(-1)) & (
      np.abs(rgb - tiles).sum(-1) < 24)
  votes[lines.sum((1, 2)) < 0.05 * votes[:, 0], 0] = 0
  return [scene_lib.SETTINGS[v.argmax()] if v.max() > 0 else "" for v in votes]


def setting(marks: Marks) -> str:
  """The setting of most frames."""
  found = settings(marks)
  return max(set(found), key=found.count) if found else ""


def place(marks: Marks, x: float, half: float) -> str:
  """Where in the frame a subject stands that is `half` wide to each side."""
  names = scene_lib.places(marks.width, half)
  return min(names, key=lambda n: abs(
      scene_lib.across(n, marks.width, half) - x))


def longest_run(some: np.ndarray) -> int:
  """The length of the longest run of True in [n]."""
  ends = np.flatnonzero(np.diff(np.concatenate([[0], some, [0]]).astype(int)))
  return int((ends[1::2] - ends[::2]).max(initial=0))


def style(video: np.ndarray, marks: Marks) -> str:
  """The style of a video uint8 [T, H, W, 3] with these marks."""
  some = np.unique(np.linspace(0, len(video) - 1, SOME).astype(int))
  if _blocks(video[some]) > BLOCKY:
    return "pixelated"
  here, inked, around = settings(marks), 0, 0
  for t in some:
    inside = marks.label[t] >= 0
    rim = ndimage.binary_dilation(inside) & ~inside
    ink = grounds.INKS[here[t] in grounds.DARK]
    away = np.abs(marks.dull[t][rim] - np.array(ink, np.float32)).max(-1)
    inked, around = inked + int((away < INKY).sum()), around + int(rim.sum())
  return "outlined" if around and inked > RIMMED * around else "flat"


def _blocks(video):
  """The share of the borders of blocks that are edges, and their inside none."""
  k = grounds.block(video.shape[2:0:-1])
  found = []
  for axis in (1, 2):
    steps = np.abs(np.diff(video.astype(np.int16), axis=axis))
    steps = steps.sum((0, 3 - axis, 3), dtype=float)
    steps = steps[:len(steps) // k * k].reshape(-1, k)  # a border is the last
    edge, inside = steps[:, -1], steps[:, :-1].mean(1)
    found.append((edge > 2 * inside)[edge + inside > 0])
  return float(np.concatenate(found).mean()) if sum(map(len, found)) else 0.0
