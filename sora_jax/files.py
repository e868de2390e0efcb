"""Files that are whole or not there, and the JSON in them.

Every writer of the package uses `atomic` or `atomic_path`: a file is written
beside its final name and renamed, so that a crash or a full disk leaves the old
one as it was.
"""

from collections.abc import Iterable, Iterator
import contextlib
import json
import os
from typing import Any, BinaryIO


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[str]:
  """A path to write a file to, which is renamed to `path` at the end.

  Whatever fails, a full disk too, leaves nothing behind and the old file, if
  there was one, as it was.
  """
  temporary = f"{os.fspath(path)}.{os.getpid()}.tmp"
  try:
    yield temporary
    os.replace(temporary, path)
  except BaseException:
    with contextlib.suppress(FileNotFoundError):
      os.unlink(temporary)
    raise


@contextlib.contextmanager
def atomic(path: str | os.PathLike) -> Iterator[BinaryIO]:
  """A new file to write, as `atomic_path`."""
  with atomic_path(path) as temporary, open(temporary, "wb") as file:
    yield file


def write_bytes(path: str | os.PathLike, data: bytes) -> None:
  """Writes a whole file."""
  with atomic(path) as file:
    file.write(data)


def write_text(path: str | os.PathLike, text: str) -> None:
  """Writes a whole file, UTF-8."""
  write_bytes(path, text.encode())


def write_json(path: str | os.PathLike, value: Any, indent: int = 1) -> None:
  """Writes indented JSON.

  Raises:
    ValueError: NaN or infinity, which JSON lacks.
  """
  write_text(path, json.dumps(value, indent=indent, ensure_ascii=False,
                              allow_nan=False) + "\n")


def write_json_lines(path: str | os.PathLike, values: Iterable[Any]) -> None:
  """Writes one JSON value a line."""
  write_text(path, "".join(json.dumps(v) + "\n" for v in values))


def read_json(path: str | os.PathLike) -> dict[str, Any]:
  """The JSON object of a file.

  Raises:
    ValueError: the file is missing or holds something else; the message names
      it.
  """
  try:
    with open(path, encoding="utf-8") as f:
      value = json.load(f)
  except FileNotFoundError:
    raise ValueError(f"{path} is missing") from None
  except ValueError as e:  # of the text or of its encoding
    raise ValueError(f"{path} is no JSON: {e}") from e
  if not isinstance(value, dict):
    raise ValueError(f"{path} is no JSON object but a {type(value).__name__}")
  return value


def find_json(path: str | os.PathLike) -> dict[str, Any] | None:
  """The JSON object of a file, None where there is no file.

  Raises:
    ValueError: the file holds something else.
  """
  return read_json(path) if os.path.isfile(path) else None
