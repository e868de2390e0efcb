"""Blocks of packed batches: the clips that are planned together.

  block -> clips -> a view of each (masks.py) -> rows (packing.py) -> batches

An epoch is a seeded permutation of the clips, cut into blocks; a data set
smaller than a block gives several epochs to a block. With a share of images
asked for, images and videos go through epochs of their own.
"""

import dataclasses

import numpy as np

from sora_jax.data.loading import conditioning
from sora_jax.data.loading import packing
from sora_jax.data.loading import shuffle
from sora_jax.data.store import manifest as manifest_lib

WINDOW = 8  # batches among which rows of like cost are put together


@dataclasses.dataclass(frozen=True, eq=False)
class Chunk:
  """The batches of a block.

  Attributes:
    clips: [N] manifest index of each packed view.
    views: of these clips.
    tokens, text_tokens: [N] tokens and text tokens of each view.
    order, bounds: row r holds views order[bounds[r]:bounds[r + 1]].
    batches: (shape, rows) .. in the order of the steps.
  """

  clips: np.ndarray
  views: conditioning.Examples
  tokens: np.ndarray
  text_tokens: np.ndarray
  order: np.ndarray
  bounds: np.ndarray
  batches: list[tuple[int, np.ndarray]]


def make(manifest: manifest_lib.Manifest, cfg, pools, index: int) -> Chunk:
  """Block `index`: draws the views, packs them and orders the batches.

  Args:
    manifest: of the latents.
    cfg: a plan.TokenConfig.
    pools: manifest indices of the clips in use, all or images and videos.
    index: from 0 on.
  """
  info, clips = manifest.info, _clips(cfg, pools, index)
  rows = manifest.entries[clips]
  rng = np.random.default_rng([cfg.seed, 2, index])
  grid = np.stack([rows["h"] // info["patch"][1],
                   rows["w"] // info["patch"][2]], 1).astype(np.int64)
  fit = cfg.shapes[-1][1] // grid.prod(1)
  shares = conditioning.ConditioningConfig(
      **{"dropout": cfg.dropout, **dict(cfg.masks)})
  views = conditioning.draw(rng, rows, _real(rows, info["stride"][0]), grid, fit,
                     shares, info["stride"][0])
  latents = views.stop - views.start + views.stills.sum(1)
  tokens = latents * grid.prod(1)
  continues = (views.start > 0).astype(np.int64)
  chosen = rows["text"][np.arange(len(rows)), np.maximum(views.caption, 0)]
  text_tokens = np.where(views.caption < 0, 1, chosen) + continues
  text_tokens = np.minimum(text_tokens, cfg.text_limit)
  if cfg.text_pad:
    text_tokens[:] = cfg.text_limit
  of, shapes = packing.pack(tokens, text_tokens, [n for _, n in cfg.shapes],
                            cfg.text_length, cfg.max_segments)
  order, bounds = packing.rows(of, len(shapes))
  cost = np.bincount(of, tokens.astype(float)**2, len(shapes))
  batches = []
  for s, (size, _) in enumerate(cfg.shapes):
    names = rng.permutation(np.flatnonzero(shapes == s))
    if cfg.shards > 1:
      names = _even(names, cost, size, cfg.shards)
    names = np.concatenate([names, np.full(-len(names) % size, -1)]).astype(int)
    batches += [(s, r) for r in names.reshape(-1, size)]
  batches = [batches[i] for i in rng.permutation(len(batches))]
  return Chunk(clips, views, tokens, text_tokens, order, bounds, batches)


def latent_tokens(manifest: manifest_lib.Manifest) -> np.ndarray:
  """Tokens of one latent of each clip."""
  _, ph, pw = manifest.info["patch"]
  return (manifest.entries["h"] // ph) * (manifest.entries["w"] // pw)


def of_an_epoch(pools, block: int) -> float:
  """Blocks in which every usable clip comes once; below 1 if a block has more."""
  count = sum(map(len, pools))
  return 1 / (block // count) if count <= block else -(-count // block)


def _real(rows: np.ndarray, stride: int) -> np.ndarray:
  """Latents [N] of each clip that cover frames of it only.

  The last one may cover frames that were repeated to fill it; what stands still
  there is not shown, unless the clip has but one latent besides.
  """
  t = rows["t"].astype(np.int64)
  return np.maximum(np.minimum(t, (rows["frames"] - 1) // stride + 1),
                    np.minimum(t, 2))


def _clips(cfg, pools, index: int) -> np.ndarray:
  """The clips of a block, in a seeded order."""
  count, blocks = sum(map(len, pools)), of_an_epoch(pools, cfg.block)
  if len(pools) > 1:
    return _mixed(cfg, pools, index, round(count / blocks))
  seed, pool = cfg.seed, pools[0]
  if blocks <= 1:
    epochs = cfg.block // count
    return pool[np.concatenate([
        np.random.default_rng([seed, 1, index * epochs + e]).permutation(count)
        for e in range(epochs)])]
  epoch, part = divmod(index, blocks)
  place = np.arange(count * part // blocks, count * (part + 1) // blocks)
  return pool[shuffle.permuted(place, count, shuffle.keys(seed, epoch))]


def _mixed(cfg, pools, index: int, count: int) -> np.ndarray:
  """`count` clips with the share of images that is asked for."""
  images = round(cfg.images * count)
  found = []
  for kind, (pool, n) in enumerate(zip(pools, (images, count - images))):
    if n:
      epoch, place = np.divmod(np.arange(index * n, (index + 1) * n), len(pool))
      found.append(pool[shuffle.permuted(
          place, len(pool), shuffle.keys(cfg.seed, 2 * epoch + kind))])
  return np.random.default_rng([cfg.seed, 3, index]).permutation(
      np.concatenate(found))


def _even(names: np.ndarray, cost: np.ndarray, size: int,
          parts: int) -> np.ndarray:
  """Rows in an order whose batches of `size` cost each of `parts` about as much.

  Within windows of WINDOW batches, rows are sorted by their cost and dealt in
  turns, there and back: shard i of a batch has its i-th run of rows.
  """
  window = np.arange(len(names)) // (WINDOW * size)
  names = names[np.lexsort((-cost[names], window))]
  whole = len(names) // size * size
  deals = names[:whole].reshape(-1, size // parts, parts)
  deals[:, 1::2] = deals[:, 1::2, ::-1].copy()
  return np.concatenate([deals.transpose(0, 2, 1).reshape(-1), names[whole:]])
