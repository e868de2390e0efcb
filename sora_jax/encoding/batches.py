"""Encodes videos of any size together, by few programs.

Videos are padded to a few heights and widths, and what is beyond a video is
masked in the network. A program takes seconds to compile, so small data sets take
fewer shapes than large ones.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
import dataclasses

import numpy as np

from sora_jax.encoding import encoder
from sora_jax.formats import pretrained
from sora_jax.geometry import sizes as sizes_lib
from sora_jax.models.vae import vae as vae_lib

MAX_SHAPES = 8
# Pixels that are encoded in about the time that a shape takes to compile.
PROGRAM = 4_000_000
Size = tuple[int, int]  # (height, width)


@dataclasses.dataclass(frozen=True, eq=False)
class Batches:
  """How videos are encoded together.

  Attributes:
    model: the VAE and its latent statistics.
    shapes: the padded sizes in use, and whether videos may be smaller.
    rows: videos of a program.
  """

  model: pretrained.Model
  shapes: dict[Size, bool]
  rows: int

  def encode(self, videos: Sequence[np.ndarray],
             report: Callable[[int], None] = lambda done: None
             ) -> list[np.ndarray]:
    """Normalised latents [t, h, w, C] of each video uint8 [T, H, W, 3].

    Args:
      videos: of any sizes that the shapes hold.
      report: called with how many are done, after each program.
    """
    stride = vae_lib.stride(self.model.vae.module)
    sizes = [sizes_lib.padded_size(v.shape[:3], stride, self.model.patch)
             for v in videos]
    members: dict[Size, list[int]] = {}
    for i, size in enumerate(sizes):
      members.setdefault(_shape_of(size[1:], self.shapes), []).append(i)
    found: dict[int, np.ndarray] = {}
    for shape, indices in members.items():
      indices.sort(key=lambda i: sizes[i][0])
      # The batch that is not full has the shortest, whose rows cost least.
      for at in range(len(indices) % -self.rows, len(indices), self.rows):
        some = indices[max(at, 0):at + self.rows]
        found.update(zip(some, self._encode_rows(
            shape, [videos[i] for i in some], [sizes[i] for i in some])))
        report(len(found))
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
    # Rows that are no video meet none that is: they need no mask.
    z = encoder.normalise(self.model, encoder.encode(
        self.model.vae, pixels, valid if self.shapes[shape] else None))
    found = []
    for row, size in enumerate(sizes):
      t, h, w = sizes_lib.latent_size(size, stride, self.model.patch)
      found.append(z[row, :t, :h, :w])
    return found


def batches_for(model: pretrained.Model, frames: Mapping[Size, int],
                rows: int) -> Batches:
  """The batches of videos, `rows` at once.

  Args:
    model: the VAE and its latent statistics.
    frames: (height, width) of the videos -> frames of all of that size.
    rows: videos of a program.
  """
  stride = vae_lib.stride(model.vae.module)
  padded: dict[Size, int] = {}
  for size, count in frames.items():
    _, h, w = sizes_lib.padded_size((1, *size), stride, model.patch)
    padded[h, w] = padded.get((h, w), 0) + count
  shapes = covering_shapes(padded)
  smaller = {_shape_of(size, shapes) for size in padded if size not in shapes}
  return Batches(model, {shape: shape in smaller for shape in shapes}, rows)


def frames_by_size(sizes: np.ndarray) -> dict[Size, int]:
  """(height, width) -> frames of all videos of that size.

  Args:
    sizes: [N, 3] of (T, H, W).
  """
  found, which = np.unique(sizes[:, 1:], axis=0, return_inverse=True)
  counts = np.bincount(which.ravel(), sizes[:, 0]).astype(int)
  return dict(zip(map(tuple, found.tolist()), counts.tolist()))


def covering_shapes(frames: Mapping[Size, int]) -> list[Size]:
  """At most MAX_SHAPES shapes that hold all sizes.

  The two shapes whose union adds the fewest pixels are merged as long as there
  are too many, or the pixels take less time than a program of their own.

  Args:
    frames: size -> the frames that have it.
  """
  found = dict(frames)
  area = lambda s: s[0] * s[1]
  union = lambda a, b: (max(a[0], b[0]), max(a[1], b[1]))
  while len(found) > 1:
    pairs = [(area(union(a, b)) * (found[a] + found[b]) - area(a) * found[a]
              - area(b) * found[b], a, b)
             for i, a in enumerate(sorted(found)) for b in sorted(found)[:i]]
    extra, a, b = min(pairs)
    if extra > PROGRAM and len(found) <= MAX_SHAPES:
      break
    both = found.pop(a) + found.pop(b)
    found[union(a, b)] = found.get(union(a, b), 0) + both
  return sorted(found)


def _shape_of(size: Size, shapes: Iterable[Size]) -> Size:
  """The smallest of the shapes that holds a size."""
  return min((s for s in shapes if s[0] >= size[0] and s[1] >= size[1]),
             key=lambda s: s[0] * s[1])
