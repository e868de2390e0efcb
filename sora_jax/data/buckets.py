"""Pixel batches for the VAE: random crops that fill a (T, H, W) bucket.

Every step has one bucket, and the batch sizes of the buckets give every step
about the same number of pixels, so that memory and time are flat. Nothing is
padded or resized: a crop comes from a clip that is large and long enough.
`batch` is a pure function of (manifest, seed, step):

  * steps come in blocks of BLOCK, whose buckets are a seeded shuffle of exact
    shares, so that the clips a bucket has used before a step are known;
  * a bucket goes through its eligible clips in a seeded order, epoch by epoch;
  * a clip that cannot be read is replaced by the next one of that order, and
    counted in `events`.
"""

import collections
import dataclasses
import logging

import numpy as np

from sora_jax import types
from sora_jax.data import records
from sora_jax.data import shards
from sora_jax.data import video_io

BLOCK = 1024  # steps
TRIES = 16  # substitutes of one clip before the run stops


@dataclasses.dataclass(frozen=True)
class PixelConfig:
  """What batches of pixels look like.

  Attributes:
    buckets: ((T, H, W), weight) ..; T = 1 takes images and frames of videos.
    pixels: T x H x W x batch of a step, about; a batch is at least one clip.
    multiple: batch sizes are multiples of this (the devices of a data axis).
    seed: of everything that is drawn.
  """

  buckets: tuple = (((1, 48, 48), 2.0), ((5, 48, 48), 2.0), ((9, 40, 40), 3.0),
                    ((17, 32, 32), 3.0))
  pixels: int = 16 * 9 * 40 * 40
  multiple: int = 1
  seed: int = 0


@dataclasses.dataclass(frozen=True)
class PixelPlan:
  """A planned stream of pixel batches; see `pixel_plan`.

  Attributes:
    manifest: the prepared data.
    cfg: the config.
    sizes: the batch size of each bucket.
    eligible: per bucket, the clips that are large and long enough.
    shares: per bucket, its steps in a block.
    events: counts of what went wrong while reading.
  """

  manifest: shards.Manifest
  cfg: PixelConfig
  sizes: tuple[int, ...]
  eligible: tuple[np.ndarray, ...] = dataclasses.field(repr=False)
  shares: tuple[int, ...]
  events: collections.Counter = dataclasses.field(
      default_factory=collections.Counter, compare=False)
  memo: dict = dataclasses.field(default_factory=dict, compare=False,
                                 repr=False)

  def batch(self, step: int, host: tuple[int, int] = (0, 1)) -> types.Pixels:
    """The rows of `host` = (index, count) of the batch of `step`."""
    bucket, first = _place(self, step)
    size = self.sizes[bucket]
    start, stop = shards.host_rows(size, host)
    shape = self.cfg.buckets[bucket][0]
    return types.Pixels(np.stack([
        _crop(self, step, bucket, first + i, shape)
        for i in range(start, stop)]))


def pixel_plan(manifest: shards.Manifest, cfg: PixelConfig) -> PixelPlan:
  """Plans batches of pixels over a prepared data set.

  Raises:
    ValueError: a bucket that no clip, or less than a batch of clips, fills.
  """
  rows = manifest.rows
  sizes, eligible = [], []
  for (t, h, w), _ in cfg.buckets:
    size = max(round(cfg.pixels / (t * h * w) / cfg.multiple), 1) * cfg.multiple
    found = np.flatnonzero((rows["frames"] >= t) & (rows["height"] >= h)
                           & (rows["width"] >= w)).astype(np.int32)
    if len(found) < size:
      raise ValueError(
          f"the bucket of {t} frames of {w}x{h} takes {size} clips a batch and "
          f"{len(found)} of the {len(rows)} clips of {manifest.root} are large "
          "and long enough: prepare more, or give smaller buckets or batches")
    sizes.append(size)
    eligible.append(found)
  weights = np.array([w for _, w in cfg.buckets], float)
  exact = weights / weights.sum() * BLOCK
  shares = np.floor(exact).astype(int)
  for i in np.argsort(shares - exact)[:BLOCK - shares.sum()]:
    shares[i] += 1
  return PixelPlan(manifest, cfg, tuple(sizes), tuple(eligible),
                   tuple(int(x) for x in shares))


def report(plan: PixelPlan) -> dict:
  """Numbers about a plan: per bucket its share, batch, pixels and clips."""
  return {"clips": len(plan.manifest), "buckets": [
      {"shape": shape, "share": share / BLOCK, "batch": size,
       "pixels": size * int(np.prod(shape)), "clips": len(found)}
      for (shape, _), share, size, found in zip(
          plan.cfg.buckets, plan.shares, plan.sizes, plan.eligible)],
          "events": dict(plan.events)}


def _memo(plan, key, make, keep=16):
  """plan.memo[key], made when it is missing; the oldest entries go."""
  value = plan.memo.get(key)
  if value is None:
    value = plan.memo[key] = make()
    for old in list(plan.memo)[:-keep]:
      plan.memo.pop(old, None)
  return value


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

  order, before = _memo(plan, ("block", block), make)
  bucket = int(order[offset])
  steps = block * plan.shares[bucket] + int(before[offset])
  return bucket, steps * plan.sizes[bucket]


def _clip(plan: PixelPlan, bucket: int, n: int) -> int:
  """The manifest index of the n-th clip that a bucket uses."""
  found = plan.eligible[bucket]
  epoch, i = divmod(n, len(found))
  order = _memo(plan, ("epoch", bucket, epoch), lambda: np.random.default_rng(
      [plan.cfg.seed, 2, bucket, epoch]).permutation(len(found)))
  return int(found[order[i]])


def _crop(plan: PixelPlan, step: int, bucket: int, n: int, shape) -> np.ndarray:
  """uint8 [T, H, W, 3]: a random crop of the n-th clip of a bucket."""
  t, h, w = shape
  rng = np.random.default_rng([plan.cfg.seed, 3, bucket, n])
  at = rng.random(3)
  for tries in range(TRIES):
    index = _clip(plan, bucket, n + tries)
    row = plan.manifest.rows[index]
    start, top, left = (
        int(u * (int(size) - want + 1)) for u, size, want in zip(
            at, (row["frames"], row["height"], row["width"]), shape))
    try:
      item = records.read(plan.manifest, index)
      video, _ = video_io.read(item.data, t, start)
      video = video[:, top:top + h, left:left + w]
      if video.shape != (t, h, w, 3):
        raise ValueError(f"is {video.shape[:3]} where its manifest row says "
                         "more")
      return np.ascontiguousarray(video)
    except (ValueError, RuntimeError, OSError) as e:
      if not plan.events["unreadable"]:
        logging.warning("clip %d of %s cannot be read and is replaced: %s",
                        index, plan.manifest.root, e)
      plan.events["unreadable"] += 1
  raise ValueError(f"{TRIES} clips in a row from {index} on of "
                   f"{plan.manifest.root} cannot be read (step {step})")
