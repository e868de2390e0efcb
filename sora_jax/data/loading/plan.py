"""Packed token batches for the transformer: the plan.

Every batch has one of a handful of shapes (rows, length), all with the same
number of tokens, and every row holds whole clips at their native size. An epoch
is cut into chunks of clips, each packed alone (epoch_chunks.py), so memory and
a cold start do not grow with the data set. All chunks have the same number of
steps, so the place of a step is known without packing those before it. The few
batches by which a chunk has more are left to another epoch, and one that has
fewer repeats its first. The batch of a step is a pure function of (manifest,
seed, step).
"""

import dataclasses
import functools
import hashlib

import numpy as np

from sora_jax import contracts
from sora_jax import types
from sora_jax.data.loading import assemble
from sora_jax.data.loading import caption_mix
from sora_jax.data.loading import clips
from sora_jax.data.loading import conditioning
from sora_jax.data.loading import epoch_chunks
from sora_jax.data.loading import losses as losses_lib
from sora_jax.data.loading import lru_cache
from sora_jax.data.loading import token_config
from sora_jax.data.store import latents
from sora_jax.data.store import manifest as manifest_lib
from sora_jax.text import tokenizer as tokenizer_lib

CHUNKS = 3  # chunks that are remembered
HELD_OUT_BYTES = 2 ** 28  # of latents, in a plan of every clip once
# The names of the fields of TokenConfig when plans were first stored. A plan's
# digest is made of them, so that a run goes on over the same batches.
DIGEST_NAMES = {"conditioning": "masks", "chunk": "block"}
ADDED = ("captions",)  # fields since then, left out where they have their default


@dataclasses.dataclass(frozen=True, eq=False)
class TokenPlan:
  """A planned stream of packed batches, a contracts.Plan; see `token_plan`.

  Attributes:
    manifest: of the latents.
    cfg: the config.
    pools: manifest indices of the clips that fit into a row: all of them, or
      images and videos apart.
    steps: of a chunk.
    tokenizer: of the prompts, that of the data set if None.
    losses: the clips that could not be read.
    chunks: the latest ones, packed.
    repeats: how often every clip comes in a batch, where they do not fill one;
      else 1.
  """

  manifest: manifest_lib.Manifest
  cfg: token_config.TokenConfig
  pools: tuple[np.ndarray, ...] = dataclasses.field(repr=False)
  steps: int = 0
  tokenizer: tokenizer_lib.Tokenizer | None = dataclasses.field(
      default=None, repr=False)
  losses: losses_lib.Losses = dataclasses.field(
      default_factory=losses_lib.Losses, repr=False)
  chunks: lru_cache.LRUCache = dataclasses.field(
      default_factory=lambda: lru_cache.LRUCache(CHUNKS), repr=False)
  repeats: float = 1.0

  @property
  def notes(self) -> tuple[str, ...]:
    """What is to be said of the plan before a run: a line each."""
    if self.repeats <= 1:
      return ()
    size = int(np.prod(self.cfg.shapes[0]))
    return (f"{self.manifest.root}: its {sum(map(len, self.pools)):,} clips that "
            f"fit a row do not fill a batch of {size:,} tokens: each comes "
            f"{self.repeats:.1f} times in a batch",)

  @functools.cached_property
  def mix(self) -> caption_mix.CaptionMix:
    """The captions that are drawn from."""
    return caption_mix.open_mix(
        self.manifest, self.cfg.captions, conditioning.config(
            self.cfg.dropout, self.cfg.conditioning).descriptive)

  @functools.cached_property
  def digest(self) -> str:
    """sha256 of all that decides the batches: data, tokenizer and config."""
    text = f"{self.manifest.digest} {_digest_text(self.cfg)}"
    if self.mix.digest:
      text += f" {self.mix.digest}"
    return hashlib.sha256(text.encode()).hexdigest()

  @functools.cached_property
  def loader(self) -> clips.Loader:
    """Reads latents and builds batches."""
    return clips.loader(self.manifest, self.cfg, self.losses, self.mix,
                        self.tokenizer)

  def chunk(self, index: int) -> epoch_chunks.Chunk:
    """Epoch chunk `index` of the stream, packed."""
    return self.chunks.get(index, lambda: epoch_chunks.pack_chunk(
        self.manifest, self.cfg, self.pools, index, self.mix))

  def place(self, step: int, share: contracts.Share = contracts.WHOLE
            ) -> tuple[epoch_chunks.Chunk, int, list[np.ndarray]]:
    """What is in a batch, without reading it.

    Args:
      step: from 0 on.
      share: the rows of a host only.

    Returns:
      (chunk, L, the examples of the chunk that each row holds).
    """
    index, offset = divmod(step, self.steps)
    chunk = self.chunk(index)
    shape, rows = chunk.batches[offset % len(chunk.batches)]
    return chunk, self.cfg.shapes[shape][1], [
        chunk.members(rows[i]) for i in share.rows(len(rows))]

  def batch(self, step: int, share: contracts.Share = contracts.WHOLE
            ) -> types.Batch:
    """The rows of `share` of the batch of `step`."""
    chunk, length, members = self.place(step, share)
    lost: list[tuple[int, int, int]] = []
    batch = assemble.batch(self.loader, self.cfg, chunk.clips, chunk.examples,
                           members, length, lambda *place: lost.append(place))
    if lost:
      rows = list(share.rows(self.rows(step)))
      for row, segment, index in lost:
        self.losses.add(step, rows[row] * self.cfg.max_segments + segment, index)
    return batch

  def rows(self, step: int) -> int:
    """The rows of the batch of a step, those of all hosts."""
    index, offset = divmod(step, self.steps)
    batches = self.chunk(index).batches
    return len(batches[offset % len(batches)][1])


