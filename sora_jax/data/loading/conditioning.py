"""What of a clip is given in training: the examples that become prompting.

A seeded draw gives each clip of an epoch chunk one of these conditionings:

  none       nothing is known
  first      the first frame (animating an image)
  head       the first latents (extending forward)
  suffix     the last latents, encoded without their past (extending backward)
  both       head and suffix (connecting two videos)
  loop       both, of an interior part (connecting a clip to itself)
  keyframes  single frames at any time, as extra tokens at their position
  region     all around a region of tokens, encoded with the region blanked
             (editing regions)

A share `interior` of the videos begin at an interior latent: their positions
start at latent 1 and their prompt gets the <continues> piece. Images get none
or region. A clip that has no stored latents for a conditioning gives its share
to the others. Examples are drawn before they are packed, because the
conditioning decides how many tokens an example has.

Longer clips are cut to one row. With `interior` 0 their examples show the
beginning only; otherwise any part. An example whose suffix, keyframe or region
lies deep in such a clip begins near it, so of long clips more than the share
`interior` do.
"""

from collections.abc import Iterable, Sequence
import dataclasses

import numpy as np

from sora_jax import ranges
from sora_jax.data.loading import placement
from sora_jax.geometry import frames as frames_lib

CONDITIONINGS = ("none", "first", "head", "suffix", "both", "loop", "keyframes",
                 "region")
NONE, FIRST, HEAD, SUFFIX, BOTH, LOOP, KEYFRAMES, REGION = range(
    len(CONDITIONINGS))
# Old name -> new name. Digests of plans are made of the old ones.
RENAMED = {"tail": "suffix", "stills": "keyframes", "box": "region"}


@dataclasses.dataclass(frozen=True)
class ConditioningConfig:
  """Shares of the conditionings, and of what is drawn besides.

  Attributes:
    none, first, head, suffix, both, loop, keyframes, region: shares, in any
      unit.
    interior: the share of videos that begin at an interior latent.
    descriptive: the share of prompts that are the descriptive caption.
    dropout: the share of prompts that are the null text.
  """

  none: float = 0.5
  first: float = 0.12
  head: float = 0.08
  suffix: float = 0.08
  both: float = 0.06
  loop: float = 0.04
  keyframes: float = 0.06
  region: float = 0.06
  interior: float = 0.25
  descriptive: float = 0.5
  dropout: float = 0.1

  def __post_init__(self):
    section = "data.conditioning"
    ranges.check(section, self, interior=ranges.share(),
                 descriptive=ranges.share(),
                 **dict.fromkeys(CONDITIONINGS, ranges.number(0)))
    ranges.check("data", self, dropout=ranges.share())
    if not any(getattr(self, name) for name in CONDITIONINGS):
      raise ValueError(f"{section}: the shares of {', '.join(CONDITIONINGS)} are "
                       "all 0")

  @property
  def shares(self) -> np.ndarray:
    """[8] float64, the share of each of CONDITIONINGS; their sum is 1."""
    shares = np.array([getattr(self, k) for k in CONDITIONINGS], float)
    return shares / shares.sum()


def config(dropout: float, other: Iterable[tuple[str, float]]
           ) -> ConditioningConfig:
  """The config with a dropout and ((name, value), ..) that differ.

  Raises:
    ValueError: a name that there is not.
  """
  pairs = ranges.rows(("name", ranges.text()), ("value", ranges.number()))
  if other and not pairs.holds(other):
    raise ValueError(f"data.conditioning is {other!r}, it must be {pairs.what}")
  fields = {"dropout": dropout, **dict(other)}
  for name in fields:
    if name in RENAMED:
      raise ValueError(f"config.data.conditioning: {name} is called "
                       f"{RENAMED[name]} now")
    if name not in ConditioningConfig.__dataclass_fields__:
      raise ValueError(
          f"config.data.conditioning: there is no {name}; there are "
          + ", ".join(ConditioningConfig.__dataclass_fields__))
  return ConditioningConfig(**fields)


def with_new_names(other: Iterable[Sequence]) -> list[list]:
  """[[name, value], ..] of the config of an older run, in the names of today."""
  return [[RENAMED.get(name, name), value] for name, value in other]


def with_old_names(other: Iterable[tuple[str, float]]) -> tuple:
  """((name, value), ..) in the names that digests of plans are made of."""
  old = {new: old for old, new in RENAMED.items()}
  return tuple((old.get(name, name), value) for name, value in other)


@dataclasses.dataclass(frozen=True, eq=False)
class Examples:
  """One example per clip; arrays of equal length.

  Attributes:
    conditioning: [N] int8, index in CONDITIONINGS.
    start, stop: [N] the latents of the example.
    head: [N] the number of first latents that are known.
    suffix_start: [N] the latent that the known suffix begins at, or -1.
    keyframes: [N, MOST] bool, the stored keyframes that are given.
    region: [N, 6] int32 t0, t1, y0, y1, x0, x1 in tokens of the example; all
      around it is known. Zeros for the other conditionings.
    caption: [N] int8, which of the captions that are drawn from; -1 for the null
      text.
  """

  conditioning: np.ndarray
  start: np.ndarray
  stop: np.ndarray
  head: np.ndarray
  suffix_start: np.ndarray
  keyframes: np.ndarray
  region: np.ndarray
  caption: np.ndarray


