"""Pixel batches for the VAE: random crops that fill a (T, H, W) bucket.

Every step has one bucket, and the batch sizes of the buckets give every step
about the same number of pixels, so that memory and time are flat. Nothing is
padded or resized: a crop comes from a clip that is large and long enough. Clips
that are fewer than a batch come several times in it.
`batch` is a pure function of (manifest, seed, step):

  * steps come in blocks of BLOCK, whose buckets are a seeded shuffle of exact
    shares, so that the clips a bucket has used before a step are known;
  * a bucket goes through its eligible clips in a seeded order, epoch by epoch;
  * a clip that cannot be read is replaced by the next one of that order, and
    noted in `losses`.
"""

import dataclasses
import functools
import hashlib

import numpy as np

from sora_jax import contracts
from sora_jax import messages
from sora_jax import ranges
from sora_jax import types
from sora_jax.data.loading import losses as losses_lib
from sora_jax.data.loading import lru_cache
from sora_jax.data.pixels import crops
from sora_jax.data.store import manifest as manifest_lib

BLOCK = 1024  # steps


@dataclasses.dataclass(frozen=True)
class PixelConfig:
  """What batches of pixels look like.

  Attributes:
    buckets: (T, H, W, clips of a batch, share of the steps) ..; T = 1 takes
      images and frames of videos. Choose batches so that T x H x W x clips is
      about the same everywhere: `report` prints it.
    candidates: places drawn for a crop, of which the one with the most contrast
      is taken; 1 takes crops evenly.
    cache_bytes: of decoded clips that are kept in memory.
    seed: of everything that is drawn.
  """

  buckets: tuple = ((1, 48, 48, 16, 0.2), (5, 48, 48, 4, 0.2),
                    (9, 48, 48, 2, 0.2), (17, 32, 48, 2, 0.2),
                    (17, 48, 32, 2, 0.2))
  candidates: int = 1
  cache_bytes: int = 2 ** 30
  seed: int = 0

  def __post_init__(self):
    size = ranges.whole(1)
    ranges.check("data", self, buckets=ranges.rows(
        ("frames", size), ("height", size), ("width", size), ("clips", size),
        ("share", ranges.number(0))), candidates=size,
                 cache_bytes=ranges.whole(), seed=ranges.whole())
    if not sum(b[4] for b in self.buckets):
      raise ValueError(f"data.buckets is {self.buckets}: their shares, the last "
                       "of each, are all 0")


@dataclasses.dataclass(frozen=True, eq=False)
class PixelPlan:
  """A planned stream of pixel batches, a contracts.Plan; see `pixel_plan`.

  Attributes:
    manifest: the prepared data.
    cfg: the config.
    eligible: per bucket, the clips that are large and long enough.
    shares: per bucket, its steps in a block.
    notes: what is to be said of the plan before a run, a line each.
    losses: the clips that could not be read.
    orders: the latest orders of buckets and of clips.
  """

  manifest: manifest_lib.Manifest
  cfg: PixelConfig
  eligible: tuple[np.ndarray, ...] = dataclasses.field(repr=False)
  shares: tuple[int, ...]
  notes: tuple[str, ...] = ()
  losses: losses_lib.Losses = dataclasses.field(
      default_factory=losses_lib.Losses, repr=False)
  orders: lru_cache.LRUCache = dataclasses.field(
      default_factory=lambda: lru_cache.LRUCache(16), repr=False)

  @functools.cached_property
  def videos(self) -> lru_cache.LRUCache:
    """Decoded clips by their place in the manifest."""
    return lru_cache.LRUCache(self.cfg.cache_bytes)

  @functools.cached_property
  def digest(self) -> str:
    """sha256 of all that decides the batches: data and config."""
    cfg = dataclasses.replace(self.cfg, cache_bytes=0)  # only spares work
    return hashlib.sha256(f"{self.manifest.digest} {cfg}".encode()).hexdigest()

  def batch(self, step: int, share: contracts.Share = contracts.WHOLE
            ) -> types.Pixels:
    """The rows of `share` of the batch of `step`."""
    bucket, first = _place(self, step)
    rows = share.rows(self.cfg.buckets[bucket][3])
    return types.Pixels(np.stack([crops.crop(
        self, bucket, first + i,
        functools.partial(self.losses.add, step, first + i)) for i in rows]))


