"""Shards: ArrayRecord files, written whole or not at all and read by index.

A data set is a folder:

  sora-SPLIT.array_record-00000-of-00007   the records of a shard
  SPLIT.npy                                the manifest, one entry per record
  dataset.json                             what the folder holds
  source.json                              the state of its source
  tokenizer.model                          sentencepiece, of the train captions
  rejects.jsonl                            what was left out, and why

The manifest is all that planning needs, and is memory-mapped. A shard is the
unit of work: `write_shard` leaves either a whole shard with its entries or
nothing, and `collect` gives the shards of a finished run their final names.
"""

from collections.abc import Iterable, Iterator, Sequence
import contextlib
import errno
import json
import os
import shutil

from array_record.python import array_record_module
import numpy as np

from sora_jax import files
from sora_jax import stations
from sora_jax.data.store import manifest
from sora_jax.data.store import old_names

PARTS = "parts"
SPLITS = ("train", "test", "val")
# Keys of dataset.json that are left out where they have their default.
OPTIONAL = ("held_out",)


def start(root: str | os.PathLike, info: dict) -> dict | None:
  """Makes a folder ready for `write_shard`, or finds it finished.

  Args:
    root: the folder, new, interrupted or finished.
    info: all that decides its content.

  Returns:
    dataset.json if it is finished, else None.

  Raises:
    ValueError: the folder holds another data set.
  """
  done = find_finished(root, info)
  if done is None:
    os.makedirs(os.path.join(root, PARTS), exist_ok=True)
    files.write_json(os.path.join(root, PARTS, "job.json"),
                     {"format": old_names.FORMAT, **info})
  return done


def find_finished(root: str | os.PathLike, info: dict) -> dict | None:
  """As `start`, but changes nothing."""
  info = json.loads(json.dumps(info))
  done = manifest.read_info(root)
  job = files.find_json(os.path.join(root, PARTS, "job.json"))
  if job and not done and info.get("kind") == "latents" and (
      job.get("format") != old_names.FORMAT):
    raise ValueError(f"{root} was begun by another version of sora-jax: finish "
                     "it with that one, or give another folder")
  for old in filter(None, (done, old_names.info(job or {}))):
    keys = [*info, *(k for k in OPTIONAL if k in old and k not in info)]
    changed = [k for k in keys if old.get(k) != info.get(k)]
    if changed:
      raise ValueError(
          f"{root} holds another data set ("
          + ", ".join(f"{k}: {old.get(k)} there, {info.get(k)} asked for"
                      for k in changed)[:300] + "): give another folder")
  return done


def write_shard(root: str | os.PathLike, split: str, shard: int,
                records: Iterable[tuple], dtype: np.dtype,
                rejects: Sequence[stations.Rejected] = ()) -> int:
  """Writes one shard beside its name and commits it with its entries of the manifest.

  Args:
    root: the data set.
    split: one of SPLITS.
    shard: its number.
    records: (bytes, entry) or (bytes, entry, times) .., entry a tuple of the
      fields of `dtype` after shard and record, which the manifest then lists
      so many times.
    dtype: of the manifest.
    rejects: a list that grows while `records` is read.

  Returns:
    The number of entries.
  """
  stem = part(root, split, shard)
  os.makedirs(os.path.dirname(stem), exist_ok=True)
  entries = []
  with files.atomic_path(f"{stem}.array_record") as unfinished:
    writer = array_record_module.ArrayRecordWriter(unfinished, "group_size:1")
    for record, (data, entry, *times) in enumerate(records):
      with _told(stem):
        writer.write(data)
      entries += [(shard, record, *entry)] * (times[0] if times else 1)
    with _told(stem):
      writer.close()
  files.write_json_lines(f"{stem}.jsonl", (r.to_json() for r in rejects))
  with files.atomic(f"{stem}.npy") as f:  # last: the shard is whole
    np.save(f, np.array(entries, dtype), allow_pickle=False)
  return len(entries)


@contextlib.contextmanager
def _told(stem: str) -> Iterator[None]:
  """What the writer of records says of a full disk, as an error of the system."""
  try:
    yield
  except RuntimeError as e:
    full = os.strerror(errno.ENOSPC) in str(e)
    raise OSError(errno.ENOSPC if full else errno.EIO,
                  str(e).partition(";")[0], f"{stem}.array_record") from e


def part(root: str | os.PathLike, split: str, shard: int) -> str:
  """The path, without ending, of an unfinished data set's shard."""
  return os.path.join(root, PARTS, f"{split}-{shard:05d}")


def is_written(root: str | os.PathLike, split: str, shard: int) -> bool:
  """Whether a shard of an unfinished data set is whole."""
  return os.path.isfile(part(root, split, shard) + ".npy")


def collect(root: str | os.PathLike, counts: dict[str, int], info: dict,
            rejects: Sequence[stations.Rejected] = ()) -> dict:
  """Names the shards finally, writes the manifests and rejects.jsonl.

  Shards without a record are left out. Can be repeated after a crash; `finish`
  must follow.

  Args:
    root: the data set.
    counts: shards written per split.
    info: for dataset.json.
    rejects: what was left out before shards were written.

  Returns:
    info with its "format", "shards" and "clips" per split, and the number
    "rejected".
  """
  shards, clips, late = {}, {}, []
  for split, count in counts.items():
    entries = []
    for i in range(count):
      entries.append(np.load(part(root, split, i) + ".npy", allow_pickle=False))
      with open(part(root, split, i) + ".jsonl", encoding="utf-8") as f:
        late += [stations.Rejected(**json.loads(line)) for line in f]
    full = [i for i in range(count) if len(entries[i])]
    if not full:
      continue
    for new, i in enumerate(full):
      entries[i]["shard"] = new
      source = part(root, split, i) + ".array_record"
      target = os.path.join(root, manifest.shard_name(split, new, len(full)))
      if os.path.exists(source):
        os.replace(source, target)
    whole = np.concatenate([entries[i] for i in full])
    with files.atomic(os.path.join(root, f"{split}.npy")) as f:
      np.save(f, whole, allow_pickle=False)
    shards[split], clips[split] = len(full), len(whole)
  write_rejects(root, [*rejects, *late])
  return {"format": old_names.FORMAT, **info, "shards": shards, "clips": clips,
          "rejected": len(rejects) + len(late)}


def write_rejects(root: str | os.PathLike,
                  rejects: Iterable[stations.Rejected]) -> None:
  """Writes rejects.jsonl: number, key and reason of each."""
  files.write_json_lines(os.path.join(root, "rejects.jsonl"),
                         (r.to_json() for r in rejects))


def finish(root: str | os.PathLike, info: dict) -> dict:
  """Writes dataset.json, which says that the data set is whole."""
  files.write_json(os.path.join(root, "dataset.json"), info)
  shutil.rmtree(os.path.join(root, PARTS), ignore_errors=True)
  return info


