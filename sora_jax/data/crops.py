"""Random crops of prepared clips, in time and space."""

import logging

import numpy as np

from sora_jax.data import buckets
from sora_jax.data import records
from sora_jax.data import video_io

TRIES = 16  # substitutes of one clip before the run stops


def crop(plan: buckets.PixelPlan, bucket: int, n: int) -> np.ndarray:
  """uint8 [T, H, W, 3]: a random crop of the n-th clip of a bucket.

  A clip that cannot be read is replaced by the next one and counted.

  Raises:
    ValueError: TRIES clips in a row cannot be read.
  """
  t, h, w = plan.cfg.buckets[bucket][:3]
  rng = np.random.default_rng([plan.cfg.seed, 3, bucket, n])
  at = rng.random(3)
  for tries in range(TRIES):
    index = buckets.clip(plan, bucket, n + tries)
    row = plan.manifest.rows[index]
    start, top, left = (
        int(u * (int(size) - want + 1)) for u, size, want in zip(
            at, (row["frames"], row["height"], row["width"]), (t, h, w)))
    try:
      item = records.read(plan.manifest, index)
      video, _ = video_io.read(item.data, t, start)
      video = video[:, top:top + h, left:left + w]
      if video.shape != (t, h, w, 3):
        raise ValueError(f"is {video.shape[:3]} where its manifest row says "
                         "more")
      return np.ascontiguousarray(video)
    except (ValueError, RuntimeError, OSError) as e:
      if not plan.events["unreadable"]:
        logging.warning("clip %d of %s cannot be read and is replaced: %s",
                        index, plan.manifest.root, e)
      plan.events["unreadable"] += 1
  raise ValueError(f"{TRIES} clips in a row from {index} on of "
                   f"{plan.manifest.root} cannot be read")
