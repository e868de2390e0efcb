"""The manifest of a data set: one entry a record, all that planning needs.

It is memory-mapped. The folder is described in shards.py.
"""

import dataclasses
import hashlib
import json
import os
from typing import Any

import numpy as np

from sora_jax import files
from sora_jax.data.store import record_file

CHUNK = 2**20  # entries that are hashed at once
# What dataset.json said before -> says now.
RENAMED = {"piece_seconds": "chunk_seconds", "near": "phash_distance"}
PIXELS = np.dtype([
    ("shard", np.int32), ("record", np.int32), ("frames", np.int32),
    ("height", np.int32), ("width", np.int32), ("fps", np.float32),
    ("words", np.int32)])


@dataclasses.dataclass(frozen=True)
class Manifest:
  """A split of a data set.

  Attributes:
    root: the folder.
    split: "train" or "test".
    entries: structured array, one entry per record.
    info: the contents of dataset.json.
  """

  root: str
  split: str
  entries: np.ndarray = dataclasses.field(repr=False, compare=False)
  info: dict = dataclasses.field(repr=False, compare=False)

  def __len__(self) -> int:
    return len(self.entries)

  @property
  def digest(self) -> str:
    """sha256 of the entries and of what dataset.json says."""
    digest = hashlib.sha256(json.dumps(self.info, sort_keys=True).encode())
    for start in range(0, len(self.entries), CHUNK):
      digest.update(self.entries[start:start + CHUNK].tobytes())
    return digest.hexdigest()

  def record(self, index: int) -> bytes:
    """The bytes of record `index` of the manifest."""
    entry = self.entries[index]
    path = os.path.join(self.root, shard_name(
        self.split, int(entry["shard"]), self.info["shards"][self.split]))
    return record_file.reader(path).read(int(entry["record"]))


def open_manifest(root, split: str = "train") -> Manifest:
  """The manifest of a split of a prepared or encoded data set.

  Raises:
    ValueError: no data set, no such split, or an empty one.
  """
  root = os.fspath(root)
  info = read_info(root)
  if info is None:
    raise ValueError(f"{root} holds no finished data set (no dataset.json): run "
                     "sora-jax prepare or encode to the end")
  path = os.path.join(root, f"{split}.npy")
  if not os.path.isfile(path):
    raise ValueError(f"{root} has no split {split!r}; it has "
                     f"{', '.join(info['shards'])}")
  try:
    entries = np.lib.format.open_memmap(path, mode="r")
  except ValueError as e:  # empty, cut short, or of another kind
    raise ValueError(f"{path} is damaged: {e}") from e
  if entries.ndim != 1 or not entries.dtype.names:
    raise ValueError(f"{path} is damaged: it holds no entries of a manifest")
  if not len(entries):
    raise ValueError(f"{path} lists 0 clips")
  return Manifest(root, split, entries, info)


def read_info(root) -> dict | None:
  """dataset.json, None when there is none."""
  path = os.path.join(root, "dataset.json")
  info = files.find_json(path)
  for key in ("shards", "clips"):
    if info is not None and not isinstance(info.get(key), dict):
      raise ValueError(f"{path} is damaged: key {key} is missing")
  return info


def renamed(value: Any) -> Any:
  """What an older version wrote, by the names of today."""
  if isinstance(value, dict):
    return {RENAMED.get(k, k): renamed(v) for k, v in value.items()}
  return value


def shard_name(split: str, shard: int, shards: int) -> str:
  """The file name of a shard, as TFDS expects it."""
  return f"sora-{split}.array_record-{shard:05d}-of-{shards:05d}"
