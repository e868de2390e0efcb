"""shards:DIR[?split=train]: the clips of a folder of `sora-jax prepare`.

All splits but val, which is held out of every training, unless one is named.
"""

import dataclasses

import numpy as np

from sora_jax import stations
from sora_jax.data.sources import items
from sora_jax.data.sources import world
from sora_jax.data.store import manifest as manifest_lib
from sora_jax.data.store import records


@dataclasses.dataclass(frozen=True, eq=False)
class Shards:
  """The records of a prepared data set.

  Attributes:
    entries: (manifest, index) of each item.
    fingerprint: the digests of the manifests.
  """

  entries: tuple[tuple[manifest_lib.Manifest, int], ...]
  fingerprint: str

  def __len__(self) -> int:
    return len(self.entries)

  def __getitem__(self, index: int) -> stations.Raw:
    manifest, i = self.entries[index]
    try:
      item = records.read(manifest, i)
    except (ValueError, RuntimeError, IndexError) as e:
      raise stations.Reject(items.one_line(e), f"{manifest.split}-{i}") from e
    return stations.Raw(item.key, item.data, item.captions, item.facts, item.fps)


def read_shards(rest: str, options: world.WorldOptions) -> Shards:
  """The source shards:DIR[?split=NAME].

  Raises:
    ValueError: no such data set or split, or one of latents.
  """
  del options
  root, query = items.parse_query(rest, ("split",))
  splits = [query["split"]] if "split" in query else [
      split for split in manifest_lib.open_manifest(root).info["shards"]
      if split != "val"]
  entries, digests = [], []
  for split in splits:
    manifest = manifest_lib.open_manifest(root, split)
    if manifest.info.get("kind") != "pixels":
      raise ValueError(f"shards:{root} holds {manifest.info.get('kind')}, not "
                       "clips: give a folder of sora-jax prepare")
    # A clip of a weighted mixture has several entries and one record.
    _, once = np.unique(manifest.entries[["shard", "record"]],
                        return_index=True)
    entries += [(manifest, int(i)) for i in np.sort(once)]
    digests.append(manifest.digest)
  return Shards(tuple(entries), " ".join(digests))
