"""Clips of a data set, decoded as many together as memory allows.

A shard of long clips is larger than memory once it is decoded: 256 clips of 5
seconds at 480p are 25 GB.
"""

from collections.abc import Iterator, Sequence
from concurrent import futures
import dataclasses
import functools

import numpy as np

from sora_jax import stations
from sora_jax.data.store import manifest as manifest_lib
from sora_jax.data.store import records
from sora_jax.geometry import sizes
from sora_jax.media import video_io

BYTES = 2**29  # of the frames of a batch

# Manifest indices of clips, and how often each is there.
Clips = tuple[np.ndarray, np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class DecodedClip:
  """A clip of a data set.

  Attributes:
    item: its record.
    video: uint8 [T, H, W, 3], at the size that it is encoded at.
    times: how often the manifest lists it.
  """

  item: stations.Item
  video: np.ndarray
  times: int


def by_shard(manifest: manifest_lib.Manifest) -> list[list[Clips]]:
  """The batches of every shard, whose entries a manifest has together."""
  bounds = np.searchsorted(manifest.entries["shard"], np.arange(
      manifest.info["shards"][manifest.split] + 1))
  return [split(manifest, np.arange(start, stop))
          for start, stop in zip(bounds, bounds[1:])]


def split(manifest: manifest_lib.Manifest, indices: np.ndarray,
          most: int = BYTES) -> list[Clips]:
  """Splits clips into batches of at most `most` bytes, or of one clip.

  A clip of a weighted mixture has several entries and one record; it is in one
  batch, once.
  """
  entries = manifest.entries[indices]
  place = np.stack([entries["shard"], entries["record"]])
  _, once, times = np.unique(place, axis=1, return_index=True,
                             return_counts=True)
  indices = indices[once]
  size = 3 * manifest_lib.sizes(
      manifest.entries[indices]).astype(np.int64).prod(1)
  starts, held = [0], 0
  for i, n in enumerate(size):
    if held and held + n > most:
      starts.append(i)
      held = 0
    held += n
  return [(indices[i:j], times[i:j])
          for i, j in zip(starts, [*starts[1:], None])]


def decode(pool: futures.ThreadPoolExecutor,
           batches: Sequence[tuple[manifest_lib.Manifest, np.ndarray,
                                   np.ndarray]],
           policy: sizes.ResizePolicy, stride: tuple[int, int, int],
           patch: sizes.Patch) -> Iterator[
               list[DecodedClip | stations.Rejected]]:
  """Decodes batches in the threads of a pool, one ahead of who reads.

  Args:
    pool: of threads.
    batches: (manifest, indices, times) of each.
    policy: the sizes that clips are brought to.
    stride: of the VAE.
    patch: of the tokens.

  Yields:
    The clips of each batch, or why one cannot be read.
  """

  def one(manifest, index, times):
    try:
      item = records.read(manifest, index)
      video = video_io.read(item.data)[0]
      return DecodedClip(item, sizes.resize(video, policy, stride, patch), times)
    except ValueError as e:
      return stations.Rejected(index, str(e))

  def submit(manifest, indices, times):
    return pool.map(functools.partial(one, manifest), indices.tolist(),
                    times.tolist())

  if not batches:
    return
  coming = submit(*batches[0])
  for after in batches[1:]:
    now, coming = list(coming), submit(*after)
    yield now
  yield list(coming)
