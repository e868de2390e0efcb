"""Clips of a data set, decoded as many together as memory allows.

A shard of long clips is larger than memory once it is decoded: 256 clips of 5
seconds at 480p are 25 GB.
"""

import functools

import numpy as np

from sora_jax import stations
from sora_jax.data.store import manifest as manifest_lib
from sora_jax.data.store import records
from sora_jax.geometry import sizes
from sora_jax.media import video_io

BYTES = 2**29  # of the frames of a group


def by_shard(manifest: manifest_lib.Manifest):
  """The groups (`of`) of every shard, whose rows a manifest has together."""
  bounds = np.searchsorted(manifest.entries["shard"], np.arange(
      manifest.info["shards"][manifest.split] + 1))
  return [of(manifest, np.arange(start, stop))
          for start, stop in zip(bounds, bounds[1:])]


def of(manifest: manifest_lib.Manifest, rows: np.ndarray, most: int = BYTES):
  """Rows of a manifest in groups of at most `most` bytes, or of one clip.

  Returns:
    [(rows, times)]: of each clip a row, and how often it is there. One of a
    weighted mixture has several rows and one record.
  """
  place = np.stack([manifest.entries["shard"][rows], manifest.entries["record"][rows]])
  _, once, times = np.unique(place, axis=1, return_index=True,
                             return_counts=True)
  rows = rows[once]
  size = 3 * np.stack([manifest.entries[k][rows].astype(np.int64) for k in (
      "frames", "height", "width")]).prod(0)
  starts, held = [0], 0
  for i, n in enumerate(size):
    if held and held + n > most:
      starts.append(i)
      held = 0
    held += n
  return [(rows[i:j], times[i:j]) for i, j in zip(starts, [*starts[1:], None])]


def decoded(pool, groups, fit: sizes.ResizePolicy, stride, patch):
  """Decodes groups in the threads of a pool, one ahead of who reads.

  Args:
    pool: a ThreadPoolExecutor.
    groups: (manifest, rows, times) of each.
    fit: the sizes that clips are brought to.
    stride: of the VAE.
    patch: of the tokens.

  Yields:
    For each group a list of (item, video uint8 [T, H, W, 3], how often it is
    there), or of the Rejected where a clip cannot be read.
  """

  def one(manifest, row, times):
    try:
      item = records.read(manifest, row)
      video = video_io.read(item.data)[0]
      return item, sizes.resize(video, fit, stride, patch), times
    except ValueError as e:
      return stations.Rejected(row, str(e))

  def begin(manifest, rows, times):
    return pool.map(functools.partial(one, manifest), rows.tolist(),
                    times.tolist())

  if not groups:
    return
  coming = begin(*groups[0])
  for after in groups[1:]:
    now, coming = list(coming), begin(*after)
    yield now
  yield list(coming)
