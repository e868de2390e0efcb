"""ArrayRecord files, read by index."""

import dataclasses
import functools
import os
import threading

from array_record.python import array_record_module


@dataclasses.dataclass(frozen=True)
class Reader:
  """An open file; reads take turns, ArrayRecord seeks."""

  file: array_record_module.ArrayRecordReader
  lock: threading.Lock

  path: str

  def read(self, record: int) -> bytes:
    """The bytes of a record.

    Raises:
      ValueError: no such record, or one that is damaged.
    """
    try:
      with self.lock:
        return self.file.read([record])[0]
    except (RuntimeError, OSError, IndexError, ValueError) as e:
      raise ValueError(f"{self.path}: record {record}: {_one_line(e)}") from e

  def count(self) -> int:
    """The number of records."""
    return self.file.num_records()


@functools.lru_cache(maxsize=256)
def reader(path: str) -> Reader:
  """The reader of a file, which stays open.

  Raises:
    ValueError: the file is missing or damaged.
  """
  if not os.path.isfile(path):  # a pipe would hold its reader for ever
    raise ValueError(f"{path} is missing")
  try:
    return Reader(array_record_module.ArrayRecordReader(
        path, "readahead_buffer_size:0"), threading.Lock(), path)
  except (RuntimeError, OSError) as e:
    raise ValueError(f"{path}: {_one_line(e)}") from e


def _one_line(error: Exception) -> str:
  return " ".join(str(error).split())[:200]
