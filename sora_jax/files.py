"""Files that are whole or not there, and the JSON in them.

Every writer of the package uses `atomic`: a file is written beside its final
name and renamed, so that a crash or a full disk leaves the old one as it was.
"""

from collections.abc import Iterable, Iterator
import contextlib
import json
import os
from typing import Any, BinaryIO


@contextlib.contextmanager
def atomic(path: str | os.PathLike) -> Iterator[BinaryIO]:
  """A new file to write, which takes its name when it is closed.

  Whatever fails, a full disk too, leaves nothing behind and the old file, if
  there was one, as it was.
  """
  temporary = f"{os.fspath(path)}.{os.getpid()}.tmp"
  try:
    with open(temporary, "wb") as file:
      yield file
    os.replace(temporary, path)
  except BaseException:
    with contextlib.suppress(FileNotFoundError):
      os.unlink(temporary)
    raise


def write_bytes(path: str | os.PathLike, data: bytes) -> None:
  """Writes a whole file."""
  with atomic(path) as file:
    file.write(data)


def write_text(path: str | os.PathLike, text: str) -> None:
  """Writes a whole file, UTF-8."""
  write_bytes(path, text.encode())


def write_json(path: str | os.PathLike, value: Any) -> None:
  """Writes indented JSON."""
  write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def write_json_lines(path: str | os.PathLike, rows: Iterable[Any]) -> None:
  """Writes one JSON value a line."""
  write_text(path, "".join(json.dumps(r) + "\n" for r in rows))


def read_json(path: str | os.PathLike) -> dict | None:
  """A JSON object, None where there is no file.

  Raises:
    ValueError: the file holds something else; the message names it.
  """
  if not os.path.isfile(path):
    return None
  with open(path, encoding="utf-8") as f:
    try:
      value = json.load(f)
    except ValueError as e:
      raise ValueError(f"{path} is damaged: {e}") from e
  if not isinstance(value, dict):
    raise ValueError(f"{path} is damaged: it is no JSON object")
  return value
