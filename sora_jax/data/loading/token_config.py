"""What packed batches of latents look like."""

import dataclasses


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
