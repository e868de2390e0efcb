"""Pixel batches for the VAE: random crops that fill a (T, H, W) bucket.

Every step has one bucket, and the batch sizes of the buckets give every step
about the same number of pixels, so that memory and time are flat. Nothing is
padded or resized: a crop comes from a clip that is large and long enough.
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
    losses: the clips that could not be read.
    orders: the latest orders of buckets and of clips.
  """

  manifest: manifest_lib.Manifest
  cfg: PixelConfig
  eligible: tuple[np.ndarray, ...] = dataclasses.field(repr=False)
  shares: tuple[int, ...]
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


def pixel_plan(manifest: manifest_lib.Manifest, cfg: PixelConfig) -> PixelPlan:
  """Plans batches of pixels over a prepared data set.

  Raises:
    ValueError: a bucket that no clip, or less than a batch of clips, fills.
  """
  sizes, eligible = manifest_lib.sizes(manifest.entries), []
  for t, h, w, size, _ in cfg.buckets:
    found = np.flatnonzero((sizes >= (t, h, w)).all(1)).astype(np.int32)
    if len(found) < size:
      raise ValueError(
          f"the bucket of {messages.count(t, 'frame')} of {w}x{h} takes "
          f"{messages.count(size, 'clip')} a batch and {len(found)} of the "
          f"{messages.count(len(manifest), 'clip')} of {manifest.root} are large "
          "and long enough: prepare more, or give smaller buckets or batches")
    eligible.append(found)
  weights = np.array([b[4] for b in cfg.buckets], float)
  exact = weights / weights.sum() * BLOCK
  shares = np.floor(exact).astype(int)
  for i in np.argsort(shares - exact)[:BLOCK - shares.sum()]:
    shares[i] += 1
  return PixelPlan(manifest, cfg, tuple(eligible),
                   tuple(int(x) for x in shares))


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