def pixel_plan(manifest: manifest_lib.Manifest, cfg: PixelConfig,
               stride: tuple[int, int, int] | None = None) -> PixelPlan:
  """Plans batches of pixels over a prepared data set.

  Args:
    manifest: of the data set.
    cfg: the config.
    stride: (T, H, W) of the VAE. With it a bucket that no clip fills is
      reduced, which the notes of the plan say.

  Raises:
    ValueError: a bucket that no clip fills.
  """
  sizes, eligible = manifest_lib.sizes(manifest.entries), []
  buckets, notes = [], []
  for t, h, w, size, share in cfg.buckets:
    name = f"the bucket of {messages.count(t, 'frame')} of {w}x{h}"
    large = lambda size: np.flatnonzero((sizes >= size).all(1)).astype(np.int32)
    if not len(large((t, h, w))) and stride:
      t, h, w = _reduced(sizes, (t, h, w), stride)
      less = f"{messages.count(t, 'frame')} of {w}x{h}"
      notes.append(f"no clip of {manifest.root} fills {name}: it takes {less}")
      name = f"the bucket of {less}"
    found = large((t, h, w))
    if not len(found) or min(t, h, w) < 1:
      raise ValueError(
          f"{name}: none of the {messages.count(len(manifest), 'clip')} of "
          f"{manifest.root} is large and long enough: prepare others, "
          "or give smaller buckets")
    if len(found) < size:
      notes.append(f"{name} takes {size} clips a batch and {len(found)} of "
                   f"{manifest.root} are large and long enough: each comes "
                   f"{size / len(found):.1f} times in a batch")
    eligible.append(found)
    buckets.append((t, h, w, size, share))
  if buckets != [tuple(b) for b in cfg.buckets]:
    cfg = dataclasses.replace(cfg, buckets=tuple(buckets))
  weights = np.array([b[4] for b in cfg.buckets], float)
  exact = weights / weights.sum() * BLOCK
  shares = np.floor(exact).astype(int)
  for i in np.argsort(shares - exact)[:BLOCK - shares.sum()]:
    shares[i] += 1
  return PixelPlan(manifest, cfg, tuple(eligible),
                   tuple(int(x) for x in shares), tuple(notes))


def _reduced(sizes: np.ndarray, bucket: tuple[int, int, int],
             stride: tuple[int, int, int]) -> tuple[int, int, int]:
  """The part of a bucket that clips of `sizes` [N, 3] fill.

  Of the sizes that single clips allow, in whole strides, the one of which the
  clips have most pixels in all.
  """
  least = np.unique(np.minimum(sizes, bucket), axis=0)
  least[:, 0] = (least[:, 0] - 1) // stride[0] * stride[0] + 1
  least[:, 1:] = least[:, 1:] // stride[1:] * stride[1:]
  clips = (sizes[None] >= least[:, None]).all(2).sum(1)
  t, h, w = least[np.argmax(clips * least.astype(np.int64).prod(1))].tolist()
  return t, h, w


def report(plan: PixelPlan) -> dict:
  """Numbers about a plan: per bucket its share, batch, pixels and clips.

  `unused` counts the clips that are too small or too short for every bucket.
  """
  used = np.zeros(len(plan.manifest), np.bool_)
  for found in plan.eligible:
    used[found] = True
  return {"clips": len(used), "unused": int((~used).sum()), "buckets": [
      {"shape": (t, h, w), "share": share / BLOCK, "batch": size,
       "pixels": t * h * w * size, "clips": len(found)}
      for (t, h, w, size, _), share, found in zip(
          plan.cfg.buckets, plan.shares, plan.eligible)]}


def _place(plan: PixelPlan, step: int) -> tuple[int, int]:
  """(bucket, the clips it has used before) of a step."""
  block, offset = divmod(step, BLOCK)

  def make():
    order = np.repeat(np.arange(len(plan.shares)), plan.shares)
    order = np.random.default_rng([plan.cfg.seed, 1, block]).permutation(order)
    before = np.zeros(BLOCK, np.int64)
    for b in range(len(plan.shares)):
      at = np.flatnonzero(order == b)
      before[at] = np.arange(len(at))
    return order, before

  order, before = plan.orders.get(("block", block), make)
  bucket = int(order[offset])
  steps = block * plan.shares[bucket] + int(before[offset])
  return bucket, steps * plan.cfg.buckets[bucket][3]


