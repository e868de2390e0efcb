"""Random crops of prepared clips, in time and space.

A crop drawn evenly is mostly background. Of `candidates` places drawn for a
crop the one with the most contrast is taken, so that a batch shows edges.
"""

from collections.abc import Callable
import math
from typing import Any

import numpy as np

from sora_jax.data.loading import shuffle
from sora_jax.data.store import manifest as manifest_lib
from sora_jax.data.store import records
from sora_jax.data.store import verify as verify_lib
from sora_jax.media import video_io

LARGE = 65_536  # clips, from which on an epoch is not held in memory
SMALL = 256  # the share of the cache that a clip may take, or it is read in part
TRIES = 16  # substitutes of one clip before the run stops


def crop(plan: Any, bucket: int, n: int,
         lose: Callable[[int], None] = lambda index: None) -> np.ndarray:
  """uint8 [T, H, W, 3]: a random crop of the n-th clip of a bucket.

  A clip that cannot be read is replaced by the next one, and `lose` called with
  its index.

  Raises:
    ValueError: TRIES clips in a row cannot be read.
  """
  t, h, w = plan.cfg.buckets[bucket][:3]
  rng = np.random.default_rng([plan.cfg.seed, 3, bucket, n])
  at, places = rng.random(), rng.random((plan.cfg.candidates, 2))
  for tries in range(TRIES):
    index = clip(plan, bucket, n + tries)
    entry = plan.manifest.entries[index]
    start = int(at * (int(entry["frames"]) - t + 1))
    try:
      video = _read(plan, index, t, start)
      spare = np.array(video.shape[1:3]) - (h, w) + 1
      crops = (video[:, y:y + h, x:x + w]
               for y, x in (places * spare).astype(int))
      return np.ascontiguousarray(max(crops, key=contrast))
    except (ValueError, RuntimeError, OSError) as e:
      plan.losses.explain(index, plan.manifest.root, e)
      lose(index)
  raise ValueError(f"{TRIES} clips in a row from {index} on of "
                   f"{plan.manifest.root} cannot be read: "
                   + "; ".join(plan.losses.named()))


def verify(manifest: manifest_lib.Manifest,
           share: tuple[int, int] = (0, 1)) -> None:
  """Opens the shards of a prepared data set, as verify.verify.

  Raises:
    ValueError: one that is missing or not of this manifest.
  """

  def compare(data: bytes, entry: np.void) -> None:
    item = records.decode(data)
    size = (item.frames, item.height, item.width)
    told = tuple(entry[k].item() for k in ("frames", "height", "width"))
    if size != told:
      raise ValueError(f"is of size {size}, its entry in the manifest says {told}")

  verify_lib.verify(manifest, compare, share)


def _read(plan, index: int, t: int, start: int):
  """Frames start .. start + t of a clip; a small one is kept whole."""
  entry = plan.manifest.entries[index]
  size = (int(entry["height"]), int(entry["width"]), 3)
  frames = int(entry["frames"])

  def read(count, first):
    item = records.read(plan.manifest, index)
    video, _ = video_io.read(item.data, count, first)
    if video.shape != (count, *size):
      raise ValueError(f"is {video.shape[:3]} where its entry in the manifest says "
                       f"{(count, *size[:2])}")
    return video

  if frames * math.prod(size) * SMALL > plan.cfg.cache_bytes:
    return read(t, start)
  whole = plan.videos.get(index, lambda: read(frames, 0), lambda v: v.nbytes)
  return whole[start:start + t]


def contrast(video: np.ndarray) -> float:
  """Standard deviation of a video [T, H, W, 3], summed over its colours.

  Of every fourth frame, second row and second column, which tells as much.
  """
  return float(video[::4, ::2, ::2].std(axis=(0, 1, 2)).sum())


def clip(plan: Any, bucket: int, n: int) -> int:
  """The manifest index of the n-th clip that a bucket uses."""
  found = plan.eligible[bucket]
  epoch, i = divmod(n, len(found))
  if len(found) > LARGE:
    return int(found[shuffle.permuted([i], len(found), shuffle.keys(
        plan.cfg.seed, len(plan.eligible) * epoch + bucket))[0]])
  order = plan.orders.get((bucket, epoch), lambda: np.random.default_rng(
      [plan.cfg.seed, 2, bucket, epoch]).permutation(len(found)))
  return int(found[order[i]])
