"""Claim: of 100 edited data sets every one is read, or refused in one line.

  python experiments/faults/data.py > experiments/faults/data.txt

A small data set and latents of it are edited: keys of dataset.json, fields of the
manifest, shards, the tokenizer. Each is then planned, its shards are opened and two
batches made, as `train` does before its first step. Good is that this works, where
clips that cannot be read are counted, or one line that names the folder, within 20
seconds and 2 GB.
"""

import collections
import json
import pathlib
import random
import sys
import tempfile

import hostile
import numpy as np

from sora_jax.data.loading import clips
from sora_jax.data.loading import plan as plan_lib
from sora_jax.data.loading import token_config
from sora_jax.data.pixels import buckets
from sora_jax.data.pixels import crops
from sora_jax.data.prepare import prepare
from sora_jax.data.sources import prepared
from sora_jax.data.sources import world
from sora_jax.data.store import latents
from sora_jax.data.store import manifest as manifest_lib
from sora_jax.data.store import records
from sora_jax.data.store import shards
from sora_jax.geometry import sizes
from sora_jax.text import tokenizer

CASES = 100
VALUES = (None, -1, 0, 10**9, 1.5, "x", [], [0], {}, {"train": 9}, True)
SHARD = "sora-train.array_record-00000-of-00001"
PLAN = token_config.TokenConfig(shapes=((2, 32),), text_length=160)


def make(at: pathlib.Path) -> dict[str, pathlib.Path]:
  """A data set of clips, and latents of zeros of it."""
  prepare.prepare("world:balls", at / "pixels", world.WorldOptions(
      count=8, sizes=(((32, 32), 1),), frames=((9, 1),), fps=((8, 1),)),
      workers=0, test_share=0, quiet=True)
  found = manifest_lib.open_manifest(at / "pixels")
  info = latents.describe(found.info, "digest", (4, 8, 8), (1, 2, 2), 2, 0,
                          latents.Extras(0, 0, False))
  latents.start(at / "latents", found.root, info)
  words = tokenizer.of(found)

  def each():
    for i in range(len(found)):
      item = records.read(found, i)
      size = (item.frames, item.height, item.width)
      record = latents.Record(np.zeros((*sizes.latent_size(
          size, (4, 8, 8)), 2)), item.captions, item.fps, size)
      yield latents.encode(record), latents.entry(record, words)

  shards.write_shard(at / "latents", "train", 0, each(), latents.LATENTS)
  shards.finish(at / "latents", shards.collect(at / "latents", {"train": 1}, info))
  return {"pixels": at / "pixels", "latents": at / "latents"}


def cases(folders: dict[str, pathlib.Path]) -> list[tuple]:
  """CASES edits, the same at every call: (data set, what, where, value)."""
  found = [(kind, what, file, None) for kind in folders for file in (
      SHARD, "train.npy", "dataset.json", "tokenizer.model") for what in (
          "gone", "empty", "half", "noise", "zero", "pipe", "folder")]
  more = []
  for kind, folder in folders.items():
    info = json.loads((folder / "dataset.json").read_text())
    more += [(kind, "key", key, value) for key in info for value in VALUES]
    names = np.load(folder / "train.npy").dtype.names
    more += [(kind, "field", name, value) for name in names
             for value in (-1, 0, 7, 2**31 - 1)]
  return found + random.Random(0).sample(more, CASES - len(found))


def edit(folder: pathlib.Path, case: tuple) -> None:
  """Does an edit."""
  _, what, name, value = case
  if what == "key":
    path = folder / "dataset.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))
    return
  if what == "field":
    entries = np.load(folder / "train.npy")
    entries[name][3] = value
    np.save(folder / "train.npy", entries)
    return
  hostile.damage(folder / name, what)


def use(kind: str, folder: pathlib.Path) -> str:
  """What `train` does before its first step."""
  found = manifest_lib.open_manifest(folder)
  if kind == "latents":
    plan = plan_lib.token_plan(found, PLAN)
    clips.verify(found)
  else:
    manifest_lib.require(found, "pixels")
    plan = buckets.pixel_plan(found, buckets.PixelConfig(
        buckets=((5, 16, 16, 2, 1.0),)))
    crops.verify(found)
    source = prepared.read_shards(str(folder), world.WorldOptions())
    _ = source[0]
    tokenizer.of(found)
  for step in range(2):
    plan.batch(step)
  lost = len(plan.losses.reasons)
  return "taken" + (f", {lost} clips cannot be read" if lost else "")


def judge(kind: str, folder: pathlib.Path, case: tuple,
          at: pathlib.Path) -> tuple[str, str]:
  """The verdict on a case and what is said, `hostile.judge`."""
  return hostile.judge(folder, at, lambda copy: edit(copy, case),
                       lambda copy: use(kind, copy))


def run() -> int:
  """Prints every case; 0 where the claim holds."""
  counts: collections.Counter = collections.Counter()
  with tempfile.TemporaryDirectory() as name:
    folders = make(pathlib.Path(name))
    for i, case in enumerate(cases(folders)):
      verdict, said = judge(case[0], folders[case[0]], case,
                            pathlib.Path(name) / f"case-{i}")
      counts[verdict] += 1
      hostile.tell(verdict, case, said)
  return hostile.conclude(counts, "edited data sets")


if __name__ == "__main__":
  sys.exit(run())
