"""Whether the source of a data set is still what it was divided from.

source.json keeps the fingerprint of every source (names, sizes and times of its
files, or its options) from before the first shard is written. A stopped run uses
its shards again only where the fingerprint is the same: otherwise a clip could
be in two shards, or in none.
"""

import logging
import os

from sora_jax import files
from sora_jax.data.store import shards

FILE = "source.json"
KEY = "files"  # of the fingerprints, in the file


def require_unchanged(out: str, fingerprint: list[str]) -> None:
  """Compares the source of a finished data set; changes nothing.

  Raises:
    ValueError: it has changed since.
  """
  if files.find_json(os.path.join(out, FILE)) not in (
      None, {KEY: fingerprint}):
    raise ValueError(
        f"{out} is finished, but its source has changed since (names, sizes or "
        "times of files): give another --out to prepare it anew")


def forget_changed(out: str, fingerprint: list[str]) -> None:
  """Forgets the shards of an unfinished data set if its source has changed."""
  path, parts = os.path.join(out, FILE), os.path.join(out, shards.PARTS)
  if files.find_json(path) == {KEY: fingerprint}:
    return
  starts = tuple(f"{split}-" for split in shards.SPLITS)
  begun = [n for n in os.listdir(parts) if n.startswith(starts)]
  if begun:
    logging.warning("%s: the source has changed since this data set was begun: "
                    "its shards are written anew", out)
    # What was named finally already goes first: a run that dies here still
    # finds the parts, and forgets the rest.
    starts = tuple(f"sora-{split}.array_record-" for split in shards.SPLITS)
    ends = tuple(f"{split}.npy" for split in shards.SPLITS)
    for name in os.listdir(out):
      if name.startswith(starts) or name in ends:
        os.unlink(os.path.join(out, name))
    for name in begun:
      os.unlink(os.path.join(parts, name))
  files.write_json(path, {KEY: fingerprint})
