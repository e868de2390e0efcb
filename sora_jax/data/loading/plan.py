"""Packed token batches for the transformer: the plan.

Every batch has one of a handful of shapes (rows, length), all with the same
number of tokens, and every row holds whole clips at their native size. An epoch
is cut into blocks of clips, each packed alone (blocks.py), so memory and a cold
start do not grow with the data set. All blocks have the same number of steps,
so the place of a step is known without packing those before it; the few batches
by which a block has more are left to another epoch, and one that has fewer
repeats its first. The batch of a step is a pure function of (manifest, seed,
step).
"""

import collections
import dataclasses
import functools
import hashlib
from typing import Any

import numpy as np

from sora_jax import mesh as mesh_lib
from sora_jax import types
from sora_jax.data.loading import assemble
from sora_jax.data.loading import epoch_chunks
from sora_jax.data.loading import lru_cache
from sora_jax.data.store import latents
from sora_jax.data.store import manifest as manifest_lib

BLOCKS = 3  # blocks that are remembered


@dataclasses.dataclass(frozen=True)
class TokenConfig:
  """What packed batches look like.

  Attributes:
    shapes: (rows, length) .., all with the same rows x length.
    text_length: text tokens of a row.
    text_limit: text tokens of a prompt, EOS included.
    text_pad: every prompt takes text_limit tokens, its padding included, as the
      open Wan models read them.
    max_segments: clips of a row.
    f_ref: the frame rate at which latents are one time position apart.
    dropout: the share of prompts that are the null text.
    masks: ((name, value), ..) of masks.MaskConfig, where they differ.
    block: clips that are packed together.
    cache_bytes: of decoded latents that are kept in memory.
    seed: of everything that is drawn.
    images: the share of the clips that are images, whatever their share of the
      data set; below 0 the data set's.
    shards: devices that share the rows of a batch. From 2 on, rows of like cost
      of attention come together, so that none waits long for another.
  """

  shapes: tuple = ((10, 256), (4, 640))
  text_length: int = 192
  text_limit: int = 80
  max_segments: int = 16
  f_ref: float = 8.0
  dropout: float = 0.1
  masks: tuple = ()
  text_pad: bool = False
  block: int = 65_536
  cache_bytes: int = 2 ** 30
  seed: int = 0
  images: float = -1.0
  shards: int = 1


@dataclasses.dataclass(frozen=True, eq=False)
class TokenPlan:
  """A planned stream of packed batches; see `token_plan`.

  Attributes:
    manifest: of the latents.
    cfg: the config.
    pools: manifest indices of the clips that fit into a row: all of them, or
      images and videos apart.
    steps: of a block.
    tokenizer: the tokenizer of the prompts, that of the data set if None.
    events: counts of what went wrong while reading.
  """

  manifest: manifest_lib.Manifest
  cfg: TokenConfig
  pools: tuple[np.ndarray, ...] = dataclasses.field(repr=False)
  steps: int = 0
  tokenizer: Any = dataclasses.field(default=None, repr=False)
  events: collections.Counter = dataclasses.field(
      default_factory=collections.Counter)
  memory: lru_cache.LRUCache = dataclasses.field(
      default_factory=lambda: lru_cache.LRUCache(BLOCKS), repr=False)

  @functools.cached_property
  def digest(self) -> str:
    """sha256 of all that decides the batches: data, tokenizer and config."""
    cfg = dataclasses.replace(self.cfg, cache_bytes=0)  # only spares work
    return hashlib.sha256(f"{self.manifest.digest} {cfg}".encode()).hexdigest()

  @functools.cached_property
  def loader(self) -> assemble.Loader:
    """Reads latents and builds batches."""
    return assemble.loader(self.manifest, self.cfg, self.events, self.tokenizer)

  def place(self, step: int, host: tuple[int, int] = (0, 1)
            ) -> tuple[epoch_chunks.Chunk, int, list[np.ndarray]]:
    """What is in a batch, without reading it.

    Args:
      step: from 0 on.
      host: (index, count): the rows of this host only.

    Returns:
      (block, L, the views of the block that each row holds).
    """
    index, offset = divmod(step, self.steps)
    block = block_at(self, index)
    shape, names = block.batches[offset % len(block.batches)]
    start, stop = mesh_lib.host_rows(len(names), host)
    return block, self.cfg.shapes[shape][1], [
        block.order[block.bounds[r]:block.bounds[r + 1]] if r >= 0 else
        block.order[:0] for r in names[start:stop]]

  def batch(self, step: int, host: tuple[int, int] = (0, 1)) -> types.Batch:
    """The rows of `host` = (index, count) of the batch of `step`."""
    block, length, members = self.place(step, host)
    return assemble.batch(self.loader, self.cfg, block.clips, block.views,
                          members, length)


