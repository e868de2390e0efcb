"""The manifest of latents that a prepared data set will have, before encoding.

Sizes are exact. Suffixes, keyframes and regions are drawn as `encode` draws
them but with another seed, and the tokens of captions are estimated from their
words.
"""

import dataclasses

import numpy as np

from sora_jax.data.loading import placement
from sora_jax.data.store import latents
from sora_jax.data.store import manifest as manifest_lib
from sora_jax.geometry import sizes as sizes_lib

TOKENS_A_WORD = 1.5  # of English in a sentencepiece vocabulary
STORED = 2  # suffixes, and keyframes, of a clip: the default of `encode`


def manifest(pixels: manifest_lib.Manifest, policy: sizes_lib.ResizePolicy,
             stride: tuple[int, int, int],
             patch: sizes_lib.Patch = sizes_lib.DEFAULT_PATCH
             ) -> manifest_lib.Manifest:
  """A manifest of latents that can be planned, but not read.

  A clip that is too long for the limit of `policy` at any size is left out.

  Args:
    pixels: of a prepared data set.
    policy: what is done to sizes when encoding.
    stride: of the VAE that will encode.
    patch: of the tokens.

  Raises:
    ValueError: all clips are too long.
  """
  source = pixels.entries
  sizes = sizes_lib.resized_all(manifest_lib.sizes(source), policy, stride, patch)
  keep = np.flatnonzero(sizes[:, 0] > 0)
  if not len(keep):
    raise ValueError(f"all {len(source)} clips of {pixels.root} have more than "
                     f"{policy.limit} tokens at any size: cut them shorter")
  source, sizes = source[keep], sizes[keep]
  entries = np.zeros(len(source), latents.LATENTS)
  for name in ("shard", "record", "fps"):
    entries[name] = source[name]
  for name, size in zip(("frames", "height", "width"), sizes.T):
    entries[name] = size
  for name, size in zip("thw", sizes_lib.latent_size(
      tuple(sizes.T), stride, patch)):
    entries[name] = size
  rng = np.random.default_rng(0)
  entries["suffix_starts"] = _drawn(rng, entries["t"] - 1)
  entries["keyframes"] = _drawn(rng, entries["frames"] - 1)
  entries["region"] = placement.draw_regions(rng, np.stack(
      sizes_lib.grid_size([entries[k] for k in "thw"], patch), 1))
  tokens = np.ceil(source["words"] * TOKENS_A_WORD).astype(int)
  entries["text_tokens"] = tokens[:, None] + 1  # EOS
  info = {**pixels.info, "kind": "latents", "stride": list(stride),
          "patch": list(patch), "resized": dataclasses.asdict(policy),
          "estimated": True}
  return manifest_lib.Manifest(pixels.root, pixels.split, entries, info)


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
