"""The names in data sets that were made before: one map, of the one reader.

dataset.json says the format of a folder; one that says none is of format 1.
The two formats hold the same numbers. Format 2 has the names that the code has,
so a folder of format 1 is read by renaming, and its digest stays what it was.
"""

from typing import Any

import numpy as np

FORMAT = 2

# Old name -> new name, of the options of `prepare`, of the keys of dataset.json
# of latents, of the fields of their manifest, and of the arrays in a record of
# latents (the part before "_").
OPTIONS = {"piece_seconds": "chunk_seconds", "near": "phash_distance"}
INFO = {"tails": "suffixes", "stills": "keyframes", "boxes": "regions",
        "fit": "resized"}
FIELDS = {"cuts": "suffix_starts", "stills": "keyframes", "box": "region",
          "text": "text_tokens"}
ARRAYS = {"tail": "suffix", "still": "keyframe", "blind": "masked"}


def info(stored: dict) -> dict:
  """dataset.json or job.json in the names of this format.

  Raises:
    ValueError: it is of a format that is not known yet.
  """
  found = stored.get("format", 1)
  if found not in range(1, FORMAT + 1):
    raise ValueError(f"is of format {found}, and this version reads the formats "
                     f"1 to {FORMAT}: use a newer sora-jax")
  if found == FORMAT:
    return stored
  if stored.get("kind") == "latents":
    stored = {INFO.get(k, k): v for k, v in stored.items()}
  return _renamed(stored)


def _renamed(value: Any) -> Any:
  """A value with the options of `prepare` renamed, however deep they lie."""
  if isinstance(value, dict):
    return {OPTIONS.get(k, k): _renamed(v) for k, v in value.items()}
  return value


def entries(stored: np.ndarray) -> np.ndarray:
  """The entries of a manifest, of the same bytes, in the names of this format."""
  if not FIELDS.keys() & set(stored.dtype.names or ()):
    return stored
  return stored.view([(FIELDS.get(name, name), *form)
                      for name, *form in stored.dtype.descr])


def array(stored: str) -> str:
  """The name of an array of a record: 'tail_3' is 'suffix_3'."""
  name, *number = stored.split("_")
  return "_".join([ARRAYS.get(name, name), *number])
