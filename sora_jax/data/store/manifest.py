"""The manifest of a data set: one entry a record, all that planning needs.

It is memory-mapped. The folder is described in shards.py.
"""

import dataclasses
import hashlib
import json
import os

import numpy as np

from sora_jax import files
from sora_jax import ranges
from sora_jax.data.store import old_names
from sora_jax.data.store import record_file

CHUNK = 2**20  # entries that are hashed at once
PIXELS = np.dtype([
    ("shard", np.int32), ("record", np.int32), ("frames", np.int32),
    ("height", np.int32), ("width", np.int32), ("fps", np.float32),
    ("words", np.int32)])
# What the entries of latents have besides: the latents that a clip became.
LATENT_SIZES = ("shard", "record", "t", "h", "w", "frames", "height", "width",
                "fps")


@dataclasses.dataclass(frozen=True)
class Manifest:
  """A split of a data set.

  Attributes:
    root: the folder.
    split: "train", "test" or "val".
    entries: structured array, one entry per record.
    info: the contents of dataset.json.
    stored: the same as it is stored, where that has old names.
  """

  root: str
  split: str
  entries: np.ndarray = dataclasses.field(repr=False, compare=False)
  info: dict = dataclasses.field(repr=False, compare=False)
  stored: dict | None = dataclasses.field(default=None, repr=False,
                                          compare=False)

  def __len__(self) -> int:
    return len(self.entries)

  @property
  def digest(self) -> str:
    """sha256 of the entries and of what dataset.json says, as it is stored."""
    info = self.info if self.stored is None else self.stored
    digest = hashlib.sha256(json.dumps(info, sort_keys=True).encode())
    for start in range(0, len(self.entries), CHUNK):
      digest.update(self.entries[start:start + CHUNK].tobytes())
    return digest.hexdigest()

  def record(self, index: int) -> bytes:
    """The bytes of record `index` of the manifest."""
    entry = self.entries[index]
    return record_file.reader(self.shard_path(int(entry["shard"]))).read(
        int(entry["record"]))

  def shard_path(self, shard: int) -> str:
    """The file of a shard."""
    return os.path.join(self.root, shard_name(
        self.split, shard, self.info["shards"][self.split]))


def open_manifest(root: str | os.PathLike, split: str = "train") -> Manifest:
  """The manifest of a split of a prepared or encoded data set.

  Raises:
    ValueError: no data set, no such split, or an empty one.
  """
  root = os.fspath(root)
  stored = _read(root)
  if stored is None:
    raise ValueError(f"{root} holds no finished data set (no dataset.json): run "
                     "sora-jax prepare or encode to the end")
  info = _renamed(root, stored)
  path = os.path.join(root, f"{split}.npy")
  if split not in info["shards"] or not os.path.isfile(path):
    raise ValueError(f"{root} has no split {split!r}; it has "
                     f"{', '.join(info['shards'])}")
  try:
    entries: np.ndarray = np.lib.format.open_memmap(path, mode="r")
  except ValueError as e:  # empty, cut short, or of another kind
    raise ValueError(f"{path} is damaged: {e}") from e
  if entries.ndim != 1 or not entries.dtype.names:
    raise ValueError(f"{path} is damaged: it holds no entries of a manifest")
  if not len(entries):
    raise ValueError(f"{path} lists 0 clips")
  entries = old_names.entries(entries)
  _check_entries(path, entries, info["shards"][split])
  if len(entries) != info["clips"][split]:
    raise ValueError(f"{path} lists {len(entries)} clips and dataset.json says "
                     f"{info['clips'][split]}: one of them is of another data set")
  return Manifest(root, split, entries, info, None if info is stored else stored)


def require(manifest: Manifest, kind: str) -> None:
  """Refuses a data set of another kind than "pixels" or "latents".

  Raises:
    ValueError: it is one; the message says which verb makes the right one.
  """
  if manifest.info.get("kind") != kind:
    verb = {"pixels": "prepare", "latents": "encode"}[kind]
    raise ValueError(f"{manifest.root} holds no {kind} but "
                     f"{manifest.info.get('kind')}: give a folder of sora-jax "
                     f"{verb}")


def _check_entries(path: str, entries: np.ndarray, shards: int) -> None:
  """Refuses entries that name no record, or have sizes that no clip has."""
  names = entries.dtype.names or ()
  known = LATENT_SIZES if "t" in names else PIXELS.names or ()
  if missing := [name for name in known if name not in names]:
    raise ValueError(f"{path} is damaged: its entries have no "
                     f"{', '.join(missing)}")
  before = 0
  for start in range(0, len(entries), CHUNK):
    some = entries[start:start + CHUNK]
    good = ((some["shard"] >= 0) & (some["shard"] < shards)
            & (np.diff(some["shard"], prepend=before) >= 0)
            & (some["record"] >= 0) & np.isfinite(some["fps"]) & (some["fps"] > 0))
    for name in set(known) - {"shard", "record", "fps", "words"}:
      good &= some[name] >= 1
    before = some["shard"][-1]
    if not good.all():
      at = int(np.argmin(good))
      told = ", ".join(f"{k} {some[at][k].item()}" for k in known)
      raise ValueError(f"{path} is damaged: entry {start + at} is {told}")


def held_out(manifest: Manifest) -> Manifest | None:
  """The split of the same data set that nothing trains on: val, or else test."""
  for split in ("val", "test"):
    if split in manifest.info["shards"]:
      return open_manifest(manifest.root, split)
  return None


def read_info(root: str | os.PathLike) -> dict | None:
  """dataset.json, in the names of this format; None when there is none.

  Raises:
    ValueError: it is damaged, or of a format that is not known yet.
  """
  stored = _read(root)
  return stored if stored is None else _renamed(root, stored)


def _renamed(root, stored: dict) -> dict:
  """A dataset.json in the names of this format."""
  try:
    return old_names.info(stored)
  except ValueError as e:
    raise ValueError(f"{os.path.join(root, 'dataset.json')} {e}") from e


def _read(root) -> dict | None:
  """dataset.json as it is stored, None when there is none."""
  path = os.path.join(root, "dataset.json")
  info = files.find_json(path)
  if info is None:
    return None
  for key in ("shards", "clips"):
    if not isinstance(info.get(key), dict):
      raise ValueError(f"{path} is damaged: key {key} is missing")
    for split, count in info[key].items():
      if not ranges.whole(0).holds(count):
        raise ValueError(f"{path} is damaged: {key}.{split} is {count!r}, it must "
                         "be a whole number")
  if info["shards"].keys() != info["clips"].keys():
    raise ValueError(f"{path} is damaged: shards names "
                     f"{', '.join(info['shards'])} and clips "
                     f"{', '.join(info['clips'])}")
  if info.get("kind") == "latents":
    size = ranges.whole(1)
    for key, rule in (("patch", ranges.every(size, 3)),
                      ("stride", ranges.every(size, 3)), ("channels", size)):
      if not rule.holds(info.get(key)):
        raise ValueError(f"{path} is damaged: {key} is {info.get(key)!r}, it must "
                         f"be {rule.what}")
  return info


def sizes(entries: np.ndarray) -> np.ndarray:
  """[N, 3] int32: the (T, H, W) of entries in frames and pixels."""
  return np.stack([entries[k] for k in ("frames", "height", "width")], 1)


def shard_name(split: str, shard: int, shards: int) -> str:
  """The file name of a shard, as TFDS expects it."""
  return f"sora-{split}.array_record-{shard:05d}-of-{shards:05d}"
