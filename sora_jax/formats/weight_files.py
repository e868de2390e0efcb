"""The files of a model folder: safetensors, JSON and their checksums.

Only safetensors and JSON are read; nothing in a folder is ever run.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import re
from typing import Any

import ml_dtypes
import numpy as np
import safetensors
import safetensors.numpy

from sora_jax import files

SHARD_BYTES = 12 * 10**6  # of our own folders; large hosts refuse large files
SUMS = "SHA256SUMS"
SUM = re.compile(r"[0-9a-f]{64}  (\S.*)")
ENDINGS = (".json", ".safetensors", ".model", ".txt")  # of what is read
# How safetensors names numbers that we read, and those that it cannot give to
# numpy. 8-bit floats are read as float32.
KINDS = {"F64": None, "F32": None, "F16": None, "BF16": None,
         "F8_E4M3": np.dtype(ml_dtypes.float8_e4m3fn),
         "F8_E5M2": np.dtype(ml_dtypes.float8_e5m2)}
# Names of the scales that quantised weights have beside them.
SCALE = re.compile(r"(^|[._])(scaled_fp8|scale_(weight|input)|"
                   r"(weight|input)_scale(_inv|_2)?|absmax|quant_state)([._]|$)")


def verify(folder: str, components: tuple[str, ...] = ()) -> str:
  """The digest of a folder, after its files have been checked against it.

  A folder without SHA256SUMS is not ours and may be large: its digest is that
  of what is used of it.

  Args:
    folder: the model folder.
    components: the folders in it that are used.

  Raises:
    ValueError: a file that is missing or differs from SHA256SUMS, that is read
      and not named there, or that is named and no file of the folder.
  """
  lines = _sums(folder)
  if lines is None:
    lines = _sums_of(folder, components)
  else:
    _check_named(folder, lines, components)
    for line in lines:
      expected, name = line.split("  ", 1)
      path = os.path.join(folder, name)
      if not os.path.exists(path):
        raise ValueError(f"{path} is missing, SHA256SUMS names it")
      if _sha256(path) != expected:
        raise ValueError(f"{path} is damaged: its sha256 is not the one in "
                         "SHA256SUMS; fetch the model again")
  return _digest(lines)


def component_digest(folder: str, name: str) -> str:
  """The digest of one component, the same in whatever folder it lies.

  Of files that `verify` has checked.
  """
  lines = _sums(folder)
  if lines is None:
    return _digest(_sums_of(folder, (name,)))
  return _digest([line for line in lines
                  if line.split("  ", 1)[1].split("/")[0] == name])


def _sums_of(folder: str, components: tuple[str, ...]) -> list[str]:
  """Lines of a SHA256SUMS for the files of components."""
  names = [n for n in paths(folder) if n.split(os.sep)[0] in components
           and n.endswith((".json", ".safetensors"))]
  return [f"{_sha256(os.path.join(folder, n))}  {n}" for n in names]


def _digest(lines: list[str]) -> str:
  return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def _check_named(folder: str, lines: list[str],
                 components: tuple[str, ...]) -> None:
  """Refuses a SHA256SUMS that leaves its folder, or that proves too little."""
  sums, names = os.path.join(folder, SUMS), set()
  for i, line in enumerate(lines, 1):
    found = SUM.fullmatch(line)
    if not found:
      raise ValueError(f"{sums}:{i} is no line of a sha256, two spaces and the "
                       "name of a file")
    if os.path.isabs(found[1]) or ".." in found[1].split("/"):
      raise ValueError(f"{sums}:{i} names {found[1]}, which lies outside of "
                       f"{folder}")
    names.add(found[1])
  read = ("vae", "tokenizer", "scheduler", *components)
  for name in paths(folder):
    if name not in names and (name == "model_index.json" or name.split("/")[
        0] in read and name.endswith(ENDINGS)):
      raise ValueError(f"{os.path.join(folder, name)} is read and SHA256SUMS does "
                       "not name it: fetch the model again")


@dataclasses.dataclass(frozen=True)
class Stored:
  """A tensor in a safetensors file; slicing it reads that slice alone.

  The file is mapped for one read at a time, so that what has been read does not
  stay in the memory of the process.

  Attributes:
    path: of the file.
    name: of the tensor.
    shape: as the header says.
    kind: of its numbers, as the header names it: of KINDS.
    offset: of its first byte in the file, of 8-bit floats; else 0.
  """

  path: str
  name: str
  shape: tuple[int, ...]
  kind: str = "F32"
  offset: int = 0

  def __getitem__(self, index: tuple[slice, ...]) -> np.ndarray:
    if (eight := KINDS[self.kind]) is not None:  # which numpy has not
      whole = np.memmap(self.path, eight, "r", self.offset, self.shape)
      return np.asarray(whole[index], np.float32)
    with _opened(self.path) as f:
      return f.get_slice(self.name)[index]


def open_weights(folder: str) -> dict[str, Stored]:
  """The tensors of a component's safetensors files; only headers are read.

  Raises:
    ValueError: no weights, a file or tensor that the index names is missing,
      a file that is no safetensors file or is cut short, or numbers that are no
      floats or have scales beside them.
  """
  found = sorted(n for n in os.listdir(folder) if n.endswith(".safetensors"))
  named = {}
  for index in (n for n in os.listdir(folder) if n.endswith(".index.json")):
    named = files.read_json(os.path.join(folder, index)).get("weight_map", {})
    if not isinstance(named, dict) or not all(
        isinstance(name, str) for name in named.values()):
      raise ValueError(f"{os.path.join(folder, index)}: key weight_map must "
                       "name the file of each tensor")
    if missing := sorted(set(named.values()) - set(found)):
      raise ValueError(f"{os.path.join(folder, missing[0])} is missing, {index} "
                       "names it")
    found = sorted(set(named.values()))
  if not found:
    raise ValueError(f"{folder} has no safetensors file")
  tensors = {}
  for path in (os.path.join(folder, name) for name in found):
    with _opened(path) as f:
      stored = [(name, f.get_slice(name))
                for name in f.keys()]  # noqa: SIM118, no dict
      found_kinds = {name: part.get_dtype() for name, part in stored}
      _check_kinds(path, found_kinds)
      starts = _offsets(path) if any(
          KINDS[kind] is not None for kind in found_kinds.values()) else {}
      for name, part in stored:
        tensors[name] = Stored(path, name, tuple(part.get_shape()),
                               found_kinds[name], starts.get(name, 0))
  if lost := sorted(set(named) - set(tensors)):
    path = os.path.join(folder, named[lost[0]])
    raise ValueError(f"tensor {lost[0]} is missing from {path}, the index names "
                     "it")
  return tensors


def _check_kinds(path: str, kinds: dict[str, str]) -> None:
  """Refuses numbers that mean nothing as they stand."""
  for name, kind in kinds.items():
    if SCALE.search(name):
      raise ValueError(f"tensor {name} of {path} is a scale of quantised weights, "
                       "which are not supported: convert them to bfloat16")
    if kind not in KINDS:
      raise ValueError(f"tensor {name} of {path} is of dtype {kind}, it must be "
                       f"one of {', '.join(KINDS)}: convert it to bfloat16")


def _offsets(path: str) -> dict[str, int]:
  """Where the bytes of every tensor begin in a file that has been opened."""
  with open(path, "rb") as f:
    size = int.from_bytes(f.read(8), "little")
    header = json.loads(f.read(size))
  return {name: 8 + size + about["data_offsets"][0]
          for name, about in header.items() if name != "__metadata__"}


@contextlib.contextmanager
def _opened(path: str):
  """An open safetensors file; ValueError where it is damaged."""
  if not os.path.isfile(path):  # a pipe would hold its reader for ever
    raise ValueError(f"{path} is no regular file")
  try:
    with safetensors.safe_open(path, framework="numpy") as f:
      yield f
  except safetensors.SafetensorError as e:
    raise ValueError(f"{path} cannot be read: {e}") from e


def write_weights(folder: str, stem: str, tensors: dict,
                  dtype: Any) -> None:
  """Weights in shards of at most SHARD_BYTES, with an index if several."""
  tensors = {k: np.ascontiguousarray(v, dtype) for k, v in tensors.items()}
  shards: list[dict[str, np.ndarray]] = [{}]
  size = 0
  for key, value in tensors.items():
    if size + value.nbytes > SHARD_BYTES and shards[-1]:
      shards.append({})
      size = 0
    shards[-1][key] = value
    size += value.nbytes
  weight_map: dict[str, str] = {}
  for i, shard in enumerate(shards):
    name = f"{stem}.safetensors"
    if len(shards) > 1:
      name = f"{stem}-{i + 1:05d}-of-{len(shards):05d}.safetensors"
    path = os.path.join(folder, name)
    try:
      safetensors.numpy.save_file(shard, path, metadata={"format": "pt"})
    except safetensors.SafetensorError as e:
      raise OSError(f"{path} could not be written: {e}") from e
    # Newer versions of safetensors write for the owner alone.
    os.chmod(path, os.stat(folder).st_mode & 0o666)
    weight_map |= dict.fromkeys(shard, name)
  if len(shards) > 1:
    total = sum(v.nbytes for v in tensors.values())
    files.write_json(
        os.path.join(folder, f"{stem}.safetensors.index.json"),
        {"metadata": {"total_size": total}, "weight_map": weight_map}, indent=2)


def named(folder: str) -> list[str]:
  """The files that the SHA256SUMS of a folder names; none where it has none."""
  return [line.split("  ", 1)[1] for line in _sums(folder) or ()]


def _sums(folder: str) -> list[str] | None:
  """The lines of the SHA256SUMS of a folder, None where it has none."""
  path = os.path.join(folder, SUMS)
  return files.read_text(path).splitlines() if os.path.lexists(path) else None


def write_sums(folder: str) -> None:
  """Writes the sha256 of every file of a folder beside them."""
  lines = [f"{_sha256(os.path.join(folder, name))}  {name}\n"
           for name in paths(folder) if name != SUMS]
  files.write_text(os.path.join(folder, SUMS), "".join(lines))


def paths(folder: str) -> list[str]:
  """The relative paths of all files of a folder but its card."""
  found = [os.path.relpath(os.path.join(root, name), folder)
           for root, _, names in os.walk(folder) for name in names]
  return sorted(n for n in found if n != "README.md")


def _sha256(path: str) -> str:
  try:
    with files.open_regular(path) as f:
      return hashlib.file_digest(f, "sha256").hexdigest()
  except ValueError as e:
    raise ValueError(f"{path} {e}") from e
