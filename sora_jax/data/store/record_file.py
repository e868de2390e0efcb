"""ArrayRecord files, read by index."""

import dataclasses
import functools
import threading

from array_record.python import array_record_module


@dataclasses.dataclass(frozen=True)
class Reader:
  """An open file; reads take turns, ArrayRecord seeks."""

  file: array_record_module.ArrayRecordReader
  lock: threading.Lock

  def read(self, record: int) -> bytes:
    """The bytes of a record."""
    with self.lock:
      return self.file.read([record])[0]


@functools.lru_cache(maxsize=256)
def reader(path: str) -> Reader:
  """The reader of a file, which stays open.

  Raises:
    ValueError: the file is missing or damaged.
  """
  try:
    return Reader(array_record_module.ArrayRecordReader(
        path, "readahead_buffer_size:0"), threading.Lock())
  except (RuntimeError, OSError) as e:
    raise ValueError(f"{path}: {' '.join(str(e).split())[:200]}") from e
