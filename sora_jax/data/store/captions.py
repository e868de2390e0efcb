"""Captions that did not come with the clips of a data set, by who wrote them.

An origin is who wrote them: a captioner and its digest, an endpoint, a script.
Several lie beside each other in a data set of `prepare` or `encode`, and the
captions in its records, the origin "original", stay as they are.

  captions/ORIGIN/job.json            who writes; until all are written
                  SPLIT-00000.jsonl   of a shard, one record a line
                  SPLIT.npy           text tokens [entries, CAPTIONS] int32
                  captions.json       who wrote them, and how many; written last

A line is {"captions": [text, ..], "tokens": [n, ..]}, the short caption first
and then the descriptive one, or one caption that is both. A record that could
not be read has {"captions": null}. A shard is the unit of work: its file is
whole or not there.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import functools
import hashlib
import json
import os
import re
from typing import Any

import numpy as np

from sora_jax import files
from sora_jax import messages
from sora_jax import ranges
from sora_jax.data.store import latents
from sora_jax.data.store import manifest as manifest_lib

FOLDER = "captions"
ORIGINAL = "original"  # the captions in the records
FORMAT = 1
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
SHARDS = 256  # whose lines are remembered

Manifests = Mapping[str, manifest_lib.Manifest]  # by split
Texts = Sequence[str]  # of one record


@dataclasses.dataclass(frozen=True, eq=False)
class Captions:
  """The captions of a split by one origin; see `open_captions`.

  Attributes:
    manifest: of the split.
    folder: of the origin.
    info: captions.json.
    tokens: [N, CAPTIONS] int32, text tokens of the captions of each entry.
  """

  manifest: manifest_lib.Manifest
  folder: str
  info: dict[str, Any]
  tokens: np.ndarray = dataclasses.field(repr=False)

  def find(self, index: int) -> tuple[str, ...] | None:
    """The captions of an entry, one or two; None where it could not be read.

    Raises:
      ValueError: the line is damaged.
    """
    entry = self.manifest.entries[index]
    path = shard_path(self.folder, self.manifest.split, int(entry["shard"]))
    lines = _lines(path)
    record = int(entry["record"])
    if record >= len(lines):
      raise ValueError(f"{path} has {messages.count(len(lines), 'line')} and no "
                       f"caption of record {record}: caption the set again")
    return parse(path, record, lines[record])[0]

  def of(self, index: int) -> tuple[str, ...]:
    """The captions of an entry, one or two.

    Raises:
      ValueError: its record could not be read, or the line is damaged.
    """
    texts = self.find(index)
    if texts is None:
      entry = self.manifest.entries[index]
      raise ValueError(f"{self.manifest.shard_path(int(entry['shard']))}: record "
                       f"{entry['record']} could not be read when the set was "
                       "captioned")
    return texts


def folder_of(root: str | os.PathLike, origin: str) -> str:
  """The folder of an origin.

  Raises:
    ValueError: no name of an origin.
  """
  if not NAME.fullmatch(origin) or origin == ORIGINAL:
    raise ValueError(f"{origin!r} is no name for an origin of captions: give "
                     "letters, digits, '.', '_' and '-', at most 100, and not "
                     f"{ORIGINAL!r}")
  return os.path.join(root, FOLDER, origin)


def origins(root: str | os.PathLike) -> list[str]:
  """The origins whose captions of a data set are whole."""
  try:
    found = sorted(os.listdir(os.path.join(root, FOLDER)))
  except (FileNotFoundError, NotADirectoryError):
    return []
  return [name for name in found if os.path.isfile(
      os.path.join(root, FOLDER, name, "captions.json"))]


def open_splits(root: str | os.PathLike) -> dict[str, manifest_lib.Manifest]:
  """The manifests of a data set by split."""
  splits = (manifest_lib.read_info(root) or {}).get("shards") or ["train"]
  return {split: manifest_lib.open_manifest(root, split) for split in splits}


def records_of(manifest: manifest_lib.Manifest) -> list[int]:
  """How many records each shard of a split has, by its entries."""
  counts = np.zeros(manifest.info["shards"][manifest.split], np.int64)
  np.maximum.at(counts, np.asarray(manifest.entries["shard"], np.int64),
                np.asarray(manifest.entries["record"], np.int64) + 1)
  return counts.tolist()


def about(manifests: Manifests, origin: str, digest: str) -> dict[str, Any]:
  """What decides the captions of an origin."""
  manifest = next(iter(manifests.values()))
  return {"format": FORMAT, "origin": origin, "digest": digest,
          "data": _data_digest(manifest),
          "tokenizer": manifest.info.get("tokenizer")}


def shard_path(folder: str, split: str, shard: int) -> str:
  """The file of a shard."""
  return os.path.join(folder, f"{split}-{shard:05d}.jsonl")


def open_captions(manifest: manifest_lib.Manifest, origin: str) -> Captions:
  """The captions of a split by an origin.

  Raises:
    ValueError: no such origin, one that is not whole, of another data set, or
      damaged; the message names the file.
  """
  folder, known = folder_of(manifest.root, origin), origins(manifest.root)
  if origin not in known:
    begun = os.path.isfile(os.path.join(folder, "job.json"))
    raise ValueError(
        f"{manifest.root} has no captions of {origin!r}"
        + (", they were begun and are not whole: the same command goes on"
           if begun else "")
        + f"; it has {', '.join([ORIGINAL, *known])}")
  path = os.path.join(folder, "captions.json")
  info = _read(path, manifest)
  for shard, size in enumerate(info["bytes"][manifest.split]):
    file = shard_path(folder, manifest.split, shard)
    found = os.path.getsize(file) if os.path.isfile(file) else None
    if found != size:
      told = "is missing" if found is None else f"has {found} bytes"
      raise ValueError(f"{file} {told}, {path} says {size}: caption the set again")
  return Captions(manifest, folder, info, _tokens(folder, manifest))


def _lines(path: str) -> list[bytes]:
  """The lines of the captions of a shard."""
  try:
    found = os.stat(path)
    return _remembered(path, found.st_size, found.st_mtime_ns)
  except OSError as e:
    raise ValueError(f"{path}: {e.strerror}: caption the set again") from e


@functools.lru_cache(maxsize=SHARDS)
def _remembered(path: str, size: int, changed: int) -> list[bytes]:
  del size, changed  # of a file that was written anew
  return files.read_bytes(path).splitlines()


def parse(path: str, record: int, line: bytes
          ) -> tuple[tuple[str, ...] | None, list[int]]:
  """The captions and CAPTIONS token counts of a line.

  Raises:
    ValueError: it is damaged.
  """
  try:
    value = files.parse_json(line)
    texts = value["captions"]
    if texts is None:
      return None, [1] * latents.CAPTIONS
    counts = value["tokens"]
    good = (ranges.every(_TEXT).holds(texts) and ranges.every(
        ranges.whole(1, 2**30), len(texts)).holds(counts)
            and len(texts) <= latents.CAPTIONS)
  except (ValueError, KeyError, TypeError):
    good = False
  if not good:
    raise ValueError(f"{path} is damaged: line {record + 1} is no caption; caption "
                     "the set again")
  return tuple(texts), (counts * latents.CAPTIONS)[:latents.CAPTIONS]


_TEXT = ranges.Rule("a text", lambda v: isinstance(v, str))


def _data_digest(manifest: manifest_lib.Manifest) -> str:
  """sha256 of dataset.json."""
  info = manifest.info if manifest.stored is None else manifest.stored
  return hashlib.sha256(json.dumps(info, sort_keys=True).encode()).hexdigest()


def _read(path: str, manifest: manifest_lib.Manifest) -> dict[str, Any]:
  """captions.json, which must be of the data set."""
  info, split = files.read_json(path), manifest.split
  if info.get("format") != FORMAT:
    raise ValueError(f"{path} is of format {info.get('format')}, and this version "
                     f"reads {FORMAT}")
  if info.get("data") != _data_digest(manifest):
    raise ValueError(f"{path} is of another data set than {manifest.root}")
  sizes = info.get("bytes")
  if not isinstance(sizes, dict) or not ranges.every(
      ranges.whole(), manifest.info["shards"][split]).holds(sizes.get(split)) or (
          not isinstance(info.get("sha256"), str)):
    raise ValueError(f"{path} is damaged: caption the set again")
  return info


def _tokens(folder: str, manifest: manifest_lib.Manifest) -> np.ndarray:
  """The token counts of a split, memory-mapped."""
  path = os.path.join(folder, f"{manifest.split}.npy")
  try:
    tokens: np.ndarray = np.lib.format.open_memmap(path, mode="r")
  except (OSError, ValueError) as e:
    raise ValueError(f"{path} is damaged: {e}") from e
  shape = (len(manifest), latents.CAPTIONS)
  if tokens.shape != shape or tokens.dtype != np.int32 or tokens.min() < 1:
    raise ValueError(f"{path} is damaged: it holds {tokens.shape} "
                     f"{tokens.dtype}, the manifest asks for {shape} int32 from 1")
  return tokens
