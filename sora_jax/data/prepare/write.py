"""The second pass of `prepare`: kept clips become shards."""

import collections
from collections.abc import Iterator, Sequence

import numpy as np

from sora_jax import stations
from sora_jax.data.prepare import held_out
from sora_jax.data.prepare import job as job_lib
from sora_jax.data.prepare import scans
from sora_jax.data.prepare import transcode
from sora_jax.data.sources import mixture
from sora_jax.data.store import manifest
from sora_jax.data.store import records
from sora_jax.data.store import shards


def divide(clips: Sequence[stations.KeptClip], job: job_lib.Job
           ) -> dict[tuple[str, int], list[stations.KeptClip]]:
  """The clips of each (split, shard), in a seeded order.

  All clips of a file go into the same split.

  Raises:
    ValueError: clips are to be held out, and that would leave none.
  """
  held = held_out.choose(clips, job.held_out, job.mixed)
  by_item = collections.defaultdict(list)
  for clip in clips:
    by_item[clip.item].append(clip.without_pictures())
  units = [unit for item, unit in by_item.items() if item not in held]
  val = [unit for item, unit in by_item.items() if item in held]
  order = np.random.default_rng([job.seed, 7]).permutation(len(units))
  test = round(len(units) * job.test_share)
  if job.test_share and len(units) > 1:
    test = min(max(test, 1), len(units) - 1)
  parts = {}
  for split, some in (("train", [units[i] for i in order[test:]]),
                      ("test", [units[i] for i in order[:test]]), ("val", val)):
    found = [clip for unit in some for clip in unit]
    for i in range(-(-len(found) // job.shard)):
      parts[split, i] = found[i * job.shard:(i + 1) * job.shard]
  return parts


def write_shard(out: str, job: job_lib.Job,
                task: tuple[str, int, list[stations.KeptClip]]) -> int:
  """Writes one shard; runs in a worker process.

  Args:
    out: the data set.
    job: what decides it.
    task: (split, shard, its clips).

  Returns:
    The number of clips.
  """
  split, shard, clips = task
  source = mixture.mix(job.source, job.options)
  rejects: list[stations.Rejected] = []

  def each() -> Iterator[tuple[bytes, tuple, int]]:
    for clip in clips:
      file: str | bytes = b""
      try:
        found = (source.held_out(clip.item) if split == "val" else
                 source[clip.item])
        if isinstance(found, stations.Raw):
          file = found.file
          if not clip.scanned or not clip.key.startswith(found.key):
            raise stations.Reject("the source changed while the data set was "
                                  "prepared")
          found = transcode.transcode(found, clip.scanned, job.rules)
      except (ValueError, OSError) as e:
        scans.require_machine(e)
        rejects.append(stations.Rejected(
            clip.item, scans.reason_of(e, file),
            getattr(e, "key", "") or clip.key))
        continue
      yield (records.encode(found), records.entry(found),
             clip.times if split == "train" else 1)

  shards.write_shard(out, split, shard, each(), manifest.PIXELS, rejects)
  return len(clips)
