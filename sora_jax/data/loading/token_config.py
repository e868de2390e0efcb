"""What packed batches of latents look like."""

import dataclasses

from sora_jax import ranges
from sora_jax.data.loading import caption_mix
from sora_jax.data.loading import conditioning


@dataclasses.dataclass(frozen=True)
class TokenConfig:
  """What packed batches look like.

  Attributes:
    shapes: (rows, length) .., all with the same rows x length.
    text_length: text tokens of a row.
    text_limit: text tokens of a prompt, EOS included.
    max_segments: clips of a row.
    f_ref: the frame rate at which latents are one time position apart.
    dropout: the share of prompts that are the null text.
    conditioning: ((name, value), ..) of conditioning.ConditioningConfig, where
      they differ.
    text_pad: every prompt takes text_limit tokens, its padding included, as the
      open Wan models read them.
    chunk: clips that are packed together, an epoch chunk.
    cache_bytes: of decoded latents that are kept in memory.
    seed: of everything that is drawn.
    images: the share of the clips that are images, whatever their share of the
      data set; below 0 the data set's.
    shards: devices that share the rows of a batch. From 2 on, rows of like cost
      of attention come together, so that none waits long for another.
    captions: which captions are shown, as caption_mix.parts_of; those of the
      records by default.
  """

  shapes: tuple = ((10, 256), (4, 640))
  text_length: int = 192
  text_limit: int = 80
  max_segments: int = 16
  f_ref: float = 8.0
  dropout: float = 0.1
  conditioning: tuple = ()
  text_pad: bool = False
  chunk: int = 65_536
  cache_bytes: int = 2 ** 30
  seed: int = 0
  images: float = -1.0
  shards: int = 1
  captions: tuple = ()

  def __post_init__(self):
    size = ranges.whole(1)
    ranges.check(
        "data", self, shapes=ranges.rows(("rows", size), ("length", size)),
        text_length=ranges.whole(3), text_limit=ranges.whole(3),
        max_segments=size, f_ref=ranges.above(0), dropout=ranges.share(),
        text_pad=ranges.flag(), chunk=size, cache_bytes=ranges.whole(),
        seed=ranges.whole(), images=ranges.number(most=1), shards=size)
    conditioning.config(self.dropout, self.conditioning)
    caption_mix.parts_of(self.captions)
    sums = {rows * length for rows, length in self.shapes}
    if len(sums) != 1:
      raise ValueError(f"data.shapes is {self.shapes}, which hold {sorted(sums)} "
                       "tokens: all must hold the same number")
    if odd := [rows for rows, _ in self.shapes if rows % self.shards]:
      raise ValueError(f"data.shapes has {odd[0]} rows, which do not divide over "
                       f"data.shards, {self.shards}: choose multiples")
    if self.text_limit > self.text_length:
      raise ValueError(f"data.text_limit is {self.text_limit}, it must be at most "
                       f"text_length, {self.text_length}")
