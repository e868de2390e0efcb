"""Files that are whole or not there: written aside, then renamed."""

from collections.abc import Iterator
import contextlib
import os
from typing import BinaryIO


@contextlib.contextmanager
def opened(path) -> Iterator[BinaryIO]:
  """A new file to write, which takes its name when it is closed.

  Whatever fails, a full disk too, leaves nothing behind and the old file, if
  there was one, as it was.
  """
  aside = f"{os.fspath(path)}.{os.getpid()}.tmp"
  try:
    with open(aside, "wb") as file:
      yield file
    os.replace(aside, path)
  except BaseException:
    with contextlib.suppress(FileNotFoundError):
      os.unlink(aside)
    raise


def write(path, data: bytes) -> None:
  """Writes a whole file."""
  with opened(path) as file:
    file.write(data)