def token_plan(manifest: manifest_lib.Manifest, cfg: token_config.TokenConfig,
               tokenizer: tokenizer_lib.Tokenizer | None = None) -> TokenPlan:
  """Plans packed batches over cached latents.

  Args:
    manifest: of the latents.
    cfg: the config.
    tokenizer: of the prompts, that of the data set by default; another one
      needs text_pad, as the manifest counts tokens of its own.

  Raises:
    ValueError: a share of images that the data set cannot give, a data set of
      which no clip fits a row, or captions that it does not have.
  """
  cfg = dataclasses.replace(cfg, shapes=tuple(sorted(
      (tuple(s) for s in cfg.shapes), key=lambda s: s[1])))
  _check_latents(manifest)
  usable = _usable(manifest, cfg)
  pools: tuple[np.ndarray, ...] = (usable,)
  if cfg.images >= 0:
    image = np.asarray(manifest.entries["t"])[usable] == 1
    pools = usable[image], usable[~image]
    for name, pool, share in zip(("images", "videos"), pools,
                                 (cfg.images, 1 - cfg.images)):
      if share and not len(pool):
        raise ValueError(f"images = {cfg.images:g} asks for {share:.0%} {name} "
                         f"and {manifest.root} has 0 that fit a row")
  plan = TokenPlan(manifest, cfg, pools, tokenizer=tokenizer)
  first = plan.chunk(0)
  steps = len(first.batches)
  return dataclasses.replace(
      plan, steps=steps,
      repeats=max(1.0, len(first.clips) / steps / sum(map(len, pools))))


def every_clip_once(manifest: manifest_lib.Manifest,
                    cfg: token_config.TokenConfig,
                    tokenizer: tokenizer_lib.Tokenizer | None = None
                    ) -> TokenPlan:
  """A plan whose first chunk, of `steps` batches, has every clip once.

  Rows that the clips do not fill are empty. What is drawn of a clip depends on
  the manifest and on the shapes alone. Args and errors are those of
  `token_plan`.
  """
  return token_plan(manifest, dataclasses.replace(
      cfg, chunk=len(_usable(manifest, cfg)), seed=0, images=-1.0,
      cache_bytes=min(cfg.cache_bytes, HELD_OUT_BYTES)), tokenizer)


def _digest_text(cfg: token_config.TokenConfig) -> str:
  """A config as its digest is made of it, in the names of DIGEST_NAMES."""
  values = {f.name: getattr(cfg, f.name) for f in dataclasses.fields(cfg)
            if f.name not in ADDED or getattr(cfg, f.name) != f.default} | {
      "cache_bytes": 0,  # only spares work
      "conditioning": conditioning.with_old_names(cfg.conditioning)}
  return "TokenConfig(" + ", ".join(
      f"{DIGEST_NAMES.get(name, name)}={value!r}"
      for name, value in values.items()) + ")"


def _usable(manifest: manifest_lib.Manifest,
            cfg: token_config.TokenConfig) -> np.ndarray:
  """Manifest indices [N] int32 of the clips that fit a row, at least one."""
  tokens = epoch_chunks.latent_tokens(manifest)
  longest = max(n for _, n in cfg.shapes)
  usable = np.flatnonzero(tokens <= longest).astype(np.int32)
  if not len(usable):
    raise ValueError(
        f"no clip of {manifest.root} fits a row: one latent has "
        f"{tokens.min()} tokens or more and the longest row {longest}; give "
        "longer rows")
  return usable


def _check_latents(manifest: manifest_lib.Manifest) -> None:
  """Raises ValueError for a data set that holds no latents of this version."""
  if manifest.info.get("kind") != "latents":
    raise ValueError(f"{manifest.root} holds no latents: run sora-jax encode")
  if manifest.entries.dtype != latents.LATENTS:
    raise ValueError(f"{manifest.root} was encoded by an older version: run "
                     "sora-jax encode into another folder")
