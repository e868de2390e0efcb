"""Epoch chunks: the clips that are planned together, packed into batches.

  chunk -> clips -> an example of each (conditioning.py) -> rows (packing.py)
        -> batches

An epoch is a seeded permutation of the clips, cut into chunks; a data set
smaller than a chunk gives several epochs to one. With a share of images asked
for, images and videos go through epochs of their own.
"""

from collections.abc import Sequence
import dataclasses

import numpy as np

from sora_jax.data.loading import caption_mix
from sora_jax.data.loading import conditioning
from sora_jax.data.loading import packing
from sora_jax.data.loading import shuffle
from sora_jax.data.loading import token_config
from sora_jax.data.store import manifest as manifest_lib
from sora_jax.geometry import frames as frames_lib
from sora_jax.geometry import sizes

WINDOW = 8  # batches among which rows of like cost are put together


@dataclasses.dataclass(frozen=True, eq=False)
class Chunk:
  """The batches of a chunk.

  Attributes:
    clips: [N] manifest index of each example.
    examples: of these clips.
    tokens, text_tokens: [N] of each example.
    order, bounds: row r holds the examples order[bounds[r]:bounds[r + 1]].
    batches: (shape, rows) .. in the order of the steps.
  """

  clips: np.ndarray
  examples: conditioning.Examples
  tokens: np.ndarray
  text_tokens: np.ndarray
  order: np.ndarray
  bounds: np.ndarray
  batches: list[tuple[int, np.ndarray]]

  def members(self, row: int) -> np.ndarray:
    """The examples of a row; row -1 is empty."""
    return (self.order[self.bounds[row]:self.bounds[row + 1]] if row >= 0 else
            self.order[:0])


def pack_chunk(manifest: manifest_lib.Manifest, cfg: token_config.TokenConfig,
               pools: Sequence[np.ndarray], index: int,
               mix: caption_mix.CaptionMix) -> Chunk:
  """Chunk `index`: draws the examples, packs them and orders the batches.

  Args:
    manifest: of the latents.
    cfg: the config.
    pools: manifest indices of the clips in use, all or images and videos.
    index: from 0 on.
    mix: the captions that are drawn from.
  """
  info, clips = manifest.info, _clips(cfg, pools, index)
  entries = manifest.entries[clips]
  rng = np.random.default_rng([cfg.seed, 2, index])
  grid = np.stack([entries["h"] // info["patch"][1],
                   entries["w"] // info["patch"][2]], 1).astype(np.int64)
  room = cfg.shapes[-1][1] // grid.prod(1)
  st = info["stride"][0]
  examples = conditioning.draw(
      rng, entries, _shown(entries, st), grid, room,
      conditioning.config(cfg.dropout, cfg.conditioning), st, mix.shares)
  latents = examples.stop - examples.start + examples.keyframes.sum(1)
  tokens = latents * grid.prod(1)
  text_tokens = _text_tokens(cfg, mix, clips, examples)
  of, shapes = packing.pack(tokens, text_tokens, [n for _, n in cfg.shapes],
                            cfg.text_length, cfg.max_segments)
  order, bounds = packing.rows(of, len(shapes))
  cost = np.bincount(of, tokens.astype(float)**2, len(shapes))
  batches = []
  for s, (size, _) in enumerate(cfg.shapes):
    rows = rng.permutation(np.flatnonzero(shapes == s))
    if cfg.shards > 1:
      rows = _even(rows, cost, size, cfg.shards)
    rows = np.concatenate([rows, np.full(-len(rows) % size, -1)]).astype(int)
    batches += [(s, r) for r in rows.reshape(-1, size)]
  batches = [batches[i] for i in rng.permutation(len(batches))]
  return Chunk(clips, examples, tokens, text_tokens, order, bounds, batches)


def latent_tokens(manifest: manifest_lib.Manifest) -> np.ndarray:
  """Tokens of one latent of each clip: [N] int32."""
  return sizes.latent_tokens(manifest.entries["h"], manifest.entries["w"],
                             manifest.info["patch"])


def chunks_per_epoch(pools: Sequence[np.ndarray], chunk: int) -> float:
  """Chunks in which every clip comes once; below 1 if a chunk has more."""
  count = sum(map(len, pools))
  return 1 / (chunk // count) if count <= chunk else -(-count // chunk)


def _text_tokens(cfg: token_config.TokenConfig, mix: caption_mix.CaptionMix,
                 clips: np.ndarray, examples) -> np.ndarray:
  """Text tokens of each example: [N]."""
  if cfg.text_pad:
    return np.full(len(clips), cfg.text_limit, np.int64)
  stored = mix.tokens(clips)
  chosen = stored[np.arange(len(stored)), np.maximum(examples.caption, 0)]
  continues = (examples.start > 0).astype(np.int64)
  return np.minimum(np.where(examples.caption < 0, 1, chosen) + continues,
                    cfg.text_limit)


def _shown(entries: np.ndarray, stride: int) -> np.ndarray:
  """Latents [N] of each clip that cover frames of it only.

  The last one may cover frames that were repeated to fill it; what stands still
  there is not shown, unless the clip has but one latent besides.
  """
  t = entries["t"].astype(np.int64)
  full = frames_lib.full_latents(entries["frames"], stride)
  return np.maximum(np.minimum(t, full), np.minimum(t, 2))


def _clips(cfg: token_config.TokenConfig, pools, index: int) -> np.ndarray:
  """The clips of a chunk, in a seeded order."""
  count, chunks = sum(map(len, pools)), chunks_per_epoch(pools, cfg.chunk)
  if len(pools) > 1:
    return _mixed(cfg, pools, index, round(count / chunks))
  seed, pool = cfg.seed, pools[0]
  if chunks <= 1:
    epochs = cfg.chunk // count
    return pool[np.concatenate([
        np.random.default_rng([seed, 1, index * epochs + e]).permutation(count)
        for e in range(epochs)])]
  epoch, part = divmod(index, int(chunks))
  place = np.arange(count * part // chunks, count * (part + 1) // chunks)
  return pool[shuffle.permuted(place, count, shuffle.keys(seed, epoch))]


def _mixed(cfg: token_config.TokenConfig, pools, index: int,
           count: int) -> np.ndarray:
  """`count` clips with the share of images that is asked for."""
  images = round(cfg.images * count)
  found = []
  for which, (pool, n) in enumerate(zip(pools, (images, count - images))):
    if n:
      epoch, place = np.divmod(np.arange(index * n, (index + 1) * n), len(pool))
      found.append(pool[shuffle.permuted(
          place, len(pool), shuffle.keys(cfg.seed, 2 * epoch + which))])
  return np.random.default_rng([cfg.seed, 3, index]).permutation(
      np.concatenate(found))


def _even(rows: np.ndarray, cost: np.ndarray, size: int,
          parts: int) -> np.ndarray:
  """Orders rows so that a batch of `size` costs each of `parts` about as much.

  Within windows of WINDOW batches, rows are sorted by their cost and dealt in
  turns, there and back: shard i of a batch has its i-th run of rows.
  """
  window = np.arange(len(rows)) // (WINDOW * size)
  rows = rows[np.lexsort((-cost[rows], window))]
  whole = len(rows) // size * size
  deals = rows[:whole].reshape(-1, size // parts, parts)
  deals[:, 1::2] = deals[:, 1::2, ::-1].copy()
  return np.concatenate([deals.transpose(0, 2, 1).reshape(-1), rows[whole:]])
