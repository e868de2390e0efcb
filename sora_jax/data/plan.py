"""Packed token batches for the transformer: the plan.

Every batch has one of a handful of shapes (rows, length), all with the same
number of tokens, and every row holds whole clips at their native size. An epoch
is a seeded permutation of the manifest cut into blocks; a block is packed
alone, so memory and a cold start do not grow with the data set:

  block -> clips -> a view of each (masks.py) -> rows (packing.py) -> batches

A data set smaller than a block gives several epochs to a block. All blocks have
the same number of steps, so the place of a step is known without packing those
before it; the few batches by which a block has more are left to another epoch,
and one that has fewer repeats its first. The batch of a step is a pure function
of (manifest, seed, step).
"""

import dataclasses
import functools
import hashlib

import numpy as np

from sora_jax import types
from sora_jax.data import assemble
from sora_jax.data import masks
from sora_jax.data import memo
from sora_jax.data import packing
from sora_jax.data import shards

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
  """

  shapes: tuple = ((10, 256), (4, 640))
  text_length: int = 192
  text_limit: int = 80
  max_segments: int = 16
  f_ref: float = 8.0
  dropout: float = 0.1
  masks: tuple = ()
  # Not in the digest, so that it stays what it was before there was padding;
  # the config says it.
  text_pad: bool = dataclasses.field(default=False, repr=False)
  block: int = 65_536
  cache_bytes: int = 2 ** 30
  seed: int = 0


@dataclasses.dataclass(frozen=True, eq=False)
class Block:
  """The batches of a block.

  Attributes:
    clips: [N] manifest index of each packed view.
    views: of these clips.
    tokens, words: [N] tokens and text tokens of each view.
    order, bounds: row r holds views order[bounds[r]:bounds[r + 1]].
    batches: (shape, rows) .. in the order of the steps.
  """

  clips: np.ndarray
  views: masks.Views
  tokens: np.ndarray
  words: np.ndarray
  order: np.ndarray
  bounds: np.ndarray
  batches: list[tuple[int, np.ndarray]]


@dataclasses.dataclass(frozen=True, eq=False)
class TokenPlan:
  """A planned stream of packed batches; see `token_plan`.

  Attributes:
    manifest: of the latents.
    cfg: the config.
    loader: reads latents and builds batches.
    usable: manifest indices of the clips that fit into a row.
    steps: of a block.
  """

  manifest: shards.Manifest
  cfg: TokenConfig
  loader: assemble.Loader
  usable: np.ndarray = dataclasses.field(repr=False)
  steps: int = 0
  blocks: memo.Memo = dataclasses.field(
      default_factory=lambda: memo.Memo(BLOCKS), repr=False)

  @functools.cached_property
  def digest(self) -> str:
    """sha256 of all that decides the batches: data, tokenizer and config."""
    return hashlib.sha256(f"{self.manifest.digest} {self.cfg}".encode()
                          ).hexdigest()

  @property
  def events(self):
    """Counts of what went wrong while reading."""
    return self.loader.events

  def batch(self, step: int, host: tuple[int, int] = (0, 1)) -> types.Batch:
    """The rows of `host` = (index, count) of the batch of `step`."""
    index, offset = divmod(step, self.steps)
    block = block_at(self, index)
    shape, names = block.batches[offset % len(block.batches)]
    start, stop = shards.host_rows(len(names), host)
    members = [block.order[block.bounds[r]:block.bounds[r + 1]] if r >= 0
               else () for r in names[start:stop]]
    return assemble.batch(
        self.loader, self.cfg, block.clips, block.views, members,
        self.cfg.shapes[shape][1])


def token_plan(manifest: shards.Manifest, cfg: TokenConfig,
               words=None) -> TokenPlan:
  """Plans packed batches over cached latents.

  Args:
    manifest: of the latents.
    cfg: the config.
    words: the tokenizer of the prompts, that of the data set by default;
      another one needs text_pad, as the manifest counts tokens of its own.

  Raises:
    ValueError: shapes of different token counts, or a data set that does not
      fill one batch.
  """
  cfg = dataclasses.replace(cfg, shapes=tuple(sorted(
      (tuple(s) for s in cfg.shapes), key=lambda s: s[1])))
  sums = {rows * length for rows, length in cfg.shapes}
  if len(sums) != 1:
    raise ValueError(f"the shapes {cfg.shapes} hold {sorted(sums)} tokens; all "
                     "must hold the same number")
  if not 2 < cfg.text_limit <= cfg.text_length:
    raise ValueError(f"text_limit {cfg.text_limit} must be in 3 .. text_length "
                     f"({cfg.text_length})")
  if manifest.info.get("kind") != "latents":
    raise ValueError(f"{manifest.root} holds no latents: run sora-jax encode")
  latent = _latent_tokens(manifest)
  usable = np.flatnonzero(latent <= cfg.shapes[-1][1]).astype(np.int32)
  if not len(usable):
    raise ValueError(
        f"no clip of {manifest.root} fits a row: one latent has "
        f"{latent.min()} tokens or more and the longest row "
        f"{cfg.shapes[-1][1]}; give longer rows")
  batch = cfg.shapes[0][0] * cfg.shapes[0][1]
  whole = int(np.minimum(latent * manifest.rows["t"], cfg.shapes[-1][1])[
      usable].sum())
  if whole < batch:
    raise ValueError(
        f"the {len(usable)} clips of {manifest.root} that fit a row have {whole} "
        f"tokens and one batch holds {batch}: encode more clips, or give "
        "smaller shapes")
  plan = TokenPlan(manifest, cfg, assemble.loader(manifest, cfg, words), usable)
  return dataclasses.replace(plan, steps=len(block_at(plan, 0).batches))


def block_at(plan: TokenPlan, index: int) -> Block:
  """Block `index` of the stream, packed."""
  return plan.blocks.get(index, lambda: _make(plan, index))


def report(plan: TokenPlan) -> dict:
  """Numbers of the first block: shapes, fill, segments, views, cut, dropped."""
  block, cfg = block_at(plan, 0), plan.cfg
  count = len(plan.manifest)
  fits = cfg.shapes[-1][1] // _latent_tokens(plan.manifest)
  t = plan.manifest.rows["t"]
  rows = np.concatenate([r for _, r in block.batches])
  used = np.bincount([s for s, _ in block.batches],
                     minlength=len(cfg.shapes)).tolist()
  kinds = np.bincount(block.views.kind, minlength=len(masks.KINDS))
  text = plan.manifest.rows["text"].max(1)
  return {
      "clips": count, "tokens_per_step": int(np.prod(cfg.shapes[0])),
      "steps_per_block": plan.steps, "clips_per_block": len(block.clips),
      "shapes": [{"rows": r, "length": n, "batches": k}
                 for (r, n), k in zip(cfg.shapes, used)],
      "fill": _fill(plan, block),
      "text_fill": float(block.words.sum() / (len(rows) * cfg.text_length)),
      "segments_per_row": float(len(block.clips) / max((rows >= 0).sum(), 1)),
      "views": {k: float(n / len(block.clips))
                for k, n in zip(masks.KINDS, kinds)},
      "interior": float((block.views.start > 0).mean()),
      "cut": int(((fits < t) & (fits > 0)).sum()),
      "cut_latents": int(np.maximum(t - fits, 0)[fits > 0].sum()),
      "dropped": int((fits == 0).sum()),
      "prompts_cut": int((text > cfg.text_limit).sum()),
      "events": dict(plan.events)}


def _fill(plan, block) -> float:
  """The share of tokens of a block's batches that are not padding."""
  whole = len(block.batches) * np.prod(plan.cfg.shapes[0])
  return float(block.tokens.sum() / whole)