def token_plan(manifest: manifest_lib.Manifest, cfg: TokenConfig,
               tokenizer=None) -> TokenPlan:
  """Plans packed batches over cached latents.

  Args:
    manifest: of the latents.
    cfg: the config.
    tokenizer: the tokenizer of the prompts, that of the data set by default;
      another one needs text_pad, as the manifest counts tokens of its own.

  Raises:
    ValueError: shapes of different token counts or that do not divide over the
      shards, a share of images that the data set cannot give, or a data set
      that does not fill one batch.
  """
  cfg = dataclasses.replace(cfg, shapes=tuple(sorted(
      (tuple(s) for s in cfg.shapes), key=lambda s: s[1])))
  _check(cfg)
  if manifest.info.get("kind") != "latents":
    raise ValueError(f"{manifest.root} holds no latents: run sora-jax encode")
  if manifest.entries.dtype != latents.LATENTS:
    raise ValueError(f"{manifest.root} was encoded by an older version: run "
                     "sora-jax encode into another folder")
  latent = epoch_chunks.latent_tokens(manifest)
  longest, t = cfg.shapes[-1][1], np.asarray(manifest.entries["t"])
  usable = np.flatnonzero(latent <= longest).astype(np.int32)
  if not len(usable):
    raise ValueError(
        f"no clip of {manifest.root} fits a row: one latent has "
        f"{latent.min()} tokens or more and the longest row {longest}; give "
        "longer rows")
  batch = cfg.shapes[0][0] * cfg.shapes[0][1]
  whole = int(np.minimum(latent.astype(np.int64) * t, longest)[usable].sum())
  if whole < batch:
    raise ValueError(
        f"the {len(usable)} clips of {manifest.root} that fit a row have {whole} "
        f"tokens and one batch holds {batch}: encode more clips, or give "
        "smaller shapes")
  pools = (usable,)
  if cfg.images >= 0:
    image = t[usable] == 1
    pools = usable[image], usable[~image]
    for name, pool, share in zip(("images", "videos"), pools,
                                 (cfg.images, 1 - cfg.images)):
      if share and not len(pool):
        raise ValueError(f"images = {cfg.images:g} asks for {share:.0%} {name} "
                         f"and {manifest.root} has 0 that fit a row")
  plan = TokenPlan(manifest, cfg, pools, tokenizer=tokenizer)
  return dataclasses.replace(plan, steps=len(block_at(plan, 0).batches))


def _check(cfg: TokenConfig) -> None:
  """Raises ValueError for a config that no data set suits."""
  sums = {rows * length for rows, length in cfg.shapes}
  if len(sums) != 1:
    raise ValueError(f"the shapes {cfg.shapes} hold {sorted(sums)} tokens; all "
                     "must hold the same number")
  odd = [rows for rows, _ in cfg.shapes if rows % cfg.shards]
  if odd:
    raise ValueError(f"batches of {odd[0]} rows do not divide over {cfg.shards} "
                     "shards: choose multiples")
  if not 2 < cfg.text_limit <= cfg.text_length:
    raise ValueError(f"text_limit {cfg.text_limit} must be in 3 .. text_length "
                     f"({cfg.text_length})")
  if cfg.images > 1:
    raise ValueError(f"images = {cfg.images:g}: a share is at most 1")


def block_at(plan: TokenPlan, index: int) -> epoch_chunks.Chunk:
  """Block `index` of the stream, packed."""
  return plan.memory.get(index, lambda: epoch_chunks.make(
      plan.manifest, plan.cfg, plan.pools, index))
