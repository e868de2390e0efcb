"""Encodes videos of any size together, by few programs.

Videos are padded to at most MAX_SHAPES heights and widths, and what is beyond a
video is masked in the network.
"""

from collections.abc import Iterable, Sequence
import dataclasses

import numpy as np

from sora_jax.encoding import encoder
from sora_jax.formats import pretrained
from sora_jax.geometry import sizes as sizes_lib
from sora_jax.models.vae import vae as vae_lib

MAX_SHAPES = 8


@dataclasses.dataclass(frozen=True, eq=False)
class Batches:
  """How videos are encoded together.

  Attributes:
    model: the VAE and its latent statistics.
    shapes: the padded (height, width) in use.
    rows: videos of a program.
  """

  model: pretrained.Model
  shapes: list[tuple[int, int]]
  rows: int

  def encode(self, videos: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Normalised latents [t, h, w, C] of each video uint8 [T, H, W, 3]."""
    stride = vae_lib.stride(self.model.vae.module)
    sizes = [sizes_lib.padded_size(v.shape[:3], stride, self.model.patch)
             for v in videos]
    members: dict[tuple[int, int], list[int]] = {}
    for i, (_, h, w) in enumerate(sizes):
      shape = min((s for s in self.shapes if s[0] >= h and s[1] >= w),
                  key=lambda s: s[0] * s[1])
      members.setdefault(shape, []).append(i)
    found: dict[int, np.ndarray] = {}
    for shape, indices in members.items():
      indices.sort(key=lambda i: sizes[i][0])
      for at in range(0, len(indices), self.rows):
        some = indices[at:at + self.rows]
        found.update(zip(some, self._encode_rows(
            shape, [videos[i] for i in some], [sizes[i] for i in some])))
    return [found[i] for i in range(len(videos))]

  def _encode_rows(self, shape, videos, sizes) -> list[np.ndarray]:
    """Latents of up to `rows` videos, padded to one shape."""
    stride = vae_lib.stride(self.model.vae.module)
    frames = max(size[0] for size in sizes)
    pixels = np.zeros((self.rows, frames, *shape, 3), np.uint8)
    valid = np.full((self.rows, 2), stride[1] * self.model.patch[1], np.int32)
    for row, (video, size) in enumerate(zip(videos, sizes)):
      pixels[row, :, :size[1], :size[2]] = sizes_lib.pad_to(
          video, (frames, *size[1:]))
      valid[row] = size[1:]
    whole = all(size[1:] == shape for size in sizes)
    z = encoder.normalise(self.model, encoder.encode(
        self.model.vae, pixels,
        None if whole and len(videos) == self.rows else valid))
    found = []
    for row, size in enumerate(sizes):
      t, h, w = sizes_lib.latent_size(size, stride, self.model.patch)
      found.append(z[row, :t, :h, :w])
    return found


def batches_for(model: pretrained.Model, sizes: Iterable[tuple[int, int]],
                rows: int) -> Batches:
  """The batches of videos of some (height, width), `rows` at once."""
  stride = vae_lib.stride(model.vae.module)
  return Batches(model, covering_shapes(
      {sizes_lib.padded_size((1, *s), stride, model.patch)[1:] for s in sizes}),
                 rows)


def covering_shapes(sizes: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
  """At most MAX_SHAPES (height, width) that hold all `sizes`.

  The two shapes whose union adds the least area are merged until few are left.
  """
  found = sorted(set(sizes))
  area = lambda s: s[0] * s[1]
  union = lambda a, b: (max(a[0], b[0]), max(a[1], b[1]))
  while len(found) > MAX_SHAPES:
    pairs = [(2 * area(union(a, b)) - area(a) - area(b), a, b)
             for i, a in enumerate(found) for b in found[:i]]
    _, a, b = min(pairs)
    found = sorted(set(found) - {a, b} | {union(a, b)})
  return found