def draw(rng: np.random.Generator, entries: np.ndarray, length: np.ndarray,
         grid: np.ndarray, room: np.ndarray, cfg: ConditioningConfig,
         stride: int = 4, captions: np.ndarray | None = None) -> Examples:
  """Draws an example of every entry of a manifest of latents.

  Args:
    rng: of the epoch chunk.
    entries: [N] of latents.LATENTS.
    length: [N] the latents of each clip that are used, at least 1.
    grid: [N, 2] tokens of a latent in height and width.
    room: [N] the latents (of the example and its keyframes) that fit into a
      row.
    cfg: shares.
    stride: frames of a latent.
    captions: [K] the share of each caption; by default (short, descriptive), as
      `cfg` says.
  """
  n = len(entries)
  u = rng.random((n, 10))
  over, end = length > room, length
  if not cfg.interior:  # of a clip over a row only the beginning is seen
    length = np.minimum(length, room)
    end = length - over  # a keyframe takes the place of a latent
  starts = np.where(entries["suffix_starts"] < length[:, None],
                    entries["suffix_starts"], -1)
  stored = entries["keyframes"]
  stored = np.where((stored >= 0) & (
      stored <= frames_lib.last_frame(end - 1, stride)[:, None]), stored, -1)
  region = entries["region"].astype(np.int64)
  last, must = placement.region_ends(region, grid)
  drawn = _conditionings(u[:, 0], length, over, starts, stored, must, room, cfg)
  size = np.minimum(length, room) - (over & (drawn == KEYFRAMES))
  suffix_start = placement.pick(u[:, 1], starts, np.select(
      [drawn == SUFFIX, drawn == BOTH, drawn == LOOP], [1, 2, 3], length))
  # The latent that an example of a part of a clip has to show.
  keyframe = placement.pick(u[:, 1], stored, np.where(
      over & (drawn == KEYFRAMES), 0, frames_lib.last_frame(length, stride)))
  shown = np.where(keyframe >= 0, frames_lib.latent_of(keyframe, stride),
                   suffix_start)
  shown = np.where(drawn == REGION, must, shown)
  start = _starts(u[:, 2], u[:, 3], drawn, length, size, suffix_start, last,
                  shown, cfg)
  stop = np.minimum(start + size, length)
  # The first latent that is surely unknown ends the head.
  free = np.where(suffix_start >= 0, suffix_start, stop) - start
  head = np.where(np.isin(drawn, (HEAD, BOTH, LOOP)),
                  1 + placement.below(u[:, 4], free - 1), 0)
  head[drawn == FIRST] = 1
  given = lambda some: placement.keyframes(
      u[some, 5:10], (drawn == KEYFRAMES)[some], stored[some], start[some],
      stop[some], room[some], stride)
  keyframes = given(slice(None))
  # Keyframes before an interior start are not in the example: begin at 0.
  empty = (drawn == KEYFRAMES) & ~keyframes.any(1)
  start[empty] = 0
  keyframes[empty] = given(empty)
  region[:, :2] = np.clip(region[:, :2], start[:, None], stop[:, None]) - (
      start[:, None])
  region[drawn != REGION] = 0
  drop = rng.random(n) < cfg.dropout
  if captions is None:
    captions = np.array([1 - cfg.descriptive, cfg.descriptive])
  caption = _captions(rng.random(n), captions)
  return Examples(drawn.astype(np.int8), start, stop, head, suffix_start,
                  keyframes, region.astype(np.int32),
                  np.where(drop, -1, caption).astype(np.int8))


def _captions(u: np.ndarray, shares: np.ndarray) -> np.ndarray:
  """Draws one of the captions, the last one where u is smallest: [N]."""
  ends = np.cumsum(shares[::-1])[:-1]
  return len(shares) - 1 - np.searchsorted(ends, u, side="right")


def _conditionings(u, length, over, starts, stored, must, room, cfg):
  """Draws one of the conditionings that each clip has latents for: [N]."""
  size = np.minimum(length, room)
  video = size > 1
  last = starts.max(1)
  spare = np.where(over, size > 2, room > length)  # room for a keyframe
  can = np.stack([
      np.ones_like(video), video, video, video & (last >= 1),
      (size > 2) & (last >= 2), (size > 2) & (last >= 3),
      video & (stored >= 0).any(1) & spare,
      (must >= 0) & (must < np.where(video, length, 1))], 1)
  shares = cfg.shares
  p = can * shares
  asked = p[:, 1:].sum(1)
  # A video keeps its share of `none`; an image gives what it lacks to `none`.
  more = np.where(video, (1 - shares[0]) / np.maximum(asked, 1e-9), 1.0)
  p[:, 1:] *= np.where(asked > 0, more, 0)[:, None]
  p[:, 0] = 1 - p[:, 1:].sum(1)
  return (u[:, None] >= np.cumsum(p, 1)[:, :-1]).sum(1)


def _starts(u, v, drawn, length, size, suffix_start, last, shown, cfg):
  """The first latent of each example, 0 or an interior one: [N].

  An example of `size` latents that shows latent `shown` (-1: any) may have to
  begin at an interior one.
  """
  # So many latents may stand before the example: two stay, and what is known at
  # both ends leaves one that is unknown.
  most = np.where(np.isin(drawn, (BOTH, LOOP)), suffix_start - 2,
                  np.where(drawn == SUFFIX, suffix_start - 1, length - 2))
  most = np.where((drawn == KEYFRAMES) & (shown >= 0), shown, most)
  most = np.where(drawn == REGION, last, most)
  most = np.minimum(most, length - 2)
  most[(drawn == FIRST) | (size < 2)] = 0
  shares = cfg.shares
  free = 1 - shares[FIRST] - shares[LOOP]
  share = np.clip((cfg.interior - shares[LOOP]) / max(free, 1e-9), 0, 1)
  must = (drawn == LOOP) | (shown >= size)
  interior = (most >= 1) & ((u < share) | must)
  return np.where(interior, placement.between(
      v, np.maximum(shown - size + 1, 1), most), 0)
