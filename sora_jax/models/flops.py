"""Parameters and floating point operations of the transformers, by formula.

The compiler's own count takes a scanned block once and sees nothing inside a
custom call, so we count ourselves: the transformers here, the VAE in
traced_flops.py. One multiplication with its addition is 2 operations; only
matrix products and convolutions count. A training step is three forward passes
(one forward, two backward); what rematerialisation computes again is not
counted, as is usual for model FLOPs utilisation (Chowdhery et al. 2022, arXiv
2204.02311).
"""

from collections.abc import Sequence
import dataclasses

import numpy as np

from sora_jax.models import captioner as captioner_lib
from sora_jax.models import dit as dit_lib
from sora_jax.models.text import encoder as encoder_lib

TRAIN = 3  # a training step in forward passes
Segments = Sequence[tuple[int, int]] | np.ndarray
LANES = 128  # of a TPU's vector and matrix units: the last axis is padded to it


@dataclasses.dataclass(frozen=True)
class Work:
  """The arithmetic of a program, of all chips together.

  Attributes:
    flops: what the model asks for, forward and backward.
    dense: what the chips do in matrix products and convolutions: with what is
      computed again, and rounded up to the lanes of the hardware.
    attention: the same of attention.
  """

  flops: float
  dense: float
  attention: float


def dit_params(dit: dit_lib.DiT) -> int:
  """Parameters of the transformer."""
  d, f = dit.heads * dit.head_size, dit.ffn
  dense = lambda a, b: a * b + b
  attention = 4 * dense(d, d) + 2 * d  # with the norms of queries and keys
  block = (2 * attention + 8 * d  # 6 rows of modulation, and a layer norm
           + dense(d, f) + dense(f, d))
  time = dense(dit.freq_dim, d) + dense(d, d) + dense(d, 6 * d)
  text = dense(dit.text_width, d) + dense(d, d)
  ends = dense(dit.patch_channels, d) + dense(d, dit.out_channels) + 2 * d
  return dit.layers * block + time + text + ends


def dit_flops(dit: dit_lib.DiT, segments: Segments,
              times: int | None = None) -> int:
  """Operations of a forward pass.

  Args:
    dit: the module.
    segments: (tokens, text tokens) of every clip, a sequence or an array
      [clips, 2]; padding is not counted.
    times: distinct times that are embedded; one for each clip if None.
  """
  d = dit.heads * dit.head_size
  tokens, text, count = _totals(segments)
  block = tokens * (2 * 6 * d * d + 4 * d * dit.ffn)  # projections and MLP
  block += 2 * text * 2 * d * d  # keys and values of the text
  total = attention_flops(dit, segments) + dit.layers * block
  total += 2 * tokens * d * (dit.patch_channels + dit.out_channels)
  total += 2 * text * d * (dit.text_width + d)
  times = count if times is None else times
  return total + 2 * times * d * (dit.freq_dim + 7 * d)


def attention_flops(dit: dit_lib.DiT, segments: Segments,
                    lanes: int = 1) -> int:
  """The part of `dit_flops` that is scores and their sums.

  Args:
    dit: the module.
    segments: as in `dit_flops`.
    lanes: the size of a head is rounded up to a multiple of this, as hardware
      does: LANES on a TPU.
  """
  d = dit.heads * -(-dit.head_size // lanes) * lanes
  n, text = _columns(segments)
  return dit.layers * 4 * d * int(np.sum(n * (n + text)))


def paper_macs(dit: dit_lib.DiT, tokens: int = 256) -> int:
  """Multiply-accumulates of a forward pass as the DiT paper counts them.

  For one image of `tokens` patches, without what attends to text, which its
  networks do not have (Peebles & Xie 2022, arXiv 2212.09748, Table 4).
  """
  d = dit.heads * dit.head_size
  text = 2 * 2 * d * d * tokens * dit.layers  # queries and output
  return (dit_flops(dit, [(tokens, 0)]) - text) // 2


def paper_params(dit: dit_lib.DiT) -> dict[str, int]:
  """The parameters, and how they differ from those of the DiT paper's network.

  Returns:
    {"parameters": of the module, "text": of them, what attends to text, which
    the paper's has not, "shared": what it would have more if every block had a
    modulation layer of its own, as the paper's has}.
  """
  d = dit.heads * dit.head_size
  text = dit.layers * (4 * (d * d + d) + 2 * d + 2 * d)
  text += dit.text_width * d + d + d * d + d
  return {"parameters": dit_params(dit), "text": text,
          "shared": (dit.layers - 1) * 6 * (d * d + d)}


def text_flops(encoder: encoder_lib.TextEncoder,
               lengths: Sequence[int] | np.ndarray) -> int:
  """Operations of a forward pass over prompts of `lengths`."""
  return _blocks(encoder.width, encoder.ffn, encoder.layers, lengths)


def captioner_flops(captioner: captioner_lib.Captioner,
                    segments: Segments) -> int:
  """Operations of a forward pass over clips of (tokens, text tokens) each."""
  c, d = captioner, captioner.width
  tokens, text = _columns(segments)
  seen = tokens + c.queries
  memory = c.decoder_layers * (
      4 * d * d * int((seen + text).sum()) + 4 * d * int(np.sum(seen * text)))
  return (_blocks(d, c.ffn, c.layers, seen) + memory
          + _blocks(d, c.ffn, c.decoder_layers, text)
          + _blocks(c.text_width, 4 * c.text_width, c.text_layers, text)
          + 2 * d * (int(tokens.sum()) * c.patch_channels
                     + int(text.sum()) * c.vocab))


def _blocks(width: int, ffn: int, layers: int,
            lengths: Sequence[int] | np.ndarray) -> int:
  """Operations of blocks of self-attention and MLP over texts of `lengths`."""
  n = np.asarray(lengths, np.int64)
  return layers * (int(n.sum()) * (2 * 4 * width * width + 4 * width * ffn)
                   + 4 * width * int(np.sum(n * n)))


def packed_segments(seg: np.ndarray, text_seg: np.ndarray) -> np.ndarray:
  """(tokens, text tokens) [clips, 2] of every clip of packed rows.

  Args:
    seg, text_seg: [B, L] and [B, S] int32 segments; 0 is padding.
  """
  most = 1 + max(int(seg.max(initial=0)), int(text_seg.max(initial=0)))
  count = lambda x: np.bincount(
      (x + most * np.arange(len(x))[:, None]).ravel(),
      minlength=most * len(x)).reshape(len(x), most)[:, 1:].ravel()
  found = np.stack([count(seg), count(text_seg)], 1)
  return found[found[:, 0] > 0]


def _columns(segments: Segments) -> tuple[np.ndarray, np.ndarray]:
  """Tokens and text tokens, int64 [clips] each."""
  found = np.asarray(segments, np.int64).reshape(-1, 2)
  return found[:, 0], found[:, 1]


def _totals(segments: Segments) -> tuple[int, int, int]:
  """Tokens, text tokens and clips."""
  tokens, text = _columns(segments)
  return int(tokens.sum()), int(text.sum()), len(tokens)