def _latent_tokens(manifest) -> np.ndarray:
  """Tokens of one latent of each clip."""
  _, ph, pw = manifest.info["patch"]
  return (manifest.rows["h"] // ph) * (manifest.rows["w"] // pw)


def _clips(plan: TokenPlan, index: int) -> np.ndarray:
  """The clips of a block, in a seeded order."""
  count, seed = len(plan.usable), plan.cfg.seed
  if count <= plan.cfg.block:
    epochs = plan.cfg.block // count
    return plan.usable[np.concatenate([
        np.random.default_rng([seed, 1, index * epochs + e]).permutation(count)
        for e in range(epochs)])]
  blocks = -(-count // plan.cfg.block)
  epoch, part = divmod(index, blocks)
  order = np.random.default_rng([seed, 1, epoch]).permutation(count)
  return plan.usable[order[count * part // blocks:
                           count * (part + 1) // blocks]]


def _make(plan: TokenPlan, index: int) -> Block:
  """Draws the views of a block, packs them and orders the batches."""
  cfg, info = plan.cfg, plan.manifest.info
  clips = _clips(plan, index)
  rows = plan.manifest.rows[clips]
  rng = np.random.default_rng([cfg.seed, 2, index])
  grid = np.stack([rows["h"] // info["patch"][1],
                   rows["w"] // info["patch"][2]], 1).astype(np.int64)
  fit = cfg.shapes[-1][1] // grid.prod(1)
  shares = masks.MaskConfig(**{"dropout": cfg.dropout, **dict(cfg.masks)})
  views = masks.draw(rng, rows, np.minimum(rows["t"], fit).astype(np.int64),
                     grid, fit, shares, info["stride"][0])
  latents = views.stop - views.start + views.stills.sum(1)
  tokens = latents * grid.prod(1)
  continues = (views.start > 0).astype(np.int64)
  chosen = rows["text"][np.arange(len(rows)), np.maximum(views.caption, 0)]
  words = np.where(views.caption < 0, 1, chosen) + continues
  words = np.minimum(words, cfg.text_limit)
  if cfg.text_pad:
    words[:] = cfg.text_limit
  of, shapes = packing.pack(tokens, words, [n for _, n in cfg.shapes],
                            cfg.text_length, cfg.max_segments)
  order, bounds = packing.rows(of, len(shapes))
  batches = []
  for s, (size, _) in enumerate(cfg.shapes):
    names = rng.permutation(np.flatnonzero(shapes == s))
    names = np.concatenate([names, np.full(-len(names) % size, -1)]).astype(int)
    batches += [(s, r) for r in names.reshape(-1, size)]
  batches = [batches[i] for i in rng.permutation(len(batches))]
  return Block(clips, views, tokens, words, order, bounds, batches)
