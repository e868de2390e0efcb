"""Writes captions of a data set shard by shard; captions.py has the format."""

from collections.abc import Sequence
import hashlib
import os
from typing import Any

import numpy as np

from sora_jax import files
from sora_jax import messages
from sora_jax.data.store import captions as captions_lib
from sora_jax.data.store import latents
from sora_jax.data.store import manifest as manifest_lib
from sora_jax.text import tokenizer as tokenizer_lib


def start(manifests: captions_lib.Manifests, origin: str,
          digest: str) -> dict | None:
  """Makes the folder of an origin ready for `write_shard`.

  Args:
    manifests: of all splits.
    origin: its name.
    digest: of who writes.

  Returns:
    captions.json if the captions are whole, else None.

  Raises:
    ValueError: captions of that name by another digest, or of another data set.
  """
  root = next(iter(manifests.values())).root
  folder = captions_lib.folder_of(root, origin)
  info = captions_lib.about(manifests, origin, digest)
  done = files.find_json(os.path.join(folder, "captions.json"))
  begun = files.find_json(os.path.join(folder, "job.json"))
  for old in filter(None, (done, begun)):
    if changed := [k for k in info if old.get(k) != info[k]]:
      told = ", ".join(f"{k}: {str(old.get(k))[:12]} there, "
                       f"{str(info[k])[:12]} asked for" for k in changed)
      raise ValueError(f"{folder} holds other captions ({told}): give another "
                       "--origin, or remove the folder")
  if done is None:
    os.makedirs(folder, exist_ok=True)
    files.write_json(os.path.join(folder, "job.json"), info)
  return done


def write_shard(manifest: manifest_lib.Manifest, origin: str, shard: int,
                captions: Sequence[captions_lib.Texts | None],
                tokenizer: tokenizer_lib.Tokenizer) -> str:
  """Writes the captions of one shard; the path of their file.

  Args:
    manifest: of the split.
    origin: its name.
    shard: its number.
    captions: of each record, one or two; None of one that cannot be read.
    tokenizer: of the data set, which counts the tokens.
  """
  lines: list[dict[str, Any]] = []
  for texts in captions:
    if texts is None:
      lines.append({"captions": None})
      continue
    counts = [len(tokenizer.processor.encode(text)) + 1 for text in texts]  # EOS
    lines.append({"captions": list(texts), "tokens": counts})
  path = _path(manifest, origin, shard)
  files.write_json_lines(path, lines)
  return path


def is_written(manifest: manifest_lib.Manifest, origin: str,
               shard: int) -> bool:
  """Whether the captions of a shard are whole."""
  return os.path.isfile(_path(manifest, origin, shard))


def finish(manifests: captions_lib.Manifests, origin: str,
           digest: str) -> dict[str, Any]:
  """Writes what planning needs, and captions.json, which says all are whole.

  Returns:
    captions.json: "format", "origin", "digest", "data", "tokenizer", "clips" of
    each split, "bytes" of the files of its shards, the records that are "empty"
    (a caption without a word) and "unreadable", and the "sha256" of all.

  Raises:
    ValueError: the captions of a shard are damaged, or no record was read.
  """
  root = next(iter(manifests.values())).root
  folder, whole = captions_lib.folder_of(root, origin), hashlib.sha256()
  clips, sizes, empty, unreadable = {}, {}, 0, 0
  for split, manifest in manifests.items():
    counts = []
    sizes[split] = [0] * manifest.info["shards"][split]
    for shard, records in enumerate(captions_lib.records_of(manifest)):
      path = captions_lib.shard_path(folder, split, shard)
      data = files.read_bytes(path)
      whole.update(data)
      sizes[split][shard] = len(data)
      lines = data.splitlines()
      if len(lines) != records:
        raise ValueError(
            f"{path} has {messages.count(len(lines), 'line')} for "
            f"{messages.count(records, 'record')}: remove it and go on")
      found = [captions_lib.parse(path, i, line) for i, line in enumerate(lines)]
      empty += sum(texts is not None and not all(texts) for texts, _ in found)
      unreadable += sum(texts is None for texts, _ in found)
      counts.append(np.array([n for _, n in found], np.int32).reshape(
          -1, latents.CAPTIONS))
    first = np.cumsum([0, *map(len, counts)])
    entries = manifest.entries
    place = first[entries["shard"]] + entries["record"]
    with files.atomic(os.path.join(folder, f"{split}.npy")) as f:
      np.save(f, np.concatenate(counts)[place], allow_pickle=False)
    clips[split] = len(entries)
  if unreadable == sum(sum(captions_lib.records_of(m)) for m in manifests.values()):
    raise ValueError(f"{root}: none of its {unreadable} records can be read")
  info = {**captions_lib.about(manifests, origin, digest), "clips": clips,
          "bytes": sizes, "empty": empty, "unreadable": unreadable,
          "sha256": whole.hexdigest()}
  files.write_json(os.path.join(folder, "captions.json"), info)
  if os.path.exists(os.path.join(folder, "job.json")):
    os.unlink(os.path.join(folder, "job.json"))
  return info


def _path(manifest: manifest_lib.Manifest, origin: str, shard: int) -> str:
  """The file of a shard."""
  return captions_lib.shard_path(captions_lib.folder_of(manifest.root, origin),
                                 manifest.split, shard)
