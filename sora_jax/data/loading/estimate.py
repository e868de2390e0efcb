"""The manifest of latents that a prepared data set will have, before encoding.

Sizes are exact. The cuts of tails, the still frames and the boxes are drawn as
`encode` draws them but with another seed, and the tokens of captions are
estimated from their words.
"""

import dataclasses

import numpy as np

from sora_jax.data.loading import conditioning
from sora_jax.data.store import latents
from sora_jax.data.store import manifest as manifest_lib
from sora_jax.geometry import sizes as sizes_lib

TOKENS_A_WORD = 1.5  # of English in a sentencepiece vocabulary
STORED = 2  # tails and stills of a clip, the default of `encode`


def manifest(pixels: manifest_lib.Manifest, fit: sizes_lib.ResizePolicy, stride,
             patch=sizes_lib.DEFAULT_PATCH) -> manifest_lib.Manifest:
  """A manifest of latents that can be planned, but not read.

  A clip that is too long for the limit of `fit` at any size is left out.

  Args:
    pixels: of a prepared data set.
    fit: what is done to sizes when encoding.
    stride: of the VAE that will encode.
    patch: of the tokens.

  Raises:
    ValueError: all clips are too long.
  """
  source = pixels.entries
  sizes = sizes_lib.resized_all(np.stack(
      [source[k] for k in ("frames", "height", "width")], 1), fit, stride,
                           patch)
  keep = np.flatnonzero(sizes[:, 0] > 0)
  if not len(keep):
    raise ValueError(f"all {len(source)} clips of {pixels.root} have more than "
                     f"{fit.limit} tokens at any size: cut them shorter")
  source, sizes = source[keep], sizes[keep]
  rows = np.zeros(len(source), latents.LATENTS)
  for name in ("shard", "record", "fps"):
    rows[name] = source[name]
  for name, size in zip(("frames", "height", "width"), sizes.T):
    rows[name] = size
  rows["t"] = -(-(sizes[:, 0] - 1) // stride[0]) + 1
  for name, side, s, p in zip("hw", sizes.T[1:], stride[1:], patch[1:]):
    rows[name] = -(-side // (s * p)) * p
  rng = np.random.default_rng(0)
  rows["cuts"] = _drawn(rng, rows["t"] - 1)
  rows["stills"] = _drawn(rng, rows["frames"] - 1)
  rows["box"] = conditioning.draw_regions(rng, np.stack(
      [rows["t"], rows["h"] // patch[1], rows["w"] // patch[2]], 1))
  rows["text"] = np.ceil(source["words"] * TOKENS_A_WORD).astype(int)[:, None]
  rows["text"] += 1  # EOS
  info = {**pixels.info, "kind": "latents", "stride": list(stride),
          "patch": list(patch), "fit": dataclasses.asdict(fit),
          "predicted": True}
  return manifest_lib.Manifest(pixels.root, pixels.split, rows, info)


def _drawn(rng: np.random.Generator, most: np.ndarray) -> np.ndarray:
  """STORED different numbers of 1 .. most, ascending, then -1: [N, MOST]."""
  first = 1 + (rng.random(len(most)) * most).astype(np.int64)
  second = 1 + (rng.random(len(most)) * (most - 1)).astype(np.int64)
  second += second >= first
  drawn = np.full((len(most), latents.MOST), -1, np.int32)
  drawn[:, 0] = np.where(most >= 1, first, -1)
  two = most >= STORED
  drawn[two, :STORED] = np.sort(np.stack([first, second], 1), 1)[two]
  return drawn
