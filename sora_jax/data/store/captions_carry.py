"""Captions of a prepared data set are those of its latents as well."""

import json
import os

import numpy as np

from sora_jax import files
from sora_jax.data.store import captions as captions_lib
from sora_jax.data.store import captions_writer
from sora_jax.data.store import manifest as manifest_lib
from sora_jax.text import tokenizer as tokenizer_lib

SAME = ("source", "options", "seed", "tokenizer")  # of dataset.json of both


def carry(data: str | os.PathLike, latents: str | os.PathLike) -> list[str]:
  """Copies the captions of a prepared set to its latents, every origin.

  Origins that the latents have are left alone.

  Args:
    data: the folder of `prepare`.
    latents: the folder of `encode`.

  Returns:
    The origins that were copied.

  Raises:
    ValueError: the latents are not of this data set, or captions are damaged.
  """
  todo = [origin for origin in captions_lib.origins(data)
          if origin not in captions_lib.origins(latents)]
  if not todo:
    return []
  sources = captions_lib.open_splits(data)
  targets = captions_lib.open_splits(latents)
  places = sources_of(sources, targets)
  tokenizer = tokenizer_lib.of(next(iter(targets.values())))
  for origin in todo:
    digest = captions_lib.open_captions(
        next(iter(sources.values())), origin).info["digest"]
    captions_writer.start(targets, origin, digest)
    for split, target in targets.items():
      store = captions_lib.open_captions(sources[split], origin)
      texts = [store.find(i) for i in places[split].tolist()]
      counts = captions_lib.records_of(target)
      for shard, end in enumerate(np.cumsum(counts).tolist()):
        captions_writer.write_shard(target, origin, shard,
                                    texts[end - counts[shard]:end], tokenizer)
    captions_writer.finish(targets, origin, digest)
  return todo


def sources_of(data: captions_lib.Manifests,
               latents: captions_lib.Manifests) -> dict[str, np.ndarray]:
  """The entry of the prepared set that each record of its latents comes from.

  `encode` keeps the order of the records and lists those that it left out.

  Returns:
    By split the indices [R] of the R records of all shards, in order.

  Raises:
    ValueError: the latents are not of this data set.
  """
  first, other = next(iter(data.values())), next(iter(latents.values()))
  if changed := [k for k in SAME if json.dumps(first.info.get(k)) != json.dumps(
      other.info.get(k))]:
    raise ValueError(f"{other.root} holds no latents of {first.root}: its "
                     f"{' and '.join(changed)} differ")
  path = os.path.join(other.root, "rejects.jsonl")
  lost = [json.loads(line)["item"] for line in files.read_text(path).splitlines()]
  found = {}
  for split, manifest in data.items():
    every = _records(manifest)
    count = len(_records(latents[split])) if split in latents else 0
    left_out, lost = lost[:len(every) - count], lost[len(every) - count:]
    found[split] = every[~np.isin(every, left_out)]
    if len(found[split]) != count:
      break
  else:
    if not lost:
      return found
  raise ValueError(f"{other.root} holds no latents of {first.root}: it does not "
                   "say which clips were left out")


def _records(manifest: manifest_lib.Manifest) -> np.ndarray:
  """The first entry of every record, in order."""
  place = np.stack([manifest.entries["shard"], manifest.entries["record"]])
  return np.unique(place, axis=1, return_index=True)[1]
