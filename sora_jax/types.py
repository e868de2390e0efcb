"""The glossary: the values that flow from clips to tokens, and their shapes.

Letters, used in every shape comment of the project:

  B rows of a batch        L tokens of a row       P patch vector
  T H W frames, height and width in pixels         t h w the same in latents
  C latent channels        D width   N heads   K head size   S text tokens
  M distinct times of a row (one for known tokens, one for each segment)

Conventions, stated here once:

  * t = 0 is data, t = 1 is noise; velocity = eps - x0.
  * Pixels are float32 in [-1, 1] inside a model and uint8 on disk.
  * seg == 0 is padding; segments of a row are numbered from 1.
  * A position is (pos_t, pos_y, pos_x). pos_t of latent i that covers frames
    up to 4 i is 4 i / fps * (f_ref / 4): an integer at the reference rate
    f_ref and seconds otherwise, so that the frame rate is a condition.
    pos_y and pos_x count patches from the top left corner.
  * A video has 4 k + 1 frames and k + 1 latents, of which the first covers one
    frame: an image is a video of one frame (report: "images are videos with
    a single frame").
"""

from typing import Any, TypeAlias

import flax.struct
import jax
import numpy as np

Array: TypeAlias = jax.Array | np.ndarray
PyTree: TypeAlias = Any  # a tree of arrays: parameters, caches, batches


@flax.struct.dataclass
class Tokens:
  """Spacetime patches of the clips of each row.

  Attributes:
    x: [B, L, P] float32, patch vectors in the order (pt, ph, pw, C).
    pos: [B, L, 3] float32, positions (pos_t, pos_y, pos_x).
    seg: [B, L] int32, the segment of each token; 0 is padding. In sampling None
      where every row is one clip without padding.
  """

  x: Array
  pos: Array
  seg: Array | None


@flax.struct.dataclass
class Text:
  """The prompts of each row, packed like its clips.

  Attributes:
    ids: [B, S] int32, tokenizer ids.
    seg: [B, S] int32, the segment whose prompt a position belongs to.
  """

  ids: Array
  seg: Array


@flax.struct.dataclass
class TextStates:
  """Encoded prompts: states [B, S, D] and their segments [B, S] int32."""

  states: Array
  seg: Array


@flax.struct.dataclass
class Times:
  """Time per token, as a table of the distinct times of a row.

  Attributes:
    t: [B, M] float32 in [0, 1].
    time_index: [B, L] int32, the column of `t` that each token has. Column 0 is
      the time of known tokens and of padding, column s the time of segment s.
  """

  t: Array
  time_index: Array


@flax.struct.dataclass
class Batch:
  """One training batch of the diffusion transformer, at a static shape.

  Attributes:
    tokens: clean tokens x0.
    text: the prompts, or their states where the text encoder is frozen.
    known: [B, L] bool, the tokens that are given (prompting): they carry clean
      latents at a time near 0 and count in no loss.
  """

  tokens: Tokens
  text: Text | TextStates
  known: Array


@flax.struct.dataclass
class Captioned:
  """One training batch of the captioner, at a static shape.

  Attributes:
    tokens: clean tokens of clips.
    text: the captions, of the same segments.
    kind: [B, S] int32, which caption of the clip it is: 0 the short one, 1 the
      descriptive one.
  """

  tokens: Tokens
  text: Text
  kind: Array


@flax.struct.dataclass
class Pairs:
  """One training batch of the expander: a pair a row.

  Attributes:
    prompt: the short texts.
    text: the descriptive ones.
  """

  prompt: Text
  text: Text


@flax.struct.dataclass
class Pixels:
  """One training batch of the VAE: video uint8 [B, T, H, W, 3]."""

  video: Array


def batch_spec(rows: int, length: int, patch: int, text: int) -> Batch:
  """The shapes and dtypes of a `Batch`, for tracing without data."""
  s = jax.ShapeDtypeStruct
  return Batch(
      tokens=Tokens(x=s((rows, length, patch), np.float32),
                    pos=s((rows, length, 3), np.float32),
                    seg=s((rows, length), np.int32)),
      text=Text(ids=s((rows, text), np.int32), seg=s((rows, text), np.int32)),
      known=s((rows, length), np.bool_))
